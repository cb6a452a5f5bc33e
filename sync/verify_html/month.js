// Does a visit count, and what does the month come to (docs/evidence.md, sections 8.5 to 8.8). Pure.

import { compareTexts } from './bytes.js';
import { smallest } from './clock.js';
import { WITNESSES } from './witnesses.js';

/** @typedef {import('./visit.js').Evidence} Evidence */
/** @typedef {import('./visit.js').Bracket} Bracket */
/** @typedef {import('./registry.js').Rules} Rules */
/** A visit with what is judged; `mergedInto`: the visit that carries its time.
 * @typedef {{visit: string, origin: string, evidence: Evidence, bracket: Bracket, dwell_ms: number | null, encounters: number, review: string[], decision: 'counted' | 'refused' | null, mergedInto: string | null}} Proof
 */
/** @typedef {{state: string, reasons: string[], flags: string[]}} Verdict */

const REASONS = ['outside', 'too_short', 'too_few_staff', 'no_doctor', 'no_encounter', 'too_close_to_previous',
  'duplicate_vehicle', 'refused_by_reviewer'];
const REVIEW_REASONS = ['clock_stepped', 'boots_missing', 'track_hidden', 'unclosed', 'weakly_anchored', 'witness_conflict',
  'too_few_witnesses', 'overlapping_stays', 'staff_in_two_vehicles'];
const WEAK_MS = 72 * 3_600_000;
const CLOCKS_AGREE_MS = 5 * 60_000;

/** Words of the review in their order, and what only shows beside other visits.
 * @param {Proof} proof @param {Iterable<string>} words @returns {Proof}
 */
export const lookedAt = (proof, words) => ({ ...proof, review: ordered([...proof.review, ...words], REVIEW_REASONS) });

/** @param {Iterable<string>} words @param {string[]} vocabulary */
const ordered = (words, vocabulary) => { const said = new Set(words); return vocabulary.filter((word) => said.has(word)); };

/** @param {import('./presence.js').Stay[]} stays */
const dwellOf = (stays) => (stays.length ? stays.reduce((sum, stay) => sum + stay.dwell_ms, 0) : null);

/** What the entries say together with what registry and cosignatures say.
 * @param {string} visit @param {string} origin @param {Evidence} evidence @param {Rules} rules @param {Bracket} bracket @param {'counted' | 'refused' | null} decision @returns {Proof}
 */
export function proofOf(visit, origin, evidence, rules, bracket, decision) {
  const review = new Set(evidence.review);
  const { known, sealed } = bracket;
  const ends = evidence.closed ?? evidence.opened;
  if (evidence.closed === null) review.add('unclosed');
  const arrived = smallest(evidence.stays.map((stay) => stay.arrived));
  if (known === null || sealed === null || sealed - known > WEAK_MS || sealed - arrived > WEAK_MS) review.add('weakly_anchored');
  const early = known !== null && Math.min(evidence.opened, evidence.since ?? Infinity) < known - CLOCKS_AGREE_MS;
  const late = sealed !== null && ends > sealed + CLOCKS_AGREE_MS;
  if (early || late) review.add('clock_stepped');
  const agreeing = WITNESSES.filter((name) => name !== 'gnss' && evidence.witnesses[name]).length;
  if (WITNESSES.some((name) => evidence.witnesses[name] === false)) review.add('witness_conflict');
  if (evidence.stays.length && agreeing < rules.witnesses) review.add('too_few_witnesses');
  if (!evidence.stays.length && agreeing >= Math.max(1, rules.witnesses)) review.add('witness_conflict');
  return {
    visit,
    origin,
    evidence,
    bracket,
    dwell_ms: dwellOf(evidence.stays),
    encounters: evidence.served.length,
    review: ordered(review, REVIEW_REASONS),
    decision,
    mergedInto: null,
  };
}

/** Visits of one vehicle to one village on one day are one: the first carries what all of them have.
 * @param {Proof[]} proofs in order of time @returns {Proof[]}
 */
export function merged(proofs) {
  /** @type {Map<string, number>} */
  const first = new Map();
  /** @type {Proof[]} */
  const found = [];
  for (const proof of proofs) {
    const key = JSON.stringify([proof.origin, proof.evidence.village, proof.evidence.day]);
    const place = first.get(key);
    if (place === undefined) {
      first.set(key, found.push(proof) - 1);
      continue;
    }
    const carrier = found[place];
    found[place] = carrying(carrier, proof);
    found.push({ ...proof, mergedInto: carrier.visit });
  }
  return found;
}

/** @param {Proof} carrier @param {Proof} other @returns {Proof} */
function carrying(carrier, other) {
  const [one, two] = [carrier.evidence, other.evidence];
  const stays = withoutDoubles([...one.stays, ...two.stays]);
  const evidence = {
    ...one,
    stays,
    served: [...new Set([...one.served, ...two.served])].sort((a, b) => a - b),
    staff: new Set([...one.staff, ...two.staff]),
    onDuty: [...one.onDuty, ...two.onDuty],
    outreach: one.outreach || two.outreach,
    flags: new Set([...one.flags, ...two.flags]),
  };
  const review = ordered([...carrier.review, ...other.review], REVIEW_REASONS);
  return { ...carrier, evidence, dwell_ms: dwellOf(stays), encounters: carrier.encounters + other.encounters, review };
}

/** Ranges of one boot overlap: of stays that overlap the longer stands for both.
 * @param {import('./presence.js').Stay[]} stays
 */
function withoutDoubles(stays) {
  /** @type {import('./presence.js').Stay[]} */
  const kept = [];
  for (const stay of [...stays].sort((one, other) => other.dwell_ms - one.dwell_ms || one.arrived - other.arrived)) {
    if (kept.every((other) => stay.arrived >= other.left || stay.left <= other.arrived)) kept.push(stay);
  }
  return kept.sort((one, other) => one.arrived - other.arrived);
}

/** The verdict of one visit by itself.
 * @param {Proof} proof @param {Rules} rules @returns {Verdict}
 */
function judgeVisit(proof, rules) {
  const flags = [...proof.evidence.flags].sort();
  if (proof.mergedInto !== null) return { state: 'merged', reasons: [], flags: [...flags, 'merged_into'].sort() };
  const reasons = shortcomings(proof, rules);
  if (proof.decision !== null) return decided(proof, reasons, [...flags, 'decided_by_reviewer'].sort());
  const all = [...reasons, ...proof.review];
  if (reasons.join() === 'outside' && proof.review.includes('witness_conflict')) return { state: 'review', reasons: all, flags };
  if (reasons.includes('too_short')) return { state: 'short', reasons: all, flags };
  if (reasons.length) return { state: 'not_counted', reasons: all, flags };
  return { state: proof.review.length ? 'review' : 'counted', reasons: all, flags };
}

/** A person answers for what could not be told; what is short stays short.
 * @param {Proof} proof @param {string[]} found @param {string[]} flags @returns {Verdict}
 */
function decided(proof, found, flags) {
  if (proof.decision === 'refused') return { state: 'not_counted', reasons: [...found, 'refused_by_reviewer'], flags };
  const reasons = proof.review.includes('witness_conflict') ? found.filter((reason) => reason !== 'outside') : found;
  const state = reasons.includes('too_short') ? 'short' : reasons.length ? 'not_counted' : 'counted';
  return { state, reasons, flags };
}

/** @param {Proof} proof @param {Rules} rules */
function shortcomings({ dwell_ms, encounters, evidence }, rules) {
  const staff = [...evidence.staff].map((said) => JSON.parse(said));
  const doctors = staff.filter(([, role]) => rules.doctor_roles.includes(role));
  const persons = (/** @type {[string, string][]} */ list) => new Set(list.map(([person]) => person)).size;
  const reasons = [];
  if (dwell_ms === null) reasons.push('outside');
  else if (dwell_ms < rules.dwell_s * 1000) reasons.push('too_short');
  if (persons(staff) < rules.staff) reasons.push('too_few_staff');
  if (persons(doctors) < rules.doctors) reasons.push('no_doctor');
  if (encounters < rules.encounters && !evidence.outreach) reasons.push('no_encounter');
  return reasons;
}

/** Verdict of every visit, by visit, and how many count.
 * @param {Proof[]} proofs of one village and month @param {Rules} rules
 */
export function judgeMonth(proofs, rules) {
  const verdicts = new Map(proofs.map((proof) => [proof.visit, judgeVisit(proof, rules)]));
  const refuse = (/** @type {Proof} */ proof, /** @type {string} */ reason) => {
    const { state, reasons, flags } = /** @type {Verdict} */ (verdicts.get(proof.visit));
    const words = ordered([...reasons, reason], [...REASONS, ...REVIEW_REASONS]);
    verdicts.set(proof.visit, { state: state === 'short' ? state : 'not_counted', reasons: words, flags });
  };
  for (const proof of rivals(proofs)) refuse(proof, 'duplicate_vehicle');
  let [counted, last] = [0, -Infinity];
  const byDay = [...proofs].sort((one, other) => one.evidence.day - other.evidence.day || compareTexts(one.visit, other.visit));
  for (const proof of byDay) {
    if (verdicts.get(proof.visit)?.state !== 'counted') continue;
    const { day } = proof.evidence;
    if (day - last < Math.max(1, rules.days_apart)) refuse(proof, 'too_close_to_previous');
    else [counted, last] = [counted + 1, day];
  }
  return { verdicts, counted };
}

/** Visits on a day on which another vehicle stayed longer. What a person refused stands in nobody's way.
 * @param {Proof[]} proofs
 */
function rivals(proofs) {
  const present = proofs.filter((proof) => proof.mergedInto === null && proof.dwell_ms !== null && proof.decision !== 'refused');
  /** @type {Map<number, Proof>} */
  const longest = new Map();
  for (const proof of present) {
    const rival = longest.get(proof.evidence.day);
    const longer = rival === undefined ? 1 : (proof.dwell_ms ?? 0) - (rival.dwell_ms ?? 0) || compareTexts(rival.visit, proof.visit);
    if (longer > 0) longest.set(proof.evidence.day, proof);
  }
  return present.filter((proof) => proof.origin !== longest.get(proof.evidence.day)?.origin);
}

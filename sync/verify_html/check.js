// The whole of a bundle, in the order of docs/evidence.md, section 4.

import { hex, same, utf8, compareTexts } from './bytes.js';
import { readBundle } from './bundle.js';
import { localDay, monthOf, writtenDay, writtenMoment } from './calendar.js';
import { readEntry } from './entries.js';
import { compared } from './conflicts.js';
import { NotProven, Unreadable } from './faults.js';
import { sha256 } from './hashes.js';
import { judgeMonth, merged, proofOf } from './month.js';
import { fingerprint, publicKeyText, readCheckpoint, readNote, verifiedLines } from './notes.js';
import { readPolicy } from './policy.js';
import { Registry } from './registry.js';
import { PartialTree } from './tree.js';
import { evidenceOf } from './visit.js';
import { WITNESSES } from './witnesses.js';

/** @typedef {import('./notes.js').Key} Key */
/** @typedef {import('./notes.js').Verified} Verified */
/** @typedef {import('./entries.js').Entry} Entry */
/** @typedef {import('./bundle.js').LogPart} LogPart */
/** @typedef {import('./bundle.js').Manifest} Manifest */
/** A checkpoint of which every line by a known key verifies.
 * @typedef {{size: bigint, root: Uint8Array, text: string, own: Verified[], cosigned: Verified[], quorum: boolean}} Signed
 */
/** @typedef {{origin: string, entries: Entry[], hidden: number[], checkpoints: Signed[]}} Journal */
/** @typedef {{policy: import('./policy.js').Policy, county: string, facts: import('./registry.js').RegistryFacts}} Trust */

/** What was found, in the form that `python -m sync.verify --json` prints.
 * @param {Uint8Array} data @param {Uint8Array} policyData @returns {Promise<any>}
 */
export async function check(data, policyData) {
  const found = hex(sha256(data));
  /** @type {string[]} */
  const done = [];
  try {
    return { ...await checked(data, policyData, done), sha256: found, done };
  } catch (fault) {
    if (!(fault instanceof Unreadable || fault instanceof NotProven)) throw fault;
    const result = fault instanceof Unreadable ? 'unreadable' : 'invalid';
    return { result, faults: [{ code: fault.code, detail: fault.message }], sha256: found, done };
  }
}

/** Steps in order; `done` of a report holds those that held. */
export const STEPS = ['policy', 'file', 'registry', 'in_force', 'keys', 'journals', 'visits', 'verdict'];

/** @param {Uint8Array} data @param {Uint8Array} policyData @param {string[]} done */
async function checked(data, policyData, done) {
  const policy = readPolicy(policyData);
  done.push('policy');
  const { manifest, registry, journals, rulesCheckpoint } = await readBundle(data);
  done.push('file');
  const signed = await checkRegistry(registry, manifest, policy);
  const earlier = rulesCheckpoint && await checkEarlier(rulesCheckpoint, registry, signed, policy);
  done.push('registry');
  const origins = [...journals.keys()];
  const shown = new Registry(registry.entries, signed.size);
  const facts = shown.facts(manifest.village, manifest.month, manifest.practice, origins);
  done.push('in_force');
  refuseSharedKeys(policy, facts);
  done.push('keys');
  const trust = { policy, county: manifest.county, facts };
  /** @type {Map<string, Journal>} */
  const read = new Map();
  for (const [origin, part] of journals) read.set(origin, await readJournal(origin, part, trust));
  done.push('journals');
  const visits = manifest.visits.map((claim) => {
    const journal = /** @type {Journal} */ (read.get(claim.origin));
    return { claim, ...checkVisit(claim, manifest, journal, trust) };
  });
  done.push('visits');
  const found = { ...report(manifest, signed, trust, visits), rules_witnessed: rulesWitnessed(facts.rulesDue, earlier ? [signed, earlier] : [signed], manifest.county) };
  if (found.result === 'valid') done.push('verdict');
  return found;
}

// registry and keys ------------------------------------------------------------------------------------------------------

/** @param {LogPart} part @param {Manifest} manifest @param {import('./policy.js').Policy} policy @returns {Promise<Signed & {origin: string}>} */
async function checkRegistry(part, manifest, policy) {
  const where = 'registry/checkpoint';
  const note = readNote([...part.checkpoints.values()][0], where);
  const checkpoint = readCheckpoint(note.text, where);
  const logs = policy.logs.filter((key) => key.name === checkpoint.origin);
  const county = checkpoint.origin.replace(/^registry\./, '');
  const isCounty = county !== checkpoint.origin && county === manifest.county
    && [...policy.witnesses.values()].some((key) => key.name === county);
  if (logs.length === 0 || !isCounty) throw new NotProven('origin_mismatch', `${checkpoint.origin} is not the registry of ${manifest.county}`);
  const signed = await signedBy(note, checkpoint, logs, policy, where);
  if (!signed.quorum) throw new NotProven('quorum_missing', `${where} is not cosigned by all whom the policy asks for`);
  const tree = new PartialTree(part.entries, part.hashes);
  if (tree.size !== checkpoint.size) throw new NotProven('tree_incomplete', `the registry shows ${tree.size} places of ${checkpoint.size}`);
  if (!same(tree.root(checkpoint.size), checkpoint.root)) throw new NotProven('root_mismatch', `${where} has another root`);
  return { ...signed, origin: checkpoint.origin };
}

/** An older checkpoint of the same registry.
 * @param {Uint8Array} data @param {LogPart} part @param {Signed & {origin: string}} newest @param {import('./policy.js').Policy} policy @returns {Promise<Signed>}
 */
async function checkEarlier(data, part, newest, policy) {
  const where = 'registry/rules-checkpoint';
  const note = readNote(data, where);
  const checkpoint = readCheckpoint(note.text, where);
  if (checkpoint.origin !== newest.origin || checkpoint.size < 1n || checkpoint.size > newest.size) {
    throw new NotProven('origin_mismatch', `${where} is no earlier checkpoint of ${newest.origin}`);
  }
  const signed = await signedBy(note, checkpoint, policy.logs.filter((key) => key.name === newest.origin), policy, where);
  if (!signed.quorum) throw new NotProven('quorum_missing', `${where} is not cosigned by all whom the policy asks for`);
  const root = new PartialTree(part.entries, part.hashes).root(checkpoint.size);
  if (!same(root, checkpoint.root)) throw new NotProven('root_mismatch', `${where} has another root`);
  return signed;
}

/** When another than the county first cosigned a checkpoint over the rules of the month; null for the defaults.
 * @param {import('./registry.js').RulesDue | null} rulesDue @param {Signed[]} shown @param {string} county
 */
function rulesWitnessed(rulesDue, shown, county) {
  if (rulesDue === null) return null;
  const { place, due } = rulesDue;
  const times = shown.filter(({ size }) => size > BigInt(place))
    .flatMap(({ cosigned }) => cosigned.filter(({ key }) => key.name !== county).map(({ at_s }) => at_s * 1000));
  const at = times.length ? Math.min(...times) : null;
  return {
    place,
    due_on: writtenDay(due),
    at: at === null ? null : writtenMoment(at),
    in_time: at !== null && localDay(at) <= due,
  };
}

/** @param {import('./notes.js').Note} note @param {import('./notes.js').Checkpoint} checkpoint @param {Key[]} logKeys @param {import('./policy.js').Policy} policy @param {string} where @returns {Promise<Signed>} */
async function signedBy(note, checkpoint, logKeys, policy, where) {
  const own = await verifiedLines(note, logKeys, where);
  const cosigned = await verifiedLines(note, [...policy.witnesses.values()], where);
  if (own.length === 0) throw new NotProven('signature_missing', `${where} is not signed by the log ${checkpoint.origin}`);
  return { size: checkpoint.size, root: checkpoint.root, text: note.text, own, cosigned, quorum: policy.satisfiedBy(cosigned) };
}

/** One key, one role: a cosignature does not say whose it is.
 * @param {import('./policy.js').Policy} policy @param {import('./registry.js').RegistryFacts} facts
 */
function refuseSharedKeys(policy, facts) {
  /** @type {Map<string, string>} */
  const roles = new Map();
  const take = (/** @type {string} */ role, /** @type {Key} */ key) => {
    const other = roles.get(publicKeyText(key)) ?? role;
    if (other !== role) throw new NotProven('key_in_two_roles', `${other} and ${role} have the same key`);
    roles.set(publicKeyText(key), role);
  };
  for (const key of policy.logs) take(`log ${key.name}`, key);
  for (const key of policy.witnesses.values()) take(`witness ${key.name}`, key);
  for (const [origin, { keys }] of facts.vehicles) for (const { key } of keys) take(`vehicle ${origin}`, key);
}

// journals ---------------------------------------------------------------------------------------------------------------

/** @param {string} origin @param {LogPart} part @param {Trust} trust @returns {Promise<Journal>} */
async function readJournal(origin, part, { policy, facts }) {
  const tree = new PartialTree(part.entries, part.hashes);
  const vehicle = /** @type {import('./registry.js').Vehicle} */ (facts.vehicles.get(origin));
  const checkpoints = [];
  for (const size of [...part.checkpoints.keys()].sort((one, other) => (one < other ? -1 : 1))) {
    const where = `journal/${origin}/checkpoints/${size}`;
    const note = readNote(/** @type {Uint8Array} */ (part.checkpoints.get(size)), where);
    const checkpoint = readCheckpoint(note.text, where);
    if (checkpoint.origin !== origin || checkpoint.size !== size) throw new NotProven('origin_mismatch', `${where} is of another log or size`);
    if (vehicle.revoked !== undefined && size > BigInt(vehicle.revoked)) throw new NotProven('key_not_valid_at_size', `${where}: the vehicle is revoked`);
    const keys = vehicle.keys.filter(({ from, until }) => from <= size && (until === undefined || size <= until)).map(({ key }) => key);
    checkpoints.push(await signedBy(note, checkpoint, keys, policy, where));
    if (!same(tree.root(size), checkpoint.root)) throw new NotProven('root_mismatch', `${where}: entries and hashes give another root`);
  }
  if (tree.size !== checkpoints[checkpoints.length - 1].size) throw new NotProven('tree_incomplete', `${origin} goes beyond its largest checkpoint`);
  const entries = [...part.entries].map(([n, body]) => readEntry(body, n, origin));
  entries.forEach((entry, place) => {
    if (place && entry.boot < entries[place - 1].boot) throw new NotProven('boot_order', `${origin}: entry ${entry.n} is of an earlier boot`);
  });
  const hidden = part.hashes.filter(({ level }) => level === 0n).map(({ index }) => Number(index));
  return { origin, entries, hidden, checkpoints };
}

// visits -----------------------------------------------------------------------------------------------------------------

/** @param {import('./bundle.js').Claim} claim @param {Manifest} manifest @param {Journal} journal @param {Trust} trust */
function checkVisit(claim, manifest, journal, trust) {
  const openings = journal.entries.filter((entry) => entry.kind === 'visit_opened/1' && entry.fields.visit_id === claim.visit);
  if (openings.length === 0) throw new NotProven('visit_missing', `no entry of ${claim.origin} opens visit ${claim.visit}`);
  if (openings.length > 1) throw new NotProven('visit_twice', `${openings.length} entries open visit ${claim.visit}`);
  const [opened] = openings;
  const [first, last] = rangeOf(opened, journal);
  const within = journal.entries.filter((entry) => first <= entry.n && entry.n <= last);
  const hidden = journal.hidden.filter((place) => first <= place && place <= last);
  if (within.length + hidden.length !== last + 1 - first) {
    throw new NotProven('range_incomplete', `visit ${claim.visit}: a place of its range is only there among others`);
  }
  if (within.some((entry) => entry.practice !== manifest.practice)) {
    throw new NotProven('practice_mismatch', `visit ${claim.visit}: practice and the real thing are mixed`);
  }
  const { bracket, sealed } = bracketOf(claim, opened, within, last, journal, trust);
  const evidence = evidenceOf(claim.visit, within, hidden, trust.facts.areasOf(opened.fields.village), [first, last]);
  const decision = trust.facts.decisions.get(claim.visit);
  const word = decision !== undefined && decision.origin === claim.origin ? decision.decision : null;
  return { proof: proofOf(claim.visit, claim.origin, evidence, trust.facts.rules, bracket, word), shown: within.length, sealed };
}

/** From the boot to the closing; without one, to the last place that is there singly.
 * @param {Entry} opened @param {Journal} journal @returns {[number, number]}
 */
function rangeOf(opened, journal) {
  const boot = journal.entries.filter((entry) => entry.kind === 'boot/1' && entry.n <= opened.n).pop();
  if (boot === undefined || boot.boot !== opened.boot) {
    throw new NotProven('range_incomplete', `the beginning of boot ${opened.boot} of ${journal.origin} is not shown`);
  }
  const closed = journal.entries.find((entry) => entry.kind === 'visit_closed/1' && entry.n > opened.n
    && entry.fields.visit_id === opened.fields.visit_id);
  if (closed !== undefined) return [boot.n, closed.n];
  const singly = new Set([...journal.hidden, ...journal.entries.map((entry) => entry.n)]);
  let last = opened.n;
  while (singly.has(last + 1)) last += 1;
  return [boot.n, last];
}

/** @param {import('./bundle.js').Claim} claim @param {Entry} opened @param {Entry[]} within @param {number} last @param {Journal} journal @param {Trust} trust */
function bracketOf(claim, opened, within, last, journal, { county }) {
  const covering = journal.checkpoints.filter(({ size }) => size > BigInt(last));
  const times = covering.flatMap(({ cosigned }) => cosigned.filter(({ key }) => key.name === county).map(({ at_s }) => at_s * 1000));
  if (times.length === 0) throw new NotProven('not_covered', `visit ${claim.visit}: no checkpoint that the county cosigned covers its end`);
  const sealed = covering.find(({ quorum }) => quorum);
  if (sealed === undefined) throw new NotProven('quorum_missing', `visit ${claim.visit}: not cosigned by all whom the policy asks for`);
  const anchor = within.filter((entry) => entry.kind === 'anchor/1' && entry.n < opened.n).pop();
  const bracket = { known: anchor === undefined ? null : knownAt(anchor, journal, county), sealed: Math.min(...times) };
  if (bracket.known !== null && bracket.sealed < bracket.known) {
    throw new NotProven('bracket_order', `visit ${claim.visit}: sealed before the checkpoint that its boot knew`);
  }
  return { bracket, sealed };
}

/** Cosigning time of the very receipt that the vehicle held.
 * @param {Entry} anchor @param {Journal} journal @param {string} county
 */
function knownAt({ n, fields }, journal, county) {
  const signed = journal.checkpoints.find(({ size, root }) => size === BigInt(fields.size) && hex(root) === fields.root);
  for (const own of signed?.own ?? []) {
    for (const { key, line, at_s } of signed?.cosigned ?? []) {
      const receipt = `${signed?.text}\n${own.line.written}\n${line.written}\n`;
      if (key.name === county && hex(sha256(utf8(receipt))) === fields.receipt_sha256) return at_s * 1000;
    }
  }
  throw new NotProven('anchor_mismatch', `entry ${n} of ${journal.origin} names a checkpoint that is not the one shown`);
}

// the report -------------------------------------------------------------------------------------------------------------

/** @typedef {{claim: import('./bundle.js').Claim, proof: import('./month.js').Proof, shown: number, sealed: Signed}} CheckedVisit */

/** @param {Manifest} manifest @param {Signed & {origin: string}} signed @param {Trust} trust @param {CheckedVisit[]} visits */
function report(manifest, signed, { policy, facts }, visits) {
  const inTime = visits.map(({ proof }) => proof)
    .sort((one, other) => one.evidence.opened - other.evidence.opened || compareTexts(one.visit, other.visit));
  const together = compared(merged(inTime));
  for (const { visit, evidence } of together) {
    if (evidence.village !== manifest.village) throw new NotProven('village_mismatch', `visit ${visit} is to ${evidence.village}, not to ${manifest.village}`);
    if (monthOf(evidence.day) !== manifest.month) throw new NotProven('month_mismatch', `visit ${visit} was on ${writtenDay(evidence.day)}, not in ${manifest.month}`);
  }
  const { verdicts, counted } = judgeMonth(together, facts.rules);
  const judged = visits.map((checkedVisit) => {
    const { visit } = checkedVisit.claim;
    const proof = /** @type {import('./month.js').Proof} */ (together.find((one) => one.visit === visit));
    return visitReport({ ...checkedVisit, proof }, /** @type {import('./month.js').Verdict} */ (verdicts.get(visit)));
  });
  const wrong = judged.filter(({ claimed, state }) => claimed !== state);
  return {
    result: wrong.length ? 'invalid' : 'valid',
    faults: wrong.map(({ visit, claimed, state }) => (
      { code: 'state_mismatch', detail: `visit ${visit}: claimed ${claimed}, recomputed ${state}` })),
    county: manifest.county,
    village: manifest.village,
    village_name: facts.named.name,
    township: facts.named.township,
    month: manifest.month,
    practice: manifest.practice,
    counted,
    rules: facts.rules,
    registry: { origin: signed.origin, size: Number(signed.size), cosigned: times(signed.cosigned) },
    visits: judged,
    sealed: facts.sealed,
    keys: keysReliedOn(policy, facts),
  };
}

/** Earliest time by key name.
 * @param {Verified[]} cosigned
 */
function times(cosigned) {
  const names = [...new Set(cosigned.map(({ key }) => key.name))].sort();
  return Object.fromEntries(names.map((name) => (
    [name, writtenMoment(Math.min(...cosigned.filter(({ key }) => key.name === name).map(({ at_s }) => at_s * 1000)))])));
}

/** @param {CheckedVisit} visit @param {import('./month.js').Verdict} verdict */
function visitReport({ claim, proof, shown, sealed }, verdict) {
  const { evidence, bracket: { known, sealed: sealedAt } } = proof;
  const inferred_ms = evidence.stays.reduce((sum, stay) => sum + stay.inferred_ms, 0);
  return {
    visit: claim.visit,
    origin: claim.origin,
    day: writtenDay(evidence.day),
    claimed: claim.state,
    state: verdict.state,
    reasons: verdict.reasons,
    flags: verdict.flags,
    t1: known === null ? null : writtenMoment(known),
    t2: sealedAt === null ? null : writtenMoment(sealedAt),
    t2_minus_t1_s: known === null || sealedAt === null ? null : (sealedAt - known) / 1000,
    sealed_by: times(sealed.cosigned),
    stays: evidence.stays.map((stay) => [writtenMoment(stay.arrived), writtenMoment(stay.left)]),
    dwell_s: proof.dwell_ms === null ? null : proof.dwell_ms / 1000,
    inferred_s: inferred_ms / 1000,
    staff: [...evidence.staff].map((said) => JSON.parse(said))
      .sort((one, other) => compareTexts(one[0], other[0]) || compareTexts(one[1], other[1])),
    encounters: proof.encounters,
    outreach: evidence.outreach,
    witnesses: Object.fromEntries(WITNESSES.map((name) => [name, evidence.witnesses[name]])),
    pictures: evidence.pictures,
    entries: { first: evidence.first, last: evidence.last, shown, hidden: evidence.hidden },
  };
}

/** Role, name and fingerprint of every key that this result rests on.
 * @param {import('./policy.js').Policy} policy @param {import('./registry.js').RegistryFacts} facts
 */
function keysReliedOn(policy, facts) {
  const line = (/** @type {string} */ role, /** @type {Key} */ key) => ({ role, name: key.name, fingerprint: fingerprint(key) });
  const logs = policy.logs.map((key) => line('log', key));
  const witnesses = [...policy.witnesses.values()].map((key) => line('witness', key));
  const vehicles = [...facts.vehicles.values()].flatMap(({ keys }) => keys.map(({ key }) => line('vehicle', key)));
  return [...logs, ...witnesses, ...vehicles];
}


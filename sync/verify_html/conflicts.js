// What visits say about one another: one vehicle in two places, one person in two vehicles (docs/evidence.md, section
// 8.7). Pure.

import { lookedAt } from './month.js';

/** @typedef {import('./month.js').Proof} Proof */
/** `role` of a person on duty; empty for a stay.
 * @typedef {{since: number, until: number, proof: Proof, role: string}} Span
 */

/** @param {Proof[]} proofs as `merged` gives them @returns {Proof[]} in the same order */
export function compared(proofs) {
  const standing = proofs.filter(({ mergedInto, decision }) => mergedInto === null && decision !== 'refused');
  /** @type {Map<Proof, Set<string>>} */
  const words = new Map();
  const add = (/** @type {string} */ word, /** @type {Proof[]} */ both) => {
    for (const proof of both) words.set(proof, new Set([...words.get(proof) ?? [], word]));
  };
  for (const [one, other] of together(staysOf(standing))) add('overlapping_stays', [one.proof, other.proof]);
  for (const [one, other] of together(dutiesOf(standing))) {
    const atHome = one.proof.evidence.village === other.proof.evidence.village
      && [one, other].every(({ role }) => role === 'village_doctor');
    if (one.proof.origin !== other.proof.origin && !atHome) add('staff_in_two_vehicles', [one.proof, other.proof]);
  }
  return proofs.map((proof) => lookedAt(proof, words.get(proof) ?? []));
}

/** The stays of each vehicle.
 * @param {Proof[]} proofs
 */
const staysOf = (proofs) => byName(proofs.flatMap((proof) => (
  proof.evidence.stays.map(({ arrived, left }) => ({ name: proof.origin, since: arrived, until: left, proof, role: '' })))));

/** When each person was on duty during stays.
 * @param {Proof[]} proofs
 */
const dutiesOf = (proofs) => byName(proofs.flatMap((proof) => proof.evidence.onDuty.flatMap(({ person, role, since, until }) => (
  proof.evidence.stays.map(({ arrived, left }) => (
    { name: person, since: Math.max(since, arrived), until: Math.min(until, left), proof, role }))))));

/** @param {(Span & {name: string})[]} spans @returns {Span[][]} */
function byName(spans) {
  /** @type {Map<string, Span[]>} */
  const found = new Map();
  for (const span of spans) found.set(span.name, [...found.get(span.name) ?? [], span]);
  return [...found.values()];
}

/** Pairs of one list that share more than a moment and are of two visits.
 * @param {Span[][]} lists @returns {[Span, Span][]}
 */
const together = (lists) => lists.flatMap((spans) => spans.flatMap((one, place) => spans.slice(place + 1)
  .filter((other) => one.proof !== other.proof && Math.max(one.since, other.since) < Math.min(one.until, other.until))
  .map((other) => /** @type {[Span, Span]} */ ([one, other]))));

// Time is checked, not trusted: wall minus monotonic time within each boot (docs/evidence.md, section 8.1). Pure.

import { FIRST_MS, LAST_MS } from './calendar.js';

/** @typedef {import('./entries.js').Entry} Entry */
/** `by`: milliseconds of the declared step; `offset`: wall minus monotonic time after it.
 * @typedef {{entry: Entry, by: bigint, offset: bigint, trusted: boolean}} Step
 */

const AGREES_MS = 5_000;
const DECLARED_WITHIN_MS = 60_000;

/** Exact, whatever numbers an entry says.
 * @param {Entry} entry
 */
const offsetOf = (entry) => BigInt(entry.at) - BigInt(entry.mono);

/** @param {bigint} ms */
const isStep = (ms) => ms > BigInt(AGREES_MS) || ms < BigInt(-AGREES_MS);

/** Moved, and held where it can be reckoned with.
 * @param {number} at @param {bigint} by
 */
function movedTo(at, by) {
  const moved = BigInt(at) + by;
  return moved < BigInt(FIRST_MS) ? FIRST_MS : moved > BigInt(LAST_MS) ? LAST_MS : Number(moved);
}

/** What is found about the clock over the entries of a range. */
export class Clock {
  /** @param {Entry[]} entries in order of places */
  constructor(entries) {
    /** @type {Set<string>} */
    this.review = new Set();
    /** @type {Set<string>} */
    this.flags = new Set();
    /** When each boot's boot/1 was written.
     * @type {Map<number, number>}
     */
    this.startedAt = new Map();
    /** Milliseconds by place.
     * @type {Map<number, bigint>}
     */
    this.movedBy = new Map();
    if (!countedThrough(entries)) this.review.add('boots_missing');
    /** @type {Map<number, Entry[]>} */
    const boots = new Map();
    for (const entry of entries) boots.set(entry.boot, [...boots.get(entry.boot) ?? [], entry]);
    let last = -Infinity;
    for (const written of boots.values()) {
      this.#boot(written);
      const times = written.map((entry) => this.at(entry));
      const held = written.some((entry, place) => BigInt(entry.at) + this.moved(entry) !== BigInt(times[place]));
      if (held) this.review.add('clock_stepped');
      if (smallest(times) < last - AGREES_MS) {
        this.review.add('clock_stepped');
        this.flags.add('clock_set_back');
      }
      last = Math.max(last, largest(times));
      if (written[0].kind === 'boot/1') this.startedAt.set(written[0].boot, times[0]);
    }
  }

  /** By how much the times that the entry says are moved.
   * @param {Entry} entry
   */
  moved(entry) { return this.movedBy.get(entry.n) ?? 0n; }

  /** A moment that an entry says, moved like the entry.
   * @param {Entry} entry @param {number} at
   */
  corrected(entry, at) { return movedTo(at, this.moved(entry)); }

  /** When it was written, corrected.
   * @param {Entry} entry
   */
  at(entry) { return this.corrected(entry, entry.at); }

  /** @param {Entry[]} written */
  #boot(written) {
    const first = offsetOf(written[0]);
    /** @type {Step[]} */
    const steps = [];
    for (const entry of written) {
      if (entry.kind !== 'clock/1') continue;
      const by = BigInt(entry.fields.seconds_ms);
      const trusted = entry.fields.source === 'gnss' || entry.fields.source === 'ntp';
      steps.push({ entry, by, offset: (steps.length ? steps[steps.length - 1].offset : first) + by, trusted });
    }
    for (const { by, trusted } of steps) {
      if (!isStep(by)) continue;
      if (!trusted) this.review.add('clock_stepped');
      this.flags.add(trusted ? 'clock_corrected' : 'clock_set_by_hand');
      if (by < 0) this.flags.add('clock_set_back');
    }
    let behind = 0;
    for (const entry of written) {
      if (entry.kind === 'clock/1') behind += 1;
      this.movedBy.set(entry.n, this.#moved(entry, behind, first, steps));
    }
  }

  /** @param {Entry} entry @param {number} behind declared steps up to and with it @param {bigint} first @param {Step[]} steps */
  #moved(entry, behind, first, steps) {
    const offset = offsetOf(entry);
    const expected = behind ? steps[behind - 1].offset : first;
    const next = steps[behind];
    let level = behind;
    if (isStep(offset - expected)) {
      const declaredSoon = next !== undefined && next.entry.mono - entry.mono <= DECLARED_WITHIN_MS;
      if (!declaredSoon || isStep(offset - next.offset)) {
        this.review.add('clock_stepped');
        if (offset < expected) this.flags.add('clock_set_back');
        return first + total(steps, true) - offset;
      }
      level = behind + 1;
    }
    return total(steps.slice(level), true) - total(steps.slice(0, level), false);
  }
}

/** @param {Step[]} steps @param {boolean} trusted */
const total = (steps, trusted) => steps.reduce((sum, step) => sum + (step.trusted === trusted ? step.by : 0n), 0n);

/** The boot counter rises by one, at a boot/1 entry, and not otherwise.
 * @param {Entry[]} entries
 */
function countedThrough(entries) {
  return entries.every((entry, place) => {
    const before = place ? entries[place - 1].boot : undefined;
    if (entry.kind === 'boot/1') return before === undefined || entry.boot === before + 1;
    return entry.boot === before;
  });
}

/** @param {number[]} numbers */
export const smallest = (numbers) => numbers.reduce((one, other) => Math.min(one, other), Infinity);

/** @param {number[]} numbers */
export const largest = (numbers) => numbers.reduce((one, other) => Math.max(one, other), -Infinity);

// Where a vehicle was: from fixes to stays in villages (docs/evidence.md, section 8.4). All times are milliseconds. Pure.

import { distance_m } from './areas.js';
import { localDay } from './calendar.js';

/** @typedef {import('./areas.js').Area} Area */
/** @typedef {import('./track.js').Point} Point */
/** `departed`: null while it lasts.
 * @typedef {{code: string, arrived: number, departed: number | null, seen: number, left: number, dwell_ms: number, inferred_ms: number, flags: string[]}} Stay
 */
/** The code named on duty at a moment; null: nobody named one; "": it is not known which.
 * @typedef {(at: number) => string | null} Named
 */
/** Metres that the odometer moved between two moments; null without an odometer.
 * @typedef {(since: number, until: number) => number | null} Moved
 */

export const MAX_ACCURACY_M = 50;
export const BUFFER_M = 100;
const MIN_SATELLITES = 5;
const MAX_SPEED_M_S = 70;
const AGREE_MS = 60_000;
const MAX_STEP_MS = 900_000;

/** @param {Point} one @param {Point} other */
const apart_m = (one, other) => distance_m(one.latitude, one.longitude, other.latitude, other.longitude);

/** A stay under way. */
class Open {
  /** @param {Area} area @param {Point} first */
  constructor(area, first) {
    this.area = area;
    this.arrived = first.at;
    this.last = first;
    this.observed_ms = 0;
    this.inferred_ms = 0;
    /** @type {Set<string>} */
    this.flags = new Set();
  }

  /** @param {Point} fix */
  stepTo(fix) {
    const step = fix.at - this.last.at;
    if (step <= MAX_STEP_MS) this.observed_ms += step;
    else {
      this.inferred_ms += step;
      this.flags.add('gnss_gap_inferred');
    }
    this.last = fix;
  }

  /** @param {number | null} departed @returns {Stay} */
  stay(departed) {
    const flags = new Set(this.flags);
    if (this.inferred_ms > this.observed_ms) flags.add('inferred_more_than_half');
    const inferred_ms = Math.min(this.inferred_ms, this.observed_ms);
    return {
      code: this.area.code,
      arrived: this.arrived,
      departed,
      seen: this.last.at,
      left: departed ?? this.last.at,
      dwell_ms: this.observed_ms + inferred_ms,
      inferred_ms,
      flags: [...flags],
    };
  }
}

/** Follows fixes in the order given; `feed` and `conceal` return the stays that ended. */
export class Presence {
  /** @param {Area[]} areas @param {Named} named @param {Moved} moved */
  constructor(areas, named, moved) {
    this.areas = areas;
    this.named = named;
    this.moved = moved;
    /** @type {Open | null} */
    this.open = null;
    /** A change of place that waits for agreement.
     * @type {{area: Area | null, fixes: Point[]} | null}
     */
    this.change = null;
    /** @type {Point | null} */
    this.last = null;
    /** After something hidden.
     * @type {{wait: number, since: number | null} | null}
     */
    this.doubt = null;
    this.notBefore = -Infinity;
  }

  /** @param {Point} fix @returns {Stay[]} */
  feed(fix) {
    const refusal = this.#refusal(fix);
    if (refusal !== null) {
      if (refusal !== '') this.open?.flags.add(refusal);
      if (refusal === 'position_jump' && this.doubt !== null) {
        this.doubt = { wait: MAX_STEP_MS, since: null };
        this.last = fix;
      }
      return [];
    }
    const ended = this.#cutAfterTravel(fix);
    this.last = fix;
    if (this.doubt !== null) {
      this.doubt.since ??= fix.at;
      if (fix.at - this.doubt.since < this.doubt.wait) return ended;
    }
    const place = this.doubt === null ? this.#place(this.open?.area ?? null, fix) : this.#placeInAnyCase(fix);
    if (place === (this.open?.area ?? null)) {
      this.change = null;
      this.open?.stepTo(fix);
      return ended;
    }
    return [...ended, ...this.#consider(place, fix)];
  }

  /** What was recorded since the last fix is hidden.
   * @param {number} hole_ms @returns {Stay[]}
   */
  conceal(hole_ms) {
    if (this.last !== null) this.notBefore = this.last.at;
    const open = this.open;
    this.doubt = { wait: Math.min(MAX_STEP_MS, Math.max(hole_ms, this.doubt?.wait ?? 0)), since: null };
    this.open = this.change = this.last = null;
    return open === null ? [] : [open.stay(open.last.at)];
  }

  /** Null for a valid fix, else the flag that it leaves.
   * @param {Point} fix
   */
  #refusal(fix) {
    if (fix.at <= (this.last?.at ?? this.notBefore)) return '';
    if (fix.spoof) return 'spoof_flag';
    if (fix.accuracy_m > MAX_ACCURACY_M) return 'low_accuracy';
    if (fix.satellites < MIN_SATELLITES) return 'few_satellites';
    const step = this.last === null ? Infinity : fix.at - this.last.at;
    const jumps = this.last !== null && step <= MAX_STEP_MS && apart_m(this.last, fix) > MAX_SPEED_M_S * (step / 1000);
    return jumps ? 'position_jump' : null;
  }

  /** After a long hole: what waited starts anew; a stay in which the vehicle moved ends before the hole.
   * @param {Point} fix
   */
  #cutAfterTravel(fix) {
    if (this.last === null || fix.at - this.last.at <= MAX_STEP_MS) return [];
    this.change = null;
    const open = this.open;
    if (open === null || this.#atRest(open.last, fix)) return [];
    open.flags.add('moved_during_gap');
    this.open = null;
    return [open.stay(open.last.at)];
  }

  /** @param {Point} before @param {Point} after */
  #atRest(before, after) {
    const moved_m = this.moved(before.at, after.at);
    if (moved_m !== null) return moved_m >= 0 && moved_m <= BUFFER_M;
    return apart_m(before, after) <= Math.max(before.accuracy_m, after.accuracy_m) + BUFFER_M;
  }

  /** @param {Area | null} place @param {Point} fix @returns {Stay[]} */
  #consider(place, fix) {
    if (this.change === null || this.change.area !== place) {
      this.change = { area: place, fixes: [fix] };
      return [];
    }
    this.change.fixes.push(fix);
    const [first, ...more] = this.change.fixes;
    if (fix.at - first.at < AGREE_MS) return [];
    const ended = this.open === null ? [] : [this.open.stay(first.at)];
    this.open = this.change = null;
    if (place !== null) {
      this.doubt = null;
      this.open = new Open(place, first);
      for (const later of more) this.open.stepTo(later);
    }
    return ended;
  }

  /** The village this fix belongs to wherever the vehicle was before; null when that would decide.
   * @param {Point} fix
   */
  #placeInAnyCase(fix) {
    const place = this.#place(null, fix);
    return this.areas.every((before) => this.#place(before, fix) === place) ? place : null;
  }

  /** The village that this fix belongs to, given where the vehicle is already.
   * @param {Area | null} current @param {Point} fix @returns {Area | null}
   */
  #place(current, fix) {
    const { latitude, longitude } = fix;
    const today = localDay(fix.at);
    const inside = this.areas.filter((area) => (area === current || area.inForce(today)) && area.contains(latitude, longitude));
    if (current === null || inside.includes(current) || current.outside_m(latitude, longitude) > BUFFER_M) {
      return this.#chosen(inside, fix);
    }
    return this.#chosen(inside.filter((area) => area.inside_m(latitude, longitude) > fix.accuracy_m), fix) ?? current;
  }

  /** @param {Area[]} areas @param {Point} fix @returns {Area | null} */
  #chosen(areas, fix) {
    if (areas.length < 2) return areas[0] ?? null;
    const named = this.named(fix.at);
    if (named === '') return null;
    const own = areas.filter((area) => area.code === named);
    const from_m = (/** @type {Area} */ area) => area.fromCentre_m(fix.latitude, fix.longitude);
    return (own.length ? own : areas).reduce((nearest, area) => (from_m(area) < from_m(nearest) ? area : nearest));
  }
}

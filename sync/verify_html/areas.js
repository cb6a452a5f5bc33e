// Areas of villages: inside, outside, and how far from the border (docs/evidence.md, section 8.3). Degrees are doubles,
// made of the integers by one division. Pure.

import { dayOf } from './calendar.js';

export const METRES_PER_DEGREE = 111_195.08;
const DEFAULT_RADIUS_M = 1500;

/** @param {number} degrees */
const cosine = (degrees) => Math.cos(degrees * (Math.PI / 180));

/** Metres between two positions near each other.
 * @param {number} latA @param {number} lonA @param {number} latB @param {number} lonB
 */
export function distance_m(latA, lonA, latB, lonB) {
  const east = (lonB - lonA) * cosine((latA + latB) / 2);
  return Math.hypot(latB - latA, east) * METRES_PER_DEGREE;
}

/** One `village/1` entry: an area for the days of its validity. */
export class Area {
  /** @param {import('./canonical.js').Fields} said its checked fields */
  constructor(said) {
    this.code = /** @type {string} */ (said.code);
    this.from = /** @type {number} */ (dayOf(said.valid_from));
    this.until = Object.hasOwn(said, 'valid_until') ? /** @type {number} */ (dayOf(said.valid_until)) : Infinity;
    this.cells = new Set(/** @type {string[]} */ (Object.hasOwn(said, 'cells') ? said.cells : []));
    const [longitude, latitude] = said.centre;
    this.centre = { latitude: latitude / 1e7, longitude: longitude / 1e7 };
    this.radius_m = /** @type {number} */ (Object.hasOwn(said, 'radius_m') ? said.radius_m : DEFAULT_RADIUS_M);
    /** Rings of [longitude, latitude]; null for a circle.
     * @type {[number, number][][] | null}
     */
    this.rings = Object.hasOwn(said, 'rings')
      ? said.rings.map((/** @type {[number, number][]} */ ring) => ring.map(([x, y]) => [x / 1e7, y / 1e7]))
      : null;
  }

  /** @param {number} day */
  inForce(day) { return this.from <= day && day <= this.until; }

  /** @param {number} latitude @param {number} longitude */
  fromCentre_m(latitude, longitude) {
    return distance_m(this.centre.latitude, this.centre.longitude, latitude, longitude);
  }

  /** @param {number} latitude @param {number} longitude */
  contains(latitude, longitude) {
    if (this.rings === null) return this.fromCentre_m(latitude, longitude) <= this.radius_m;
    let inside = false;
    for (const ring of this.rings) {
      let before = ring[ring.length - 1];
      for (const point of ring) {
        if ((point[1] > latitude) !== (before[1] > latitude)) {
          const meets = point[0] + (before[0] - point[0]) * (latitude - point[1]) / (before[1] - point[1]);
          if (longitude < meets) inside = !inside;
        }
        before = point;
      }
    }
    return inside;
  }

  /** Metres to the border; 0 inside.
   * @param {number} latitude @param {number} longitude
   */
  outside_m(latitude, longitude) { return this.contains(latitude, longitude) ? 0 : this.#toBorder_m(latitude, longitude); }

  /** Metres to the border; 0 outside.
   * @param {number} latitude @param {number} longitude
   */
  inside_m(latitude, longitude) { return this.contains(latitude, longitude) ? this.#toBorder_m(latitude, longitude) : 0; }

  /** @param {number} latitude @param {number} longitude */
  #toBorder_m(latitude, longitude) {
    if (this.rings === null) return Math.abs(this.fromCentre_m(latitude, longitude) - this.radius_m);
    const across = METRES_PER_DEGREE * cosine(latitude);
    let nearest = Infinity;
    for (const ring of this.rings) {
      const plane = ring.map(([x, y]) => [(x - longitude) * across, (y - latitude) * METRES_PER_DEGREE]);
      let [ax, ay] = plane[plane.length - 1];
      for (const [bx, by] of plane) {
        const [dx, dy] = [bx - ax, by - ay];
        const squared = dx * dx + dy * dy;
        const along = squared === 0 ? 0 : Math.min(1, Math.max(0, -(ax * dx + ay * dy) / squared));
        const [x, y] = [ax + along * dx, ay + along * dy];
        nearest = Math.min(nearest, x * x + y * y);
        [ax, ay] = [bx, by];
      }
    }
    return Math.sqrt(nearest);
  }
}

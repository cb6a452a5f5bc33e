// Tracks: `track/1` entries as points with corrected times (docs/evidence.md, section 8.2). Pure.

import { EARLIEST_MS, LATEST_MS } from './calendar.js';
import { largest, smallest } from './clock.js';

const NO_FIX_ACCURACY_M = 9999;
const [EARLY_MS, LATE_MS] = [5_000, 60_000];

/** `fix`: false for a moment without a position.
 * @typedef {{at: number, latitude: number, longitude: number, accuracy_m: number, satellites: number, spoof: boolean, fix: boolean}} Point
 */
/** @typedef {{points: Point[], odometer_m: number | undefined, odometerEnd_m: number | undefined, cells: string[], flags: string[]}} Track */

/** The track of an entry, without points that cannot be its own; null when nothing is left.
 * @param {import('./entries.js').Entry} entry @param {import('./clock.js').Clock} clock @returns {Track | null}
 */
export function trackOf(entry, clock) {
  const said = pointsOf(entry.fields);
  if (said === null) return null;
  const [since, until] = [clock.startedAt.get(entry.boot), clock.at(entry) + LATE_MS];
  const points = said.map((point) => ({ ...point, at: clock.corrected(entry, point.at) }))
    .filter(({ at }) => at <= until && (since === undefined || at >= since - EARLY_MS));
  if (points.length === 0) return null;
  const { odometer_m, odometer_end_m: odometerEnd_m, cells = [], flags = [] } = entry.fields;
  return { points, odometer_m, odometerEnd_m, cells: texts(cells), flags: texts(flags) };
}

/** @param {unknown[]} list @returns {string[]} */
const texts = (list) => /** @type {string[]} */ (list.filter((item) => typeof item === 'string'));

/** @param {import('./canonical.js').Fields} fields @returns {Point[] | null} */
function pointsOf({ started_at, lat_e7, lon_e7, accuracy_m, satellites, steps }) {
  let [at, latitude, longitude] = [Date.parse(started_at), lat_e7, lon_e7];
  const points = [point(at, latitude, longitude, accuracy_m, satellites, false)];
  for (const [dt_s, dlat, dlon, accuracy, seen, spoof = 0] of steps) {
    [at, latitude, longitude] = [at + dt_s * 1000, latitude + dlat, longitude + dlon];
    const next = point(at, latitude, longitude, accuracy, seen, spoof !== 0);
    if (dt_s === 0 && points.length === 1) points[0] = next; else points.push(next);
  }
  const times = points.map((one) => one.at);
  return smallest(times) < EARLIEST_MS || largest(times) > LATEST_MS ? null : points;
}

/** @param {number} at @param {number} lat_e7 @param {number} lon_e7 @param {number} accuracy_m @param {number} satellites @param {boolean} spoof @returns {Point} */
function point(at, lat_e7, lon_e7, accuracy_m, satellites, spoof) {
  const fix = accuracy_m < NO_FIX_ACCURACY_M;
  return { at, latitude: lat_e7 / 1e7, longitude: lon_e7 / 1e7, accuracy_m, satellites, spoof, fix };
}

/** (moment, metres) of every odometer reading, in order of tracks.
 * @param {Track[]} tracks @returns {[number, number][]}
 */
export function odometerMarks(tracks) {
  /** @type {[number, number][]} */
  const marks = [];
  for (const { points, odometer_m, odometerEnd_m } of tracks) {
    if (odometer_m !== undefined) marks.push([points[0].at, odometer_m]);
    if (odometerEnd_m !== undefined) marks.push([points[points.length - 1].at, odometerEnd_m]);
  }
  return marks;
}

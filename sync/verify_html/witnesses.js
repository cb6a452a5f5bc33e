// What else than the position says that the vehicle was there (docs/evidence.md, section 8.5). Pure.

import { distance_m } from './areas.js';
import { BUFFER_M, MAX_ACCURACY_M } from './presence.js';
import { odometerMarks } from './track.js';

/** @typedef {import('./presence.js').Stay} Stay */
/** What the witnesses are asked about; `during`: whether a moment lies in the visit's stays.
 * @typedef {{area: import('./areas.js').Area | undefined, stays: Stay[], tracks: import('./track.js').Track[], attached: import('./entries.js').Entry[], served: number[], confirmations: number[], during: (at: number) => boolean}} Seen
 */

export const WITNESSES = ['gnss', 'odometer', 'cells', 'confirmed', 'devices'];
const AGREES_WITHIN = 0.2;
const CONTRADICTS_M = 2000;

/** true agrees, false contradicts, null says nothing.
 * @param {Seen} seen @returns {{[name: string]: boolean | null}}
 */
export function witnessesOf(seen) {
  return {
    gnss: seen.stays.some((stay) => stay.dwell_ms > 0) || null,
    odometer: odometer(seen),
    cells: knownCell(seen) || null,
    confirmed: seen.confirmations.some(seen.during) || null,
    devices: (seen.served.length > 0 && seen.attached.some(hasSerial)) || null,
  };
}

/** @param {Seen} seen */
function odometer({ stays, tracks }) {
  const marks = odometerMarks(tracks);
  const said = stays.map((stay) => {
    const inside = marks.filter(([at]) => stay.arrived <= at && at <= stay.left);
    if (inside.length < 2) return null;
    const [[since, begun_m], [until, ended_m]] = [inside[0], inside[inside.length - 1]];
    return agree(ended_m - begun_m, way_m(tracks, since, until));
  });
  if (said.includes(false)) return false;
  return said.includes(true) || null;
}

/** @param {number} wheels_m @param {number} positions_m */
function agree(wheels_m, positions_m) {
  const [difference, longer] = [Math.abs(wheels_m - positions_m), Math.max(wheels_m, positions_m)];
  if (wheels_m < 0 || difference > CONTRADICTS_M + AGREES_WITHIN * longer) return false;
  return difference <= BUFFER_M + AGREES_WITHIN * longer || null;
}

/** Length of the way; what positions wander within their accuracy is no way.
 * @param {import('./track.js').Track[]} tracks @param {number} since @param {number} until
 */
function way_m(tracks, since, until) {
  let way = 0;
  /** @type {import('./track.js').Point | null} */
  let last = null;
  for (const fix of tracks.flatMap((track) => track.points)) {
    if (!fix.fix || fix.at < since || fix.at > until || fix.accuracy_m > MAX_ACCURACY_M) continue;
    /** @type {number} */
    const step = last === null ? 0 : distance_m(last.latitude, last.longitude, fix.latitude, fix.longitude);
    if (last === null) last = fix;
    else if (step > fix.accuracy_m + last.accuracy_m) [way, last] = [way + step, fix];
  }
  return way;
}

/** @param {Seen} seen */
function knownCell({ area, tracks, during }) {
  const heard = tracks.filter(({ points }) => during(points[points.length - 1].at)).flatMap((track) => track.cells);
  return area !== undefined && heard.some((cell) => area.cells.has(cell));
}

/** @param {import('./entries.js').Entry} entry */
function hasSerial({ fields: { facts } }) {
  const serial = Object.hasOwn(facts, 'serial') ? facts.serial : '';
  return typeof serial !== 'string' || /[^\x1c-\x1f\p{White_Space}]/u.test(serial);
}

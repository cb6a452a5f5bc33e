// Pictures of a visit, as the entries tell of them (docs/evidence.md, section 8.9). Pure.

import { writtenMoment } from './calendar.js';

/** In the form of the report. `outside_m`: whole metres from the village's border, 0 within.
 * @typedef {{entry: number, what: string, sha256: string, taken_at: string, place: number[] | null, accuracy_m: number | null,
 *   outside_m: number | null, during: boolean, name: string, post: string}} Picture
 */

const [FARTHEST_NORTH_E7, FARTHEST_EAST_E7] = [900_000_000, 1_800_000_000];

/** @param {import('./entries.js').Entry[]} entries @param {import('./clock.js').Clock} clock @param {string} visit
 * @param {import('./areas.js').Area | undefined} area @param {(at: number) => boolean} during @returns {Picture[]}
 */
export function picturesOf(entries, clock, visit, area, during) {
  return entries.filter(({ kind, fields }) => kind === 'visit_picture/1' && fields.visit_id === visit).map((entry) => {
    const { fields } = entry;
    const at = clock.corrected(entry, Date.parse(fields.taken_at));
    const place = placeOf(fields);
    return {
      entry: entry.n,
      what: fields.what,
      sha256: fields.sha256,
      taken_at: writtenMoment(at),
      place,
      accuracy_m: fields.accuracy_m ?? null,
      outside_m: area === undefined || place === null ? null : Math.floor(area.outside_m(place[0], place[1])),
      during: during(at),
      name: fields.name ?? '',
      post: fields.post ?? '',
    };
  });
}

/** Latitude and longitude in degrees.
 * @param {any} fields @returns {[number, number] | null}
 */
function placeOf({ lat_e7: latitude, lon_e7: longitude }) {
  if (latitude === undefined || longitude === undefined) return null;
  if (Math.abs(latitude) > FARTHEST_NORTH_E7 || Math.abs(longitude) > FARTHEST_EAST_E7) return null;
  return [latitude / 1e7, longitude / 1e7];
}

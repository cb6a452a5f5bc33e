// Moments are integers: milliseconds since 1970, UTC. Days are integers: days since 1970-01-01 in China (UTC+8). Pure.

const DAY_MS = 86_400_000;
const CHINA_MS = 8 * 3_600_000;
/** The beginning of the year 1. */
export const EARLIEST_MS = -62_135_596_800_000;
/** The end of the year 9999. */
export const LATEST_MS = 253_402_300_799_999;
/** A year from both ends, so that nothing that is added to a moment leaves the calendar. */
export const [FIRST_MS, LAST_MS] = [Date.UTC(2000, 0, 1) - 729_754 * DAY_MS, LATEST_MS - 365 * DAY_MS];
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;
const DATE = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/;

/** Milliseconds of "2026-03-01T08:15:00.250Z"; null when it is no such moment.
 * @param {unknown} text
 */
export function momentOf(text) {
  if (typeof text !== 'string' || !TIME.test(text) || text.startsWith('0000')) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) || new Date(at).toISOString() !== text ? null : at;
}

/** Number of the day "2026-03-01"; null when there is no such day.
 * @param {unknown} text
 */
export function dayOf(text) {
  if (typeof text !== 'string' || !DATE.test(text) || text.startsWith('0000')) return null;
  const at = Date.parse(`${text}T00:00:00.000Z`);
  return Number.isNaN(at) || writtenDay(at / DAY_MS) !== text ? null : at / DAY_MS;
}

/** The date on the wall in China.
 * @param {number} at_ms
 */
export const localDay = (at_ms) => Math.floor((at_ms + CHINA_MS) / DAY_MS);

/** @param {number} day */
export const writtenDay = (day) => new Date(day * DAY_MS).toISOString().slice(0, 10);

/** @param {number} day */
export const monthOf = (day) => writtenDay(day).slice(0, 7);

/** @param {number} at_ms */
export const writtenMoment = (at_ms) => new Date(at_ms).toISOString();

/** "2026-03-01 16:15:00" in China.
 * @param {number} at_ms
 */
export const localMoment = (at_ms) => new Date(at_ms + CHINA_MS).toISOString().slice(0, 19).replace('T', ' ');

/** The last day of a month written YYYY-MM.
 * @param {string} month
 */
export function lastDayOf(month) {
  const [year, number] = month.split('-').map(Number);
  return Date.UTC(year, number, 1) / DAY_MS - 1;
}

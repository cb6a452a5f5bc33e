// Types of the fields of entries: one word each, a "?" behind it where the field may be left out. Pure.

import { dayOf, momentOf } from './calendar.js';

/** @typedef {(value: any) => boolean} Fits */

/** @type {Fits} */
const isObject = (value) => typeof value === 'object' && !Array.isArray(value);
/** @type {Fits} */
const isText = (value) => typeof value === 'string';
/** @type {(fits: Fits, atLeast?: number) => Fits} */
const listOf = (fits, atLeast = 0) => (value) => Array.isArray(value) && value.length >= atLeast && value.every(fits);
/** @type {(named: Fits, fits: Fits) => Fits} */
const mapOf = (named, fits) => (value) => isObject(value) && Object.keys(value).every(named) && Object.values(value).every(fits);
/** @type {(wanted: {[name: string]: string}) => Fits} */
const record = (wanted) => (value) => isObject(value) && misfits(wanted, value).length === 0;
/** @type {(pattern: RegExp) => Fits} */
const text = (pattern) => (value) => isText(value) && pattern.test(value);
/** @type {Fits} */
const isInteger = (value) => typeof value === 'number';
/** @type {Fits} */
const isPlace = (value) => isInteger(value) && value >= 0;
/** @type {Fits} */
const isPosition = (value) => listOf(isInteger)(value) && value.length === 2
  && Math.abs(value[0]) <= 1_800_000_000 && Math.abs(value[1]) <= 900_000_000;
/** @type {Fits} */
const isStep = (value) => listOf(isInteger)(value) && (value.length === 5 || value.length === 6);

const isCode = text(/^[0-9]{12}$/);
const isTownship = text(/^[0-9]{9}$/);
const isMonth = text(/^(20[0-9]{2}-(0[1-9]|1[0-2])|2100-(0[1-9]|1[0-2]))$/);

/** @type {{[name: string]: Fits}} */
const TYPES = {
  text: isText,
  integer: isInteger,
  boolean: (value) => typeof value === 'boolean',
  object: isObject,
  list: Array.isArray,
  texts: listOf(isText),
  place: isPlace,
  time: (value) => momentOf(value) !== null,
  date: (value) => dayOf(value) !== null,
  sha256: text(/^[0-9a-f]{64}$/),
  code: isCode,
  township_code: isTownship,
  month: isMonth,
  decision: (value) => value === 'counted' || value === 'refused',
  position: isPosition,
  codes: listOf(isCode),
  rings: listOf(listOf(isPosition, 3), 1),
  places_by_code: mapOf(isCode, listOf(isPlace, 1)),
  places_by_month: mapOf(isMonth, isPlace),
  places_by_name: mapOf(isText, isPlace),
  verdict_places: mapOf(isMonth, mapOf(isTownship, isPlace)),
  waived: mapOf(isCode, record({ reason: 'text', by: 'text', at: 'time', withdrawn: 'boolean?' })),
  decided: mapOf(isText, record({ origin: 'text', decision: 'decision', reason: 'text', by: 'text', at: 'time' })),
  keys: listOf(record({ key: 'text', from_size: 'place', until_size: 'place?' }), 1),
  revoked: record({ size: 'place', at: 'time', reason: 'text' }),
  verdict_villages: mapOf(isCode, record({ state: 'text', counted: 'integer', visits: 'verdict_visits' })),
  verdict_visits: listOf(record({ visit: 'text', origin: 'text', day: 'date', state: 'text', reasons: 'texts' })),
  salt: (value) => isText(value) && value !== '',
  crew: listOf(record({ person: 'text', role: 'text', name: 'text' })),
  steps: listOf(isStep),
};

/** Names of fields that are missing or of another type.
 * @param {{[name: string]: string}} wanted @param {import('./canonical.js').Fields} said
 */
export function misfits(wanted, said) {
  return Object.entries(wanted).filter(([name, type]) => (
    Object.hasOwn(said, name) ? !TYPES[type.replace('?', '')](said[name]) : !type.endsWith('?')
  )).map(([name]) => name);
}

/** Types by field from one line such as "visit_id:text people:integer?".
 * @param {string} line @returns {{[name: string]: string}}
 */
export const fieldTypes = (line) => Object.fromEntries(line.split(/\s+/).filter(Boolean).map((field) => field.split(':')));

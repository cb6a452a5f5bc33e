// Canonical JSON: RFC 8785 without floats and nulls (docs/evidence.md, section 1). Pure.

import { textOf } from './bytes.js';

const DEEPEST = 32;

/** @typedef {{[name: string]: any}} Fields own properties only */

/** The object that `bytes` are the canonical form of; null for anything else.
 * @param {Uint8Array} bytes @returns {Fields | null}
 */
export function readCanonical(bytes) {
  const text = textOf(bytes);
  if (text === null) return null;
  try {
    const value = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject && written(value, 0) === text ? value : null;
  } catch {
    return null;
  }
}

/** @param {unknown} value @param {number} depth @returns {string} */
function written(value, depth) {
  if (typeof value === 'string' && !/\p{Surrogate}/u.test(value)) return JSON.stringify(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value !== 'object' || value === null || depth > DEEPEST) throw new TypeError('has no canonical form');
  if (Array.isArray(value)) return `[${value.map((item) => written(item, depth + 1)).join()}]`;
  const fields = /** @type {Fields} */ (value);
  const names = Object.keys(fields).sort();
  if (!names.every((name) => /^[\x00-\x7f]*$/.test(name))) throw new TypeError('a key is not ASCII');
  return `{${names.map((name) => `${JSON.stringify(name)}:${written(fields[name], depth + 1)}`).join()}}`;
}

/** A field, or undefined; never something inherited.
 * @param {Fields} fields @param {string} name
 */
export const own = (fields, name) => (Object.hasOwn(fields, name) ? fields[name] : undefined);

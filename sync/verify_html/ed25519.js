// Ed25519 verification: RFC 8032 section 5.1.7 without the cofactor. By the browser where it can, else by the arithmetic
// below; keys and signatures about which libraries differ are refused before either is asked.

import { sha512 } from './hashes.js';
import { same } from './bytes.js';

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = modulo(-121665n * power(121666n, P - 2n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);

/** Extended coordinates: x = X/Z, y = Y/Z, xy = T/Z.
 * @typedef {[bigint, bigint, bigint, bigint]} Point
 */

/** @param {bigint} number */
function modulo(number) { const rest = number % P; return rest < 0n ? rest + P : rest; }

/** @param {bigint} base @param {bigint} exponent */
function power(base, exponent) {
  let [result, square] = [1n, base % P];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = result * square % P;
    square = square * square % P;
  }
  return result;
}

/** @param {Uint8Array} bytes */
const little = (bytes) => bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** RFC 8032 section 5.1.3; null for what is no point, or not its canonical encoding.
 * @param {Uint8Array} encoded @returns {Point | null}
 */
function decoded(encoded) {
  const number = little(encoded);
  const [sign, y] = [number >> 255n, number & (2n ** 255n - 1n)];
  if (y >= P) return null;
  const [u, v] = [modulo(y * y - 1n), modulo(D * y % P * y + 1n)];
  const v3 = v * v % P * v % P;
  let x = u * v3 % P * power(u * v3 % P * v3 % P * v % P, (P - 5n) / 8n) % P;
  if (modulo(v * x % P * x - u) !== 0n) x = x * ROOT_OF_MINUS_ONE % P;
  if (modulo(v * x % P * x - u) !== 0n) return null;
  if (x === 0n && sign) return null;
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, x * y % P];
}

/** @param {Point} point */
function encoded([x, y, z]) {
  const inverse = power(z, P - 2n);
  let number = y * inverse % P | (x * inverse % P & 1n) << 255n;
  return Uint8Array.from({ length: 32 }, () => { const byte = Number(number & 255n); number >>= 8n; return byte; });
}

/** RFC 8032 section 5.1.4.
 * @param {Point} one @param {Point} other @returns {Point}
 */
function sum([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const [a, b] = [modulo((y1 - x1) * (y2 - x2)), (y1 + x1) * (y2 + x2) % P];
  const [c, d] = [2n * t1 * t2 % P * D % P, 2n * z1 * z2 % P];
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [modulo(e * f), modulo(g * h), modulo(f * g), modulo(e * h)];
}

/** @param {Point} point @returns {Point} */
function twice([x, y, z]) {
  const [a, b, c] = [x * x % P, y * y % P, 2n * z * z % P];
  const [h, g] = [a + b, a - b];
  const [e, f] = [h - (x + y) ** 2n, c + g];
  return [modulo(e * f), modulo(g * h), modulo(f * g), modulo(e * h)];
}

const BASE = /** @type {Point} */ (decoded(Uint8Array.from({ length: 32 }, (_, place) => (place ? 0x66 : 0x58))));

/** [s]B + [k]A.
 * @param {bigint} s @param {bigint} k @param {Point} a @returns {Point}
 */
function combined(s, k, a) {
  const both = sum(BASE, a);
  /** @type {Point} */
  let point = [0n, 1n, 1n, 0n];
  for (let bit = 255n; bit >= 0n; bit -= 1n) {
    point = twice(point);
    const [ofS, ofK] = [s >> bit & 1n, k >> bit & 1n];
    if (ofS && ofK) point = sum(point, both);
    else if (ofS) point = sum(point, BASE);
    else if (ofK) point = sum(point, a);
  }
  return point;
}

const SMALL_ORDER_Y = [
  0n, 1n, P - 1n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n,
];

/** Whether 32 bytes encode one of the eight points whose order divides 8.
 * @param {Uint8Array} bytes
 */
const isSmallOrder = (bytes) => SMALL_ORDER_Y.includes((little(bytes) & (2n ** 255n - 1n)) % P);

/** A canonical encoding of a point on the curve that is not of small order.
 * @param {Uint8Array} key
 */
export const isSoundKey = (key) => key.length === 32 && !isSmallOrder(key) && decoded(key) !== null;

/** By the arithmetic above.
 * @param {Uint8Array} key @param {Uint8Array} message @param {Uint8Array} signature 64 bytes
 */
export function verifiesByHand(key, message, signature) {
  const point = decoded(key);
  const s = little(signature.subarray(32));
  if (point === null || s >= L) return false;
  const hashed = new Uint8Array(64 + message.length);
  hashed.set(signature.subarray(0, 32));
  hashed.set(key, 32);
  hashed.set(message, 64);
  const [x, y, z, t] = point;
  const found = combined(s, little(sha512(hashed)) % L, [modulo(-x), y, z, modulo(-t)]);
  return same(encoded(found), signature.subarray(0, 32));
}

/** The browser's own, when it has one.
 * @type {Promise<SubtleCrypto | null> | undefined}
 */
let native;

/** @returns {Promise<SubtleCrypto | null>} */
async function findNative() {
  try {
    await crypto.subtle.importKey('raw', Uint8Array.from(encoded(BASE)), 'Ed25519', false, ['verify']);
    return crypto.subtle;
  } catch {
    return null;
  }
}

/** Whether the private half of `key` signed `message`.
 * @param {Uint8Array} key @param {Uint8Array} message @param {Uint8Array} signature
 */
export async function verifies(key, message, signature) {
  if (signature.length !== 64 || isSmallOrder(signature.subarray(0, 32)) || !isSoundKey(key)) return false;
  if (little(signature.subarray(32)) >= L) return false;
  native ??= findNative();
  const subtle = await native;
  if (subtle === null) return verifiesByHand(key, message, signature);
  const imported = await subtle.importKey('raw', Uint8Array.from(key), 'Ed25519', false, ['verify']);
  return subtle.verify('Ed25519', imported, Uint8Array.from(signature), Uint8Array.from(message));
}

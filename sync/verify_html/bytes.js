// Bytes and texts: UTF-8, base64 in its one canonical form, hexadecimal, CRC-32. Pure.

const WRITER = new TextEncoder();

/** @param {string} text */
export const utf8 = (text) => WRITER.encode(text);

/** The text of strict UTF-8, a BOM kept as it stands; null for anything else.
 * @param {Uint8Array} bytes
 */
export function textOf(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** @param {Uint8Array} bytes */
export function base64(bytes) {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** The bytes of standard, padded, canonical base64; null for anything else.
 * @param {string} text
 */
export function unbase64(text) {
  let binary = '';
  try {
    binary = atob(text);
  } catch {
    return null;
  }
  return btoa(binary) === text ? Uint8Array.from(binary, (letter) => letter.charCodeAt(0)) : null;
}

/** @param {Uint8Array} bytes */
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** @param {Uint8Array} one @param {Uint8Array} other */
export const same = (one, other) => one.length === other.length && one.every((byte, place) => byte === other[place]);

/** @param {...Uint8Array} parts */
export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

/** Lines of `bytes`, without their LF; null when the last one has none.
 * @param {Uint8Array} bytes
 */
export function linesOf(bytes) {
  const lines = [];
  let begins = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, begins)) {
    lines.push(bytes.subarray(begins, at));
    begins = at + 1;
  }
  return begins === bytes.length ? lines : null;
}

/** Order of texts by code points, which for UTF-16 is not quite `<`.
 * @param {string} one @param {string} other
 */
export function compareTexts(one, other) {
  const [ours, theirs] = [Array.from(one), Array.from(other)];
  for (let place = 0; place < Math.min(ours.length, theirs.length); place += 1) {
    const apart = /** @type {number} */ (ours[place].codePointAt(0)) - /** @type {number} */ (theirs[place].codePointAt(0));
    if (apart) return apart;
  }
  return ours.length - theirs.length;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** CRC-32 of PKWARE APPNOTE 4.4.7.
 * @param {Uint8Array} bytes
 */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// Signed notes, checkpoints and verifier keys (docs/evidence.md, section 2; C2SP signed-note, tlog-checkpoint,
// tlog-cosignature).

import { base64, hex, joined, textOf, unbase64, utf8 } from './bytes.js';
import { LATEST_MS } from './calendar.js';
import { verifies } from './ed25519.js';
import { NotProven } from './faults.js';
import { sha256 } from './hashes.js';

const LARGEST_NOTE_BYTES = 100_000;
const MOST_SIGNATURES = 64;
export const [ED25519, COSIGNATURE] = [0x01, 0x04];

/** One signature line. `written`: as it stands, without its LF.
 * @typedef {{name: string, id: string, signature: Uint8Array, written: string}} Line
 */
/** @typedef {{text: string, lines: Line[]}} Note */
/** @typedef {{name: string, id: string, algorithm: number, publicKey: Uint8Array, written: string}} Key */
/** @typedef {{origin: string, size: bigint, root: Uint8Array}} Checkpoint */
/** A line that a known key made; `at_s` of a cosignature.
 * @typedef {{key: Key, line: Line, at_s: number}} Verified
 */

/** @param {string} name */
const isKeyName = (name) => name !== '' && !/[\x00-\x1f+]|\p{White_Space}/u.test(name);

/** @param {Uint8Array} data @param {string} where @returns {Note} */
export function readNote(data, where) {
  const refuse = (/** @type {string} */ why) => new NotProven('note_unreadable', `${where}: ${why}`);
  const whole = data.length > LARGEST_NOTE_BYTES ? null : textOf(data);
  if (whole === null || /[\x00-\x09\x0b-\x1f]/.test(whole)) throw refuse('not UTF-8 text, or too long');
  const blank = whole.lastIndexOf('\n\n');
  if (blank < 0 || !whole.endsWith('\n') || blank + 2 === whole.length) throw refuse('no signatures');
  const written = whole.slice(blank + 2, -1).split('\n');
  if (written.length > MOST_SIGNATURES) throw refuse('too many signatures');
  const lines = written.map((line) => {
    const read = readLine(line);
    if (read === null) throw refuse('a signature line is damaged');
    return read;
  });
  return { text: whole.slice(0, blank + 1), lines };
}

/** @param {string} written @returns {Line | null} */
function readLine(written) {
  const space = written.indexOf(' ', 2);
  if (!written.startsWith('— ') || space < 0) return null;
  const [name, data] = [written.slice(2, space), unbase64(written.slice(space + 1))];
  if (!isKeyName(name) || data === null || data.length < 5) return null;
  return { name, id: hex(data.subarray(0, 4)), signature: data.subarray(4), written };
}

/** @param {string} text @param {string} where @returns {Checkpoint} */
export function readCheckpoint(text, where) {
  const lines = text.split('\n');
  const root = lines.length >= 4 && lines.pop() === '' && lines.every(Boolean) ? unbase64(lines[2]) : null;
  if (root === null || root.length !== 32 || !/^(0|[1-9][0-9]{0,18})$/.test(lines[1])) {
    throw new NotProven('note_unreadable', `${where}: not the text of a checkpoint`);
  }
  return { origin: lines[0], size: BigInt(lines[1]), root };
}

/** The key that `<name>+<id>+<base64>` says; null for anything else.
 * @param {string} written @returns {Key | null}
 */
export function readKey(written) {
  const [name, id, ...rest] = written.split('+');
  const data = unbase64(rest.join('+'));
  if (id === undefined || !isKeyName(name) || data === null || data.length !== 33) return null;
  if (data[0] !== ED25519 && data[0] !== COSIGNATURE) return null;
  if (hex(sha256(joined(utf8(`${name}\n`), data)).subarray(0, 4)) !== id) return null;
  return { name, id, algorithm: data[0], publicKey: data.subarray(1), written };
}

/** Of the lines those that claim to be of one of `keys`, each verified; all others are ignored.
 * @param {Note} note @param {Key[]} keys @param {string} where @returns {Promise<Verified[]>}
 */
export async function verifiedLines(note, keys, where) {
  const found = [];
  for (const line of note.lines) {
    for (const key of keys) {
      if (key.name !== line.name || key.id !== line.id) continue;
      const at_s = key.algorithm === COSIGNATURE ? cosigningTime(line) : 0;
      if (at_s === null || !(await isGood(note, key, line, at_s))) {
        throw new NotProven('signature_invalid', `${where}: the signature of ${key.name} does not verify`);
      }
      found.push({ key, line, at_s });
    }
  }
  return found;
}

/** POSIX seconds; null when there is no such moment.
 * @param {Line} line
 */
function cosigningTime({ signature }) {
  if (signature.length !== 72) return null;
  const seconds = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
  return seconds * 1000n <= BigInt(LATEST_MS) ? Number(seconds) : null;
}

/** @param {Note} note @param {Key} key @param {Line} line @param {number} at_s */
function isGood(note, key, line, at_s) {
  if (key.algorithm === ED25519) return verifies(key.publicKey, utf8(note.text), line.signature);
  const message = `cosignature/v1\ntime ${at_s}\n${note.text}`;
  return verifies(key.publicKey, utf8(message), line.signature.subarray(8));
}

/** What people compare: 32 hexadecimal digits in groups of four, as vehicle and county show them.
 * @param {Key} key
 */
export const fingerprint = (key) => (hex(sha256(utf8(key.written))).slice(0, 32).match(/.{4}/g) ?? []).join(' ');

/** @param {Key} key */
export const publicKeyText = (key) => base64(key.publicKey);

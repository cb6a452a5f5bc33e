// The zip file of a bundle, read strictly (docs/evidence.md, section 1; PKWARE APPNOTE 6.3).

import { crc32, same, textOf } from './bytes.js';
import { Unreadable } from './faults.js';

export const LARGEST_FILE_BYTES = 2 * 1024 * 1024;
const LARGEST_MEMBER_BYTES = 8 * 1024 * 1024;
const LARGEST_CONTENT_BYTES = 16 * 1024 * 1024;
const MOST_MEMBERS = 200;
const [LOCAL_BYTES, CENTRAL_BYTES, END_BYTES] = [30, 46, 22];
/** Streams API and Compression Streams; this release of TypeScript does not know the latter. */
const { DecompressionStream } = /** @type {any} */ (globalThis);
const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];

/** @typedef {{name: string, nameBytes: Uint8Array, said: Uint8Array, method: number, crc: number, packed: number, size: number, offset: number, next: number}} Header */

/** @param {string} detail */
const broken = (detail) => new Unreadable('bundle_unreadable', detail);

/** Name and content of every member.
 * @param {Uint8Array} data @returns {Promise<Map<string, Uint8Array>>}
 */
export async function readMembers(data) {
  if (data.length > LARGEST_FILE_BYTES) throw new Unreadable('bundle_too_large', `the file has ${data.length} bytes`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const { count, start, end } = directory(view);
  /** @type {Map<string, Uint8Array>} */
  const members = new Map();
  let [at, localAt, total] = [start, 0, 0];
  for (let number = 0; number < count; number += 1) {
    const header = centralHeader(data, view, at, end);
    at = header.next;
    if (header.offset !== localAt) throw broken(`${header.name}: members overlap or leave a gap`);
    total += header.size;
    if (header.size > LARGEST_MEMBER_BYTES || total > LARGEST_CONTENT_BYTES) {
      throw new Unreadable('bundle_too_large', `${header.name} unpacks to more than a bundle may have`);
    }
    const begins = localHeader(data, view, localAt, start, header);
    localAt = begins + header.packed;
    if (localAt > start) throw broken(`${header.name} reaches into the directory`);
    if (members.has(header.name)) throw broken(`${header.name} is there twice`);
    members.set(header.name, await unpacked(data.subarray(begins, localAt), header));
  }
  if (localAt !== start || at !== end) throw broken('bytes that belong to no member');
  return members;
}

/** @param {DataView} view */
function directory(view) {
  const end = view.byteLength - END_BYTES;
  if (end < 0 || view.getUint32(end, true) !== END) throw broken('no end record in the last 22 bytes');
  const [disk, first, here, count, comment] = [4, 6, 8, 10, 20].map((place) => view.getUint16(end + place, true));
  const [length, start] = [view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  if (disk || first || comment || here !== count || start + length !== end) throw broken('the end record does not fit');
  if (count > MOST_MEMBERS) throw new Unreadable('bundle_too_large', `${count} members`);
  return { count, start, end };
}

/** @param {Uint8Array} data @param {DataView} view @param {number} at @param {number} end @returns {Header} */
function centralHeader(data, view, at, end) {
  if (at + CENTRAL_BYTES > end || view.getUint32(at, true) !== CENTRAL) throw broken('the directory is damaged');
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [named, extra, comment, disk] = [28, 30, 32, 34].map((place) => view.getUint16(at + place, true));
  const next = at + CENTRAL_BYTES + named;
  if (extra || comment || disk || next > end) throw broken('extra fields, comments or disks');
  if ((flags !== 0 && flags !== 0x0800) || (method !== 0 && method !== 8)) throw broken(`flags ${flags}, method ${method}`);
  const nameBytes = data.subarray(at + CENTRAL_BYTES, next);
  if (nameBytes.some((byte) => byte > 0x7f)) throw broken('a name is not ASCII');
  const [crc, packed, size, offset] = [16, 20, 24, 42].map((place) => view.getUint32(at + place, true));
  const said = joinedHeader(data, at + 8, at + 16);
  return { name: textOf(nameBytes) ?? '', nameBytes, said, method, crc, packed, size, offset, next };
}

/** Flags and method; CRC-32, both sizes and the length of the name: what both headers say. Times are not looked at.
 * @param {Uint8Array} data @param {number} flags where the flags stand @param {number} crc where the CRC-32 stands
 */
function joinedHeader(data, flags, crc) {
  return Uint8Array.from([...data.subarray(flags, flags + 4), ...data.subarray(crc, crc + 14)]);
}

/** Where the content begins.
 * @param {Uint8Array} data @param {DataView} view @param {number} at @param {number} end @param {Header} header
 */
function localHeader(data, view, at, end, header) {
  if (at + LOCAL_BYTES > end || view.getUint32(at, true) !== LOCAL) throw broken(`${header.name}: no local header`);
  const begins = at + LOCAL_BYTES + header.nameBytes.length;
  const fits = same(joinedHeader(data, at + 6, at + 14), header.said) && view.getUint16(at + 28, true) === 0;
  if (!fits || !same(data.subarray(at + LOCAL_BYTES, begins), header.nameBytes)) {
    throw broken(`${header.name}: its header is not the one of the directory`);
  }
  return begins;
}

/** @param {Uint8Array} packed @param {Header} header */
async function unpacked(packed, header) {
  const content = header.method === 0 ? packed : await inflated(packed, header.size, header.name);
  if (content.length !== header.size || crc32(content) !== header.crc) throw broken(`${header.name}: damaged`);
  return content;
}

/** Unpacks no more than `size` bytes and one. The stream itself refuses what is cut off and what follows its end.
 * @param {Uint8Array} packed @param {number} size @param {string} name
 */
async function inflated(packed, size, name) {
  const content = new Uint8Array(size);
  let length = 0;
  const reader = new Blob([Uint8Array.from(packed)]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      if (value === undefined || length + value.length > size) {
        reader.cancel().catch(() => {});
        throw broken(`${name}: unpacks to more than it says`);
      }
      content.set(value, length);
      length += value.length;
    }
  } catch (fault) {
    if (fault instanceof Unreadable) throw fault;
    throw broken(`${name}: ${fault instanceof Error ? fault.message : fault}`);
  }
  return content.subarray(0, length);
}

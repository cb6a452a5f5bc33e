// What a bundle holds: members, manifest, entries, hashes (docs/evidence.md, section 1). Nothing here is verified yet.

import { hex, linesOf, textOf, unbase64 } from './bytes.js';
import { own, readCanonical } from './canonical.js';
import { NotProven, Unreadable } from './faults.js';
import { readMembers } from './zip.js';

const FORMAT = 'xunzhen-evidence/1';
const [MOST_VISITS, MOST_LINES, LARGEST_ENTRY_BYTES, HIGHEST_LEVEL] = [100, 50_000, 60_000, 62];
const ORIGIN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const MEMBER = /^journal\/([A-Za-z0-9][A-Za-z0-9._-]{0,99})\/(entries|tree|checkpoints\/([1-9][0-9]{0,15}))$/;
const SINGLE = ['manifest.json', 'registry/checkpoint', 'registry/rules-checkpoint', 'registry/entries', 'registry/tree'];
const HASH_LINE = /^(0|[1-9][0-9]?) (0|[1-9][0-9]{0,18}) ([A-Za-z0-9+/]{43}=)$/;
const MANIFEST = { county: 'string', format: 'string', month: 'string', practice: 'boolean', village: 'string', visits: 'object' };

/** @typedef {{visit: string, origin: string, state: string}} Claim */
/** @typedef {{county: string, village: string, month: string, practice: boolean, visits: Claim[]}} Manifest */
/** Entries by place; checkpoints are signed notes by size.
 * @typedef {{entries: Map<number, Uint8Array>, hashes: import('./tree.js').Node[], checkpoints: Map<bigint, Uint8Array>}} LogPart
 */

/** `rulesCheckpoint`: an older checkpoint of the registry.
 * @param {Uint8Array} data @returns {Promise<{manifest: Manifest, registry: LogPart, journals: Map<string, LogPart>, rulesCheckpoint: Uint8Array | undefined}>}
 */
export async function readBundle(data) {
  const members = await readMembers(data);
  /** @type {Map<string, Map<bigint, Uint8Array>>} */
  const journals = new Map();
  for (const [name, content] of members) {
    const found = MEMBER.exec(name);
    if (found) {
      const checkpoints = journals.get(found[1]) ?? new Map();
      journals.set(found[1], checkpoints);
      if (found[3]) checkpoints.set(BigInt(found[3]), content);
    } else if (!SINGLE.includes(name)) {
      throw new Unreadable('member_unknown', `${name.slice(0, 120)} is no part of a bundle`);
    }
  }
  const manifest = readManifest(member(members, 'manifest.json'));
  const named = [...new Set(manifest.visits.map((claim) => claim.origin))].sort();
  for (const origin of named) if (!journals.has(origin)) throw new Unreadable('member_missing', `journal ${origin}`);
  for (const origin of journals.keys()) {
    if (!named.includes(origin)) throw new Unreadable('member_unknown', `journal ${origin} is not in the manifest`);
  }
  const registry = readPart(members, 'registry', new Map([[0n, member(members, 'registry/checkpoint')]]));
  const parts = named.map((origin) => /** @type {[string, LogPart]} */ (
    [origin, readPart(members, `journal/${origin}`, journals.get(origin) ?? new Map())]));
  return { manifest, registry, journals: new Map(parts), rulesCheckpoint: members.get('registry/rules-checkpoint') };
}

/** @param {Uint8Array} data @returns {Manifest} */
function readManifest(data) {
  const unreadable = (/** @type {string} */ why) => new Unreadable('manifest_unreadable', why);
  const said = readCanonical(data);
  if (said === null) throw unreadable('not canonical JSON');
  if (own(said, 'format') !== FORMAT) throw new Unreadable('format_unknown', `the format is not ${FORMAT}`);
  const typed = Object.entries(MANIFEST).every(([name, type]) => typeof own(said, name) === type);
  if (!typed || Object.keys(said).length !== 6 || !Array.isArray(said.visits)) throw unreadable('fields or types');
  if (!/^[0-9]{12}$/.test(said.village) || !/^2[01][0-9]{2}-(0[1-9]|1[0-2])$/.test(said.month)) {
    throw unreadable('village or month');
  }
  if (said.visits.length < 1 || said.visits.length > MOST_VISITS) throw unreadable('number of visits');
  for (const claim of said.visits) {
    const texts = typeof claim === 'object' && !Array.isArray(claim) && Object.keys(claim).sort().join() === 'origin,state,visit'
      && Object.values(claim).every((value) => typeof value === 'string');
    if (!texts || !ORIGIN.test(claim.origin)) throw unreadable('a visit has origin, state and visit');
  }
  const { county, village, month, practice, visits } = said;
  if (new Set(visits.map((/** @type {Claim} */ claim) => claim.visit)).size < visits.length) {
    throw new NotProven('visit_twice', 'the manifest names a visit twice');
  }
  return { county, village, month, practice, visits };
}

/** @param {Map<string, Uint8Array>} members @param {string} name */
function member(members, name) {
  const content = members.get(name);
  if (content === undefined) throw new Unreadable('member_missing', `${name} is missing`);
  return content;
}

/** @param {Map<string, Uint8Array>} members @param {string} folder @param {Map<bigint, Uint8Array>} checkpoints @returns {LogPart} */
function readPart(members, folder, checkpoints) {
  if (checkpoints.size === 0) throw new Unreadable('member_missing', `${folder} has no checkpoint`);
  const entries = readEntries(member(members, `${folder}/entries`), `${folder}/entries`);
  return { entries, hashes: readHashes(member(members, `${folder}/tree`), `${folder}/tree`), checkpoints };
}

/** @param {Uint8Array} data @param {string} name */
function readLines(data, name) {
  const lines = linesOf(data);
  if (lines === null || lines.length > MOST_LINES) {
    throw new Unreadable('lines_unreadable', `${name}: the last line has no end, or there are too many`);
  }
  return lines;
}

/** @param {Uint8Array} data @param {string} name */
function readEntries(data, name) {
  /** @type {Map<number, Uint8Array>} */
  const entries = new Map();
  let last = -1;
  for (const line of readLines(data, name)) {
    if (line.length === 0 || line.length > LARGEST_ENTRY_BYTES) {
      throw new Unreadable('lines_unreadable', `${name}: a line of ${line.length} bytes is no entry`);
    }
    const said = readCanonical(line);
    const place = said === null ? undefined : own(said, 'n');
    if (typeof place !== 'number' || place < 0) {
      throw new NotProven('entry_not_canonical', `${name}: the line behind entry ${last} is not canonical JSON with its place`);
    }
    if (place <= last) throw new NotProven('entry_misplaced', `${name}: entry ${place} stands behind entry ${last}`);
    entries.set(place, line);
    last = place;
  }
  if (last < 0) throw new Unreadable('lines_unreadable', `${name} is empty`);
  return entries;
}

/** @param {Uint8Array} data @param {string} name */
function readHashes(data, name) {
  const hashes = [];
  let [level, index] = [-1n, -1n];
  for (const line of readLines(data, name)) {
    const found = HASH_LINE.exec(textOf(line) ?? '');
    const hash = found ? unbase64(found[3]) : null;
    if (found === null || hash === null) throw new Unreadable('lines_unreadable', `${name}: ${hex(line.subarray(0, 20))}`);
    const [nextLevel, nextIndex] = [BigInt(found[1]), BigInt(found[2])];
    if (nextLevel > HIGHEST_LEVEL || nextLevel < level || (nextLevel === level && nextIndex <= index)) {
      throw new Unreadable('lines_unreadable', `${name}: level ${nextLevel}, index ${nextIndex} is out of order`);
    }
    [level, index] = [nextLevel, nextIndex];
    hashes.push({ level, index, hash });
  }
  return hashes;
}

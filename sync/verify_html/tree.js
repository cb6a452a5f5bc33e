// Part of a Merkle tree, from which the root of every checkpoint is recomputed (docs/evidence.md, section 1). Pure.

import { joined } from './bytes.js';
import { NotProven } from './faults.js';
import { sha256 } from './hashes.js';

/** The complete subtree over the places [index x 2^level, (index + 1) x 2^level).
 * @typedef {{level: bigint, index: bigint, hash: Uint8Array}} Node
 */

/** @param {Uint8Array} entry */
const leafHash = (entry) => sha256(joined(Uint8Array.of(0), entry));

/** @param {Uint8Array} left @param {Uint8Array} right */
const nodeHash = (left, right) => sha256(joined(Uint8Array.of(1), left, right));

/** @param {string} detail */
const incomplete = (detail) => new NotProven('tree_incomplete', detail);

/** Nodes that together cover the places [0, size), each place once. */
export class PartialTree {
  /** @param {Iterable<[number, Uint8Array]>} entries place and bytes @param {Node[]} hashes */
  constructor(entries, hashes) {
    const nodes = [...hashes];
    for (const [place, body] of entries) nodes.push({ level: 0n, index: BigInt(place), hash: leafHash(body) });
    const ordered = nodes.map((node) => ({ ...node, first: node.index << node.level }));
    ordered.sort((one, other) => (one.first < other.first ? -1 : one.first > other.first ? 1 : 0));
    /** Hashes by "level index".
     * @type {Map<string, Uint8Array>}
     */
    this.known = new Map();
    this.size = 0n;
    for (const { level, index, hash, first } of ordered) {
      if (first !== this.size) throw incomplete(`place ${first < this.size ? first : this.size} is missing, or there twice`);
      this.known.set(`${level} ${index}`, hash);
      this.size = (index + 1n) << level;
    }
  }

  /** @param {bigint} level @param {bigint} index @returns {Uint8Array} */
  hash(level, index) {
    const name = `${level} ${index}`;
    let hash = this.known.get(name);
    if (hash === undefined) {
      if (level === 0n) throw incomplete(`place ${index} is only there within a larger subtree`);
      hash = nodeHash(this.hash(level - 1n, 2n * index), this.hash(level - 1n, 2n * index + 1n));
      this.known.set(name, hash);
    }
    return hash;
  }

  /** The root of the first `size` places.
   * @param {bigint} size
   */
  root(size) {
    if (size > this.size) throw incomplete(`${this.size} places are covered, ${size} are asked for`);
    if (size === 0n) return sha256(new Uint8Array());
    const parts = [];
    let first = 0n;
    for (let level = BigInt(size.toString(2).length - 1); level >= 0n; level -= 1n) {
      if (!(size >> level & 1n)) continue;
      parts.push(this.hash(level, first >> level));
      first += 1n << level;
    }
    return parts.reduceRight((right, left) => nodeHash(left, right));
  }
}

// Whom one trusts: C2SP tlog-policy (docs/evidence.md, section 3).

import { textOf } from './bytes.js';
import { isSoundKey } from './ed25519.js';
import { NotProven, Unreadable } from './faults.js';
import { COSIGNATURE, ED25519, publicKeyText, readKey } from './notes.js';

const LARGEST_POLICY_BYTES = 64 * 1024;
const MOST_OF_EACH = 100;

/** @typedef {import('./notes.js').Key} Key */
/** @typedef {{least: number, members: string[]}} Group */

export class Policy {
  constructor() {
    /** @type {Key[]} */
    this.logs = [];
    /** By the names that the policy gives them.
     * @type {Map<string, Key>}
     */
    this.witnesses = new Map();
    /** @type {Map<string, Group>} */
    this.groups = new Map();
    /** Name of a witness or group, or "none".
     * @type {string | null}
     */
    this.quorum = null;
  }

  /** Whether the witnesses whose lines these are suffice.
   * @param {import('./notes.js').Verified[]} lines
   */
  satisfiedBy(lines) {
    /** @type {(name: string) => boolean} */
    const has = (name) => {
      const group = this.groups.get(name);
      if (group) return group.members.filter(has).length >= group.least;
      const key = this.witnesses.get(name);
      return lines.some((verified) => verified.key === key);
    };
    return this.quorum === 'none' || (this.quorum !== null && has(this.quorum));
  }
}

/** @param {Uint8Array} data @returns {Policy} */
export function readPolicy(data) {
  const octets = Array.from(data, (byte) => String.fromCharCode(byte)).join('');
  if (data.length > LARGEST_POLICY_BYTES || /[^\x09\x0a\x20-\x7e\x80-\xff]/.test(octets)) {
    throw new Unreadable('policy_unreadable', 'not a policy file: too large, or with control characters');
  }
  const reader = new Reader();
  octets.split('\n').forEach((line, place) => {
    const items = line.split(/[ \t]+/).filter(Boolean);
    if (items.length === 0 || items[0].startsWith('#')) return;
    reader.where = `line ${place + 1}`;
    reader.read(items);
  });
  return reader.finish();
}

/** Reads line by line; names stay as octets, one letter each, as a policy need not be UTF-8. */
class Reader {
  constructor() {
    this.policy = new Policy();
    this.where = '';
    /** Members of groups.
     * @type {Set<string>}
     */
    this.used = new Set();
  }

  /** @param {string} why */
  refuse(why) { return new Unreadable('policy_unreadable', `${this.where}: ${why}`); }

  /** @param {string[]} items */
  read([word, ...items]) {
    const { logs, witnesses, groups } = this.policy;
    if (word === 'log') this.log(items);
    else if (word === 'witness') this.witness(items);
    else if (word === 'group') this.group(items);
    else if (word === 'quorum') this.quorum(items);
    else throw this.refuse('none of log, witness, group, quorum');
    if (Math.max(logs.length, witnesses.size, groups.size) > MOST_OF_EACH) throw this.refuse('too many lines of one sort');
  }

  /** @param {string[]} items */
  log(items) {
    if (items.length < 1 || items.length > 2) throw this.refuse('a log is "log <vkey> [<url>]"');
    const key = this.key(items[0], ED25519);
    if (shares(key, this.policy.logs)) throw this.refuse('a second log with the same key');
    this.policy.logs.push(key);
  }

  /** @param {string[]} items */
  witness(items) {
    if (items.length < 2 || items.length > 3) throw this.refuse('a witness is "witness <name> <vkey> [<url>]"');
    this.newName(items[0]);
    const key = this.key(items[1], COSIGNATURE);
    if (shares(key, this.policy.witnesses.values())) throw this.refuse('a second witness with the same key');
    this.policy.witnesses.set(items[0], key);
  }

  /** @param {string[]} items */
  group(items) {
    if (items.length < 3) throw this.refuse('a group is "group <name> all|any|<k> <member>..."');
    const [name, wanted, ...members] = items;
    this.newName(name);
    for (const member of members) {
      if (!this.known(member) || this.used.has(member)) throw this.refuse('a member that is not defined, or one already');
      this.used.add(member);
    }
    const numbered = /^[1-9][0-9]{0,3}$/.test(wanted) ? Number(wanted) : 0;
    const least = wanted === 'any' ? 1 : wanted === 'all' ? members.length : numbered;
    if (least < 1 || least > members.length) throw this.refuse('neither all, any nor a number of members');
    this.policy.groups.set(name, { least, members });
  }

  /** @param {string[]} items */
  quorum(items) {
    if (items.length !== 1 || this.policy.quorum !== null) throw this.refuse('exactly one line "quorum <name>"');
    if (items[0] !== 'none' && !this.known(items[0])) throw this.refuse('a quorum that is not defined');
    [this.policy.quorum] = items;
  }

  /** @param {string} name */
  known(name) { return this.policy.witnesses.has(name) || this.policy.groups.has(name); }

  /** @param {string} name */
  newName(name) { if (name === 'none' || this.known(name)) throw this.refuse('the name is taken'); }

  /** @param {string} octets @param {number} algorithm */
  key(octets, algorithm) {
    const text = textOf(Uint8Array.from(octets, (letter) => letter.charCodeAt(0)));
    const key = text === null ? null : readKey(text);
    if (key === null || key.algorithm !== algorithm || !isSoundKey(key.publicKey)) {
      throw this.refuse(`not a verifier key of signature type ${algorithm}`);
    }
    return key;
  }

  finish() {
    const { logs, witnesses, quorum } = this.policy;
    if (logs.length === 0 || quorum === null) {
      throw new Unreadable('policy_unreadable', 'a policy has at least one log line and one quorum line');
    }
    for (const [name, key] of witnesses) {
      if (shares(key, logs)) throw new NotProven('key_in_two_roles', `one key as a log and as the witness ${name}`);
    }
    return this.policy;
  }
}

/** @param {Key} key @param {Iterable<Key>} others */
function shares(key, others) {
  return Array.from(others, publicKeyText).includes(publicKeyText(key));
}

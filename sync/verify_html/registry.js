// What the county's registry says about one village and month (docs/evidence.md, sections 4 and 5). Pure.

import { readCanonical } from './canonical.js';
import { lastDayOf, localDay, momentOf } from './calendar.js';
import { NotProven } from './faults.js';
import { fieldTypes, misfits } from './fields.js';
import { readKey } from './notes.js';
import { Area } from './areas.js';

/** @typedef {{n: number, kind: string, at: number, fields: import('./canonical.js').Fields}} RegistryEntry */
/** @typedef {{origin: string, decision: 'counted' | 'refused', reason: string, by: string, at: string}} Decision */
/** @typedef {{key: import('./notes.js').Key, from: number, until: number | undefined}} KeyRange */
/** `revoked`: entries that still count.
 * @typedef {{origin: string, plate: string, keys: KeyRange[], revoked: number | undefined}} Vehicle
 */
/** @typedef {{version: number, visits_per_month: number, days_apart: number, dwell_s: number, staff: number, doctors: number, encounters: number, witnesses: number, provisional_days: number, doctor_roles: string[]}} Rules */
/** `areasOf`: the list of villages of a visit to a village. `named`: the village as it is now. `sealed`: what the sealed verdict says.
 * @typedef {{areasOf: (village: string) => Area[], rules: Rules, decisions: Map<string, Decision>, vehicles: Map<string, Vehicle>, sealed: any, rulesDue: RulesDue | null, named: import('./canonical.js').Fields}} RegistryFacts
 */
/** `place` of the rules by which the month is judged; `due`: last local day on which rules for it could be made.
 * @typedef {{place: number, due: number}} RulesDue
 */

const COMMON = fieldTypes('kind:text n:place at:time by:text');
/** @type {{[kind: string]: {[name: string]: string}}} */
const KINDS = Object.fromEntries(Object.entries({
  'village/1': `code:code name:text township:text valid_from:date valid_until:date? centre:position radius_m:integer?
    rings:rings? neighbours:codes cells:texts?`,
  'village_list/1': 'villages:places_by_code note:text?',
  'rules/1': 'version:integer rules:object before:place?',
  'waivers/1': 'month:month waived:waived before:place?',
  'reviews/1': 'month:month decided:decided before:place?',
  'vehicle/1': 'origin:text vehicle:text plate:text keys:keys revoked:revoked? succeeds:text?',
  'verdict/1': `month:month township:text township_code:township_code practice:boolean rules:place? village_list:place
    villages:verdict_villages supersedes:place? before:place?`,
  'index/1': `rules:place? village_list:place? waivers:places_by_month reviews:places_by_month vehicles:places_by_name
    verdicts:verdict_places`,
}).map(([kind, line]) => [kind, fieldTypes(line)]));

/** Smallest and largest value, and the programme's default.
 * @type {{[name: string]: [number, number, number]}}
 */
const RULES = {
  version: [1, 1_000_000, 1],
  visits_per_month: [1, 31, 2],
  days_apart: [0, 31, 5],
  dwell_s: [0, 86_400, 14_400],
  staff: [0, 20, 2],
  doctors: [0, 20, 1],
  encounters: [0, 1000, 1],
  witnesses: [0, 4, 2],
  provisional_days: [0, 365, 10],
};
const DOCTOR_ROLES = ['doctor', 'village_doctor'];

/** @param {string} detail */
const missing = (detail) => new NotProven('registry_entry_missing', detail);

/** The rules that `said` states, defaults for the rest.
 * @param {import('./canonical.js').Fields} said @returns {Rules}
 */
export function rulesOf(said) {
  const roles = Object.hasOwn(said, 'doctor_roles') ? said.doctor_roles : DOCTOR_ROLES;
  const known = Object.keys(said).every((name) => name === 'doctor_roles' || Object.hasOwn(RULES, name));
  const numbers = Object.entries(RULES).map(([name, [low, high, usual]]) => {
    const value = Object.hasOwn(said, name) ? said[name] : usual;
    if (typeof value !== 'number' || value < low || value > high) throw missing(`rule ${name} is out of bounds`);
    return [name, value];
  });
  if (!known || !Array.isArray(roles) || !roles.every((role) => typeof role === 'string')) throw missing('rules of another kind');
  return { ...Object.fromEntries(numbers), doctor_roles: roles };
}

/** The entries that a bundle shows, the last of which is the index. */
export class Registry {
  /** @param {Map<number, Uint8Array>} shown @param {bigint} size */
  constructor(shown, size) {
    /** @type {Map<number, RegistryEntry>} */
    this.entries = new Map();
    for (const [n, body] of shown) this.entries.set(n, readRegistryEntry(body, n));
    const last = [...this.entries.values()].pop();
    if (last === undefined || BigInt(last.n) !== size - 1n || last.kind !== 'index/1') {
      throw new NotProven('index_missing', `the last of ${size} entries of the registry is not shown, or is no index`);
    }
    this.index = last.fields;
  }

  /** What a verdict about the village in that month takes; everything that the index names must be shown.
   * @param {string} village @param {string} month @param {boolean} practice @param {Iterable<string>} origins @returns {RegistryFacts}
   */
  facts(village, month, practice, origins) {
    const own = this.#villages(village);
    if (own.length === 0 || own[0].code !== village) throw new NotProven('village_unknown', `no area of village ${village}`);
    this.#gathered(this.#named('waivers', month), 'waivers/1', 'waived');
    const { rules, due: rulesDue } = this.#rules(month);
    const decisions = this.#gathered(this.#named('reviews', month), 'reviews/1', 'decided');
    /** @type {Map<string, Vehicle>} */
    const vehicles = new Map();
    for (const origin of origins) vehicles.set(origin, this.#vehicle(origin));
    const sealed = this.#sealed(village, month, practice);
    const current = own.filter((said) => said.code === village).pop() ?? own[0];
    const areasOf = (/** @type {string} */ code) => this.#villages(code).map((said) => new Area(said));
    return { areasOf, rules, decisions, vehicles, sealed, rulesDue, named: current };
  }

  /** @param {string} list @param {string} name @returns {number | undefined} */
  #named(list, name) { return Object.hasOwn(this.index[list], name) ? this.index[list][name] : undefined; }

  /** @param {number} place @param {string} kind */
  #entry(place, kind) {
    const entry = this.entries.get(place);
    if (entry === undefined || entry.kind !== kind) throw missing(`entry ${place} of the registry is not shown, or is not ${kind}`);
    return entry;
  }

  /** The entry at `place` and those that it goes on from, newest first.
   * @param {number | undefined} place @param {string} kind
   */
  #chain(place, kind) {
    const found = [];
    for (let next = place; next !== undefined;) {
      const entry = this.#entry(next, kind);
      found.push(entry);
      const before = Object.hasOwn(entry.fields, 'before') ? entry.fields.before : undefined;
      if (before !== undefined && before >= next) throw missing(`entry ${next} goes on from ${before}, which is not before it`);
      next = before;
    }
    return found;
  }

  /** Of two that say something of the same name the newer holds.
   * @param {number | undefined} place @param {string} kind @param {string} field @returns {Map<string, any>}
   */
  #gathered(place, kind, field) {
    const gathered = new Map();
    for (const entry of this.#chain(place, kind)) {
      for (const [name, said] of Object.entries(entry.fields[field])) if (!gathered.has(name)) gathered.set(name, said);
    }
    return gathered;
  }

  /** Areas of the village, oldest first, then those of its neighbours.
   * @param {string} code
   */
  #villages(code) {
    if (!Object.hasOwn(this.index, 'village_list')) return [];
    const listed = this.#entry(this.index.village_list, 'village_list/1').fields.villages;
    /** @type {(listedCode: string) => import('./canonical.js').Fields[]} */
    const of = (listedCode) => (Object.hasOwn(listed, listedCode) ? listed[listedCode] : [])
      .map((/** @type {number} */ place) => this.#entry(place, 'village/1').fields);
    const own = of(code);
    const around = new Set(own.flatMap((said) => said.neighbours).filter((near) => near !== code && Object.hasOwn(listed, near)));
    return [...own, ...[...around].sort().flatMap(of)];
  }

  /** The latest rules made before the month stopped being provisional; nobody made the defaults.
   * @param {string} month @returns {{rules: Rules, due: RulesDue | null}}
   */
  #rules(month) {
    const index = Object.hasOwn(this.index, 'rules') ? this.index.rules : undefined;
    let rules = rulesOf({});
    /** @type {RulesDue | null} */
    let due = null;
    for (const entry of this.#chain(index, 'rules/1').reverse()) {
      const day = lastDayOf(month) + rules.provisional_days;
      if (localDay(entry.at) > day) break;
      [rules, due] = [rulesOf(entry.fields.rules), { place: entry.n, due: day }];
    }
    return { rules, due };
  }

  /** @param {string} origin @returns {Vehicle} */
  #vehicle(origin) {
    const place = this.#named('vehicles', origin);
    const said = place === undefined ? null : this.#entry(place, 'vehicle/1').fields;
    if (said === null || said.origin !== origin) throw new NotProven('vehicle_unknown', `the registry has no vehicle ${origin}`);
    const keys = said.keys.map((/** @type {import('./canonical.js').Fields} */ valid) => {
      const key = readKey(valid.key);
      if (key === null || key.name !== origin) throw new NotProven('registry_entry_wrong', `the keys of vehicle ${origin}`);
      return { key, from: valid.from_size, until: Object.hasOwn(valid, 'until_size') ? valid.until_size : undefined };
    });
    return { origin, plate: said.plate, keys, revoked: Object.hasOwn(said, 'revoked') ? said.revoked.size : undefined };
  }

  /** What the sealed verdict of the month says of the village; null when there is none.
   * @param {string} village @param {string} month @param {boolean} practice
   */
  #sealed(village, month, practice) {
    const townships = Object.hasOwn(this.index.verdicts, month) ? this.index.verdicts[month] : {};
    const township = village.slice(0, 9);
    if (!Object.hasOwn(townships, township)) return null;
    const verdict = this.#entry(townships[township], 'verdict/1');
    const villages = this.#gathered(verdict.n, 'verdict/1', 'villages');
    return verdict.fields.practice === practice ? villages.get(village) ?? null : null;
  }
}

/** @param {Uint8Array} body @param {number} n @returns {RegistryEntry} */
function readRegistryEntry(body, n) {
  const said = readCanonical(body);
  const wanted = said !== null && typeof said.kind === 'string' && Object.hasOwn(KINDS, said.kind) ? KINDS[said.kind] : {};
  const wrong = said === null ? ['not canonical'] : [...misfits(COMMON, said), ...misfits(wanted, said)];
  if (said === null || wrong.length || said.n !== n) {
    throw new NotProven('registry_entry_wrong', `entry ${n} of the registry: ${wrong.join(', ')}`);
  }
  return { n, kind: said.kind, at: /** @type {number} */ (momentOf(said.at)), fields: said };
}

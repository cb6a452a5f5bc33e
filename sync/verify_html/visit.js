// From the entries of a visit's range to what they say about it (docs/evidence.md, section 8). Pure.

import { localDay } from './calendar.js';
import { Clock, largest, smallest } from './clock.js';
import { picturesOf } from './pictures.js';
import { Presence } from './presence.js';
import { odometerMarks, trackOf } from './track.js';
import { witnessesOf } from './witnesses.js';

/** @typedef {import('./entries.js').Entry} Entry */
/** @typedef {import('./presence.js').Stay} Stay */
/** @typedef {import('./track.js').Track} Track */
/** @typedef {import('./areas.js').Area} Area */
/** Between two cosigned checkpoints; null: not known.
 * @typedef {{known: number | null, sealed: number | null}} Bracket
 */
/** When somebody was on duty, from being put on to being taken off.
 * @typedef {{person: string, role: string, since: number, until: number}} Shift
 */
/** What the entries say, whatever the rules. `staff`: texts of [person, role]. `since`: no entry behind the anchor says an earlier time.
 * @typedef {{village: string, day: number, opened: number, closed: number | null, since: number | null, onDuty: Shift[], stays: Stay[], staff: Set<string>, served: number[], outreach: boolean, witnesses: {[name: string]: boolean | null}, review: Set<string>, flags: Set<string>, pictures: import('./pictures.js').Picture[], hidden: number, first: number, last: number}} Evidence
 */

const PROOF_KINDS = new Set(['boot/1', 'anchor/1', 'clock/1', 'track/1', 'duty/1', 'visit_opened/1', 'visit_closed/1',
  'encounter_closed/1', 'outreach/1', 'village_confirmed/1', 'visit_picture/1', 'device_event/1', 'key_changed/1']);
const HIDDEN_STEP_MS = 60_000;
const CLOSED_WITHIN_MS = 60_000;
/** A point of the track waits so long for its entry. */
const HELD_BACK_MS = 5 * 60_000;

/** The entries of a visit's range that are used, and the places that cannot be seen into. */
class Range {
  /** @param {string} visit @param {Entry[]} within entries from the boot on, in order @param {number[]} hidden */
  constructor(visit, within, hidden) {
    this.visit = visit;
    this.entries = within.filter((entry) => PROOF_KINDS.has(entry.kind));
    this.opened = /** @type {Entry} */ (this.entries.find((entry) => entry.kind === 'visit_opened/1' && entry.fields.visit_id === visit));
    this.closed = this.entries.find((entry) => entry.kind === 'visit_closed/1' && entry.fields.visit_id === visit && entry.n > this.opened.n);
    const unused = within.filter((entry) => !PROOF_KINDS.has(entry.kind)).map((entry) => entry.n);
    this.unseen = [...hidden, ...unused].sort((one, other) => one - other);
  }

  /** @param {string} kind */
  ofKind(kind) { return this.entries.filter((entry) => entry.kind === kind); }

  /** Whether a hidden place lies between two.
   * @param {number} first @param {number} last
   */
  unseenBetween(first, last) { return this.unseen.some((place) => first < place && place < last); }
}

/** What the entries say about a visit.
 * @param {string} visit @param {Entry[]} within @param {number[]} hidden @param {Area[]} areas @param {[number, number]} places first and last of the range @returns {Evidence}
 */
export function evidenceOf(visit, within, hidden, areas, [first, last]) {
  const range = new Range(visit, within, hidden);
  const clock = new Clock(range.entries);
  const { stays: all, tracks, byEntry, concealed } = follow(range, clock, areas, first);
  const opened = clock.at(range.opened);
  const closed = range.closed ? clock.at(range.closed) : null;
  const until = closed ?? largest(range.entries.map((entry) => clock.at(entry)));
  const named = range.opened.fields.village;
  const village = villageJudged(named, opened, until, all, areas);
  const { day, stays } = staysOfVisit(village, opened, until, all);
  const during = (/** @type {number} */ at) => (stays.length === 0 ? opened <= at && at <= until
    : stays.some((stay) => stay.arrived <= at && at <= stay.left));
  const served = servedIn(range, clock, during);
  const staff = staffIn(range, clock, during);
  const area = areas.find((one) => one.code === village && one.inForce(day));
  const attached = range.ofKind('device_event/1').filter((entry) => entry.fields.event === 'attached');
  const confirmations = range.ofKind('village_confirmed/1')
    .filter(({ fields }) => fields.visit_id === visit && fields.village === named).map((entry) => clock.at(entry));
  const flags = new Set([...stays.flatMap((stay) => stay.flags), ...clock.flags]);
  if (tracks.some((track) => track.flags.length > 0 && during(track.points[track.points.length - 1].at))) flags.add('spoof_flag');
  if (village !== named) flags.add('village_replaced');
  return {
    village,
    day,
    opened,
    closed,
    since: sinceAnchor(range, clock, byEntry),
    onDuty: shiftsIn(range, clock, until).filter(({ person, role }) => staff.has(JSON.stringify([person, role]))),
    stays,
    staff,
    served,
    outreach: range.ofKind('outreach/1').some((entry) => entry.fields.visit_id === visit && during(clock.at(entry))),
    witnesses: witnessesOf({ area, stays, tracks, attached, served, confirmations, during }),
    review: new Set([...clock.review, ...(concealed ? ['track_hidden'] : [])]),
    flags,
    pictures: picturesOf(range.entries, clock, visit, area, during),
    hidden: range.unseen.length,
    first,
    last,
  };
}

/** @param {Range} range @param {Clock} clock @param {Area[]} areas @param {number} first */
function follow(range, clock, areas, first) {
  /** @type {Map<Entry, Track>} */
  const tracks = new Map();
  for (const entry of range.ofKind('track/1')) {
    const track = trackOf(entry, clock);
    if (track !== null) tracks.set(entry, track);
  }
  const presence = new Presence(areas, namedBy(range, clock, tracks), movedBy([...tracks.values()]));
  /** @type {Stay[]} */
  const stays = [];
  let known = { n: first, at: clock.at(range.entries[0]) };
  let [seenAt, conceals, ever] = [known.at, false, false];
  for (const entry of range.entries) {
    const track = tracks.get(entry);
    if (track === undefined && entry.kind !== 'boot/1') continue;
    const at = track === undefined ? clock.at(entry) : track.points[0].at;
    conceals ||= at - known.at > HIDDEN_STEP_MS && range.unseenBetween(known.n, entry.n);
    known = { n: entry.n, at };
    if (track === undefined) continue;
    if (conceals) {
      stays.push(...presence.conceal(at - seenAt));
      [conceals, ever] = [false, true];
    }
    for (const point of track.points) if (point.fix) stays.push(...presence.feed(point));
    seenAt = track.points[track.points.length - 1].at;
    known.at = seenAt;
  }
  if (presence.open !== null) stays.push(untilClosed(presence.open.stay(null), range, clock, known.n));
  return { stays, tracks: [...tracks.values()], byEntry: tracks, concealed: ever };
}

/** Who ends the visit on the spot is there until then.
 * @param {Stay} stay @param {Range} range @param {Clock} clock @param {number} lastTrack
 */
function untilClosed(stay, range, clock, lastTrack) {
  if (range.closed === undefined || range.unseenBetween(lastTrack, range.closed.n)) return stay;
  const closed = clock.at(range.closed);
  return stay.seen <= closed && closed <= stay.seen + CLOSED_WITHIN_MS ? { ...stay, seen: closed, left: closed } : stay;
}

/** @param {Track[]} tracks @returns {import('./presence.js').Moved} */
function movedBy(tracks) {
  const marks = odometerMarks(tracks);
  return (since, until) => {
    if (marks.length === 0) return null;
    const before = marks.filter(([at]) => at <= since).pop();
    const after = marks.find(([at]) => at >= until);
    return before && after ? after[1] - before[1] : Infinity;
  };
}

/** Which village was named at a moment: by the visit of the track entry, else by a visit that was open.
 * @param {Range} range @param {Clock} clock @param {Map<Entry, Track>} tracks @returns {import('./presence.js').Named}
 */
function namedBy(range, clock, tracks) {
  const opened = new Map(range.ofKind('visit_opened/1').map((entry) => [entry.fields.visit_id, entry]));
  const closed = new Map(range.ofKind('visit_closed/1').map((entry) => [entry.fields.visit_id, entry]));
  const open = [...opened].map(([visit, entry]) => {
    const end = closed.get(visit);
    return { since: clock.at(entry), until: end ? clock.at(end) : Infinity, code: /** @type {string} */ (entry.fields.village) };
  });
  const ofTracks = [...tracks].map(([entry, track]) => ({
    since: track.points[0].at,
    code: entry.visit === undefined ? null : /** @type {string} */ (opened.get(entry.visit)?.fields.village ?? ''),
  }));
  return (at) => {
    const code = ofTracks[placeBehind(ofTracks.map(({ since }) => since), at) - 1]?.code ?? null;
    return code ?? open.find(({ since, until }) => since <= at && at <= until)?.code ?? null;
  };
}

/** How many of `starts`, found by bisection, are not after `at`.
 * @param {number[]} starts @param {number} at
 */
function placeBehind(starts, at) {
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at < starts[middle]) high = middle; else low = middle + 1;
  }
  return low;
}

/** @param {Stay[]} stays @param {number} since @param {number} until */
const overlapping = (stays, since, until) => stays.filter((stay) => stay.arrived <= until && stay.left >= since);

/** The village named; when it is not in force that day, the one in which the vehicle was instead.
 * @param {string} named @param {number} opened @param {number} until @param {Stay[]} stays @param {Area[]} areas
 */
function villageJudged(named, opened, until, stays, areas) {
  const known = areas.filter((area) => area.code === named);
  if (known.length === 0 || known.some((area) => area.inForce(localDay(opened)))) return named;
  /** @type {Map<string, number>} */
  const dwell = new Map();
  for (const stay of overlapping(stays, opened, until)) dwell.set(stay.code, (dwell.get(stay.code) ?? 0) + stay.dwell_ms);
  const ordered = [...dwell].sort(([oneCode, one], [otherCode, other]) => other - one || (oneCode < otherCode ? 1 : -1));
  return ordered.length ? ordered[0][0] : named;
}

/** @param {string} village @param {number} opened @param {number} until @param {Stay[]} stays */
function staysOfVisit(village, opened, until, stays) {
  const own = stays.filter((stay) => stay.code === village);
  const [first] = overlapping(own, opened, until);
  const day = localDay(first === undefined ? opened : first.arrived);
  return { day, stays: first === undefined ? [] : own.filter((stay) => localDay(stay.arrived) === day) };
}

/** Put on duty during a stay, or taken off then after having been put on.
 * @param {Range} range @param {Clock} clock @param {(at: number) => boolean} during
 */
function staffIn(range, clock, during) {
  /** @type {Set<string>} */
  const staff = new Set();
  /** @type {Set<string>} */
  const onBefore = new Set();
  for (const { at, person, role, on } of dutyIn(range, clock)) {
    if (during(at) && (on || onBefore.has(person))) staff.add(JSON.stringify([person, role]));
    if (on) onBefore.add(person);
  }
  return staff;
}

/** Every statement about who is on duty in the visit, in the order written.
 * @param {Range} range @param {Clock} clock @returns {{at: number, person: string, role: string, on: boolean}[]}
 */
function dutyIn(range, clock) {
  return range.entries.flatMap((entry) => {
    const { kind, fields } = entry;
    const at = clock.at(entry);
    if (entry === range.opened) return fields.crew.map((/** @type {any} */ { person, role }) => ({ at, person, role, on: true }));
    const visit = Object.hasOwn(fields, 'visit_id') ? fields.visit_id : entry.visit;
    if (kind !== 'duty/1' || (visit !== undefined && visit !== range.visit)) return [];
    return [{ at, person: fields.person, role: fields.role, on: fields.on }];
  });
}

/** From being put on duty to being taken off, else to the end of the visit.
 * @param {Range} range @param {Clock} clock @param {number} end @returns {Shift[]}
 */
function shiftsIn(range, clock, end) {
  /** @type {Shift[]} */
  const shifts = [];
  /** @type {Shift[]} */
  let begun = [];
  for (const { at, person, role, on } of dutyIn(range, clock)) {
    if (!on) {
      shifts.push(...begun.filter((shift) => shift.person === person).map((shift) => ({ ...shift, until: at })));
      begun = begun.filter((shift) => shift.person !== person);
    } else if (!begun.some((shift) => shift.person === person && shift.role === role)) {
      begun.push({ person, role, since: at, until: end });
    }
  }
  return [...shifts, ...begun];
}

/** The earliest time that is said behind the last anchor before the opening; null without an anchor.
 * @param {Range} range @param {Clock} clock @param {Map<Entry, Track>} tracks
 */
function sinceAnchor(range, clock, tracks) {
  const anchor = range.ofKind('anchor/1').filter((entry) => entry.n < range.opened.n).pop();
  if (anchor === undefined) return null;
  const behind = range.entries.filter((entry) => entry.n > anchor.n);
  const points = behind.flatMap((entry) => (tracks.get(entry)?.points ?? []).map(({ at }) => at + HELD_BACK_MS));
  return smallest([...behind.map((entry) => clock.at(entry)), ...points]);
}

/** When those came whose encounter was opened during a stay; each encounter once.
 * @param {Range} range @param {Clock} clock @param {(at: number) => boolean} during
 */
function servedIn(range, clock, during) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const entry of range.ofKind('encounter_closed/1')) {
    const { encounter_id: encounter, opened_at: opened } = entry.fields;
    const at = opened === undefined ? clock.at(entry) : clock.corrected(entry, Date.parse(opened));
    if (entry.visit === range.visit && during(at) && !found.has(encounter)) found.set(encounter, at);
  }
  return [...found.values()].sort((one, other) => one - other);
}

// Entries of a vehicle's journal: common fields, and typed fields of the kinds that matter here; others have the common ones only.

import { readCanonical } from './canonical.js';
import { momentOf } from './calendar.js';
import { NotProven } from './faults.js';
import { fieldTypes, misfits } from './fields.js';

/** Times are milliseconds. `fields` holds everything that the entry says.
 * @typedef {{n: number, kind: string, at: number, boot: number, mono: number, vehicle: string, visit: string | undefined, practice: boolean, fields: import('./canonical.js').Fields}} Entry
 */

const COMMON = fieldTypes(`kind:text n:integer at:time at_source:text boot:integer mono_ms:integer vehicle:text by:text?
  visit:text? encounter:text? salt:text? practice:boolean?`);

/** @type {{[kind: string]: {[name: string]: string}}} */
const KINDS = Object.fromEntries(Object.entries({
  'boot/1': 'software:text',
  'anchor/1': 'size:integer root:sha256 receipt_sha256:sha256',
  'clock/1': 'seconds_ms:integer source:text',
  'settings_changed/1': 'what:text facts:object?',
  'device_event/1': 'device:text driver:text event:text facts:object',
  'network/1': 'facts:object',
  'access/1': 'action:text what:text',
  'recording_evicted/1': 'sha256:sha256 reason:text',
  'pruned/1': 'first:integer last:integer count:integer reason:text',
  'key_changed/1': 'key:text old_signature:text new_signature:text',
  'duty/1': 'visit_id:text? person:text role:text name:text on:boolean',
  'track/1': `started_at:time lat_e7:integer lon_e7:integer accuracy_m:integer satellites:integer steps:steps
    odometer_m:integer? odometer_end_m:integer? cells:list? ignition:boolean? flags:list?`,
  'visit_opened/1': 'visit_id:text village:text village_name:text township:text proposed_by:text crew:crew arrived_at:time',
  'visit_closed/1': 'visit_id:text arrived_at:time departed_at:time dwell_s:integer encounters:integer',
  'link_quality/1': `visit_id:text village:text started_at:time duration_s:integer samples:integer figures:object cells:list
    technology:text? lat_e3:integer? lon_e3:integer?`,
  'outreach/1': 'visit_id:text what:text people:integer?',
  'village_confirmed/1': 'visit_id:text village:text person:text name:text means:text',
  'visit_picture/1': `visit_id:text village:text what:text sha256:sha256 media_type:text taken_at:time
    lat_e7:integer? lon_e7:integer? accuracy_m:integer? name:text? post:text?`,
  'encounter_closed/1': 'encounter_id:text opened_at:time?',
  'reading_rejected/1': 'reading:text reason:text',
  'consultation_changed/1': 'consultation:text state:text who:text? reason:text? session_over:boolean?',
  'consultation_rung/1': 'consultation:text before:text after:text reason:text figures:object',
  'patient/1': `salt:salt patient:text name:text sex:text born_on:date? id_number_sealed:text? id_hash:text? id_last4:text?
    ethnicity_code:text? address:text? phone:text? pinyin:text? source:text`,
  'encounter/1': 'salt:salt encounter_id:text patient:text purpose:text',
  'reading/1': `salt:salt reading:text patient:text? device:text driver:text type:text values:object device_said_at:text?
    sequence:integer? by_hand:boolean`,
  'reading_confirmed/1': 'salt:salt reading:text patient:text',
  'recording/1': `salt:salt sha256:sha256 bytes:integer media_type:text what:text patient:text? device:text? started_at:time
    duration_ms:integer facts:object`,
  'screening_result/1': `salt:salt result:text patient:text rule:text rule_version:text inputs:object code:text level:text
    advice:text?`,
  'follow_up_form/1': 'salt:salt form:text form_version:text patient:text answers:object next_on:date?',
  'consultation/1': 'salt:salt consultation:text patient:text urgency:text fields:object consent:object',
  'opinion/1': `salt:salt consultation:text specialist:text specialist_name:text institution:text opinion:object
    signed_text:text signature:text public_key:text signed_at:time`,
  'decision/1': 'salt:salt consultation:text decision:text plan:text by_name:text',
  'correction/1': 'salt:salt corrects:integer corrects_kind:text? reason:text fields:object',
}).map(([kind, line]) => [kind, fieldTypes(line)]));

/** @param {Uint8Array} body @param {number} n the place where it stands @param {string} where @returns {Entry} */
export function readEntry(body, n, where) {
  const said = readCanonical(body);
  if (said === null || said.n !== n) throw new NotProven('entry_not_canonical', `${where}: entry ${n} is not canonical JSON`);
  const wanted = typeof said.kind === 'string' && Object.hasOwn(KINDS, said.kind) ? KINDS[said.kind] : {};
  const wrong = [...misfits(COMMON, said), ...misfits(wanted, said)];
  if (wrong.length) throw new NotProven('entry_not_canonical', `${where}: entry ${n} (${said.kind}): ${wrong.join(', ')}`);
  return {
    n,
    kind: said.kind,
    at: /** @type {number} */ (momentOf(said.at)),
    boot: said.boot,
    mono: said.mono_ms,
    vehicle: said.vehicle,
    visit: Object.hasOwn(said, 'visit') ? said.visit : undefined,
    practice: Object.hasOwn(said, 'practice') && said.practice,
    fields: said,
  };
}

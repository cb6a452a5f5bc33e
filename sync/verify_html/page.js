// The page: two files in, one verdict out. Everything that files say is put on the page as text, never as HTML.

import { hex, textOf } from './bytes.js';
import { localMoment } from './calendar.js';
import { STEPS, check } from './check.js';
import { sha256 } from './hashes.js';
import { LARGEST_FILE_BYTES } from './zip.js';
import { wordOf, wordsOf } from './words.js';

/** @typedef {import('./words.js').Words} Words */
/** @typedef {{name: string, data: Uint8Array}} Given */

const TICK = 'M4 13l5 5L20 7';
const CROSS = 'M6 6l12 12M18 6L6 18';
const POINT = 'M12 4v10m0 5v.01';
/** Of a result or state: how it looks.
 * @type {{[word: string]: [string, string]}}
 */
const LOOKS = {
  valid: ['good', TICK],
  invalid: ['bad', CROSS],
  unreadable: ['open', POINT],
  broken: ['open', POINT],
  counted: ['good', TICK],
  review: ['open', POINT],
};
const PICTURE = /\.(jpe?g|png)$/i;
const LARGEST_PICTURE_BYTES = 40_000_000;
const SVG = 'http://www.w3.org/2000/svg';

/** What the page shows. */
const shown = {
  language: /** @type {'zh' | 'en'} */ ('zh'),
  bundle: /** @type {Given | null} */ (null),
  policy: /** @type {Given | null} */ (null),
  pictures: /** @type {{name: string, hash: string}[]} */ ([]),
  report: /** @type {any} */ (null),
  at: 0,
  working: false,
  several: false,
};

// elements ---------------------------------------------------------------------------------------------------------------

/** @param {string} tag @param {{[name: string]: string}} attributes @param {...(Node | string | null)} children */
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const child of children) if (child !== null) made.append(child);
  return made;
}

/** @param {string} path */
function icon(path) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', path);
  svg.append(line);
  return svg;
}

/** Rows of a table of names and values; rows without a value are left out.
 * @param {[string, Node | string | null][]} rows
 */
function table(rows) {
  const lines = rows.filter(([, value]) => value !== null && value !== '');
  return el('table', {}, el('tbody', {}, ...lines.map(([name, value]) => (
    el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, value))))));
}

/** @param {(Node | string)[]} lines */
const lines = (lines) => el('div', {}, ...lines.map((line) => el('div', {}, line)));

// words ------------------------------------------------------------------------------------------------------------------

/** @param {number} seconds @param {Words} t */
function duration(seconds, t) {
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 48 * 60) return t('days', { days: Math.floor(minutes / 1440), hours: Math.floor(minutes % 1440 / 60) });
  return t('minutes', { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

/** @param {string | null} moment @param {Words} t */
const local = (moment, t) => (moment === null ? t('unknown') : localMoment(Date.parse(moment)));

/** @param {string[]} words @param {Words} t */
const listed = (words, t) => words.map((word) => wordOf(t, 'word', word)).join(t('separator'));

// parts of the page ------------------------------------------------------------------------------------------------------

/** @param {Words} t */
function head(t) {
  const language = el('button', { type: 'button', 'data-testid': 'language', lang: shown.language === 'zh' ? 'en' : 'zh-CN' }, t('other_language'));
  language.addEventListener('click', () => { shown.language = shown.language === 'zh' ? 'en' : 'zh'; draw(); });
  const print = el('button', { type: 'button', 'data-testid': 'print' }, t('print'));
  print.addEventListener('click', () => window.print());
  return el('header', {}, el('h1', {}, el('small', {}, '巡诊 Xunzhen'), t('title')),
    el('nav', {}, shown.report ? print : null, language));
}

/** @param {'bundle' | 'policy'} slot @param {Words} t */
function fileSlot(slot, t) {
  const name = slot === 'bundle' ? 'evidence' : 'policy';
  const given = shown[slot];
  const input = el('input', { type: 'file', 'data-testid': `choose-${slot}`, accept: slot === 'bundle' ? '.zip' : '.txt' });
  input.addEventListener('change', () => take([.../** @type {HTMLInputElement} */ (input).files ?? []], slot));
  return el('label', { class: 'slot', 'data-given': given ? 'yes' : 'no' }, icon(given ? TICK : 'M12 4v11m-5-5l5 5 5-5M5 20h14'),
    el('span', {}, el('b', {}, t(name)), el('span', { class: given ? 'code' : '' }, given ? given.name : t(`${name}_hint`))), input);
}

/** @param {Words} t */
function verdict(t) {
  const { result, faults } = shown.report;
  const [look, path] = LOOKS[result];
  const reasons = (faults ?? []).map((/** @type {{code: string, detail: string}} */ { code, detail }) => el('li', {},
    el('b', {}, wordOf(t, 'fault', code)), el('small', {}, `${t('code')} `, el('span', { class: 'code' }, code), ' · ', el('span', { lang: 'en' }, detail))));
  return el('section', { class: 'verdict', 'data-look': look, 'data-testid': 'verdict', 'data-result': result, role: 'status' },
    icon(path), el('div', {}, el('h2', {}, t(result)), el('p', {}, t(`${result}_text`)), states(t),
      reasons.length ? el('ul', { 'data-testid': 'faults' }, ...reasons) : null));
}

/** How many visits came to what; nothing where that is plain.
 * @param {Words} t
 */
function states(t) {
  const said = (shown.report.visits ?? []).map((/** @type {any} */ { state }) => state);
  if (said.every((/** @type {string} */ state) => state === 'counted')) return null;
  const kinds = [...new Set(said)].map((state) => (
    t('states', { count: said.filter((/** @type {string} */ one) => one === state).length, state: wordOf(t, 'state', state) })));
  return el('p', { class: 'states', 'data-testid': 'states' }, kinds.join(t('separator')));
}

/** Which village and month, and what it comes to.
 * @param {Words} t
 */
function subject(t) {
  const { village_name: name, village, township, month, practice, counted, rules } = shown.report;
  if (name === undefined) return null;
  return el('section', { class: 'subject', 'data-testid': 'subject' },
    el('h2', {}, el('span', { lang: 'zh-CN' }, name), practice ? el('em', {}, t('practice')) : null),
    el('p', {}, el('span', { lang: 'zh-CN' }, township), ' ', el('span', { class: 'code' }, village), ` · ${month}`),
    el('p', {}, t('counted', { counted, wanted: rules.visits_per_month })),
    shown.report.rules_witnessed?.in_time === false ? el('p', { class: 'claimed' }, rulesText(t) ?? '') : null);
}

/** @param {Words} t */
function steps(t) {
  const { done, result } = shown.report ?? { done: [], result: '' };
  const first = STEPS.findIndex((step) => !done.includes(step));
  return el('section', {}, el('h3', {}, t(result ? 'checked' : 'will_check')), el('ol', { class: 'steps', 'data-testid': 'steps' }, ...STEPS.map((step, place) => {
    const met = done.includes(step) ? 'yes' : place === first && result ? (result === 'unreadable' ? 'open' : 'no') : 'later';
    const path = { yes: TICK, no: CROSS, open: POINT, later: 'M8 12h8' }[met] ?? POINT;
    return el('li', { 'data-met': met }, icon(path), el('span', {}, t(`step_${step}`), met === 'later' && result ? el('small', {}, ` ${t('not_reached')}`) : null));
  })));
}

/** @param {any} visit @param {Words} t */
function visitPart(visit, t) {
  const [look, path] = LOOKS[visit.state] ?? ['bad', CROSS];
  const state = wordOf(t, 'state', visit.state);
  const claimed = visit.state === visit.claimed ? null
    : el('p', { class: 'claimed' }, t('claimed', { claimed: wordOf(t, 'state', visit.claimed), state }));
  return el('section', { class: 'visit', 'data-testid': 'visit', 'data-state': visit.state },
    el('header', {}, el('h3', {}, `${t('visit')} ${visit.day}`), el('span', { class: 'code' }, visit.visit),
      el('span', { class: 'state', 'data-look': look }, icon(path), state)), claimed,
    el('div', { class: 'pair' }, table(whatHappened(visit, t)), table(howItIsKnown(visit, t))));
}

/** @param {any} visit @param {Words} t @returns {[string, Node | string | null][]} */
function whatHappened(visit, t) {
  const { stays } = visit;
  const staff = visit.staff.map((/** @type {[string, string]} */ [person, role]) => t('member', { person, role: wordOf(t, 'duty', role) }));
  const served = t('people', { count: visit.encounters }) + (visit.outreach ? `${t('separator')}${t('outreach')}` : '');
  return [
    [t('arrived'), stays.length ? lines(stays.map((/** @type {string[]} */ stay) => local(stay[0], t))) : t('outside')],
    [t('left'), stays.length ? lines(stays.map((/** @type {string[]} */ stay) => local(stay[1], t))) : null],
    [t('dwell'), visit.dwell_s === null ? t('outside') : el('b', {}, dwellText(visit, t))],
    [t('staff'), staff.length ? lines(staff) : t('none')],
    [t('encounters'), served],
    [t('reasons'), listed(visit.reasons, t)],
    [t('flags'), listed(visit.flags, t)],
    [t('vehicle'), el('span', { class: 'code' }, visit.origin)],
  ];
}

/** @param {any} visit @param {Words} t */
function dwellText(visit, t) {
  const dwell = duration(visit.dwell_s, t);
  return visit.inferred_s >= 60 ? t('dwell_inferred', { dwell, inferred: duration(visit.inferred_s, t) }) : dwell;
}

/** @param {any} visit @param {Words} t @returns {[string, Node | string | null][]} */
function howItIsKnown(visit, t) {
  const said = Object.entries(visit.witnesses).filter(([, agrees]) => agrees !== null)
    .map(([name, agrees]) => el('span', { 'data-agrees': String(agrees) }, `${wordOf(t, 'word', name)} ${agrees ? '✓' : '✗'} ${t(agrees ? 'agrees' : 'contradicts')}`));
  const cosigned = Object.entries(visit.sealed_by).map(([name, at]) => el('span', {}, el('span', { class: 'code' }, name), el('br', {}), local(/** @type {string} */ (at), t)));
  return [
    [t('t1'), local(visit.t1, t)],
    [t('t2'), local(visit.t2, t)],
    [t('width'), visit.t2_minus_t1_s === null ? t('unknown') : el('b', {}, duration(visit.t2_minus_t1_s, t))],
    [t('sealed_by'), lines(cosigned)],
    [t('witnesses'), said.length ? lines(said) : t('none')],
    [t('pictures'), visit.pictures.length ? lines(visit.pictures.map((/** @type {any} */ one) => pictureLine(one, t))) : null],
    [t('entries'), t('entries_value', visit.entries)],
  ];
}

/** What, when and where, by whom; and the file of it, when somebody has dropped that too.
 * @param {any} picture @param {Words} t
 */
function pictureLine(picture, t) {
  const { outside_m: outside } = picture;
  const place = outside === null ? t('picture_nowhere') : outside === 0 ? t('picture_inside') : t('picture_outside', { metres: outside });
  const by = [picture.post ? wordOf(t, 'post', picture.post) : '', picture.name].filter(Boolean).join(' ');
  const said = [wordOf(t, 'picture', picture.what), local(picture.taken_at, t), place, picture.during ? '' : t('picture_apart'), by];
  const file = shown.pictures.find(({ hash }) => hash === picture.sha256);
  return el('span', { 'data-testid': 'picture' }, said.filter(Boolean).join(t('separator')), el('br', {}),
    el('span', { class: 'code' }, picture.sha256), file ? el('span', { 'data-agrees': 'true' }, el('br', {}), `✓ ${t('picture_known', { file: file.name })}`) : null);
}

/** Dropped pictures that no entry names.
 * @param {Words} t
 */
function strangers(t) {
  const known = new Set((shown.report.visits ?? []).flatMap((/** @type {any} */ { pictures }) => pictures.map((/** @type {any} */ one) => one.sha256)));
  return shown.pictures.filter(({ hash }) => !known.has(hash)).map(({ name }) => (
    el('p', { class: 'claimed', 'data-testid': 'picture-unknown' }, icon(CROSS), t('picture_unknown', { file: name }))));
}

/** Keys relied on, registry, files.
 * @param {Words} t
 */
function foundations(t) {
  const { keys, registry, rules, sha256 } = shown.report;
  const parts = [];
  if (keys) {
    const rows = keys.map((/** @type {{role: string, name: string, fingerprint: string}} */ key) => el('tr', {},
      el('th', { scope: 'row' }, wordOf(t, 'role', key.role)), el('td', { class: 'code' }, key.name), el('td', { class: 'code' }, key.fingerprint)));
    parts.push(el('section', { class: 'keys', 'data-testid': 'keys' }, el('h3', {}, t('keys'), el('small', {}, t('keys_hint'))),
      el('table', {}, el('tbody', {}, ...rows))));
  }
  const groups = (sha256.match(/.{8}/g) ?? []).join(' ');
  parts.push(el('section', {}, el('h3', {}, t('file')), table([
    [t('evidence'), shown.bundle?.name ?? ''],
    [t('sha256'), el('span', { class: 'code', 'data-testid': 'sha256' }, groups)],
    [t('policy'), shown.policy?.name ?? ''],
    [t('rules'), shown.report.rules_witnessed?.in_time ? rulesText(t) : null],
    [t('registry'), registry ? el('span', {}, el('span', { class: 'code' }, registry.origin), ` ${t('registry_value', { size: registry.size, version: rules.version })}`) : null],
    [t('sealed'), sealedText(t)],
  ])));
  return parts;
}

/** Whether the rules of the month stood in the registry in time; nothing for the defaults.
 * @param {Words} t
 */
function rulesText(t) {
  const witnessed = shown.report.rules_witnessed;
  if (!witnessed) return null;
  const at = witnessed.at === null ? t('never') : local(witnessed.at, t);
  const said = t(witnessed.in_time ? 'rules_in_time' : 'rules_late', { at, due_on: witnessed.due_on });
  return el('span', { 'data-testid': 'rules', 'data-in-time': String(witnessed.in_time) }, said);
}

/** What the county sealed, against what was found.
 * @param {Words} t
 */
function sealedText(t) {
  const { sealed, visits } = shown.report;
  if (!sealed) return null;
  const said = new Map(sealed.visits.map((/** @type {{visit: string, state: string}} */ { visit, state }) => [visit, state]));
  const other = visits.filter((/** @type {any} */ { visit, state }) => said.has(visit) && said.get(visit) !== state);
  if (other.length === 0) return t('sealed_same');
  return t('sealed_other', { visits: other.map((/** @type {any} */ { visit }) => `${visit} ${wordOf(t, 'state', said.get(visit) ?? '')}`).join(t('separator')) });
}

/** @param {Words} t */
function results(t) {
  const { visits } = shown.report;
  return [verdict(t), ...strangers(t), subject(t), shown.report.done ? steps(t) : null,
    ...(visits ?? []).map((/** @type {any} */ visit) => visitPart(visit, t)),
    ...(shown.report.sha256 ? foundations(t) : []),
    el('footer', {}, el('p', {}, t('made', { at: localMoment(shown.at) }), ' · ', t('zone')), el('p', {}, t('foot')))];
}

function draw() {
  const t = wordsOf(shown.language);
  document.documentElement.lang = shown.language === 'zh' ? 'zh-CN' : 'en';
  document.title = t('title');
  const parts = [head(t), el('p', { class: 'lead' }, t('lead')),
    el('div', { class: 'slots' }, fileSlot('bundle', t), fileSlot('policy', t)),
    el('p', { class: 'source' }, t('policy_source')),
    shown.several ? el('p', { class: 'source' }, t('several')) : null,
    shown.working ? el('p', { class: 'lead', role: 'status' }, t('working')) : null,
    ...(shown.report ? results(t) : [steps(t)])];
  document.getElementById('page')?.replaceChildren(...parts.filter((part) => part !== null));
}

// files ------------------------------------------------------------------------------------------------------------------

/** @param {File} file */
async function hashOf(file) { return hex(sha256(new Uint8Array(await file.slice(0, LARGEST_PICTURE_BYTES).arrayBuffer()))); }

/** What is kept of a file: one byte more than a bundle may have is enough to refuse it.
 * @param {File} file @returns {Promise<Given>}
 */
async function given(file) {
  return { name: file.name, data: new Uint8Array(await file.slice(0, LARGEST_FILE_BYTES + 1).arrayBuffer()) };
}

/** @param {File[]} files @param {'bundle' | 'policy'} [slot] else by what they are */
async function take(files, slot) {
  const seen = slot === undefined ? files.filter(({ name }) => PICTURE.test(name)) : [];
  const hashes = await Promise.all(seen.map(async (file) => ({ name: file.name, hash: await hashOf(file) })));
  shown.pictures = [...shown.pictures.filter(({ hash }) => !hashes.some((one) => one.hash === hash)), ...hashes];
  const known = await Promise.all(files.filter((file) => !seen.includes(file)).map(given));
  const slots = known.map(({ name, data }) => {
    const place = slot ?? (/\.zip$/i.test(name) || textOf(data.subarray(0, 2)) === 'PK' ? 'bundle' : 'policy');
    return place;
  });
  known.forEach((file, place) => { shown[slots[place]] = file; });
  shown.several = new Set(slots).size < slots.length;
  await judge();
}

async function judge() {
  const { bundle, policy } = shown;
  shown.report = null;
  if (bundle === null || policy === null) {
    draw();
    return;
  }
  shown.working = true;
  draw();
  let report;
  try {
    report = await check(bundle.data, policy.data);
  } catch (fault) {
    report = { result: 'broken', faults: [{ code: 'broken', detail: String(fault) }] };
  }
  if (shown.bundle !== bundle || shown.policy !== policy) return;
  Object.assign(shown, { report, working: false, at: Date.now() });
  draw();
}

function begin() {
  const { DecompressionStream } = /** @type {any} */ (window);
  if (typeof DecompressionStream === 'undefined' || typeof Object.hasOwn !== 'function') {
    document.getElementById('page')?.append(el('p', { class: 'lead' }, wordsOf('zh')('old_browser'), el('br', {}), wordsOf('en')('old_browser')));
    return;
  }
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    const files = [...event.dataTransfer?.files ?? []];
    if (files.length) take(files);
  });
  draw();
}

begin();

// A case in words: who, why, since when. Shared by the lists and the session.

import { has, isPractice, stateWord, t } from './frame.js';

const FIELDS = ['chief_complaint', 'history', 'findings', 'preliminary', 'question'];

/** @typedef {import('./exchange_socket.js').Case} Case */
/** @typedef {[label: string, text: string, badge?: string]} Row with the kind of badge the text stands in, if in one */

/**
 * What the van said in its own words, in this page's language where the van has told it.
 * @param {Case} c @param {unknown} text
 */
export function said(c, text) {
  const { lang } = document.documentElement;
  return c.summary.words?.[lang.startsWith('zh') ? 'zh' : lang]?.[String(text ?? '')] ?? String(text ?? '');
}

/** @param {Case} c */
export const patientName = (c) => String(c.summary.patient?.name ?? '');

/**
 * Sex, age and where from.
 * @param {Case} c
 */
export function patientFacts(c) {
  const { sex, age } = c.summary.patient ?? {};
  const who = [has(`sex_${sex}`) ? t(`sex_${sex}`) : '', age === null || age === undefined ? '' : t('years', { age })].filter(Boolean).join(' ');
  const { township = '', name = '' } = c.summary.village ?? {};
  const gap = document.documentElement.lang.startsWith('zh') ? '' : ' ';
  return [who, [township, name].filter(Boolean).join(gap)].filter(Boolean).join(t('list_comma'));
}

/**
 * The five fields and who asks.
 * @param {Case} c
 * @returns {Row[]}
 */
export function caseFields(c) {
  const fields = c.summary.fields ?? c.summary;
  /** @type {Row[]} */
  const rows = [...emergencyRows(c), ...backgroundRows(c)];
  for (const name of FIELDS) if (fields[name]) rows.push([t(`case_${name}`), String(fields[name])]);
  const { name, role } = c.summary.doctor ?? {};
  const asked = [name, has(`role_${role}`) ? t(`role_${role}`) : ''].filter(Boolean).join(' ');
  if (asked) rows.push([t('case_invited_by'), [asked, consented(c.summary.consent)].filter(Boolean).join(t('list_comma'))]);
  return rows;
}

/**
 * Who has agreed: the person, or by name and relation whoever signed for them.
 * @param {any} consent
 */
function consented(consent) {
  if (!consent) return '';
  if (consent.signed_by === 'emergency') return t('case_no_consent');
  const { guardian_name: name, guardian_relation: relation } = consent;
  return name ? t('case_consent_by', { name, relation: has(`relation_${relation}`) ? t(`relation_${relation}`) : '' }) : t('case_consent');
}

/**
 * Allergies first, also that nobody asked for them; then what else lasts: history, drugs.
 * @param {Case} c
 * @returns {Row[]}
 */
function backgroundRows(c) {
  const told = c.summary.background;
  if (!told) return [];
  const known = /** @type {string[]} */ (told.allergies ?? []).map((one) => said(c, one));
  const allergies = known.length ? known.join(t('list_comma')) + (told.unsigned ? t('case_unsigned') : '') : t(told.asked ? 'case_allergies_none' : 'case_allergies_unasked');
  const history = /** @type {any[]} */ (told.history ?? []).map((one) => `${said(c, one.title)}${t('colon')}${said(c, one.text)}`).join('\n');
  const rows = /** @type {Row[]} */ ([[t('case_allergies'), allergies, known.length ? 'ink' : ''], [t('case_lasting'), history], [t('case_drugs'), (told.drugs ?? []).join('\n')]]);
  return rows.filter(([, text]) => text);
}

/**
 * Of an emergency: where the van is now, what was measured last, what was done.
 * @param {Case} c
 * @returns {[string, string][]}
 */
function emergencyRows(c) {
  const told = c.summary.emergency;
  if (!told) return [];
  const place = [told.place, told.latitude_deg === undefined ? '' : `${told.latitude_deg}, ${told.longitude_deg}`].filter(Boolean).join(' ');
  const numbers = Object.values(told.vitals ?? {}).join(t('list_comma'));
  const steps = /** @type {any[]} */ (told.steps ?? []).map((step) => `${clockTime(step.at)} ${said(c, step.step)}`).join('\n');
  const rows = /** @type {[string, string][]} */ ([[t('case_place_now'), place], [t('case_last_numbers'), numbers], [t('case_steps'), steps]]);
  return rows.filter(([, text]) => text);
}

/** @param {Element} list a <dl> @param {Row[]} rows */
export function fillList(list, rows) {
  list.replaceChildren(...rows.flatMap(([label, text, kind]) => {
    const told = element('dd', kind ? '' : text);
    if (kind) told.append(Object.assign(element('b', text), { className: 'badge' }));
    if (kind) /** @type {HTMLElement} */ (told.firstElementChild).dataset.kind = kind;
    return [element('dt', label), told];
  }));
}

/** @param {string} urgency */
export const urgencyWord = (urgency) => (has(`urgency_${urgency}`) ? t(`urgency_${urgency}`) : urgency);

/**
 * Local time of an ISO instant, hours and minutes, with the day when it is not today's; empty when it is none.
 * @param {string | undefined} at
 */
export function clockTime(at) {
  const date = new Date(at ?? ''), { lang } = document.documentElement;
  if (Number.isNaN(date.getTime())) return '';
  const time = date.toLocaleTimeString(lang, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString(lang, { month: 'short', day: 'numeric' })} ${time}`;
}

/** @param {string} tag @param {string} text */
export function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/**
 * One card of a list, kept in place when it is already there.
 * @param {HTMLElement} list @param {HTMLTemplateElement} template @param {Case} c @returns {HTMLElement}
 */
export function card(list, template, c) {
  let item = [...list.children].find((child) => child instanceof HTMLElement && child.dataset.consultation === c.consultation);
  if (!(item instanceof HTMLElement)) {
    const made = template.content.firstElementChild?.cloneNode(true);
    if (!(made instanceof HTMLElement)) throw new Error('empty template');
    made.dataset.consultation = c.consultation;
    list.append(made);
    item = made;
  }
  const card = /** @type {HTMLElement} */ (item);
  put(card, 'portrait', patientName(c).slice(0, 1));
  put(card, 'name', patientName(c));
  put(card, 'facts', patientFacts(c));
  put(card, 'practice', isPractice(c) ? t('practice') : '');
  put(card, 'urgency', urgencyWord(c.urgency));
  put(card, 'van', t(c.van_online ? 'van_online' : 'van_offline'));
  put(card, 'when', clockTime(c.requested_at));
  put(card, 'state', stateWord(c));
  const fields = card.querySelector('[data-part="fields"]');
  if (fields) fillList(fields, caseFields(c));
  return card;
}

/** @param {HTMLElement} card @param {string} part @param {string} text */
export function put(card, part, text) {
  const place = card.querySelector(`[data-part="${part}"]`);
  if (!(place instanceof HTMLElement)) return;
  place.textContent = text;
  place.hidden = !text;
}

// Left column of a session: who, why, what was measured, what the oximeter says now.

import { caseFields, clockTime, element, fillList, patientFacts, patientName, said } from './case_words.js';
import { byId, has, t } from './frame.js';
import { showTrend } from './trend.js';

const SVG = 'http://www.w3.org/2000/svg';

/** @param {import('./exchange_socket.js').Case} c */
export function showSummary(c) {
  byId('portrait').textContent = patientName(c).slice(0, 1);
  byId('name').textContent = patientName(c);
  byId('facts').textContent = patientFacts(c);
  fillList(byId('fields'), caseFields(c));
  const readings = /** @type {any[]} */ (c.summary.readings ?? []);
  byId('readings').replaceChildren(...readings.map((one) => row(c, one)));
  byId('readings-none').hidden = readings.length > 0;
  byId('readings-from').textContent = clockTime(readings[0]?.at);
  showPrompts(c);
  showTrend(c);
}

/**
 * What the rules of the van say of this person: each prompt with its grade; the reasons under the pointer.
 * @param {import('./exchange_socket.js').Case} c
 */
function showPrompts(c) {
  const prompts = /** @type {any[]} */ (c.summary.prompts ?? []).filter((one) => one.grade && one.grade !== 'none');
  byId('prompts-panel').hidden = prompts.length === 0;
  byId('prompts').replaceChildren(...prompts.map((one) => {
    const item = element('li', ''), words = element('span', said(c, one.title));
    words.title = [one.result, one.advice, ...(one.source ?? [])].filter(Boolean).map((text) => said(c, text)).join('\n');
    item.append(words, grade(one.grade, has(`grade_${one.grade}`) ? t(`grade_${one.grade}`) : one.grade_word));
    return item;
  }));
}

const SILENT_AFTER_MS = 3000;                  // numbers come every second; older ones are not "now"
let silence = 0, liveDevice = '';

/**
 * The live numbers of the oximeter.
 * @param {any} message a "reading" of the live feed
 */
export function showLive(message) {
  if (message.kind !== 'pulse_oximetry') return;
  const { spo2_percent: spo2, pulse_bpm: pulse } = message.values ?? {};
  clearTimeout(silence);
  if ((spo2 ?? pulse ?? null) === null) { withdrawLive('live_no_number'); return; }
  liveDevice = message.device ?? '';
  byId('live-spo2').textContent = spo2 ?? '–';
  byId('live-pulse').textContent = pulse ?? '–';
  byId('live-device').textContent = t('live_now');
  silence = window.setTimeout(() => withdrawLive('live_no_number'), SILENT_AFTER_MS);
}

/**
 * Take the numbers off the page and say why.
 * @param {string} why a key of the texts
 */
export function withdrawLive(why) {
  clearTimeout(silence);
  for (const name of ['live-spo2', 'live-pulse']) byId(name).textContent = '–';
  byId('live-device').textContent = t(why);
}

/**
 * The oximeter itself went.
 * @param {any} message a "device" of the live feed
 */
export function showDevice(message) {
  if (message.device === liveDevice && ['lost', 'absent'].includes(message.link)) withdrawLive('live_none');
}

/**
 * A value of this person was confirmed and is red: said on the page until somebody has seen it.
 * @param {any} message a "critical" of the live feed
 */
export function showCritical({ kind, values }) {
  const words = has(`reading_${kind}`) ? t(`reading_${kind}`) : String(kind);
  byId('critical-text').textContent = has(`finding_${kind}`)
    ? t('found', { what: `${t(`finding_${kind}`)} ${findingNumber(values)}`.trim() })
    : t('critical_now', { what: words, text: valueText(kind, { values }) });
  byId('critical').hidden = false;
}
document.getElementById('critical-seen')?.addEventListener('click', () => { byId('critical').hidden = true; });

/** @param {any} values */
function findingNumber(values) {
  if (values?.heart_rate_bpm !== undefined) return `${values.heart_rate_bpm}/min`;
  return values?.pause_ms !== undefined ? `${(values.pause_ms / 1000).toFixed(1)} s` : '';
}

/** @param {import('./exchange_socket.js').Case} c @param {any} reading */
function row(c, reading) {
  const type = reading.type ?? reading.kind;
  const tr = document.createElement('tr');
  tr.dataset.reading = type;
  const value = element('td', '');
  value.className = 'num';
  value.append(element('b', valueText(type, reading)));
  const words = has(`unit_${type}`) ? t(`unit_${type}`) : reading.unit;
  if (words) { const unit = element('span', words); unit.className = 'unit'; value.append(unit); }
  const graded = element('td', '');
  graded.className = 'num';
  if (reading.mark !== undefined) {                  // the analyser's own: no grade of ours
    if (reading.mark) graded.append(element('b', t(`mark_${reading.mark}`)));
    tr.dataset.mark = reading.mark;
  } else {
    const level = reading.grade ?? 'none';
    graded.append(grade(level, has(`grade_${level}`) ? t(`grade_${level}`) : reading.grade_word));
  }
  tr.append(element('td', has(`reading_${type}`) ? t(`reading_${type}`) : said(c, reading.title ?? type)), value, graded);
  return tr;
}

/** @param {string} type @param {any} reading */
function valueText(type, reading) {
  const v = reading.values ?? {};
  /** @type {string | undefined} */
  const beyond = v.range === 'low' ? 'LO' : v.range === 'high' ? 'HI' : undefined;
  const scaled = (/** @type {string} */ name, /** @type {number} */ digits) => (v[name] !== undefined ? v[name] : v[`${name}_e2`] !== undefined ? (v[`${name}_e2`] / 100).toFixed(digits) : undefined);
  switch (type) {
    case 'blood_pressure': return `${v.systolic_mmhg ?? '–'}/${v.diastolic_mmhg ?? '–'}`;
    case 'glucose': return String(scaled('glucose_mmol_l', 1) ?? beyond ?? '–');
    case 'temperature': return String(scaled('temperature_c', 1) ?? '–');
    case 'weight': return String(scaled('weight_kg', 1) ?? '–');
    case 'heart_rate': return String(v.heart_rate_bpm ?? '–');
    case 'uric_acid': return String(v.uric_acid_umol_l ?? beyond ?? '–');
    case 'spo2': case 'pulse_oximetry': return String(v.spo2_percent ?? '–');
    default: return String(reading.text ?? Object.values(v)[0] ?? '–');
  }
}

/**
 * Shape, word and colour, always the three together.
 * @param {string} grade
 * @param {string} word
 */
function grade(grade, word) {
  const mark = document.createElement('span');
  mark.className = 'grade';
  mark.dataset.grade = grade;
  const svg = document.createElementNS(SVG, 'svg'), use = document.createElementNS(SVG, 'use');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#g-${grade}`);
  svg.append(use);
  mark.append(svg, word);
  return mark;
}

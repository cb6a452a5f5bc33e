// What was measured over the visits, today's darker: blood pressure as bars from diastolic to systolic, the rest as dots.

import { element } from './case_words.js';
import { byId, has, t } from './frame.js';

const SVG = 'http://www.w3.org/2000/svg';
const LEFT = 34, RIGHT = 274, TOP = 18, BOTTOM = 138, MOST = 8, ROOM = .12;
const LIMITS = [140, 90];                      // the two lines of GB hypertension grading, as orientation
/** @type {Record<string, string[]>} what is drawn of each type, the upper first */
const DRAWN = {
  blood_pressure: ['systolic_mmhg', 'diastolic_mmhg'], glucose: ['glucose_mmol_l'], pulse_oximetry: ['spo2_percent'], weight: ['weight_kg'],
  temperature: ['temperature_c'], heart_rate: ['heart_rate_bpm'], uric_acid: ['uric_acid_umol_l'],
};

/** @typedef {{ at: string, values: number[] }} Point */

let chosen = '';

/** @param {import('./exchange_socket.js').Case} c */
export function showTrend(c) {
  const series = Object.keys(DRAWN).map((type) => ({ type, points: measured(c, type).slice(-MOST) })).filter(({ points }) => points.length > 1);
  byId('trend').hidden = series.length === 0;
  const shown = series.find(({ type }) => type === chosen) ?? series[0];
  if (!shown) return;
  byId('trend-title').textContent = t('trend_title', { what: t(`reading_${shown.type}`) });
  byId('trend-unit').textContent = has(`unit_${shown.type}`) ? t(`unit_${shown.type}`) : '';
  draw(shown.type, shown.points);
  byId('trend-types').hidden = series.length < 2;
  byId('trend-types').replaceChildren(...series.map(({ type }) => {
    const button = /** @type {HTMLButtonElement} */ (element('button', t(`reading_${type}`)));
    button.type = 'button';
    button.className = 'btn';
    button.dataset.trend = type;
    button.setAttribute('aria-pressed', String(type === shown.type));
    button.addEventListener('click', () => {
      chosen = type;
      showTrend(c);
      /** @type {HTMLElement | null} */ (document.querySelector(`[data-trend="${type}"]`))?.focus();
    });
    return button;
  }));
}

/**
 * Earlier ones, then today's.
 * @param {import('./exchange_socket.js').Case} c @param {string} type @returns {Point[]}
 */
function measured(c, type) {
  const all = [...(c.summary.trends ?? []), ...(c.summary.readings ?? [])].filter((/** @type {any} */ p) => p.type === type);
  const number = (/** @type {any} */ values, /** @type {string} */ name) => Number(values?.[name] ?? values?.[`${name}_e2`] / 100);
  return all.map((/** @type {any} */ p) => ({ at: String(p.at ?? ''), values: DRAWN[type].map((name) => number(p.values, name)) }))
    .filter(({ values }) => values.every((value) => value > 0));
}

/** @param {string} type @param {Point[]} points */
function draw(type, points) {
  const limits = type === 'blood_pressure' ? LIMITS : [], all = [...limits, ...points.flatMap(({ values }) => values)];
  const most = Math.max(...all), least = Math.min(...all), room = (most - least || most * .1) * ROOM;
  const y = (/** @type {number} */ value) => BOTTOM - ((value - least + room) / (most - least + 2 * room)) * (BOTTOM - TOP);
  const x = (/** @type {number} */ i) => LEFT + 22 + (i * (RIGHT - LEFT - 44)) / (points.length - 1);
  const words = (/** @type {Point} */ { values }) => values.map(String).join('/'), last = points.length - 1;
  const lines = limits.length ? limits : [...new Set([most, least])];
  const svg = /** @type {SVGElement} */ (byId('trend').querySelector('svg'));
  svg.setAttribute('aria-label', points.map(words).join(', '));
  svg.replaceChildren(
    path('axis', `M${LEFT} ${TOP - 4}V${BOTTOM}H${RIGHT}`),
    ...lines.flatMap((line) => [path('limit', `M${LEFT} ${y(line)}H${RIGHT}`), text(LEFT - 6, y(line) + 5, String(line), 'end')]),
    ...points.map(({ values }, i) => path(i === last ? 'band now' : 'band', `M${x(i)} ${y(values[0])}V${y(values[values.length - 1]) + .01}`)),
    text(x(last), y(points[last].values[0]) - 8, words(points[last]), 'middle', 'last'),
    ...[0, last].map((i) => text(x(i), 158, month(points[i].at), 'middle')),
  );
}

/** @param {string} at */
function month(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? '' : `${String(date.getFullYear()).slice(2)}/${date.getMonth() + 1}`;
}

/** @param {string} className @param {string} d */
function path(className, d) {
  const made = document.createElementNS(SVG, 'path');
  made.setAttribute('class', className);
  made.setAttribute('d', d);
  return made;
}

/** @param {number} x @param {number} y @param {string} words @param {string} anchor @param {string} [className] */
function text(x, y, words, anchor, className = '') {
  const made = document.createElementNS(SVG, 'text');
  made.setAttribute('x', String(x));
  made.setAttribute('y', String(y));
  made.setAttribute('text-anchor', anchor);
  made.setAttribute('class', className);
  made.textContent = words;
  return made;
}

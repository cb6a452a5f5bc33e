// Blood pressure over the visits: one bar from diastolic to systolic each, today's darker.

import { byId, t } from './frame.js';

const SVG = 'http://www.w3.org/2000/svg';
const LEFT = 34, RIGHT = 274, TOP = 14, BOTTOM = 138, MOST = 8;
const LIMITS = [140, 90];                      // the two lines of GB hypertension grading, as orientation

/** @param {import('./exchange_socket.js').Case} c */
export function showTrend(c) {
  const points = bloodPressures(c).slice(-MOST);
  const panel = byId('trend');
  panel.hidden = points.length < 2;
  if (panel.hidden) return;
  const high = Math.max(160, ...points.map((p) => p.systolic)) + 8, low = Math.min(70, ...points.map((p) => p.diastolic)) - 4;
  const y = (/** @type {number} */ mmhg) => BOTTOM - ((mmhg - low) / (high - low)) * (BOTTOM - TOP);
  const x = (/** @type {number} */ i) => LEFT + 22 + (i * (RIGHT - LEFT - 44)) / Math.max(1, points.length - 1);
  const svg = /** @type {SVGElement} */ (panel.querySelector('svg'));
  const last = points[points.length - 1];
  svg.setAttribute('aria-label', points.map((p) => `${p.systolic}/${p.diastolic}`).join(', '));
  svg.replaceChildren(
    path('axis', `M${LEFT} ${TOP - 4}V${BOTTOM}H${RIGHT}`),
    ...LIMITS.flatMap((limit) => [path('limit', `M${LEFT} ${y(limit)}H${RIGHT}`), text(LEFT - 6, y(limit) + 5, String(limit), 'end')]),
    ...points.map((p, i) => path(i === points.length - 1 ? 'band now' : 'band', `M${x(i)} ${y(p.systolic)}V${y(p.diastolic)}`)),
    text(x(points.length - 1), y(last.systolic) - 8, `${last.systolic}/${last.diastolic}`, 'middle', 'last'),
    ...[0, points.length - 1].map((i) => text(x(i), 158, month(points[i].at), 'middle')),
  );
  byId('trend-title').textContent = t('trend_blood_pressure');
}

/**
 * Earlier ones, then today's.
 * @param {import('./exchange_socket.js').Case} c
 */
function bloodPressures(c) {
  const all = [...(c.summary.trends ?? []), ...(c.summary.readings ?? [])].filter((/** @type {any} */ p) => p.type === 'blood_pressure');
  return all.map((/** @type {any} */ p) => ({ at: String(p.at ?? ''), systolic: Number(p.values?.systolic_mmhg), diastolic: Number(p.values?.diastolic_mmhg) }))
    .filter((p) => p.systolic > 0 && p.diastolic > 0);
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

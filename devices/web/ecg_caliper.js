// Calipers on ECG paper: time, rate and amplitude between two points, at the sheet's own speed and gain.
//
//   const measure = caliper(strip, words, tell);    words: caliper_first, caliper_second, per_minute; tell: what to do next
//   measure(true);                                  begins anew; false takes it off the paper

import { EcgStrip } from './ecg_strip.js';

const NEAR_PX = 36, TAP_PX = 8;
/** @typedef {{ x: number, y: number }} Point */

/**
 * Two taps, or one stroke, set the two points; each of them can be drawn elsewhere afterwards.
 * @param {EcgStrip} strip @param {Record<string, string>} words @param {(text: string) => void} tell
 * @returns {(on: boolean) => void}
 */
export function caliper(strip, words, tell) {
  const { host } = strip, mark = document.createElement('span'), said = document.createElement('b');
  mark.className = 'caliper';
  mark.dataset.testid = 'caliper-box';
  mark.hidden = true;
  const ends = [0, 1].map(() => document.createElement('i'));
  said.setAttribute('role', 'status');
  said.dataset.testid = 'caliper-said';
  mark.append(said, ...ends);
  host.append(mark);
  /** @type {Point[]} none, the first, or both */
  let points = [];
  /** @type {number | null} which point the finger has */
  let held = null;
  let stroke = false, on = false;

  const draw = () => {
    mark.hidden = points.length === 0;
    if (points.length === 0) return;
    const [a, b] = [points[0], points[1] ?? points[0]];
    const left = Math.min(a.x, b.x), top = Math.min(a.y, b.y), wide = Math.abs(a.x - b.x), high = Math.abs(a.y - b.y);
    Object.assign(mark.style, { left: `${left}px`, top: `${top}px`, width: `${wide}px`, height: `${high}px` });
    [a, b].forEach((point, k) => Object.assign(ends[k].style, { left: `${point.x - left}px`, top: `${point.y - top}px` }));
    mark.toggleAttribute('data-below', top < 48);
    said.hidden = points.length < 2;
    said.textContent = measured(strip, wide, high, words);
  };
  const at = (/** @type {PointerEvent} */ event) => {
    const box = host.getBoundingClientRect();
    return { x: Math.min(box.width, Math.max(0, event.clientX - box.left)), y: Math.min(box.height, Math.max(0, event.clientY - box.top)) };
  };

  host.addEventListener('pointerdown', (event) => {
    if (!on) return;
    host.setPointerCapture(event.pointerId);
    const point = at(event);
    const near = points.length === 2 ? points.findIndex((one) => Math.hypot(one.x - point.x, one.y - point.y) < NEAR_PX) : -1;
    if (near >= 0) { held = near; return; }
    stroke = points.length !== 1;
    points = stroke ? [point] : [points[0], point];
    held = 1;
    tell(stroke ? words.caliper_second : '');
    draw();
  });
  host.addEventListener('pointermove', (event) => {
    if (held === null) return;
    const point = at(event);
    if (stroke && points.length === 1 && Math.hypot(point.x - points[0].x, point.y - points[0].y) < TAP_PX) return;
    points[held] = point;
    if (points.length === 2) tell('');
    draw();
  });
  for (const kind of ['pointerup', 'pointercancel']) host.addEventListener(kind, () => { held = null; stroke = false; });
  host.addEventListener('ecg-scale', draw);
  return (wanted) => {
    on = wanted;
    host.toggleAttribute('data-measuring', on);
    points = [];
    draw();
    tell(on ? words.caliper_first : '');
  };
}

/** @param {EcgStrip} strip @param {number} widePx @param {number} highPx @param {Record<string, string>} words */
function measured(strip, widePx, highPx, words) {
  const ms = (widePx / strip.mm / strip.mmPerS) * 1000, mv = highPx / strip.mm / strip.mmPerMv;
  const rate = ms >= 200 ? `　${Math.round(60_000 / ms)} ${words.per_minute}` : '';
  return `${Math.round(ms)} ms${rate}　${mv.toFixed(2)} mV`;
}

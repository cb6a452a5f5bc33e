// What the live and the stored ECG page share: layout, pages, caliper, the word about the scale.

import { EcgStrip } from '/shared/ecg_strip.js';
import { calibrated } from '/shared/scale.js';

/** @param {EcgStrip} strip @param {Record<string, string>} words */
export function layoutButtons(strip, words) {
  const buttons = [...document.querySelectorAll('button[data-layout]')];
  for (const button of buttons) {
    if (!(button instanceof HTMLElement)) continue;
    button.addEventListener('click', () => {
      strip.setLayout(button.dataset.layout ?? '3x4+1');
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button));
    });
  }
  const choice = buttons[0]?.parentElement, twelve = strip.host.getAttribute('aria-label') ?? '';
  strip.host.addEventListener('ecg-sheet', (event) => {
    const { leads, asLaidOut } = /** @type {CustomEvent} */ (event).detail;
    if (choice) choice.hidden = !asLaidOut;
    strip.host.setAttribute('aria-label', asLaidOut ? twelve : words.few.replace('{leads}', leads.join(' ')));
  });
  const said = document.getElementById('scale-said');
  if (said) said.textContent = calibrated() ? words.calibrated : words.uncalibrated;
}

/**
 * Sheet by sheet through a recording that is longer than one.
 * @param {EcgStrip} strip
 */
export function pageButtons(strip) {
  const pages = document.getElementById('pages'), said = document.getElementById('page-said');
  const [back, on] = ['page-back', 'page-on'].map((id) => /** @type {HTMLButtonElement | null} */ (document.getElementById(id)));
  if (!pages || !said || !back || !on) return;
  const show = (/** @type {number} */ startS) => {
    const last = Math.max(0, strip.durationS - 1);
    const from = Math.min(Math.max(0, startS), last), until = Math.min(strip.durationS, from + strip.seconds);
    if (from !== strip.startS) strip.page(from);
    pages.hidden = strip.durationS <= strip.seconds + .5;
    said.textContent = `${from.toFixed(0)}–${until.toFixed(0)} / ${strip.durationS.toFixed(0)} s`;
    back.disabled = from <= 0;
    on.disabled = until >= strip.durationS;
  };
  back.addEventListener('click', () => show(strip.startS - strip.seconds));
  on.addEventListener('click', () => show(strip.startS + strip.seconds));
  new ResizeObserver(() => show(strip.startS)).observe(strip.host);
  show(0);
}

/**
 * Two taps on the paper measure time and voltage between them.
 * @param {EcgStrip} strip @param {Record<string, string>} words
 */
export function caliper(strip, words) {
  const button = document.getElementById('caliper'), said = document.getElementById('caliper-said');
  const mark = document.createElement('span');
  mark.className = 'caliper';
  mark.hidden = true;
  strip.host.append(mark);
  /** @type {{ x: number, y: number } | null} */
  let first = null;
  const on = () => button?.getAttribute('aria-pressed') === 'true';
  button?.addEventListener('click', () => {
    button.setAttribute('aria-pressed', String(!on()));
    first = null;
    mark.hidden = true;
    if (said) said.textContent = on() ? words.caliper_first : '';
  });
  strip.host.addEventListener('pointerdown', (event) => {
    if (!on() || !said) return;
    const box = strip.host.getBoundingClientRect(), point = { x: event.clientX - box.left, y: event.clientY - box.top };
    if (!first) {
      first = point;
      Object.assign(mark.style, { left: `${point.x}px`, top: `${point.y}px`, width: '0', height: '0' });
      mark.hidden = false;
      said.textContent = words.caliper_second;
      return;
    }
    const [dx, dy] = [Math.abs(point.x - first.x), Math.abs(point.y - first.y)];
    Object.assign(mark.style, { left: `${Math.min(point.x, first.x)}px`, top: `${Math.min(point.y, first.y)}px`, width: `${dx}px`, height: `${dy}px` });
    const ms = (dx / strip.mm / 25) * 1000, mv = dy / strip.mm / 10;
    said.textContent = `${Math.round(ms)} ms  ${mv.toFixed(2)} mV${ms > 200 ? `  ${Math.round(60_000 / ms)} ${words.per_minute}` : ''}`;
    first = null;
  });
}

// Measure: live numbers and waves. Values that arrive renew their tile through frame.js.

import { EcgStrip } from '/shared/ecg_strip.js';
import { PlethStrip } from '/shared/pleth_strip.js';
import { feed, recent, renew, store } from './frame.js';

const pleth = document.getElementById('pleth');
if (pleth instanceof HTMLCanvasElement) new PlethStrip(pleth).live(store);

/** @type {Record<string, [string, string, number][]>} by kind of reading: where it stands, its field, decimals */
const LIVE = {
  pulse_oximetry: [['pulse_oximetry', 'spo2_percent', 0], ['pulse_bpm', 'pulse_bpm', 0]],
  heart_rate: [['heart_rate', 'heart_rate_bpm', 0]],
  temperature: [['temperature', 'temperature_c', 1]],
};

/** @type {HTMLElement | null} */
let drawn = null;
/** @type {EcgStrip | null} */
let mini = null;
function miniature() {
  const place = document.getElementById('mini-ecg');
  if (!place || place === drawn) return;
  drawn = place;
  mini = new EcgStrip(place, { layout: 'one', calibration: false, labels: false, pxPerMm: 3, maxSeconds: 30 });
  place.addEventListener('ecg-sheet', (event) => sayLead(/** @type {CustomEvent} */ (event).detail.leads[0]));
  mini.live(store);
}

/** @type {string} on the miniature: II, or what a device of one lead calls its own */
let lead = 'II';
/** @param {string} drawn */
function sayLead(drawn) {
  lead = drawn;
  const place = document.querySelector('[data-ecg-lead]');
  if (!place) return;
  place.textContent = lead === 'ECG' ? '' : (place.textContent ?? '').replace(/\b(I{1,3}|aV[RLF]|V[1-6])\b/, lead);
  document.getElementById('mini-ecg')?.setAttribute('aria-label', place.textContent || lead);
}

miniature();
recent('ecg').then(() => mini?.relayout());
recent('pleth');
document.addEventListener('renewed', miniature);
document.addEventListener('renewed', () => sayLead(lead));
document.addEventListener('renewed', () => {
  const canvas = document.getElementById('pleth');
  if (canvas instanceof HTMLCanvasElement && canvas !== pleth && !canvas.dataset.drawn) { canvas.dataset.drawn = '1'; new PlethStrip(canvas).live(store); }
});

/** What the analysis says of the heart rate now; it speaks once a second. */
let silence = 0;
feed.on('ecg_analysis', (message) => {
  if (store.ring('ecg')?.device !== message.device) return;
  clearTimeout(silence);
  sayRate(message.heart_rate_bpm ?? null);
  silence = window.setTimeout(() => sayRate(null), 3000);
});
feed.on('ecg_findings', () => renew('reading'));

/** @param {number | null} bpm */
function sayRate(bpm) {
  const place = document.getElementById('mini-rate'), number = place?.querySelector('b');
  if (!place || !number) return;
  place.hidden = bpm === null;
  number.textContent = String(bpm ?? '–');
}

/** @type {number | null} mmHg in the cuff at work */
let cuff = null;
function showCuff() {
  for (const place of document.querySelectorAll('[data-cuff]')) {
    if (!(place instanceof HTMLElement)) continue;
    place.hidden = cuff === null;
    const number = place.querySelector('b');
    if (number) number.textContent = cuff === null ? '' : String(cuff);
  }
}
document.addEventListener('renewed', showCuff);

feed.on('reading', (message) => {
  if (message.kind === 'cuff_pressure') { cuff = message.values?.cuff_mmhg ?? null; showCuff(); return; }
  const told = message.live ? LIVE[message.kind] : undefined;
  if (!told) return;
  const values = message.values ?? message.tile?.values ?? {};
  for (const [name, field, digits] of told) {
    const number = values[field];
    for (const place of document.querySelectorAll(`[data-live-value="${name}"]`)) {
      const text = number === null || number === undefined ? '–' : number.toFixed(digits);
      if (place.textContent !== text) place.textContent = text;
    }
  }
});

// Calibration of this panel: a line is made as long as a bank card is wide (85.6 mm, ISO/IEC 7810 ID-1).

import { calibrate, calibrated, pxPerMm } from '/shared/scale.js';
import { words } from './frame.js';

const CARD_MM = 85.6;
const say = words();
const ruler = /** @type {HTMLElement} */ (document.getElementById('ruler'));
const kept = /** @type {HTMLElement} */ (document.getElementById('kept')), said = /** @type {HTMLElement} */ (document.getElementById('said'));
let widthPx = CARD_MM * pxPerMm();

function show() {
  ruler.style.width = `${widthPx}px`;
  said.textContent = `${(widthPx / CARD_MM).toFixed(2)} px/mm`;
  const scale = calibrated();
  kept.textContent = scale ? say.kept.replace('{n}', scale.toFixed(2)) : say.not_yet;
}

document.addEventListener('click', ({ target }) => {
  const step = target instanceof Element ? target.closest('[data-step]') : null;
  if (step instanceof HTMLElement) { widthPx = Math.min(1000, Math.max(160, widthPx + Number(step.dataset.step))); show(); }
});
document.getElementById('keep')?.addEventListener('click', () => { calibrate(widthPx / CARD_MM); show(); });
document.getElementById('forget')?.addEventListener('click', () => { localStorage.removeItem('xunzhen-px-per-mm'); location.reload(); });
show();

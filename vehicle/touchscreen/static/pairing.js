// The pairing sheet: it comes and goes with the question of the device, and counts the seconds that are left.

import { feed, renew } from './frame.js';
import './keypad.js';                                               // before the sheet comes: its first digit counts

feed.on('pairing', ({ turn }) => {
  if (document.getElementById('pairing')?.dataset.turn === String(turn)) return;
  const sheet = document.getElementById('pairing-sheet');
  if (sheet instanceof HTMLDialogElement) sheet.close();             // an open sheet is not exchanged; the next one is another question
  renew('pairing');
});

/** @type {HTMLElement | null} */
let counted = null;                                                  // the sheet whose seconds run
let endsMs = 0;

setInterval(() => {
  const sheet = document.getElementById('pairing-sheet');
  if (!(sheet instanceof HTMLElement) || !sheet.dataset.leftS) { counted = null; return; }
  if (sheet !== counted) { counted = sheet; endsMs = performance.now() + Number(sheet.dataset.leftS) * 1000; }
  const leftS = Math.max(0, (endsMs - performance.now()) / 1000);
  const text = sheet.querySelector('[data-left]'), bar = sheet.querySelector('.bar i');
  if (text) text.textContent = String(Math.ceil(leftS));
  if (bar instanceof HTMLElement) bar.style.setProperty('--part', String(100 * leftS / Number(sheet.dataset.withinS)));
}, 250);

document.addEventListener('input', ({ target }) => {
  if (target instanceof HTMLInputElement && target.name === 'passkey') target.value = target.value.replace(/\D/g, '');
});

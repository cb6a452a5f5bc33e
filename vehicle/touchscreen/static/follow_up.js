// A follow-up form: every tap is sent at once, the parts that follow from it are fetched again.

import { renew } from './frame.js';

const TYPED_MS = 900;                                              // after the last key a number is sent
const questions = /** @type {HTMLElement} */ (document.getElementById('form-questions'));
const draft = questions.dataset.draft ?? '';
/** @typedef {HTMLInputElement | HTMLTextAreaElement} Typed */
/** @type {Map<Typed, number>} numbers and texts that were typed and not yet sent */
const typed = new Map();
/** @type {Promise<void>} one answer after the other, in the order of the taps */
let line = Promise.resolve();

/** @param {Element | null} inside @returns {HTMLElement | null} */
function question(inside) {
  return inside?.closest('[data-field]') instanceof HTMLElement ? /** @type {HTMLElement} */ (inside.closest('[data-field]')) : null;
}

/** @param {HTMLElement} place @param {string} text */
function complain(place, text) {
  const said = place.querySelector('.fault');
  if (said) said.textContent = text;
}

/**
 * Keep one answer; ``undefined`` clears it.
 * @param {HTMLElement} place @param {unknown} answer
 */
function say(place, answer) {
  const body = new URLSearchParams({ field: place.dataset.field ?? '', value: answer === undefined ? '' : JSON.stringify(answer) });
  line = line.then(() => send(place, body));
}

/** @param {HTMLElement} place @param {URLSearchParams} body */
async function send(place, body) {
  try {
    const answer = await fetch(`/follow-up/${draft}/answer`, { method: 'POST', body, redirect: 'manual', keepalive: true });
    if (answer.status === 422) { complain(place, (await answer.json()).text ?? ''); return; }
    if (!answer.ok) { location.reload(); return; }
    complain(place, '');
    renew('follow_up');
  } catch { complain(place, '…'); setTimeout(() => { line = line.then(() => send(place, body)); }, 1500); }      // the van restarts
}

/** @param {unknown} target @returns {target is Typed} */
function isTyped(target) {
  return (target instanceof HTMLInputElement && target.matches('#form-questions .number')) || (target instanceof HTMLTextAreaElement && target.matches('#form-questions .said'));
}

/** @param {Typed} input */
function sendTyped(input) {
  const waiting = typed.get(input), place = question(input);
  if (waiting === undefined || !place) return;
  clearTimeout(waiting);
  typed.delete(input);
  const text = input.value.trim();
  say(place, text ? text : undefined);
}

/** @param {EventTarget | null} target */
function touched(target) {
  if (!isTyped(target)) return;
  clearTimeout(typed.get(target));
  typed.set(target, window.setTimeout(() => sendTyped(target), TYPED_MS));
}

questions.addEventListener('change', ({ target }) => {
  const place = target instanceof HTMLInputElement ? question(target) : null;
  if (!(target instanceof HTMLInputElement) || !place) return;
  if (target.type === 'radio') say(place, target.value);
  else if (target.type === 'checkbox') {
    const boxes = /** @type {HTMLInputElement[]} */ ([...place.querySelectorAll('input[type=checkbox]')]);
    for (const box of boxes) if (target.checked && box !== target && (target.dataset.alone !== undefined || box.dataset.alone !== undefined)) box.checked = false;
    const codes = boxes.filter((box) => box.checked).map((box) => box.value);
    say(place, codes.length ? codes : undefined);
  }
  if (target.type !== 'text') target.blur();                        // a part with the cursor in it is not renewed
});

questions.addEventListener('input', ({ target }) => { if (target instanceof HTMLInputElement) delete target.dataset.fresh; touched(target); });
/** @param {EventTarget | null} target */
function entered(target) { if (target instanceof HTMLInputElement && target.matches('#form-questions .number')) { target.select(); target.dataset.fresh = ''; } }
questions.addEventListener('focusin', ({ target }) => entered(target));
entered(document.activeElement);                                    // the keypad has put the cursor there already
document.addEventListener('click', ({ target }) => {               // the first key replaces what was filled in
  const input = document.activeElement;
  if (!(target instanceof Element) || !target.closest('.form-fields .pad [data-key]') || !(input instanceof HTMLInputElement)) return;
  if (input.dataset.fresh !== undefined) input.value = '';
  delete input.dataset.fresh;
}, { capture: true });
questions.addEventListener('focusout', ({ target }) => {
  if (!(target instanceof HTMLInputElement) && !isTyped(target)) return;
  if (!typed.has(target)) setTimeout(() => renew('follow_up'), 50);
  sendTyped(target);
});
document.addEventListener('click', ({ target }) => {
  const key = target instanceof Element ? target.closest('.form-fields .pad [data-key]') : null;
  if (key) { touched(document.activeElement); return; }
  const button = target instanceof Element ? target.closest('button') : null, place = question(button);
  if (!button || !place) return;
  const { say: told, drop, add } = button.dataset;
  if (told !== undefined) say(place, JSON.parse(told));
  const list = () => /** @type {{name: string, use: string}[]} */ (JSON.parse(place.dataset.list ?? '[]'));
  if (drop !== undefined) say(place, list().filter((_, n) => n !== Number(drop)));
  if (add !== undefined) say(place, [...list(), JSON.parse(add)]);
  if (button.dataset.addWord !== undefined) {
    const [name, use] = [...place.querySelectorAll('.by-word input')].map((input) => input instanceof HTMLInputElement ? input.value.trim() : '');
    if (name) say(place, [...list(), { name, use }]);
  }
  button.blur();
});
window.addEventListener('pagehide', () => { for (const input of [...typed.keys()]) sendTyped(input); });

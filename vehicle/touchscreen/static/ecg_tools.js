// What the live and the stored ECG page share: layout, display, pages, caliper, median beat, words on the paper.

import { caliper } from '/shared/ecg_caliper.js';
import { FILTERS } from '/shared/ecg_filter.js';
import { EcgStrip } from '/shared/ecg_strip.js';
import { decodeSamples } from '/shared/live_feed.js';
import { calibrated } from '/shared/scale.js';

/** @param {string} text nothing: nothing is told */
export function tell(text) {
  const place = document.getElementById('ecg-told');
  if (!place) return;
  place.textContent = text;
  place.hidden = !text;
}

/** @param {EcgStrip} strip @param {Record<string, string>} words */
export function caliperButton(strip, words) {
  const button = document.getElementById('caliper'), measure = caliper(strip, words, tell);
  button?.addEventListener('click', () => {
    const on = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(on));
    measure(on);
  });
}

/** @param {string} selector @returns {HTMLElement[]} */
const all = (selector) => [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(selector))];

/** @param {HTMLElement[]} buttons @param {HTMLElement | null} chosen */
function press(buttons, chosen) { for (const button of buttons) button.setAttribute('aria-pressed', String(button === chosen)); }

/**
 * Layouts, and single leads of the display panel; another choice ends the median beat.
 * @param {EcgStrip} strip @param {Record<string, string>} words @param {() => void} [chosen]
 */
export function layoutButtons(strip, words, chosen = () => {}) {
  const buttons = all('button[data-layout]');
  for (const button of buttons) {
    button.addEventListener('click', () => {
      chosen();
      narrowRows(button.dataset.layout === '12x1');
      strip.setLayout(button.dataset.layout ?? '3x4+1', button.dataset.lead);
      press(buttons, button);
      showDisplay(false);
    });
  }
  const choice = buttons[0]?.parentElement, twelve = strip.host.getAttribute('aria-label') ?? '';
  strip.host.addEventListener('ecg-sheet', (event) => {
    const { leads, asLaidOut } = /** @type {CustomEvent} */ (event).detail;
    for (const place of [choice, ...all('[data-few-hidden]')]) if (place) place.hidden = !asLaidOut;
    strip.host.setAttribute('aria-label', asLaidOut ? twelve : words.few.replace('{leads}', leads.join(' ')));
  });
  const said = document.getElementById('scale-said');
  if (said) said.textContent = calibrated() ? words.calibrated : words.uncalibrated;
}

/**
 * Twelve rows on one panel leave no room for 10 mm/mV: they begin at 5, which is pressed and written on the paper.
 * @param {boolean} narrow
 */
function narrowRows(narrow) {
  const [from, to] = narrow ? ['10', '5'] : ['5', '10'];
  const wanted = /** @type {HTMLElement | null} */ (document.querySelector(`[data-gain="${to}"]`));
  if (wanted && document.querySelector(`[data-gain="${from}"][aria-pressed="true"]`) && (narrow || wanted.dataset.narrowed)) {
    wanted.click();
    const usual = /** @type {HTMLElement} */ (document.querySelector('[data-gain="10"]'));
    if (narrow) usual.dataset.narrowed = '1'; else delete usual.dataset.narrowed;
  }
}

/** @param {boolean} shown */
function showDisplay(shown) {
  const panel = document.getElementById('display'), button = document.getElementById('show-display');
  if (!panel || !button) return;
  panel.hidden = !shown;
  button.setAttribute('aria-expanded', String(shown));
}

/**
 * Gain, speed and filter, each written on the paper.
 * @param {EcgStrip} strip @param {Record<string, string>} words
 */
export function displayButtons(strip, words) {
  const panel = document.getElementById('display'), opener = document.getElementById('show-display');
  if (!panel || !opener) return;
  opener.addEventListener('click', () => showDisplay(panel.hidden));
  strip.host.addEventListener('pointerdown', () => showDisplay(false));
  const write = (/** @type {string} */ id, /** @type {string} */ text, /** @type {boolean} */ usual) => {
    const place = document.getElementById(id);
    if (place) { place.textContent = text; place.toggleAttribute('data-on', !usual); }
    strip.host.dispatchEvent(new CustomEvent('ecg-scale'));
  };
  choices('[data-gain]', (button) => {
    strip.setScale({ mmPerMv: Number(button.dataset.gain) });
    write('gain-said', `${button.dataset.gain} mm/mV`, button.dataset.gain === '10');
  });
  choices('[data-speed]', (button) => {
    strip.setScale({ mmPerS: Number(button.dataset.speed) });
    write('speed-said', `${button.dataset.speed} mm/s`, button.dataset.speed === '25');
  });
  choices('[data-filter]', (button) => {
    const name = /** @type {import('/shared/ecg_filter.js').FilterName} */ (button.dataset.filter);
    strip.setFilter(name);
    const also = name === 'monitor' ? ` 50 Hz ${words.st}` : '';
    write('filter-said', name === 'none' ? words.unfiltered : `${words.filter} ${FILTERS[name].said}${also}`, name === 'none');
  });
}

/** @param {string} selector @param {(button: HTMLElement) => void} choose */
function choices(selector, choose) {
  const buttons = all(selector);
  for (const button of buttons) button.addEventListener('click', () => { press(buttons, button); choose(button); });
}

/**
 * The median beat instead of the trace, and back.
 * @param {EcgStrip} strip @param {Record<string, string>} words @param {() => void} goOn shows the trace again
 * @returns {() => void} ends it
 */
export function beatButton(strip, words, goOn) {
  const button = document.getElementById('beat');
  if (!button) return () => {};
  let before = '';
  /** @type {Element | null} */
  let chosen = null;
  const end = () => {
    if (button.getAttribute('aria-pressed') !== 'true') return;
    button.setAttribute('aria-pressed', 'false');
    tell('');
    goOn();
    strip.setLayout(before);
    chosen?.setAttribute('aria-pressed', 'true');
    strip.host.dispatchEvent(new CustomEvent('ecg-scale'));
  };
  button.addEventListener('click', async () => {
    showDisplay(false);
    if (button.getAttribute('aria-pressed') === 'true') { end(); return; }
    const answer = await fetch(button.dataset.beat ?? '', { headers: { 'X-Background': '1' } }).catch(() => null);
    if (answer?.status !== 200) { tell(words.beat_none); return; }
    before = strip.options.layout;
    chosen = document.querySelector('button[data-layout][aria-pressed="true"]');
    chosen?.setAttribute('aria-pressed', 'false');
    button.setAttribute('aria-pressed', 'true');
    strip.setLayout('beat');
    strip.stored(decodeSamples(await answer.arrayBuffer()));
    strip.host.dispatchEvent(new CustomEvent('ecg-scale'));
    tell(words.beat);
  });
  return end;
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
    pages.hidden = strip.options.layout === 'beat' || strip.durationS <= strip.seconds + .5;
    said.textContent = `${from.toFixed(0)}–${until.toFixed(0)} / ${strip.durationS.toFixed(0)} s`;
    back.disabled = from <= 0;
    on.disabled = until >= strip.durationS;
  };
  back.addEventListener('click', () => show(strip.startS - strip.seconds));
  on.addEventListener('click', () => show(strip.startS + strip.seconds));
  new ResizeObserver(() => show(strip.startS)).observe(strip.host);
  for (const kind of ['ecg-scale', 'ecg-sheet']) strip.host.addEventListener(kind, () => show(strip.startS));
  show(0);
}

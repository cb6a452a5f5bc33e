// The live 12-lead page: sweep, lead-off by name, freeze, caliper, a recording of 10 s with its progress.

import { EcgStrip } from '/shared/ecg_strip.js';
import { feed, recent, renew, store, words } from './frame.js';
import { caliper, layoutButtons } from './ecg_tools.js';

const say = words();
const paper = /** @type {HTMLElement} */ (document.getElementById('paper'));
const strip = new EcgStrip(paper, { offWord: say.off_word }).live(store);
recent('ecg').then(() => strip.relayout());
layoutButtons(strip, say);
caliper(strip, say);

// --- electrodes ---------------------------------------------------------------------------------------------------

/** @param {string} link @param {string[]} off @param {string} sensor */
function tell(link, off, sensor) {
  const notice = document.getElementById('ecg-device');
  const said = notice?.querySelector('[data-said]'), hint = notice?.querySelector('[data-hint]');
  if (!notice || !said || !hint) return;
  const away = link !== 'connected' && link !== 'degraded';
  const unwatched = sensor === 'unknown', resting = sensor === 'off';
  said.textContent = away ? say.no_device : off.length ? say.off.replace('{leads}', off.join(' ')) : unwatched || resting ? say.attached : say.all_on;
  hint.textContent = away ? say.no_device_hint : off.length ? say.off_hint : resting ? say.resting_hint : unwatched ? say.attached_hint : say.quiet;
  if (away || off.length) notice.removeAttribute('data-kind'); else notice.dataset.kind = 'soft';
}

const listed = (paper.dataset.leadsOff ?? '').split(' ').filter(Boolean);
strip.setLeadsOff(listed);
let device = paper.dataset.device ?? '';
if (device && listed.length) document.getElementById('ecg-device')?.removeAttribute('data-kind');
feed.on('samples', (ring) => { if (ring.stream === 'ecg') device = ring.device; });
feed.on('device', (message) => {
  if (message.device !== device) return;
  strip.setLeadsOff(message.leads_off ?? []);
  tell(message.link, message.leads_off ?? [], message.sensor ?? 'unknown');
});

// --- freeze -------------------------------------------------------------------------------------------------------

const freeze = document.getElementById('freeze');
freeze?.addEventListener('click', () => {
  const frozen = freeze.getAttribute('aria-pressed') !== 'true';
  freeze.setAttribute('aria-pressed', String(frozen));
  strip.freeze(frozen);
  const text = freeze.querySelector('span');
  if (text) text.textContent = frozen ? say.go_on : say.freeze;
});

// --- recording ----------------------------------------------------------------------------------------------------

const record = document.getElementById('record');
const seconds = Number(record?.dataset.seconds ?? 10);

record?.addEventListener('click', async () => {
  if (!(record instanceof HTMLButtonElement)) return;
  const text = /** @type {HTMLElement} */ (record.querySelector('span')), before = text.textContent;
  const began = performance.now();
  record.disabled = true;
  record.dataset.recording = '1';
  const count = setInterval(() => {
    const part = Math.min(1, (performance.now() - began) / 1000 / seconds);
    record.style.setProperty('--part', String(part));
    text.textContent = say.recording.replace('{n}', String(Math.max(0, Math.ceil(seconds * (1 - part)))));
  }, 100);
  let said = '';
  try {
    const answer = await fetch('/ecg/record', { method: 'POST', headers: { Accept: 'application/json' } });
    const told = await answer.json();
    if (answer.ok) location.assign(`/ecg/recordings/${told.sha256}`);
    else said = `${told.title || told.cause} ${told.next_step ?? ''}`;
  } catch { said = say.record_failed; }
  clearInterval(count);
  delete record.dataset.recording;
  record.disabled = false;
  text.textContent = before;
  if (said) { const place = document.getElementById('caliper-said'); if (place) place.textContent = said; }
  renew('reading');
});

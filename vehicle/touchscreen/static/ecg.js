// The live ECG page: sweep, what the analysis says now, lead-off by name, freeze, caliper, a recording with its progress.

import { EcgStrip } from '/shared/ecg_strip.js';
import { LiveFindings } from './ecg_live.js';
import { beatButton, caliperButton, displayButtons, layoutButtons, tell } from './ecg_tools.js';
import { feed, recent, renew, store, words } from './frame.js';

const say = words();
const paper = /** @type {HTMLElement} */ (document.getElementById('paper'));
const strip = new EcgStrip(paper, { offWord: say.off_word }).live(store);
recent('ecg').then(() => strip.relayout());
layoutButtons(strip, say, beatButton(strip, say, () => { strip.live(store); }));
displayButtons(strip, say);
caliperButton(strip, say);

// --- electrodes and findings ----------------------------------------------------------------------------------------

const findings = new LiveFindings(say);
const listed = (paper.dataset.leadsOff ?? '').split(' ').filter(Boolean);
let device = paper.dataset.device ?? '';
let saidOff = listed, heardOff = /** @type {string[]} */ ([]);
const showOff = () => strip.setLeadsOff([...new Set([...saidOff, ...heardOff])]);
showOff();
findings.device(paper.ownerDocument.getElementById('ecg-device')?.dataset.link ?? 'absent', listed, document.getElementById('ecg-device')?.dataset.sensor ?? 'unknown');
feed.on('samples', (ring) => { if (ring.stream === 'ecg') device = ring.device; });
feed.on('device', (message) => {
  if (message.device !== device) return;
  saidOff = message.leads_off ?? [];
  showOff();
  findings.device(message.link, saidOff, message.sensor ?? 'unknown');
});
feed.on('ecg_analysis', (message) => {
  if (message.device !== device) return;
  heardOff = message.off ?? [];
  showOff();
  findings.heard(message);
});

/** Another person: the page begins anew, with the usual scale and nothing of the one before. */
const served = document.querySelector('[data-testid="served-name"]')?.textContent ?? '';
feed.on('encounter', (message) => {
  const name = message.encounter?.patient?.name;
  if (name !== undefined && name !== served && !record?.dataset.recording) location.reload();
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
    const body = new URLSearchParams({ seconds: String(seconds) });
    const answer = await fetch('/ecg/record', { method: 'POST', body, headers: { Accept: 'application/json' } });
    const told = await answer.json();
    if (answer.ok) location.assign(`/ecg/recordings/${told.sha256}`);
    else said = `${told.title || told.cause} ${told.next_step ?? ''}`;
  } catch { said = say.record_failed; }
  clearInterval(count);
  delete record.dataset.recording;
  record.disabled = false;
  text.textContent = before;
  if (said) tell(said);
  renew('reading');
});

// Every page of the touchscreen: clocks that run, parts that renew themselves when the van says something new,
// dialogs, the idle lock, and the line to the van.

import { LiveFeed, SampleStore, decodeSamples, exposeSamples } from '/shared/live_feed.js';
import { calibrated } from '/shared/scale.js';

const IDLE_LOCK_MS = 10 * 60_000;
const SOON_MS = 120, QUIETLY_MS = 2000;
/** Messages that come all the time: their parts are renewed at leisure. */
const FREQUENT = new Set(['device', 'status', 'clock', 'link', 'live']);
/** Messages at which the parts that live on them are renewed. */
const KINDS = ['reading', 'visit', 'encounter', 'prompts', 'consultation', 'status', 'clock', 'stick', 'session_people', 'discovery', 'printer', 'emergency'];

export const store = new SampleStore();
exposeSamples(store);
const streams = document.body.dataset.page === 'measure' ? '?streams=ecg,pleth' : '';
export const feed = new LiveFeed(`/live${streams}`, { store });

/**
 * What came in the last seconds before this page was opened, so that the paper is not empty.
 * @param {string} stream
 */
export async function recent(stream) {
  const answer = await fetch(`/live/recent?stream=${stream}`, { headers: { 'X-Background': '1' } });
  if (answer.status !== 200) return;
  const frame = decodeSamples(await answer.arrayBuffer()), ring = store.ring(stream);
  if (!ring || ring.fits(frame)) store.push(frame);
}

/**
 * The words a page hands to its script.
 * @returns {Record<string, string>}
 */
export function words() {
  const place = document.getElementById('words');
  return place?.textContent ? JSON.parse(place.textContent) : {};
}

// --- renewal ------------------------------------------------------------------------------------------------------

/** @type {Set<string>} */
let wanted = new Set();
let timer = 0, timerAt = Infinity, renewing = false;

/**
 * Parts that live on this kind of message will be fetched again and exchanged where they differ.
 * @param {string} kind @param {number} inMs
 */
export function renew(kind, inMs = FREQUENT.has(kind) ? QUIETLY_MS : SOON_MS) {
  if (!document.querySelector(`[data-live~="${kind}"]`)) return;
  wanted.add(kind);
  const at = performance.now() + inMs;
  if (at >= timerAt) return;
  clearTimeout(timer);
  timerAt = at;
  timer = window.setTimeout(exchange, at - performance.now());
}

async function exchange() {
  timerAt = Infinity;
  if (renewing) { timerAt = performance.now() + SOON_MS; timer = window.setTimeout(exchange, SOON_MS); return; }
  const kinds = wanted;
  wanted = new Set();
  renewing = true;
  try {
    const answer = await fetch(location.href, { headers: { 'X-Background': '1' } });
    if (answer.status === 401) { location.assign('/sign-in'); return; }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const part of document.querySelectorAll('[data-live][id]')) {
      const lives = (part.getAttribute('data-live') ?? '').split(' ');
      if (lives.some((kind) => kinds.has(kind))) swap(part, page.getElementById(part.id));
    }
    document.dispatchEvent(new CustomEvent('renewed'));
  } catch { /* the van restarts; the feed says when it is back */ } finally { renewing = false; }
}

/**
 * Exchange a part, unless nothing changed or a finger or a cursor is in it. What is drawn by scripts stays.
 * @param {Element} part @param {Element | null} fresh
 */
function swap(part, fresh) {
  if (!fresh || part.querySelector(':active, input:focus, textarea:focus, dialog[open]')) return;
  const kept = [...part.querySelectorAll('[data-keep][id]')];
  const before = part.cloneNode(true);
  if (before instanceof Element) for (const node of before.querySelectorAll('[data-keep]')) node.replaceChildren();
  if (before.isEqualNode(fresh)) return;
  for (const node of kept) fresh.querySelector(`#${node.id}`)?.replaceWith(node);
  part.replaceChildren(...fresh.childNodes);
  for (const { name, value } of [...fresh.attributes]) part.setAttribute(name, value);
  for (const name of part.getAttributeNames()) if (!fresh.hasAttribute(name)) part.removeAttribute(name);
  openModals();
}

// --- clocks -------------------------------------------------------------------------------------------------------

const began = performance.now(), serverMs = Date.now();
setInterval(() => {
  const now = new Date(serverMs + performance.now() - began);
  const local = new Date(now.getTime() + 8 * 3600_000);           // legal time of China; the panel's zone may differ
  const text = `${String(local.getUTCHours()).padStart(2, '0')}:${String(local.getUTCMinutes()).padStart(2, '0')}`;
  for (const clock of document.querySelectorAll('[data-clock]')) if (clock.textContent !== text) clock.textContent = text;
}, 5000);

// --- dialogs ------------------------------------------------------------------------------------------------------

function openModals() {
  for (const dialog of document.querySelectorAll('dialog[data-modal]:not([open])')) {
    if (!(dialog instanceof HTMLDialogElement)) continue;
    dialog.addEventListener('cancel', (event) => event.preventDefault());
    dialog.showModal();
    if (document.activeElement instanceof HTMLButtonElement) document.activeElement.blur();   // no ring around what nobody chose
  }
}

document.addEventListener('click', (event) => {
  if (!(event.target instanceof Element)) return;
  const opener = event.target.closest('[data-open]');
  if (opener instanceof HTMLElement) {
    const dialog = document.getElementById(opener.dataset.open ?? '');
    if (dialog instanceof HTMLDialogElement) dialog.showModal();
  }
  if (event.target.closest('[data-dismiss]')) event.target.closest('dialog')?.close();
  if (event.target.closest('[data-close]')) event.target.closest('.flash')?.remove();
});

document.addEventListener('submit', (event) => {                   // one tap is one tap
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || event.defaultPrevented) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = '1';
  setTimeout(() => { delete form.dataset.sent; }, 3000);
  if (form.dataset.stay !== undefined) { event.preventDefault(); sendQuietly(form, event.submitter); }
});

/**
 * A form whose answer the page shows by renewing its parts (data-stay="prompts reading"): sent without leaving the page.
 * @param {HTMLFormElement} form @param {HTMLElement | null} button
 */
async function sendQuietly(form, button) {
  const kinds = (form.dataset.stay ?? '').split(' ');
  const body = new URLSearchParams([...new FormData(form)].map(([name, value]) => [name, String(value)]));
  if (button instanceof HTMLButtonElement && button.name) body.append(button.name, button.value);
  try {
    const answer = await fetch(form.action, { method: 'POST', body, redirect: 'manual', headers: { 'X-Background': '1' } });
    if (answer.type !== 'opaqueredirect' && !answer.ok) { location.reload(); return; }
    for (const kind of kinds) renew(kind);
  } catch { delete form.dataset.sent; }                              // the van restarts: the same tap works again
}

for (const flash of document.querySelectorAll('.flash[data-kind="done"]')) setTimeout(() => flash.remove(), 6000);

// --- idle lock ----------------------------------------------------------------------------------------------------

let touchedMs = performance.now();
for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, () => { touchedMs = performance.now(); }, { capture: true, passive: true });
setInterval(() => {
  const inSession = document.querySelector('[data-media]');
  if (performance.now() - touchedMs > IDLE_LOCK_MS && !inSession) document.querySelector('form[action="/lock"]')?.querySelector('button')?.click();
}, 5000);

// --- the line to the van ------------------------------------------------------------------------------------------

for (const kind of KINDS) {
  feed.on(kind, (message) => { renew(kind === 'reading' && message.live ? 'live' : kind); });
}

/**
 * How a device's dot is drawn, as ``condition_of`` in vehicle/health.py says it; '' is a full dot.
 * @param {{ link: string, sensor: string, fault: string | null }} device @param {boolean} whenUsed asleep between uses
 */
function condition({ link, sensor, fault }, whenUsed) {
  if (whenUsed && fault) return 'missing';
  if (['absent', 'lost'].includes(link)) return whenUsed ? 'standby' : 'missing';
  return ['connecting', 'degraded'].includes(link) || ['lead_off', 'searching'].includes(sensor) ? 'busy' : '';
}

feed.on('device', (message) => {
  const dot = document.querySelector(`.dots [data-device="${CSS.escape(message.device)}"]`);
  if (!(dot instanceof HTMLElement)) return;
  const state = condition(message, 'whenUsed' in dot.dataset);
  const shape = `${message.link} ${message.sensor} ${message.leads_off} ${message.fault} ${message.battery_percent}`;
  if (state) dot.dataset.state = state; else delete dot.dataset.state;
  if (dot.dataset.shape !== undefined && dot.dataset.shape !== shape) renew('device');
  dot.dataset.shape = shape;
});

feed.on('driving', ({ moving }) => {                                // the lock goes by itself when the van stands
  const lock = document.getElementById('driving');
  if (lock instanceof HTMLDialogElement && lock.open !== moving) { if (moving) lock.showModal(); else lock.close(); }
  renew('driving');
});

let away = 0, heard = false;
feed.on('link', ({ online, code }) => {
  if (code === 4401) { location.assign('/sign-in'); return; }
  clearTimeout(away);
  const notice = document.getElementById('offline');
  if (!notice) return;
  if (online) {
    if (!heard) for (const kind of KINDS) renew(kind, QUIETLY_MS);   // what was said between the page and its line
    else if (!notice.hidden) for (const kind of KINDS) renew(kind);
    heard = true;
    notice.hidden = true;
  } else away = window.setTimeout(() => { notice.hidden = false; }, 1500);
});

const scale = calibrated();
if (scale) document.documentElement.style.setProperty('--px-per-mm', String(scale));
openModals();
feed.start();
window.addEventListener('pagehide', () => feed.stop());
window.addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });

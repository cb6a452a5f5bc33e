// Spoken prompts: what happens on the van is said in clips from the van itself, one after the other; loudness and
// silence belong to this panel. One <audio> plays everything, so that nothing is ever said at once with something else.

import { feed } from './frame.js';

const VOLUME = 'xunzhen-voice-volume', MUTED = 'xunzhen-voice-muted', SERVED = 'xunzhen-voice-served';
const CUFF_AGAIN_MS = 60_000;
const speaker = /** @type {HTMLAudioElement} */ (document.getElementById('speaker'));
const dialog = document.getElementById('voice');

/** @typedef {{ url: string, text: string, language: string }} Clip */
/** @type {Clip[]} */
let waiting = [];
/** What is said again by a tap. @type {{ clips: Clip[], text: string }} */
let last = { clips: [], text: '' };

export const muted = () => localStorage.getItem(MUTED) === '1';
const volumePercent = () => Number(localStorage.getItem(VOLUME) ?? dialog?.dataset.volume ?? 80);

/**
 * Fetch a sentence and say it; what was being said gives way.
 * @param {string} sentence @param {Record<string, string>} facts numbers as written, grade
 */
export async function say(sentence, facts = {}) {
  const answer = await fetch(`/voice/say/${sentence}?${new URLSearchParams(facts)}`, { headers: { 'X-Background': '1' } });
  if (!answer.ok) return;
  const told = await answer.json();
  if (!told.clips.length) return;
  last = told;
  speak(told);
}

/** @param {{ clips: Clip[], text: string }} told */
function speak(told) {
  const text = document.getElementById('voice-text');
  if (text) text.textContent = told.text;
  waiting = muted() ? [] : [...told.clips];
  next();
}

function next() {
  const clip = waiting.shift();
  document.body.dataset.voice = clip ? clip.text : '';
  if (!clip) return;
  speaker.src = clip.url;
  speaker.volume = volumePercent() / 100;
  speaker.play().catch(() => { waiting = []; document.body.dataset.voice = ''; });   // a browser that wants a tap first
}

speaker.addEventListener('ended', next);
speaker.addEventListener('error', () => { if (speaker.getAttribute('src')) next(); });

function show() {
  const volume = document.getElementById('voice-volume'), mute = document.getElementById('voice-mute');
  if (volume) volume.textContent = `${volumePercent()} %`;
  mute?.setAttribute('aria-pressed', String(muted()));
  for (const use of document.querySelectorAll('.voice-open use')) use.setAttribute('href', muted() ? '#i-mute' : '#i-speak');
}

document.addEventListener('click', ({ target }) => {
  if (!(target instanceof Element)) return;
  const saying = target.closest('[data-say]'), step = target.closest('[data-volume-step]');
  if (saying instanceof HTMLElement) say(saying.dataset.say ?? '');
  if (step instanceof HTMLElement) {
    localStorage.setItem(VOLUME, String(Math.min(100, Math.max(0, volumePercent() + Number(step.dataset.volumeStep)))));
    speaker.volume = volumePercent() / 100;
    show();
  }
  if (target.closest('#voice-mute')) {
    localStorage.setItem(MUTED, muted() ? '0' : '1');
    if (muted()) { waiting = []; speaker.pause(); document.body.dataset.voice = ''; }
    show();
  }
  if (target.closest('#voice-again')) speak(last);
});

// --- what is said by itself ---------------------------------------------------------------------------------------

let cuffMs = -Infinity;
/** As this page was opened. */
const nobodyServed = !document.querySelector('#person .name');

/** @param {any} tile */
async function sayResult(tile) {
  /** @type {Record<string, string>} */
  const facts = { grade: tile.grade };
  for (const [name, value] of Object.entries(tile.values)) if (typeof value === 'number') facts[name] = String(value);
  await say(tile.type, facts);
  if (tile.grade === 'red') await sayCritical();
}

/** After what is being said. */
async function sayCritical() {
  const answer = await fetch('/voice/say/critical', { headers: { 'X-Background': '1' } });
  if (!answer.ok || muted()) return;
  waiting.push(...(await answer.json()).clips);
  if (!document.body.dataset.voice) next();
}

feed.on('encounter', ({ encounter }) => {
  const served = encounter?.encounter ?? '';
  const before = sessionStorage.getItem(SERVED) ?? (nobodyServed ? '' : null);
  sessionStorage.setItem(SERVED, served);
  if (served && before !== null && served !== before) say('sit_quietly');   // not for whom a page that opens finds there
});

feed.on('reading', (message) => {
  if (message.state === 'confirmed' && message.tile) sayResult(message.tile);
  else if (message.state === 'critical') sayCritical();
  else if (message.kind === 'cuff_pressure' && message.values.cuff_mmhg != null && performance.now() - cuffMs > CUFF_AGAIN_MS) {
    cuffMs = performance.now();
    say('do_not_speak');
  }
});

document.addEventListener('renewed', show);
show();

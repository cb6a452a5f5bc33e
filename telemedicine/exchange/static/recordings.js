// Stored ECGs, stills and clips of the case: what an answer rests on when there is no live link, or not any more.

import { caliper } from '/shared/ecg_caliper.js';
import { EcgStrip } from '/shared/ecg_strip.js';
import { decodeSamples } from '/shared/live_feed.js';
import { clockTime, element } from './case_words.js';
import { foundWords } from './ecg_words.js';
import { byId, caliperWords, t } from './frame.js';

const AGAIN_MS = 15_000;

export class Recordings {
  /** @param {string} consultation */
  constructor(consultation) {
    this.path = `/specialist/consultations/${encodeURIComponent(consultation)}/recordings`;
    this.named = '';
    this.timer = 0;
    /** Without a live picture the newest that is here is shown at once, one time. */
    this.waiting = false;
    this.opened = false;
    /** @type {Map<string, string>} findings in words, by recording */
    this.found = new Map();
    /** @type {EcgStrip | null} the sheet that is open */
    this.strip = null;
    /** @type {(on: boolean) => void} its calipers */
    this.measure = () => {};
    byId('recording-measure').addEventListener('click', () => this.#press(byId('recording-measure').getAttribute('aria-pressed') !== 'true'));
    byId('recording-close').addEventListener('click', () => this.#close());
    document.addEventListener('keydown', (event) => { if (event.key === 'Escape') this.#close(); });
  }

  /** @param {import('./exchange_socket.js').Case} c @param {boolean} live whether pictures come from the van */
  update(c, live) {
    this.waiting = !live && !this.opened;
    const told = /** @type {any[]} */ (c.summary.recordings ?? []);
    this.found = new Map(told.map((one) => [one.sha256, foundWords(one.ecg)]));
    const named = JSON.stringify(told.map((one) => [one.sha256, this.found.get(one.sha256)]));
    if (named !== this.named) { this.named = named; void this.#list(); }
  }

  async #list() {
    clearTimeout(this.timer);
    /** @type {{ sha256: string, what: string, started_at: string, duration_ms: number, here: boolean }[]} */
    let found = [];
    try { const answer = await fetch(this.path); if (answer.ok) found = await answer.json(); } catch { /* the line: again soon */ }
    byId('recordings').replaceChildren(...found.map((one) => {
      const item = element('li', ''), open = document.createElement('button');
      open.type = 'button';
      open.className = 'btn';
      open.disabled = !one.here;
      open.dataset.recording = one.what;
      open.append(element('b', t(`recording_${one.what}`)), element('small', clockTime(one.started_at)), element('span', one.here ? (one.duration_ms ? t('recording_seconds', { seconds: Math.round(one.duration_ms / 1000) }) : '') : t('recording_not_yet')));
      open.addEventListener('click', () => void this.#open(one));
      item.append(open);
      const found = this.found.get(one.sha256);
      if (found) item.append(Object.assign(element('small', found), { className: 'found' }));
      return item;
    }));
    byId('recordings-panel').hidden = found.length === 0;
    const newest = found.find((one) => one.here);
    if (this.waiting && newest) void this.#open(newest);
    if (found.some((one) => !one.here)) this.timer = window.setTimeout(() => void this.#list(), AGAIN_MS);
  }

  /** @param {{ sha256: string, what: string, started_at: string }} one */
  async #open(one) {
    const place = byId('recording'), shown = byId('recording-shown'), address = `${this.path}/${one.sha256}`;
    byId('recording-title').textContent = [t(`recording_${one.what}`), clockTime(one.started_at), this.found.get(one.sha256)].filter(Boolean).join('　');
    this.#close();
    this.opened = true;
    this.waiting = false;
    place.hidden = false;
    this.#press(false);
    byId('recording-measure').hidden = one.what !== 'ecg';
    if (one.what === 'ecg') {
      const paper = element('div', '');
      paper.className = 'ecg-paper';
      paper.toggleAttribute('data-shown', true);
      shown.append(paper);
      const answer = await fetch(address);
      if (answer.ok) {
        this.strip = new EcgStrip(paper, { layout: '3x4+1', offWord: t('paper_off') }).stored(decodeSamples(await answer.arrayBuffer()));
        this.measure = caliper(this.strip, caliperWords, (words) => { byId('recording-told').textContent = words; });
      } else shown.replaceChildren(element('p', t('recording_unreadable')));
    } else if (one.what === 'ultrasound_clip') {
      shown.append(Object.assign(document.createElement('video'), { src: address, controls: true, loop: true, autoplay: true, muted: true }));
    } else {
      shown.append(Object.assign(document.createElement('img'), { src: address, alt: t('recording_ultrasound_still') }));
    }
  }

  /** @param {boolean} on */
  #press(on) {
    byId('recording-measure').setAttribute('aria-pressed', String(on));
    byId('recording-told').textContent = '';
    this.measure(on);
  }

  #close() {
    this.strip?.stop();
    this.strip = null;
    this.measure = () => {};
    byId('recording').hidden = true;
    byId('recording-shown').replaceChildren();
  }
}

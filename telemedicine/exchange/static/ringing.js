// A new invitation is heard and seen: two tones that come again until somebody looks, the number in the tab's title, and
// the system's own notice when the window lies behind others.
//
//   const ringing = new Ringing(button);        a <button> with <span>: sound on or off, and whether the browser lets it
//   ringing.look(invitations);                  the cases that wait for somebody now

import { patientName, urgencyWord } from './case_words.js';
import { t } from './frame.js';

const SOUND = 'xunzhen-ring', HEARD = 'xunzhen-ring-heard';
const AGAIN_MS = 5000, MOST_TIMES = 24, MOST_REMEMBERED = 100;
const TONES = [[659, 0], [523, .32]], TONE_S = .3, LOUD = .2;

/** @typedef {import('./exchange_socket.js').Case} Case */

export class Ringing {
  /** @param {HTMLElement} button */
  constructor(button) {
    this.button = button;
    this.title = document.title;
    /** @type {AudioContext | null} */
    this.context = null;
    this.timer = 0;
    this.times = 0;
    button.addEventListener('click', () => void this.#turn(this.state !== 'on'));
    document.addEventListener('pointerdown', () => this.#answered());
    document.addEventListener('keydown', () => this.#answered());
    if (this.wanted) this.#open();
    this.#show();
  }

  get wanted() { return localStorage.getItem(SOUND) !== 'off'; }

  /** on; off by choice; blocked: the browser wants a click on this page before any sound. */
  get state() { return !this.wanted ? 'off' : this.context?.state === 'running' ? 'on' : 'blocked'; }

  /** @param {Case[]} invitations */
  look(invitations) {
    document.title = invitations.length ? t('ring_title', { n: invitations.length, title: this.title }) : this.title;
    const heard = new Set(JSON.parse(sessionStorage.getItem(HEARD) ?? '[]'));
    const fresh = invitations.filter((c) => !heard.has(mark(c)));
    if (fresh.length) {
      sessionStorage.setItem(HEARD, JSON.stringify([...heard, ...fresh.map(mark)].slice(-MOST_REMEMBERED)));
      this.times = 0;
      this.#ring();
      for (const c of fresh) this.#notify(c);
    }
    if (!invitations.length) this.#answered();
  }

  #ring() {
    clearTimeout(this.timer);
    document.body.dataset.ringing = String(this.times += 1);
    if (this.state === 'on') for (const [hz, at] of TONES) this.#tone(hz, at);
    if (this.times < MOST_TIMES) this.timer = window.setTimeout(() => this.#ring(), AGAIN_MS); else this.#answered();
  }

  #answered() { clearTimeout(this.timer); delete document.body.dataset.ringing; }

  /** @param {number} hz @param {number} at */
  #tone(hz, at) {
    const { context } = this;
    if (!context) return;
    const tone = context.createOscillator(), shape = context.createGain(), begins = context.currentTime + at;
    tone.frequency.value = hz;
    shape.gain.setValueAtTime(0, begins);
    shape.gain.linearRampToValueAtTime(LOUD, begins + .02);
    shape.gain.linearRampToValueAtTime(0, begins + TONE_S);
    tone.connect(shape).connect(context.destination);
    tone.start(begins);
    tone.stop(begins + TONE_S);
  }

  /** @param {Case} c */
  #notify(c) {
    if (!document.hidden || window.Notification?.permission !== 'granted') return;
    const notice = new Notification(t('ring_notice', { urgency: urgencyWord(c.urgency) }), { body: [patientName(c), c.summary.fields?.question].filter(Boolean).join(t('list_comma')), tag: c.consultation });
    notice.onclick = () => { window.focus(); notice.close(); };
  }

  /** @param {boolean} on */
  async #turn(on) {
    localStorage.setItem(SOUND, on ? 'on' : 'off');
    if (on) {
      this.#open();
      await this.context?.resume();
      for (const [hz, at] of TONES) this.#tone(hz, at);      // so that one knows it, and how loud it is
      if (window.Notification?.permission === 'default') void Notification.requestPermission();
    }
    this.#show();
  }

  #open() {
    if (this.context) return;
    this.context = new AudioContext();
    this.context.onstatechange = () => this.#show();
  }

  #show() {
    const { state } = this, words = this.button.querySelector('span'), icon = this.button.querySelector('use');
    this.button.dataset.ring = state;
    this.button.setAttribute('aria-pressed', String(state === 'on'));
    if (words) words.textContent = t(`ring_${state}`);
    icon?.setAttribute('href', state === 'on' ? '#i-speak' : '#i-mute');
  }
}

/**
 * A case that is asked again rings again.
 * @param {Case} c
 */
const mark = (c) => `${c.consultation} ${c.requested_at}`;

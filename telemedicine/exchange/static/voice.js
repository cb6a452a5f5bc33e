// The own microphone and the voice from the van: muted or not beyond doubt, and how loud each is.

import { VoiceMeter } from '/shared/voice_meter.js';
import { byId, t } from './frame.js';

export class Voice {
  /** @param {import('./media_session.js').MediaSession} media */
  constructor(media) {
    this.media = media;
    this.own = new VoiceMeter(byId('own-level'));
    this.theirs = new VoiceMeter(byId('van-level'));
    this.held = false;
    media.on('voice', (track) => this.theirs.follow(track));
    media.on('state', () => this.show());
    media.on('unheard', (voice) => this.#hear(voice));
    byId('mute').addEventListener('click', () => { if (media.microphone) this.mute(!media.muted); else void this.#ask(); });
    document.addEventListener('keydown', (event) => { if (this.#talks(event) && media.muted) { this.held = true; this.mute(false); } });
    document.addEventListener('keyup', (event) => { if (event.code === 'Space' && this.held) { this.held = false; this.mute(true); } });
    window.addEventListener('blur', () => { if (this.held) { this.held = false; this.mute(true); } });
    this.show();
  }

  /** @param {boolean} muted */
  mute(muted) { this.media.mute(muted); this.show(); }

  /** The microphone was refused or missing when the page opened: ask again, and offer it to the van. */
  async #ask() {
    if (await this.media.openMicrophone()) this.media.anew();
    else byId('mute').dataset.refused = '';
    this.show();
  }

  /**
   * The browser plays no sound before somebody has touched the page; any touch will do, and the button says so.
   * @param {HTMLMediaElement} voice
   */
  #hear(voice) {
    const button = byId('unheard');
    button.hidden = false;
    document.addEventListener('click', () => void voice.play().then(() => { button.hidden = true; }, () => {}), { once: true });
  }

  show() {
    const { microphone, muted } = this.media;
    const state = microphone ? (muted ? 'muted' : 'open') : 'none';
    this.own.follow(microphone);
    const button = byId('mute');
    button.setAttribute('aria-pressed', String(muted));
    button.dataset.voice = state;
    const words = button.querySelector('span');
    if (words) words.textContent = t(`voice_${state}`);
    button.title = t(state === 'none' && 'refused' in button.dataset ? 'voice_refused_title' : `voice_${state}_title`);
  }

  /**
   * The space bar, held, outside of what is written in.
   * @param {KeyboardEvent} event
   */
  #talks(event) {
    const { target } = event;
    const writes = target instanceof Element && target.closest('input, textarea, select, button, [contenteditable]');
    if (event.code !== 'Space' || event.repeat || writes) return false;
    event.preventDefault();
    return true;
  }
}

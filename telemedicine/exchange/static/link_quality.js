// How the link is, in words before numbers.

import { byId, t } from './frame.js';

const EVERY_MS = 2000, SLOW_FPS = 7, BAD_LOSS = .05;

export class LinkQuality {
  /** @param {import('./media_session.js').MediaSession} media */
  constructor(media) {
    this.media = media;
    this.note = '';
    this.vanOnline = true;
    this.ended = false;
    /** @type {Map<string, { frames: number, received: number, lost: number }>} */
    this.before = new Map();
    media.on('state', () => { this.show(); void this.#measure(); }).on('lost', ({ at, seconds }) => {
      const time = at.toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit', hour12: false });
      this.note = t('link_lost_at', { at: time, seconds: Math.max(1, Math.round(seconds)) });
    });
    setInterval(() => void this.#measure(), EVERY_MS);
    this.show();
  }

  /** @param {string} [words] @param {string} [numbers] */
  show(words, numbers = '') {
    const now = words ?? this.#stateWords();
    if (now !== null) {
      byId('link-words').replaceChildren(Object.assign(document.createElement('b'), { textContent: now }));
      byId('link-numbers').textContent = this.note || numbers;
    }
  }

  #stateWords() {
    if (this.ended) return t('link_ended');
    if (!this.vanOnline && this.media.state !== 'connected') return t('link_van_away');
    if (this.media.state === 'restoring') return t('link_restoring');
    return this.media.state === 'connected' ? null : t('link_connecting');
  }

  async #measure() {
    const { pc } = this.media;
    if (!pc || this.media.state !== 'connected') { this.before.clear(); this.show(); return; }
    const first = this.before.size === 0;      // rates need two looks
    let rtt = 0, voice = null;
    /** @type {number[]} */
    const rates = [];
    for (const report of (await pc.getStats()).values()) {
      if (report.type === 'candidate-pair' && report.nominated) rtt = Math.round((report.currentRoundTripTime ?? 0) * 1000);
      if (report.type !== 'inbound-rtp') continue;
      const then = this.before.get(report.id) ?? { frames: 0, received: 0, lost: 0 };
      const now = { frames: report.framesDecoded ?? 0, received: report.packetsReceived ?? 0, lost: report.packetsLost ?? 0 };
      this.before.set(report.id, now);
      if (report.kind === 'video') rates[Number(report.mid)] = Math.max(0, Math.round((now.frames - then.frames) / (EVERY_MS / 1000)));
      else voice = { received: now.received - then.received, lost: now.lost - then.lost };
    }
    const [room, ultrasound] = rates.filter((rate) => rate !== undefined);
    if (first) { this.show(t('link_connected')); return; }
    this.show(this.#voiceWords(voice) + this.#videoWords(ultrasound ?? 0), t('link_numbers', { ultrasound: ultrasound ?? 0, room: room ?? 0, rtt }));
    if (this.note) setTimeout(() => { this.note = ''; }, 60_000);
  }

  /** @param {{ received: number, lost: number } | null} voice */
  #voiceWords(voice) {
    if (!this.media.microphone) return t('link_no_microphone') + ' ';
    if (!voice || voice.received <= 0) return t('link_voice_none');
    return t(voice.lost / (voice.received + voice.lost) > BAD_LOSS ? 'link_voice_bad' : 'link_voice_good');
  }

  /** @param {number} fps */
  #videoWords(fps) { return t(fps === 0 ? 'link_video_none' : fps < SLOW_FPS ? 'link_video_slow' : 'link_video_good'); }
}

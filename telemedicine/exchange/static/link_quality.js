// How the link is, in words before numbers: good, fair or poor, why, and what carries on all the same.

import { byId, t } from './frame.js';

const EVERY_MS = 2000, SLOW_FPS = 7, BAD_LOSS = .05, SOME_LOSS = .02, SLOW_RTT_MS = 300, BAD_RTT_MS = 800, FRESH_MS = 1500;
const GRADES = ['poor', 'fair', 'good'];

/**
 * What two looks at the statistics say, for one period.
 * @typedef {{ received: number, lost: number, frames: number[], rtt: number, microphone: boolean, ecg: boolean | null }} Period
 */

export class LinkQuality {
  /** @param {import('./media_session.js').MediaSession} media */
  constructor(media) {
    this.media = media;
    this.note = '';
    this.vanOnline = true;
    this.ended = false;
    /** Feeds whose source is at fault in the van: no picture of them is not the link's. @type {Set<string>} */
    this.faulty = new Set();
    /** @type {Map<string, { frames: number, received: number, lost: number }>} */
    this.before = new Map();
    media.on('state', () => { this.show(); void this.#measure(); }).on('lost', ({ at, seconds }) => {
      const time = at.toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit', hour12: false });
      this.note = t('link_lost_at', { at: time, seconds: Math.max(1, Math.round(seconds)) });
      setTimeout(() => { this.note = ''; }, 60_000);
    });
    media.on('stranger', () => { this.note = t('link_stranger'); });
    setInterval(() => void this.#measure(), EVERY_MS);
    this.show();
  }

  /** While there is no session: why, and what can still be done. */
  show() {
    const words = this.#stateWords();
    if (words !== null) this.#say(words === '' ? 'none' : this.media.state === 'restoring' ? 'poor' : 'none', words, '', '');
  }

  /** @param {string} grade @param {string} title @param {string} rest @param {string} numbers */
  #say(grade, title, rest, numbers) {
    const panel = byId('link-words').parentElement;
    if (panel) panel.dataset.link = grade;
    byId('link-words').replaceChildren(Object.assign(document.createElement('b'), { textContent: title }), rest);
    byId('link-numbers').textContent = this.note || numbers;
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
    /** @type {Period} */
    const now = { received: 0, lost: 0, frames: [], rtt: 0, microphone: Boolean(this.media.microphone), ecg: null };
    for (const report of (await pc.getStats()).values()) {
      if (report.type === 'candidate-pair' && report.nominated) now.rtt = Math.round((report.currentRoundTripTime ?? 0) * 1000);
      if (report.type !== 'inbound-rtp') continue;
      const then = this.before.get(report.id) ?? { frames: 0, received: 0, lost: 0 };
      const here = { frames: report.framesDecoded ?? 0, received: report.packetsReceived ?? 0, lost: report.packetsLost ?? 0 };
      this.before.set(report.id, here);
      if (report.kind === 'video') now.frames[Number(report.mid)] = Math.max(0, Math.round((here.frames - then.frames) / (EVERY_MS / 1000)));
      else { now.received = here.received - then.received; now.lost = Math.max(0, here.lost - then.lost); }
    }
    if (first) { this.#say('good', t('link_connected'), '', ''); return; }
    if (this.media.samplesAt > -Infinity) now.ecg = performance.now() - this.media.samplesAt < FRESH_MS;
    this.#tell(now);
  }

  /** @param {Period} now */
  #tell(now) {
    const [room = 0, ultrasound = 0] = now.frames.filter((rate) => rate !== undefined);
    const { grade, why } = judged(now, this.faulty.has('ultrasound') ? null : ultrasound);
    const carried = [
      now.received > 0 && 'link_carries_voice', now.ecg && 'link_carries_ecg', ultrasound > 0 && 'link_carries_ultrasound', room > 0 && 'link_carries_room',
    ].filter(Boolean).map((key) => t(String(key)));
    const rest = grade === 'good' ? '' : carried.length ? t('link_carries', { what: carried.join(t('list_comma')) }) : t('link_carries_none');
    const reasons = [...why, ...(now.microphone ? [] : ['no_microphone'])].map((key) => t(`link_why_${key}`));
    const title = t(`link_${grade}`) + (reasons.length ? t('link_colon') + reasons.join(t('list_comma')) : '');
    this.#say(grade, title, rest, t('link_numbers', { ultrasound, room, rtt: now.rtt }));
  }
}

/**
 * The worst of what was seen decides; all of it is named.
 * @param {Period} now @param {number | null} ultrasound frames a second; null: its source is at fault, not the link
 * @returns {{ grade: string, why: string[] }}
 */
export function judged(now, ultrasound) {
  const loss = now.received + now.lost > 0 ? now.lost / (now.received + now.lost) : 0;
  /** @type {[boolean, number, string][]} */
  const signs = [
    [now.received <= 0, 0, 'voice_gone'], [loss > BAD_LOSS, 0, 'loss'], [now.rtt > BAD_RTT_MS, 0, 'delay'], [ultrasound === 0, 0, 'no_picture'],
    [loss > SOME_LOSS && loss <= BAD_LOSS, 1, 'some_loss'], [now.rtt > SLOW_RTT_MS && now.rtt <= BAD_RTT_MS, 1, 'delay'],
    [ultrasound !== null && ultrasound > 0 && ultrasound < SLOW_FPS, 1, 'slow_picture'], [now.ecg === false, 1, 'ecg_late'],
  ];
  const seen = signs.filter(([is]) => is);
  return { grade: GRADES[Math.min(2, ...seen.map(([, level]) => level))], why: seen.map(([, , why]) => why) };
}

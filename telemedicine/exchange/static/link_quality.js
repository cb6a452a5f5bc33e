// How the link is, in words before numbers: good, fair or poor, why, and what carries on all the same.

import { byId, t } from './frame.js';

const EVERY_MS = 2000, SLOW_FPS = 7, BAD_LOSS = .05, SOME_LOSS = .02, SLOW_RTT_MS = 300, BAD_RTT_MS = 800, FRESH_MS = 1500;
const MOVING = new Set(['live', 'smaller']);
const GRADES = ['poor', 'fair', 'good'];

/**
 * A picture as it came in one period: pictures a second, its lines, and how long it was on its way and in the buffer.
 * @typedef {{ fps: number, lines: number, kbitS: number, delayMs: number | null }} Picture
 *
 * What two looks at the statistics say, for one period; `pictures` in the order of the offer: room, ultrasound.
 * @typedef {{ received: number, lost: number, pictures: Picture[], rtt: number, microphone: boolean, ecg: boolean | null }} Period
 *
 * @typedef {{ frames: number, octets: number, waitedS: number, received: number, lost: number }} Counts
 */

export class LinkQuality {
  /** @param {import('./media_session.js').MediaSession} media */
  constructor(media) {
    this.media = media;
    this.note = '';
    this.refusal = '';
    this.vanOnline = true;
    this.ended = false;
    /** Whether anybody is to hear us: else no microphone is missed. */
    this.speaks = true;
    /** Why there is no session any more, a key of the texts. */
    this.over = 'link_ended';
    /** What this browser lacks for a live session; '' when nothing. */
    this.lacking = '';
    /** Feeds whose source is at fault in the van: no picture of them is not the link's. @type {Set<string>} */
    this.faulty = new Set();
    /** What the van says the link is good for (telemedicine/degradation.py). */
    this.rung = 'live';
    /** @type {Map<string, Counts>} */
    this.before = new Map();
    media.on('state', () => { this.show(); void this.#measure(); }).on('lost', ({ at, seconds }) => {
      const time = at.toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit', hour12: false });
      this.note = t('link_lost_at', { at: time, seconds: Math.max(1, Math.round(seconds)) });
      setTimeout(() => { this.note = ''; }, 60_000);
    });
    media.on('unable', (lacking) => { this.lacking = lacking; this.show(); });
    media.on('stranger', () => { this.note = t('link_stranger'); });
    setInterval(() => void this.#measure(), EVERY_MS);
    this.show();
  }

  /**
   * Why the van or the exchange did not connect us; said until one has.
   * @param {string} why
   */
  refused(why) { this.refusal = why; this.show(); }

  /** While there is no session: why, and what can still be done. */
  show() {
    const words = this.#stateWords();
    if (this.media.state === 'connected') this.refusal = '';
    if (words !== null) this.#say(this.media.state === 'restoring' ? 'poor' : 'none', words, this.vanOnline ? this.refusal : '', '');
  }

  /** @param {string} grade @param {string} title @param {string} rest @param {string} numbers */
  #say(grade, title, rest, numbers) {
    const panel = byId('link');
    panel.dataset.link = grade;
    panel.title = [title, rest].join(' ').trim();       // the panel keeps its height, whatever there is to say
    byId('link-words').replaceChildren(Object.assign(document.createElement('b'), { textContent: title }), rest);
    byId('link-numbers').textContent = [this.note, numbers].filter(Boolean).join(t('link_stop'));
  }

  #stateWords() {
    if (this.ended) return t(this.over);
    if (this.lacking) return t(`link_${this.lacking}`);
    if (!this.vanOnline && this.media.state !== 'connected') return t('link_van_away');
    if (this.media.state === 'restoring') return t('link_restoring');
    return this.media.state === 'connected' ? null : t('link_connecting');
  }

  async #measure() {
    const { pc } = this.media;
    if (!pc || this.media.state !== 'connected') { this.before.clear(); this.show(); return; }
    const first = this.before.size === 0;      // rates need two looks
    /** @type {Period} */
    const now = { received: 0, lost: 0, pictures: [], rtt: 0, microphone: !this.speaks || Boolean(this.media.microphone), ecg: null };
    const reports = [...(await pc.getStats()).values()];
    if (this.ended || this.media.state !== 'connected') return;      // hung up meanwhile
    for (const report of reports) if (report.type === 'candidate-pair' && report.nominated) now.rtt = Math.round((report.currentRoundTripTime ?? 0) * 1000);
    for (const report of reports) {
      if (report.type !== 'inbound-rtp') continue;
      const here = counted(report), then = this.before.get(report.id) ?? counted({});
      this.before.set(report.id, here);
      if (report.kind === 'video') now.pictures[Number(report.mid)] = pictured(here, then, report.frameHeight ?? 0, now.rtt);
      else { now.received = here.received - then.received; now.lost = Math.max(0, here.lost - then.lost); }
    }
    now.pictures = now.pictures.filter((picture) => picture !== undefined);
    if (first) { this.#say('good', t('link_connected'), '', ''); return; }
    if (this.media.samplesAt > -Infinity) now.ecg = performance.now() - this.media.samplesAt < FRESH_MS;
    this.#tell(now);
  }

  /** @param {Period} now */
  #tell(now) {
    const [room = NO_PICTURE, ultrasound = NO_PICTURE] = now.pictures;
    const { grade, why } = judged(now, this.faulty.has('ultrasound') ? null : ultrasound.fps);
    const moving = MOVING.has(this.rung);
    const carried = [
      now.received > 0 && 'link_carries_voice', now.ecg && 'link_carries_ecg',
      moving && ultrasound.fps > 0 && 'link_carries_ultrasound', moving && room.fps > 0 && 'link_carries_room',
    ].filter(Boolean).map((key) => t(String(key)));
    const rest = grade === 'good' ? '' : carried.length ? t('link_carries', { what: carried.join(t('list_items')) }) : this.rung === 'asynchronous' ? '' : t('link_carries_none');
    const reasons = [...why, ...(now.microphone ? [] : ['no_microphone'])].map((key) => t(`link_why_${key}`));
    const title = t(`link_${grade}`) + (reasons.length ? t('link_colon') + reasons.join(t('list_comma')) : '');
    const silent = this.rung === 'asynchronous' && carried.length > 0;    // what is heard speaks against it
    const rung = this.rung === 'live' || silent ? '' : t(`link_rung_${this.rung}`);
    this.#say(grade, title, [rung, rest].filter(Boolean).join(t('link_stop')), figures(room, ultrasound, now.rtt));
  }
}

/** @type {Picture} */
const NO_PICTURE = { fps: 0, lines: 0, kbitS: 0, delayMs: null };

/** @param {any} report an RTCInboundRtpStreamStats @returns {Counts} */
function counted(report) {
  return {
    frames: report.framesDecoded ?? 0, octets: report.bytesReceived ?? 0, waitedS: report.totalProcessingDelay ?? 0,
    received: report.packetsReceived ?? 0, lost: report.packetsLost ?? 0,
  };
}

/**
 * The delay is half the round trip and what it took from a picture's first packet until it was decoded.
 * @param {Counts} here @param {Counts} then @param {number} lines @param {number} rttMs @returns {Picture}
 */
function pictured(here, then, lines, rttMs) {
  const frames = Math.max(0, here.frames - then.frames);
  const delayMs = frames ? Math.round(rttMs / 2 + Math.max(0, here.waitedS - then.waitedS) / frames * 1000) : null;
  return { fps: Math.round(frames / (EVERY_MS / 1000)), lines, kbitS: Math.round(Math.max(0, here.octets - then.octets) * 8 / EVERY_MS), delayMs };
}

/** @param {Picture} room @param {Picture} ultrasound @param {number} rtt */
function figures(room, ultrasound, rtt) {
  const shown = /** @type {[string, Picture][]} */ ([['ultrasound', ultrasound], ['room', room]]).filter(([, picture]) => picture.fps > 0);
  if (!shown.length) return t('link_round_trip', { ms: rtt });
  const parts = shown.map(([feed, { fps, lines }]) => t(`link_picture_${feed}`, { fps, lines }));
  const kbitS = shown.reduce((sum, [, picture]) => sum + picture.kbitS, 0), ms = Math.max(...shown.map(([, picture]) => picture.delayMs ?? 0));
  return [...parts, t('link_rate', { kbitS }), t('link_delay', { ms })].join(t('list_comma'));
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

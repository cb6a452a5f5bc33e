// What every page of the specialist shows: counts in the bar, the way back into a session, the line to the exchange.

import { ExchangeSocket } from './exchange_socket.js';

const TO_SIGN = new Set(['accepted', 'connected', 'interrupted', 'ended']);
const LIVE = new Set(['accepted', 'connected', 'interrupted']);

const texts = JSON.parse(document.getElementById('texts')?.textContent ?? '{}');

/** @param {string} key @param {Record<string, string | number>} [facts] @returns {string} */
export function t(key, facts = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ name) => String(facts[name] ?? ''));
}

/** What the calipers on ECG paper say. */
export const caliperWords = { caliper_first: t('caliper_first'), caliper_second: t('caliper_second'), per_minute: t('unit_heart_rate') };

/** @param {string} key */
export const has = (key) => key in texts;

/**
 * Why something was refused, in this page's language; what it says itself where there are no words for it.
 * @param {{ word?: string, reason?: string, message?: string }} refusal
 */
export function whyRefused({ word, reason, message }) { return has(`refused_${word}`) ? t(`refused_${word}`) : reason ?? message ?? ''; }

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return element;
}

/** @type {{ id: string, name: string, title: string, institution: string }} */
export const me = JSON.parse(document.body.dataset.specialist ?? '{}');

/** @param {import('./exchange_socket.js').Case} c */
export const isInvitation = (c) => c.state === 'invited' && c.specialist === null;
/** @param {import('./exchange_socket.js').Case} c */
export const isToSign = (c) => c.specialist === me.id && TO_SIGN.has(c.state) && !c.opinion;
/** @param {import('./exchange_socket.js').Case} c */
export const isLive = (c) => c.people.some((person) => person.id === me.id) && LIVE.has(c.state) && !c.session_over;
/**
 * The state in words; a session that was hung up while the van was away is over all the same.
 * @param {import('./exchange_socket.js').Case} c
 */
export const stateWord = (c) => t(`state_${c.session_over && LIVE.has(c.state) ? 'ended' : c.state}`);
/** @param {string} consultation */
export const sessionPath = (consultation) => `/specialist/consultations/${encodeURIComponent(consultation)}`;

/** The cases this specialist may see, newest state of each; calls `changed` after every message. */
export class Cases {
  /** @param {(cases: Map<string, import('./exchange_socket.js').Case>) => void} changed */
  constructor(changed) {
    /** @type {Map<string, import('./exchange_socket.js').Case>} */
    this.all = new Map();
    this.changed = changed;
    this.socket = new ExchangeSocket()
      .on('welcome', ({ cases }) => { this.all = new Map(cases.map((/** @type {any} */ c) => [c.consultation, c])); forgetOld(this.all); this.#tell(); })
      .on('case', ({ case: c }) => { this.all.set(c.consultation, c); this.#tell(); })
      .on('gone', ({ consultation }) => { this.all.delete(consultation); this.#tell(); })
      .on('line', ({ online }) => { byId('line-lost').hidden = online; });
  }

  start() { this.socket.start(); return this; }

  #tell() {
    const cases = [...this.all.values()];
    count('invitations', cases.filter(isInvitation).length);
    count('to_sign', cases.filter(isToSign).length);
    const live = cases.find(isLive), link = document.querySelector('[data-nav="session"]');
    if (link instanceof HTMLAnchorElement) {
      link.hidden = !live && document.body.dataset.page !== 'session';
      if (live) link.href = sessionPath(live.consultation);
    }
    markPractice(cases);
    this.changed(this.all);
  }
}

/** @param {import('./exchange_socket.js').Case} c */
export const isPractice = (c) => c.summary.practice === true;

/**
 * The whole page is marked when everything it shows is practice.
 * @param {import('./exchange_socket.js').Case[]} cases
 */
function markPractice(cases) {
  const { consultation } = document.querySelector('main')?.dataset ?? {};
  const page = document.body.dataset.page ?? '';
  const shown = cases.filter((c) => (consultation ? c.consultation === consultation : page === 'to_sign' ? isToSign(c) : isInvitation(c) || isLive(c)));
  const practice = shown.length > 0 && shown.every(isPractice);
  if (practice) document.documentElement.dataset.practice = t('practice'); else delete document.documentElement.dataset.practice;
  byId('practice').hidden = !practice;
}

/** @param {string} name @param {number} n */
function count(name, n) {
  const shown = document.querySelector(`[data-count="${name}"]`);
  if (shown) shown.textContent = n ? String(n) : '';
}

/**
 * Where the opinion of a case is kept while it is written.
 * @param {string} consultation
 */
export const draftKey = (consultation) => `xunzhen-draft-${me.id}-${consultation}`;

/**
 * A draft of a case that is over or another's by now is nobody's any more.
 * @param {Map<string, unknown>} known
 */
function forgetOld(known) {
  const start = draftKey('');
  for (const key of Object.keys(localStorage)) if (key.startsWith(start) && !known.has(key.slice(start.length))) localStorage.removeItem(key);
}

/** Day and night change in place: a session must not be left for it. */
document.querySelector('[data-turn-theme]')?.addEventListener('click', async (event) => {
  const link = /** @type {HTMLAnchorElement} */ (event.currentTarget), night = document.documentElement.dataset.theme !== 'night';
  event.preventDefault();
  document.documentElement.dataset.theme = night ? 'night' : 'day';
  link.textContent = t(night ? 'to_day' : 'to_night');
  try { await fetch(`/specialist?theme=${night ? 'night' : 'day'}`); } catch { /* this page has it; the next one asks again */ }
});

if (document.querySelector('[data-testid="consultation-over"], [data-testid="join"]')) new Cases(() => {}).start();

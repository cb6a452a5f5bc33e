// Invitations as they come: accept leads into the session as soon as the van has confirmed, decline asks for a reason.
// A session that was left for this page stands first, with the way back.

import { card, put } from './case_words.js';
import { Cases, byId, isInvitation, isLive, sessionPath, t, whyRefused } from './frame.js';
import { Ringing } from './ringing.js';

const list = byId('cases'), template = /** @type {HTMLTemplateElement} */ (byId('case'));
const dialog = /** @type {HTMLDialogElement} */ (byId('decline')), form = /** @type {HTMLFormElement} */ (dialog.querySelector('form'));
/** @type {Set<string>} */
const accepting = new Set();
const ringing = new Ringing(byId('ring'));
let declining = '';

const PRESSING = new Set(['urgent', 'emergency']);

/**
 * Urgent ones first, then who waits longest.
 * @param {import('./exchange_socket.js').Case} a @param {import('./exchange_socket.js').Case} b
 */
function byNeed(a, b) {
  return Number(isLive(b)) - Number(isLive(a)) || Number(PRESSING.has(b.urgency)) - Number(PRESSING.has(a.urgency)) || a.requested_at.localeCompare(b.requested_at);
}

/** @param {import('./exchange_socket.js').Case} c */
function waited(c) {
  const minutes = Math.floor((cases.socket.now().getTime() - Date.parse(c.requested_at)) / 60_000);
  return Number.isFinite(minutes) && minutes >= 1 && minutes < 1440 ? t('waited', { minutes }) : '';
}

const cases = new Cases((all) => {
  for (const c of all.values()) if (accepting.has(c.consultation) && isLive(c)) location.assign(sessionPath(c.consultation));
  for (const name of accepting) if (!all.get(name)?.van_online) forget(name);
  const shown = [...all.values()].filter((c) => isInvitation(c) || isLive(c)).sort(byNeed);
  for (const item of [...list.children]) {
    if (item instanceof HTMLElement && !shown.some((c) => c.consultation === item.dataset.consultation)) item.remove();
  }
  for (const [at, c] of shown.entries()) {
    const item = card(list, template, c);
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
    put(item, 'waited', isLive(c) ? '' : waited(c));
    item.dataset.urgency = c.urgency;
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (item.querySelectorAll('[data-do]'))) {
      button.hidden = isLive(c);
      button.disabled = button.dataset.do === 'accept' && (!c.van_online || accepting.has(c.consultation));
    }
    const back = /** @type {HTMLAnchorElement} */ (item.querySelector('[data-part="back"]'));
    back.hidden = !isLive(c);
    back.href = sessionPath(c.consultation);
  }
  byId('empty').hidden = shown.length > 0;
  ringing.look([...all.values()].filter((c) => isInvitation(c) && !accepting.has(c.consultation)));
});

list.addEventListener('click', ({ target }) => {
  const button = target instanceof Element ? target.closest('[data-do]') : null;
  const item = button?.closest('[data-consultation]');
  if (!(button instanceof HTMLButtonElement) || !(item instanceof HTMLElement)) return;
  const consultation = item.dataset.consultation ?? '';
  if (button.dataset.do === 'decline') { declining = consultation; form.reset(); needWords(); dialog.showModal(); return; }
  const sent = cases.socket.send({ type: 'accept', consultation });
  if (sent) accepting.add(consultation);
  button.disabled = sent;
  tell(consultation, sent ? t('accepting') : byId('line-lost').textContent ?? '');
});

/** Whoever chooses none of the reasons writes one. */
function needWords() { /** @type {HTMLInputElement} */ (byId('more')).required = !new FormData(form).get('reason'); }

form.addEventListener('change', needWords);
dialog.querySelector('[data-part="cancel"]')?.addEventListener('click', () => dialog.close());
form.addEventListener('submit', () => {
  const said = new FormData(form);
  const reason = [said.get('reason'), said.get('more')].map((part) => String(part ?? '').trim()).filter(Boolean).join('\n');
  const sent = cases.socket.send({ type: 'decline', consultation: declining, reason });
  tell(declining, sent ? t('declining') : byId('line-lost').textContent ?? '');
  declining = '';
});

/** @param {string} consultation @param {string} words */
function tell(consultation, words) {
  const item = list.querySelector(`[data-consultation="${CSS.escape(consultation)}"]`);
  if (item instanceof HTMLElement) put(item, 'told', words);
}

/**
 * The van or the line went before there was an answer: it can be asked again.
 * @param {string} consultation
 */
function forget(consultation) { accepting.delete(consultation); tell(consultation, ''); }

/** @param {any} refusal about the last that was sent where it names none */
function refused(refusal) {
  const { consultation } = refusal;
  for (const name of consultation ? [consultation] : accepting) {
    accepting.delete(name);
    tell(name, t('refused') + whyRefused(refusal));
  }
  cases.changed(cases.all);
}

cases.socket.on('refused', refused).on('error', refused).on('line', ({ online }) => { if (!online) for (const name of accepting) forget(name); });
setInterval(() => cases.changed(cases.all), 30_000);
cases.start();

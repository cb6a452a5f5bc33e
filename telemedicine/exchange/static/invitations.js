// Invitations as they come: accept leads into the session as soon as the van has confirmed, decline asks for a reason.

import { card, put } from './case_words.js';
import { Cases, byId, isInvitation, isLive, sessionPath, t, whyRefused } from './frame.js';
import { Ringing } from './ringing.js';

const list = byId('cases'), template = /** @type {HTMLTemplateElement} */ (byId('case'));
const dialog = /** @type {HTMLDialogElement} */ (byId('decline'));
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
  return Number(PRESSING.has(b.urgency)) - Number(PRESSING.has(a.urgency)) || a.requested_at.localeCompare(b.requested_at);
}

/** @param {import('./exchange_socket.js').Case} c */
function waited(c) {
  const minutes = Math.floor((cases.socket.now().getTime() - Date.parse(c.requested_at)) / 60_000);
  return Number.isFinite(minutes) && minutes >= 1 && minutes < 1440 ? t('waited', { minutes }) : '';
}

const cases = new Cases((all) => {
  for (const c of all.values()) if (accepting.has(c.consultation) && isLive(c)) location.assign(sessionPath(c.consultation));
  const shown = [...all.values()].filter((c) => isInvitation(c) || accepting.has(c.consultation)).sort(byNeed);
  for (const item of [...list.children]) {
    if (item instanceof HTMLElement && !shown.some((c) => c.consultation === item.dataset.consultation)) item.remove();
  }
  for (const [at, c] of shown.entries()) {
    const item = card(list, template, c);
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
    put(item, 'waited', waited(c));
    item.dataset.urgency = c.urgency;
    const accept = item.querySelector('[data-do="accept"]');
    if (accept instanceof HTMLButtonElement) accept.disabled = !c.van_online || accepting.has(c.consultation);
  }
  byId('empty').hidden = shown.length > 0;
  ringing.look([...all.values()].filter((c) => isInvitation(c) && !accepting.has(c.consultation)));
});

list.addEventListener('click', ({ target }) => {
  const button = target instanceof Element ? target.closest('[data-do]') : null;
  const item = button?.closest('[data-consultation]');
  if (!(button instanceof HTMLButtonElement) || !(item instanceof HTMLElement)) return;
  const consultation = item.dataset.consultation ?? '';
  if (button.dataset.do === 'decline') { declining = consultation; dialog.showModal(); return; }
  if (cases.socket.send({ type: 'accept', consultation })) {
    accepting.add(consultation);
    button.disabled = true;
    put(item, 'told', t('accepting'));
  }
});

dialog.addEventListener('close', () => {
  if (dialog.returnValue !== 'send' || !declining) return;
  const form = new FormData(/** @type {HTMLFormElement} */ (dialog.querySelector('form')));
  const reason = [form.get('reason'), form.get('more')].map((part) => String(part ?? '').trim()).filter(Boolean).join(t('list_comma'));
  cases.socket.send({ type: 'decline', consultation: declining, reason });
  const item = list.querySelector(`[data-consultation="${CSS.escape(declining)}"]`);
  if (item instanceof HTMLElement) put(item, 'told', t('declining'));
  declining = '';
});

/** @param {any} refusal */
function refused(refusal) {
  const { consultation } = refusal;
  for (const name of consultation ? [consultation] : accepting) {
    accepting.delete(name);
    const item = list.querySelector(`[data-consultation="${CSS.escape(name)}"]`);
    if (item instanceof HTMLElement) put(item, 'told', t('refused') + whyRefused(refusal));
  }
  cases.changed(cases.all);
}

cases.socket.on('refused', refused).on('error', refused);
setInterval(() => cases.changed(cases.all), 30_000);
cases.start();

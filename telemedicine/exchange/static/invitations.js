// Invitations as they come: accept leads into the session as soon as the van has confirmed, decline asks for a reason.

import { card, put } from './case_words.js';
import { Cases, byId, isInvitation, isLive, sessionPath, t } from './frame.js';

const list = byId('cases'), template = /** @type {HTMLTemplateElement} */ (byId('case'));
const dialog = /** @type {HTMLDialogElement} */ (byId('decline'));
/** @type {Set<string>} */
const accepting = new Set();
let declining = '';

const cases = new Cases((all) => {
  for (const c of all.values()) if (accepting.has(c.consultation) && isLive(c)) location.assign(sessionPath(c.consultation));
  const shown = [...all.values()].filter((c) => isInvitation(c) || accepting.has(c.consultation));
  for (const item of [...list.children]) {
    if (item instanceof HTMLElement && !shown.some((c) => c.consultation === item.dataset.consultation)) item.remove();
  }
  for (const c of shown) {
    const item = card(list, template, c);
    const accept = item.querySelector('[data-do="accept"]');
    if (accept instanceof HTMLButtonElement) accept.disabled = !c.van_online || accepting.has(c.consultation);
  }
  byId('empty').hidden = shown.length > 0;
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

/** @param {string} reason @param {string} [consultation] */
function refused(reason, consultation) {
  for (const name of consultation ? [consultation] : accepting) {
    accepting.delete(name);
    const item = list.querySelector(`[data-consultation="${CSS.escape(name)}"]`);
    if (item instanceof HTMLElement) put(item, 'told', t('refused') + reason);
  }
  cases.changed(cases.all);
}

cases.socket.on('refused', ({ consultation, reason }) => refused(reason, consultation));
cases.socket.on('error', ({ message }) => refused(message));
cases.start();

// Who takes part, and the link by which another specialist comes in.

import { element } from './case_words.js';
import { byId, me, t } from './frame.js';

/** @param {import('./exchange_socket.js').Case} c */
export function showPeople(c) {
  byId('people').replaceChildren(...(c.people ?? []).map((person) => {
    const item = element('li', '');
    item.dataset.role = person.role;
    item.append(element('b', person.name), element('span', person.id === me.id ? t('role_you') : t(`role_${person.role}`)));
    if (person.invited_by) item.title = t('invited_by', { who: person.invited_by });
    return item;
  }));
}

/** @param {string} consultation @param {import('./exchange_socket.js').ExchangeSocket} socket */
export function offerLinks(consultation, socket) {
  const button = document.getElementById('share'), dialog = /** @type {HTMLDialogElement} */ (byId('sharing'));
  const link = /** @type {HTMLInputElement} */ (byId('share-link'));
  const ask = () => {
    link.value = '';
    const role = dialog.querySelector('input[name=role]:checked');
    if (!socket.send({ type: 'share', consultation, role: /** @type {HTMLInputElement} */ (role).value })) byId('share-told').textContent = byId('line-lost').textContent;
  };
  button?.addEventListener('click', () => { byId('share-told').textContent = ''; dialog.showModal(); ask(); });
  for (const option of dialog.querySelectorAll('input[name=role]')) option.addEventListener('change', ask);
  byId('share-copy').addEventListener('click', async () => {
    link.select();
    try { await navigator.clipboard.writeText(link.value); byId('share-told').textContent = t('share_copied'); } catch { /* selected: Ctrl C */ }
  });
  socket.on('shared', ({ path, expires_at: until }) => {
    link.value = new URL(path, location.href).href;
    const at = new Date(until).toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit', hour12: false });
    byId('share-told').textContent = t('share_until', { at });
  });
}

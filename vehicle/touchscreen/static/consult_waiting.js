// While a request waits for a specialist: whether it can reach one at all, so that nobody waits before a dead line.

import { words } from './frame.js';

const EVERY_MS = 3000;
const say = words();

/**
 * @param {{ exchange?: string } | null} status of the consultation process; null: it does not answer
 * @returns {string} what is wrong and what to do, '' when specialists can be reached
 */
export function wrong(status) {
  if (status === null) return say.media_down_form;
  if (status.exchange === 'refused') return say.exchange_refused;
  return status.exchange === 'lost' ? say.exchange_lost : '';
}

async function look() {
  const place = document.getElementById('waiting-told');        // the footer is drawn anew with each change of state
  if (!place) return;
  try {
    const answer = await fetch('/consult/media/status', { headers: { Accept: 'application/json', 'X-Background': '1' } });
    const told = wrong(answer.ok ? await answer.json() : null);
    place.textContent = told || say.waiting_hint;
    place.toggleAttribute('data-fault', Boolean(told));
  } catch { /* the van's own line is told by the frame */ }
  setTimeout(look, EVERY_MS);
}
void look();

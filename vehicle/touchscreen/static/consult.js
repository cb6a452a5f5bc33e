// The consultation in session: pictures, voice, and a new page when the state asks for another one.

import { VoiceMeter } from '/shared/voice_meter.js';
import { feed, words } from './frame.js';
import { moveMarks, stayJoined } from './media.js';

const say = words();
const session = document.querySelector('[data-media]');
const shownState = session ? 'connected' : 'requested';                // what kind of page this is
const SESSION = new Set(['accepted', 'connected', 'interrupted']);

if (session) {
  const media = stayJoined(true, say);
  const mute = document.getElementById('mute'), level = document.getElementById('own-level');
  const meter = level ? new VoiceMeter(level) : null;
  const show = () => {
    const muted = mute?.getAttribute('aria-pressed') === 'true', track = media()?.microphone ?? null;
    if (track) track.enabled = !muted;
    meter?.follow(track);
    if (mute) mute.dataset.voice = muted ? 'muted' : 'open';
    const text = mute?.querySelector('span');
    if (text) text.textContent = muted ? say.unmute : say.mute;
  };
  mute?.addEventListener('click', () => { mute.setAttribute('aria-pressed', String(mute.getAttribute('aria-pressed') !== 'true')); show(); });
  setInterval(show, 500);                        // another leg has another track
  document.getElementById('swap-feeds')?.addEventListener('click', () => {
    const large = document.querySelector('.shown video'), small = document.querySelector('.self video');
    if (large && small) { const place = document.createElement('i'); large.replaceWith(place); small.replaceWith(large); place.replaceWith(small); moveMarks(); }
    for (const video of document.querySelectorAll('video')) video.play().catch(() => {});
  });
}

/**
 * Another kind of page is due when the session begins or is over.
 * @param {string | undefined} state
 */
function look(state) {
  if (state && SESSION.has(state) !== SESSION.has(shownState) && !document.querySelector('dialog[open]')) location.reload();
}
feed.on('consultation', (message) => look(message.state));
document.addEventListener('renewed', () => look(document.getElementById('opinion')?.dataset.state));     // told before we listened
look(document.getElementById('opinion')?.dataset.state);

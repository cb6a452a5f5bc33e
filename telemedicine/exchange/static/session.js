// One consultation: media, live data, summary, opinion. A reload comes back here and goes on.

import { EcgStrip } from '/shared/ecg_strip.js';
import { SampleStore, exposeSamples } from '/shared/live_feed.js';
import { Cases, byId, t, whyRefused } from './frame.js';
import { showAnalysis, withdrawAnalysis } from './ecg_words.js';
import { LinkQuality } from './link_quality.js';
import { MediaSession } from './media_session.js';
import { OpinionForm } from './opinion_form.js';
import { offerLinks, showPeople } from './people.js';
import { Pointing } from './pointing.js';
import { Stills } from './stills.js';
import { Recordings } from './recordings.js';
import { showCritical, showDevice, showLive, showSummary, withdrawLive } from './summary_view.js';
import { Voice } from './voice.js';

const LIVE = new Set(['accepted', 'connected', 'interrupted', 'opinion_signed']);
const consultation = document.querySelector('main')?.dataset.consultation ?? '';
const store = new SampleStore();
exposeSamples(store);

const cases = new Cases((all) => { const c = all.get(consultation); if (c) update(c); });
const media = new MediaSession({ store, send: (session, sdp) => cases.socket.send({ type: 'offer', consultation, session, sdp }) });
const quality = new LinkQuality(media);
const role = document.querySelector('main')?.dataset.role ?? 'lead';
const opinion = role === 'lead' ? new OpinionForm({ consultation, socket: cases.socket, current: () => cases.all.get(consultation) }) : null;
const pointing = new Pointing(media);
new Stills(media, () => pointing.lines('ultrasound'));
const recordings = new Recordings(consultation);
const rhythm = new EcgStrip(byId('rhythm'), { layout: 'one', calibration: false, labels: false });
/** @type {EcgStrip | null} */
let sheet = null;
/** @type {number | null} */
let connectedAt = null;
let hungUp = false;

/** @param {import('./exchange_socket.js').Case} c */
function update(c) {
  byId('state').textContent = t(`state_${c.state}`);
  document.body.dataset.state = c.state;
  showSummary(c);
  showPeople(c);
  recordings.update(c);
  opinion?.update(c);
  quality.vanOnline = c.van_online;
  quality.ended = hungUp || !LIVE.has(c.state);
  media.wanted = LIVE.has(c.state) && !hungUp && ready;
  media.fingerprint = c.dtls_fingerprint ?? '';
  if (c.van_online) media.hurry();
  for (const name of ['hang-up', 'mute', 'camera']) byId(name).hidden = !LIVE.has(c.state) || hungUp;
  quality.show();
}

// the exchange ------------------------------------------------------------------------------------------------------

cases.socket
  .on('woke', () => media.hurry())
  .on('answer', ({ session, sdp }) => void media.take(session, sdp))
  .on('relays', ({ relays }) => { media.relays = relays; })
  .on('refused', (refusal) => {
    if (refusal.consultation !== consultation) return;
    if (refusal.about !== 'offer') { opinion?.refused(whyRefused(refusal)); return; }
    quality.refused(whyRefused(refusal));
    media.refused(refusal.session);
  })
  .on('error', (fault) => { opinion?.refused(whyRefused(fault)); quality.refused(whyRefused(fault)); media.refused(media.session); });

// live data ---------------------------------------------------------------------------------------------------------

byId('rhythm').addEventListener('ecg-sheet', (event) => { byId('rhythm-lead').textContent = /** @type {CustomEvent} */ (event).detail.leads[0]; });
rhythm.live(store);
media.on('samples', () => { if (byId('ecg-note').dataset.waiting !== undefined) { delete byId('ecg-note').dataset.waiting; byId('ecg-note').hidden = true; } });
media.on('message', (message) => {
  if (message.type === 'reading') showLive(message);
  else if (message.type === 'device') { leadsOff(message); showDevice(message); }
  else if (message.type === 'ecg_analysis') showAnalysis(message);
  else if (message.type === 'someone_else') someoneElse(message.served);
  else if (message.type === 'critical') showCritical(message);
  else if (message.type === 'gap') fillIn(message);
  else if (message.type === 'feeds') feedStates(message.feeds);
  else if (message.type === 'session_rung') quality.rung = message.rung;
});
media.on('state', (state) => {
  document.body.dataset.media = state;
  if (state === 'connected') { connectedAt ??= Date.now(); withdrawLive('live_no_number'); } else withdrawLive(state === 'restoring' ? 'live_no_link' : 'live_no_number');
});

/**
 * While the van serves another person nothing of that person comes here.
 * @param {boolean} served
 */
function someoneElse(served) {
  document.body.toggleAttribute('data-someone-else', served);
  if (!served) byId('ecg-note').hidden ||= byId('ecg-note').textContent === t('live_someone_else');
  else { byId('ecg-note').hidden = false; byId('ecg-note').textContent = t('live_someone_else'); withdrawLive('live_someone_else'); withdrawAnalysis(); }
}

/** @param {any} message */
function leadsOff(message) {
  if (!Array.isArray(message.leads_off) || !String(message.device).startsWith('ecg')) return;
  rhythm.setLeadsOff(message.leads_off);
  sheet?.setLeadsOff(message.leads_off);
}

/**
 * What was left out on the way is asked for once, from the van's own memory.
 * @param {any} gap
 */
function fillIn({ stream, device, segment, first_index: first, count }) { media.gaps.missed(stream, { device, segment, first, count }); }

/** What came late is said for a while, so that nobody takes a filled-in stretch for a live one. */
let toldLate = 0;
media.on('backfilled', (frame) => {
  const note = byId('ecg-note');
  note.textContent = t('ecg_gap', { seconds: Math.max(.1, frame.n / frame.sample_rate_hz).toFixed(1) });
  note.hidden = false;
  clearTimeout(toldLate);
  toldLate = window.setTimeout(() => { note.hidden = true; }, 6000);
});

/** @param {Record<string, { state: string, fps: number }>} feeds */
function feedStates(feeds) {
  for (const name of ['room', 'ultrasound']) {
    const caption = document.querySelector(`[data-caption="${name}"]`), feed = feeds[name];
    if (!caption) continue;
    const fault = feed && { lost: 'feed_lost', black: 'feed_black', frozen: 'feed_frozen', no_h264_encoder: 'feed_no_encoder' }[feed.state];
    caption.textContent = fault ? t(fault) : t(`feed_${name}`);
    caption.toggleAttribute('data-fault', Boolean(fault));
    if (fault) quality.faulty.add(name); else quality.faulty.delete(name);
  }
}

// what is looked at -------------------------------------------------------------------------------------------------

/** @param {string} view */
function look(view) {
  const stage = byId('stage');
  stage.dataset.view = view;
  for (const tab of document.querySelectorAll('[data-view][role="tab"]')) tab.setAttribute('aria-selected', String(/** @type {HTMLElement} */ (tab).dataset.view === view));
  let inset = 0;
  for (const slot of /** @type {NodeListOf<HTMLElement>} */ (stage.querySelectorAll('[data-slot]'))) {
    const main = slot.dataset.slot === view;
    delete slot.dataset.inset;
    slot.toggleAttribute('data-shown', main);
    if (!main && slot.dataset.slot !== 'ecg') slot.dataset.inset = String(inset += 1);
  }
  if (view === 'ecg') { sheet ??= new EcgStrip(byId('sheet'), { layout: '3x4+1', offWord: t('paper_off') }).live(store); }
  pointing.follow();
  freeze(false);
}

/** @param {boolean} on */
function freeze(on) {
  byId('freeze').setAttribute('aria-pressed', String(on));
  rhythm.freeze(on);
  sheet?.freeze(on);
  for (const slot of document.querySelectorAll('[data-slot]')) {
    const video = slot.querySelector('video'), still = slot.querySelector('canvas.still');
    if (!video || !(still instanceof HTMLCanvasElement)) continue;
    if (on && video.videoWidth) {
      still.width = video.videoWidth;
      still.height = video.videoHeight;
      still.getContext('2d')?.drawImage(video, 0, 0);
    }
    still.hidden = !on || !video.videoWidth;
  }
}

for (const tab of document.querySelectorAll('[role="tab"]')) tab.addEventListener('click', () => look(/** @type {HTMLElement} */ (tab).dataset.view ?? 'ultrasound'));
byId('freeze').addEventListener('click', () => freeze(byId('freeze').getAttribute('aria-pressed') !== 'true'));
byId('full').addEventListener('click', () => { if (document.fullscreenElement) void document.exitFullscreen(); else void byId('stage').requestFullscreen(); });
new Voice(media);
byId('camera').addEventListener('click', async () => {
  const wanted = byId('camera').getAttribute('aria-pressed') !== 'true';
  const on = await media.showFace(wanted);
  byId('camera').setAttribute('aria-pressed', String(on));
  byId('camera').title = wanted && !on ? t('no_camera') : '';
});
byId('hang-up').addEventListener('click', () => {
  hungUp = true;
  byId('camera').setAttribute('aria-pressed', 'false');
  void media.showFace(false);
  cases.socket.send({ type: 'hang_up', consultation });
  const c = cases.all.get(consultation);
  if (c) update(c);
});

setInterval(() => {
  if (connectedAt === null) return;
  const s = Math.floor((Date.now() - connectedAt) / 1000);
  byId('clock').textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}, 500);

// first the microphone, so that the first offer already carries it ---------------------------------------------------

let ready = false;
offerLinks(consultation, cases.socket);
look('ultrasound');
cases.start();
void media.openMicrophone().then(() => {
  ready = true;
  const c = cases.all.get(consultation);
  if (c) update(c);
});

// One consultation: media, live data, summary, opinion. A reload comes back here and goes on.

import { caliper } from '/shared/ecg_caliper.js';
import { EcgStrip } from '/shared/ecg_strip.js';
import { SampleStore, exposeSamples } from '/shared/live_feed.js';
import { PlethStrip } from '/shared/pleth_strip.js';
import { Cases, byId, caliperWords, sessionPath, stateWord, t, whyRefused } from './frame.js';
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

const OFFER_WITHIN_MS = 8000;
const LIVE = new Set(['accepted', 'connected', 'interrupted', 'opinion_signed']);
const consultation = document.querySelector('main')?.dataset.consultation ?? '';
const store = new SampleStore();
exposeSamples(store);

const cases = new Cases((all) => { const c = all.get(consultation); if (c) update(c); else if (seen) withdrawn(); });
const media = new MediaSession({ store, send: offer });
const quality = new LinkQuality(media);
const role = document.querySelector('main')?.dataset.role ?? 'lead';
const opinion = role === 'lead' ? new OpinionForm({ consultation, socket: cases.socket, current: () => cases.all.get(consultation) }) : null;
const pointing = new Pointing(media);
new Stills(media, () => pointing.lines('ultrasound'));
const recordings = new Recordings(consultation);
const rhythm = new EcgStrip(byId('rhythm'), { layout: 'one', calibration: false, labels: false });
/** @type {EcgStrip | null} */
let sheet = null;
/** @type {(on: boolean) => void} calipers on the sheet, once it is looked at */
let measureEcg = () => {};
const BEGAN = `xunzhen-began-${consultation}`;      // a reload does not set the session's clock back
let hungUp = false, seen = false, live = false;
const speaks = role !== 'observer';             // the van takes neither sound nor marks from one who only looks
quality.speaks = speaks;
if (role !== 'lead') quality.over = 'link_left';

/** @param {import('./exchange_socket.js').Case} c */
function update(c) {
  seen = true;
  live = LIVE.has(c.state) && !hungUp && !c.session_over;
  showOver();
  byId('state').textContent = stateWord(c);
  document.body.dataset.state = c.state;
  showSummary(c);
  showPeople(c);
  recordings.update(c, live);
  opinion?.update(c);
  quality.vanOnline = c.van_online;
  quality.ended = !live;
  if (role === 'lead') quality.over = c.opinion ? 'link_signed' : 'link_ended';
  media.wanted = live && ready;
  media.fingerprint = c.dtls_fingerprint ?? '';
  if (c.van_online) media.hurry();
  byId('hang-up').hidden = !live;
  for (const name of ['mute', 'camera']) byId(name).hidden = !live || !speaks;
  document.getElementById('share')?.toggleAttribute('hidden', !live);
  byId('back-in').hidden = !hungUp || role === 'lead' || !LIVE.has(c.state) || c.session_over;
  quality.show();
}

/** No picture is to come any more: said where it would be, and no tool lies about. */
function showOver() {
  byId('stage').toggleAttribute('data-over', !live);
  if (!live) for (const caption of document.querySelectorAll('.stage .caption')) caption.textContent = t('feed_over');
}

/** The case is not ours any more: taken back in the van, or the county has put it away. */
function withdrawn() {
  live = seen = media.wanted = false;
  showOver();
  quality.ended = true;
  quality.over = 'link_gone';
  byId('state').textContent = t('gone');
  byId('gone').hidden = false;
  for (const name of ['hang-up', 'mute', 'camera', 'back-in']) byId(name).hidden = true;
  quality.show();
}

/**
 * By the socket, or by one request where that is away or has said nothing since the picture broke: it may have died in
 * the same handover or sleep.
 * @param {string} session @param {string} sdp
 */
async function offer(session, sdp) {
  const { socket } = cases;
  if (socket.heardAt > media.lostAt && socket.send({ type: 'offer', consultation, session, sdp })) return;
  const patience = new AbortController(), givenUp = setTimeout(() => patience.abort(), OFFER_WITHIN_MS);
  try {
    const answer = await fetch(`${sessionPath(consultation)}/offer?session=${session}`, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: sdp, signal: patience.signal });
    if (answer.ok) { await media.take(session, await answer.text()); return; }
    quality.refused(whyRefused(await answer.json()));
  } catch { /* no network: the next attempt will say */ } finally { clearTimeout(givenUp); }
  media.refused(session);
}

// the exchange ------------------------------------------------------------------------------------------------------

cases.socket
  .on('woke', () => media.hurry())
  .on('answer', ({ session, sdp }) => void media.take(session, sdp))
  .on('relays', ({ relays }) => { media.relays = relays; })
  .on('refused', (refusal) => {
    if (refusal.consultation !== consultation) return;
    if (refusal.about === 'opinion') opinion?.refused(whyRefused(refusal));
    if (refusal.about !== 'offer') return;
    quality.refused(whyRefused(refusal));
    media.refused(refusal.session);
  })
  .on('error', (fault) => {                     // about the last that was sent
    if (opinion?.sent) { opinion.refused(whyRefused(fault)); return; }
    quality.refused(whyRefused(fault));
    media.refused(media.session);
  });

// live data ---------------------------------------------------------------------------------------------------------

byId('rhythm').addEventListener('ecg-sheet', (event) => { byId('rhythm-lead').textContent = /** @type {CustomEvent} */ (event).detail.leads[0]; });
rhythm.live(store);
new PlethStrip(/** @type {HTMLCanvasElement} */ (byId('pleth'))).live(store);
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
  if (state === 'connected') { if (!sessionStorage.getItem(BEGAN)) sessionStorage.setItem(BEGAN, String(cases.socket.now().getTime())); withdrawLive('live_no_number'); } else withdrawLive(state === 'restoring' ? 'live_no_link' : 'live_no_number');
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
  if (view === 'ecg' && !sheet) {
    sheet = new EcgStrip(byId('sheet'), { layout: '3x4+1', offWord: t('paper_off') }).live(store);
    measureEcg = caliper(sheet, caliperWords, (words) => { byId('sheet-told').textContent = words; });
  }
  byId('measure').toggleAttribute('disabled', view === 'room');
  pointing.follow();
  freeze(false);
}

/**
 * What is looked at stands still; the rhythm below goes on unless it is the ECG that is looked at.
 * @param {boolean} on
 */
function freeze(on) {
  byId('freeze').setAttribute('aria-pressed', String(on));
  const { view } = byId('stage').dataset, ecg = on && view === 'ecg';
  const unseen = view !== 'ecg';               // twelve leads that nobody sees are not drawn
  if (rhythm.frozen !== ecg) rhythm.freeze(ecg);
  if (sheet && sheet.frozen !== (ecg || unseen)) sheet.freeze(ecg || unseen);
  if (!ecg) measureEcg(false);
  for (const slot of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-slot]'))) {
    const video = slot.querySelector('video'), still = slot.querySelector('canvas.still');
    if (!video || !(still instanceof HTMLCanvasElement)) continue;
    const stands = on && slot.dataset.slot === view && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    if (stands) {
      still.width = video.videoWidth;
      still.height = video.videoHeight;
      still.getContext('2d')?.drawImage(video, 0, 0);
    }
    still.hidden = !stands;
  }
}

/** A sweep runs away under the caliper: it is put on the frozen sheet. */
function measureOnEcg() {
  if (byId('stage').dataset.view !== 'ecg') return;
  freeze(true);
  measureEcg(true);
}

const tabs = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[role="tab"]')]);
for (const [at, tab] of tabs.entries()) {
  tab.addEventListener('click', () => look(tab.dataset.view ?? 'ultrasound'));
  tab.addEventListener('keydown', ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) { const other = tabs[(at + step + tabs.length) % tabs.length]; other.focus(); other.click(); }
  });
}
byId('freeze').addEventListener('click', () => freeze(byId('freeze').getAttribute('aria-pressed') !== 'true'));
byId('measure').addEventListener('click', measureOnEcg);
byId('full').addEventListener('click', () => { if (document.fullscreenElement) void document.exitFullscreen(); else void byId('stage').requestFullscreen(); });
new Voice(media);
byId('camera').addEventListener('click', async () => {
  const wanted = byId('camera').getAttribute('aria-pressed') !== 'true';
  const on = await media.showFace(wanted);
  byId('camera').setAttribute('aria-pressed', String(on));
  byId('camera').title = wanted && !on ? t('no_camera') : '';
});
const asking = /** @type {HTMLDialogElement} */ (byId('hanging'));
byId('hang-up').addEventListener('click', () => { if (role === 'lead') asking.showModal(); else hangUp(); });
byId('back-in').addEventListener('click', () => location.reload());
asking.addEventListener('close', () => { if (asking.returnValue === 'hang-up') hangUp(); });

function hangUp() {
  hungUp = true;
  byId('camera').setAttribute('aria-pressed', 'false');
  void media.showFace(false);
  cases.socket.send({ type: 'hang_up', consultation });
  const c = cases.all.get(consultation);
  if (c) update(c);
}

setInterval(() => {
  const began = Number(sessionStorage.getItem(BEGAN));
  if (!began || !live) return;
  const s = Math.max(0, Math.floor((cases.socket.now().getTime() - began) / 1000));
  byId('clock').textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}, 500);

// first the microphone, so that the first offer already carries it ---------------------------------------------------

let ready = false;
offerLinks(consultation, cases.socket);
look('ultrasound');
cases.start();
void (speaks ? media.openMicrophone() : Promise.resolve()).then(() => {
  ready = true;
  const c = cases.all.get(consultation);
  if (c) update(c);
});

// The page's own WebRTC leg to the consultation process: sees both cameras and the specialist, sends the microphone.
// Lines of the offer, in order: room, ultrasound, the specialist's face (video, receive only), then audio both ways.

import { MarkLayer } from '/shared/marks.js';

const FACE_GONE_MS = 3000;
const SILENT_MS = 4000;
const FEEDS = ['room', 'ultrasound', 'specialist'];

/** @typedef {{ pc: RTCPeerConnection, microphone: MediaStreamTrack | null, close: () => void }} Media */

/** Says in words why there is no picture. */
class MediaAway extends Error {
  /** @param {{ title?: string, cause?: string, next_step?: string }} told */
  constructor(told) {
    super(told.title ?? 'no media');
    this.told = told;
  }
}

/** What the specialist points at and draws, over the picture it belongs to. @type {Map<string, MarkLayer>} */
const layers = new Map();

/** The pictures have changed places. */
export function moveMarks() { for (const layer of layers.values()) layer.follow(); }

/** @param {string} feed */
const video = (feed) => document.querySelector(`video[data-feed="${feed}"]`);

/**
 * @param {boolean} speak ask for the microphone; without one the page listens only
 * @param {(state: string) => void} onState "connected", "disconnected", "failed", "closed"
 * @returns {Promise<Media>}
 * @throws {MediaAway} the consultation process is down
 */
export async function join(speak, onState) {
  const pc = new RTCPeerConnection({ iceServers: [] });
  for (const _ of FEEDS) pc.addTransceiver('video', { direction: 'recvonly' });
  const microphone = speak ? await microphoneTrack() : null;
  if (microphone) pc.addTransceiver(microphone, { direction: 'sendrecv' });
  else pc.addTransceiver('audio', { direction: 'recvonly' });
  pc.ontrack = ({ transceiver, track }) => show(pc.getTransceivers().indexOf(transceiver), track);
  pc.onconnectionstatechange = () => onState(pc.connectionState);
  showMarks(pc.createDataChannel('marks'));
  try {
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    const answer = await fetch('/consult/media/offer', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', 'X-Background': '1' },
      body: JSON.stringify({ sdp: pc.localDescription?.sdp, type: 'offer' }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new MediaAway(told);
    await pc.setRemoteDescription(told);
  } catch (fault) {
    microphone?.stop();
    pc.close();
    throw fault;
  }
  return { pc, microphone, close: () => { microphone?.stop(); pc.close(); } };
}

/** @param {RTCDataChannel} channel */
function showMarks(channel) {
  for (const feed of ['room', 'ultrasound']) {
    const place = video(feed);
    if (place instanceof HTMLVideoElement && !layers.has(feed)) layers.set(feed, new MarkLayer(place, feed));
  }
  channel.onmessage = ({ data }) => { for (const layer of layers.values()) layer.take(JSON.parse(data)); };
}

/** The voice has an element of its own: a video element waits for its first picture, and a face may never come. */
const voice = new Audio();
voice.autoplay = true;

/** @param {number} line @param {MediaStreamTrack} track */
function show(line, track) {
  const place = track.kind === 'audio' ? voice : video(FEEDS[line]);
  if (!(place instanceof HTMLMediaElement)) return;
  place.srcObject = new MediaStream([track]);                            // never beside a track of a leg that is gone
  place.play().catch(() => {});
  if (place instanceof HTMLVideoElement && place.dataset.feed === 'specialist') watchFace(place);
}

/**
 * A face counts as long as its frames come; otherwise the portrait beside the video is shown (consult.html).
 * @param {HTMLVideoElement & { requestVideoFrameCallback?: (then: () => void) => number }} place
 */
function watchFace(place) {
  if (place.dataset.watched || !place.requestVideoFrameCallback) return;
  place.dataset.watched = '1';
  let lastMs = -Infinity;
  const again = () => { lastMs = performance.now(); place.requestVideoFrameCallback?.(again); };
  place.requestVideoFrameCallback(again);
  setInterval(() => {
    const seen = performance.now() - lastMs < FACE_GONE_MS;
    if (seen !== (place.dataset.seen === '1')) place.dataset.seen = seen ? '1' : '';
  }, 500);
}

async function microphoneTrack() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
    return stream.getAudioTracks()[0] ?? null;
  } catch { return null; }
}

/**
 * Nothing trickles: all candidates are in the offer, or those found in 1 s.
 * @param {RTCPeerConnection} pc
 * @returns {Promise<void>}
 */
function gathered(pc) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => { if (pc.iceGatheringState === 'complete') resolve(); };
    pc.addEventListener('icegatheringstatechange', done);
    setTimeout(resolve, 1000);
  });
}

/**
 * The other side sends sound all the time, 50 packets a second even when nobody speaks: no packet means it is gone.
 * ICE notices that much later.
 * @param {RTCPeerConnection} pc @param {() => void} then called once
 */
function whenSilent(pc, then) {
  let heard = -1, sinceMs = performance.now();
  const timer = setInterval(async () => {
    if (pc.connectionState === 'closed') { clearInterval(timer); return; }
    let packets = 0;
    for (const row of (await pc.getStats()).values()) if (row.type === 'inbound-rtp') packets += row.packetsReceived ?? 0;
    if (packets !== heard) { heard = packets; sinceMs = performance.now(); }
    else if (performance.now() - sinceMs > SILENT_MS) { clearInterval(timer); then(); }
  }, 1000);
}

/**
 * Keep the leg up while the page is open: words into #media-said, again after a break.
 * @param {boolean} speak @param {Record<string, string>} say @returns {() => Media | null}
 */
export function stayJoined(speak, say) {
  /** @type {Media | null} */
  let media = null;
  const place = document.getElementById('media-said');
  const through = speak ? say.picture : '';                         // a picture without a voice speaks for itself
  const tell = (/** @type {string} */ title, text = '') => {
    if (!place) return;
    const bold = Object.assign(document.createElement('b'), { textContent: title });
    const small = Object.assign(document.createElement('small'), { textContent: text });
    place.replaceChildren(bold, small);
    place.toggleAttribute('data-away', title !== through && title !== say.connecting);
  };
  const again = (pauseMs = 3000) => { media?.close(); media = null; setTimeout(start, pauseMs); };
  async function start() {
    /** @type {Media | null} */
    let mine = null;
    const joined = () => tell(through, mine && speak && !mine.microphone ? say.no_microphone : '');
    try {
      media = mine = await join(speak, (state) => {
        if (mine !== media) return;
        if (state === 'connected') joined();
        if (state === 'failed' || state === 'disconnected') tell(say.interrupted);
        if (state === 'failed') again(0);
      });
      if (mine.pc.connectionState === 'connected') joined();
      if (mine.microphone) mine.microphone.enabled = document.getElementById('mute')?.getAttribute('aria-pressed') !== 'true';
      whenSilent(mine.pc, () => { if (mine === media) { tell(say.interrupted); again(0); } });
    } catch (fault) {
      if (fault instanceof MediaAway) tell(fault.told.title ?? '', `${fault.told.cause ?? ''} ${fault.told.next_step ?? ''}`);
      else tell(say.interrupted);
      again();
    }
  }
  start();
  window.addEventListener('pagehide', () => media?.close());
  return () => media;
}

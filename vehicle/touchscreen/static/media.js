// The page's own WebRTC leg to the consultation process: sees both cameras and the specialist, sends the microphone.
// Lines of the offer, in order: room, ultrasound, the specialist's face (video, receive only), then audio both ways.

const FEEDS = ['room', 'ultrasound', 'specialist'];

/** @typedef {{ pc: RTCPeerConnection, microphone: MediaStreamTrack | null, close: () => void }} Media */

/** Says in words why there is no picture. */
export class MediaAway extends Error {
  /** @param {{ title?: string, cause?: string, next_step?: string }} told */
  constructor(told) {
    super(told.title ?? 'no media');
    this.told = told;
  }
}

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

/** @param {number} line @param {MediaStreamTrack} track */
function show(line, track) {
  const place = video(FEEDS[line] ?? 'specialist');
  if (!(place instanceof HTMLVideoElement)) return;
  const stream = place.srcObject instanceof MediaStream ? place.srcObject : new MediaStream();
  stream.addTrack(track);
  place.srcObject = stream;
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
 * Keep the leg up while the page is open: words into #media-said, again after a break.
 * @param {boolean} speak @param {Record<string, string>} say @returns {() => Media | null}
 */
export function stayJoined(speak, say) {
  /** @type {Media | null} */
  let media = null;
  const place = document.getElementById('media-said');
  const tell = (/** @type {string} */ title, text = '') => {
    if (!place) return;
    const bold = Object.assign(document.createElement('b'), { textContent: title });
    const small = Object.assign(document.createElement('small'), { textContent: text });
    place.replaceChildren(bold, small);
    place.toggleAttribute('data-away', title !== say.picture && title !== say.connecting);
  };
  const again = () => setTimeout(start, 3000);
  async function start() {
    try {
      media = await join(speak, (state) => {
        if (state === 'connected') tell(say.picture, media?.microphone || !speak ? '' : say.no_microphone);
        if (state === 'failed' || state === 'disconnected') tell(say.interrupted);
        if (state === 'failed') { media?.close(); media = null; again(); }
      });
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

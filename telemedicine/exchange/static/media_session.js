// The media of one session: offer, answer, and coming back. The van's side never has to be set up again by a person.
// A connection that falls silent is kept while another one is tried: whichever comes first goes on.
//
//   const media = new MediaSession({ send, store });       send(session, sdp): hands an offer to the van, or calls refused
//   media.on('state' | 'message' | 'samples' | 'backfilled' | 'marks' | 'voice' | 'lost' | 'stranger' | 'unable' |
//            'unheard', callback)
//   media.wanted = true;                                   connects now and whenever it breaks
//   media.take(session, sdp); media.refused(session);      what came back

import { decodeSamples } from '/shared/live_feed.js';
import { PROTOCOL, decodePacked, isPacked } from '/shared/packed_samples.js';
import { GapFiller } from './gap_filler.js';

const ANSWER_WITHIN_MS = 8000, CONNECT_WITHIN_MS = 12000, SILENT_FOR_MS = 2500, NOTHING_FOR_MS = 4000;
const FIRST_PAUSE_MS = 400, LAST_PAUSE_MS = 5000, OTHER_RELAYS_MS = 200;
const FACE = { width: 320, height: 240, frameRate: 10 }, FACE_BIT_S = 250_000;    // a face to talk to, no picture to judge by
const FEEDS = ['room', 'ultrasound'];

/**
 * A connection with what belongs to it; `came` are the tracks that nobody has been shown yet.
 * @typedef {{
 *   pc: RTCPeerConnection, session: string, face: RTCRtpSender | null,
 *   vitals: RTCDataChannel, marks: RTCDataChannel, stills: RTCDataChannel,
 *   forms: Map<number, import('/shared/packed_samples.js').SampleForm>,
 *   came: [MediaStreamTrack, RTCRtpTransceiver][],
 * }} Connection
 */

export class MediaSession {
  #wanted = false;
  /** @type {Connection | null} In use, or the first that is tried. */
  #now = null;
  /** @type {Connection | null} Tried while the one in use is silent. */
  #next = null;

  /** @param {{ send: (session: string, sdp: string) => void, store: import('/shared/live_feed.js').SampleStore }} options */
  constructor({ send, store }) {
    this.send = send;
    this.store = store;
    /** @type {Map<string, ((message: any) => void)[]>} */
    this.listeners = new Map();
    /** @type {MediaStreamTrack | null} */
    this.microphone = null;
    /** @type {RTCIceServer[]} The county's own, with names that are renewed long before they expire; never another's. */
    this.relays = [];
    /** @type {MediaStreamTrack | null} */
    this.camera = null;
    this.gaps = new GapFiller(store, (missing) => {
      const vitals = this.#now?.vitals;
      if (vitals?.readyState !== 'open') return false;
      vitals.send(JSON.stringify({ type: 'backfill', ...missing }));
      return true;
    });
    this.samplesAt = -Infinity;                // when the last live samples came
    this.page = crypto.getRandomValues(new Uint32Array(2)).join('-');
    this.attempt = 0;
    this.fingerprint = '';                     // of the van's certificate, from the invitation it has signed
    this.state = 'idle';                       // idle, connecting, connected, restoring
    this.lostAt = 0;
    this.triedAt = 0;
    this.pauseMs = FIRST_PAUSE_MS;
    this.timer = 0;
    this.muted = false;
  }

  get wanted() { return this.#wanted; }
  get pc() { return this.#now?.pc ?? null; }
  get marks() { return this.#now?.marks ?? null; }
  get stills() { return this.#now?.stills ?? null; }
  /** The last that was tried. */
  get session() { return (this.#next ?? this.#now)?.session ?? ''; }

  set wanted(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    if (wanted) this.#connect(); else { clearTimeout(this.timer); this.#now = closed(this.#now); this.#next = closed(this.#next); this.#become('idle'); }
  }

  /** @param {string} type @param {(message: any) => void} callback */
  on(type, callback) { this.listeners.set(type, [...(this.listeners.get(type) ?? []), callback]); return this; }

  /** @param {boolean} muted */
  mute(muted) { this.muted = muted; if (this.microphone) this.microphone.enabled = !muted; }

  /**
   * Ask for the microphone once; without it we listen only.
   * @returns {Promise<boolean>}
   */
  async openMicrophone() {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
      const microphone = this.microphone = stream.getAudioTracks()[0] ?? null;
      microphone?.addEventListener('ended', () => { if (this.microphone === microphone) { this.microphone = null; this.#tell('state', this.state); } });
      this.mute(this.muted);
    } catch { this.microphone = null; }
    return this.microphone !== null;
  }

  /**
   * Show the own face in the van, or no longer. The line for it is in every offer, so nothing is negotiated again.
   * @param {boolean} on @returns {Promise<boolean>} whether the camera runs now
   */
  async showFace(on) {
    this.camera?.stop();
    this.camera = null;
    if (on) {
      try {
        const stream = await navigator.mediaDevices.getUserMedia({ video: FACE });
        this.camera = stream.getVideoTracks()[0] ?? null;
      } catch { /* no camera, or not allowed: the button says so */ }
    }
    await this.#now?.face?.replaceTrack(this.camera);
    return this.camera !== null;
  }

  /** @param {string} session @param {string} sdp */
  async take(session, sdp) {
    const pc = (this.#next ?? this.#now)?.pc;
    if (session !== this.session || pc?.signalingState !== 'have-local-offer') return;
    const pinned = pinnedTo(this.fingerprint, sdp);
    if (pinned === null) { this.#tell('stranger', {}); this.refused(session); return; }
    await pc.setRemoteDescription({ type: 'answer', sdp: pinned });
    this.#within(CONNECT_WITHIN_MS);
  }

  /**
   * The van could not answer this attempt.
   * @param {string | undefined} session
   */
  refused(session) { if (session === this.session && this.state !== 'connected') this.#again(); }

  /** Try at once, e.g. because the van is back. */
  hurry() {
    if (!this.#wanted || this.state === 'connected' || Date.now() - this.triedAt < ANSWER_WITHIN_MS / 4) return;
    this.pauseMs = FIRST_PAUSE_MS;
    this.#again(0);
  }

  /** Offer again what has changed here, e.g. a microphone that is allowed now; what works goes on until then. */
  anew() { if (this.#wanted) void this.#connect(); }

  async #connect() {
    const lacking = lacks();
    if (lacking) { this.#tell('unable', lacking); return; }
    this.#next = closed(this.#next);
    const may = this.#now?.pc.connectionState ?? '';
    if (may !== 'connected' && may !== 'disconnected') this.#now = closed(this.#now);
    this.#become(this.lostAt ? 'restoring' : 'connecting');
    this.triedAt = Date.now();
    const made = this.#made();
    if (this.#now) this.#next = made; else this.#now = made;
    const { pc, session } = made;
    this.#within(ANSWER_WITHIN_MS);
    try {
      await pc.setLocalDescription();
      await gathered(pc, this.relays.length > 0);
    } catch { return; }                        // closed meanwhile: another attempt is under way
    if (!this.#ours(made)) return;
    this.send(session, pc.localDescription?.sdp ?? '');
  }

  /** @returns {Connection} */
  #made() {
    const pc = new RTCPeerConnection({ iceServers: this.relays, bundlePolicy: 'max-bundle' });
    const live = pc.createDataChannel('live', { ordered: false, maxRetransmits: 0, protocol: PROTOCOL });
    const vitals = pc.createDataChannel('vitals'), marks = pc.createDataChannel('marks'), stills = pc.createDataChannel('stills');
    for (const _ of FEEDS) preferH264(pc.addTransceiver('video', { direction: 'recvonly' }));
    const face = pc.addTransceiver(this.camera ?? 'video', { direction: 'sendonly', sendEncodings: [{ maxBitrate: FACE_BIT_S }] }).sender;
    pc.addTransceiver(this.microphone ?? 'audio', { direction: this.microphone ? 'sendrecv' : 'recvonly' });
    /** @type {Connection} */
    const made = { pc, session: `${this.page}_${this.attempt += 1}`, face, vitals, marks, stills, forms: new Map(), came: [] };
    this.#follow(live, made);
    this.#follow(vitals, made);
    vitals.onopen = () => this.gaps.restart();
    marks.onmessage = ({ data }) => this.#tell('marks', JSON.parse(data));
    stills.binaryType = 'arraybuffer';
    stills.onmessage = ({ data }) => this.#tell('stills', data);
    pc.ontrack = ({ track, transceiver }) => { made.came.push([track, transceiver]); this.#show(made); };
    pc.onconnectionstatechange = () => this.#changed(made);
    this.#watch(made);
    return made;
  }

  /** @param {Connection} connection */
  #ours(connection) { return connection === this.#now || connection === this.#next; }

  /** @param {RTCDataChannel} channel @param {Connection} connection */
  #follow(channel, { forms }) {
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => {
      if (typeof data === 'string') { this.#heard(JSON.parse(data), forms); return; }
      const frame = isPacked(data) ? decodePacked(data, forms) : decodeSamples(data);
      if (!frame) return;                      // what it looks like has not been told yet: it will be asked for again
      if (channel.label === 'live') { this.samplesAt = performance.now(); this.gaps.saw(frame); }
      const ring = this.store.push(frame);
      if (channel.label === 'live') this.#tell('samples', ring);
      else { this.gaps.filled(frame); this.#tell('backfilled', frame); }
    };
  }

  /** @param {any} message @param {Connection['forms']} forms */
  #heard(message, forms) {
    if (message.type !== 'samples_form') { this.#tell('message', message); return; }
    const { type: _, number, ...form } = message;
    forms.set(number, form);
  }

  /**
   * What came of the connection in use; a picture takes the place of another one when its packets come.
   * @param {Connection} connection
   */
  #show(connection) {
    if (connection !== this.#now) return;
    const videos = connection.pc.getTransceivers().filter((x) => x.receiver.track.kind === 'video');
    for (const [track, transceiver] of connection.came.splice(0)) {
      const place = track.kind === 'audio' ? document.getElementById('voice') : document.querySelector(`video[data-feed="${FEEDS[videos.indexOf(transceiver)]}"]`);
      if (track.kind === 'audio') this.#tell('voice', track);
      if (!(place instanceof HTMLMediaElement)) continue;
      const shown = () => {
        if (connection !== this.#now) return;
        place.srcObject = new MediaStream([track]);
        place.play().catch((fault) => { if (fault.name === 'NotAllowedError' && track.kind === 'audio') this.#tell('unheard', place); });
      };
      if (place.srcObject && track.kind === 'video' && track.muted) track.addEventListener('unmute', shown, { once: true }); else shown();
    }
  }

  /** @param {Connection} connection */
  #changed(connection) {
    if (!this.#ours(connection)) return;
    const state = connection.pc.connectionState;
    if (state === 'connected') this.#connected(connection);
    else if (connection === this.#next) { if (state === 'failed') this.#again(); }
    else if (state === 'disconnected') {
      this.lostAt ||= Date.now();
      this.#become('restoring');
      this.#within(SILENT_FOR_MS);
    } else if (state === 'failed') {
      this.lostAt ||= Date.now();
      this.#again();
    }
  }

  /** @param {Connection} connection the other one, if there is one, is given up */
  #connected(connection) {
    clearTimeout(this.timer);
    if (connection === this.#next) {
      closed(this.#now);
      this.#now = connection;
      this.#show(connection);
      if (this.camera !== connection.face?.track) void connection.face?.replaceTrack(this.camera);
    } else closed(this.#next);
    this.#next = null;
    this.pauseMs = FIRST_PAUSE_MS;
    if (this.lostAt) this.#tell('lost', { at: new Date(this.lostAt), seconds: (Date.now() - this.lostAt) / 1000 });
    this.lostAt = 0;
    this.#become('connected');
  }

  /**
   * The van sends sound all the time, 50 packets a second even when nobody speaks: when nothing comes it is gone, which
   * ICE notices much later; and it may come back.
   * @param {Connection} connection
   */
  #watch(connection) {
    const { pc } = connection;
    let received = -1, since = Date.now();
    const timer = setInterval(async () => {
      if (!this.#ours(connection)) { clearInterval(timer); return; }
      let now = 0;
      for (const report of (await pc.getStats()).values()) if (report.type === 'inbound-rtp') now += report.packetsReceived ?? 0;
      if (connection !== this.#now) return;
      const came = received >= 0 && now > received;
      received = now;
      if (came && this.state === 'restoring' && pc.connectionState === 'connected') this.#connected(connection);
      if (came || this.state !== 'connected') { since = Date.now(); return; }
      if (Date.now() - since < NOTHING_FOR_MS) return;
      this.lostAt ||= since;
      this.#again(0);
    }, 1000);
  }

  /**
   * A new attempt unless we are connected by then.
   * @param {number} ms
   */
  #within(ms) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => { if (this.state !== 'connected') this.#again(); }, ms);
  }

  /** @param {number} [pauseMs] */
  #again(pauseMs = this.pauseMs) {
    if (!this.#wanted) return;
    clearTimeout(this.timer);
    this.#become(this.lostAt ? 'restoring' : 'connecting');
    this.timer = window.setTimeout(() => this.#connect(), pauseMs);
    this.pauseMs = Math.min(LAST_PAUSE_MS, this.pauseMs * 2);
  }

  /** @param {string} state */
  #become(state) { if (state !== this.state) { this.state = state; this.#tell('state', state); } }

  /** @param {string} type @param {any} message */
  #tell(type, message) { for (const callback of this.listeners.get(type) ?? []) callback(message); }
}

/** What this browser cannot do that a live session needs: "no_webrtc", "no_h264" or nothing. */
function lacks() {
  if (!window.RTCPeerConnection || !window.RTCRtpReceiver) return 'no_webrtc';
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  return codecs.some((codec) => /\/h264$/i.test(codec.mimeType)) ? '' : 'no_h264';
}

/** @param {Connection | null} connection @returns {null} */
function closed(connection) {
  if (connection) {
    connection.pc.onconnectionstatechange = connection.pc.ontrack = null;
    connection.pc.close();
  }
  return null;
}

/**
 * H.264 only: that is what the van encodes once for everybody.
 * @param {RTCRtpTransceiver} transceiver
 */
function preferH264(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  transceiver.setCodecPreferences(codecs.filter((codec) => /\/(h264|rtx)$/i.test(codec.mimeType)));
}

/**
 * All candidates are in the offer; none come later. A relay that does not answer holds nobody up.
 * @param {RTCPeerConnection} pc
 * @param {boolean} relays whether an address at a relay is to be expected
 * @returns {Promise<void>}
 */
function gathered(pc, relays) {
  return new Promise((resolve) => {
    if (relays) pc.addEventListener('icecandidate', ({ candidate }) => { if (candidate?.type === 'relay') setTimeout(resolve, OTHER_RELAYS_MS); });
    const done = () => { if (pc.iceGatheringState === 'complete' || pc.signalingState === 'closed') resolve(); };
    pc.addEventListener('icegatheringstatechange', done);
    setTimeout(resolve, 2000);
    done();
  });
}

/**
 * The answer with no other fingerprint in it than the invitation's; null when it shows another certificate.
 * @param {string} fingerprint SHA-256, '' when the van has told none @param {string} sdp
 */
export function pinnedTo(fingerprint, sdp) {
  if (!fingerprint) return sdp;
  const shown = [...sdp.matchAll(/^a=fingerprint:sha-256 (\S+)/gim)].map(([, value]) => value.toUpperCase());
  if (shown.length === 0 || shown.some((value) => value !== fingerprint)) return null;
  return sdp.replace(/^a=fingerprint:(?!sha-256 )[^\n]*\n/gim, '');
}

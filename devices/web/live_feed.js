// The live feed in a browser: frames in, rings of samples and JSON messages out. Shared by all screens.
//
//   import { LiveFeed, SampleStore, decodeSamples, exposeSamples } from '/shared/live_feed.js';
//
//   const store = new SampleStore();              // 12 s of each stream
//   exposeSamples(store);                         // window.xunzhen.samples('ecg'), read-only, for tests
//
//   The van:          const feed = new LiveFeed('/live?streams=ecg,pleth', { store });
//                     feed.on('reading', (message) => ...);   // any JSON message by its "type"
//                     feed.on('link', ({ online }) => ...);   // the socket itself
//                     feed.start();
//   A data channel:   channel.binaryType = 'arraybuffer';
//                     channel.onmessage = ({ data }) => store.push(decodeSamples(data));
//
// Wire format: u32 little endian header length, header JSON (UTF-8), int16 little endian payload, sample-major
// (n rows of channels.length counts). The twin of devices/wire.py. -32768 means: no value at this sample.

export const INVALID_COUNT = -32768;

/**
 * One binary frame. `counts` is sample-major: count of channel c at sample i is counts[i * channels.length + c].
 * @typedef {{ type: 'samples', stream: string, device: string, channels: string[], sample_rate_hz: number,
 *   segment: number, first_index: number, n: number, resolution: number, unit: string, counts: Int16Array }} SamplesFrame
 */

/**
 * @param {ArrayBuffer | Uint8Array} buffer
 * @returns {SamplesFrame}
 * @throws {RangeError} the frame is shorter than it says, or it is no samples frame
 */
export function decodeSamples(buffer) {
  const bytes = buffer instanceof Uint8Array ? buffer : new Uint8Array(buffer);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < 4) throw new RangeError('samples frame: no header length');
  const headerLength = view.getUint32(0, true);
  if (4 + headerLength > bytes.byteLength) throw new RangeError('samples frame: header is cut off');
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + headerLength)));
  if (header.type !== 'samples') throw new RangeError(`samples frame: type is ${header.type}`);
  const total = header.n * header.channels.length;
  if (bytes.byteLength !== 4 + headerLength + 2 * total) throw new RangeError('samples frame: payload has the wrong length');
  const counts = new Int16Array(total);
  for (let i = 0; i < total; i += 1) counts[i] = view.getInt16(4 + headerLength + 2 * i, true);
  return { ...header, counts };
}

/** The last seconds of one stream. Frames may come late or not at all: what never came stays INVALID_COUNT. */
export class SampleRing {
  /** @param {SamplesFrame} frame the first one @param {number} seconds how much is held */
  constructor(frame, seconds) {
    this.stream = frame.stream;
    this.device = frame.device;
    this.channels = frame.channels;
    this.rateHz = frame.sample_rate_hz;
    this.resolution = frame.resolution;
    this.unit = frame.unit;
    this.capacity = Math.ceil(seconds * frame.sample_rate_hz);
    this.counts = new Int16Array(this.capacity * frame.channels.length).fill(INVALID_COUNT);
    this.segment = frame.segment;
    this.firstIndex = frame.first_index;
    this.nextIndex = frame.first_index;
    this.push(frame);
  }

  /**
   * Whether the frame continues this ring; if not, a new ring has to be begun.
   * @param {SamplesFrame} frame
   */
  fits(frame) {
    return frame.segment === this.segment && frame.device === this.device && frame.sample_rate_hz === this.rateHz
      && frame.resolution === this.resolution && frame.channels.join() === this.channels.join();
  }

  /** @param {SamplesFrame} frame */
  push(frame) {
    const width = this.channels.length;
    const end = frame.first_index + frame.n;
    if (end - this.nextIndex > this.capacity) {
      this.counts.fill(INVALID_COUNT);
      this.firstIndex = frame.first_index;
    } else {
      for (let i = this.nextIndex; i < frame.first_index; i += 1) this.#clear(i);   // a gap is a gap
    }
    for (let k = 0; k < frame.n; k += 1) {
      const index = frame.first_index + k;
      if (index < Math.max(this.nextIndex, end) - this.capacity) continue;                 // too late to be shown
      const at = (index % this.capacity) * width;
      for (let c = 0; c < width; c += 1) this.counts[at + c] = frame.counts[k * width + c];
    }
    if (frame.first_index < this.firstIndex) this.firstIndex = frame.first_index;         // the past, asked for later
    this.nextIndex = Math.max(this.nextIndex, end);
    this.firstIndex = Math.max(this.firstIndex, this.nextIndex - this.capacity);
  }

  /** The same samples in a ring of its own: what comes later does not reach it. */
  copy() {
    const { stream, device, channels, segment, resolution, unit, firstIndex, rateHz } = this, width = channels.length;
    const n = this.nextIndex - firstIndex, counts = new Int16Array(n * width);
    for (let k = 0; k < counts.length; k += 1) counts[k] = this.count(firstIndex + Math.floor(k / width), k % width);
    return new SampleRing({ type: 'samples', stream, device, channels, segment, resolution, unit, sample_rate_hz: rateHz, first_index: firstIndex, n, counts }, this.capacity / rateHz);
  }

  /** @param {number} index */
  #clear(index) {
    const at = (index % this.capacity) * this.channels.length;
    this.counts.fill(INVALID_COUNT, at, at + this.channels.length);
  }

  /**
   * INVALID_COUNT outside what is held.
   * @param {number} index
   * @param {number} channel
   */
  count(index, channel) {
    if (index < this.firstIndex || index >= this.nextIndex || channel < 0) return INVALID_COUNT;
    return this.counts[(index % this.capacity) * this.channels.length + channel];
  }
}

/** One ring per stream ("ecg", "pleth"). */
export class SampleStore {
  /** @param {number} seconds */
  constructor(seconds = 12) {
    this.seconds = seconds;
    /** @type {Map<string, SampleRing>} */
    this.rings = new Map();
  }

  /** @param {SamplesFrame} frame @returns {SampleRing} */
  push(frame) {
    let ring = this.rings.get(frame.stream);
    if (ring && ring.fits(frame)) {
      ring.push(frame);
    } else {
      ring = new SampleRing(frame, this.seconds);
      this.rings.set(frame.stream, ring);
    }
    return ring;
  }

  /**
   * The ring of a stream, null before its first frame.
   * @param {string} stream
   */
  ring(stream) { return this.rings.get(stream) ?? null; }

  /**
   * What arrived in the last 10 s, as received: counts is one row per sample, one number per channel.
   * @param {string} stream
   * @returns {{ channels: string[], resolution: number, segment: number, first_index: number, counts: number[][] } | null}
   */
  samples(stream) {
    const ring = this.ring(stream);
    if (!ring) return null;
    const first = Math.max(ring.firstIndex, ring.nextIndex - Math.round(10 * ring.rateHz));
    const counts = [];
    for (let i = first; i < ring.nextIndex; i += 1) counts.push(ring.channels.map((_, c) => ring.count(i, c)));
    return { channels: [...ring.channels], resolution: ring.resolution, segment: ring.segment, first_index: first, counts };
  }
}

/**
 * Read-only numbers for tests: window.xunzhen.samples(stream).
 * @param {SampleStore} store
 */
export function exposeSamples(store) {
  const page = /** @type {any} */ (window);
  page.xunzhen = Object.freeze({ ...(page.xunzhen ?? {}), samples: (/** @type {string} */ stream) => store.samples(stream) });
}

/** The van's WebSocket: comes back by itself, 0.5 s to 8 s apart; says online and offline once each. */
export class LiveFeed {
  /** @param {string} url path or address @param {{ store?: SampleStore }} options */
  constructor(url, { store } = {}) {
    const address = new URL(url, location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    this.url = address.href;
    this.store = store ?? new SampleStore();
    this.online = false;
    /** @type {Map<string, Set<(message: any) => void>>} */
    this.listeners = new Map();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.pauseMs = 500;
    this.stopped = true;
    this.refused = 0;
  }

  /**
   * @param {string} type a message's "type", "samples" for each frame's ring, "link" for the socket itself
   * @param {(message: any) => void} callback
   * @returns {() => void} stops listening
   */
  on(type, callback) {
    const set = this.listeners.get(type) ?? new Set();
    this.listeners.set(type, set.add(callback));
    return () => { set.delete(callback); };
  }

  start() { this.stopped = false; this.#connect(); return this; }

  stop() { this.stopped = true; this.socket?.close(); }

  /** @param {string} type @param {any} message */
  #tell(type, message) { for (const callback of this.listeners.get(type) ?? []) callback(message); }

  #connect() {
    const socket = new WebSocket(this.url);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    socket.onopen = () => {
      this.pauseMs = 500;
      this.online = true;
      this.#tell('link', { type: 'link', online: true });
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== 'string') { this.#tell('samples', this.store.push(decodeSamples(data))); return; }
      const message = JSON.parse(data);
      this.#tell(message.type, message);
    };
    socket.onclose = ({ code }) => {
      if (this.online || code >= 4400) this.#tell('link', { type: 'link', online: false, code });
      this.online = false;
      if (this.stopped || code === 4401 || code === 4403) return;       // signed out: the page says so, no hammering
      setTimeout(() => { if (!this.stopped) this.#connect(); }, this.pauseMs * (.75 + Math.random() / 2));
      this.pauseMs = Math.min(8000, this.pauseMs * 2);
    };
  }
}

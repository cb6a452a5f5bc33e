// Packed samples in a browser: the twin of devices/packed_samples.py, where the form is described.
//
//   /** @type {Map<number, SampleForm>} */ const forms = new Map();
//   forms.set(1, { device: 'ecg-1', stream: 'ecg', channels: ['I', 'II'], sample_rate_hz: 500, resolution: 1.25, unit: 'uV' });
//   store.push(isPacked(data) ? decodePacked(data, forms) : decodeSamples(data));

/** @typedef {import('./live_feed.js').SamplesFrame} SamplesFrame */
/** @typedef {Omit<SamplesFrame, 'type' | 'segment' | 'first_index' | 'n' | 'counts'>} SampleForm */

/** The data channel's subprotocol: who opens it understands packed frames of this version. */
export const PROTOCOL = 'packed/1';

const MARK = 0x80, VERSION = 1, MOST_SAMPLES = 10_000;
const CONSTANT = 3, ESCAPE_ONES = 20, WHOLE_BITS = 18;

/**
 * Whether the frame is of this form, of any version, rather than of live_feed.js.
 * @param {ArrayBuffer} buffer
 */
export function isPacked(buffer) { return buffer.byteLength > 1 && new Uint8Array(buffer, 1, 1)[0] >= MARK; }

/**
 * @param {ArrayBuffer} buffer
 * @param {ReadonlyMap<number, SampleForm>} forms what the first byte may name
 * @returns {SamplesFrame | null} null: its form was not told yet
 * @throws {RangeError} the frame is of another version, cut short, or longer than it says
 */
export function decodePacked(buffer, forms) {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 5 || bytes[1] !== MARK + VERSION) throw new RangeError('packed samples: not a frame of this version');
  const form = forms.get(bytes[0]);
  if (!form) return null;
  const reader = new BitReader(bytes, 2);
  const segment = reader.number(), first = reader.number(), n = reader.number();
  if (n > MOST_SAMPLES) throw new RangeError(`packed samples: a frame of ${n}`);
  const width = form.channels.length, counts = new Int16Array(n * width);
  if (n > 0) for (let channel = 0; channel < width; channel += 1) readChannel(reader, counts, channel, width, n);
  reader.close();
  return { type: 'samples', ...form, segment, first_index: first, n, counts };
}

/**
 * @param {BitReader} reader @param {Int16Array} counts sample-major @param {number} channel @param {number} width
 * @param {number} n
 */
function readChannel(reader, counts, channel, width, n) {
  const mode = reader.take(2);
  if (mode === CONSTANT) {
    const count = reader.take(16) << 16 >> 16;
    for (let i = 0; i < n; i += 1) counts[i * width + channel] = count;
    return;
  }
  if (mode > n) throw new RangeError(`packed samples: ${n} cannot be differenced ${mode} times`);
  const k = reader.take(4);
  let last = 0, beforeLast = 0;
  for (let i = 0; i < n; i += 1) {
    let count;
    if (i < mode) count = reader.take(16) << 16 >> 16;
    else {
      const ones = reader.ones();
      const folded = ones === ESCAPE_ONES ? reader.take(WHOLE_BITS) : ones << k | reader.take(k);
      count = (folded >>> 1) ^ -(folded & 1);
      if (mode === 1) count += last; else if (mode === 2) count += 2 * last - beforeLast;
      if (count < -32768 || count > 32767) throw new RangeError('packed samples: a count does not fit 16 bits');
    }
    counts[i * width + channel] = count;
    beforeLast = last;
    last = count;
  }
}

class BitReader {
  /** @param {Uint8Array} bytes @param {number} at */
  constructor(bytes, at) {
    this.bytes = bytes;
    this.at = at;                              // the next whole byte
    this.held = 0;                             // bits of it and before that are not taken yet
    this.heldBits = 0;
  }

  /** A LEB128 number; only before the first bits are taken. */
  number() {
    let number = 0;
    for (let place = 0; place < 7; place += 1) {
      const byte = this.#byte();
      number += (byte & 0x7F) * 2 ** (7 * place);
      if (byte < 0x80) return number;
    }
    throw new RangeError('packed samples: a number too long');
  }

  /** @param {number} count 0 to 18 */
  take(count) {
    while (this.heldBits < count) {
      this.held = (this.held << 8 | this.#byte()) >>> 0;
      this.heldBits += 8;
    }
    this.heldBits -= count;
    const taken = this.held >>> this.heldBits;
    this.held &= (1 << this.heldBits) - 1;
    return taken;
  }

  /** Ones up to the closing zero, or ESCAPE_ONES, which none closes. */
  ones() {
    let count = 0;
    while (count < ESCAPE_ONES && this.take(1)) count += 1;
    return count;
  }

  close() {
    if (this.at < this.bytes.length || this.held !== 0) throw new RangeError('packed samples: the frame is longer than it says');
  }

  #byte() {
    if (this.at >= this.bytes.length) throw new RangeError('packed samples: the frame is cut off');
    return this.bytes[this.at++];
  }
}

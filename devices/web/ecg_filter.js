// Filters for looking at an ECG. They change what is drawn and nothing else: rings, recordings and analysis keep the
// counts as they came. Whoever shows a filtered trace names the filter beside it (IEC 60601-2-25).
//
//   const seen = new FilteredRing(ring, 'mains');
//   seen.catchUp();                  // filters what came since, once
//   seen.count(index, channel)       // counts as a float, NaN where there is no value
//
// Second-order sections by R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients" (W3C Note,
// 2021). They run forwards only, as in any monitor: 0.5 Hz bends the ST segment, so that it must not be read there.

import { INVALID_COUNT, SampleRing } from './live_feed.js';

/** @typedef {{ b: [number, number, number], a: [number, number], passesZero: boolean }} Section */
/** @typedef {'none' | 'mains' | 'monitor'} FilterName */

const BUTTERWORTH_Q = Math.SQRT1_2, NOTCH_Q = 25;

/** @param {number} rateHz @param {number} hz @param {number} q */
function angle(rateHz, hz, q) { const w = 2 * Math.PI * hz / rateHz; return { cos: Math.cos(w), alpha: Math.sin(w) / (2 * q) }; }

/** @param {number} rateHz @param {number} hz @returns {Section} */
function highPass(rateHz, hz) {
  const { cos, alpha } = angle(rateHz, hz, BUTTERWORTH_Q), a0 = 1 + alpha, half = (1 + cos) / 2 / a0;
  return { b: [half, -2 * half, half], a: [-2 * cos / a0, (1 - alpha) / a0], passesZero: false };
}

/** @param {number} rateHz @param {number} hz @returns {Section} */
function lowPass(rateHz, hz) {
  const { cos, alpha } = angle(rateHz, hz, BUTTERWORTH_Q), a0 = 1 + alpha, half = (1 - cos) / 2 / a0;
  return { b: [half, 2 * half, half], a: [-2 * cos / a0, (1 - alpha) / a0], passesZero: true };
}

/** @param {number} rateHz @param {number} hz @returns {Section} */
function notch(rateHz, hz) {
  const { cos, alpha } = angle(rateHz, hz, NOTCH_Q), a0 = 1 + alpha;
  return { b: [1 / a0, -2 * cos / a0, 1 / a0], a: [-2 * cos / a0, (1 - alpha) / a0], passesZero: true };
}

/** What each name draws, as it is written beside the trace, and its sections at a rate. */
export const FILTERS = Object.freeze({
  none: { said: '', sections: (/** @type {number} */ _) => /** @type {Section[]} */ ([]) },
  mains: { said: '50 Hz', sections: (/** @type {number} */ rateHz) => below(rateHz, 50, notch(rateHz, 50)) },
  monitor: {
    said: '0.5–40 Hz',
    sections: (/** @type {number} */ rateHz) => [highPass(rateHz, .5), ...below(rateHz, 40, lowPass(rateHz, 40)), ...below(rateHz, 50, notch(rateHz, 50))],
  },
});

/**
 * A section that a stream of this rate can have.
 * @param {number} rateHz @param {number} hz @param {Section} section
 */
function below(rateHz, hz, section) { return hz < rateHz / 2 ? [section] : []; }

/** A ring of samples as a filter shows it. Channel by channel: derived leads are sums, so they come out the same. */
export class FilteredRing {
  /** @param {SampleRing} ring @param {FilterName} name */
  constructor(ring, name) {
    this.ring = ring;
    this.name = name;
    this.sections = FILTERS[name].sections(ring.rateHz);
    this.seen = new Float32Array(ring.capacity * ring.channels.length).fill(NaN);
    this.states = ring.channels.map(() => this.sections.map(() => new Float64Array(4)));
    this.running = ring.channels.map(() => false);
    this.begins = ring.firstIndex;             // the first sample that went through
    this.next = ring.firstIndex;
  }

  /** Filter what came since. The past, when it came late, is filtered with all that follows it. */
  catchUp() {
    const { ring } = this;
    if (ring.firstIndex < this.begins) { this.begins = this.next = ring.firstIndex; this.running.fill(false); }
    for (this.next = Math.max(this.next, ring.firstIndex); this.next < ring.nextIndex; this.next += 1) {
      const at = (this.next % ring.capacity) * ring.channels.length;
      for (let c = 0; c < ring.channels.length; c += 1) this.seen[at + c] = this.#step(c, ring.count(this.next, c));
    }
  }

  /** @param {number} index @param {number} channel */
  count(index, channel) {
    if (index < this.ring.firstIndex || index >= this.next) return NaN;
    return this.seen[(index % this.ring.capacity) * this.ring.channels.length + channel];
  }

  /** @param {number} channel @param {number} count */
  #step(channel, count) {
    if (count === INVALID_COUNT) { this.running[channel] = false; return NaN; }
    const states = this.states[channel];
    if (!this.running[channel]) this.#settle(states, count);
    this.running[channel] = true;
    let x = count;
    this.sections.forEach(({ b, a }, k) => {
      const s = states[k];                     // x[n-1], x[n-2], y[n-1], y[n-2]
      const y = b[0] * x + b[1] * s[0] + b[2] * s[1] - a[0] * s[2] - a[1] * s[3];
      s[1] = s[0]; s[0] = x; s[3] = s[2]; s[2] = y;
      x = y;
    });
    return x;
  }

  /**
   * As if the first value had stood there for ever: no jump at the beginning and after a gap.
   * @param {Float64Array[]} states @param {number} count
   */
  #settle(states, count) {
    let level = count;
    this.sections.forEach(({ passesZero }, k) => {
      const after = passesZero ? level : 0;
      states[k].set([level, level, after, after]);
      level = after;
    });
  }
}

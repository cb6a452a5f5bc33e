// Samples that did not arrive are asked for again, one request at a time: what the van left out and says so, and what
// the network lost without a word. What is older than the page shows is not asked for.

const PATIENCE_MS = 150, ANSWER_WITHIN_MS = 2_000, MOST_SAMPLES = 5_000, MOST_WAITING = 20;

/** @typedef {{ device: string, segment: number, first: number, count: number }} Missing */

export class GapFiller {
  /** @param {import('/shared/live_feed.js').SampleStore} store @param {(missing: Missing) => boolean} ask */
  constructor(store, ask) {
    this.store = store;
    this.ask = ask;
    /** @type {Missing[]} */
    this.waiting = [];
    this.asked = 0;
    this.filledSamples = 0;
  }

  /**
   * A frame that has just come, before it goes into its ring: what lies between is missing, unless it comes yet.
   * @param {import('/shared/live_feed.js').SamplesFrame} frame
   */
  saw(frame) {
    const ring = this.store.ring(frame.stream);
    if (!ring || !ring.fits(frame) || frame.first_index <= ring.nextIndex) return;
    const first = Math.max(ring.nextIndex, frame.first_index - ring.capacity + frame.n);
    const missing = { device: frame.device, segment: frame.segment, first, count: frame.first_index - first };
    setTimeout(() => this.missed(frame.stream, missing), PATIENCE_MS);
  }

  /** @param {string} stream @param {Missing} missing what the van says it left out, or nobody has said */
  missed(stream, missing) {
    const ring = this.store.ring(stream);
    if (!ring || ring.segment !== missing.segment || ring.device !== missing.device) return;
    for (let first = missing.first; first < missing.first + missing.count; first += MOST_SAMPLES) {
      const part = { ...missing, first, count: Math.min(MOST_SAMPLES, missing.first + missing.count - first) };
      const lost = part.first + part.count > ring.firstIndex && ring.count(part.first + part.count - 1, 0) === -32768;
      if (lost && !this.waiting.some((known) => known.first + known.count === part.first + part.count) && this.waiting.length < MOST_WAITING) this.waiting.push(part);
    }
    this.#next();
  }

  /** @param {import('/shared/live_feed.js').SamplesFrame} frame an answer, to all of a request or its beginning */
  filled(frame) {
    this.filledSamples += frame.n;
    this.waiting = this.waiting.flatMap((part) => {
      if (part.first !== frame.first_index) return [part];
      const left = frame.n > 0 ? part.count - frame.n : 0;
      return left > 0 ? [{ ...part, first: part.first + frame.n, count: left }] : [];
    });
    this.asked = 0;
    this.#next();
  }

  /** The link is another one: what was asked on the old one is not answered any more. */
  restart() { this.asked = 0; this.#next(); }

  #next() {
    const now = performance.now();
    if (this.asked && now - this.asked < ANSWER_WITHIN_MS) return;
    if (this.asked) this.waiting.shift();         // nobody has it any more
    const part = this.waiting[0];
    this.asked = part && this.ask(part) ? now : 0;
    if (this.asked) setTimeout(() => { if (this.asked === now) this.#next(); }, ANSWER_WITHIN_MS + 10);
  }
}

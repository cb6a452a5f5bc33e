// Pulse wave of the oximeter as a sweep: height follows the wave's own size, a gap stays a gap. Shared by all screens.
//
//   const strip = new PlethStrip(document.getElementById('pleth'), { seconds: 5 });   // a <canvas>
//   strip.live(store);            // follows the "pleth" ring of a SampleStore

import { INVALID_COUNT } from './live_feed.js';

const LATE_S = .15;
const GAP = .05;                       // of the width, cleared in front of the pen

export class PlethStrip {
  /** @param {HTMLCanvasElement} canvas @param {{ seconds?: number }} options */
  constructor(canvas, { seconds = 5 } = {}) {
    this.canvas = canvas;
    this.seconds = seconds;
    this.exact = 0;
    this.lastMs = 0;
    this.frame = 0;
  }

  /** @param {import('./live_feed.js').SampleStore} store */
  live(store) {
    const step = (/** @type {number} */ nowMs) => {
      const ring = store.ring('pleth');
      if (ring && this.canvas.isConnected) this.#advance(ring, Math.min(.25, (nowMs - this.lastMs) / 1000));
      this.lastMs = nowMs;
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
    return this;
  }

  stop() { cancelAnimationFrame(this.frame); }

  /** @param {import('./live_feed.js').SampleRing} ring @param {number} dtS */
  #advance(ring, dtS) {
    const target = ring.nextIndex - LATE_S * ring.rateHz, behind = target - this.exact;
    if (Math.abs(behind) > ring.rateHz) this.exact = target;
    else this.exact = Math.min(ring.nextIndex, this.exact + dtS * ring.rateHz + behind * Math.min(1, dtS * 2));
    this.#draw(ring, Math.floor(this.exact));
  }

  /**
   * 60 samples a second over 5 s: drawing the 300 points anew is as cheap as keeping track of the new ones.
   * @param {import('./live_feed.js').SampleRing} ring
   * @param {number} pen
   */
  #draw(ring, pen) {
    const { width, height } = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio)) { this.canvas.width = Math.round(width * ratio); this.canvas.height = Math.round(height * ratio); }
    const ctx = this.canvas.getContext('2d');
    if (!ctx) return;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const n = Math.round(this.seconds * ring.rateHz), first = Math.max(ring.firstIndex, pen - Math.floor(n * (1 - GAP)));
    let low = Infinity, high = -Infinity;
    for (let i = first; i < pen; i += 1) {
      const count = ring.count(i, 0);
      if (count !== INVALID_COUNT) { low = Math.min(low, count); high = Math.max(high, count); }
    }
    if (high < low) return;
    const room = Math.max(1, high - low);
    ctx.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
    ctx.lineWidth = 3;
    ctx.lineJoin = 'round';
    ctx.beginPath();
    let down = false, lastX = -1;
    for (let i = first; i < pen; i += 1) {
      const count = ring.count(i, 0), x = ((i % n) / n) * width;
      if (count === INVALID_COUNT || x < lastX) down = false;
      lastX = x;
      if (count === INVALID_COUNT) continue;
      const y = height - 4 - ((count - low) / room) * (height - 8);
      if (down) ctx.lineTo(x, y); else ctx.moveTo(x, y);
      down = true;
    }
    ctx.stroke();
  }
}

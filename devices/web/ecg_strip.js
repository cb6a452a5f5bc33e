// ECG paper: live sweep and stored sheet, at the panel's calibrated scale. Shared by all screens.
//
//   <figure class="ecg-paper" id="paper"></figure>          (any element with a size; gets two canvases and labels)
//
//   import { EcgStrip } from '/shared/ecg_strip.js';
//   const strip = new EcgStrip(document.getElementById('paper'), {
//     layout: '3x4+1',            // '3x4+1' | '6x2' | '12x1' | 'rhythm' | 'one' | 'beat'
//     lead: 'II',                 // of the layout 'one'
//     offWord: '导联脱落',         // shown after a loose lead's name
//     pxPerMm: undefined,         // default: --px-per-mm of the document (see scale.js)
//     calibration: true,          // the 1 mV pulse at the left
//   });
//   strip.live(store);            // a SampleStore of live_feed.js; follows its "ecg" ring at the screen's frame rate
//   strip.stored({ channels, sample_rate_hz, resolution, counts });   // rows of counts, or one sample-major Int16Array
//   strip.setLayout('6x2'); strip.setLayout('one', 'V1'); strip.freeze(true); strip.setLeadsOff(['V3']); strip.page(10);
//   strip.setScale({ mmPerS: 50, mmPerMv: 5 });   // 25 and 10 where nothing is said
//   strip.setFilter('mains');                     // a name of ecg_filter.js; write it beside the trace
//   strip.stop();
//   strip.seconds                 // how many seconds the sheet holds at this scale
//   host.addEventListener('ecg-sheet', ({ detail: { leads, asLaidOut } }) => ...)   // another sheet: which leads it shows,
//                                 // and whether it is the layout asked for or, for a device of few leads, a row for each
//
// The paper is a canvas of its own; on the trace canvas (data-feed="ecg") each frame draws only the samples that are
// new, from where the last frame stopped, and clears the few millimetres ahead. Missing samples leave a gap. Without a
// filter nothing is smoothed: the trace is counts * resolution. III, aVR, aVL, aVF are derived from I and II.

import { FilteredRing } from './ecg_filter.js';
import { LAYOUTS, leadCount, leadsWithout, recipe, sheetOf } from './ecg_leads.js';
import { SampleRing } from './live_feed.js';
import { pxPerMm } from './scale.js';

/** @typedef {import('./ecg_filter.js').FilterName} FilterName */
const AHEAD_MM = 5;                    // cleared in front of the pen
const LATE_S = .12;                    // the pen runs this far behind the newest sample: chunks come every 50 ms
const EDGE_MM = 4, PULSE_MM = 8, PULSE_S = .2;
const HEAD_MM = 30, HEAD_PART = .3;    // the most room, in mm and of the sheet, that tall waves of the top row are given

/** @param {string} name */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @typedef {{ lead: string, row: number, column: number, fromS: number, untilS: number, yPx: number, xPx: number, widthPx: number }} Cell */
/** @typedef {{ channels: string[], sample_rate_hz: number, resolution: number, counts: Int16Array | number[][] }} StoredEcg */

export class EcgStrip {
  /**
   * @param {HTMLElement} host
   * @param {{ layout?: string, lead?: string, offWord?: string, pxPerMm?: number, calibration?: boolean, maxSeconds?: number, labels?: boolean }} [options]
   */
  constructor(host, options = {}) {
    this.host = host;
    this.width = 0;                    // CSS pixels of the host
    this.height = 0;
    this.mm = 4;                       // CSS pixels per millimetre
    this.mmPerS = 25;
    this.mmPerMv = 10;
    /** @type {FilterName} */
    this.filter = 'none';
    /** @type {FilteredRing | null} */
    this.filtered = null;
    this.left = 0;                     // where second 0 stands
    this.seconds = 10;
    this.rowPx = 0;
    this.headMm = 0;                   // the highest wave of the top row so far, above its baseline
    this.colour = '';
    this.durationS = 0;
    /** @type {([number, number][] | null)[] | null} */
    this.parts = null;
    /** @type {string[] | null} channels of the stream on the sheet */
    this.channels = null;
    this.sheetSaid = '';
    this.options = { layout: '3x4+1', lead: 'II', offWord: '导联脱落', calibration: true, labels: true, maxSeconds: 10, ...options };
    this.paper = this.#canvas('paper');
    this.trace = this.#canvas('trace');
    this.trace.dataset.feed = 'ecg';
    this.bar = this.#element('ecg-bar');
    this.bar.hidden = true;
    /** @type {HTMLElement[]} */
    this.offLabels = [];
    /** @type {string[]} */
    this.off = [];
    /** @type {Cell[]} */
    this.cells = [];
    /** @type {import('./live_feed.js').SampleStore | null} */
    this.store = null;
    /** @type {SampleRing | null} */
    this.ring = null;
    this.pen = 0;                      // index of the next sample to draw
    this.exact = 0;                    // the same with its fraction: the pen moves evenly between chunks
    this.origin = 0;                   // sample index at the sheet's left edge, before wrapping
    this.frozen = false;
    this.frame = 0;
    this.lastMs = 0;
    this.startS = 0;
    this.observer = new ResizeObserver(() => this.relayout());
    this.observer.observe(host);
    this.themes = new MutationObserver(() => this.relayout());
    this.themes.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme', 'style'] });
    this.relayout();
  }

  /** @param {string} layer */
  #canvas(layer) {
    const canvas = document.createElement('canvas');
    canvas.dataset.layer = layer;
    canvas.style.cssText = 'position:absolute;inset:0;width:100%;height:100%';
    this.host.prepend(canvas);
    if (layer === 'trace') this.paper.after(canvas);
    if (getComputedStyle(this.host).position === 'static') this.host.style.position = 'relative';
    return canvas;
  }

  /** @param {string} className */
  #element(className) {
    const element = document.createElement('span');
    element.className = className;
    element.style.position = 'absolute';
    this.host.append(element);
    return element;
  }

  /**
   * Follow the "ecg" ring of a store.
   * @param {import('./live_feed.js').SampleStore} store
   */
  live(store) {
    this.store = store;
    this.bar.hidden = false;
    cancelAnimationFrame(this.frame);
    const step = (/** @type {number} */ nowMs) => {
      if (!this.frozen) this.#advance(nowMs);
      this.lastMs = nowMs;
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
    return this;
  }

  /**
   * Show a stored recording as a sheet.
   * @param {StoredEcg} ecg
   * @param {number} [startS]
   */
  stored(ecg, startS = 0) {
    cancelAnimationFrame(this.frame);
    this.store = null;
    const width = ecg.channels.length;
    const counts = ecg.counts instanceof Int16Array ? ecg.counts : Int16Array.from(ecg.counts.flat());
    const n = counts.length / width;
    this.ring = new SampleRing({ type: 'samples', stream: 'ecg', device: '', channels: ecg.channels, unit: 'uV', segment: 0,
      sample_rate_hz: ecg.sample_rate_hz, first_index: 0, n, resolution: ecg.resolution, counts }, Math.max(1, n / ecg.sample_rate_hz));
    this.durationS = n / ecg.sample_rate_hz;
    this.bar.hidden = true;
    this.#fit(this.ring);
    this.startS = 0;
    return this.page(startS);
  }

  /**
   * The sheet of a stored recording that begins at a second.
   * @param {number} startS
   */
  page(startS) {
    this.startS = startS;
    this.#redraw();
    return this;
  }

  /** @param {string} layout @param {string} [lead] of the layout 'one' */
  setLayout(layout, lead = this.options.lead) {
    if (!(layout in LAYOUTS)) throw new RangeError(`no ECG layout ${layout}`);
    Object.assign(this.options, { layout, lead });
    this.relayout();
  }

  /** @param {{ mmPerS?: number, mmPerMv?: number }} scale */
  setScale({ mmPerS = this.mmPerS, mmPerMv = this.mmPerMv }) {
    Object.assign(this, { mmPerS, mmPerMv });
    this.relayout();
  }

  /** @param {FilterName} name */
  setFilter(name) {
    this.filter = name;
    this.#redraw();
  }

  /**
   * Frozen is what stands on the sheet now, also in another layout, scale or theme, however long it stays.
   * @param {boolean} frozen
   */
  freeze(frozen) {
    if (frozen && !this.frozen && this.store) this.ring = this.ring?.copy() ?? null;   // the live ring goes on without it
    this.frozen = frozen;
    this.bar.hidden = frozen || !this.store;
    if (!frozen) this.#redraw();
  }

  /** @param {string[]} leads leads or limb electrodes (RA, LA, LL) that are off */
  setLeadsOff(leads) {
    if (leads.join() === this.off.join()) return;
    this.off = [...leads];
    this.#drawOff();
    this.#redraw();
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.themes.disconnect();
  }

  /** Size, scale, layout or theme changed: paper anew, and what the ring still holds. */
  relayout() {
    const { width, height } = this.host.getBoundingClientRect();
    if (!width || !height) return;
    this.width = width;
    this.height = height;
    this.mm = this.options.pxPerMm ?? pxPerMm();
    for (const canvas of [this.paper, this.trace]) {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.getContext('2d')?.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.left = (this.options.calibration ? EDGE_MM + PULSE_MM - 1 + PULSE_S * this.mmPerS : 0) * this.mm;
    this.seconds = Math.max(1, Math.min(this.options.maxSeconds, (width - this.left - (this.options.calibration ? this.mm : 0)) / (this.mmPerS * this.mm)));
    this.colour = css('--trace');
    this.headMm = 0;
    this.#lay();
  }

  #lay() {
    this.#layCells();
    this.#drawPaper();
    this.#drawOff();
    this.#redraw();
  }

  /**
   * A stream with other leads than the one before gets a sheet of its own.
   * @param {SampleRing} ring
   */
  #fit(ring) {
    if (ring.channels.join() === this.channels?.join()) return;
    this.channels = [...ring.channels];
    this.headMm = 0;
    if (this.width) this.#lay();
  }

  #layCells() {
    const layout = /** @type {keyof typeof LAYOUTS} */ (this.options.layout);
    const { columns, rhythm, asLaidOut } = sheetOf(layout, this.channels, this.options.lead);
    const rows = Math.max(...columns.map((column) => column.length)) + rhythm.length;
    const foot = this.host.querySelector('.ecg-said'), footPx = foot instanceof HTMLElement ? foot.offsetHeight : 0;
    const free = this.height - footPx, span = this.seconds / columns.length, under = rows === 1 ? .34 : .38;
    const head = Math.min((this.headMm + 1) * this.mm, HEAD_MM * this.mm, HEAD_PART * free);
    const first = Math.max((1 - under) * free / rows, head), last = free * (1 - under / rows);
    this.rowPx = rows === 1 ? free : (last - first) / (rows - 1);
    const y = (/** @type {number} */ row) => Math.round((first + row * this.rowPx) / this.mm) * this.mm;
    const begins = (/** @type {number} */ column) => (layout === 'beat' ? 0 : column * span);   // every lead of one beat begins with it
    this.cells = columns.flatMap((leads, c) => leads.map((lead, row) => this.#cell(lead, row, c, begins(c), span, y(row))));
    rhythm.forEach((lead, k) => this.cells.push(this.#cell(lead, rows - rhythm.length + k, 0, 0, this.seconds, y(rows - rhythm.length + k))));
    this.#saySheet([...new Set(this.cells.map((cell) => cell.lead))], asLaidOut);
  }

  /** @param {string[]} leads @param {boolean} asLaidOut */
  #saySheet(leads, asLaidOut) {
    const said = `${leads.join()} ${asLaidOut}`;
    if (said === this.sheetSaid) return;
    this.sheetSaid = said;
    this.host.dispatchEvent(new CustomEvent('ecg-sheet', { detail: { leads, asLaidOut } }));
  }

  /** @param {string} lead @param {number} row @param {number} column @param {number} fromS @param {number} span seconds @param {number} yPx @returns {Cell} */
  #cell(lead, row, column, fromS, span, yPx) {
    const widthPx = span * this.mmPerS * this.mm;
    return { lead, row, column, fromS, untilS: fromS + span, yPx, xPx: this.left + column * widthPx, widthPx };
  }

  #drawPaper() {
    const ctx = /** @type {CanvasRenderingContext2D} */ (this.paper.getContext('2d'));
    ctx.fillStyle = css('--paper');
    ctx.fillRect(0, 0, this.width, this.height);
    for (const [step, colour] of /** @type {[number, string][]} */ ([[this.mm, '--paper-minor'], [5 * this.mm, '--paper-major']])) {
      ctx.strokeStyle = css(colour);
      ctx.lineWidth = 1;
      ctx.beginPath();
      for (let x = 0; x <= this.width; x += step) { const p = Math.round(x) + .5; ctx.moveTo(p, 0); ctx.lineTo(p, this.height); }
      for (let y = 0; y <= this.height; y += step) { const p = Math.round(y) + .5; ctx.moveTo(0, p); ctx.lineTo(this.width, p); }
      ctx.stroke();
    }
    for (const cell of this.cells) this.#drawCellFrame(ctx, cell);
  }

  /**
   * Lead name, column seam as two short ticks, and the 1 mV, 200 ms pulse.
   * @param {CanvasRenderingContext2D} ctx
   * @param {Cell} cell
   */
  #drawCellFrame(ctx, cell) {
    const { mm } = this, top = cell.yPx - .62 * this.rowPx;
    if (this.options.labels) {
      const sizePx = Math.max(.9 * parseFloat(getComputedStyle(document.documentElement).fontSize), Math.min(4.6 * mm, 26));
      ctx.fillStyle = css('--paper-ink');
      ctx.font = `700 ${sizePx}px ${css('--font')}`;
      const upMm = this.rowPx > 40 * mm ? 20 : 12.2;   // a row of its own has room above every R wave
      ctx.fillText(cell.lead, cell.xPx + 1.4 * mm, Math.max(top + sizePx, cell.yPx - upMm * mm));
    }
    ctx.strokeStyle = this.colour;
    if (cell.column > 0) {
      ctx.lineWidth = 1.2;
      ctx.beginPath();
      ctx.moveTo(cell.xPx, cell.yPx - 4 * mm); ctx.lineTo(cell.xPx, cell.yPx - 2 * mm);
      ctx.moveTo(cell.xPx, cell.yPx + 2 * mm); ctx.lineTo(cell.xPx, cell.yPx + 4 * mm);
      ctx.stroke();
    } else if (this.options.calibration) {
      ctx.lineWidth = this.#penPx();
      ctx.beginPath();
      ctx.moveTo(EDGE_MM * mm, cell.yPx);
      for (const [x, y] of [[2, 0], [2, -this.mmPerMv], [2 + PULSE_S * this.mmPerS, -this.mmPerMv], [2 + PULSE_S * this.mmPerS, 0], [4 + PULSE_S * this.mmPerS, 0]]) ctx.lineTo((EDGE_MM + x) * mm, cell.yPx + y * mm);
      ctx.stroke();
    }
  }

  #drawOff() {
    for (const label of this.offLabels) label.remove();
    const lost = leadsWithout(this.off);
    this.offLabels = this.cells.filter((cell) => lost.has(cell.lead)).map((cell) => {
      const label = this.#element('ecg-off');
      label.dataset.lead = cell.lead;
      label.append(Object.assign(document.createElement('b'), { textContent: `${cell.lead} ${this.options.offWord}` }));
      label.style.left = `${cell.xPx}px`;
      label.style.width = `${cell.widthPx}px`;
      label.style.top = `${cell.yPx}px`;
      return label;
    });
    this.parts = null;
  }

  #penPx() { return Math.max(1.3, this.mm * .36); }

  /**
   * Pen position follows the clock of the screen, gently drawn to the newest sample less LATE_S.
   * @param {number} nowMs
   */
  #advance(nowMs) {
    const ring = this.store?.ring('ecg') ?? null;
    if (!ring) return;
    if (ring !== this.ring) this.#adopt(ring);
    const target = ring.nextIndex - LATE_S * ring.rateHz;
    const dtS = Math.min(.25, Math.max(0, (nowMs - this.lastMs) / 1000));
    const behind = target - this.exact;
    if (Math.abs(behind) > 1.5 * ring.rateHz) { this.exact = target; if (behind > 0) { this.pen = Math.max(ring.firstIndex, Math.floor(target)); this.#redraw(); return; } }
    this.exact = Math.min(ring.nextIndex, this.exact + dtS * ring.rateHz + behind * Math.min(1, dtS * 2));
    const until = Math.floor(this.exact);
    if (until <= this.pen) return;
    const from = this.pen;
    this.pen = until;                  // first: drawing may find that the sheet has to be drawn anew
    this.#draw(from, until);
    this.#clearAhead();
  }

  /**
   * A new ring (first samples, a new segment, another device): go on drawing where the pen is.
   * @param {SampleRing} ring
   */
  #adopt(ring) {
    const wasS = this.ring ? this.#sheetS(this.pen) : 0;
    this.ring = ring;
    this.parts = null;
    this.pen = ring.firstIndex;
    this.exact = ring.firstIndex;
    this.origin = ring.firstIndex - Math.round((wasS + (wasS ? .1 : 0)) * ring.rateHz);
    this.#fit(ring);
  }

  /**
   * Seconds from the sheet's left edge.
   * @param {number} index
   */
  #sheetS(index) {
    if (!this.ring) return 0;
    const s = (index - this.origin) / this.ring.rateHz;
    return this.store ? ((s % this.seconds) + this.seconds) % this.seconds : s;
  }

  #clearAhead() {
    const ctx = /** @type {CanvasRenderingContext2D} */ (this.trace.getContext('2d'));
    const x = this.left + this.#sheetS(this.pen) * this.mmPerS * this.mm, wide = AHEAD_MM * this.mm;
    const end = this.left + this.seconds * this.mmPerS * this.mm;
    ctx.clearRect(x + 1, 0, Math.min(wide, end - x + 2), this.height);
    if (x + wide > end) ctx.clearRect(this.left - 1, 0, x + wide - end + 1, this.height);
    this.bar.style.transform = `translateX(${Math.min(x, end - this.bar.offsetWidth)}px)`;
  }

  #redraw() {
    const ctx = this.trace.getContext('2d');
    if (!ctx || !this.width) return;
    ctx.clearRect(0, 0, this.width, this.height);
    if (!this.ring) return;
    if (this.store) {
      const held = Math.floor(this.seconds * this.ring.rateHz - (AHEAD_MM / this.mmPerS) * this.ring.rateHz);
      this.#draw(Math.max(this.ring.firstIndex, this.pen - held), this.pen);
      this.#clearAhead();
    } else {
      this.origin = Math.round(this.startS * this.ring.rateHz);
      this.#draw(this.origin, Math.min(this.ring.nextIndex, this.origin + Math.floor(this.seconds * this.ring.rateHz)));
    }
  }

  /**
   * Where drawing takes its counts from: the ring as it is, or as the chosen filter shows it.
   * @param {SampleRing} ring @returns {(index: number, channel: number) => number}
   */
  #counts(ring) {
    if (this.filter === 'none') return (index, channel) => ring.count(index, channel);
    if (this.filtered?.ring !== ring || this.filtered.name !== this.filter) this.filtered = new FilteredRing(ring, this.filter);
    const { filtered } = this;
    filtered.catchUp();
    return (index, channel) => filtered.count(index, channel);
  }

  /**
   * Draw samples [from, until), joined to the one before.
   * @param {number} from
   * @param {number} until
   */
  #draw(from, until) {
    const ring = /** @type {SampleRing} */ (this.ring);
    const ctx = /** @type {CanvasRenderingContext2D} */ (this.trace.getContext('2d'));
    const countOf = this.#counts(ring);
    this.parts ??= this.cells.map((cell) => (leadsWithout(this.off).has(cell.lead) ? null : recipe(cell.lead, ring.channels)));
    ctx.strokeStyle = this.colour;
    ctx.lineWidth = this.#penPx();
    ctx.lineJoin = 'round';
    const pxPerCount = ((ring.resolution / 1000) * this.mmPerMv) * this.mm;
    const pxPerS = this.mmPerS * this.mm;
    let highest = 0;
    ctx.beginPath();
    this.cells.forEach((cell, k) => {
      const parts = this.parts?.[k];
      if (!parts) return;
      let down = false, before = -1;
      const top = cell.row === 0;
      for (let i = Math.max(ring.firstIndex, from - 1); i < until; i += 1) {
        const s = this.#sheetS(i);
        const count = s >= cell.fromS && s < cell.untilS ? leadCount(parts, (channel) => countOf(i, channel)) : NaN;
        if (Number.isNaN(count) || s < before) down = false;
        before = s;
        if (Number.isNaN(count)) continue;
        const x = cell.xPx + (s - cell.fromS) * pxPerS, y = cell.yPx - count * pxPerCount;
        if (top) highest = Math.max(highest, count * pxPerCount);
        if (down) ctx.lineTo(x, y); else ctx.moveTo(x, y);
        down = true;
      }
    });
    ctx.stroke();
    this.#makeRoom(highest / this.mm);
  }

  /**
   * A wave that the upper edge cut off moves the rows down, once for each higher one, as far as the sheet allows.
   * @param {number} highestMm above the baseline of the top row
   */
  #makeRoom(highestMm) {
    const top = this.cells[0];
    if (!top || highestMm <= this.headMm) return;
    const cut = highestMm * this.mm > top.yPx;
    this.headMm = highestMm;
    if (!cut) return;
    const before = top.yPx;
    this.#layCells();
    if (this.cells[0].yPx === before) return;
    this.#drawPaper();
    this.#drawOff();
    this.#redraw();
  }
}

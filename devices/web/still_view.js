// A frozen picture with what is measured on it, and the tools to measure more. The touchscreen and the specialist's
// page show the same: an image of the record, drawn over by this module.
//
//   const view = new StillView(figure, { say, keep: (tool, points) => ... });    figure: an element, empty
//   view.show(still, src);            still: { sha256, width, height, pixel_mm, measurements }; src: of the image
//   view.tool = 'distance' | 'ellipse' | 'line' | '';      a line is kept when it is drawn, measurements by store()

import { MOST_LINE_POINTS, POINTS, inWords, measure } from './measuring.js';

const SVG = 'http://www.w3.org/2000/svg';
const GRAB_PX = 24, TAP_PX = 8;

/** @typedef {{ measurement?: string, tool: string, points: [number, number][], sizes: import('./measuring.js').Sizes }} Measured */
/** @typedef {{ sha256: string, width: number, height: number, pixel_mm: [number, number] | null, measurements: Measured[] }} Still */

export class StillView {
  /**
   * @param {HTMLElement} figure
   * @param {{ say: { circumference: string, area: string, comma: string, line_kept: string }, keep: (tool: string, points: [number, number][]) => void }} options
   */
  constructor(figure, { say, keep }) {
    this.say = say;
    this.keep = keep;
    this.svg = document.createElementNS(SVG, 'svg');
    this.svg.setAttribute('class', 'still-view');
    this.image = document.createElementNS(SVG, 'image');
    this.kept = document.createElementNS(SVG, 'g');
    this.draft = document.createElementNS(SVG, 'g');
    this.draft.setAttribute('class', 'draft');
    this.svg.append(this.image, this.kept, this.draft);
    figure.append(this.svg);
    /** @type {Still | null} */
    this.still = null;
    /** @type {[number, number][]} */
    this.points = [];
    this.moving = -1;
    this.chosen = '';
    /** @type {() => void} */
    this.changed = () => {};
    this.svg.addEventListener('pointerdown', (event) => this.#down(event));
    this.svg.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel']) this.svg.addEventListener(end, () => this.#up());
  }

  /** Sizes of what is being drawn, null before it is complete. */
  get sizes() { return this.still?.pixel_mm ? measure(this.chosen, this.points, this.still.pixel_mm) : null; }

  get tool() { return this.chosen; }

  set tool(tool) {
    this.chosen = this.still?.pixel_mm || tool === 'line' ? tool : '';
    this.points = [];
    this.moving = -1;
    this.svg.toggleAttribute('data-measuring', Boolean(this.chosen));
    this.#draw();
  }

  /** @param {Still} still @param {string} src */
  show(still, src) {
    const other = still.sha256 !== this.still?.sha256;
    this.still = still;
    this.svg.dataset.sha256 = still.sha256;
    this.svg.setAttribute('viewBox', `0 0 ${still.width} ${still.height}`);
    if (this.image.getAttribute('href') !== src) this.image.setAttribute('href', src);
    this.image.setAttribute('width', String(still.width));
    this.image.setAttribute('height', String(still.height));
    this.kept.replaceChildren(...still.measurements.map((one, index) => this.#shape(one.tool, one.points, `${index + 1}`)));
    if (other) this.tool = ''; else this.#draw();
  }

  /** Keep what has been drawn; false when it is not complete. */
  store() {
    if (!this.sizes || this.points.length !== POINTS[/** @type {'distance'} */ (this.chosen)]) return false;
    this.keep(this.chosen, this.points);
    this.points = [];
    this.#draw();
    return true;
  }

  /** @param {PointerEvent} event @returns {[number, number] | null} */
  #at(event) {
    const box = this.svg.getScreenCTM();
    if (!box || !this.still) return null;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(box.inverse());
    return [Math.min(this.still.width, Math.max(0, at.x)), Math.min(this.still.height, Math.max(0, at.y))];
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const at = this.#at(event);
    if (!this.chosen || !at) return;
    if (this.chosen === 'line') {
      this.points = [at];
      this.moving = 0;
      this.svg.setPointerCapture(event.pointerId);
      return;
    }
    const perPx = this.svg.getScreenCTM()?.a ?? 1;
    this.moving = this.points.findIndex((point) => Math.hypot(point[0] - at[0], point[1] - at[1]) * perPx < GRAB_PX);
    const wanted = POINTS[/** @type {'distance'} */ (this.chosen)];
    if (this.moving < 0) {
      if (this.points.length >= wanted) this.points = [];
      if (!this.points.length) this.points.push([...at]);
      this.points.push(at);
      this.moving = this.points.length - 1;
    }
    this.svg.setPointerCapture(event.pointerId);
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.moving < 0 ? null : this.#at(event);
    if (!at) return;
    if (this.chosen === 'line') {
      const last = this.points[this.points.length - 1], step = (this.still?.width ?? 1000) / 200;
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) < step) return;
      this.points.push(at);
    } else this.points[this.moving] = at;
    this.#draw();
  }

  #up() {
    this.moving = -1;
    if (this.chosen !== 'line') { this.#tapped(); return; }
    if (this.points.length < 2) return;
    this.keep('line', thinned(this.points, MOST_LINE_POINTS));
    this.points = [];
    this.#draw();
  }

  /** The first end was tapped, not drawn: the next tap is the other one. */
  #tapped() {
    const [a, b] = this.points, perPx = this.svg.getScreenCTM()?.a ?? 1;
    if (this.points.length !== 2 || Math.hypot(b[0] - a[0], b[1] - a[1]) * perPx >= TAP_PX) return;
    this.points.pop();
    this.#draw();
  }

  #draw() {
    this.draft.replaceChildren(...(this.points.length ? [this.#shape(this.chosen, this.points, '')] : []));
    this.changed();
  }

  /**
   * @param {string} tool @param {[number, number][]} points @param {string} number
   * @returns {SVGElement}
   */
  #shape(tool, points, number) {
    const group = document.createElementNS(SVG, 'g');
    const [a, b, c] = points;
    if (tool === 'line') {
      group.append(element('path', { d: `M${points.map(([x, y]) => `${x} ${y}`).join('L')}`, class: 'line' }));
      return group;
    }
    if (b) group.append(element('path', { d: `M${a[0]} ${a[1]}L${b[0]} ${b[1]}`, class: tool === 'ellipse' ? 'axis' : 'line' }));
    const pixel = this.still?.pixel_mm;
    if (tool === 'ellipse' && c && pixel) group.append(element('path', { d: ellipsePath(a, b, c, pixel), class: 'line' }));
    const arm = (this.still?.width ?? 1000) / 90;
    for (const [x, y] of points) group.append(element('path', { d: `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`, class: 'end' }));
    if (number) {
      const words = element('text', { x: String(b[0] + 1.4 * arm), y: String(b[1] - arm), 'font-size': String(arm * 2.6) });
      words.textContent = number;
      group.append(words);
    }
    return group;
  }
}

/**
 * At most `most` of the points, the first and the last among them.
 * @param {[number, number][]} points @param {number} most
 */
export function thinned(points, most) {
  if (points.length <= most) return points;
  return Array.from({ length: most }, (_, n) => points[Math.round(n * (points.length - 1) / (most - 1))]);
}

/**
 * The ellipse with the axis a-b that reaches to c at its side, as a path in pixels, which need not be square.
 * @param {[number, number]} a @param {[number, number]} b @param {[number, number]} c @param {[number, number]} pixelMm
 */
function ellipsePath(a, b, c, pixelMm) {
  const [px, py] = pixelMm;
  const mid = [(a[0] + b[0]) / 2 * px, (a[1] + b[1]) / 2 * py];
  const half = [(b[0] - a[0]) / 2 * px, (b[1] - a[1]) / 2 * py];
  const length = Math.hypot(half[0], half[1]) || 1;
  const away = Math.abs(half[0] * (c[1] * py - mid[1]) - half[1] * (c[0] * px - mid[0])) / length;
  const side = [-half[1] / length * away, half[0] / length * away];
  let path = '';
  for (let step = 0; step < 72; step += 1) {
    const angle = step / 72 * 2 * Math.PI, cos = Math.cos(angle), sin = Math.sin(angle);
    const x = (mid[0] + half[0] * cos + side[0] * sin) / px, y = (mid[1] + half[1] * cos + side[1] * sin) / py;
    path += `${step ? 'L' : 'M'}${x.toFixed(2)} ${y.toFixed(2)}`;
  }
  return `${path}Z`;
}

/**
 * The rows of a list of measurements, numbered as on the picture.
 * @param {HTMLElement} list @param {Measured[]} measurements @param {{ circumference: string, area: string, comma: string, line_kept: string }} say
 */
export function listMeasurements(list, measurements, say) {
  list.replaceChildren(...measurements.map((one, index) => {
    const row = document.createElement('li');
    row.dataset.testid = 'measurement';
    const number = Object.assign(document.createElement('span'), { className: 'badge', textContent: String(index + 1) });
    const words = Object.assign(document.createElement('b'), { textContent: one.tool === 'line' ? say.line_kept : inWords(one.sizes, say) });
    row.append(number, words);
    return row;
  }));
}

/** @param {string} name @param {Record<string, string>} attributes */
function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Pointer and lines over a picture, in ten-thousandths of its width and height: the same spot at every size. The twin of
// telemedicine/marks.py.
//
//   const layer = new MarkLayer(video, 'ultrasound');     an SVG over the video, where the video shows its picture
//   layer.take(message);                                  what somebody else has drawn
//   layer.draw('pen' | 'laser' | null, (mark) => ...);    draw here; marks go out without their number

const SCALE = 10_000, VANISHES_MS = 30_000, FADES_MS = 3_000, POINTER_MS = 1_500, EVERY_MS = 33, LEAST_STEP = 25;
const SVG = 'http://www.w3.org/2000/svg';

/** @typedef {{ author: string, by: string, stroke: number, points: [number, number][], touchedMs: number, line: SVGElement }} Line */

export class MarkLayer {
  /** @param {HTMLVideoElement} video @param {string} feed */
  constructor(video, feed) {
    this.video = video;
    this.feed = feed;
    this.svg = document.createElementNS(SVG, 'svg');
    this.svg.setAttribute('class', 'marks');
    this.svg.dataset.marks = feed;
    this.svg.dataset.count = '0';
    /** @type {Line[]} */
    this.lines = [];
    /** @type {Map<string, { x: number, y: number, by: string, untilMs: number, dot: SVGElement }>} */
    this.pointers = new Map();
    /** @type {((mark: any) => void) | null} */
    this.send = null;
    this.tool = '';
    this.nextStroke = Date.now();
    /** @type {Line | null} */
    this.drawing = null;
    /** @type {[number, number][]} */
    this.unsent = [];
    this.sentMs = 0;
    this.follow();
    video.addEventListener('resize', () => this.#fit());
    this.#fit();
    this.svg.addEventListener('pointerdown', (event) => this.#down(event));
    this.svg.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel', 'pointerleave']) this.svg.addEventListener(end, () => this.#up());
    setInterval(() => this.#fade(), 250);
  }

  /** The video stands elsewhere now: the marks stay with it. */
  follow() { this.video.insertAdjacentElement('afterend', this.svg); }

  /** Lines of `feed`, for tests and for a still. */
  get strokes() { return this.lines.map(({ stroke, points, by }) => ({ stroke, points, by })); }

  /** @param {any} message */
  take(message) {
    if (message.type === 'marks') {
      for (const line of this.lines) line.line.remove();
      this.lines = [];
      for (const stroke of message.strokes) if (stroke.feed === this.feed) this.#add(stroke.author, stroke.by, stroke.stroke, stroke.points);
      this.#counted();
    }
    if (message.feed !== this.feed) return;
    if (message.type === 'stroke') this.#add(message.author, message.by, message.stroke, message.points);
    else if (message.type === 'point') this.#point(message.author, message.by, message.x, message.y);
    else if (message.type === 'lift') this.#lift(message.author);
    else if (message.type === 'undo') this.#remove(this.lines.filter((line) => line.author === message.author).slice(-1));
    else if (message.type === 'clear') this.#remove(this.lines);
  }

  /** @param {'pen' | 'laser' | null} tool @param {(mark: any) => void} [send] */
  draw(tool, send) {
    if (!tool) this.#up();
    this.tool = tool ?? '';
    this.send = send ?? null;
    this.svg.toggleAttribute('data-drawing', Boolean(tool));
  }

  undo() { this.#order('undo'); this.take({ type: 'undo', feed: this.feed, author: '' }); }

  clear() { this.#order('clear'); this.take({ type: 'clear', feed: this.feed }); }

  /** @param {string} type */
  #order(type) { this.send?.({ type, feed: this.feed }); }

  /** In units of the picture's width: a picture that comes smaller (another rung) is the same drawing ground. */
  #fit() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const viewBox = `0 0 ${SCALE} ${Math.round(SCALE * (width ? height / width : .75))}`;
    if (viewBox === this.svg.getAttribute('viewBox')) return;
    this.svg.setAttribute('viewBox', viewBox);
    for (const line of this.lines) this.#trace(line);
  }

  get #size() {
    const { width, height } = this.svg.viewBox.baseVal;
    return { width, height };
  }

  /** @param {PointerEvent} event @returns {[number, number] | null} null beside the picture */
  #place(event) {
    const matrix = this.svg.getScreenCTM();
    if (!matrix) return null;
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const at = /** @type {[number, number]} */ ([Math.round((x / this.#size.width) * SCALE), Math.round((y / this.#size.height) * SCALE)]);
    return at.every((part) => part >= 0 && part <= SCALE) ? at : null;
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const at = this.#place(event);
    if (!this.send || !at) return;
    event.preventDefault();
    if (this.tool !== 'pen') { this.#laser(at); return; }
    this.svg.setPointerCapture(event.pointerId);
    this.drawing = this.#add('', '', this.nextStroke += 1, [at]);
    this.unsent = [at];
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.#place(event);
    if (!this.send || !at) return;
    if (this.tool === 'laser') { this.#laser(at); return; }
    const last = this.drawing?.points.at(-1);
    if (!this.drawing || !last || Math.hypot(at[0] - last[0], at[1] - last[1]) < LEAST_STEP) return;
    this.#add('', '', this.drawing.stroke, [at]);
    this.unsent.push(at);
    if (performance.now() - this.sentMs >= EVERY_MS) this.#flush();
  }

  #up() {
    if (this.drawing) { this.#flush(); this.drawing = null; }
    else if (this.tool === 'laser') { this.#order('lift'); this.#lift(''); }
  }

  /** @param {[number, number]} at */
  #laser([x, y]) {
    this.#point('', '', x, y);
    if (performance.now() - this.sentMs < EVERY_MS) return;
    this.sentMs = performance.now();
    this.send?.({ type: 'point', feed: this.feed, x, y });
  }

  #flush() {
    while (this.drawing && this.unsent.length) {
      this.send?.({ type: 'stroke', feed: this.feed, stroke: this.drawing.stroke, points: this.unsent.splice(0, 100) });
    }
    this.sentMs = performance.now();
  }

  /** @param {string} author @param {string} by @param {number} stroke @param {[number, number][]} points @returns {Line} */
  #add(author, by, stroke, points) {
    let found = this.lines.find((line) => line.author === author && line.stroke === stroke);
    if (!found) {
      const line = document.createElementNS(SVG, 'path');
      line.append(Object.assign(document.createElementNS(SVG, 'title'), { textContent: by }));
      this.svg.append(line);
      found = { author, by, stroke, points: [], touchedMs: 0, line };
      this.lines.push(found);
    }
    found.points.push(...points);
    found.touchedMs = performance.now();
    this.#trace(found);
    this.#counted();
    return found;
  }

  /** @param {Line} line */
  #trace({ points, line }) {
    const { width, height } = this.#size;
    const [first, ...rest] = points.map(([x, y]) => `${((x / SCALE) * width).toFixed(1)} ${((y / SCALE) * height).toFixed(1)}`);
    line.setAttribute('d', `M${first}${rest.length ? `L${rest.join(' ')}` : 'h.1'}`);
  }

  /** @param {Line[]} gone */
  #remove(gone) {
    for (const line of gone) line.line.remove();
    this.lines = this.lines.filter((line) => !gone.includes(line));
    this.#counted();
  }

  /** @param {string} author @param {string} by @param {number} x @param {number} y */
  #point(author, by, x, y) {
    const { width, height } = this.#size;
    let pointer = this.pointers.get(author);
    if (!pointer) {
      const dot = document.createElementNS(SVG, 'circle');
      dot.setAttribute('class', 'pointer');
      this.svg.append(dot);
      pointer = { x, y, by, untilMs: 0, dot };
      this.pointers.set(author, pointer);
    }
    pointer.untilMs = performance.now() + POINTER_MS;
    pointer.dot.setAttribute('r', String(Math.max(4, width / 90)));
    pointer.dot.setAttribute('cx', ((x / SCALE) * width).toFixed(1));
    pointer.dot.setAttribute('cy', ((y / SCALE) * height).toFixed(1));
    this.svg.dataset.pointer = `${x},${y}`;
  }

  /** @param {string} author */
  #lift(author) {
    this.pointers.get(author)?.dot.remove();
    this.pointers.delete(author);
    if (!this.pointers.size) delete this.svg.dataset.pointer;
  }

  #fade() {
    const now = performance.now();
    for (const [author, pointer] of this.pointers) if (now > pointer.untilMs) this.#lift(author);
    this.#remove(this.lines.filter((line) => line !== this.drawing && now - line.touchedMs > VANISHES_MS));
    for (const line of this.lines) line.line.classList.toggle('fading', now - line.touchedMs > VANISHES_MS - FADES_MS);
  }

  #counted() { this.svg.dataset.count = String(this.lines.length); }
}

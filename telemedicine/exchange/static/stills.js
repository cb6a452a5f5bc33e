// Frozen pictures of the consultation: the very image that the van keeps, its hash checked here, and measuring on it.
//
//   new Stills(media)          "freeze" over the ultrasound asks the van for a still; when somebody in the van freezes,
//                              it is shown here as well; closing it shows the live picture again

import { MOST_LINE_POINTS, inWords } from '/shared/measuring.js';
import { StillView, listMeasurements, thinned } from '/shared/still_view.js';
import { byId, t, whyRefused } from './frame.js';

const HEAD_BYTES = 36;
const TOOLS = ['line', 'distance', 'ellipse'], TOLD_FOR_MS = 8000;

/** @typedef {import('/shared/still_view.js').Still & { bytes: number, who: string, depth: string, at: string }} Still */

export class Stills {
  /**
   * @param {import('./media_session.js').MediaSession} media
   * @param {() => [number, number][][]} drawn lines over the live picture, in ten-thousandths of it; kept with the still
   */
  constructor(media, drawn = () => []) {
    this.media = media;
    this.drawn = drawn;
    /** @type {[number, number][][]} */
    this.marked = [];
    /** @type {Map<string, Still>} */
    this.known = new Map();
    /** @type {Map<string, Uint8Array>} */
    this.arriving = new Map();
    /** @type {Map<string, string>} */
    this.addresses = new Map();
    this.shown = '';
    this.told = false;                          // whether the van has said which stills there are
    this.asked = false;
    this.measuring = false;                     // the still that comes is wanted for measuring
    const say = { circumference: t('still_circumference'), area: t('still_area'), comma: t('still_comma'), line_kept: t('still_line_kept') };
    this.say = say;
    this.layer = element('div', 'feed still-layer');
    this.layer.hidden = true;
    this.layer.dataset.testid = 'still';
    this.figure = element('figure', 'still-figure');
    this.bar = element('div', 'still-bar');
    this.words = element('p', 'still-words');
    this.words.setAttribute('role', 'status');
    this.list = element('ol', 'still-measured');
    /** @type {Record<string, HTMLButtonElement>} */
    this.buttons = {};
    for (const name of ['line', 'distance', 'ellipse', 'keep', 'close']) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'btn';
      button.textContent = t(`still_${name}`);
      button.dataset.testid = `still-${name}`;
      this.buttons[name] = button;
      this.bar.append(button);
    }
    this.layer.append(this.figure, this.bar, this.words, this.list);
    this.film = element('div', 'still-film');
    this.film.dataset.testid = 'still-film';
    /** Beside the live picture, while there is no still to say it on. */
    this.note = element('p', 'still-note');
    this.note.setAttribute('role', 'status');
    this.note.dataset.testid = 'still-note';
    this.hush = 0;
    byId('stage').append(this.layer, this.film, this.note);
    this.view = new StillView(this.figure, { say, keep: (tool, points) => this.#send({ type: 'measure', sha256: this.shown, tool, points: points.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]) }) });
    this.view.changed = () => this.#describe();
    for (const tool of TOOLS) {
      this.buttons[tool].addEventListener('click', () => {
        this.view.tool = this.view.tool === tool ? '' : tool;
        for (const one of TOOLS) this.buttons[one].setAttribute('aria-pressed', String(this.view.tool === one));
      });
    }
    this.buttons.keep.addEventListener('click', () => this.view.store());
    this.buttons.close.addEventListener('click', () => this.close());
    byId('freeze').addEventListener('click', () => setTimeout(() => {      // after the page has frozen what it shows
      if (byId('freeze').getAttribute('aria-pressed') !== 'true') this.close();
      else if (byId('stage').dataset.view === 'ultrasound') {
        this.marked = this.drawn();
        this.asked = this.#send({ type: 'freeze' });
        this.#tell(t(this.asked ? 'still_asked' : 'still_no_link'));
      }
    }));
    byId('measure').addEventListener('click', () => this.#measure());
    media.on('stills', (data) => { if (typeof data === 'string') this.#take(JSON.parse(data)); else void this.#piece(new Uint8Array(data)); });
    media.on('state', (state) => {
      if (state === 'connected') return;
      this.arriving.clear();
      if (this.asked) this.#tell(t('still_no_link'));
      this.asked = false;
    });
  }

  /** Measuring is done on a still: freeze, then choose the distance. */
  #measure() {
    if (byId('stage').dataset.view !== 'ultrasound') return;
    this.measuring = true;
    if (this.layer.hidden) byId('freeze').click(); else this.#draw();
  }

  close() {
    this.measuring = false;
    this.shown = '';
    this.layer.hidden = true;
    if (byId('freeze').getAttribute('aria-pressed') === 'true') byId('freeze').click();
  }

  /** @param {any} message */
  #take(message) {
    if (message.type === 'refused') { this.#tell(whyRefused(message)); this.asked = false; return; }
    if (message.type !== 'stills') return;
    const before = new Set(this.known.keys());
    this.known = new Map(message.stills.map((/** @type {Still} */ still) => [still.sha256, still]));
    const fresh = message.stills.filter((/** @type {Still} */ still) => !before.has(still.sha256)).at(-1);
    if (fresh && this.asked) this.#keepMarks(fresh);
    if (fresh && (this.told || this.asked)) this.show(fresh.sha256);
    else if (this.shown) this.show(this.shown);       // also again, when the link broke while it came
    this.told = true;
    this.asked = false;
    this.#list();
  }

  /**
   * What was drawn over the live picture stays with the still: there the picture stands between black borders.
   * @param {Still} still
   */
  #keepMarks(still) {
    const video = /** @type {HTMLVideoElement | null} */ (document.querySelector('video[data-feed="ultrasound"]'));
    const wide = video?.videoWidth || still.width, high = video?.videoHeight || still.height;
    const scale = Math.min(wide / still.width, high / still.height);
    const left = (wide - still.width * scale) / 2, top = (high - still.height * scale) / 2;
    /** @param {number} at @param {number} most */
    const within = (at, most) => Math.max(0, Math.min(most, Math.round(at * 10) / 10));
    for (const line of this.marked) {
      const points = thinned(line, MOST_LINE_POINTS).map(([x, y]) => [
        within((x / 10_000 * wide - left) / scale, still.width), within((y / 10_000 * high - top) / scale, still.height),
      ]);
      if (points.length > 1) this.#send({ type: 'measure', sha256: still.sha256, tool: 'line', points });
    }
    this.marked = [];
  }

  /** @param {string} sha256 */
  show(sha256) {
    this.shown = sha256;
    if (!this.addresses.has(sha256) && !this.arriving.has(sha256)) {
      const size = this.known.get(sha256)?.bytes ?? 0;
      if (size && this.#send({ type: 'fetch', sha256 })) this.arriving.set(sha256, new Uint8Array(size));
    }
    this.#draw();
    this.#list();
  }

  /** @param {Uint8Array} data */
  async #piece(data) {
    const sha256 = hex(data.subarray(0, 32)), whole = this.arriving.get(sha256);
    if (!whole) return;
    const offset = new DataView(data.buffer, data.byteOffset).getUint32(32), piece = data.subarray(HEAD_BYTES);
    if (offset + piece.length > whole.length) { this.arriving.delete(sha256); return; }
    whole.set(piece, offset);
    if (sha256 === this.shown) this.#tell(t('still_arriving', { percent: Math.round((offset + piece.length) / whole.length * 100) }));
    if (offset + piece.length < whole.length) return;
    this.arriving.delete(sha256);
    const found = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', whole)));
    if (found !== sha256) { this.#tell(t('still_damaged')); return; }
    this.addresses.set(sha256, URL.createObjectURL(new Blob([whole], { type: 'image/png' })));
    if (sha256 === this.shown) this.#draw();
  }

  /**
   * On the still that is shown, else over the live picture for a while.
   * @param {string} words
   */
  #tell(words) {
    this.words.textContent = words;
    this.note.textContent = this.layer.hidden ? words : '';
    clearTimeout(this.hush);
    this.hush = window.setTimeout(() => { this.note.textContent = ''; }, TOLD_FOR_MS);
  }

  #draw() {
    const still = this.known.get(this.shown), address = this.addresses.get(this.shown);
    this.layer.hidden = !still || !address;
    if (!still || !address) return;
    this.note.textContent = '';
    this.layer.dataset.sha256 = still.sha256;
    this.view.show(still, address);
    for (const name of ['distance', 'ellipse', 'keep']) this.buttons[name].hidden = !still.pixel_mm;
    listMeasurements(this.list, still.measurements, this.say);
    if (this.measuring) { this.measuring = false; if (still.pixel_mm && !this.view.tool) this.buttons.distance.click(); }
    this.#describe();
  }

  #describe() {
    const still = this.known.get(this.shown);
    this.buttons.keep.disabled = !this.view.sizes;
    if (!still) return;
    const who = `${still.who.split(/[,(]/)[0].trim()} ${still.depth}`.trim();
    this.words.textContent = this.view.sizes ? inWords(this.view.sizes, this.say)
      : this.view.tool ? t(`still_hint_${this.view.tool}`) : still.pixel_mm ? who : t('still_not_calibrated');
  }

  #list() {
    this.film.replaceChildren(...[...this.known.keys()].map((sha256, index) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = String(index + 1);
      button.setAttribute('aria-label', t('still_number', { n: index + 1 }));
      button.setAttribute('aria-pressed', String(sha256 === this.shown));
      button.addEventListener('click', () => this.show(sha256));
      return button;
    }));
  }

  /** @param {object} message */
  #send(message) {
    const channel = this.media.stills;
    if (channel?.readyState !== 'open') return false;
    channel.send(JSON.stringify(message));
    return true;
  }
}

/** @param {string} name @param {string} className */
function element(name, className) { return Object.assign(document.createElement(name), { className }); }

/** @param {Uint8Array} bytes */
function hex(bytes) { return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(''); }

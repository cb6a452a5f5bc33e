// A finger's signature: strokes on a canvas, out as a PNG with dark ink on white, whatever the theme.
//
//   const pad = new SignaturePad(canvas, () => button.disabled = pad.empty);
//   pad.clear();   await pad.png();   // Blob

export class SignaturePad {
  /** @param {HTMLCanvasElement} canvas @param {() => void} [changed] after each stroke and on clear */
  constructor(canvas, changed = () => {}) {
    this.canvas = canvas;
    this.changed = changed;
    /** @type {[number, number][][]} points in parts of the canvas */
    this.strokes = [];
    canvas.style.touchAction = 'none';
    canvas.addEventListener('pointerdown', (event) => this.#begin(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => this.#end());
    new ResizeObserver(() => this.#draw()).observe(canvas);
    this.writing = false;
  }

  /** A dot is no signature: some length of line is asked for. */
  get empty() { return this.strokes.reduce((sum, stroke) => sum + length(stroke), 0) < .15; }

  clear() { this.strokes = []; this.#draw(); this.changed(); }

  /** @returns {Promise<Blob>} image/png, 600 px wide, cut to nothing: the whole pad */
  png() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const sheet = document.createElement('canvas');
    sheet.width = 600;
    sheet.height = Math.round((600 * height) / width);
    const ctx = /** @type {CanvasRenderingContext2D} */ (sheet.getContext('2d'));
    ctx.fillStyle = '#ffffff';
    ctx.fillRect(0, 0, sheet.width, sheet.height);
    this.#ink(ctx, sheet.width, sheet.height, '#0f1e27', 4);
    return new Promise((resolve, reject) => sheet.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no picture of the signature'))), 'image/png'));
  }

  /** @param {PointerEvent} event @returns {[number, number]} */
  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.writing = true;
    this.strokes.push([this.#point(event)]);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.writing) return;
    this.strokes[this.strokes.length - 1].push(this.#point(event));
    this.#draw();
  }

  #end() {
    if (!this.writing) return;
    this.writing = false;
    this.#draw();
    this.changed();
  }

  #draw() {
    const { width, height } = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const ctx = this.canvas.getContext('2d');
    if (!ctx) return;
    this.#ink(ctx, this.canvas.width, this.canvas.height, getComputedStyle(this.canvas).color, 3 * ratio);
  }

  /** @param {CanvasRenderingContext2D} ctx @param {number} width @param {number} height @param {string} colour @param {number} weight */
  #ink(ctx, width, height, colour, weight) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = weight;
    ctx.lineJoin = ctx.lineCap = 'round';
    for (const stroke of this.strokes) {
      ctx.beginPath();
      ctx.moveTo(stroke[0][0] * width, stroke[0][1] * height);
      for (const [x, y] of stroke.slice(1)) ctx.lineTo(x * width, y * height);
      ctx.stroke();
    }
  }
}

/** @param {[number, number][]} stroke */
function length(stroke) {
  let sum = 0;
  for (let i = 1; i < stroke.length; i += 1) sum += Math.hypot(stroke[i][0] - stroke[i - 1][0], stroke[i][1] - stroke[i - 1][1]);
  return sum;
}

// In a session: freeze, and what either side freezes in the place of the live picture, with the measuring tools. The
// page is not left, so voice and pictures go on.

import { inWords } from '/shared/measuring.js';
import { StillView, listMeasurements } from '/shared/still_view.js';
import { feed } from './frame.js';

const TOOLS = ['distance', 'ellipse', 'line'];

/** @param {HTMLElement} figure the live picture @param {any} say */
function over(figure, say) {
  const layer = make('div', 'still-over', 'still-over'), bar = make('div', 'still-bar'), list = make('ol', 'still-list');
  const now = make('p', 'still-now'), freeze = button('freeze', say.freeze);
  layer.hidden = true;
  /** @type {any} */
  let still = null;
  const view = new StillView(layer, {
    say,
    keep: async (tool, points) => {
      const answer = await fetch(`/ultrasound/${still.sha256}/measure`, {
        method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'application/json' }, body: JSON.stringify({ tool, points }),
      });
      if (answer.ok) await show(still.sha256); else now.textContent = (await answer.json()).title ?? '';
    },
  });
  /** @type {Record<string, HTMLButtonElement>} */
  const buttons = Object.fromEntries([...TOOLS, 'keep', 'live'].map((name) => [name, button(`still-${name}`, say[name])]));
  bar.append(...Object.values(buttons), now);
  layer.append(bar, list);
  figure.append(layer, freeze);

  /** @param {string} sha256 */
  async function show(sha256) {
    const answer = await fetch(`/ultrasound/${sha256}/told`, { headers: { 'X-Background': '1' } });
    if (!answer.ok) return;
    still = await answer.json();
    layer.dataset.sha256 = sha256;
    for (const name of ['distance', 'ellipse', 'keep']) buttons[name].hidden = !still.pixel_mm;
    listMeasurements(list, still.measurements, say);
    view.show(still, `/ultrasound/images/${sha256}`);
    layer.hidden = false;
    freeze.hidden = true;
  }

  view.changed = () => {
    buttons.keep.disabled = !view.sizes;
    now.textContent = view.sizes ? inWords(view.sizes, say) : view.tool ? say[`hint_${view.tool}`] : '';
    for (const tool of TOOLS) buttons[tool].setAttribute('aria-pressed', String(view.tool === tool));
  };
  for (const tool of TOOLS) buttons[tool].addEventListener('click', () => { view.tool = view.tool === tool ? '' : tool; });
  buttons.keep.addEventListener('click', () => view.store());
  buttons.live.addEventListener('click', () => { layer.hidden = true; freeze.hidden = false; still = null; });
  freeze.addEventListener('click', async () => {
    freeze.disabled = true;
    try {
      const answer = await fetch('/ultrasound/freeze', { method: 'POST', headers: { Accept: 'application/json', 'X-Background': '1' }, redirect: 'manual' });
      if (answer.type !== 'opaqueredirect') freeze.title = (await answer.json()).title ?? '';
    } finally { freeze.disabled = false; }
  });
  feed.on('capture', (message) => { if (message.what === 'ultrasound_still') show(message.sha256); });
  feed.on('image_measurement', (message) => { if (still && message.sha256 === still.sha256) show(still.sha256); });
}

/** @param {string} name @param {string} className @param {string} [testid] */
function make(name, className, testid) {
  const made = Object.assign(document.createElement(name), { className });
  if (testid) made.dataset.testid = testid;
  return made;
}

/** @param {string} testid @param {string} text @returns {HTMLButtonElement} */
function button(testid, text) {
  const made = /** @type {HTMLButtonElement} */ (make('button', 'btn', testid));
  made.type = 'button';
  made.textContent = text;
  return made;
}

const figure = document.querySelector('figure.shown[data-media]'), said = document.getElementById('still-words');
if (figure instanceof HTMLElement && said?.textContent) over(figure, JSON.parse(said.textContent));

// A still: measuring with a finger. What is kept is worked out again in the van and comes back on the feed.

import { StillView, listMeasurements } from '/shared/still_view.js';
import { inWords } from '/shared/measuring.js';
import { feed, words } from './frame.js';

const say = /** @type {any} */ (words());
const figure = /** @type {HTMLElement} */ (document.getElementById('still'));
const list = /** @type {HTMLElement} */ (document.getElementById('measured'));
const now = document.getElementById('now');
const keep = /** @type {HTMLButtonElement | null} */ (document.getElementById('keep'));
const erase = /** @type {HTMLButtonElement | null} */ (document.getElementById('erase'));
const sha256 = figure.dataset.sha256 ?? '';
let still = JSON.parse(document.getElementById('told')?.textContent ?? '{}');

const view = new StillView(figure, {
  say,
  keep: async (tool, points) => {
    const answer = await fetch(`/ultrasound/${sha256}/measure`, {
      method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'application/json' }, body: JSON.stringify({ tool, points }),
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) await refresh();
    else if (now) now.textContent = [said.title, said.next_step].filter(Boolean).join(' · ');
  },
});
view.changed = () => {
  if (!now || !keep || !erase) return;
  now.textContent = view.sizes ? inWords(view.sizes, say) : say[view.tool ? `hint_${view.tool}` : 'hint_choose'];
  keep.disabled = !view.sizes;
  erase.disabled = !view.points.length;
};

function show() {
  view.show(still, `/ultrasound/images/${sha256}`);
  if (still.measurements.length) listMeasurements(list, still.measurements, say);
  else list.replaceChildren(Object.assign(document.createElement('li'), { textContent: say.measured_none }));
}

async function refresh() {
  const answer = await fetch(`/ultrasound/${sha256}/told`, { headers: { 'X-Background': '1' } });
  if (answer.ok) { still = await answer.json(); show(); }
}

for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-tool]'))) {
  button.addEventListener('click', () => {
    view.tool = view.tool === button.dataset.tool ? '' : button.dataset.tool ?? '';
    for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-tool]'))) one.setAttribute('aria-pressed', String(one.dataset.tool === view.tool));
  });
}
keep?.addEventListener('click', () => view.store());
erase?.addEventListener('click', () => { view.tool = view.tool; });
feed.on('image_measurement', (message) => { if (message.sha256 === sha256) refresh(); });
show();

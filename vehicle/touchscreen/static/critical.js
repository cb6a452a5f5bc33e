// A red value: the door opens when everything is said that has to be said.

import { SignaturePad } from '/shared/signature_pad.js';

/** @type {Map<HTMLFormElement, SignaturePad>} */
const pads = new Map();

/** @param {HTMLFormElement} form */
function judge(form) {
  const chosen = new Set([...form.querySelectorAll('input[name="action"]:checked')].map((box) => /** @type {HTMLInputElement} */ (box).value));
  for (const part of form.querySelectorAll('[data-for]')) {
    if (!(part instanceof HTMLElement)) continue;
    const wanted = chosen.has(part.dataset.for ?? '');
    if (part.hidden === wanted) part.hidden = !wanted;
  }
  const field = (/** @type {string} */ name) => /** @type {HTMLInputElement | null} */ (form.querySelector(`[name="${name}"]`));
  const untold = chosen.has('not_told') && !chosen.has('refused') && (!field('not_told_because') || Boolean(field('not_told_because')?.value.trim()));
  const told = !form.querySelector('input[value="told"]') || chosen.has('told') || untold;
  const called = !chosen.has('referred') || Boolean(field('receiver')?.value.trim() && field('read_back')?.checked);
  const pad = chosen.has('refused') ? padOf(form) : null;
  const refused = !chosen.has('refused') || Boolean(field('reason')?.value.trim() && pad && !pad.empty);
  const closing = ['referred', 'consulted', 'refused'].some((action) => chosen.has(action));
  const leave = form.querySelector('[data-needs-closing]');
  const lacks = chosen.has('not_told') && !told ? 'why' : !told || !closing ? 'choose' : !called ? 'call' : !refused ? 'refusal' : '';
  if (leave instanceof HTMLButtonElement) leave.disabled = lacks !== '';
  for (const said of form.querySelectorAll('[data-lacks]')) if (said instanceof HTMLElement) said.hidden = said.dataset.lacks !== lacks;
}

/** @type {Record<string, string[]>} told and not told exclude each other; who could not be told does not refuse */
const EXCLUDED = { told: ['not_told'], not_told: ['told', 'refused'], refused: ['not_told'] };

/** @param {HTMLFormElement} form @param {string} ticked */
function untick(form, ticked) {
  for (const other of EXCLUDED[ticked] ?? []) {
    const box = form.querySelector(`input[value="${other}"]:not(:disabled)`);
    if (box instanceof HTMLInputElement) box.checked = false;
  }
}

/** @param {HTMLFormElement} form */
function padOf(form) {
  const canvas = form.querySelector('[data-signature]');
  if (!(canvas instanceof HTMLCanvasElement)) return null;
  let pad = pads.get(form);
  if (!pad) {
    pad = new SignaturePad(canvas, () => judge(form));
    pads.set(form, pad);
    canvas.addEventListener('pointerdown', () => { form.querySelector('.pad-hint')?.setAttribute('hidden', ''); });
  }
  return pad;
}

for (const kind of ['change', 'input']) {
  document.addEventListener(kind, ({ target }) => {
    const form = target instanceof Element ? target.closest('form[data-critical]') : null;
    if (!(form instanceof HTMLFormElement)) return;
    if (target instanceof HTMLInputElement && target.checked) untick(form, target.value);
    judge(form);
  });
}

document.addEventListener('click', ({ target }) => {
  const chip = target instanceof Element ? target.closest('[data-chip]') : null;
  const form = chip?.closest('form');
  const words = chip?.closest('.part-of')?.querySelector('input.input');
  if (!(chip instanceof HTMLElement) || !(form instanceof HTMLFormElement) || !(words instanceof HTMLInputElement)) return;
  words.value = chip.dataset.chip ?? '';
  judge(form);
});

document.addEventListener('submit', async (event) => {              // the signature goes along as a PNG
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !('critical' in form.dataset)) return;
  const pad = pads.get(form), field = form.querySelector('[name="signature"]');
  const refused = form.querySelector('input[value="refused"]:checked');
  const again = event.submitter instanceof HTMLButtonElement && ['again', 'withdraw'].includes(event.submitter.name);
  if (again || !refused || !pad || pad.empty || !(field instanceof HTMLInputElement) || field.value) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const reader = new FileReader();
  reader.onload = () => { field.value = String(reader.result); form.submit(); };
  reader.readAsDataURL(await pad.png());
}, { capture: true });

for (const form of document.querySelectorAll('form[data-critical]')) if (form instanceof HTMLFormElement) judge(form);

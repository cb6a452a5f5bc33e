// Somebody of the village signs: the button waits for the signature, which goes along as a PNG.

import { SignaturePad } from '/shared/signature_pad.js';

const form = document.getElementById('signing'), keep = document.getElementById('keep'), canvas = document.getElementById('pad');

if (form instanceof HTMLFormElement && keep instanceof HTMLButtonElement && canvas instanceof HTMLCanvasElement) {
  const hint = form.querySelector('.pad-hint'), drawn = form.querySelector('input[name="signature"]'), name = form.querySelector('input[name="name"]');
  const pad = new SignaturePad(canvas, () => {
    hint?.toggleAttribute('hidden', pad.strokes.length > 0);
    keep.disabled = pad.empty;
  });
  canvas.addEventListener('pointerdown', () => hint?.setAttribute('hidden', ''));
  document.getElementById('clear')?.addEventListener('click', () => pad.clear());
  for (const chip of form.querySelectorAll('[data-name]')) {
    chip.addEventListener('click', () => { if (name instanceof HTMLInputElement && chip instanceof HTMLElement) name.value = chip.dataset.name ?? ''; });
  }
  form.addEventListener('submit', async (event) => {
    if (!(drawn instanceof HTMLInputElement) || drawn.value) return;
    event.preventDefault();
    const reader = new FileReader();
    reader.onload = () => { drawn.value = String(reader.result); form.submit(); };
    reader.readAsDataURL(await pad.png());
  });
}

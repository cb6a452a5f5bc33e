// Request of a consultation: the button says what is still missing; the signature goes along as a PNG.

import { SignaturePad } from '/shared/signature_pad.js';
import { words } from './frame.js';

const say = words();
const form = document.getElementById('request'), send = document.getElementById('send'), canvas = document.getElementById('pad');

if (form instanceof HTMLFormElement && send instanceof HTMLButtonElement && canvas instanceof HTMLCanvasElement) {
  const hint = /** @type {HTMLElement} */ (document.querySelector('.pad-hint'));
  const pad = new SignaturePad(canvas, () => check());
  const label = /** @type {HTMLElement} */ (send.querySelector('span')), ready = label.textContent;
  document.getElementById('clear')?.addEventListener('click', () => pad.clear());
  canvas.addEventListener('pointerdown', () => { hint.hidden = true; });
  const check = () => {
    const empty = [...form.querySelectorAll('textarea')].filter((field) => !field.value.trim()).length;
    const read = form.querySelector('input[name="read_aloud"]');
    const aloud = read instanceof HTMLInputElement && read.checked;
    const told = new FormData(form);
    const nameless = told.get('signed_by') === 'guardian' && !(String(told.get('guardian_name')).trim() && told.get('guardian_relation'));
    hint.hidden = pad.strokes.length > 0;
    send.disabled = empty > 0 || !aloud || nameless || pad.empty;
    label.textContent = empty ? say.fields.replace('{n}', String(empty)) : !aloud ? say.read : nameless ? say.guardian : pad.empty ? say.sign : ready;
  };

  form.addEventListener('input', check);

  let sending = false;
  form.addEventListener('submit', async (event) => {
    if (sending) return;
    event.preventDefault();
    sending = true;
    const picture = await pad.png();
    const field = form.querySelector('input[name="signature"]');
    const reader = new FileReader();
    reader.onload = () => {
      if (field instanceof HTMLInputElement) field.value = String(reader.result);
      delete form.dataset.sent;
      form.submit();
    };
    reader.readAsDataURL(picture);
  });
  check();
}

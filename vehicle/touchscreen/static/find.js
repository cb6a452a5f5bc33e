// People are found while they are typed: the page takes the address of what is looked for, and its list renews itself.

import { renew } from './frame.js';

const field = /** @type {HTMLInputElement} */ (document.querySelector('.find input'));

/** @param {Event} event */
function find(event) {
  if (event instanceof InputEvent && event.isComposing) return;     // letters of a character that is not chosen yet
  history.replaceState(null, '', field.value ? `/people?q=${encodeURIComponent(field.value)}` : '/people');
  renew('typed');
}

field.addEventListener('input', find);
field.addEventListener('compositionend', find);

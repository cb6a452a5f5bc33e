// PIN pad of the sign-in page: digits by finger or keyboard, dots instead of numbers.

const form = document.getElementById('sign-in');
const dots = document.querySelector('.pin ol');
let pin = '';

function show() {
  const field = form?.querySelector('input[name="pin"]');
  if (field instanceof HTMLInputElement) field.value = pin;
  if (!dots) return;
  while (dots.children.length < Math.max(4, pin.length)) dots.append(document.createElement('li'));
  while (dots.children.length > Math.max(4, pin.length)) dots.lastElementChild?.remove();
  [...dots.children].forEach((dot, k) => dot.toggleAttribute('data-in', k < pin.length));
}

/** @param {string} key */
function press(key) {
  if (key === 'erase') pin = pin.slice(0, -1);
  else if (/^\d$/.test(key) && pin.length < 12) pin += key;
  show();
}

document.addEventListener('click', (event) => {
  const key = event.target instanceof Element ? event.target.closest('[data-key]') : null;
  if (key instanceof HTMLElement) press(key.dataset.key ?? '');
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Backspace') press('erase');
  else if (event.key === 'Enter' && form instanceof HTMLFormElement) form.requestSubmit();
  else press(event.key);
});
window.addEventListener('pageshow', () => { pin = ''; show(); });

// Letters and digits under a finger for the fields of a page that are marked .keyed: a van's panel has no keyboard. The
// keys come when such a field is tapped, and each of them counts as if it had been typed.

export {};                                                          // a module, so that other scripts may ask for it

const keys = /** @type {HTMLElement} */ (document.querySelector('.keys'));
/** @type {HTMLInputElement | null} */
let field = document.querySelector('input.keyed');

document.addEventListener('focusin', ({ target }) => { if (target instanceof HTMLInputElement && target.matches('.keyed')) field = target; });
document.addEventListener('pointerdown', (event) => {
  if (!(event.target instanceof Element)) return;
  if (keys.contains(event.target)) event.preventDefault();           // the field keeps the cursor
  else if (event.target.matches('.keyed:enabled')) keys.hidden = false;
});
keys.addEventListener('click', ({ target }) => {
  const key = target instanceof Element ? target.closest('[data-types]') : null;
  if (!(key instanceof HTMLElement) || !field || field.disabled) return;
  const pressed = key.dataset.types ?? '';
  if (pressed === 'erase') field.value = field.value.slice(0, -1);
  else if (field.value.length < field.maxLength) field.value += pressed;
  field.focus();
  field.dispatchEvent(new Event('input', { bubbles: true }));
});

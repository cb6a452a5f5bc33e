// On-screen digits for the fields of a form: no keyboard is needed in the van.

export {};                                                          // a module, so that other scripts may ask for it

/** @type {HTMLInputElement | null} */
let field = document.querySelector('input.number');
document.addEventListener('focusin', ({ target }) => { if (target instanceof HTMLInputElement && target.matches('.number')) field = target; });
document.addEventListener('pointerdown', (event) => { if (event.target instanceof Element && event.target.closest('.pad')) event.preventDefault(); });      // the field keeps the cursor
document.addEventListener('click', ({ target }) => {
  const key = target instanceof Element ? target.closest('.pad [data-key]') : null;
  if (!(key instanceof HTMLElement)) return;
  const beside = key.closest('dialog')?.querySelector('input.number');      // a part of the page that was renewed has a new field
  if (!field?.isConnected || (beside && !key.closest('dialog')?.contains(field))) field = beside instanceof HTMLInputElement ? beside : document.querySelector('input.number');
  if (!field) return;
  const pressed = key.dataset.key ?? '';
  if (pressed === 'erase') field.value = field.value.slice(0, -1);
  else if (field.value.length < field.maxLength && !(pressed === '.' && field.value.includes('.'))) field.value += pressed;
  field.focus();
});
if (!field?.closest('dialog')) field?.focus({ preventScroll: true });

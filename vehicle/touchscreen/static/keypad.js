// On-screen digits for the fields of a form: no keyboard is needed in the van.

/** @type {HTMLInputElement | null} */
let field = document.querySelector('input.number');
document.addEventListener('focusin', ({ target }) => { if (target instanceof HTMLInputElement && target.matches('.number')) field = target; });
document.querySelector('.pad')?.addEventListener('pointerdown', (event) => event.preventDefault());      // the field keeps the cursor
document.querySelector('.pad')?.addEventListener('click', ({ target }) => {
  const key = target instanceof Element ? target.closest('[data-key]') : null;
  if (!(key instanceof HTMLElement) || !field) return;
  const pressed = key.dataset.key ?? '';
  if (pressed === 'erase') field.value = field.value.slice(0, -1);
  else if (field.value.length < field.maxLength && !(pressed === '.' && field.value.includes('.'))) field.value += pressed;
  field.focus();
});
field?.focus();

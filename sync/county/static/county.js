// Pick lists that open their page as soon as one is chosen; without scripts the form still works with Enter.
/** @type {NodeListOf<HTMLSelectElement>} */
const lists = document.querySelectorAll('select[data-submits]');
for (const list of lists) {
  list.addEventListener('change', () => list.form?.submit());
}

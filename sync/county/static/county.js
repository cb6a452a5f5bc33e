// Pick lists that open their page as soon as one is chosen; without scripts the form still works with Enter.
for (const list of document.querySelectorAll('select[data-submits]')) {
  list.addEventListener('change', () => list.form.submit());
}

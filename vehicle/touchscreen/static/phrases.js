// Common phrases under the finger: a tap adds one to a text field, so that nobody has to type to go on.

export {};                                                          // a module: its names are its own

document.addEventListener('click', ({ target }) => {
  const phrase = target instanceof Element ? target.closest('[data-phrase]') : null;
  if (!(phrase instanceof HTMLElement)) return;
  const field = phrase.closest('form')?.querySelector(`textarea[name="${CSS.escape(phrase.dataset.phrase ?? '')}"]`);
  if (!(field instanceof HTMLTextAreaElement)) return;
  const added = phrase.textContent ?? '', before = field.value.trimEnd();
  const next = before ? `${before}${/[，。；,.;]$/.test(before) ? '' : phrase.dataset.joint ?? '，'}${added}` : added;
  if (field.maxLength > 0 && next.length > field.maxLength) return;
  field.value = next;
  field.dispatchEvent(new Event('input', { bubbles: true }));
});

// The print button of a stored ECG: the sheet in the layout that is shown.

for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll('a[data-paper]'))) {
  link.addEventListener('click', () => {
    const shown = /** @type {HTMLElement | null} */ (document.querySelector('button[data-layout][aria-pressed="true"]'));
    const layout = shown?.dataset.layout ?? '3x4+1';
    link.href = `${link.dataset.paper}?layout=${encodeURIComponent(layout === 'one' ? 'rhythm' : layout)}`;
  });
}

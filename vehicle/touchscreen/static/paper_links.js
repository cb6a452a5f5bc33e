// Where the van has an A4 printer, every link to a PDF leads to the page that asks where the sheet shall go.

document.addEventListener('click', (event) => {
  const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
  if (!(link instanceof HTMLAnchorElement) || 'file' in link.dataset) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !url.pathname.endsWith('.pdf')) return;
  event.preventDefault();
  location.assign(`/paper?path=${encodeURIComponent(url.pathname + url.search)}`);
});

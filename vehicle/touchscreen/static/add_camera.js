// What each camera shows, a still a second while this page is seen; where there is none, why. Nothing is asked for twice
// at once: a slow camera is slow, and no queue.

const EACH_MS = 1000;
/** Camera -> the address of its newest still, or in words why there is none. @type {Map<string, {still?: string, why?: string}>} */
const newest = new Map();

/** @param {HTMLElement} figure */
function show(figure) {
  const known = newest.get(figure.dataset.still ?? '');
  const image = figure.querySelector('img'), words = figure.querySelector('figcaption');
  if (!known || !image || !words) return;
  if (known.still) image.src = known.still;
  image.hidden = !known.still;
  words.textContent = known.why ?? '';
}

/** @param {string} camera */
async function look(camera) {
  const before = newest.get(camera)?.still;
  /** @type {{still?: string, why?: string}} */
  let now = before ? { still: before } : {};
  try {
    const answer = await fetch(`/status/devices/add/camera/still?camera=${encodeURIComponent(camera)}`, { cache: 'no-store' });
    if (answer.ok) {
      now = { still: URL.createObjectURL(await answer.blob()) };
    } else {
      const said = await answer.json();
      now = { why: `${said.title}: ${said.next_step}` };
    }
  } catch { /* the van restarts: the old still stays */ }
  newest.set(camera, now);
  if (before && before !== now.still) window.setTimeout(() => URL.revokeObjectURL(before), EACH_MS);
}

const figures = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[data-still]')]);

async function lookAtAll() {
  if (!document.hidden) {
    await Promise.all(figures().map((figure) => look(figure.dataset.still ?? '')));
    figures().forEach(show);
  }
  window.setTimeout(lookAtAll, EACH_MS);
}

document.addEventListener('renewed', () => figures().forEach(show));
lookAtAll();

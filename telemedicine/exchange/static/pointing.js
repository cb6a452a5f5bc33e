// Pointer and pen over the pictures of a session: what is drawn here is seen in the van at once.

import { MarkLayer } from '/shared/marks.js';
import { byId } from './frame.js';

const BUFFER_BOUND_BYTES = 4_000;

export class Pointing {
  /** @param {import('./media_session.js').MediaSession} media */
  constructor(media) {
    this.media = media;
    this.n = 0;
    /** @type {Map<string, MarkLayer>} */
    this.layers = new Map();
    for (const video of /** @type {NodeListOf<HTMLVideoElement>} */ (document.querySelectorAll('.stage video[data-feed]'))) {
      const feed = video.dataset.feed ?? '';
      this.layers.set(feed, new MarkLayer(video, feed));
    }
    media.on('marks', (message) => { for (const layer of this.layers.values()) layer.take(message); });
    for (const tool of this.#tools()) tool.addEventListener('click', () => this.choose(tool.getAttribute('aria-pressed') === 'true' ? '' : tool.dataset.tool ?? ''));
    byId('clear').addEventListener('click', () => this.#shown()?.clear());
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.choose('');
      if (event.key === 'z' && event.ctrlKey && !(event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement)) this.#shown()?.undo();
    });
  }

  /** @param {string} chosen "laser", "pen" or "" */
  choose(chosen) {
    for (const tool of this.#tools()) tool.setAttribute('aria-pressed', String(tool.dataset.tool === chosen));
    for (const [feed, layer] of this.layers) {
      const shown = feed === byId('stage').dataset.view;
      layer.draw(shown && (chosen === 'pen' || chosen === 'laser') ? chosen : null, (mark) => this.#send(mark));
    }
  }

  /**
   * The lines that stand over a picture now, in ten-thousandths of it.
   * @param {string} feed
   */
  lines(feed) { return (this.layers.get(feed)?.strokes ?? []).map(({ points }) => points); }

  /** Another picture is looked at: the chosen tool goes with it. */
  follow() {
    this.choose(this.#tools().find((tool) => tool.getAttribute('aria-pressed') === 'true')?.dataset.tool ?? '');
    const picture = this.layers.has(byId('stage').dataset.view ?? '');
    for (const tool of [...this.#tools(), byId('clear')]) tool.toggleAttribute('disabled', !picture);
  }

  /** @param {any} mark */
  #send(mark) {
    const channel = this.media.marks;
    if (channel?.readyState !== 'open' || (mark.type === 'point' && channel.bufferedAmount > BUFFER_BOUND_BYTES)) return;
    channel.send(JSON.stringify({ ...mark, n: this.n += 1 }));
  }

  #shown() { return this.layers.get(byId('stage').dataset.view ?? ''); }

  #tools() { return /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[data-tool]')]); }
}

// A stored recording, or an ECG file that is looked at, on paper: the very counts of the file, nothing recomputed.

import { EcgStrip } from '/shared/ecg_strip.js';
import { SampleStore, decodeSamples, exposeSamples } from '/shared/live_feed.js';
import { beatButton, caliperButton, displayButtons, layoutButtons, pageButtons, tell } from './ecg_tools.js';
import { feed, renew, words } from './frame.js';

const say = words();
const paper = /** @type {HTMLElement} */ (document.getElementById('paper'));
const strip = new EcgStrip(paper, { offWord: say.off_word });
feed.on('ecg_findings', () => renew('ecg_findings'));
const answer = await fetch(paper.dataset.samples ?? '');
if (answer.ok) {
  const frame = decodeSamples(await answer.arrayBuffer());
  const held = new SampleStore(Math.max(1, frame.n / frame.sample_rate_hz));
  held.push(frame);
  exposeSamples(held);
  layoutButtons(strip, say, beatButton(strip, say, () => strip.stored(frame)));
  displayButtons(strip, say);
  caliperButton(strip, say);
  strip.stored(frame);
  pageButtons(strip);
} else {
  const note = document.createElement('p');
  note.className = 'notice';
  note.textContent = say.unreadable;
  paper.append(note);
}

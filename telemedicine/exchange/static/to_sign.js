// Consultations that wait for this specialist's signature.

import { card } from './case_words.js';
import { Cases, byId, isToSign, sessionPath } from './frame.js';

const list = byId('cases'), template = /** @type {HTMLTemplateElement} */ (byId('case'));

new Cases((all) => {
  const shown = [...all.values()].filter(isToSign);
  for (const item of [...list.children]) {
    if (item instanceof HTMLElement && !shown.some((c) => c.consultation === item.dataset.consultation)) item.remove();
  }
  for (const c of shown) {
    const open = card(list, template, c).querySelector('[data-part="open"]');
    if (open instanceof HTMLAnchorElement) open.href = sessionPath(c.consultation);
  }
  byId('empty').hidden = shown.length > 0;
}).start();

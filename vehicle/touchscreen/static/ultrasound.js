// The live picture with freeze and clip. A press is counted once; a clip that ends or a still of the specialist comes
// into the list by itself.

import { feed, renew, words } from './frame.js';
import { stayJoined } from './media.js';

stayJoined(false, words());

for (const form of document.querySelectorAll('form[data-once]')) {
  form.addEventListener('submit', () => {
    const button = form.querySelector('button');
    if (!button) return;
    setTimeout(() => { button.disabled = true; });                  // after it was sent
    const text = button.querySelector('span');
    if (text && button.dataset.busy) text.textContent = button.dataset.busy;
  });
}
for (const kind of ['capture', 'image_measurement', 'ultrasound']) feed.on(kind, () => renew(kind));
feed.on('capture', (message) => {
  if (message.what === 'ultrasound_clip' && document.querySelector('[data-testid="clip-stop"]')) location.reload();
});

// The alarm of a red value: the burst of a high-priority alarm (IEC 60601-1-8: ten pulses, 3 + 2 and again), once for
// each value on this panel; as loud as the panel speaks, silent where it is muted.

const SOUNDED = 'xunzhen-alarm-sounded', MUTED = 'xunzhen-voice-muted', VOLUME = 'xunzhen-voice-volume';
const PULSE_S = 0.15, PULSES_S = [0, 0.25, 0.5, 0.95, 1.2, 2.2, 2.45, 2.7, 3.15, 3.4];
const HZ = [523, 1046, 1569, 2092];                                   // a fundamental and its harmonics, as the standard asks
const MOST_REMEMBERED = 50;

const muted = () => localStorage.getItem(MUTED) === '1';
/** @returns {string[]} */
const sounded = () => JSON.parse(sessionStorage.getItem(SOUNDED) ?? '[]');

/** @param {string} what the reading; it sounds once */
function ring(what) {
  const before = sounded();
  if (before.includes(what)) return;
  sessionStorage.setItem(SOUNDED, JSON.stringify([...before, what].slice(-MOST_REMEMBERED)));
  if (muted()) return;
  const context = new AudioContext(), loud = context.createGain();
  loud.gain.value = Number(localStorage.getItem(VOLUME) ?? 80) / 100;
  loud.connect(context.destination);
  const begins = context.currentTime + 0.05;
  for (const at of PULSES_S) pulse(context, loud, begins + at);
  document.body.dataset.alarm = what;
  setTimeout(() => { void context.close(); }, 5000);
}

/** @param {AudioContext} context @param {AudioNode} into @param {number} at */
function pulse(context, into, at) {
  const shape = context.createGain();
  shape.gain.setValueAtTime(0, at);
  shape.gain.linearRampToValueAtTime(0.25, at + 0.02);
  shape.gain.setValueAtTime(0.25, at + PULSE_S - 0.02);
  shape.gain.linearRampToValueAtTime(0, at + PULSE_S);
  shape.connect(into);
  for (const [k, hz] of HZ.entries()) {
    const tone = context.createOscillator(), part = context.createGain();
    tone.frequency.value = hz;
    part.gain.value = 1 / (k + 1);
    tone.connect(part).connect(shape);
    tone.start(at);
    tone.stop(at + PULSE_S);
  }
}

function look() {
  const alarm = document.querySelector('[data-alarm]:not(body)');
  if (alarm instanceof HTMLElement) ring(alarm.dataset.alarm ?? '');
  for (const use of document.querySelectorAll('[data-mute] use')) use.setAttribute('href', muted() ? '#i-mute' : '#i-speak');
}

document.addEventListener('click', ({ target }) => {
  if (!(target instanceof Element) || !target.closest('[data-mute]')) return;
  localStorage.setItem(MUTED, muted() ? '0' : '1');
  look();
});
document.addEventListener('renewed', look);
look();

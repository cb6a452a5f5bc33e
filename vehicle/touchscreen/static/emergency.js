// Emergency: the clock runs, numbers and the doctor's answer come once a second, also on a locked screen.

export {};                                                          // a module: its names are its own

const EVERY_MS = 1000;
const clock = document.querySelector('[data-seconds]');
let began = performance.now(), seconds = clock instanceof HTMLElement ? Number(clock.dataset.seconds) : 0;

function tick() {
  if (!(clock instanceof HTMLElement)) return;
  const now = seconds + Math.floor((performance.now() - began) / 1000);
  clock.textContent = `${String(Math.floor(now / 60)).padStart(2, '0')}:${String(now % 60).padStart(2, '0')}`;
}

async function look() {
  try {
    const answer = await fetch('/emergency/state', { headers: { 'X-Background': '1' } });
    if (!answer.ok) return;
    const state = await answer.json();
    if (!state.active) { location.assign('/'); return; }
    seconds = state.seconds;
    began = performance.now();
    const said = document.getElementById('answer'), box = document.getElementById('answer-box');
    if (said && said.textContent !== state.answer) said.textContent = state.answer;
    if (box) box.dataset.answered = state.answered ? 'yes' : 'no';
    for (const place of document.querySelectorAll('[data-vital]')) {
      if (!(place instanceof HTMLElement)) continue;
      const told = state.vitals[place.dataset.vital ?? ''];
      const number = place.querySelector('b');
      if (number) number.textContent = told ? told.text : '–';
      place.toggleAttribute('data-fresh', Boolean(told?.fresh));
    }
  } catch { /* the van restarts: the next look is in a second */ }
}

if (clock) {
  setInterval(tick, 250);
  setInterval(look, EVERY_MS);
}

document.addEventListener('click', ({ target }) => {
  if (!(target instanceof Element)) return;
  const opener = target.closest('[data-open]');
  if (opener instanceof HTMLElement) {
    const dialog = document.getElementById(opener.dataset.open ?? '');
    if (dialog instanceof HTMLDialogElement) dialog.showModal();
  }
  if (target.closest('[data-dismiss]')) target.closest('dialog')?.close();
});

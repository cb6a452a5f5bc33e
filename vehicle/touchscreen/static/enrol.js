// The enrolment page: asks the van every few seconds how it stands and draws itself anew when that has changed.

const EVERY_MS = 2500;
const left = document.getElementById('left');

async function look() {
  try {
    const answer = await fetch('/enrol/state', { headers: { 'X-Background': '1' } });
    if (!answer.ok) return;
    const { state, code, left_minutes: minutes } = await answer.json();
    if (state !== document.body.dataset.state || (code ?? '') !== document.body.dataset.code) location.reload();
    else if (left) left.textContent = String(minutes);
  } catch { /* the van restarts: the next look finds it again */ }
}

setInterval(look, EVERY_MS);
window.addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });

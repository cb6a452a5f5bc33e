// A box that ticks the other ones of its name, at most so many as one form takes. Pick lists that open their page as soon as one is chosen; without scripts the form still works with Enter.
/** @type {NodeListOf<HTMLSelectElement>} */
const lists = document.querySelectorAll('select[data-submits]');
for (const list of lists) {
  list.addEventListener('change', () => list.form?.submit());
}

/** @type {NodeListOf<HTMLInputElement>} */
const leaders = document.querySelectorAll('input[data-picks]');
for (const leader of leaders) {
  leader.addEventListener('change', () => {
    /** @type {NodeListOf<HTMLInputElement>} */
    const boxes = document.querySelectorAll(`.waits input[name="${leader.dataset.picks}"]`);
    [...boxes].forEach((box, place) => { box.checked = leader.checked && place < Number(leader.dataset.most); });
  });
}

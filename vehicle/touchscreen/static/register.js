// Registration by hand: the identity number fills sex and date of birth, and a wrong digit is said at once.
// GB 11643: 17 digits and a check character by ISO 7064 MOD 11-2.

import { words } from './frame.js';

const say = words();
const WEIGHTS = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const form = /** @type {HTMLFormElement} */ (document.getElementById('register-form'));
const field = /** @type {HTMLInputElement} */ (form.querySelector('[name="id_number"]'));
const said = /** @type {HTMLElement} */ (document.getElementById('id-said'));
const resting = said.textContent ?? '';

/** @param {string} number 18 characters */
function checks(number) {
  const sum = WEIGHTS.reduce((total, weight, k) => total + weight * Number(number[k]), 0);
  return '10X98765432'[sum % 11] === number[17];
}

field.addEventListener('input', () => {
  const number = field.value.trim().toUpperCase();
  if (!number) said.textContent = resting;
  else if (!/^\d{0,17}$|^\d{17}[\dX]$/.test(number)) said.textContent = say.characters;
  else if (number.length < 18) said.textContent = say.more.replace('{n}', String(18 - number.length));
  else if (!checks(number)) said.textContent = say.wrong;
  else {
    said.textContent = say.right;
    const born = /** @type {HTMLInputElement} */ (form.querySelector('[name="born_on"]'));
    born.value = `${number.slice(6, 10)}-${number.slice(10, 12)}-${number.slice(12, 14)}`;
    const sex = form.querySelector(`[name="sex"][value="${Number(number[16]) % 2 ? 'male' : 'female'}"]`);
    if (sex instanceof HTMLInputElement) sex.checked = true;
  }
});

// Registration by hand: what is typed is judged at once, by the paper that was chosen. A resident's number fills sex and
// date of birth (GB 11643: 17 digits and a check character by ISO 7064 MOD 11-2); below 14 a guardian is asked for.

import { words } from './frame.js';

const say = words();
const WEIGHTS = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const GUARDIAN_BELOW_AGE = 14;
const form = /** @type {HTMLFormElement} */ (document.getElementById('register-form'));
const field = /** @type {HTMLInputElement} */ (form.querySelector('[name="id_number"]'));
const born = /** @type {HTMLInputElement} */ (form.querySelector('[name="born_on"]'));
const said = /** @type {HTMLElement} */ (document.getElementById('id-said'));
const label = /** @type {HTMLElement} */ (document.getElementById('id-label'));
const guardian = /** @type {HTMLElement} */ (document.getElementById('guardian'));

/** @param {string} number 18 characters */
function checks(number) {
  const sum = WEIGHTS.reduce((total, weight, k) => total + weight * Number(number[k]), 0);
  return '10X98765432'[sum % 11] === number[17];
}

/** @param {string} digits yyyymmdd */
function isDay(digits) {
  const [year, month, day] = [digits.slice(0, 4), digits.slice(4, 6), digits.slice(6, 8)].map(Number);
  const at = new Date(Date.UTC(year, month - 1, day));
  return at.getUTCMonth() === month - 1 && at.getUTCDate() === day && year >= 1880 && at.getTime() <= Date.now();
}

const kind = () => String(new FormData(form).get('id_kind') ?? 'resident');

/** @param {string} number what is wrong with an 18-character number; empty when nothing is */
function fault(number) {
  if (!/^\d{0,17}$|^\d{17}[\dX]$/.test(number)) return say.characters;
  if (number.length < 18) return say.more.replace('{n}', String(18 - number.length));
  if (!isDay(number.slice(6, 14))) return say.birth_date;
  return checks(number) ? '' : say.wrong;
}

function judge() {
  const typed = field.value.replace(/\s/g, '').toUpperCase(), what = kind();
  label.textContent = say[`number_${what}`];
  field.disabled = what === 'temporary';
  born.placeholder = what === 'temporary' ? say.birth_about : say.birth_day;
  field.inputMode = what === 'passport' ? 'text' : 'numeric';
  if (what === 'temporary' || !typed) { said.textContent = say[`hint_${what}`]; return; }
  if (what === 'passport') { said.textContent = /^[A-Z0-9]{5,15}$/.test(typed) ? say.passport_right : say.passport_wrong; return; }
  const wrong = fault(what === 'newborn' ? typed.replace(/-[1-9]$/, '') : typed);
  said.textContent = wrong || (what === 'newborn' ? say.newborn_right : say.right);
  if (wrong || what === 'newborn') return;
  born.value = `${typed.slice(6, 10)}-${typed.slice(10, 12)}-${typed.slice(12, 14)}`;
  const sex = form.querySelector(`[name="sex"][value="${Number(typed[16]) % 2 ? 'male' : 'female'}"]`);
  if (sex instanceof HTMLInputElement) sex.checked = true;
  askGuardian();
}

function askGuardian() {
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(born.value) ?? [];
  if (!year) return;
  const of14 = Date.UTC(Number(year) + GUARDIAN_BELOW_AGE, Number(month) - 1, Number(day));
  const child = of14 > Date.now() + 8 * 3600_000;                       // legal time of China
  if (child === !guardian.hidden) return;
  guardian.hidden = !child;
  if (child) guardian.scrollIntoView({ block: 'nearest' });
}

/** Who knows only an age or a year of birth counts from the first of January; eight digits
 * are a day without hyphens; 年月日, dots and slashes are hyphens. */
function completeBirth() {
  const typed = born.value.trim().replace(/岁$/, ''), year = new Date(Date.now() + 8 * 3600_000).getUTCFullYear();
  const [, y, m, d] = /^(\d{4})[.\/年-](\d{1,2})[.\/月-](\d{1,2})日?$/.exec(typed) ?? [];
  if (d) born.value = `${y}-${m.padStart(2, '0')}-${d.padStart(2, '0')}`;
  else if (/^\d{8}$/.test(typed)) born.value = `${typed.slice(0, 4)}-${typed.slice(4, 6)}-${typed.slice(6)}`;
  else if (/^\d{4}$/.test(typed)) born.value = `${typed}-01-01`;
  else if (/^\d{1,3}$/.test(typed) && Number(typed) <= 120) born.value = `${year - Number(typed)}-01-01`;
  askGuardian();
}

field.addEventListener('input', judge);
born.addEventListener('focusout', completeBirth);
born.addEventListener('input', askGuardian);
form.addEventListener('change', ({ target }) => { if (target instanceof HTMLInputElement && target.name === 'id_kind') judge(); });
judge();
askGuardian();

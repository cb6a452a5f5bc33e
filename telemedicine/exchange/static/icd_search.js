// Search of ICD-10 while a diagnosis is typed: by name, first letters of the pinyin, English words or code. A choice fills
// in name and code; whatever else is typed stays as it is.
//
//   new IcdSearch(diagnosis, code, changed);      two <input>; `changed` is called after a choice

const LIST = '/specialist/static/icd10.txt', MOST_SHOWN = 6;

/** @typedef {{ code: string, zh: string, initials: string, en: string }} Disease */

export class IcdSearch {
  /** @param {HTMLInputElement} diagnosis @param {HTMLInputElement} code @param {() => void} changed */
  constructor(diagnosis, code, changed) {
    this.diagnosis = diagnosis;
    this.code = code;
    this.changed = changed;
    /** @type {Promise<Disease[]> | null} */
    this.diseases = null;
    /** @type {Disease[]} */
    this.found = [];
    this.at = -1;
    /** What the code in its field stands for. */
    this.coded = { diagnosis: '', code: '' };
    this.list = document.createElement('ul');
    this.list.className = 'icd-list';
    this.list.id = 'icd-list';
    this.list.hidden = true;
    this.list.setAttribute('role', 'listbox');
    this.list.setAttribute('aria-label', code.labels?.[0]?.textContent ?? 'ICD-10');
    this.list.dataset.testid = 'icd-list';
    document.body.append(this.list);
    for (const field of [diagnosis, code]) this.#serve(field);
    diagnosis.addEventListener('input', () => this.#recode());
    code.addEventListener('input', () => { this.coded = { diagnosis: '', code: '' }; });
    this.list.addEventListener('pointerdown', (event) => {                  // before the field loses its focus
      const row = event.target instanceof Element ? event.target.closest('[role="option"]') : null;
      if (row) { event.preventDefault(); this.#choose([...this.list.children].indexOf(row)); }
    });
    window.addEventListener('resize', () => this.#close());
    diagnosis.form?.addEventListener('scroll', () => this.#close());
  }

  /** The two fields belong together as they are: chosen, by a template, or as they were kept. */
  together() { this.coded = { diagnosis: this.diagnosis.value.trim(), code: this.code.value.trim() }; }

  /** Another diagnosis does not keep the code of the last one; words added to it do. */
  #recode() {
    const { diagnosis, code } = this.coded;
    if (!diagnosis || !code || this.code.value.trim() !== code || this.diagnosis.value.includes(diagnosis)) return;
    this.code.value = '';
    this.coded = { diagnosis: '', code: '' };
  }

  /** @param {HTMLInputElement} field */
  #serve(field) {
    for (const [name, value] of [['role', 'combobox'], ['aria-autocomplete', 'list'], ['aria-controls', 'icd-list'], ['aria-expanded', 'false']]) field.setAttribute(name, value);
    field.addEventListener('input', () => void this.#look(field));
    field.addEventListener('blur', () => this.#close());
    field.addEventListener('keydown', (event) => {
      if (this.list.hidden || event.isComposing) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) this.#mark(field, (this.at + step + this.found.length) % this.found.length);
      else if (event.key === 'Enter' && this.at >= 0) this.#choose(this.at);
      else if (event.key === 'Escape') { event.stopPropagation(); this.#close(); } else return;
      event.preventDefault();
    });
  }

  /** @param {HTMLInputElement} field */
  async #look(field) {
    const asked = field.value;
    this.diseases ??= read();
    const diseases = await this.diseases;
    if (field.value !== asked || document.activeElement !== field) return;
    this.found = searched(diseases, asked).slice(0, MOST_SHOWN);
    this.list.replaceChildren(...this.found.map((one, index) => row(one, index)));
    if (!this.found.length) { this.#close(); return; }
    this.list.hidden = false;
    field.setAttribute('aria-expanded', 'true');
    this.#mark(field, -1);
    this.#place();
  }

  /** Under the two fields, or above them where there is no room. */
  #place() {
    const left = this.diagnosis.getBoundingClientRect(), right = this.code.getBoundingClientRect(), high = this.list.offsetHeight;
    const below = left.bottom + 4 + high <= window.innerHeight;
    Object.assign(this.list.style, { left: `${left.left}px`, width: `${right.right - left.left}px`, top: `${below ? left.bottom + 4 : left.top - 4 - high}px` });
  }

  /** @param {HTMLInputElement} field @param {number} at */
  #mark(field, at) {
    this.at = at;
    for (const [index, item] of [...this.list.children].entries()) item.setAttribute('aria-selected', String(index === at));
    if (at >= 0) field.setAttribute('aria-activedescendant', `icd-${at}`); else field.removeAttribute('aria-activedescendant');
  }

  /** @param {number} at */
  #choose(at) {
    const one = this.found[at];
    if (!one) return;
    this.diagnosis.value = named(one);
    this.code.value = one.code;
    this.together();
    this.#close();
    this.changed();
  }

  #close() {
    this.list.hidden = true;
    this.at = -1;
    for (const field of [this.diagnosis, this.code]) { field.setAttribute('aria-expanded', 'false'); field.removeAttribute('aria-activedescendant'); }
  }
}

/**
 * What fits `asked`, the best first: a code or the beginning of a name before what stands within it, the plain before
 * the special.
 * @param {Disease[]} diseases @param {string} asked @returns {Disease[]}
 */
export function searched(diseases, asked) {
  const words = asked.trim().toLowerCase();
  if (!words) return [];
  const code = words.replace('.', '');
  const rank = (/** @type {Disease} */ one) => {
    const zh = one.zh.toLowerCase(), en = one.en.toLowerCase();
    if (one.code.toLowerCase().replace('.', '').startsWith(code)) return 0;
    if (zh.startsWith(words) || one.initials.startsWith(words) || en.startsWith(words)) return 1;
    if (zh.includes(words) || ` ${en}`.includes(` ${words}`)) return 2;
    return words.length > 1 && one.initials.includes(words) ? 3 : -1;
  };
  return diseases.map((one) => ({ one, is: rank(one) })).filter(({ is }) => is >= 0).sort((a, b) => a.is - b.is || a.one.zh.length - b.one.zh.length).map(({ one }) => one);
}

/** @returns {Promise<Disease[]>} none while the list cannot be had: then everything is typed */
async function read() {
  try {
    const lines = (await (await fetch(LIST)).text()).split('\n').filter((line) => line && !line.startsWith('#'));
    return lines.map((line) => { const [code, zh, initials, en] = line.split('\t'); return { code, zh, initials, en }; });
  } catch { return []; }
}

/** @param {Disease} one */
const named = (one) => (document.documentElement.lang.startsWith('zh') ? one.zh : one.en);

/** @param {Disease} one @param {number} index */
function row(one, index) {
  const item = document.createElement('li'), code = document.createElement('span');
  item.id = `icd-${index}`;
  item.setAttribute('role', 'option');
  code.className = 'code';
  code.textContent = one.code;
  item.append(Object.assign(document.createElement('span'), { textContent: named(one) }), code);
  return item;
}

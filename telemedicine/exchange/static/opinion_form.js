// The opinion: templates fill it, the draft survives a reload, signing sends it, and then it can only be read.

import { byId, draftKey, me, t } from './frame.js';
import { IcdSearch } from './icd_search.js';
import { CannotSign, WrongPassword, canonicalText, sign } from './signing.js';

const REQUIRED = ['findings', 'diagnosis', 'action', 'advice'];
const STAGED = 'cystic_echinococcosis';

/** @typedef {import('./exchange_socket.js').Case} Case */

export class OpinionForm {
  /**
   * @param {{ consultation: string, socket: import('./exchange_socket.js').ExchangeSocket, current: () => Case | undefined }} session
   */
  constructor({ consultation, socket, current }) {
    this.consultation = consultation;
    this.socket = socket;
    this.current = current;
    this.template = '';
    this.sent = false;                          // signed and handed over, not yet answered
    this.form = /** @type {HTMLFormElement} */ (byId('opinion'));
    this.signing = /** @type {HTMLFormElement} */ (byId('sign'));
    this.key = draftKey(consultation);
    this.form.addEventListener('input', () => this.#keep());
    this.form.addEventListener('submit', (event) => event.preventDefault());
    for (const chip of this.#chips()) chip.addEventListener('click', () => this.#fill(chip));
    this.signing.addEventListener('submit', (event) => { event.preventDefault(); void this.#sign(); });
    this.search = new IcdSearch(this.#field('diagnosis'), this.#field('icd10'), () => this.#keep());
    this.#restore();
    window.addEventListener('storage', ({ key, newValue }) => { if (key === this.key && newValue) this.#restore(); });   // written in another window
  }

  /** @param {Case} c */
  update(c) {
    const button = this.#button(), state = byId('opinion-state');
    const done = c.opinion !== null;
    if (done) this.sent = false;
    state.textContent = (done ? (c.opinion?.in_journal ? button.dataset.stored : button.dataset.waiting) : button.dataset.draft) ?? '';
    state.dataset.kind = done ? 'accent' : 'open';
    if (c.opinion) { this.#show(c.opinion.content); if (c.opinion.in_journal) localStorage.removeItem(this.key); }
    for (const field of /** @type {Iterable<any>} */ (this.form.elements)) if ('disabled' in field) field.disabled = done;
    this.signing.hidden = done && Boolean(c.opinion?.in_journal);
    this.#decision(c);
  }

  /** @param {string} reason */
  refused(reason) { this.sent = false; this.#say(t('sign_failed') + reason); this.#button().disabled = false; }

  content() {
    const form = new FormData(this.form);
    const text = (/** @type {string} */ name) => String(form.get(name) ?? '').trim();
    return {
      template: this.template, findings: text('findings'), classification: this.template === STAGED ? text('classification') : '',
      diagnosis: text('diagnosis'), icd10: text('icd10'), action: text('action'), advice: text('advice'),
    };
  }

  async #sign() {
    const c = this.current(), opinion = this.content(), button = this.#button();
    const missing = REQUIRED.filter((name) => !/** @type {any} */ (opinion)[name]);
    this.#mark(missing);
    if (missing.length) { this.#say(t('sign_fill_in', { fields: missing.map((name) => this.#label(name)).join(t('list_comma')) })); return; }
    if (!c) return;
    button.disabled = true;
    this.#say(t('signing'));
    const text = canonicalText({
      format: 'xunzhen-opinion/1', consultation: this.consultation, origin: c.origin, specialist: me.id, specialist_name: me.name,
      title: me.title, institution: me.institution, opinion, signed_at: this.socket.now().toISOString(),
    });
    const password = /** @type {HTMLInputElement} */ (this.signing.elements.namedItem('password'));
    try {
      const signed = await sign(me.id, password.value, text);
      if (!this.socket.send({ type: 'opinion', signed: { consultation: this.consultation, ...signed } })) throw new Error(byId('line-lost').textContent?.trim());
      this.sent = true;
      this.#say('');
    } catch (fault) {
      button.disabled = false;
      if (fault instanceof WrongPassword) this.#say(t('sign_wrong_password'));
      else if (fault instanceof CannotSign) this.#say(t('sign_no_crypto'));
      else this.#say(t('sign_failed') + (fault instanceof Error ? fault.message : ''));
    } finally { password.value = ''; }
  }

  /**
   * A template fills what is empty or still as another template left it; what somebody wrote stands.
   * @param {HTMLButtonElement} chip
   */
  #fill(chip) {
    const wanted = contentOf(chip), last = contentOf(this.#chips().find((one) => one.dataset.template === this.template));
    const written = Object.entries(this.content()).filter(([name, text]) => name in wanted && text && text !== last[name] && text !== wanted[name]);
    this.#show({ ...wanted, ...Object.fromEntries(written), template: chip.dataset.template });
    this.#say(written.length ? t('template_kept', { fields: written.map(([name]) => this.#label(name)).join(t('list_comma')) }) : '');
    this.#keep();
  }

  /** @param {any} content */
  #show(content) {
    this.template = content.template ?? '';
    for (const chip of this.#chips()) chip.setAttribute('aria-pressed', String(chip.dataset.template === this.template));
    byId('classification').hidden = this.template !== STAGED;
    for (const name of ['findings', 'diagnosis', 'icd10', 'advice']) {
      const field = this.form.elements.namedItem(name);
      if (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) field.value = content[name] ?? '';
    }
    for (const name of ['action', 'classification']) {
      for (const option of this.form.querySelectorAll(`input[name="${name}"]`)) {
        /** @type {HTMLInputElement} */ (option).checked = /** @type {HTMLInputElement} */ (option).value === content[name];
      }
    }
    this.search.together();
  }

  /**
   * What is still to be filled in stands out, and the first of it gets the cursor.
   * @param {string[]} missing
   */
  #mark(missing) {
    for (const name of REQUIRED) {
      const part = this.form.querySelector(`[name="${name}"]`);
      part?.closest('.field')?.toggleAttribute('data-missing', missing.includes(name));
      if (part instanceof HTMLElement && name === missing[0]) part.focus();
    }
  }

  /** In this browser, for this account, until it is signed: a crash or a closed window loses no word of it. */
  #keep() {
    localStorage.setItem(this.key, JSON.stringify(this.content()));
    for (const field of this.form.querySelectorAll('[data-missing]')) field.toggleAttribute('data-missing', false);
  }

  #restore() {
    const kept = localStorage.getItem(this.key);
    if (kept) this.#show(JSON.parse(kept));
  }

  /** @param {Case} c */
  #decision(c) {
    const place = byId('decision'), words = /** @type {HTMLElement} */ (place.querySelector('p'));
    place.hidden = !c.opinion?.in_journal;
    const told = c.decision ? words.dataset[c.decision.decision] ?? c.decision.decision : words.dataset.waiting;
    words.textContent = [told, c.decision?.plan, c.decision?.by_name].filter(Boolean).join(t('list_comma'));
    place.dataset.decision = c.decision?.decision ?? '';
  }

  /** @param {string} text */
  #say(text) { byId('sign-told').textContent = text; }

  /** @param {string} name */
  #label(name) {
    const field = this.form.querySelector(`[name="${name}"]`)?.closest('.field');
    return field?.querySelector('label:not(.option), .label')?.textContent ?? name;
  }

  /** @param {string} name */
  #field(name) { return /** @type {HTMLInputElement} */ (this.form.elements.namedItem(name)); }

  #button() { return /** @type {HTMLButtonElement} */ (this.signing.querySelector('button')); }

  #chips() { return /** @type {HTMLButtonElement[]} */ ([...this.form.querySelectorAll('[data-template]')]); }
}

/** @param {HTMLElement | undefined} chip @returns {Record<string, string>} what its template fills in */
const contentOf = (chip) => { const { name: _, ...content } = JSON.parse(chip?.dataset.content ?? '{}'); return content; };

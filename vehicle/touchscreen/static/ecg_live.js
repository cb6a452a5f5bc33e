// What the automatic analysis says of the running ECG, in the numbers above the paper and in the notice beside them.

const SILENT_AFTER_MS = 3000;                  // it speaks once a second; older words are not "now"

/** The numbers above the paper and the notice, of one device. */
export class LiveFindings {
  /** @param {Record<string, string>} words */
  constructor(words) {
    this.say = words;
    this.link = 'absent';
    /** @type {string[]} */
    this.off = [];
    this.sensor = 'unknown';
    /** @type {any} */
    this.now = null;
    this.silence = 0;
  }

  /** @param {string} link @param {string[]} off @param {string} sensor */
  device(link, off, sensor) { Object.assign(this, { link, off, sensor }); this.#show(); }

  /** @param {any} message an "ecg_analysis" of the live feed */
  heard(message) {
    clearTimeout(this.silence);
    this.now = message.rhythm === null ? null : message;
    this.silence = window.setTimeout(() => { this.now = null; this.#show(); }, SILENT_AFTER_MS);
    this.#show();
  }

  #show() {
    const { say, now } = this;
    write('[data-rate]', now?.heart_rate_bpm ?? '–');
    write('[data-rhythm]', now ? `${say[`rhythm_is.${now.rhythm}`]}${now.rate === 'usual' ? '' : ` ${say[now.rate]}`}` : '–')?.setAttribute('data-level', now?.rhythm ?? '');
    write('[data-ectopic]', now?.ectopic_per_minute ?? '–');
    write('[data-signal]', now ? this.#signal() : '–');
    write('.badge', now ? say.automatic : say.no_analysis);
    this.#notice();
  }

  #signal() {
    const { say, now } = this, poor = Object.keys(now.poor);
    if (now.off.length) return say.off.replace('{leads}', now.off.join(' '));
    return poor.length ? say.noisy.replace('{leads}', poor.length > 3 ? `${poor.slice(0, 3).join(' ')}…` : poor.join(' ')) : say.good_signal;
  }

  /** The most urgent thing there is to say. */
  #notice() {
    const notice = document.getElementById('ecg-device');
    const said = notice?.querySelector('[data-said]'), hint = notice?.querySelector('[data-hint]');
    if (!notice || !said || !hint) return;
    const [title, next, calm, alarm] = this.#most();
    said.textContent = title;
    hint.textContent = next;
    if (calm) notice.dataset.kind = 'soft'; else delete notice.dataset.kind;
    notice.toggleAttribute('data-alarm', alarm);
  }

  /** @returns {[string, string, boolean, boolean]} title, next step, whether it is calm, whether it is an alarm */
  #most() {
    const { say, now, link, sensor } = this;
    if (link !== 'connected' && link !== 'degraded') return [say.no_device, say.no_device_hint, false, false];
    const off = this.off.length ? this.off : now?.off ?? [];
    if (now?.shockable && !off.length) return [say.shockable, say.shockable_hint, false, true];
    if (now?.asystole && !off.length) return [say.asystole, now.flat ? say.flat_hint : say.asystole_hint, false, true];
    if (off.length) return [say.off.replace('{leads}', off.join(' ')), say.off_hint, false, false];
    if (now?.pause_s) return [say.pause.replace('{s}', now.pause_s.toFixed(1)), say.pause_hint, false, true];
    if (now?.swap) return [say.swapped.replace('{electrodes}', now.swap), say.swap_hint, false, false];
    if (sensor === 'off') return [say.attached, say.resting_hint, true, false];
    if (sensor === 'unknown') return [say.attached, say.attached_hint, true, false];
    return [say.all_on, say.quiet, true, false];
  }
}

/** @param {string} selector @param {string | number} text */
function write(selector, text) {
  const place = document.querySelector(`#ecg-live ${selector}`);
  if (place && place.textContent !== String(text)) place.textContent = String(text);
  return place;
}

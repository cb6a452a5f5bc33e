// What the van's automatic analysis says of an ECG, in words; until a doctor has signed, always marked as unreviewed.

import { byId, t } from './frame.js';

const SILENT_AFTER_MS = 3000;                  // it speaks once a second; older words are not "now"
let silence = 0;

/**
 * Beside the live rhythm strip.
 * @param {any} message an "ecg_analysis" of the live feed
 */
export function showAnalysis(message) {
  clearTimeout(silence);
  if (message.rhythm === null) { withdrawAnalysis(); return; }
  const place = byId('ecg-auto'), [rate, words] = /** @type {HTMLElement[]} */ ([...place.children]);
  rate.textContent = message.heart_rate_bpm === null ? '–' : t('ecg_rate', { bpm: message.heart_rate_bpm });
  words.textContent = mostUrgent(message);
  place.hidden = false;
  silence = window.setTimeout(withdrawAnalysis, SILENT_AFTER_MS);
}

export function withdrawAnalysis() {
  clearTimeout(silence);
  byId('ecg-auto').hidden = true;
}

/** @param {any} message */
function mostUrgent(message) {
  if (message.shockable && !message.off.length) return t('ecg_shockable');
  if (message.asystole && !message.off.length) return t('ecg_asystole');
  if (message.off.length) return t('ecg_leads_off', { leads: message.off.join(' ') });
  if (message.pause_s) return t('ecg_pause', { seconds: message.pause_s.toFixed(1) });
  return t(`ecg_rhythm_${message.rhythm}`);
}

/**
 * What was found in a recording, and whether a doctor has signed it; '' when it was not analysed.
 * @param {any} found ``ecg`` of a recording of the case
 */
export function foundWords(found) {
  if (!found) return '';
  const rate = found.heart_rate_bpm ? t('ecg_rate', { bpm: found.heart_rate_bpm }) : '';
  const { review } = found;
  const rhythm = review ? t(`ecg_af_${review.af}`) : t(`ecg_rhythm_${found.rhythm}`);
  const signed = review ? t('ecg_reviewed', { who: review.by }) : t('ecg_unreviewed');
  return [rate, rhythm, signed, review?.words].filter(Boolean).join('　');
}

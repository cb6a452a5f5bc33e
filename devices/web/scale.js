// True scale of this panel: CSS pixels per millimetre, measured once on the calibration page and kept in the browser.

const KEY = 'xunzhen-px-per-mm';

/** The measured scale, null where nobody has measured yet. */
export function calibrated() {
  const kept = Number(localStorage.getItem(KEY));
  return kept >= 1.5 && kept <= 20 ? kept : null;
}

/** CSS pixels per millimetre; before calibration the design's 4, grown with the page's type. */
export function pxPerMm() {
  const root = getComputedStyle(document.documentElement);
  const touch = document.documentElement.classList.contains('touch');
  return calibrated() ?? Number(root.getPropertyValue('--px-per-mm') || 4) * (touch ? parseFloat(root.fontSize) / 20 : 1);
}

/** @param {number} value CSS pixels per millimetre, 1.5 to 20 @throws {RangeError} */
export function calibrate(value) {
  if (!(value >= 1.5 && value <= 20)) throw new RangeError('px per mm: 1.5 to 20');
  localStorage.setItem(KEY, value.toFixed(4));
  document.documentElement.style.setProperty('--px-per-mm', value.toFixed(4));
}

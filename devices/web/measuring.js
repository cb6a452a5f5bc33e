// Lengths and areas on a calibrated picture: the formulas of telemedicine/ultrasound/measuring.py, for drawing while a
// finger moves. What is kept is worked out there again. Points are [x, y] in pixels of the picture.

/** @typedef {[number, number]} Point */
/** @typedef {{ length_um: number, width_um?: number, circumference_um?: number, area_um2?: number }} Sizes */

/** How many points each tool has. */
export const POINTS = { distance: 2, ellipse: 3 };

/** A line drawn by hand has so many points at most; it has no size. */
export const MOST_LINE_POINTS = 80;

/**
 * @param {Point} a @param {Point} b @param {Point} pixelMm width and height of a pixel
 */
function distanceMm(a, b, pixelMm) { return Math.hypot((b[0] - a[0]) * pixelMm[0], (b[1] - a[1]) * pixelMm[1]); }

/**
 * How far `point` lies beside the line through `a` and `b`.
 * @param {Point} point @param {Point} a @param {Point} b @param {Point} pixelMm
 */
function besideMm(point, a, b, pixelMm) {
  const ax = (b[0] - a[0]) * pixelMm[0], ay = (b[1] - a[1]) * pixelMm[1];
  const px = (point[0] - a[0]) * pixelMm[0], py = (point[1] - a[1]) * pixelMm[1];
  return Math.abs(ax * py - ay * px) / Math.hypot(ax, ay);
}

/**
 * Ramanujan's second formula.
 * @param {number} aMm @param {number} bMm the half axes
 */
function circumferenceMm(aMm, bMm) {
  const h = ((aMm - bMm) / (aMm + bMm)) ** 2;
  return Math.PI * (aMm + bMm) * (1 + 3 * h / (10 + Math.sqrt(4 - 3 * h)));
}

/**
 * The sizes, or null while the points make none.
 * @param {string} tool @param {Point[]} points @param {Point} pixelMm @returns {Sizes | null}
 */
export function measure(tool, points, pixelMm) {
  if (points.length < 2 || tool === 'line') return null;
  const lengthMm = distanceMm(points[0], points[1], pixelMm);
  if (!(lengthMm > 0)) return null;
  if (tool === 'distance') return { length_um: Math.round(lengthMm * 1e3) };
  if (points.length < 3) return null;
  const widthMm = 2 * besideMm(points[2], points[0], points[1], pixelMm);
  if (!(widthMm > 0)) return null;
  return {
    length_um: Math.round(lengthMm * 1e3),
    width_um: Math.round(widthMm * 1e3),
    circumference_um: Math.round(circumferenceMm(lengthMm / 2, widthMm / 2) * 1e3),
    area_um2: Math.round(Math.PI * lengthMm / 2 * widthMm / 2 * 1e6),
  };
}

/**
 * As people say it: "42.7 mm", "42.7 × 31.0 mm，周长 116.5 mm，面积 10.4 cm²".
 * @param {Sizes} sizes @param {{ circumference: string, area: string, comma: string }} say
 */
export function inWords(sizes, say) {
  const mm = (/** @type {number} */ um) => (um / 1e3).toFixed(1);
  if (sizes.area_um2 === undefined) return `${mm(sizes.length_um)} mm`;
  return [
    `${mm(sizes.length_um)} × ${mm(sizes.width_um ?? 0)} mm`,
    `${say.circumference} ${mm(sizes.circumference_um ?? 0)} mm`,
    `${say.area} ${(sizes.area_um2 / 1e8).toFixed(1)} cm²`,
  ].join(say.comma);
}

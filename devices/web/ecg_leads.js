// Leads of the 12-lead ECG: what is on the wire (I, II, V1..V6), what follows from it, and how a sheet is laid out.

import { INVALID_COUNT } from './live_feed.js';

/** The twelve, in the order of a sheet. */
export const TWELVE = Object.freeze(['I', 'II', 'III', 'aVR', 'aVL', 'aVF', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6']);

/** Lead names and the sheet's rows. Every row of a column shows the same seconds; `rhythm` rows run through. */
export const LAYOUTS = Object.freeze({
  '3x4+1': { columns: [['I', 'II', 'III'], ['aVR', 'aVL', 'aVF'], ['V1', 'V2', 'V3'], ['V4', 'V5', 'V6']], rhythm: ['II'] },
  '12x1': { columns: [[...TWELVE]], rhythm: [] },
  '6x2': { columns: [['I', 'II', 'III', 'aVR', 'aVL', 'aVF'], ['V1', 'V2', 'V3', 'V4', 'V5', 'V6']], rhythm: [] },
  rhythm: { columns: [[]], rhythm: ['II', 'V1', 'V5'] },
  one: { columns: [[]], rhythm: ['II'] },
  beat: { columns: [['I', 'II', 'III'], ['aVR', 'aVL', 'aVF'], ['V1', 'V2', 'V3'], ['V4', 'V5', 'V6']], rhythm: [] },
});

/**
 * Einthoven and Goldberger, in counts: [channel, factor] of the channels on the wire.
 * @type {Record<string, [string, number][]>}
 */
const DERIVED = {
  III: [['II', 1], ['I', -1]],
  aVR: [['I', -.5], ['II', -.5]],
  aVL: [['I', 1], ['II', -.5]],
  aVF: [['II', 1], ['I', -.5]],
};

/**
 * Which leads a loose limb electrode takes away; chest electrodes carry their lead's name.
 * @type {Record<string, string[]>}
 */
const ELECTRODES = {
  RA: ['I', 'II', 'III', 'aVR', 'aVL', 'aVF'], R: ['I', 'II', 'III', 'aVR', 'aVL', 'aVF'],
  LA: ['I', 'III', 'aVR', 'aVL', 'aVF'], L: ['I', 'III', 'aVR', 'aVL', 'aVF'],
  LL: ['II', 'III', 'aVR', 'aVL', 'aVF'], F: ['II', 'III', 'aVR', 'aVL', 'aVF'],
};

/**
 * Where a lead comes from, as indices into the channels of a stream; null when the stream cannot give it.
 * @param {string} lead @param {string[]} channels @returns {[number, number][] | null}
 */
export function recipe(lead, channels) {
  const own = channels.indexOf(lead);
  if (own >= 0) return [[own, 1]];
  const parts = (DERIVED[lead] ?? []).map(([name, factor]) => /** @type {[number, number]} */ ([channels.indexOf(name), factor]));
  return parts.length && parts.every(([channel]) => channel >= 0) ? parts : null;
}

/** @typedef {{ columns: string[][], rhythm: string[], asLaidOut: boolean }} Sheet asLaidOut: not cut down to few leads */

/**
 * The sheet of a layout for a stream with these channels. A device with up to three leads cannot fill the twelve: it gets
 * a row for each lead it has, or one where one was asked for.
 * @param {keyof typeof LAYOUTS} layout @param {string[] | null} channels null: not known yet
 * @param {string} [lead] which one the layout of one lead shows @returns {Sheet}
 */
export function sheetOf(layout, channels, lead = 'II') {
  const asked = layout === 'one' && lead !== 'II' ? { columns: [[]], rhythm: [lead] } : LAYOUTS[layout];
  const given = !channels || channels.length > 3 || [...asked.columns.flat(), ...asked.rhythm].every((name) => recipe(name, channels));
  if (given) return { ...asked, asLaidOut: true };
  return { columns: [[]], rhythm: layout === 'one' ? channels.slice(0, 1) : [...channels], asLaidOut: false };
}

/**
 * Counts of a lead at one sample, NaN where a part of it has no value.
 * @param {[number, number][]} parts @param {(channel: number) => number} countOf
 */
export function leadCount(parts, countOf) {
  let sum = 0;
  for (const [channel, factor] of parts) {
    const count = countOf(channel);
    if (count === INVALID_COUNT) return NaN;
    sum += factor * count;
  }
  return sum;
}

/**
 * Leads that cannot be trusted when these leads or electrodes are off.
 * @param {string[]} off
 * @returns {Set<string>}
 */
export function leadsWithout(off) {
  const lost = new Set(off.flatMap((name) => ELECTRODES[name] ?? [name]));
  for (const [lead, parts] of Object.entries(DERIVED)) if (parts.some(([name]) => lost.has(name))) lost.add(lead);
  return lost;
}

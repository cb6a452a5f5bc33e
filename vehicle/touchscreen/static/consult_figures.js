// In a session, in words with a figure: how each picture is, what the link carries, and whether a hospital's SFU is there.

import { words } from './frame.js';

const EVERY_MS = 2000;

/** @typedef {{ state: string, fps: number }} FeedState */
/** @typedef {{ name: string, what: string, state: string, told?: string }} SfuState */
/** @typedef {{ rung?: string, up_kbit_s?: number, rtt_ms?: number }} Link */

/** @param {string} text @param {Record<string, string | number>} facts */
function filled(text, facts) { return text.replace(/\{(\w+)\}/g, (_, name) => String(facts[name] ?? '')); }

/**
 * One line for each thing; a fault has no figure, its words say what to do.
 * @param {{ feeds?: Record<string, FeedState>, link?: Link | null, sfu?: SfuState[] }} status
 * @param {Record<string, string>} say
 * @returns {{ text: string, fault: boolean }[]}
 */
export function lines({ feeds = {}, link, sfu = [] }, say) {
  const found = [];
  for (const name of ['ultrasound', 'room']) {
    const feed = feeds[name];
    if (!feed) continue;
    const fault = say[`feed_${feed.state}`];
    found.push({ text: fault ? `${say[`feed_${name}`]}${say.feed_is}${fault}` : filled(say.feed_fps, { feed: say[`feed_${name}`], fps: Math.round(feed.fps) }), fault: Boolean(fault) });
  }
  if (link?.up_kbit_s !== undefined) {
    const rung = say[`rung_${link.rung}`];
    const figures = filled(say.link_figures, { up: (link.up_kbit_s / 1000).toFixed(1), rtt: link.rtt_ms ?? 0 });
    found.push({ text: rung ? `${rung}${say.feed_is}${figures}` : figures, fault: Boolean(rung) });
  }
  for (const line of sfu) {
    if (line.state === 'idle') continue;
    const text = line.told ?? filled(say[`sfu_${line.state}`] ?? line.state, { name: line.name });
    if (!found.some((other) => other.text === text)) found.push({ text, fault: Boolean(line.told) });
  }
  return found;
}

const place = document.getElementById('feed-figures');

async function look() {
  try {
    const answer = await fetch('/consult/media/status', { headers: { Accept: 'application/json', 'X-Background': '1' } });
    const told = answer.ok ? lines(await answer.json(), words()) : [];      // that the process is down is said over the picture
    place?.replaceChildren(...told.map(({ text, fault }) => {
      const item = Object.assign(document.createElement('li'), { textContent: text });
      item.toggleAttribute('data-fault', fault);
      return item;
    }));
  } catch { /* the van's own line is told by the frame */ }
  setTimeout(look, EVERY_MS);
}
if (place) void look();

// Runs inside a page and returns a list of complaints; empty means clean. Looks for content outside the window, cut-off
// text, text below the size floor (18 px under a finger, 14.4 px on a panel of 1024x768, 12.5 px under a mouse), contrast below 7:1, small targets
// (60 px under a finger, 48 px at 1024x768, 24 px under a mouse), fields without a label. What scrolls by design (overflow auto or scroll)
// may hold more than it shows. It does not judge text inside SVG and canvas, nor text over video.
() => {
  const touch = document.documentElement.classList.contains('touch');
  const rootPx = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const floorPx = touch ? Math.min(18, .9 * rootPx) : 12.5;
  const targetPx = touch ? Math.min(60, 3 * rootPx) : 24;
  const complaints = new Set();
  const name = (el) => `${el.tagName.toLowerCase()}.${el.getAttribute('class') ?? ''} "${(el.getAttribute('aria-label') ?? el.textContent ?? '').trim().slice(0, 20)}"`;
  const rgb = (text) => {
    const srgb = text.startsWith('color(srgb');
    const parts = (text.match(/-?[\d.]+(?:e-?\d+)?/g) ?? ['0', '0', '0']).map(Number);
    const colour = srgb ? parts.slice(0, 3).map((part) => part * 255) : parts.slice(0, 3);
    return [...colour, parts[3] ?? 1];
  };
  const linear = (part) => { const v = part / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (el) => {
    for (let p = el; p; p = p.parentElement) {
      const colour = rgb(getComputedStyle(p).backgroundColor);
      if (colour[3] > 0.7) return colour;
    }
    return [255, 255, 255, 1];
  };
  const scrolls = (el) => /auto|scroll/.test(getComputedStyle(el).overflowX + getComputedStyle(el).overflowY);
  const inScroller = (el) => { for (let p = el.parentElement; p; p = p.parentElement) if (scrolls(p)) return true; return false; };
  const ownText = (el) => [...el.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());

  const root = document.documentElement;
  if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight) complaints.add(`page overflows: ${root.scrollWidth}x${root.scrollHeight}`);
  for (const el of document.querySelectorAll('body *')) {
    if (el.closest('svg') || el.closest('.only-read') || el.closest('dialog:not([open])')) continue;
    const box = el.getBoundingClientRect();
    const style = getComputedStyle(el);
    if (!box.width || !box.height || style.visibility === 'hidden' || style.opacity === '0') continue;
    if (!inScroller(el) && (box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || box.top < -1)) complaints.add(`outside the window: ${name(el)}`);
    if (style.display !== 'inline' && !el.matches('input, textarea, select, .cell, .screen, video, canvas') && !scrolls(el)) {
      if (el.scrollWidth > el.clientWidth + 1 && el.clientWidth) complaints.add(`cut off sideways: ${name(el)}`);
      if (el.scrollHeight > el.clientHeight + 2 && el.clientHeight && style.overflowY !== 'visible') complaints.add(`cut off below: ${name(el)}`);
    }
    if (ownText(el)) {
      if (parseFloat(style.fontSize) < floorPx - 0.1) complaints.add(`text of ${style.fontSize}: ${name(el)}`);
      const a = light(rgb(style.color));
      const b = light(ground(el));
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 7) complaints.add(`contrast ${ratio.toFixed(1)}: ${name(el)}`);
    }
    if (el.matches('a[href], button, select, .option, input:not([type=hidden])') && !el.closest('.option > *') && Math.min(box.width, box.height) < targetPx - 0.5) complaints.add(`target ${Math.round(box.width)}x${Math.round(box.height)}: ${name(el)}`);
    if (el.matches('input:not([type=hidden]), select, textarea') && !el.labels?.length && !el.getAttribute('aria-label')) complaints.add(`field without a label: ${name(el)}`);
    if (el.matches('a[href], button') && !(el.getAttribute('aria-label') ?? el.textContent).trim()) complaints.add(`nothing to read aloud: ${name(el)}`);
  }
  return [...complaints];
}

"""The live ECG sheet in Chromium: frames a second, the longest frame, and what drawing costs.

    python -m benchmarks.bench_ecg_page [--seconds 10]

Twelve leads of 500 Hz come in chunks of 50 ms, as from the van; the goal is 60 frames a second. Headless Chromium
draws in software here, without a graphics card.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from playwright.sync_api import Route, sync_playwright

WEB = Path(__file__).resolve().parents[1] / "devices" / "web"
CHROMIUM = "/usr/bin/chromium"
ADDRESS = "http://van.test"
PAGE = """<!doctype html><html class="touch" data-theme="day"><link rel="stylesheet" href="/shared/tokens.css">
<link rel="stylesheet" href="/shared/components.css"><body style="display:block">
<figure class="ecg-paper" id="paper" style="width:1136px;height:446px"></figure>"""
MEASURE = """async ({ layout, filter, seconds }) => {
  const { EcgStrip } = await import('/shared/ecg_strip.js');
  const { SampleStore } = await import('/shared/live_feed.js');
  document.getElementById('paper').replaceChildren();
  const store = new SampleStore(), channels = ['I', 'II', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6'];
  const about = { type: 'samples', stream: 'ecg', device: 'd', channels, unit: 'uV', segment: 0, resolution: 1.25 };
  let next = 0;
  const chunk = () => {
    const counts = new Int16Array(25 * 8);
    for (let i = 0; i < 25; i += 1) for (let c = 0; c < 8; c += 1) {
      const t = ((next + i) % 400) / 500;
      counts[i * 8 + c] = 800 * Math.exp(-(((t - .3) / .01) ** 2)) + 200 * Math.exp(-(((t - .55) / .05) ** 2));
    }
    store.push({ ...about, sample_rate_hz: 500, first_index: next, n: 25, counts });
    next += 25;
  };
  for (let k = 0; k < 200; k += 1) chunk();
  const strip = new EcgStrip(document.getElementById('paper'), { layout, pxPerMm: 4 }).live(store);
  strip.setFilter(filter);
  const feeding = setInterval(() => { while (next < 5000 + (performance.now() - began) / 2) chunk(); }, 50);
  const began = performance.now();
  const ask = window.requestAnimationFrame.bind(window);
  const frames = [], costs = [];
  window.requestAnimationFrame = (draw) => ask((at) => {
    const start = performance.now();
    draw(at);
    frames.push(at);
    costs.push(performance.now() - start);
  });
  await new Promise((done) => setTimeout(done, seconds * 1000));
  window.requestAnimationFrame = ask;
  clearInterval(feeding);
  strip.stop();
  const gaps = frames.slice(1).map((at, k) => at - frames[k]).sort((a, b) => a - b);
  costs.sort((a, b) => a - b);
  const at = (list, part) => list[Math.min(list.length - 1, Math.floor(part * list.length))];
  const fps = 1000 * gaps.length / gaps.reduce((a, b) => a + b, 0);
  return { fps, p99: at(gaps, .99), longest: at(gaps, 1), draw: at(costs, .5), draw99: at(costs, .99) };
}"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10.0)
    asked = options.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.route("**/*", _serve)
        page.goto(f"{ADDRESS}/")
        print("Live ECG, 12 leads of 500 Hz on 1136 x 446 pixels (goal: 60 frames a second)")
        for layout, filter_ in (("3x4+1", "none"), ("12x1", "none"), ("12x1", "monitor")):
            told = page.evaluate(MEASURE, {"layout": layout, "filter": filter_, "seconds": asked.seconds})
            print(_line(layout, filter_, told))
        browser.close()


def _line(layout: str, filter_: str, told: dict[str, Any]) -> str:
    return (
        f"  {layout:6} filter {filter_:8} {told['fps']:5.1f} frames/s, between frames p99 {told['p99']:.0f} ms, "
        f"longest {told['longest']:.0f} ms; drawing one: median {told['draw']:.1f} ms, p99 {told['draw99']:.1f} ms"
    )


def _serve(route: Route) -> None:
    name = route.request.url.removeprefix(ADDRESS)
    if name.startswith("/shared/"):
        route.fulfill(path=WEB / name.removeprefix("/shared/"))
    elif name == "/":
        route.fulfill(body=PAGE, content_type="text/html")
    else:
        route.fulfill(status=404, body="")


if __name__ == "__main__":
    main()

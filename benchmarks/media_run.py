"""One run of the media benchmark: link, van and browser set up, a scenario's changes made at their moments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.link import Counters, Link

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required", "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
    "--disable-features=WebRtcHideLocalIpsWithMdns,CalculateNativeWinOcclusion",
]  # fmt: skip
SCRIPT = Path(__file__).with_name("media_page.js")
FIRST_PICTURE_WITHIN_S = 20.0
QUEUE_BYTES = 250_000
FROZEN_AFTER_S = 0.2

Change = Callable[["Stage"], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``changes``: (seconds after the warm-up, words for the plot, what to do); ``seconds`` in all. With ``traces``
    (up, down) the link plays them after the warm-up."""

    name: str
    title: str
    seconds: float
    changes: Sequence[tuple[float, str, Change]] = ()
    rate_bit_s: float = 20e6
    share_lost: float = 0.0
    warm_up_s: float = 10.0
    traces: tuple[Path, Path] | None = None


@dataclass
class Seen:
    """What page, link and van said; times in seconds after the warm-up."""

    pictures: list[tuple[float, float | None]]
    """(when shown, how old in s or None for a picture whose clock cannot be read)"""
    ecg: list[tuple[float, float]]
    received: list[tuple[float, float]]
    """(when, bytes of pictures since the beginning)"""
    link: list[tuple[float, Counters]]
    log: list[dict[str, Any]]
    cpu: float
    rss_bytes: list[int] = field(default_factory=list)

    def ages_ms(self, since_s: float, until_s: float) -> list[float]:
        return sorted(age * 1000 for at, age in self.pictures if since_s <= at < until_s and age is not None)

    def ecg_ms(self, since_s: float, until_s: float) -> list[float]:
        return sorted(age * 1000 for at, age in self.ecg if since_s <= at < until_s)

    def late_s(self, since_s: float, until_s: float, bound_ms: float) -> float:
        """Seconds, in steps of half a second, in which the median picture was older than ``bound_ms``, or none came."""
        late, at_s = 0.0, since_s
        while at_s < until_s - 0.25:
            ages = self.ages_ms(at_s, at_s + 0.5)
            late += 0.5 * (not ages or ages[len(ages) // 2] > bound_ms)
            at_s += 0.5
        return late

    def shown_s(self) -> list[float]:
        return [at for at, _ in self.pictures]

    def longest_gap_s(self, since_s: float, until_s: float) -> float:
        shown = [at for at, _ in self.pictures if since_s < at < until_s]
        return max(later - earlier for earlier, later in pairwise([since_s, *shown, until_s]))

    def first_after_s(self, since_s: float) -> float:
        """From ``since_s`` to the first picture that was captured after it."""
        shown = [at for at, age in self.pictures if age is not None and at - age >= since_s]
        return min(shown) - since_s if shown else float("inf")

    def ecg_live_after_s(self, since_s: float, bound_s: float = 0.3) -> float:
        """From ``since_s`` until ECG comes that is not older than ``bound_s``."""
        live = [at for at, age in self.ecg if at > since_s and age < bound_s]
        return min(live) - since_s if live else float("inf")

    def picture_bit_s(self, since_s: float, until_s: float) -> float:
        inside = [(at, count) for at, count in self.received if since_s <= at <= until_s]
        if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
            return 0.0
        return (inside[-1][1] - inside[0][1]) * 8 / (inside[-1][0] - inside[0][0])


class Stage:
    """Link and van; what the changes of a scenario act on."""

    def __init__(self, link: Link, van: subprocess.Popen[str]) -> None:
        self.link = link
        self._van = van
        self._answers: list[dict[str, Any]] = []
        self._came = threading.Condition()
        self.log: list[dict[str, Any]] = []
        self.burners: list[subprocess.Popen[bytes]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._van.stdin is not None
        self._van.stdin.write(json.dumps(request) + "\n")
        self._van.stdin.flush()
        with self._came:
            if not self._came.wait_for(lambda: bool(self._answers), 30.0):
                raise RuntimeError("the van's process does not answer; look at what it wrote to standard error")
            return self._answers.pop(0)

    def burn(self, loops: int) -> None:
        """Busy loops beside the van, in its own scheduling group."""
        for _ in range(loops):
            self.burners.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))

    def cool(self) -> None:
        for burner in self.burners:
            burner.kill()
            burner.wait()
        self.burners.clear()

    def _read(self) -> None:
        assert self._van.stdout is not None
        for line in self._van.stdout:
            message = json.loads(line)
            if "log" in message:
                self.log.append(message["log"])
            else:
                with self._came:
                    self._answers.append(message)
                    self._came.notify()


def run(kind: str, scenario: Scenario) -> Seen:
    """``kind``: "project" or "plain"."""
    with Link(scenario.rate_bit_s, 0.05, apart=True) as link:
        link.set("up", queue_bytes=QUEUE_BYTES, share=scenario.share_lost)
        for direction, trace in zip(("up", "down"), scenario.traces or (), strict=False):
            link.load(direction, trace)
        van = subprocess.Popen(
            [*link.inside_van(), sys.executable, "-m", "benchmarks.media_van", kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stage = Stage(link, van)
        try:
            with browser(link) as page:
                return _perform(stage, page, scenario, comes_back=kind == "project")
        finally:
            stage.cool()
            van.kill()
            van.wait()


@contextmanager
def browser(link: Link) -> Iterator[Page]:
    """A headless Chromium inside the link's far namespace."""
    folder = Path(tempfile.mkdtemp(prefix="bench-media-"))
    program = folder / "chromium"
    program.write_text(f'#!/bin/sh\nexec {" ".join(link.inside())} {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    try:
        with sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                str(folder / "profile"), executable_path=str(program), headless=False, args=ARGUMENTS,
                ignore_default_args=["--mute-audio"],
            )  # fmt: skip
            try:
                page = context.pages[0] if context.pages else context.new_page()
                page.goto("about:blank")
                page.add_script_tag(content=SCRIPT.read_text())
                yield page
            finally:
                context.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_up(stage: Stage, page: Page, offer: str) -> None:
    page.evaluate("sdp => window.answer(sdp)", stage.ask({"offer": offer})["answer"])


def _perform(stage: Stage, page: Page, scenario: Scenario, comes_back: bool) -> Seen:
    _set_up(stage, page, page.evaluate("window.offer()"))
    page.wait_for_function("window.seen.pictures.length > 5", timeout=FIRST_PICTURE_WITHIN_S * 1000)
    time.sleep(scenario.warm_up_s)
    began, began_s = stage.ask({"mark": True})["mark"], time.time()
    if scenario.traces is not None:
        stage.link.tell("play")
    counters, rss = [(0.0, stage.link.tell("count")["up"])], [began["rss_bytes"]]
    todo = list(scenario.changes)
    while (now_s := time.time() - began_s) < scenario.seconds:
        if todo and now_s >= todo[0][0]:
            todo.pop(0)[2](stage)
        next_s = min([scenario.seconds, now_s + 0.5, *(at_s for at_s, _, _ in todo[:1])])
        time.sleep(max(0.0, next_s - (time.time() - began_s)))
        counters.append((time.time() - began_s, stage.link.tell("count")["up"]))
        if comes_back and scenario.traces is not None and (offer := page.evaluate("window.offerAgain()")):
            _set_up(stage, page, offer)
    ended = stage.ask({"mark": True})["mark"]
    rss.append(ended["rss_bytes"])
    seen = page.evaluate("window.seen")
    if os.environ.get("BENCH_MEDIA_KEEP"):
        kept = {"seen": seen, "log": stage.log, "began_s": began_s}
        Path(os.environ["BENCH_MEDIA_KEEP"]).write_text(json.dumps(kept))
    return Seen(
        pictures=[(at / 1000 - began_s, None if age is None else age / 1000) for at, age in seen["pictures"]],
        ecg=[(at / 1000 - began_s, age / 1000) for at, _, age in seen["ecg"]],
        received=[(row[0] / 1000 - began_s, row[1]) for row in seen["stats"]],
        link=counters,
        log=stage.log,
        cpu=(ended["cpu_s"] - began["cpu_s"]) / (ended["at"] - began["at"]),
        rss_bytes=rss,
    )

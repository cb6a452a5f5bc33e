"""Packed samples in a real browser: every number is the one that Python packed, and damage is refused there too."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.packed_samples import PackedUnreadable, form_of, pack, unpack
from devices.readings import INVALID_COUNT, Samples
from devices.wire import pack_samples

WEB = Path(__file__).parents[2] / "devices/web"
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
READ = """async ([frames, form]) => {
  const { isPacked, decodePacked } = await import('/shared/packed_samples.js');
  const { decodeSamples } = await import('/shared/live_feed.js');
  return frames.map((text) => {
    const buffer = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
    try {
      const read = isPacked(buffer) ? decodePacked(buffer, new Map([[7, form]])) : decodeSamples(buffer);
      return read && { ...read, counts: [...read.counts] };
    } catch (fault) { return fault.name; }
  });
}"""

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    def serve(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        if name.endswith(".js"):
            route.fulfill(body=(WEB / name).read_text(encoding="utf-8"), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    opened = browser.new_page()
    opened.route("**/*", serve)
    opened.goto("http://pages.test/")
    yield opened
    opened.close()


def read(page: Any, frames: list[bytes], form: object) -> list[Any]:
    texts = [base64.b64encode(frame).decode() for frame in frames]
    return list(page.evaluate(READ, [texts, form]))


def chunks() -> list[Samples]:
    """Every kind of content: still, small, wild, with and without values, one sample to five thousand."""
    chance = np.random.default_rng(11)
    made = []
    for number in range(48):
        n = int(chance.choice([0, 1, 2, 3, 20, 25, 100, 300])) if number % 24 else 5000
        walk = chance.normal(0, 2.0 ** chance.integers(0, 15), (n, len(LEADS))).cumsum(axis=0)
        counts = np.clip(walk, -32768, 32767).astype(np.int16)
        if number % 3 == 0:
            counts[chance.random(counts.shape) < 0.1] = INVALID_COUNT
        if number % 5 == 0:
            counts[:, 2:4] = INVALID_COUNT
        if number % 7 == 0:
            counts = chance.choice(np.array([-32768, 32767], np.int16), counts.shape)
        first, segment = int(chance.integers(0, 2**40)), int(chance.integers(0, 300))
        made.append(Samples("ecg", LEADS, 500.0, segment, first, counts, 1.25, "uV"))
    return made


def test_every_number_is_the_one_that_was_packed(page: Any) -> None:
    sent = chunks()
    form = form_of("ecg-1", sent[0])
    packed = read(page, [pack(7, each) for each in sent], asdict(form))
    plain = read(page, [pack_samples("ecg-1", each) for each in sent], asdict(form))
    for each, got, before in zip(sent, packed, plain, strict=True):
        assert got["counts"] == each.counts.flatten().tolist()
        assert got == before, "a page sees no difference between the two forms"


def test_what_python_does_not_read_the_page_does_not_read(page: Any) -> None:
    chance = np.random.default_rng(4)
    sent = Samples("ecg", LEADS, 500.0, 1, 900, chance.normal(0, 30, (25, 8)).astype(np.int16), 1.25, "uV")
    form = form_of("ecg-1", sent)
    whole = pack(7, sent)
    wrong = [whole[:cut] for cut in range(2, len(whole), 7)] + [whole + b"\x00", b"\x07\x82" + whole[2:]]
    for _ in range(80):
        damaged = bytearray(whole)
        damaged[int(chance.integers(2, len(whole)))] ^= 1 << int(chance.integers(0, 8))
        wrong.append(bytes(damaged))
    got = read(page, wrong, asdict(form))
    for frame, seen in zip(wrong, got, strict=True):
        try:
            expected: Any = unpack(frame, {7: form})[1].counts.flatten().tolist()
        except PackedUnreadable:
            expected = "RangeError"
        assert (seen if isinstance(seen, str) else seen["counts"]) == expected
    assert read(page, [b"\x08" + whole[1:]], asdict(form)) == [None], "its form was not told yet"

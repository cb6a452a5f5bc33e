"""Pointer and lines: who sees what, and what an ill-behaved page cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from devices.clock import SimulatedClock
from telemedicine.marks import BUFFER_BOUND_BYTES, BURST, MOST_POINTS, MOST_STROKES, VANISHES_AFTER_S, Marks


class Channel:
    """A page's data channel; ``heard`` is what the page got."""

    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.bufferedAmountLowThreshold = 0
        self.heard: list[dict[str, Any]] = []
        self._on: dict[str, Callable[..., None]] = {}
        self._n = 0

    def on(self, event: str, then: Callable[..., None]) -> None:
        self._on[event] = then

    def send(self, text: str) -> None:
        self.heard.append(json.loads(text))

    def says(self, **mark: Any) -> None:
        self._n += 1
        self.says_text(json.dumps({"n": self._n, "feed": "ultrasound"} | mark))

    def says_text(self, text: str | bytes) -> None:
        self._on["message"](text)

    def happens(self, event: str) -> None:
        self._on[event]()


def session(*names: str) -> tuple[Marks, SimulatedClock, list[Channel]]:
    clock = SimulatedClock(datetime(2025, 11, 21, 3, tzinfo=UTC))
    marks = Marks(clock)
    channels = [Channel() for _ in names]
    for name, channel in zip(names, channels, strict=True):
        marks.attach(channel, name, f"Dr {name}", may_draw=name != "kiosk")  # type: ignore[arg-type]
    return marks, clock, channels


def test_a_line_is_seen_by_all_others_and_by_who_joins_later() -> None:
    marks, _, (drawer, kiosk) = session("shen", "kiosk")
    drawer.says(type="stroke", stroke=1, points=[[100, 200], [300, 400]])
    drawer.says(type="stroke", stroke=1, points=[[500, 600]])
    assert [told["points"] for told in kiosk.heard[1:]] == [[[100, 200], [300, 400]], [[500, 600]]]
    assert (kiosk.heard[1]["by"], kiosk.heard[1]["author"]) == ("Dr shen", "shen")
    assert len(drawer.heard) == 1, "nobody hears himself"
    late = Channel()
    marks.attach(late, "he", "Dr he", may_draw=True)  # type: ignore[arg-type]
    (line,) = late.heard[0]["strokes"]
    assert line["points"] == [[100, 200], [300, 400], [500, 600]]


def test_lines_vanish_are_taken_back_and_cleared() -> None:
    marks, clock, (shen, he) = session("shen", "he")
    for stroke in (1, 2):
        shen.says(type="stroke", stroke=stroke, points=[[0, 0]])
    he.says(type="stroke", stroke=1, points=[[9, 9]])
    he.says(type="undo")
    assert [line["author"] for line in marks.strokes()] == ["shen", "shen"], "only one's own line is taken back"
    he.says(type="clear", feed="room")
    assert len(marks.strokes()) == 2
    he.says(type="clear")
    assert marks.strokes() == []
    shen.says(type="stroke", stroke=3, points=[[1, 1]])
    clock.advance(VANISHES_AFTER_S + 1)
    assert marks.strokes() == []


def test_another_consultation_begins_without_lines() -> None:
    marks, _, (shen, kiosk) = session("shen", "kiosk")
    shen.says(type="stroke", stroke=1, points=[[0, 0]])
    marks.forget()
    assert kiosk.heard[-1] == {"type": "marks", "strokes": []}


def test_what_is_no_mark_or_comes_again_or_too_fast_changes_nothing() -> None:
    marks, clock, (shen, kiosk) = session("shen", "kiosk")
    before = len(kiosk.heard)
    for text in ("{", "[]", b"\x00", json.dumps({"type": "stroke"}), "x" * 5_000):
        shen.says_text(text)
    shen.says(type="point", x=10_001, y=0)
    shen.says(type="point", x=1, y=-1)
    shen.says(type="stroke", stroke=1, points=[[0, 0]] * 101)
    shen.says(type="point", x=1, y=1, feed="journal")
    assert len(kiosk.heard) == before
    shen.says_text(json.dumps({"type": "point", "n": 50, "feed": "room", "x": 1, "y": 1}))
    shen.says_text(json.dumps({"type": "point", "n": 50, "feed": "room", "x": 2, "y": 2}))
    assert len(kiosk.heard) == before + 1, "a mark that is played again is not taken"
    clock.advance(60)
    for n in range(1000):
        shen.says_text(json.dumps({"type": "point", "n": 100 + n, "feed": "room", "x": 1, "y": 1}))
    assert len(kiosk.heard) == before + 1 + BURST
    assert marks.strokes() == []


def test_lines_and_points_are_bounded() -> None:
    marks, clock, (shen, _) = session("shen", "he")
    for stroke in range(MOST_STROKES + 5):
        clock.advance(0.1)
        shen.says(type="stroke", stroke=stroke, points=[[0, 0]])
    assert len(marks.strokes()) == MOST_STROKES
    for _ in range(10):
        clock.advance(0.1)
        shen.says(type="stroke", stroke=1000, points=[[1, 1]] * 100)
    assert len(marks.strokes()[-1]["points"]) == MOST_POINTS


def test_a_page_that_does_not_read_costs_the_others_nothing_and_gets_all_when_it_does() -> None:
    _, _, (shen, stuck, he) = session("shen", "stuck", "he")
    stuck.bufferedAmount = BUFFER_BOUND_BYTES
    shen.says(type="point", x=1, y=1)
    shen.says(type="stroke", stroke=1, points=[[5, 5]])
    shen.says(type="stroke", stroke=1, points=[[6, 6]])
    assert len(stuck.heard) == 1
    assert len(he.heard) == 4
    stuck.bufferedAmount = 0
    stuck.happens("bufferedamountlow")
    assert stuck.heard[-1]["strokes"][0]["points"] == [[5, 5], [6, 6]]


def test_the_touchscreen_sees_and_does_not_draw() -> None:
    marks, _, (_, kiosk) = session("shen", "kiosk")
    assert "message" not in kiosk._on
    assert marks.strokes() == []

"""What a specialist points at and draws on the picture, seen by everybody who looks at the same picture.

Each page has a data channel "marks". A page that may draw sends JSON texts, numbered by ``n``; the others get them with
``by``, the name of who draws, and ``author``, who it is:

    {"type": "point", "n", "feed", "x", "y"}           the pointer; it goes out by itself
    {"type": "lift", "n", "feed"}                      the pointer is taken away
    {"type": "stroke", "n", "feed", "stroke", "points": [[x, y], ...]}     points added to a line
    {"type": "undo", "n", "feed"}                      the author's last line goes
    {"type": "clear", "n", "feed"}                     all lines of this picture go

``x`` and ``y`` are ten-thousandths of the picture's width and height, so that a line lies on the same spot at every
size. A page that joins first gets ``{"type": "marks", "strokes": [...]}``. Lines on a moving picture vanish after 30 s,
because the probe has moved on; what shall stay is measured or written on a still.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from aiortc import RTCDataChannel
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from devices.clock import Clock

LABEL = "marks"
SCALE = 10_000
VANISHES_AFTER_S = 30.0
MOST_STROKES = 40
MOST_POINTS = 600
LONGEST_MESSAGE = 4_000
MESSAGES_PER_S, BURST = 60.0, 120.0
"""A hand that draws sends 30 a second; what is more is dropped."""
BUFFER_BOUND_BYTES = 16_000
"""A page that does not read misses the pointer first, then lines; it gets all lines anew when it has read."""

Coordinate = Annotated[int, Field(ge=0, le=SCALE)]
Feed = Literal["ultrasound", "room"]
Number = Annotated[int, Field(ge=0, le=2**53)]


class _Mark(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    n: Number
    feed: Feed


class Point(_Mark):
    type: Literal["point"]
    x: Coordinate
    y: Coordinate


class Stroke(_Mark):
    type: Literal["stroke"]
    stroke: Annotated[int, Field(ge=0, le=2**53)]
    points: Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=1, max_length=100)]


class Order(_Mark):
    type: Literal["lift", "undo", "clear"]


_MARK: TypeAdapter[Point | Stroke | Order] = TypeAdapter(Annotated[Point | Stroke | Order, Field(discriminator="type")])


@dataclass(slots=True)
class _Line:
    author: str
    by: str
    feed: str
    stroke: int
    touched_s: float
    points: list[tuple[int, int]] = field(default_factory=list)

    def message(self) -> dict[str, Any]:
        return {
            "author": self.author,
            "by": self.by,
            "feed": self.feed,
            "stroke": self.stroke,
            "points": self.points,
        }


class Marks:
    """The lines of one session and the pages that see them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: list[_Line] = []
        self._pages: list[MarkPage] = []

    def attach(self, channel: RTCDataChannel, author: str, by: str, may_draw: bool) -> None:
        """Serve a page until its channel closes.

        :param author: its leg's name; ``by``: as people call who draws there
        """
        page = MarkPage(self, channel, author, by, may_draw, self._clock)
        self._pages.append(page)
        channel.on("close", lambda: self._leave(page))
        page.tell_all()

    def forget(self) -> None:
        """Another consultation: no line of the last one is seen in it."""
        self._lines.clear()
        for page in tuple(self._pages):
            page.tell_all()

    def strokes(self) -> list[dict[str, Any]]:
        """The lines that are seen now, oldest first."""
        oldest_s = self._clock.monotonic_s() - VANISHES_AFTER_S
        self._lines = [line for line in self._lines if line.touched_s >= oldest_s]
        return [line.message() for line in self._lines]

    def take(self, page: MarkPage, mark: Point | Stroke | Order) -> None:
        """What ``page`` has drawn: kept, and told to the others."""
        if isinstance(mark, Stroke):
            if not self._add(page, mark):
                return
        elif mark.type == "undo":
            mine = [line for line in self._lines if (line.author, line.feed) == (page.author, mark.feed)]
            if mine:
                self._lines.remove(mine[-1])
        elif mark.type == "clear":
            self._lines = [line for line in self._lines if line.feed != mark.feed]
        told = json.dumps(mark.model_dump() | {"author": page.author, "by": page.by}, ensure_ascii=False)
        for other in tuple(self._pages):
            if other is not page:
                other.tell(told, may_miss=mark.type in ("point", "lift"))

    def _add(self, page: MarkPage, mark: Stroke) -> bool:
        now_s = self._clock.monotonic_s()
        name = (page.author, mark.feed, mark.stroke)
        line = next((line for line in self._lines if (line.author, line.feed, line.stroke) == name), None)
        if line is None:
            line = _Line(page.author, page.by, mark.feed, mark.stroke, now_s)
            self._lines = [*self._lines, line][-MOST_STROKES:]
        if len(line.points) + len(mark.points) > MOST_POINTS:
            return False
        line.points.extend(mark.points)
        line.touched_s = now_s
        return True

    def _leave(self, page: MarkPage) -> None:
        if page in self._pages:
            self._pages.remove(page)


class MarkPage:
    """One page's channel."""

    def __init__(
        self, marks: Marks, channel: RTCDataChannel, author: str, by: str, may_draw: bool, clock: Clock
    ) -> None:
        self.author = author
        self.by = by
        self._marks = marks
        self._channel = channel
        self._clock = clock
        self._allowance = BURST
        self._allowed_s = clock.monotonic_s()
        self._newest = -1
        self._behind = False
        channel.bufferedAmountLowThreshold = BUFFER_BOUND_BYTES // 4
        channel.on("bufferedamountlow", self._has_read)
        if may_draw:
            channel.on("message", self._take)

    def tell(self, text: str, may_miss: bool) -> None:
        if self._channel.readyState != "open" or self._behind:
            return
        if self._channel.bufferedAmount + len(text) > BUFFER_BOUND_BYTES:
            self._behind = not may_miss
            return
        self._channel.send(text)

    def tell_all(self) -> None:
        if self._channel.readyState == "open":
            self._behind = False
            self._channel.send(json.dumps({"type": "marks", "strokes": self._marks.strokes()}, ensure_ascii=False))

    def _has_read(self) -> None:
        if self._behind:
            self.tell_all()

    def _take(self, text: object) -> None:
        """A mark that is none, comes again, or comes too fast changes nothing."""
        if not isinstance(text, str) or len(text) > LONGEST_MESSAGE or not self._may_speak():
            return
        try:
            mark = _MARK.validate_json(text)
        except ValidationError:
            return
        if mark.n <= self._newest:
            return
        self._newest = mark.n
        self._marks.take(self, mark)

    def _may_speak(self) -> bool:
        now_s = self._clock.monotonic_s()
        self._allowance = min(BURST, self._allowance + (now_s - self._allowed_s) * MESSAGES_PER_S)
        self._allowed_s = now_s
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

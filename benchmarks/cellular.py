"""A cellular link as the moments at which it lets a packet go: traces read, made up, and asked what they could carry.

The format is mahimahi's (mahimahi.mit.edu): a line for each opportunity to send 1500 bytes, its time in whole
milliseconds since the beginning, in order; when the file ends it begins anew. An opportunity while nothing waits is
lost. Recordings of real networks in this format are published by others and not ours to keep here; ``drive`` makes up
a journey, the same one for the same seed.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

OPPORTUNITY_BYTES = 1500
WINDOW_S = 1.0
"""A link carries at a moment what it did over the second before and does over the second after, whichever is less."""
GRID_S = 0.05
SAME_MOMENT_S = 1e-6
"""Times of a trace are whole milliseconds; on the clock of a caller who takes away its beginning, nearly so."""


class TraceUnreadable(Exception):
    """The file is not a trace; says in which line."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a trace is used up: the next opportunity, and the bytes that are left of the one before."""

    index: int = 0
    left_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryTrace:
    """Opportunities in seconds, ascending; after ``period_s`` they begin anew."""

    opportunities_s: tuple[float, ...]
    period_s: float

    @classmethod
    def of(cls, times_ms: Iterable[int]) -> DeliveryTrace:
        """:raises ValueError: none, or not in order, or all at the beginning"""
        moments = tuple(time_ms / 1000 for time_ms in times_ms)
        if not moments or moments[-1] <= 0 or any(later < earlier for earlier, later in pairwise(moments)):
            raise ValueError("a trace has at least one time after 0, and its times are in order")
        return cls(moments, moments[-1])

    @classmethod
    def read(cls, path: Path) -> DeliveryTrace:
        """:raises TraceUnreadable: not whole milliseconds in order, one in a line"""
        times_ms = []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip().isdecimal():
                raise TraceUnreadable(
                    f"{path}: line {number} is no time in whole milliseconds; one stands in each line"
                )
            times_ms.append(int(line))
        try:
            return cls.of(times_ms)
        except ValueError as error:
            raise TraceUnreadable(f"{path}: {error}") from error

    def write(self, path: Path) -> None:
        path.write_text("".join(f"{round(moment * 1000)}\n" for moment in self.opportunities_s))

    def moment_s(self, index: int) -> float:
        """When opportunity ``index`` comes, the trace played over and over."""
        rounds, place = divmod(index, len(self.opportunities_s))
        return rounds * self.period_s + self.opportunities_s[place]

    def index_from(self, at_s: float) -> int:
        """The first opportunity at or after ``at_s``."""
        rounds = int(at_s // self.period_s)
        return rounds * len(self.opportunities_s) + bisect_left(self.opportunities_s, at_s - rounds * self.period_s)

    def served(self, place: Place, size_bytes: int, since_s: float) -> Place:
        """How far the trace is used up once ``size_bytes`` that wait since ``since_s`` have left; they have at
        ``moment_s`` of the opportunity before."""
        since_s -= SAME_MOMENT_S
        index, left_bytes = place.index, place.left_bytes
        if index == 0 or self.moment_s(index - 1) < since_s:
            index, left_bytes = max(index, self.index_from(since_s)), 0
        opportunities = max(0, -(-(size_bytes - left_bytes) // OPPORTUNITY_BYTES))
        return Place(index + opportunities, left_bytes + opportunities * OPPORTUNITY_BYTES - size_bytes)

    def capacity_bit_s(self, since_s: float, until_s: float) -> float:
        """What can be carried between two moments, as a mean."""
        opportunities = self.index_from(until_s) - self.index_from(since_s)
        return opportunities * OPPORTUNITY_BYTES * 8 / (until_s - since_s)

    def around_bit_s(self, at_s: float) -> float:
        """What it can carry at ``at_s``."""
        return min(self.capacity_bit_s(at_s - WINDOW_S, at_s), self.capacity_bit_s(at_s, at_s + WINDOW_S))


def longest_freeze_s(
    shown_s: Iterable[float], trace: DeliveryTrace, least_bit_s: float, since_s: float, until_s: float
) -> float:
    """The longest time without a new picture while ``trace`` carries at least ``least_bit_s`` all the time.

    :param shown_s: when new pictures were shown, ascending, counted from the beginning of the trace
    """
    pictures = [at_s for at_s in shown_s if since_s <= at_s < until_s]
    longest_s, begins_s, next_picture, at_s = 0.0, since_s, 0, since_s
    while at_s < until_s:
        while next_picture < len(pictures) and pictures[next_picture] <= at_s:
            begins_s = max(begins_s, pictures[next_picture])
            next_picture += 1
        if trace.around_bit_s(at_s) < least_bit_s:
            begins_s = at_s
        longest_s = max(longest_s, at_s - begins_s)
        at_s += GRID_S
    return longest_s


STEP_S = 0.1
Spread = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Roads:
    """What a journey meets. Capacities of the way up in bit/s; every so many seconds, for so long (least, most)."""

    capacity_bit_s: Spread
    down_factor: float
    changes_every_s: float
    changes_s: Spread
    dead_every_s: float
    dead_s: Spread
    back_later_s: Spread | None = None
    """So much longer the way down stays dead."""


COUNTRY = Roads((0.15e6, 20e6), 3.0, 25.0, (0.05, 0.3), 75.0, (1.0, 6.0))
THIRD_GENERATION = Roads((0.1e6, 2e6), 2.0, 8.0, (0.1, 0.6), 30.0, (2.0, 18.0), (0.0, 2.0))
"""At the edge of its cells: long silences, and the way back comes back later."""


def drive(seed: int, seconds: float, roads: Roads = COUNTRY) -> tuple[DeliveryTrace, DeliveryTrace]:
    """Made up: up and down of a van on ``roads``. The capacity wanders; now and then the cell changes, so that nothing
    goes for a moment and the capacity is another one, perhaps a quarter or four times as much; and at times nothing
    goes for seconds."""
    chance = random.Random(seed)
    changes = _gaps(chance, seconds, roads.changes_every_s, roads.changes_s)
    dead = _gaps(chance, seconds, roads.dead_every_s, roads.dead_s)
    at_changes = {int(begins_s / STEP_S) for begins_s, _ in changes}
    (least_bit_s, most_bit_s), rates, level = roads.capacity_bit_s, [], 0.6
    for step in range(int(seconds / STEP_S)):
        level += chance.uniform(-0.3, 0.3) if step in at_changes else chance.gauss(0, 0.04)
        level = min(1.0, max(0.0, level))
        rates.append(least_bit_s * (most_bit_s / least_bit_s) ** level)
    up = _deliveries(chance, rates, [*changes, *dead], 1.0)
    if roads.back_later_s is not None:
        dead = [(begins_s, ends_s + chance.uniform(*roads.back_later_s)) for begins_s, ends_s in dead]
    return up, _deliveries(chance, rates, [*changes, *dead], roads.down_factor)


def _gaps(chance: random.Random, seconds: float, every_s: float, lasts_s: Spread) -> list[tuple[float, float]]:
    gaps, at_s = [], chance.expovariate(1 / every_s)
    while at_s < seconds:
        gaps.append((at_s, at_s + chance.uniform(*lasts_s)))
        at_s = gaps[-1][1] + chance.expovariate(1 / every_s)
    return gaps


def _deliveries(
    chance: random.Random, rates_bit_s: list[float], gaps: list[tuple[float, float]], factor: float
) -> DeliveryTrace:
    times_ms, at_s, end_s = [], 0.0, len(rates_bit_s) * STEP_S
    ahead = deque(sorted(gaps))
    while True:
        rate_bit_s = factor * rates_bit_s[int(at_s / STEP_S)]
        at_s += chance.expovariate(rate_bit_s / (OPPORTUNITY_BYTES * 8))
        while ahead and ahead[0][0] <= at_s:
            at_s = max(at_s, ahead.popleft()[1])
        if at_s >= end_s:
            return DeliveryTrace.of([*times_ms, round(end_s * 1000)])
        times_ms.append(int(at_s * 1000))

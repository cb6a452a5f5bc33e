"""From the receiver to the record: positions become fixes, fixes become presence and ``track`` entries.

The vehicle follows presence with exactly the fixes that go into the track, one every 10 s, so that the county, which
sees only the track, comes to the same arrival, dwell and departure. While the vehicle is powered there is a point at
least every 30 s, with a fix or without one, so that a hole in the track is a hole and not silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from devices.clock import Clock
from devices.events import emit
from devices.readings import Position, Stamped
from sync.formats.records import Draft
from sync.proof.areas import Village
from sync.proof.presence import Arrived, Fix, Left, Presence
from sync.proof.tracks import NoFix, Point, track_fields
from vehicle.commits import Commits

POINT_EVERY_S = 10.0
ENTRY_EVERY_S = 300.0
NO_FIX_EVERY_S = 30.0
MOST_CELLS = 32
UNKNOWN_ACCURACY_M = 999.0
"""For a receiver that does not tell its accuracy: kept in the track, never counted as presence."""

Change = Callable[[Arrived | Left], None]


@dataclass(frozen=True, slots=True)
class LastHeard:
    """The newest statement of the receiver, fix or none."""

    at: datetime
    position: Position


@dataclass(frozen=True, slots=True)
class Beside:
    """What is written into the track beside the positions, where the vehicle has a source for it.

    :ivar odometer_m: whole metres; None: no odometer, or it says nothing now
    :ivar cells: serving cells of the modem, "MCC-MNC-TAC-CI"
    :ivar ignition: None where nothing tells
    """

    odometer_m: Callable[[], int | None] = lambda: None
    cells: Callable[[], Sequence[str]] = tuple
    ignition: Callable[[], bool | None] = lambda: None


@dataclass(slots=True)
class _Written:
    """The points of the ``track`` entry that is under way."""

    points: list[Point] = field(default_factory=list)
    odometer_m: int | None = None
    odometer_end_m: int | None = None
    cells: dict[str, None] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)


class Patrol:
    """Where the vehicle is and has been.

    :ivar presence: follows the villages; its dwell is the visit's clock
    :ivar listeners: called for each confirmed arrival and departure
    :ivar beside: sources of what else is written into the track
    """

    def __init__(
        self, villages: Sequence[Village], commits: Commits, clock: Clock, beside: Beside | None = None
    ) -> None:
        self.village_named: Callable[[], str | None] = lambda: None
        """Code of the village of the open visit: it has the vehicle where areas overlap."""
        self.visit_of_entries: Callable[[], str | None] = lambda: None
        """Says which visit a track entry belongs to."""
        self.presence = Presence(villages, lambda at: self.village_named())
        self.beside = beside or Beside()
        self.listeners: list[Change] = []
        self.last: LastHeard | None = None
        self.last_fix: Fix | None = None
        self._commits = commits
        self._clock = clock
        self._written = _Written()
        self._last_point_at: datetime | None = None

    def on_stamped(self, stamped: Stamped) -> None:
        """Listener of the feed's ``position`` topic."""
        if isinstance(stamped.event, Position):
            self.on_position(stamped.event, stamped.received_at)

    def on_position(self, position: Position, at: datetime) -> None:
        """Take one statement of the receiver; without coordinates it leaves a point without a fix now and then."""
        self.last = LastHeard(at, position)
        if position.spoofing:
            self._written.flags.add("spoofing")
        if position.jamming:
            self._written.flags.add("jamming")
        if position.latitude_deg is None or position.longitude_deg is None:
            self._no_fix(at, position.satellites)
            return
        if self.last_fix is not None and 0 <= (at - self.last_fix.at).total_seconds() < POINT_EVERY_S - 0.5:
            return
        accuracy_m = UNKNOWN_ACCURACY_M if position.accuracy_m is None else position.accuracy_m
        place = position.latitude_deg, position.longitude_deg
        self.on_fix(Fix(at, *place, accuracy_m, position.satellites, bool(position.spoofing)))

    def on_fix(self, fix: Fix) -> None:
        """Take one point of the track; after five minutes of points an entry is written."""
        self.last_fix = fix
        self._add(fix)
        for change in self.presence.feed(fix):
            self._tell(change)

    def flush(self) -> None:
        """Write the points that wait as one ``track`` entry."""
        track = self.take()
        if track is not None:
            self._commits.soon(track)

    def take(self) -> Draft | None:
        """The points that wait as one ``track`` entry, for who has to write it in the same breath as something else."""
        written, self._written = self._written, _Written()
        if not written.points:
            return None
        fields: dict[str, Any] = track_fields(written.points)
        ignition = self.beside.ignition()
        told: dict[str, Any] = {
            "odometer_m": written.odometer_m,
            "odometer_end_m": written.odometer_end_m,
            "cells": [*written.cells] or None,
            "ignition": ignition,
            "flags": sorted(written.flags) or None,
        }
        fields |= {name: value for name, value in told.items() if value is not None}
        return Draft("track/1", fields, visit=self.visit_of_entries())

    def tick(self) -> None:
        """Keep the heartbeat: a point without a fix while the receiver says nothing; an entry every five minutes."""
        now = self._clock.now()
        self._no_fix(now, 0)
        points = self._written.points
        if points and (now - points[0].at).total_seconds() >= ENTRY_EVERY_S:
            self.flush()

    def clock_stepped(self, by: timedelta) -> None:
        """The wall clock was set by so much: what is not written yet and what is remembered move with it."""
        self._written.points = [replace(point, at=point.at + by) for point in self._written.points]
        self.presence.shift(by)
        if self.last_fix is not None:
            self.last_fix = replace(self.last_fix, at=self.last_fix.at + by)
        if self._last_point_at is not None:
            self._last_point_at += by

    def _no_fix(self, at: datetime, satellites: int) -> None:
        before = self._last_point_at
        if before is None or not 0 <= (at - before).total_seconds() < NO_FIX_EVERY_S - 0.5:
            self._add(NoFix(at, satellites))

    def _add(self, point: Point) -> None:
        if self._last_point_at is not None and point.at <= self._last_point_at:
            self.flush()  # the wall clock was set back: an entry's steps only go forward
        self._last_point_at = point.at
        written = self._written
        written.points.append(point)
        odometer_m = self.beside.odometer_m()
        if len(written.points) == 1:
            written.odometer_m = odometer_m
        written.odometer_end_m = odometer_m
        for cell in self.beside.cells():
            if len(written.cells) < MOST_CELLS:
                written.cells[cell] = None
        if (point.at - written.points[0].at).total_seconds() >= ENTRY_EVERY_S - POINT_EVERY_S - 0.5:
            self.flush()

    async def run(self) -> None:
        """The service: ``tick`` every 10 s, for ever."""
        while True:
            self.tick()
            await self._clock.sleep(POINT_EVERY_S)

    def restore(self, fixes: Iterable[Fix], each: Callable[[Fix], None] = lambda fix: None) -> None:
        """After a restart: follow the recorded ``fixes`` again, silently; ``each`` is called after every one."""
        for fix in fixes:
            self.presence.feed(fix)
            self.last_fix = fix
            each(fix)

    @property
    def has_fix(self) -> bool:
        """True while the receiver has told a position within the last 15 s."""
        return self.last_fix is not None and self._clock.now() - self.last_fix.at < timedelta(seconds=15)

    def _tell(self, change: Arrived | Left) -> None:
        entered = isinstance(change, Arrived)
        emit("village_entered" if entered else "village_left", village=change.village.code)
        for listener in self.listeners:
            listener(change)

"""From the receiver to the record: positions become fixes, fixes become presence and ``track`` entries.

The vehicle follows presence with exactly the fixes that go into the track, one every 10 s, so that the county, which
sees only the track, comes to the same arrival, dwell and departure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.clock import Clock
from devices.events import emit
from devices.readings import Position, Stamped
from sync.areas import Village
from sync.presence import Arrived, Fix, Left, Presence
from sync.records import Draft
from sync.tracks import track_fields
from vehicle.commits import Commits

POINT_EVERY_S = 10.0
ENTRY_EVERY_S = 300.0
UNKNOWN_ACCURACY_M = 999.0
"""For a receiver that does not tell its accuracy: kept in the track, never counted as presence."""

Change = Callable[[Arrived | Left], None]


@dataclass(frozen=True, slots=True)
class LastHeard:
    """The newest statement of the receiver, fix or none."""

    at: datetime
    position: Position


class Patrol:
    """Where the vehicle is and has been.

    :ivar presence: follows the villages; its dwell is the visit's clock
    :ivar listeners: called for each confirmed arrival and departure
    """

    def __init__(self, villages: Sequence[Village], commits: Commits, clock: Clock) -> None:
        self.presence = Presence(villages)
        self.listeners: list[Change] = []
        self.last: LastHeard | None = None
        self.last_fix: Fix | None = None
        self._commits = commits
        self._clock = clock
        self._pending: list[Fix] = []
        self.visit_of_entries: Callable[[], str | None] = lambda: None
        """Says which visit a track entry belongs to."""

    def on_stamped(self, stamped: Stamped) -> None:
        """Listener of the feed's ``position`` topic."""
        if isinstance(stamped.event, Position):
            self.on_position(stamped.event, stamped.received_at)

    def on_position(self, position: Position, at: datetime) -> None:
        """Take one statement of the receiver; without coordinates it is no fix and leaves a hole in the track."""
        self.last = LastHeard(at, position)
        if position.latitude_deg is None or position.longitude_deg is None:
            return
        if self.last_fix is not None and 0 <= (at - self.last_fix.at).total_seconds() < POINT_EVERY_S - 0.5:
            return
        accuracy_m = UNKNOWN_ACCURACY_M if position.accuracy_m is None else position.accuracy_m
        self.on_fix(Fix(at, position.latitude_deg, position.longitude_deg, accuracy_m, position.satellites))

    def on_fix(self, fix: Fix) -> None:
        """Take one point of the track; after five minutes of points an entry is written."""
        before = self.last_fix
        if before is not None and fix.at <= before.at:
            self.flush()  # the wall clock was set back: an entry's steps only go forward
        self.last_fix = fix
        self._pending.append(fix)
        if (fix.at - self._pending[0].at).total_seconds() >= ENTRY_EVERY_S - POINT_EVERY_S - 0.5:
            self.flush()
        for change in self.presence.feed(fix):
            self._tell(change)

    def flush(self) -> None:
        """Write the points that wait as one ``track`` entry."""
        if self._pending:
            fields = track_fields(self._pending)
            self._pending = []
            self._commits.soon(Draft("track/1", fields, visit=self.visit_of_entries()))

    def tick(self) -> None:
        """Write points that have waited five minutes although the receiver has fallen silent."""
        if self._pending and (self._clock.now() - self._pending[0].at).total_seconds() >= ENTRY_EVERY_S:
            self.flush()

    async def run(self) -> None:
        """The service: ``tick`` every 10 s, for ever."""
        while True:
            await self._clock.sleep(POINT_EVERY_S)
            self.tick()

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

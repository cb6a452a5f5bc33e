"""The lanes of the uplink, most urgent first, and who has the right of way. The one table of what waits for what.

Journal entries always go. A recording's next part waits while anything more urgent is being sent, and a live
consultation has the uplink first: lanes are then paced or held as the table says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

from devices.errors import Retry


class WhenLive(Enum):
    """What a lane does while a live consultation carries pictures and voice."""

    GOES = "goes"
    PACED = "paced"
    HELD = "held"


PACED_BYTES_S = 16 * 1024
"""128 kbit/s: an ECG of ten seconds is through in three."""
PACED_PART_BYTES = 16 * 1024
JOURNAL = 0
"""Rank of the journal's lane."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of recordings.

    :ivar rank: smaller is more urgent
    :ivar what: kinds of recordings it takes, most urgent first; None: those that no other lane names
    :ivar wanted: of these only what belongs to a consultation that is not over
    :ivar in_flight: recordings that are sent side by side, so that none waits for the other's answer
    :ivar bulk: on the connections for what is large
    """

    name: str
    rank: int
    what: tuple[str, ...] | None
    wanted: bool
    in_flight: int
    bulk: bool
    when_live: WhenLive


LANES = (
    # name              rank  what                            wanted  in flight  bulk   while a consultation is live
    Lane("recordings", 1, ("ecg", "signature", "oximetry"), False, 1, False, WhenLive.PACED),
    Lane("wanted clips", 2, None, True, 3, True, WhenLive.HELD),
    Lane("photos", 3, ("photo",), False, 1, True, WhenLive.HELD),
    Lane("clips", 4, None, False, 3, True, WhenLive.HELD),
    Lane("raw tracks", 5, ("raw_track",), False, 1, True, WhenLive.HELD),
)


class HeldForConsultation(Retry):
    """The lane waits until the live consultation is over."""

    code = "held_for_consultation"


class RightOfWay:
    """Who may send now.

    :param live: whether a live consultation carries media at this moment; asked often, must be quick
    """

    def __init__(self, live: Callable[[], bool] = lambda: False) -> None:
        self._live = live
        self._sending = [0] * (1 + len(LANES))
        self._freed = asyncio.Condition()
        self.choosing = asyncio.Lock()
        self.in_flight: set[str] = set()
        """Recordings that some lane is sending: one that becomes wanted meanwhile is not sent twice."""

    def paced(self, lane: Lane) -> bool:
        return lane.when_live is WhenLive.PACED and self._live()

    def held(self, lane: Lane) -> bool:
        return lane.when_live is WhenLive.HELD and self._live()

    async def turn(self, lane: Lane) -> None:
        """Return when nothing more urgent is being sent.

        :raises HeldForConsultation: the lane has to wait for longer.
        """
        if self.held(lane):
            raise HeldForConsultation("waits for the live consultation")
        async with self._freed:
            await self._freed.wait_for(lambda: not any(self._sending[: lane.rank]))

    @asynccontextmanager
    async def sending(self, rank: int) -> AsyncIterator[None]:
        """While something of ``rank`` is under way."""
        self._sending[rank] += 1
        try:
            yield
        finally:
            self._sending[rank] -= 1
            async with self._freed:
                self._freed.notify_all()

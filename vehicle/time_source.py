"""Where the hour comes from, and whether it jumped: the clock is checked, not trusted.

Within one boot the wall clock minus the monotonic clock is constant; when it is not, a ``clock`` entry says by how
much, so that nobody who reads the journal has to guess.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from devices.clock import Clock
from devices.events import emit
from devices.readings import Position, Stamped
from sync.formats.records import Draft
from vehicle.commits import Commits

AGREES_WITHIN_S = 2.0
GNSS_HEARD_WITHIN_S = 60.0
STEP_S = 2.0
TICK_S = 5.0
NTP_JUST_NOW_S = 30.0
NTP_MARK = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches this file whenever it has synchronised the clock (systemd-timesyncd.service(8))."""


class TimeSource:
    """
    :ivar offset_ms: GNSS time minus wall clock at the newest fix, transmission delay of the receiver included; None
        when no GNSS time is known
    """

    def __init__(
        self,
        clock: Clock,
        commits: Commits,
        changed: Callable[[str], None] = lambda source: None,
        ntp_mark: Path = NTP_MARK,
        stepped: Callable[[timedelta], None] = lambda by: None,
    ) -> None:
        self._clock = clock
        self._commits = commits
        self._changed = changed
        self._ntp_mark = ntp_mark
        self._stepped = stepped
        self._base_s = self._wall_minus_monotonic_s()
        self._gnss_heard_mono_s: float | None = None
        self._told = ""
        self.offset_ms: int | None = None

    def on_stamped(self, stamped: Stamped) -> None:
        """Listener of the feed's ``position`` topic, before all others: they are to meet no step unawares."""
        step_s = self._take_step()
        position = stamped.event
        if isinstance(position, Position) and position.gnss_at is not None and position.latitude_deg is not None:
            self.offset_ms = round((position.gnss_at - stamped.received_at).total_seconds() * 1000)
            self._gnss_heard_mono_s = stamped.received_mono_s
        self._declare(step_s)

    @property
    def source(self) -> str:
        """ "gnss" while a GNSS time agrees within 2 s, else "ntp" when the system clock is synchronised, else "rtc"."""
        if self._gnss_heard_mono_s is not None and self.offset_ms is not None:
            fresh = self._clock.monotonic_s() - self._gnss_heard_mono_s <= GNSS_HEARD_WITHIN_S
            if fresh and abs(self.offset_ms) <= AGREES_WITHIN_S * 1000:
                return "gnss"
        return "ntp" if self._ntp_mark.exists() else "rtc"

    def tick(self) -> None:
        """Look whether the wall clock was stepped since the last tick; a step is written to the journal."""
        self._declare(self._take_step())

    async def run(self) -> None:
        """The service: ``tick`` every 5 s, for ever."""
        while True:
            await self._clock.sleep(TICK_S)
            self.tick()

    def _take_step(self) -> float:
        """Seconds by which the wall clock was stepped since the last look; who remembers times hears of it at once."""
        step_s = self._wall_minus_monotonic_s() - self._base_s
        if abs(step_s) < STEP_S:
            return 0.0
        self._base_s += step_s
        if self.offset_ms is not None:
            self.offset_ms -= round(step_s * 1000)
        emit("clock_stepped", seconds=round(step_s, 3))
        self._stepped(timedelta(seconds=step_s))
        return step_s

    def _declare(self, step_s: float) -> None:
        """Who set the clock is told by what it agrees with now: GNSS time, else the NTP daemon, else nobody known."""
        if step_s:
            source = self._who_set_it()
            self._commits.soon(Draft("clock/1", {"seconds_ms": round(step_s * 1000), "source": source}))
        self._tell()

    def _who_set_it(self) -> str:
        """ "rtc" for a person: that the clock was right an hour ago does not make what is set by hand a correction."""
        if self.source == "gnss":
            return "gnss"
        try:
            synchronised_s = self._ntp_mark.stat().st_mtime
        except OSError:
            return "rtc"
        return "ntp" if abs(self._clock.now().timestamp() - synchronised_s) <= NTP_JUST_NOW_S else "rtc"

    def _tell(self) -> None:
        source = self.source
        if source != self._told:
            self._told = source
            self._changed(source)

    def _wall_minus_monotonic_s(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic_s()

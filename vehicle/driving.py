"""Whether the van drives: faster than 5 km/h by its receiver, so that the screens show nothing to work with.

One fix may jump: two in a row say that it drives, three that it stands. Where the receiver says nothing of speed, or
nothing at all for ``SILENT_S``, the van counts as standing: a screen that cannot be used in a village helps nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devices.clock import Clock
from devices.readings import Position, Stamped

LIMIT_M_S = 5 / 3.6
"""5 km/h (project choice)."""
DRIVES_AFTER, STANDS_AFTER = 2, 3
SILENT_S = 10.0


class Driving:
    """
    :param send: tells the screens of a change, ``vehicle.live.LiveHub.send``
    """

    def __init__(self, clock: Clock, send: Callable[[dict[str, Any]], None]) -> None:
        self._clock = clock
        self._send = send
        self._moving = False
        self._against = 0
        """Fixes in a row that say the contrary."""
        self._heard_s = 0.0

    @property
    def moving(self) -> bool:
        if self._moving and self._clock.monotonic_s() - self._heard_s > SILENT_S:
            self._change(False)
        return self._moving

    def on_stamped(self, stamped: Stamped) -> None:
        """Listener of the feed's ``position`` topic."""
        position = stamped.event
        if not isinstance(position, Position) or position.speed_m_s is None:
            return
        self._heard_s = stamped.received_mono_s
        fast = position.speed_m_s > LIMIT_M_S
        self._against = self._against + 1 if fast is not self._moving else 0
        if self._against >= (DRIVES_AFTER if fast else STANDS_AFTER):
            self._change(fast)

    async def run(self) -> None:
        """The service: a receiver that went silent lets the screens go."""
        while True:
            await self._clock.sleep(SILENT_S / 2)
            _ = self.moving

    def _change(self, moving: bool) -> None:
        self._moving, self._against = moving, 0
        self._send({"type": "driving", "moving": moving})

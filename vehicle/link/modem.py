"""What is known of the mobile network now, from whichever source the van has: an AT port or ModemManager."""

from __future__ import annotations

from collections.abc import Callable

from devices.clock import Clock
from devices.readings import Cellular, Stamped

FRESH_FOR_S = 45.0
"""Four looks; what is older says nothing about where the van is now."""


class Modem:
    """:ivar listeners: called with each statement of the modem"""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: Stamped | None = None
        self.listeners: list[Callable[[Cellular], None]] = []

    def on_stamped(self, stamped: Stamped) -> None:
        """Listener of the feed's ``cellular`` topic. Of two modems the newest that serves counts."""
        if not isinstance(stamped.event, Cellular):
            return
        other = self._heard is not None and self._heard.device != stamped.device
        if other and self.now() is not None and not stamped.event.cells:
            return
        self._heard = stamped
        for listener in self.listeners:
            listener(stamped.event)

    def now(self) -> Cellular | None:
        """The newest statement; None without a modem, or when it has been silent for ``FRESH_FOR_S``."""
        heard = self._heard
        if heard is None or self._clock.monotonic_s() - heard.received_mono_s > FRESH_FOR_S:
            return None
        assert isinstance(heard.event, Cellular)
        return None if heard.event == Cellular() else heard.event

    def cells(self) -> tuple[str, ...]:
        """Identities of the serving cells for the track, "MCC-MNC-TAC-CI"; only while registered."""
        said = self.now()
        if said is None or said.registration in ("none", "denied"):
            return ()
        return tuple(cell.identity for cell in said.cells if cell.identity is not None)

"""The uploader of a vehicle that has no county yet: everything is kept and waits."""

from __future__ import annotations

from devices.clock import Clock
from sync.store import Store
from sync.uploader import Delivered, UplinkStatus


class NoCounty:
    """Has the face of ``sync.uploader.Uploader``; never online, nothing is ever delivered."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._since = clock.now()

    async def run(self) -> None:
        """Nothing to drive."""

    async def deliver_now(self) -> Delivered:
        return Delivered(0, 0, complete=False, reason="no county is set")

    def nudge(self) -> None:
        """Nobody to send to."""

    def network_changed(self) -> None:
        """Nobody to send to."""

    def status(self) -> UplinkStatus:
        return UplinkStatus(False, self._since, None, [], 0.0, self._store.waiting())

"""The uploader of a vehicle that has no county yet: everything is kept and waits."""

from __future__ import annotations

from devices.clock import Clock
from sync.delivery.uploader import Delivered, UplinkStatus
from sync.record.store import Store


class NoCounty:
    """Has the face of ``sync.delivery.uploader.Uploader``; never online, nothing is ever delivered."""

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

"""The link monitor put together: modem, passive figures, probes, and the summary of each visit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devices.clock import Clock
from sync.delivery.link_probe_client import LinkProbeClient
from sync.formats.notes import Signer
from sync.formats.records import Draft
from sync.record.durable_file import write_durably
from vehicle.feed import Feed
from vehicle.link.modem import Modem
from vehicle.link.modem_manager import ModemManager
from vehicle.link.monitor import LinkMonitor, Measured
from vehicle.link.probe_budget import ProbeBudget
from vehicle.link.probing import Moment, Probing
from vehicle.link.rung_entries import Journal, RungEntries
from vehicle.link.visit_quality import OpenVisit, VisitQuality
from vehicle.settings import VehicleSettings

BUDGET_FILE = "link-probe.json"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the link monitor asks of the rest of the vehicle, whenever it needs it.

    :ivar session: what a live consultation says of the link (``telemedicine.session_link``), None without one
    :ivar live: a consultation has the link
    :ivar online: the county was reached lately
    """

    session: Callable[[], Mapping[str, Any] | None]
    live: Callable[[], bool]
    online: Callable[[], bool]
    visit: Callable[[], OpenVisit | None]
    place: Callable[[], tuple[float, float] | None]
    write: Callable[[Draft], None]
    journal: Journal


class Link:
    """:ivar probing: None without a county or where the settings say never"""

    def __init__(
        self,
        settings: VehicleSettings,
        clock: Clock,
        feed: Feed,
        signer: Signer,
        random_bytes: Callable[[int], bytes],
        measured: Measured | None,
        around: Surroundings,
    ) -> None:
        self.modem = Modem(clock)
        self.modem_manager = ModemManager(feed.publish, clock)
        self.rungs = RungEntries(around.journal, around.write)
        self.monitor = LinkMonitor(clock, measured, lambda: self._session(around))
        self.quality = VisitQuality(clock, around.visit, around.place, around.write)
        feed.on("cellular", self.modem.on_stamped, "modem")
        self.monitor.listeners.append(self.quality.on_sample)
        self.modem.listeners.append(self.quality.on_cellular)
        self.probing: Probing | None = None
        if settings.county.url and settings.link.probe_every_minutes:
            self.probing = Probing(
                LinkProbeClient(settings.county.url, signer, clock, lambda: not around.live()),
                _budget(settings),
                clock,
                lambda: _moment(around),
                self.monitor.take,
                random_bytes,
                settings.link.probe_every_minutes * 60.0,
            )

    def _session(self, around: Surroundings) -> Mapping[str, Any] | None:
        said = around.session()
        self.rungs.take(said)
        return said

    async def probe(self) -> None:
        """The service that probes; runs only where ``probing`` is there."""
        assert self.probing is not None
        await self.probing.run()


def _moment(around: Surroundings) -> Moment:
    visit = around.visit()
    return Moment(None if visit is None else visit.visit, around.online() and not around.live())


def _budget(settings: VehicleSettings) -> ProbeBudget:
    kept = settings.data / BUDGET_FILE
    return ProbeBudget(
        settings.link.probe_mb_a_day * 1_000_000,
        settings.link.probe_mb_a_visit * 1_000_000,
        lambda: kept.read_bytes() if kept.exists() else None,
        lambda body: write_durably(kept, body),
    )

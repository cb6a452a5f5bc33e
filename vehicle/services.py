"""What runs in the vehicle process: one row each. ``vehicle.supervisor`` starts, restarts and watches them.

``run`` gives the coroutine to keep running; ``when`` only answers whether this vehicle needs it.
Each device's session is a service of its own besides, so that one faulty driver stops alone: ``vehicle.on_board``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    run: Callable[[Vehicle], Run]
    when: Callable[[Vehicle], bool] = lambda vehicle: True


def _picture_archive(vehicle: Vehicle) -> Run:
    assert vehicle.picture_archive is not None
    return vehicle.picture_archive.run


SERVICES: tuple[Service, ...] = (
    # name           what it runs                                    when
    Service("uploader", lambda v: v.uploader.run, lambda v: bool(v.settings.county.url)),
    Service("enrolment", lambda v: v.enrolment.run, lambda v: bool(v.settings.county.url)),
    Service("screening rules", lambda v: v.rule_book.run),
    Service("patrol", lambda v: v.patrol.run),
    Service("ecg recorder", lambda v: v.ecg.run),
    Service("ecg analysis", lambda v: v.ecg_analysis.run),
    Service("ecg findings", lambda v: v.ecg_findings.run),
    Service("stills and clips", lambda v: v.captures.run),
    Service("picture archive", _picture_archive, lambda v: v.picture_archive is not None),
    Service("driving", lambda v: v.driving.run),
    Service("device events", lambda v: v.device_events.run),
    Service("time source", lambda v: v.time_source.run),
    Service("disk", lambda v: v.disk.run),
    Service("uplink", lambda v: v.uplink.run),
    Service("link monitor", lambda v: v.link.monitor.run),
    Service("link probe", lambda v: v.link.probe, lambda v: v.link.probing is not None),
    Service("modem", lambda v: v.link.modem_manager.run, lambda v: v.settings.link.modem == "modem_manager"),
    Service("consultation", lambda v: v.consultation_process.run),
    Service("printer", lambda v: v.printing.run, lambda v: v.printing.session is not None),
    Service("paper printer", lambda v: v.paper.run, lambda v: v.paper.printer is not None),
    Service("device finder", lambda v: v.finder.run),
    Service("port traps", lambda v: v.traps.run),
    Service("status", lambda v: v.status_teller.run),
    Service("announcer", lambda v: v.announcer.run),
)


def rows(vehicle: Vehicle) -> list[tuple[str, Run]]:
    """(name, run) of every service this vehicle needs; device sessions come besides, ``vehicle.on_board``."""
    return [(service.name, service.run(vehicle)) for service in SERVICES if service.when(vehicle)]

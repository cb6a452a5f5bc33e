"""How the vehicle is: one plain dictionary for the status page, the local API and the log, faults first.

Only reads what others keep; nothing here decides. Each fault carries cause and next step in words.
"""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from devices import catalog
from devices.clock import Clock
from devices.readings import DeviceState, Link, Sensor
from devices.session import DeviceSettings
from sync.delivery.uploader import UplinkStatus
from sync.formats.records import format_time
from sync.proof.presence import LOCAL
from vehicle.announce import NetworkDevice
from vehicle.commits import Commits
from vehicle.consultation_process import ConsultationProcess
from vehicle.device_book import Care
from vehicle.device_events import Device, DeviceEvents
from vehicle.disk import Disk, Level
from vehicle.feed import Feed
from vehicle.hints import hint
from vehicle.link.uplink import Uplink
from vehicle.patrol.position import Patrol
from vehicle.supervisor import Supervisor
from vehicle.time_source import AGREES_WITHIN_S, TimeSource
from vehicle.topics import TOPICS

OFFLINE_IS_A_FAULT_AFTER_S = 60.0
NO_POSITION_IS_A_FAULT_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """``subject`` is the device, service or listener it concerns, or empty."""

    code: str
    subject: str = ""


@dataclass(slots=True)
class Health:
    """
    :param delivery: the uploader's status: online, since, last receipt, parked, and what waits for a receipt
    :param found: network devices that announce themselves
    :param villages_fault: why there is no list of villages, as a code
    :param ecg_fault: code of what keeps an ECG from being saved
    :param not_enrolled: whether the county does not know this van's key
    :param traps: programs that take ports away, (error code, device or "")
    :param voice_refused: audio packs that cannot be used, by their folders
    :param printer_faults: codes of what keeps slips and A4 sheets from being printed
    :param rules_refused: code of why the county's newest edition of the rules was refused; empty: it was not
    :param due: calibration, quality control and strips of devices, due soon or overdue
    """

    clock: Clock
    language: str
    devices: Sequence[DeviceSettings]
    device_events: DeviceEvents
    feed: Feed
    patrol: Patrol
    uplink: Uplink
    delivery: Callable[[], UplinkStatus]
    disk: Disk
    time_source: TimeSource
    commits: Commits
    supervisor: Supervisor
    consultation: ConsultationProcess
    has_county: bool
    found: Mapping[str, NetworkDevice]
    villages_fault: str | None = None
    ecg_fault: Callable[[], str | None] = lambda: None
    not_enrolled: Callable[[UplinkStatus], bool] = lambda delivery: False
    traps: Callable[[], Sequence[tuple[str, str]]] = lambda: ()
    due: Callable[[], Sequence[tuple[str, Care]]] = lambda: ()
    printer_faults: Callable[[], Sequence[str]] = lambda: ()
    voice_refused: Callable[[], Sequence[str]] = lambda: ()
    rules_refused: Callable[[], str] = lambda: ""
    _since: dict[Fault, datetime] = field(default_factory=dict)

    def status(self, language: str | None = None) -> dict[str, Any]:
        """Everything the status page shows; JSON-serialisable, times as in the journal, words in ``language``."""
        delivery = self.delivery()
        waiting = delivery.waiting
        link = asdict(self.uplink.view(delivery))
        link["since"] = _time(link["since"])
        return {
            "faults": self._faults_in_words(delivery, language or self.language),
            "devices": self.devices_told(language or self.language),
            "link": link,
            "waiting": {
                "entries": waiting.entries,
                "bytes": waiting.bytes,
                "oldest_at": _time(waiting.oldest_at),
                "recordings": waiting.recordings,
            },
            "county": {
                "last_receipt_at": _time(delivery.last_receipt_at),
                "held": delivery.held,
                "parked": [{"what": parked.what, "reason": parked.reason} for parked in delivery.parked],
            },
            "disk": {**asdict(self.disk.space), "level": str(self.disk.level)},
            "clock": {"source": self.time_source.source, "offset_ms": self.time_source.offset_ms},
            "position": self._position(),
            "consultation": {"process": "up" if self.consultation.up else "down"},
            "network_devices": [asdict(device) for device in self.found.values()],
            "services": {job.name: str(job.state) for job in self.supervisor.jobs},
            "versions": VERSIONS,
        }

    def devices_told(self, language: str) -> list[dict[str, Any]]:
        """How each device is, in the order of the settings, those that the crew added after them."""
        return [self._device(settings, language) for settings in self.devices]

    def faults(self, delivery: UplinkStatus) -> list[tuple[Fault, datetime]]:
        """What is wrong now, each with the time since when, oldest first."""
        now = self.clock.now()
        present = list(dict.fromkeys(self._found(delivery)))
        self._since = {fault: self._since.get(fault, now) for fault in present}
        return sorted(self._since.items(), key=lambda item: item[1])

    # what is wrong --------------------------------------------------------------------------------------------------

    def _found(self, delivery: UplinkStatus) -> Iterator[Fault]:
        if self.commits.fault is not None:
            yield Fault(self.commits.fault, "journal")
        if self.villages_fault is not None:
            yield Fault(self.villages_fault)
        yield from self._disk_faults()
        yield from (Fault("service_failed", job.name) for job in self.supervisor.failed)
        yield from (Fault("listener_failed", name) for name in self.feed.failures)
        yield from self._device_faults()
        yield from self._silent_streams()
        yield from self._position_faults()
        yield from self._county_faults(delivery)
        offset_ms = self.time_source.offset_ms
        if offset_ms is not None and abs(offset_ms) > AGREES_WITHIN_S * 1000:
            yield Fault("clock_wrong")
        for printer_fault in self.printer_faults():
            yield Fault(printer_fault)
        yield from (Fault("voice_pack_refused", pack) for pack in self.voice_refused())
        if rules := self.rules_refused():
            yield Fault(rules)
        if self.supervisor.jobs and not self.consultation.up:
            yield Fault("consultation_down")

    def _disk_faults(self) -> Iterator[Fault]:
        if self.disk.fault is not None:
            yield Fault(self.disk.fault, "journal")
        if not self.disk.reserve_held:
            yield Fault("disk_reserve_used")
        elif self.disk.level is not Level.OK:
            yield Fault(str(self.disk.level))
        ecg = self.ecg_fault()
        if ecg is not None:
            yield Fault(ecg)

    def _device_faults(self) -> Iterator[Fault]:
        trapped = {name for _, name in self.traps()}
        yield from (Fault(code, name) for code, name in self.traps())
        yield from (Fault(f"{care.what}_{care.state(self._today())}", name) for name, care in self.due())
        for settings in self.devices:
            device = self.device_events.devices.get(settings.name)
            if device is None or settings.name in trapped:
                continue
            if device.state.fault is not None:
                yield Fault(device.state.fault, settings.name)
            elif device.state.link in (Link.LOST, Link.ABSENT) and not _speaks_when_used(settings):
                yield Fault("device_lost", settings.name)

    def _today(self) -> date:
        return self.clock.now().astimezone(LOCAL).date()

    def _silent_streams(self) -> Iterator[Fault]:
        """Liveness from the table of topics: a connected device whose stream has stopped."""
        now_mono_s = self.clock.monotonic_s()
        limits = {topic.name: topic.silent_after_s for topic in TOPICS if topic.silent_after_s is not None}
        on_board = {settings.name for settings in self.devices}
        for (name, topic), heard in self.feed.heard.items():
            device = self.device_events.devices.get(name) if name in on_board else None
            limit_s = limits.get(topic)
            if device is None or limit_s is None or device.state.link is not Link.CONNECTED:
                continue
            if device.state.sensor in (Sensor.OFF, Sensor.LEAD_OFF):  # a hand-held ECG, laid down
                continue
            if now_mono_s - heard.received_mono_s > limit_s and device.state.fault is None:
                yield Fault("stream_silent", name)

    def _position_faults(self) -> Iterator[Fault]:
        last, fix = self.patrol.last, self.patrol.last_fix
        if last is None or last.position.latitude_deg is not None:
            return
        if fix is None or (self.clock.now() - fix.at).total_seconds() > NO_POSITION_IS_A_FAULT_AFTER_S:
            yield Fault("no_position")

    def _county_faults(self, delivery: UplinkStatus) -> Iterator[Fault]:
        if not self.has_county:
            yield Fault("county_not_set")
            return
        if self.not_enrolled(delivery):
            yield Fault("not_enrolled")
        elif delivery.parked:
            yield Fault("upload_parked")
        offline_s = (self.clock.now() - delivery.since).total_seconds()
        if not delivery.online and offline_s > OFFLINE_IS_A_FAULT_AFTER_S:
            yield Fault("county_unreachable")

    # in words -------------------------------------------------------------------------------------------------------

    def _faults_in_words(self, delivery: UplinkStatus, language: str) -> list[dict[str, Any]]:
        told = []
        for fault, since in self.faults(delivery):
            words = hint(fault.code, language)
            told.append(
                {
                    "code": fault.code,
                    "subject": fault.subject,
                    "title": words.title,
                    "cause": words.cause,
                    "next_step": words.next_step,
                    "since": _time(since),
                }
            )
        return told

    def _device(self, settings: DeviceSettings, language: str) -> dict[str, Any]:
        about = catalog.about(settings.driver)
        device: Device | None = self.device_events.devices.get(settings.name)
        state = device.state if device is not None else DeviceState(Link.ABSENT)
        when_used = _speaks_when_used(settings)
        condition = condition_of(state, when_used)
        return {
            "name": settings.name,
            "driver": settings.driver,
            "title": settings.title or (about.title_en if language == "en" else about.title_zh),
            "link": str(state.link),
            "when_used": when_used,
            "condition": condition,
            "ready": condition != "missing" if when_used else state.link in (Link.CONNECTED, Link.DEGRADED),
            "sensor": str(state.sensor),
            "leads_off": list(state.leads_off),
            "battery": state.battery_percent,
            "fault": state.fault,
            "vendor_text": state.vendor_text,
            "last_at": _time(device.heard_at) if device is not None else None,
            "counters": dict(state.counters),
            "hardware_tested": about.hardware_tested,
        }

    def _position(self) -> dict[str, Any]:
        last = self.patrol.last
        village = self.patrol.presence.village
        return {
            "fix": self.patrol.has_fix,
            "satellites": last.position.satellites if last is not None else None,
            "accuracy_m": last.position.accuracy_m if last is not None else None,
            "village": village.name if village is not None else None,
        }


def condition_of(state: DeviceState, when_used: bool) -> str:
    """How a device stands, for screens: on, busy, standby (asleep until it is used, as it should be) or missing.

    :param when_used: the device speaks only when used; its absence says nothing unless it comes with a fault
    """
    if when_used and state.fault is not None:
        return "missing"
    if state.link in (Link.ABSENT, Link.LOST):
        return "standby" if when_used else "missing"
    if state.link in (Link.CONNECTING, Link.DEGRADED) or state.sensor in (Sensor.LEAD_OFF, Sensor.SEARCHING):
        return "busy"
    return "on"


def _speaks_when_used(settings: DeviceSettings) -> bool:
    """What runs on a battery is silent between uses: its absence is not worth saying."""
    return catalog.about(settings.driver).speaks_when_used(settings.link)


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _own_version() -> str:
    try:
        return version("xunzhen")
    except PackageNotFoundError:
        return "source"


VERSIONS = {"xunzhen": _own_version(), "sqlite": sqlite3.sqlite_version, "python": platform.python_version()}

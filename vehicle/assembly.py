"""The vehicle, put together: which part gets which. Nothing is opened to the outside before ``start``.

``assemble`` with a ``SimulatedClock`` and ``sessions=False`` gives the same vehicle for simulated time: publish
``Stamped`` events on its feed, call ``patrol.on_position``, await its services.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devices.clock import Clock, SystemClock
from devices.errors import AskPerson
from devices.session import DeviceSession, open_sessions
from sync.areas import Village, VillagesRefused, read_villages
from sync.identifiers import Identifiers
from sync.keys import VehicleKey
from sync.recordings import Recordings
from sync.sealing import Sealer
from sync.store import Store
from sync.uploader import CountyClient, Uploader
from vehicle.announce import Announcer
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.measurements import Measurements
from vehicle.clinic.people import People
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.staff import Staff
from vehicle.commits import Commits
from vehicle.consultation_process import ConsultationProcess
from vehicle.consultations import Consultations
from vehicle.device_events import DeviceEvents
from vehicle.disk import Disk
from vehicle.feed import Feed
from vehicle.health import VERSIONS, Health
from vehicle.link.tcp_info import TcpWatch
from vehicle.link.uplink import Uplink
from vehicle.live import LiveHub
from vehicle.patrol.position import Patrol
from vehicle.patrol.visits import Visits
from vehicle.recorder import EcgRecorder, Progress, Served
from vehicle.services import rows
from vehicle.settings import VehicleSettings
from vehicle.status_teller import StatusTeller
from vehicle.supervisor import Supervisor
from vehicle.time_source import TimeSource

if TYPE_CHECKING:
    from devices.links.bluetooth_link import BluetoothHub


@dataclass(slots=True)
class Vehicle:
    """Everything of one vehicle, by the names the screens use."""

    settings: VehicleSettings
    clock: Clock
    random_bytes: Callable[[int], bytes]
    feed: Feed
    live: LiveHub
    store: Store
    recordings: Recordings
    key: VehicleKey
    ids: Identifiers
    commits: Commits
    uploader: Uploader
    staff: Staff
    patrol: Patrol
    visits: Visits
    people: People
    encounters: Encounters
    measurements: Measurements
    screening: Prompts
    ecg: EcgRecorder
    consultations: Consultations
    device_events: DeviceEvents
    time_source: TimeSource
    disk: Disk
    uplink: Uplink
    consultation_process: ConsultationProcess
    supervisor: Supervisor
    health: Health
    status_teller: StatusTeller
    announcer: Announcer
    sessions: list[DeviceSession]
    hub: BluetoothHub | None

    async def start(self) -> None:
        """Start the services of ``vehicle.services``; the feed begins to flow."""
        self.supervisor.start(rows(self))

    async def stop(self) -> None:
        """Stop what runs, write what still waits, close the journal. May be called twice, and without ``start``."""
        await self.ecg.stop()
        await self.supervisor.stop()
        if self.hub is not None:
            await self.hub.close()
        self.patrol.flush()
        await self.commits.settle()
        await self.uploader.close()
        self.store.close()

    def close(self) -> None:
        """``stop`` for simulated time, without an event loop."""
        self.patrol.flush()
        self.store.close()

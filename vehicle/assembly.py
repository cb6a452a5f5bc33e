"""The vehicle, put together: which part gets which. Nothing is opened to the outside before ``start``.

``assemble`` with a ``SimulatedClock`` and ``sessions=False`` gives the same vehicle for simulated time: publish
``Stamped`` events on its feed, call ``patrol.on_position``, await its services.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

from devices import catalog
from devices.clock import Clock, SystemClock
from devices.events import emit
from devices.serial_ports import Places
from devices.session import DeviceSession, DeviceSettings, open_sessions
from sync.delivery.connections import Connections
from sync.delivery.county_client import CountyClient
from sync.delivery.key_rotation import RotatingClient
from sync.delivery.recording_delivery import NOT_KNOWN
from sync.delivery.uploader import Uploader
from sync.formats.identifiers import Identifiers
from sync.interop.dicom_queue import DicomQueue
from sync.proof.areas import Village
from sync.proof.presence import LOCAL
from sync.record.eviction import Eviction
from sync.record.recordings import Recordings
from sync.record.store import Store
from telemedicine.consultation import State
from vehicle.announce import Announcer
from vehicle.camera_choice import CameraChoice
from vehicle.captures import Captures
from vehicle.clinic.background import Backgrounds
from vehicle.clinic.critical import CriticalValues
from vehicle.clinic.critical_findings import CriticalFindings
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.follow_ups import FollowUps
from vehicle.clinic.health_profile import HealthProfiles
from vehicle.clinic.households import Households
from vehicle.clinic.laboratory import Laboratory
from vehicle.clinic.measurements import Measurements
from vehicle.clinic.path_runs import PathRuns
from vehicle.clinic.people import People
from vehicle.clinic.programmes import Programmes
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.referrals import Referrals
from vehicle.clinic.specimens import Specimens
from vehicle.clinic.staff import Staff
from vehicle.clinic_assembly import assemble_clinic
from vehicle.commits import Commits
from vehicle.consultation_people import ConsultationPeople
from vehicle.consultation_process import ConsultationProcess
from vehicle.consultations import Consultations
from vehicle.device_book import Care, DeviceBook
from vehicle.device_events import DeviceEvents, usb_serial
from vehicle.disk import Disk
from vehicle.driving import Driving
from vehicle.ecg_analysis import EcgAnalysis
from vehicle.ecg_findings import EcgFindings
from vehicle.ecg_import import EcgImport
from vehicle.emergency import Emergencies
from vehicle.enrolment import Enrolment
from vehicle.feed import Feed
from vehicle.fhir_export import FhirExport
from vehicle.finder import Finder
from vehicle.health import Health
from vehicle.link.link import Link, Surroundings
from vehicle.link.no_county import NoCounty
from vehicle.link.uplink import Uplink
from vehicle.link.visit_quality import OpenVisit
from vehicle.live import LiveHub
from vehicle.nights import Nights
from vehicle.on_board import OnBoard
from vehicle.open_record import Record, known_villages, open_record
from vehicle.pairing import Pairing
from vehicle.patrol.position import Beside, Patrol
from vehicle.patrol.visit_pictures import VisitPictures
from vehicle.patrol.visits import Visits
from vehicle.picture_archive import dicom_queue
from vehicle.port_traps import PortTraps
from vehicle.printing.form_sheets import FormSheets
from vehicle.printing.paper_queue import PaperQueue
from vehicle.printing.printing import Printing
from vehicle.recorded_ecg import Served
from vehicle.recorder import EcgRecorder, Progress
from vehicle.rule_book import RuleBook
from vehicle.services import rows
from vehicle.settings import VehicleSettings
from vehicle.status_teller import StatusTeller
from vehicle.sticks import Sticks
from vehicle.supervisor import Supervisor
from vehicle.time_source import TimeSource
from vehicle.ultrasound import Ultrasound
from vehicle.voice.voice import Voice

if TYPE_CHECKING:
    import httpx

    from devices.links.bluetooth_hub import BluetoothHub


class Vehicle:
    """Everything of one vehicle, by the names the screens use; made by ``assemble``."""

    settings: VehicleSettings
    # the record and its delivery
    store: Store
    recordings: Recordings
    county: CountyClient | None
    uploader: Uploader | NoCounty
    uplink: Uplink
    link: Link
    sticks: Sticks
    enrolment: Enrolment
    # where the vehicle is
    villages: tuple[Village, ...]
    patrol: Patrol
    visits: Visits
    time_source: TimeSource
    # whom it serves
    staff: Staff
    people: People
    households: Households
    backgrounds: Backgrounds
    encounters: Encounters
    screening: Prompts
    rule_book: RuleBook
    paths: PathRuns
    referrals: Referrals
    programmes: Programmes
    follow_ups: FollowUps
    health_profiles: HealthProfiles
    form_sheets: FormSheets
    measurements: Measurements
    critical_values: CriticalValues
    critical_findings: CriticalFindings
    specimens: Specimens
    laboratory: Laboratory
    consultations: Consultations
    emergencies: Emergencies
    consultation_people: ConsultationPeople
    printing: Printing
    paper: PaperQueue
    voice: Voice
    visit_pictures: VisitPictures
    ecg: EcgRecorder
    ecg_analysis: EcgAnalysis
    ecg_findings: EcgFindings
    fhir_export: FhirExport
    # what looks after it
    on_board: OnBoard
    device_events: DeviceEvents
    disk: Disk
    consultation_process: ConsultationProcess
    supervisor: Supervisor
    health: Health
    status_teller: StatusTeller
    finder: Finder
    traps: PortTraps
    device_book: DeviceBook
    pairing: Pairing
    announcer: Announcer

    def __init__(
        self,
        settings: VehicleSettings,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        record: Record,
        sessions: bool,
        port: int | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.random_bytes = random_bytes
        self.key, self.store, self.recordings = record.keys, record.store, record.recordings
        self.ids = Identifiers(clock, random_bytes)
        self.commits = Commits(self.store, clock, at_once=not sessions)
        self.feed = Feed()
        self.live = LiveHub()
        self.live.listen(self.feed)
        self.supervisor = Supervisor(clock)
        self._hub: BluetoothHub | None = None
        self._with_sessions = sessions
        self._stopped = False
        self.on_board = OnBoard(settings.devices, self.store, self.supervisor, self._open_session, self._tell_found)
        self._deliver(transport)
        self._follow_position()
        self._know_devices()
        assemble_clinic(self, record.sealer)
        self._record_ecg()
        self._take_pictures()
        self._look_after(port)

    # put together ---------------------------------------------------------------------------------------------------

    def _deliver(self, transport: httpx.AsyncBaseTransport | None) -> None:
        county = self.settings.county
        connections = Connections(self.clock) if transport is None and county.url else None
        self.county = None
        self.uploader = NoCounty(self.store, self.clock)
        if county.url:
            self.county = RotatingClient(
                county.url, county.key, self.key, self.clock, transport, connections=connections
            )
            self.uploader = Uploader(self.store, self.recordings, self.county, self.clock, live=self._is_live)
        self.sticks = Sticks(
            self.store,
            self.recordings,
            self.county.key if self.county else None,
            self.clock,
            self.live.send,
            self.uploader.nudge,
            self.settings.stick.folders,
        )
        measured = connections.measured if connections else None
        around = Surroundings(
            session=lambda: self.consultation_process.link,
            live=self._is_live,
            online=lambda: self.uploader.status().online,
            visit=self._open_visit,
            place=self._place,
            write=self.commits.soon,
            journal=self.store,
        )
        self.link = Link(self.settings, self.clock, self.feed, self.key, self.random_bytes, measured, around)
        self.uplink = Uplink(self.clock, measured, changed=self.uploader.network_changed, sample=self.link.monitor.now)
        self.enrolment = Enrolment(
            self.settings.vehicle,
            self.county,
            self.key.verifier_key,
            self.uploader.status,
            self._enrolled,
            self.clock,
            self.random_bytes,
        )

    def _follow_position(self) -> None:
        settings = self.settings
        self.villages, self._villages_fault = known_villages(settings.patrol.villages)
        self.staff = Staff(settings.staff, self.store, self.clock)
        self.patrol = Patrol(self.villages, self.commits, self.clock, Beside(cells=self.link.modem.cells))
        self.visits = Visits(
            record=self.store,
            commits=self.commits,
            ids=self.ids,
            patrol=self.patrol,
            clock=self.clock,
            known=self.villages,
            staff=self.staff.all,
            send=self.live.send,
            required_s=settings.patrol.required_dwell_minutes * 60.0,
        )
        self.visits.restore()
        self.visits.closed_listeners.append(lambda visit: self.link.quality.flush())
        self.time_source = TimeSource(self.clock, self.commits, self._time_source_changed, stepped=self._clock_stepped)
        self.device_events = DeviceEvents(self.commits, self.clock, serial_of=self._serial_of)
        self.feed.on("position", self.time_source.on_stamped, "time source")
        self.feed.on("position", self.patrol.on_stamped, "patrol")
        self.driving: Driving = Driving(self.clock, self.live.send)
        self.feed.on("position", self.driving.on_stamped, "driving")
        self.feed.on("device", self.device_events.on_stamped, "device events")

    def _know_devices(self) -> None:
        self.device_book = DeviceBook(self.store)
        self.pairing = Pairing(self.store, self.clock, self.live, self._bluetooth_places, lambda: self._hub)
        self.pairing.listen(self.feed)

    def _take_pictures(self) -> None:
        self.captures: Captures = Captures(self.recordings, self.store, self.clock, self.live, self._served)
        self.captures.recover()
        self.camera_choice = CameraChoice(self.settings.data, self.store)
        self.ultrasound: Ultrasound = Ultrasound(self.store, self.ids, self.live, self.captures)
        queue = dicom_queue(
            self.settings,
            self.store,
            self.recordings,
            self.clock,
            self._is_live,
            lambda sha256: self.ecg_findings.median_beat(sha256),
        )
        self.picture_archive: DicomQueue | None = queue
        if queue is not None:
            self.captures.listeners.append(lambda _: queue.nudge())

    def _record_ecg(self) -> None:
        self.ecg = EcgRecorder(self.recordings, self.store, self.clock, self._served, self._tell_recording)
        self.recordings.discard_unclaimed()
        self.ecg.recover()
        self.ecg_import = EcgImport(lambda: self.sticks.found(), self.recordings, self.store, self.clock, self._served)
        self.ecg_import.listen(self.feed, self.commits)
        self.nights = Nights(self.recordings, self.store, self.live, self._served)
        self.nights.listen(self.feed, self.commits)
        self.feed.on("ecg", self.ecg.on_samples, "ecg recorder")
        self.ecg_analysis = EcgAnalysis(self.feed, self.live, self.critical_findings.on_live_ecg)
        self.encounters.listeners.append(self.ecg_analysis.somebody_else)
        self.ecg_findings = EcgFindings(
            self.store, self.recordings, self.clock, self.live, self.screening, self.staff, self.critical_findings
        )

    def _look_after(self, port: int | None) -> None:
        settings = self.settings
        self.disk = Disk(settings.data, self.clock, Eviction(self.store, self.recordings), self.store)
        self.recordings.admit = self.disk.admit
        self.consultation_process = ConsultationProcess(settings.consultation.socket, self.clock)
        self.traps = PortTraps(self.on_board, lambda: self.device_events.devices, self.clock)
        self.announcer = Announcer(settings, settings.touchscreen.port if port is None else port)
        places = Places(settings.labelled_ports)
        self.finder = Finder(self.on_board, self.clock, self._radio, self.announcer.found, self._tell_found, places)
        self.health = Health(
            clock=self.clock,
            language=settings.language,
            devices=self.on_board,
            device_events=self.device_events,
            feed=self.feed,
            patrol=self.patrol,
            uplink=self.uplink,
            delivery=self.uploader.status,
            disk=self.disk,
            time_source=self.time_source,
            commits=self.commits,
            supervisor=self.supervisor,
            consultation=self.consultation_process,
            has_county=bool(settings.county.url),
            found=self.announcer.found,
            villages_fault=self._villages_fault,
            ecg_fault=lambda: self.ecg.fault,
            not_enrolled=self.enrolment.due,
            traps=lambda: self.traps.found,
            due=self._due,
            printer_faults=lambda: [fault for fault in (self.printing.fault, self.paper.fault) if fault],
            rules_refused=lambda: self.rule_book.fault_code,
            voice_refused=lambda: [str(refusal.facts["pack"]) for refusal in self.voice.refused],
        )
        self.status_teller = StatusTeller(self.health.status, self.live.send, self.visits.tell, self.clock)

    # run ------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the device sessions and start the services of ``vehicle.services``; the feed begins to flow."""
        if self._with_sessions:
            await self.on_board.start()
        self.supervisor.start(rows(self))

    async def stop(self) -> None:
        """Stop what runs, write what still waits, close the journal. May be called twice, and without ``start``."""
        if self._stopped:
            return
        self._stopped = True
        await self.ecg.stop()
        await self.captures.stop()
        await self.supervisor.stop()
        if self._hub is not None:
            await self._hub.stop()
        await self.encounters.settle()
        self.patrol.flush()
        self.link.quality.flush()
        if not await self.commits.settle():
            emit("entries_not_written", level=logging.ERROR, count=self.commits.waiting)
        if self.county is not None:
            await self.county.aclose()
        await self.sticks.close()
        self.store.close()

    # devices --------------------------------------------------------------------------------------------------------

    def _open_session(self, device: DeviceSettings) -> DeviceSession | None:
        radio = self._radio() if device.link == "bluetooth" else None
        stored = partial(self._stored, device.name)
        opened = open_sessions(
            [device], self.feed.publish, self.clock, radio, self.measurements.last_sequence, stored, self.nights.known
        )
        return opened[0] if opened else None

    async def _stored(self, device: str) -> bool:
        """Whether all that ``device`` has told so far is durable, so that it may forget it."""
        half_heard = self.feed.take_half_heard(device)
        return await self.commits.settle() and not self.commits.take_left_out() and not half_heard

    def _radio(self) -> BluetoothHub | None:
        """Made when first needed: importing it is not cheap, and a van may have no adapter."""
        if self._hub is None and self._with_sessions:
            from devices.links.bluetooth_hub import BluetoothHub

            self._hub = BluetoothHub(self.clock, self.pairing.ask)
        return self._hub

    def today(self) -> date:
        return self.clock.now().astimezone(LOCAL).date()

    def _due(self) -> list[tuple[str, Care]]:
        return self.device_book.due([device.name for device in self.on_board], self.today())

    def hardware_of(self, device: str) -> str | None:
        """What tells this device from another of its name: Bluetooth address, USB serial; None where nothing does."""
        session = self.on_board.sessions.get(device)
        if session is None or not session.place:
            return None
        return session.place if session.settings.link == "bluetooth" else usb_serial(session.place)

    def _bluetooth_places(self) -> dict[str, str]:
        """Device name -> Bluetooth address, of those that were found."""
        sessions = self.on_board.sessions.items()
        return {name: one.place for name, one in sessions if one.settings.link == "bluetooth" and one.place}

    def _tell_found(self) -> None:
        """Pages that show devices look again."""
        self.live.send({"type": "discovery"})

    # between the parts ----------------------------------------------------------------------------------------------

    def _is_live(self) -> bool:
        """A consultation carries pictures and voice: the uplink is its own first (``sync.delivery.lanes``)."""
        process = self.consultation_process
        return process.up and (process.live or self._is_connected())

    def _is_connected(self) -> bool:
        """By the journal, which hears of it seconds before we look again."""
        return bool(self.store.read("SELECT 1 FROM consultations WHERE state = ? LIMIT 1", (State.CONNECTED,)))

    def _open_visit(self) -> OpenVisit | None:
        visit, village = self.patrol.visit_of_entries(), self.patrol.village_named()
        return None if visit is None or village is None else OpenVisit(visit, village)

    def _place(self) -> tuple[float, float] | None:
        fix = self.patrol.last_fix
        return None if fix is None else (fix.latitude_deg, fix.longitude_deg)

    def _enrolled(self) -> None:
        """The county knows our key now: what it refused for that reason is tried again."""
        if isinstance(self.uploader, Uploader):
            for parked in self.uploader.status().parked:
                if parked.status in NOT_KNOWN:
                    self.uploader.retry_parked(parked.what)
            self.uploader.nudge()

    def _served(self) -> Served:
        visit, encounter = self.visits.current(), self.encounters.current()
        return Served(
            visit=visit.visit if visit is not None else None,
            encounter=encounter.encounter if encounter is not None else None,
            patient=encounter.patient.patient if encounter is not None else None,
        )

    def _tell_recording(self, progress: Progress | None) -> None:
        self.live.send({"type": "ecg_recording", "recording": None if progress is None else asdict(progress)})
        if progress is None:
            self.ecg_findings.nudge()

    def _clock_stepped(self, by: timedelta) -> None:
        self.patrol.clock_stepped(by)
        self.visits.clock_stepped(by)

    def _serial_of(self, device: str) -> str | None:
        """What the hardware says it is: its own serial number, its Bluetooth address, or that of its USB adapter."""
        session = self.on_board.sessions.get(device)
        told = session.identity.serial if session is not None and session.place and session.identity else None
        return told or self.hardware_of(device)

    def _time_source_changed(self, source: str) -> None:
        self.store.set_time_source(source)
        self.live.send({"type": "clock", "source": source})


def assemble(
    settings: VehicleSettings,
    clock: Clock | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
    sessions: bool = True,
    *,
    port: int | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Vehicle:
    """Open the record of this vehicle and put everything together.

    :param sessions: False: no device is opened and entries are written in the caller's turn (simulated time)
    :param port: the touchscreen's port as bound, when the settings say 0
    :param transport: instead of the network, for a county in the same process
    :raises AskPerson: key missing, journal in use or unreadable, a driver that does not exist ...
    """
    clock = clock or SystemClock()
    for device in settings.devices:
        catalog.about(device.driver)
    record = open_record(settings, clock, random_bytes)
    with contextlib.ExitStack() as undo:
        undo.callback(record.store.close)
        vehicle = Vehicle(settings, clock, random_bytes, record, sessions, port, transport)
        undo.pop_all()
    return vehicle

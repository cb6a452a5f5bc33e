"""A clinic over a real store in simulated time: staff, visits, people, encounters, measurements, consultations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from devices.clock import SimulatedClock
from devices.readings import (
    BloodPressure,
    DeviceState,
    Event,
    Glucose,
    IdentityCard,
    Link,
    PulseOximetry,
    Stamped,
)
from sync.formats.identifiers import Identifiers
from sync.keys.sealing import Sealer
from sync.proof.areas import Village, read_villages
from sync.record.recordings import Recordings
from tests.vehicle.conftest import GEOJSON, counting_bytes, open_store
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.critical import CriticalValues
from vehicle.clinic.critical_findings import CriticalFindings
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.identity import check_digit
from vehicle.clinic.instruments import Instrument
from vehicle.clinic.measurements import Measurements
from vehicle.clinic.path_runs import PathRuns
from vehicle.clinic.paths import shipped_paths
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.referrals import Referrals
from vehicle.clinic.screening import shipped_rules
from vehicle.clinic.settings import ClinicSettings
from vehicle.clinic.staff import Staff
from vehicle.commits import Commits
from vehicle.consultations import Consultations
from vehicle.feed import Feed
from vehicle.patrol.position import Patrol
from vehicle.patrol.visits import Visits

VILLAGE = "510199201201"
DOCTOR, NURSE, DRIVER = "zhou.min", "wu.qian", "zhao.hai"
PINS = {DOCTOR: "2580", NURSE: "1357", DRIVER: "2468"}
_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PIN_HASHES = {person: _QUICK.hash(pin) for person, pin in PINS.items()}


@dataclass(frozen=True)
class Account:
    id: str
    name: str
    role: str
    pin_hash: str
    further_roles: tuple[str, ...] = ()


ACCOUNTS = (
    Account(DOCTOR, "周敏", "village_doctor", PIN_HASHES[DOCTOR]),
    Account(NURSE, "吴倩", "nurse", PIN_HASHES[NURSE]),
    Account(DRIVER, "赵海", "driver", PIN_HASHES[DRIVER]),
)
INSTRUMENTS = (
    Instrument("cuff-1", ("blood_pressure",), speaks_when_used=True),
    Instrument("meter-1", ("glucose",), speaks_when_used=True),
    Instrument("finger-1", ("pulse_oximetry",), speaks_when_used=False),
)


class World:
    """Open again on the same folder to see what a restart leaves."""

    def __init__(
        self,
        folder: Path,
        clock: SimulatedClock,
        settings: ClinicSettings | None = None,
        seed: int = 1,
        language: str = "zh",
        hardware_of: Callable[[str], str | None] = lambda device: None,
    ) -> None:
        self.clock = clock
        self.store = open_store(folder / "data", clock, seed)
        self.sent: list[dict[str, Any]] = []
        self.feed = Feed()
        commits = Commits(self.store, clock, at_once=True)
        ids = self.ids = Identifiers(clock, counting_bytes(seed + 40))
        villages: tuple[Village, ...] = read_villages(GEOJSON)
        self.staff = Staff(ACCOUNTS, self.store, clock, _QUICK)
        self.visits = Visits(
            record=self.store,
            commits=commits,
            ids=ids,
            patrol=Patrol(villages, commits, clock),
            clock=clock,
            known=villages,
            staff=self.staff.all,
            send=self.sent.append,
            required_s=14400.0,
        )
        self.visits.restore()
        sealer = Sealer.load_or_create(folder / "keys" / "fields.key", counting_bytes(seed + 80))
        self.people = People(self.store, ids, clock, sealer)
        self.encounters = Encounters(self.store, ids, clock, self, self.people, self.staff, self.visits)
        paths = shipped_paths()
        settings = settings or ClinicSettings(altitude_m=480)
        self.prompts = Prompts(self.store, ids, clock, self, self.people, shipped_rules(), settings, language, paths)
        self.paths = PathRuns(self.store, ids, clock, self.prompts, paths)
        self.referrals = Referrals(self.store, ids, clock, self.prompts, self.paths, paths)
        self.measurements = Measurements(
            self.store, ids, clock, self, commits, self.encounters, self.prompts, self.visits, INSTRUMENTS, hardware_of
        )
        self.recordings = Recordings(folder / "data" / "recordings")
        self.critical_values = CriticalValues(
            self.store, clock, self.recordings, self.encounters, self.measurements, self
        )
        self.critical_findings = CriticalFindings(self.store, ids, clock, self, commits, self.encounters)
        self.consultations = Consultations(
            self.store,
            ids,
            clock,
            self,
            self.recordings,
            self.people,
            self.encounters,
            self.staff,
            CaseNotes(self.store, self.people, self.prompts),
            "van-07.example",
            language,
        )
        self.encounters.listen(self.feed)
        self.measurements.listen(self.feed)

    def send(self, message: dict[str, Any]) -> None:
        """The live hub's end of it."""
        self.sent.append(message)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["type"] == kind]

    def publish(self, event: Event, device: str, driver: str = "simulated") -> None:
        self.feed.publish(Stamped(device, driver, self.clock.now(), self.clock.monotonic_s(), event))

    async def arrive(self) -> None:
        await self.visits.start(VILLAGE, [DOCTOR, NURSE], DOCTOR)

    async def serve(self, who: IdentityCard | None = None) -> PatientView:
        """Register the person of a card and serve them; a visit is opened when none is."""
        if self.visits.current() is None:
            await self.arrive()
        patient = await self.people.from_card(who or card(), DOCTOR)
        await self.encounters.open(patient.patient, DOCTOR)
        return patient

    def cuff(self, systolic: float, diastolic: float, pulse: float = 76.0, **more: Any) -> str:
        """A cuff finishes; the id of the reading that arrived."""
        self.publish(BloodPressure(systolic, diastolic, pulse_bpm=pulse, **more), "cuff-1")
        return self.last("blood_pressure")

    def meter(self, glucose: float | None, **more: Any) -> str:
        self.publish(Glucose(glucose, **more), "meter-1")
        return self.last("glucose")

    def finger(self, spo2: int | None, seconds: int = 1, pulse: int = 74) -> None:
        """An oximeter's number once a second."""
        for _ in range(seconds):
            self.publish(PulseOximetry(spo2, None if spo2 is None else pulse, 4.2), "finger-1")
            self.clock.advance(1.0)

    def state(self, device: str, link: Link, fault: str | None = None) -> None:
        self.publish(DeviceState(link, fault=fault), device)

    def last(self, kind: str) -> str:
        rows = self.store.read("SELECT reading FROM readings WHERE type = ? ORDER BY taken_at, reading", (kind,))
        return str(rows[-1]["reading"])

    def tile(self, kind: str) -> Any:
        return next(tile for tile in self.measurements.tiles() if tile.type == kind)

    def kinds(self) -> list[str]:
        return [row["kind"] for row in self.store.read("SELECT kind FROM entries ORDER BY n")]

    def close(self) -> None:
        self.store.close()


def id_number(born_on: date = date(1958, 4, 17), order: str = "042", area: str = "510727") -> str:
    """A number that passes the check; an odd third digit of ``order`` is male."""
    first = f"{area}{born_on:%Y%m%d}{order}"
    return first + check_digit(first)


def card(
    name: str = "杨桂芳", born_on: date = date(1958, 4, 17), order: str = "042", address: str = "青峪县白果镇王家村3组"
) -> IdentityCard:
    return IdentityCard(
        name=name,
        sex="male" if int(order[2]) % 2 else "female",
        ethnicity_code="01",
        born_on=born_on,
        address=address,
        id_number=id_number(born_on, order),
        issuer="青峪县公安局",
        valid_from=date(2010, 1, 1),
        valid_until=None,
    )

"""A county with a lived-through month, for tests of the server and of its pages: real journals, delivered for real."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from argon2 import PasswordHasher
from fastapi import FastAPI

from devices.clock import SimulatedClock
from sync.county.app import County, create_county
from sync.county.settings import CountySettings
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Delivered, Uploader
from sync.formats.notes import SeedSigner, Signer
from sync.formats.records import Draft, format_time
from sync.formats.request_signature import signature_headers
from sync.proof.anchors import newer_anchor
from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.presence import LOCAL, Fix
from sync.proof.tracks import track_fields
from sync.record.recordings import Recordings
from sync.record.store import Store

TOWNSHIP = Path(__file__).parents[2] / "xunzhen" / "demo" / "township.geojson"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Cheap hashes: these tests try routes, not passwords."""
PASSWORD = "practice-2580"
PEOPLE = {
    "xu.jing": ("许静", "administrator"),
    "shen.ruochuan": ("沈若川", "specialist"),
    "he.ming": ("何明", "auditor"),
    "qian.xu": ("钱许", "reviewer"),
}
CREW = (
    {"person": "zhou.min", "role": "village_doctor", "name": "周敏"},
    {"person": "wu.qian", "role": "nurse", "name": "吴倩"},
    {"person": "zhao.hai", "role": "driver", "name": "赵海"},
)

OTHER_CREW = (
    {"person": "luo.wen", "role": "doctor", "name": "罗文"},
    {"person": "ma.lan", "role": "nurse", "name": "马兰"},
)


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """Local time in 2026."""
    return datetime(2026, month, day, hour, minute, tzinfo=LOCAL).astimezone(UTC)


def counting_random(seed: int = 7) -> random.Random:
    return random.Random(seed)


@dataclass
class Founded:
    """A county on a simulated clock with its four accounts and the invented township.

    :ivar database: URL; empty means SQLite in ``folder``
    :ivar recordings: folder or URL; empty means in ``folder``
    """

    folder: Path
    clock: SimulatedClock
    database: str = ""
    recordings: str = ""
    app: FastAPI = field(init=False)
    vans: dict[str, Van] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = self.open()
        for id, (name, role) in PEOPLE.items():
            self.county.accounts.add(id, name, role, PASSWORD)
        self.county.registry.import_villages(json.loads(TOWNSHIP.read_text(encoding="utf-8")), by="xu.jing")

    def open(self) -> FastAPI:
        settings = CountySettings(
            name="青峪县",
            data=self.folder / "county",
            origin="county.qingyu.example",
            database=self.database,
            recordings=self.recordings,
        )
        return create_county(settings, self.clock, counting_random().randbytes, hasher=QUICK)

    @property
    def county(self) -> County:
        county: County = self.app.state.county
        return county

    @property
    def villages(self) -> tuple[Village, ...]:
        return self.county.registry.villages()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://county.test")

    async def signed_in(self, id: str) -> httpx.AsyncClient:
        client = self.client()
        answer = await client.post("/sign-in", data={"account": id, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client

    async def signed(self, signer: Signer, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        """A request as a vehicle signs it."""
        signed = signature_headers(signer, method, path, body, self.clock.now())
        async with self.client() as client:
            return await client.request(method, path, content=body, headers={**signed, **headers})

    def van(self, name: str, practice: bool = False, plate: str = "") -> Van:
        """An enrolled van with a journal of its own."""
        origin = f"{name}.qingyu.example"
        signer = SeedSigner(origin, name.encode().ljust(32, b"-"))
        self.county.fleet.enrol(origin, str(signer.verifier_key()), name, plate)
        self.vans[name] = Van(self, name, signer, practice)
        return self.vans[name]

    def close(self) -> None:
        for van in self.vans.values():
            van.store.close()
        self.county.close()


@dataclass
class Van:
    founded: Founded
    name: str
    signer: SeedSigner
    practice: bool
    store: Store = field(init=False)
    uploader: Uploader = field(init=False)
    recordings: Recordings = field(init=False)
    client: CountyClient = field(init=False)
    _numbers: int = 0

    def __post_init__(self) -> None:
        clock = self.founded.clock
        folder = self.founded.folder / self.name
        self.store = Store.open(folder, self.signer.name, self.signer, clock, vehicle=self.name, practice=self.practice)
        self.recordings = Recordings(folder)
        self.client = CountyClient(
            "http://county.test",
            self.founded.county.verifier_key,
            self.signer,
            clock,
            transport=httpx.ASGITransport(self.founded.app),
        )
        self.uploader = Uploader(self.store, self.recordings, self.client, clock, jitter=lambda: 0.0)

    def restart(self) -> None:
        """Switch off and on: a new boot, which anchors itself in the last receipt."""
        self.store.close()
        self.__post_init__()

    async def morning(self, moment: datetime) -> None:
        """Switched on at ``moment``, and a first delivery while there is a network."""
        self._go_to(moment)
        self.restart()
        await self.deliver()

    async def deliver(self) -> Delivered:
        return await self.uploader.deliver_now()

    def id(self, what: str) -> str:
        self._numbers += 1
        return f"{what}-{self.name}-{self._numbers:04d}"

    def visit(
        self,
        village: Village,
        since: datetime,
        minutes: int = 250,
        people: int = 12,
        crew: tuple[dict[str, str], ...] = CREW,
        stands_in: Village | None = None,
        close: bool = True,
        confirm: bool = True,
        anchored: bool = True,
    ) -> str:
        """Drive in, stand, serve, drive out; the simulated clock is at the end afterwards. Returns the visit's id.

        :param stands_in: where the van really stands, when that is another village
        :param confirm: the village doctor confirms, which is the second witness beside the device and the people
        :param anchored: the van has had a receipt before
        """
        chance = random.Random(f"{self.name} {since}")
        place, visit = stands_in or village, self.id("visit")
        end = since + timedelta(minutes=minutes)
        if anchored:
            self._get_receipt()
        anchor = newer_anchor(self.store.read)
        attached = {"device": "bp-1", "driver": "bluetooth_blood_pressure", "event": "attached"}
        opened = {"visit_id": visit, "village": village.code, "village_name": village.name}
        opened |= {"township": village.township, "proposed_by": "position", "arrived_at": format_time(since)}
        confirmed = {"visit_id": visit, "village": village.code, "means": "pin", "person": "tang", "name": "唐村医"}
        told = [
            (since - timedelta(minutes=4), [Draft("device_event/1", {**attached, "facts": {"serial": "BP-0042"}})]),
            (
                since + timedelta(minutes=3),
                [
                    *([anchor] if anchor is not None else []),
                    Draft("visit_opened/1", {**opened, "crew": [*crew]}, by="zhou.min", visit=visit),
                ],
            ),
        ]
        for person in range(people):
            told.append((since + timedelta(minutes=minutes / (people + 1) * (person + 1)), self._served(visit, chance)))
        if confirm:
            told.append((end - timedelta(minutes=2), [Draft("village_confirmed/1", confirmed, by="tang", visit=visit)]))
        for part in _parts(_track(place, since, minutes, chance, leaves=close), end):
            told.append(
                (part[-1].at, [Draft("track/1", track_fields(part), visit=visit if part[0].at < end else None)])
            )
        if close:
            closed = {"visit_id": visit, "arrived_at": format_time(since), "departed_at": format_time(end)}
            closed |= {"dwell_s": minutes * 60, "encounters": people}
            told.append((end, [Draft("visit_closed/1", closed, by="zhou.min", visit=visit)]))
        for moment, drafts in sorted(told, key=lambda step: step[0]):
            self._go_to(moment)
            self.store.commit_now(*drafts)
        if close:
            self.founded.clock.advance(600)
        return visit

    def _get_receipt(self) -> None:
        """A van that never had one delivers what it has: else everything it does would be weakly anchored."""
        if not self.store.read("SELECT 1 AS one FROM receipts LIMIT 1"):
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, self.deliver()).result()

    def _served(self, visit: str, chance: random.Random) -> list[Draft]:
        patient, encounter, pressure, sugar = (self.id(what) for what in ("patient", "encounter", "reading", "reading"))
        where = {"by": "zhou.min", "visit": visit, "encounter": encounter}
        person = {"patient": patient, "name": "演练居民", "sex": "2", "source": "manual"}
        values = {"systolic_mmhg": chance.randint(110, 185), "diastolic_mmhg": 82, "pulse_bpm": 74}
        measured = {"driver": "bluetooth_blood_pressure", "device": "bp-1", "by_hand": False}
        drafts = [
            Draft("patient/1", person, by="zhou.min", visit=visit),
            Draft("encounter/1", {"encounter_id": encounter, "patient": patient, "purpose": "随访"}, **where),
        ]
        for reading, kind, found in (
            (pressure, "blood_pressure", values),
            (sugar, "glucose", {"glucose_mmol_l_e2": chance.randint(420, 900)}),
        ):
            drafts.append(Draft("reading/1", {"reading": reading, "type": kind, "values": found, **measured}, **where))
            drafts.append(Draft("reading_confirmed/1", {"reading": reading, "patient": patient}, **where))
        return [*drafts, Draft("encounter_closed/1", {"encounter_id": encounter}, **where)]

    def _go_to(self, moment: datetime) -> None:
        ahead = (moment - self.founded.clock.now()).total_seconds()
        if ahead > 0:
            self.founded.clock.advance(ahead)


def _track(village: Village, since: datetime, minutes: int, chance: random.Random, leaves: bool) -> list[Fix]:
    """In from four kilometres east, standing beside the centre, and out again: a point every ten seconds."""
    north, east = chance.uniform(-250, 250), chance.uniform(-250, 250)
    drive = 40
    offsets = [(4000 * (1 - step / drive) ** 1.2, 900 * (1 - step / drive)) for step in range(drive)]
    stand = [(0.0, 0.0)] * (minutes * 6)
    way = [*offsets, *stand, *(reversed(offsets) if leaves else [])]
    start = since - timedelta(seconds=10 * (drive // 2))
    fixes = []
    for place, (more_east, more_north) in enumerate(way):
        latitude = village.centre_latitude_deg + (north + more_north + chance.gauss(0, 1.5)) / METRES_PER_DEGREE
        longitude = village.centre_longitude_deg + (east + more_east + chance.gauss(0, 1.5)) / METRES_PER_DEGREE / 0.856
        fixes.append(Fix(start + timedelta(seconds=10 * place), latitude, longitude, 6.0, chance.randint(11, 15)))
    return fixes


def _parts(track: list[Fix], end: datetime) -> Iterator[list[Fix]]:
    """Five minutes in an entry; one ends where the visit does."""
    part: list[Fix] = []
    for fix in track:
        if part and (len(part) == 30 or part[0].at < end <= fix.at):
            yield part
            part = []
        part.append(fix)
    yield part


async def lived_through(folder: Path, practice: bool = True, database: str = "") -> Founded:
    """September 2026 up to the 21st: two vans, full visits, a short one, one with too few staff, one too close.

    What van-07 did on the 4th is delivered on the 8th only: weakly anchored.
    """
    founded = Founded(folder, SimulatedClock(at(8, 31, 20)), database)
    seven, nine = founded.van("van-07", practice, "川A·演07"), founded.van("van-09", practice, "川A·演09")
    villages = founded.villages
    for day, van, number, minutes, people, crew in (
        (1, seven, 0, 262, 14, CREW),
        (2, seven, 1, 251, 11, CREW),
        (3, nine, 2, 281, 16, CREW),
        (4, seven, 3, 245, 9, CREW),
        (7, nine, 4, 249, 20, CREW),
        (8, seven, 5, 175, 7, CREW),
        (9, nine, 6, 258, 13, CREW),
        (10, seven, 0, 247, 12, CREW),
        (11, seven, 1, 266, 15, CREW),
        (14, nine, 2, 243, 10, CREW),
        (15, seven, 3, 254, 12, CREW[:1]),
        (16, nine, 4, 301, 18, CREW),
        (17, seven, 7, 246, 11, CREW),
        (18, seven, 7, 244, 8, CREW),
        (18, nine, 8, 252, 13, CREW),
    ):
        begins = max(at(9, day, 7, 40), founded.clock.now())  # both have one clock: the second of a day goes later
        await van.morning(begins)
        van.visit(villages[number], begins + timedelta(minutes=40), minutes, people, crew)
        if day != 4:
            await van.deliver()
    await seven.morning(at(9, 21, 7, 40))
    seven.visit(villages[5], at(9, 21, 8, 21), 160, 6, close=False)
    await seven.deliver()
    await nine.deliver()
    return founded

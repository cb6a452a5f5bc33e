"""A county with a witness and vans that work as vans do, for tests of evidence: every part is the real one."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from PIL import Image, ImageDraw

from devices.clock import SimulatedClock
from sync.county.app import create_county
from sync.county.evidence_maker import Evidence, EvidenceMaker
from sync.county.evidence_pages import maker, trusted
from sync.county.settings import CountySettings, WitnessAddress
from sync.county.witnessing import Witnessing
from sync.formats.notes import ED25519_COSIGNATURE, SeedSigner
from sync.formats.records import Draft, format_time
from sync.proof.anchors import newer_anchor
from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.presence import Fix
from sync.proof.tracks import track_fields
from sync.witness.app import create_witness
from sync.witness.client import WitnessClient
from sync.witness.ledger import Ledger
from sync.witness.settings import WitnessedCounty
from tests.sync.county_month import CREW, QUICK, Founded, Van, at, counting_random

PROVINCE = SeedSigner("witness.province.example", b"p" * 32, ED25519_COSIGNATURE)
MONTH = date(2026, 9, 1)
BEFORE, AFTER = timedelta(minutes=40), timedelta(minutes=30)
"""From the boot to arriving, and from leaving to the last delivery of the day."""
_STEP = timedelta(seconds=10)


def jpeg_of_a_sign() -> bytes:
    """A blue sign above a meadow, and a white van beside it."""
    picture = Image.new("RGB", (640, 360), (150, 190, 225))
    draw = ImageDraw.Draw(picture)
    for box, colour in (((0, 220, 640, 360), (120, 140, 90)), ((60, 90, 220, 170), (40, 90, 160))):
        draw.rectangle(box, fill=colour)
    draw.rectangle((330, 140, 590, 270), fill=(240, 240, 240))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=70)
    return written.getvalue()


SIGN_JPEG = jpeg_of_a_sign()


@dataclass
class EvidenceCounty(Founded):
    """Founded with a witness that is asked whenever ``witness`` is called."""

    ledger: Ledger = field(init=False)
    pusher: Witnessing = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        county = self.county
        known = WitnessedCounty(registry=str(county.registry.verifier_key), key=str(county.verifier_key))
        self.ledger = Ledger(self.folder / "witness.db", (known,), PROVINCE, self.clock)
        through = httpx.ASGITransport(create_witness(self.ledger))
        client = WitnessClient("http://witness.test", PROVINCE.verifier_key(), through)
        self.pusher = Witnessing(county.database, county.mirror, county.registry, client, self.clock)

    def open(self) -> FastAPI:
        settings = CountySettings(
            name="青峪县",
            data=self.folder / "county",
            origin="county.qingyu.example",
            database=self.database,
            witness=WitnessAddress(url="http://witness.test", key=str(PROVINCE.verifier_key())),
        )
        return create_county(settings, self.clock, counting_random().randbytes, hasher=QUICK)

    async def witness(self) -> None:
        await self.pusher.push_due()

    @property
    def policy(self) -> bytes:
        return trusted(self.county).encode()

    @property
    def maker(self) -> EvidenceMaker:
        return maker(self.county)

    def of_visit(self, visit: str) -> Evidence:
        return self.maker.of_visit(visit, MONTH, practice=False)

    def of_village(self, village: Village) -> Evidence:
        return self.maker.of_village(village.code, MONTH, practice=False)

    def close(self) -> None:
        self.ledger.close()
        super().close()


@dataclass
class DayOut:
    """One village on one day, told as it happened; ``run`` lets the van write it in the order of time.

    :ivar boots: whether the van is switched on for it
    :ivar confirms: whether the village doctor does
    :ivar attaches: whether a meter is there
    :ivar closes: whether anybody ends the visit
    :ivar photo: of the van at the village sign, taken on arriving; empty: none
    """

    van: Van
    village: Village
    since: datetime
    minutes: int = 250
    people: int = 6
    crew: tuple[dict[str, str], ...] = CREW
    stands_in: Village | None = None
    boots: bool = True
    confirms: bool = True
    attaches: bool = True
    closes: bool = True
    photo: bytes = b""
    visit: str = field(init=False)

    def __post_init__(self) -> None:
        self.visit = self.van.id("visit")

    @property
    def until(self) -> datetime:
        return self.since + timedelta(minutes=self.minutes)

    async def run(self) -> str:
        """Returns the visit's id. Delivered before and after; the clock stands at the end."""
        await self.begin()
        for when, drafts in self.plan():
            self.write(when, drafts)
        await self.end()
        return self.visit

    async def begin(self) -> None:
        """Switched on, delivered, anchored."""
        self._go_to(self.since - BEFORE)
        if self.boots:
            self.van.restart()
            if self.attaches:
                attached = {"device": "bp-1", "driver": "bluetooth_blood_pressure", "event": "attached"}
                self._write(Draft("device_event/1", {**attached, "facts": {"serial": "BP-20260007"}}))
            await self.van.deliver()
            anchor = newer_anchor(self.van.store.read)
            if anchor is not None:
                self._write(anchor)

    def write(self, when: datetime, drafts: list[Draft]) -> None:
        self._go_to(when)
        self._write(*drafts)

    async def end(self) -> None:
        self._go_to(self.until + AFTER)
        await self.van.deliver()

    def plan(self) -> list[tuple[datetime, list[Draft]]]:
        """What the van writes and when, in order."""
        return sorted(self._plan(), key=lambda planned: planned[0])

    def _plan(self) -> Iterable[tuple[datetime, list[Draft]]]:
        chance = random.Random(f"{self.van.name} {self.since}")
        yield self.since + timedelta(minutes=3), [self._opened()]
        if self.photo:
            yield self.since + timedelta(minutes=5), [self._photographed()]
        if self.confirms:
            yield self.since + timedelta(minutes=25), [self._confirmed()]
        every = timedelta(minutes=self.minutes) / (self.people + 1)
        for person in range(self.people):
            yield from self._served(self.since + every * (person + 1), chance)
        if self.closes:
            yield self.until - timedelta(minutes=1), [self._closed()]
        yield from self._track(chance)

    def _opened(self) -> Draft:
        fields = {"visit_id": self.visit, "village": self.village.code, "village_name": self.village.name}
        fields |= {"township": self.village.township, "proposed_by": "position"}
        where = {"arrived_at": format_time(self.since), "crew": [*self.crew]}
        return Draft("visit_opened/1", {**fields, **where}, by="zhou.min", visit=self.visit)

    def _photographed(self) -> Draft:
        north, east = round(self.village.centre_latitude_deg * 1e7), round(self.village.centre_longitude_deg * 1e7)
        fields = {"visit_id": self.visit, "village": self.village.code, "what": "village_sign"}
        fields |= {"sha256": sha256(self.photo).hexdigest(), "media_type": "image/jpeg"}
        where = {"taken_at": format_time(self.since + timedelta(minutes=4)), "lat_e7": north, "lon_e7": east}
        return Draft("visit_picture/1", {**fields, **where, "accuracy_m": 6}, by="zhou.min", visit=self.visit)

    def _confirmed(self) -> Draft:
        fields = {"visit_id": self.visit, "village": self.village.code, "person": "zhou.min", "name": "周敏"}
        return Draft("village_confirmed/1", {**fields, "means": "pin"}, by="zhou.min", visit=self.visit)

    def _served(self, begins: datetime, chance: random.Random) -> Iterable[tuple[datetime, list[Draft]]]:
        drafts = self.van._served(self.visit, chance)
        closing = drafts.pop()
        yield begins, drafts
        fields = {**closing.fields, "opened_at": format_time(begins)}
        yield begins + timedelta(minutes=8), [Draft(closing.kind, fields, closing.by, closing.visit, closing.encounter)]

    def _closed(self) -> Draft:
        fields = {"visit_id": self.visit, "arrived_at": format_time(self.since), "departed_at": format_time(self.until)}
        claimed = {"dwell_s": self.minutes * 60, "encounters": self.people}
        return Draft("visit_closed/1", {**fields, **claimed}, by="zhou.min", visit=self.visit)

    def _track(self, chance: random.Random) -> Iterable[tuple[datetime, list[Draft]]]:
        """From the boot to ten minutes after leaving: a point every ten seconds, an entry every five minutes."""
        points, odometer_m, begun_m = [], 42_000.0, 42_000
        now, ends = self.since - BEFORE + _STEP, self.until + timedelta(minutes=10)
        before: tuple[float, float] | None = None
        while now <= ends:
            place = self._place(now)
            odometer_m += ((place[0] - before[0]) ** 2 + (place[1] - before[1]) ** 2) ** 0.5 if before else 0
            before = place
            points.append(self._fix(now, place, chance))
            if len(points) == 30 or now + _STEP > ends:
                wheels = {"odometer_m": begun_m, "odometer_end_m": round(odometer_m)}
                yield now, [Draft("track/1", {**track_fields(points), **wheels}, visit=None)]
                points, begun_m = [], round(odometer_m)
            now += _STEP

    def _place(self, now: datetime) -> tuple[float, float]:
        """Metres east and north of the centre: in from nine kilometres east, standing, and out again."""
        way = max((self.since - now) / timedelta(minutes=15), (now - self.until) / timedelta(minutes=15), 0.0)
        return min(way, 1.0) * 9000.0 + 30.0, min(way, 1.0) * 1200.0

    def _fix(self, now: datetime, place: tuple[float, float], chance: random.Random) -> Fix:
        village = self.stands_in or self.village
        north, east = (place[1] + chance.gauss(0, 1.5)), (place[0] + chance.gauss(0, 1.5))
        latitude = village.centre_latitude_deg + north / METRES_PER_DEGREE
        longitude = village.centre_longitude_deg + east / METRES_PER_DEGREE / 0.856
        return Fix(now, latitude, longitude, 6.0, chance.randint(11, 15))

    def _write(self, *drafts: Draft) -> None:
        self.van.store.commit_now(*drafts)

    def _go_to(self, moment: datetime) -> None:
        ahead = (moment - self.van.founded.clock.now()).total_seconds()
        if ahead > 0:
            self.van.founded.clock.advance(ahead)


async def side_by_side(*outings: DayOut) -> None:
    """Vans that are out at the same time; those that begin at another time are switched on early."""
    for outing in outings:
        await outing.begin()
    planned = [(when, outing, drafts) for outing in outings for when, drafts in outing.plan()]
    for when, outing, drafts in sorted(planned, key=lambda one: one[0]):
        outing.write(when, drafts)
    for outing in outings:
        await outing.end()


async def begun(county: EvidenceCounty, *names: str) -> list[Van]:
    """Vans that were enrolled and have delivered once, so that their next boot has an anchor."""
    vans = [county.van(name) for name in names]
    for van in vans:
        await van.deliver()
    await county.witness()
    return vans


def merge_villages(listed: dict[str, Any], old: str, heir: str) -> None:
    """Make one village of two in a GeoJSON list, under the code ``heir``."""
    features = {feature["properties"]["code"]: feature for feature in listed["features"]}
    geometries = [features[code]["geometry"] for code in (old, heir)]
    polygons = [
        polygon
        for geometry in geometries
        for polygon in (geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]])
    ]
    features[heir]["geometry"] = {"type": "MultiPolygon", "coordinates": polygons}
    listed["features"].remove(features[old])


async def working_month(folder: Path) -> tuple[EvidenceCounty, dict[str, str]]:
    """September 2026 until the 16th: visits by what they show.

    Village 0 has two counted ones and one too close, village 1 a short one, village 2 two by two vans, village 3 one
    with too few staff.
    """
    county = EvidenceCounty(folder, SimulatedClock(at(8, 31, 20)))
    seven, nine = await begun(county, "van-07", "van-09")
    villages = county.villages
    visits = {}
    for name, outing in (
        ("first", DayOut(seven, villages[0], at(9, 1, 8, 20), photo=SIGN_JPEG)),
        ("longer", DayOut(seven, villages[2], at(9, 3, 8, 20), 262)),
        ("short", DayOut(seven, villages[1], at(9, 4, 8, 20), 170)),
        ("second", DayOut(seven, villages[0], at(9, 8, 8, 20))),
        ("few staff", DayOut(seven, villages[3], at(9, 9, 8, 20), crew=CREW[:1])),
        ("too close", DayOut(seven, villages[0], at(9, 11, 8, 20))),
    ):
        visits[name] = await outing.run()
        await county.witness()
    county.clock.advance(3600)
    for name, outing in (("rival", DayOut(nine, villages[2], at(9, 14, 8, 20))),):
        visits[name] = await outing.run()
        await county.witness()
    return county, visits

"""A county with a year of work in it, written through the real mirror and interpreter.

``python -m benchmarks.county_year --data build/year [--database postgresql://...] [--vans 20] [--villages 600]
[--every 60 --entry 1800]``

Every village is visited twice a month, on days 14 apart, by a van of its own part of the county: track points,
residents with readings, the village doctor's confirmation, an anchor each morning, a delivery each evening. Points are
30 s apart, not 10 as on the road: what is kept of a visit is the same, and a year is made in a third of the time.
With points 60 s apart and half an hour in an entry it takes less than half of that again.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from devices.clock import SimulatedClock
from sync.county.app import County, open_county
from sync.county.settings import CountySettings
from sync.formats.merkle import Frontier, consistency_proof, leaf_hash
from sync.formats.notes import Checkpoint, SeedSigner
from sync.formats.records import Draft, Stamp, format_time, write_entry
from sync.formats.wire import AddCheckpoint, AddEntries, AddEntriesHead, build_package, package_ranges
from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.presence import LOCAL, Fix
from sync.proof.tracks import track_fields

MINUTES = 246
SHORT, SHORT_MINUTES = 0.05, 205
"""Share of the visits that end too early."""
SLOTS = ((7, 0), (11, 20), (15, 40))
"""Three villages a day, local time."""
KILOMETRES = 3.0
"""Side of a village's square; centres stand that far apart."""
CREW = [
    {"person": "zhou.min", "role": "village_doctor", "name": "周敏"},
    {"person": "wu.qian", "role": "nurse", "name": "吴倩"},
    {"person": "zhao.hai", "role": "driver", "name": "赵海"},
]


def _crew(vehicle: str) -> list[dict[str, str]]:
    """Nobody is on duty in two vans at once."""
    return [{**person, "person": f"{person['person']}.{vehicle}"} for person in CREW]


@dataclass(frozen=True)
class Size:
    """:ivar people: residents served in each visit
    :ivar every_s: from one track point to the next; at most 60
    :ivar entry_s: of track in one entry
    """

    vans: int = 20
    villages: int = 600
    months: int = 12
    people: int = 3
    every_s: int = 30
    entry_s: int = 300
    year: int = 2026


class Journal:
    """A vehicle's log in memory: what was not yet delivered, and the hashes that its proofs need."""

    def __init__(self, signer: SeedSigner, vehicle: str) -> None:
        self.signer, self.vehicle = signer, vehicle
        self.boot, self._switched_on = 0, datetime(2000, 1, 1, tzinfo=UTC)
        self.delivered = 0
        self._frontier = Frontier()
        self._hashes: dict[tuple[int, int], bytes] = {}
        self._waiting: list[bytes] = []

    @property
    def size(self) -> int:
        return self._frontier.size

    def switch_on(self, at: datetime) -> None:
        self.boot, self._switched_on = self.boot + 1, at
        self.write(Draft("boot/1", {"software": "0.1.0"}), at)

    def write(self, draft: Draft, at: datetime) -> None:
        mono_ms = round((at - self._switched_on).total_seconds() * 1000)
        salt = sha256(b"%d" % self.size).digest()[:16] if draft.check().personal else b""
        stamp = Stamp(self.size, at, "gnss", self.boot, mono_ms, self.vehicle, salt)
        body = write_entry(draft, stamp).body
        leaf = leaf_hash(body)
        self._hashes[0, self.size] = leaf
        self._waiting.append(body)
        for level, place, hashed in self._frontier.append(leaf):
            self._hashes[level, place] = hashed

    def deliver(self, county: County) -> None:
        """As a van does in the evening: one checkpoint, all entries, a receipt."""
        old, size, origin = self.delivered, self.size, self.signer.name
        note = Checkpoint(origin, size, self._frontier.root()).signed(self.signer)
        proof = tuple(consistency_proof(old, size, self._read))
        county.mirror.add_checkpoint(self.signer.verifier_key(), AddCheckpoint(old, proof, note))
        packages = [build_package(a, b, size, self._read, self._bodies) for a, b in package_ranges(old, size)]
        taken = county.mirror.add_entries(origin, AddEntries(AddEntriesHead(origin, old, size), tuple(packages), False))
        assert taken.receipt is not None
        self.delivered = size
        self._waiting.clear()

    def _read(self, level: int, place: int) -> bytes:
        return self._hashes[level, place]

    def _bodies(self, first: int, count: int) -> Sequence[bytes]:
        return self._waiting[first - self.delivered : first - self.delivered + count]


def found(settings: CountySettings, size: Size) -> tuple[County, list[Journal]]:
    """An empty county with its villages and enrolled vans."""
    clock = SimulatedClock(datetime(size.year, 1, 1, 5, 0, tzinfo=LOCAL).astimezone(UTC))
    county = open_county(settings, clock)
    county.registry.import_villages(_squares(size.villages), by="benchmark")
    journals = []
    for number in range(size.vans):
        signer = SeedSigner(f"van-{number:02d}.{settings.origin}", number.to_bytes(32, "big"))
        county.fleet.enrol(signer.name, str(signer.verifier_key()), f"van-{number:02d}")
        journals.append(Journal(signer, f"van-{number:02d}"))
    return county, journals


def live_through(county: County, journals: list[Journal], size: Size) -> Iterator[tuple[int, int]]:
    """The year, month by month; yields (month, entries so far) after each."""
    clock = county.clock
    assert isinstance(clock, SimulatedClock)
    parts = [county.registry.villages()[number :: size.vans] for number in range(size.vans)]
    for month in range(1, size.months + 1):
        for day, slots in _plan(len(parts[0])):
            morning = datetime(size.year, month, day, 6, 0, tzinfo=LOCAL).astimezone(UTC)
            clock.advance((morning - clock.now()).total_seconds())
            for journal, villages in zip(journals, parts, strict=True):
                _drive(
                    county,
                    journal,
                    size,
                    [(hour, villages[place]) for hour, place in slots if place < len(villages)],
                )
            clock.advance(15 * 3600)
            for journal in journals:
                journal.deliver(county)
        for journal in journals:
            county.interpreter.catch_up(journal.signer.name)
        yield month, sum(journal.size for journal in journals)


def _plan(villages: int) -> Iterator[tuple[int, list[tuple[tuple[int, int], int]]]]:
    """(day, [(hour and minute, village)]) of a month: all villages, and all again 14 days later."""
    days = -(-villages // len(SLOTS))
    if days > 14:
        raise ValueError(f"{villages} villages are too many for one van: take more vans")
    for first in (1, 15):
        for day in range(days):
            yield first + day, [(slot, day * len(SLOTS) + place) for place, slot in enumerate(SLOTS)]


def _drive(county: County, journal: Journal, size: Size, villages: list[tuple[tuple[int, int], Village]]) -> None:
    now = county.clock.now()
    journal.switch_on(now)
    journal.deliver(county)
    note = county.mirror.checkpoint(journal.signer.name)
    assert note is not None
    checkpoint = Checkpoint.parse(note.decode().partition("\n\n")[0] + "\n")
    anchor: dict[str, Any] = {
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "receipt_sha256": sha256(note).hexdigest(),
    }
    journal.write(Draft("anchor/1", anchor), now)
    for (hour, minute), village in villages:
        begins = now + timedelta(hours=hour - 6, minutes=minute)
        _visit(journal, village, begins, size, random.Random(f"{village.code} {begins}"))


def _visit(journal: Journal, village: Village, begins: datetime, size: Size, chance: random.Random) -> None:
    minutes = SHORT_MINUTES if chance.random() < SHORT else MINUTES
    ends = begins + timedelta(minutes=minutes)
    visit = f"visit-{journal.vehicle}-{journal.boot:04d}-{begins:%H%M}"
    opened = {"visit_id": visit, "village": village.code, "village_name": village.name, "township": village.township}
    opened |= {"proposed_by": "position", "arrived_at": format_time(begins)}
    attached: dict[str, Any] = {"device": "bp-1", "driver": "bluetooth_blood_pressure", "event": "attached"}
    told: list[tuple[datetime, Draft]] = [
        (begins - timedelta(minutes=4), Draft("device_event/1", {**attached, "facts": {"serial": "BP-0042"}})),
        (
            begins + timedelta(minutes=6),
            Draft("visit_opened/1", {**opened, "crew": _crew(journal.vehicle)}, by="zhou.min", visit=visit),
        ),
    ]
    for number in range(size.people):
        at = begins + timedelta(minutes=30 + 160 / size.people * number)
        told += _served(visit, f"{visit}-{number}", at, chance)
    confirmed = {"visit_id": visit, "village": village.code, "means": "pin", "person": "tang", "name": "唐村医"}
    told.append((ends - timedelta(minutes=2), Draft("village_confirmed/1", confirmed, by="tang", visit=visit)))
    told += [
        (points[-1].at, Draft("track/1", track_fields(points)))
        for points in _track(village, begins, minutes * 60, size, chance)
    ]
    closed: dict[str, Any] = {"visit_id": visit, "arrived_at": format_time(begins), "departed_at": format_time(ends)}
    told.append(
        (
            ends,
            Draft("visit_closed/1", {**closed, "dwell_s": minutes * 60, "encounters": 3}, by="zhou.min", visit=visit),
        )
    )
    for at, draft in sorted(told, key=lambda one: one[0]):
        journal.write(draft, at)


def _served(visit: str, id: str, at: datetime, chance: random.Random) -> list[tuple[datetime, Draft]]:
    where: dict[str, Any] = {"by": "zhou.min", "visit": visit, "encounter": f"e-{id}"}
    person: dict[str, Any] = {"patient": f"p-{id}", "name": "演练居民", "sex": "female", "source": "manual"}
    values: dict[str, Any] = {"systolic_mmhg": chance.randint(110, 185), "diastolic_mmhg": 82, "pulse_bpm": 74}
    measured: dict[str, Any] = {
        "driver": "bluetooth_blood_pressure",
        "device": "bp-1",
        "by_hand": False,
        "type": "blood_pressure",
    }
    drafts = (
        Draft("patient/1", person, by="zhou.min", visit=visit),
        Draft("encounter/1", {"encounter_id": f"e-{id}", "patient": f"p-{id}", "purpose": "随访"}, **where),
        Draft("reading/1", {"reading": f"r-{id}", "values": values, **measured}, **where),
        Draft("reading_confirmed/1", {"reading": f"r-{id}", "patient": f"p-{id}"}, **where),
        Draft("encounter_closed/1", {"encounter_id": f"e-{id}", "opened_at": format_time(at)}, **where),
    )
    return [(at + timedelta(seconds=60 * step), draft) for step, draft in enumerate(drafts)]


def _track(village: Village, begins: datetime, stands_s: int, size: Size, chance: random.Random) -> Iterator[list[Fix]]:
    """The points of each entry: in from two kilometres east, standing beside the centre, and out again."""
    seconds = range(-300, stands_s + 301, size.every_s)
    points: list[Fix] = []
    for second in seconds:
        away_m = 2000 * max(0, -second, second - stands_s) / 300
        latitude = village.centre_latitude_deg + chance.uniform(-2, 2) / METRES_PER_DEGREE
        longitude = village.centre_longitude_deg + (away_m + chance.uniform(-2, 2)) / METRES_PER_DEGREE / 0.86
        at = begins + timedelta(seconds=second)
        if points and (len(points) == size.entry_s // size.every_s or second == stands_s):
            yield points
            points = []
        points.append(Fix(at, latitude, longitude, 6.0, chance.randint(11, 15)))
    yield points


def _squares(count: int) -> dict[str, Any]:
    """Villages side by side, 20 to a township."""
    side = KILOMETRES * 1000 / METRES_PER_DEGREE
    features = []
    for number in range(count):
        row, column = divmod(number, 30)
        south, west = 30.0 + row * side, 103.0 + column * side / 0.86
        corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
        ring = [[round(west + x * side / 0.86, 7), round(south + y * side, 7)] for x, y in corners]
        township = number // 20
        properties = {"code": f"5109{township:05d}{number % 20 + 200:03d}", "name": f"第{number + 1}村"}
        properties |= {"township": f"第{township + 1}镇"}
        features.append(
            {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    return {"type": "FeatureCollection", "features": features}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--database", default="")
    for name, usual in (("vans", 20), ("villages", 600), ("months", 12), ("every", 30), ("entry", 300)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    chosen = parser.parse_args()
    size = Size(chosen.vans, chosen.villages, chosen.months, every_s=chosen.every, entry_s=chosen.entry)
    settings = CountySettings(name="年度", data=chosen.data, origin="county.bench.example", database=chosen.database)
    began = time.monotonic()
    county, journals = found(settings, size)
    for month, entries in live_through(county, journals, size):
        print(f"month {month}: {entries} entries, {time.monotonic() - began:.0f} s", flush=True)
    county.close()


if __name__ == "__main__":
    main()

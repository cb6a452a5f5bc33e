"""Visits and tracks: opened and closed by a tap, followed by position, rebuilt after a restart, never forgotten."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.errors import AskPerson
from devices.readings import Position, Stamped
from sync.formats.identifiers import Identifiers
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner, cosign
from sync.formats.records import Draft, read_entry
from sync.proof.areas import Village
from sync.proof.presence import LOCAL, Fix, stays
from sync.proof.tracks import fixes_of_track, track_of
from sync.proof.visit_proof import evidence_of_visit
from sync.record.store import Store
from tests.vehicle.conftest import FAR, MORNING, NEAR, ROAD, at_place, counting_bytes, open_store
from vehicle.clinic.staff import Person
from vehicle.commits import Commits
from vehicle.patrol.position import Beside, Patrol
from vehicle.patrol.visits import (
    CrewMissing,
    NotVillageDoctor,
    NoVisitOpen,
    OutreachRefused,
    UnknownVillage,
    VisitAlreadyOpen,
    Visits,
)
from vehicle.time_source import TimeSource

STAFF = [Person("zhou.min", "周敏", "village_doctor"), Person("zhao.hai", "赵海", "driver")]
NEAR_CODE, FAR_CODE = "510199201201", "510199201202"


@dataclass
class Van:
    """Patrol and visits over a real store, in simulated time."""

    store: Store
    clock: SimulatedClock
    villages: tuple[Village, ...]
    sent: list[dict] = field(default_factory=list)
    at: tuple[float, float] | None = None
    at_once: bool = True

    def __post_init__(self) -> None:
        commits = Commits(self.store, self.clock, at_once=self.at_once)
        self.patrol = Patrol(self.villages, commits, self.clock)
        self.visits = Visits(
            record=self.store,
            commits=commits,
            ids=Identifiers(self.clock, counting_bytes(9)),
            patrol=self.patrol,
            clock=self.clock,
            known=self.villages,
            staff=lambda: STAFF,
            send=self.sent.append,
            required_s=240 * 60.0,
        )
        self.visits.restore()

    def stepped(self, by: timedelta) -> None:
        self.patrol.clock_stepped(by)
        self.visits.clock_stepped(by)

    def stand(self, place: tuple[float, float], minutes: float, every_s: float = 10.0) -> None:
        """Stand there; coming from elsewhere takes two minutes before, in a tunnel."""
        if self.at != place and self.at is not None:
            self.clock.advance(120)
        self.at = place
        for _ in range(round(minutes * 60 / every_s)):
            self.clock.advance(every_s)
            self.patrol.on_position(at_place(place), self.clock.now())

    def kinds(self) -> list[str]:
        return [self.entry(n).kind for n in range(self.store.size())]

    def entry(self, n: int):
        return read_entry(self.store.entries(n, 1)[0], n)

    def entries(self, kind: str) -> list:
        found = (self.entry(n) for n in range(self.store.size()))
        return [entry for entry in found if entry.kind == kind]


def a_receipt(store: Store, clock: SimulatedClock) -> bytes:
    """The county's cosignature over what the journal holds now, stored as ``sync.delivery.receipts`` does."""
    size = store.size()
    text = Checkpoint(store.origin, size, store.root(size)).text()
    county = SeedSigner("county.qingyu.example", b"c" * 32, ED25519_COSIGNATURE)
    note = bytes(Note(text, ()).signed_also([cosign(text, county, clock.now())]))
    row = (size, note, clock.now().isoformat())
    store.transact(lambda db: db.execute("INSERT INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row))
    return note


@pytest.fixture
def van(store: Store, clock: SimulatedClock, villages: tuple[Village, ...]) -> Van:
    return Van(store, clock, villages)


async def test_a_whole_visit(van: Van) -> None:
    van.stand(ROAD, 10)
    van.stand(NEAR, 5)
    assert van.visits.proposed().name == "王家村"
    opened = await van.visits.start(NEAR_CODE, ["zhou.min", "zhao.hai"], by="zhou.min")
    assert opened.arrived_at == MORNING + timedelta(minutes=12, seconds=10)
    van.stand(NEAR, 240)
    view = van.visits.current()
    assert view.dwell_s == pytest.approx(245 * 60, abs=15)
    assert view.required_s == 240 * 60
    assert view.here
    assert [person.id for person in view.crew] == ["zhou.min", "zhao.hai"]
    await van.visits.end(by="zhou.min")
    assert van.visits.current() is None
    [entry] = van.entries("visit_opened/1")
    assert entry.fields["proposed_by"] == "position"
    [entry] = van.entries("visit_closed/1")
    assert entry.by == "zhou.min"
    assert entry.fields["dwell_s"] == pytest.approx(245 * 60, abs=15)
    [row] = van.store.read("select * from visits")
    assert row["closed_at"] is not None
    assert {row["person"] for row in van.store.read("select person from duty where off_at is not null")} == {
        "zhou.min", "zhao.hai",
    }  # fmt: skip
    assert van.sent[-1] == {"type": "visit", "visit": None}


async def test_the_whole_track_stands_before_the_end_of_the_visit(
    store: Store, clock: SimulatedClock, villages: tuple[Village, ...]
) -> None:
    """Also in a running service, where entries from callbacks wait for their turn: what comes later proves nothing."""
    van = Van(store, clock, villages, at_once=False)
    van.stand(NEAR, 2)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    van.stand(NEAR, 7)
    await van.visits.end(by="zhou.min")
    assert van.kinds()[-4:] == ["track/1", "track/1", "duty/1", "visit_closed/1"]


async def test_the_county_sees_the_same_stay_in_the_track(van: Van) -> None:
    van.stand(ROAD, 7)
    van.stand(NEAR, 30, every_s=1.0)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    van.stand(NEAR, 30, every_s=1.0)
    before = van.visits.current()
    await van.visits.end(by="zhou.min")
    rows = van.store.read("select points_json from tracks order by n")
    fixes = [fix for row in rows for fix in fixes_of_track(json.loads(row["points_json"]))]
    [stay] = stays(fixes, van.villages)
    assert stay.dwell_s == before.dwell_s
    assert stay.arrived_at == before.arrived_at


async def test_track_entries_every_five_minutes_with_a_point_every_ten_seconds(van: Van) -> None:
    van.stand(NEAR, 20, every_s=1.0)
    van.patrol.flush()
    tracks = van.entries("track/1")
    points = [len(fixes_of_track(entry.fields)) for entry in tracks]
    assert points[:3] == [30, 30, 30]
    assert sum(points) == 120


def test_without_a_position_the_track_says_so_every_half_minute(van: Van) -> None:
    for _ in range(400):
        van.clock.advance(1)
        van.patrol.on_position(Position(None, None, None, 0), van.clock.now())
    van.patrol.flush()
    points = [point for entry in van.entries("track/1") for point in track_of(entry.fields).points]
    assert len(points) == 14
    assert not any(isinstance(point, Fix) for point in points)
    assert not van.patrol.has_fix


def test_the_track_is_the_heartbeat_of_a_van_whose_receiver_is_silent(van: Van) -> None:
    for _ in range(90):
        van.clock.advance(10)
        van.patrol.tick()
    tracks = [track_of(entry.fields) for entry in van.entries("track/1")]
    assert len(tracks) == 2
    starts = [track.points[0].at for track in tracks]
    ends = [track.points[-1].at for track in tracks]
    assert all((after - before).total_seconds() <= 30 for before, after in zip(ends, starts[1:], strict=False))


def test_the_track_has_what_else_the_van_knows(van: Van) -> None:
    metres = iter(range(48_000, 60_000))
    van.patrol.beside = Beside(lambda: next(metres), lambda: ["460-00-1A2B-3C4D5E6"], lambda: True)
    for spoofed in (False, True, False):
        van.clock.advance(10)
        van.patrol.on_position(replace(at_place(NEAR), spoofing=spoofed, jamming=False), van.clock.now())
    van.patrol.flush()
    [entry] = van.entries("track/1")
    track = track_of(entry.fields)
    assert (track.odometer_m, track.odometer_end_m, track.ignition) == (48_000, 48_002, True)
    assert (track.cells, track.flags) == (("460-00-1A2B-3C4D5E6",), ("spoofing",))
    assert [fix.spoof for fix in track.fixes] == [False, True, False]


async def test_a_clock_that_is_put_right_loses_no_time_and_gains_none(van: Van) -> None:
    """The county, which moves what was written before, and the van come to the same dwell."""
    time_source = TimeSource(van.clock, Commits(van.store, van.clock, at_once=True), stepped=van.stepped)
    van.stand(NEAR, 60)
    await van.visits.start(NEAR_CODE, ["zhou.min", "zhao.hai"], by="zhou.min")
    van.clock.set_wall(van.clock.now() + timedelta(minutes=30))
    position = replace(at_place(NEAR), gnss_at=van.clock.now())
    time_source.on_stamped(Stamped("gnss-1", "nmea_gnss", van.clock.now(), van.clock.monotonic_s(), position))
    van.stand(NEAR, 200)
    dwell_s = van.visits.current().dwell_s
    assert dwell_s == pytest.approx(260 * 60, abs=15)
    await van.visits.end(by="zhou.min")
    journal = [van.entry(n) for n in range(van.store.size())]
    [visit] = [entry.fields["visit_id"] for entry in journal if entry.kind == "visit_opened/1"]
    evidence = evidence_of_visit(visit, journal, (), van.villages)
    assert evidence.dwell_s == pytest.approx(dwell_s, abs=15)
    assert (evidence.review, evidence.flags) == ((), ("clock_corrected",))


async def test_who_is_on_duty_is_told_again_on_arriving(van: Van) -> None:
    van.stand(ROAD, 5)
    await van.visits.start(NEAR_CODE, ["zhou.min", "zhao.hai"], by="zhou.min")
    van.stand(NEAR, 10)
    assert [(entry.fields["person"], entry.fields["on"]) for entry in van.entries("duty/1")] == [
        ("zhou.min", True),
        ("zhao.hai", True),
    ]
    await van.visits.end(by="zhou.min")
    [visit] = [entry.fields["visit_id"] for entry in van.entries("visit_opened/1")]
    journal = [van.entry(n) for n in range(van.store.size())]
    staff = evidence_of_visit(visit, journal, (), van.villages).staff
    assert {person for person, _ in staff} == {"zhou.min", "zhao.hai"}


async def test_the_village_doctor_confirms(van: Van) -> None:
    with pytest.raises(NoVisitOpen):
        await van.visits.confirm(STAFF[0])
    van.stand(NEAR, 5)
    await van.visits.start(NEAR_CODE, ["zhou.min", "zhao.hai"], by="zhou.min")
    with pytest.raises(NotVillageDoctor):
        await van.visits.confirm(STAFF[1])
    await van.visits.confirm(STAFF[0])
    [entry] = van.entries("village_confirmed/1")
    assert (entry.by, entry.fields["village"], entry.fields["means"]) == ("zhou.min", NEAR_CODE, "pin")
    assert van.visits.current().confirmed_by == "周敏"


async def test_an_outreach_is_recorded(van: Van) -> None:
    with pytest.raises(NoVisitOpen):
        await van.visits.record_outreach("健康讲座", 30, by="zhou.min")
    van.stand(NEAR, 5)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    for what, people in (("x", None), ("健" * 61, None), ("健康讲座", 0), ("健康讲座", 10_000)):
        with pytest.raises(OutreachRefused):
            await van.visits.record_outreach(what, people, by="zhou.min")
    await van.visits.record_outreach(" 健康 讲座 ", 30, by="zhou.min")
    await van.visits.record_outreach("入户", None, by="zhou.min")
    assert van.visits.current().outreach == (("健康 讲座", 30), ("入户", None))
    again = Van(van.store, van.clock, van.villages)
    assert again.visits.current().outreach == (("健康 讲座", 30), ("入户", None))
    assert again.visits.current().confirmed_by is None


async def test_a_visit_names_the_newest_receipt(van: Van) -> None:
    van.stand(NEAR, 5)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    assert van.entries("anchor/1") == []
    await van.visits.end(by="zhou.min")
    receipt = a_receipt(van.store, van.clock)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    [anchor] = van.entries("anchor/1")
    assert anchor.fields["receipt_sha256"] == sha256(receipt).hexdigest()
    await van.visits.end(by="zhou.min")
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    assert len(van.entries("anchor/1")) == 1


def test_points_are_written_even_when_the_receiver_falls_silent(van: Van) -> None:
    van.stand(NEAR, 1)
    van.clock.advance(290)
    van.patrol.tick()
    assert len(van.entries("track/1")) == 1


def test_a_clock_set_back_begins_a_new_entry(van: Van) -> None:
    van.stand(NEAR, 1)
    van.clock.set_wall(van.clock.now() - timedelta(hours=1))
    van.stand(NEAR, 1)
    van.patrol.flush()
    for entry in van.entries("track/1"):
        assert all(step[0] >= 0 for step in entry.fields["steps"])
    assert len(van.entries("track/1")) == 2


async def test_opened_by_a_person_where_the_position_says_otherwise(van: Van) -> None:
    van.stand(FAR, 5)
    view = await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    van.stand(FAR, 5)
    assert van.entries("visit_opened/1")[0].fields["proposed_by"] == "person"
    view = van.visits.current()
    assert view.dwell_s == 0
    assert not view.here


async def test_opened_before_the_arrival_is_confirmed_counts_as_proposed_by_position(van: Van) -> None:
    van.stand(ROAD, 5)
    van.stand(NEAR, 0.5)
    assert van.patrol.presence.village is None
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    assert van.entries("visit_opened/1")[0].fields["proposed_by"] == "position"
    van.stand(NEAR, 10)
    assert van.visits.current().arrived_at == MORNING + timedelta(minutes=7, seconds=10)


async def test_a_forgotten_visit_is_closed_when_the_van_has_left(van: Van) -> None:
    van.stand(NEAR, 30)
    view = await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    van.store.commit_now(
        Draft("encounter/1", {"encounter_id": "e1", "patient": "p1", "purpose": ""}, visit=view.visit, encounter="e1")
    )
    left_at = van.clock.now() + timedelta(minutes=2, seconds=10)
    van.stand(ROAD, 5)
    assert van.visits.current() is None
    [closed] = van.entries("visit_closed/1")
    assert closed.by is None
    assert closed.fields["departed_at"] == left_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert closed.fields["dwell_s"] == pytest.approx(30 * 60, abs=25)
    assert closed.fields["encounters"] == 1
    assert [entry.fields["what"] for entry in van.entries("access/1")] == [view.visit]
    assert van.store.read("select closed_at from encounters")[0]["closed_at"] is not None


async def test_a_visit_never_confirmed_is_closed_when_the_van_arrives_elsewhere(van: Van) -> None:
    van.stand(ROAD, 5)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    van.stand(ROAD, 5)
    assert van.visits.current() is not None
    van.stand(FAR, 5)
    assert van.visits.current() is None
    assert van.entries("visit_closed/1")[0].fields["dwell_s"] == 0


async def test_a_second_visit_in_one_stay_counts_only_its_own_time(van: Van) -> None:
    van.stand(NEAR, 60)
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    van.stand(NEAR, 60)
    await van.visits.end(by="zhou.min")
    ended_at = van.clock.now()
    van.stand(NEAR, 30)
    view = await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    assert view.arrived_at == ended_at
    van.stand(NEAR, 30)
    assert van.visits.current().dwell_s == pytest.approx(60 * 60, abs=15)


@pytest.mark.parametrize("second_visit", [False, True])
async def test_an_open_visit_survives_a_crash(
    tmp_path: Path, clock: SimulatedClock, villages: tuple[Village, ...], second_visit: bool
) -> None:
    """A crash: nothing is flushed or closed in good order; only what the store has acknowledged is there."""
    van = Van(open_store(tmp_path, clock), clock, villages)
    van.stand(NEAR, 60)
    if second_visit:
        await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
        van.stand(NEAR, 45)
        await van.visits.end(by="zhou.min")
    opened = await van.visits.start(NEAR_CODE, ["zhou.min", "zhao.hai"], by="zhou.min")
    van.stand(NEAR, 62)
    before = van.visits.current()
    van.store.close()
    clock.advance(30)
    again = Van(open_store(tmp_path, clock), clock, villages)
    try:
        after = again.visits.current()
        assert after.visit == opened.visit
        assert after.crew == before.crew
        assert abs((after.arrived_at - before.arrived_at).total_seconds()) <= 60  # a few points are lost at most
        assert before.dwell_s - 300 <= after.dwell_s <= before.dwell_s
        again.stand(NEAR, 10)
        assert again.visits.current().dwell_s == pytest.approx(before.dwell_s + 630, abs=60)
        await again.visits.end(by="zhou.min")
    finally:
        again.store.close()


async def test_what_is_refused_changes_nothing(van: Van) -> None:
    size = van.store.size()
    with pytest.raises(NoVisitOpen):
        await van.visits.end(by="zhou.min")
    with pytest.raises(UnknownVillage):
        await van.visits.start("000000000000", ["zhou.min"], by="zhou.min")
    with pytest.raises(CrewMissing):
        await van.visits.start(NEAR_CODE, [], by="zhou.min")
    with pytest.raises(CrewMissing):
        await van.visits.start(NEAR_CODE, ["nobody"], by="zhou.min")
    assert van.store.size() == size
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    with pytest.raises(VisitAlreadyOpen):
        await van.visits.start(FAR_CODE, ["zhou.min"], by="zhou.min")


async def test_who_must_be_dealt_with_first_keeps_the_visit_open(van: Van) -> None:
    async def refuse(by: str) -> None:
        raise AskPerson("a red value is not dealt with")

    van.visits.before_end = refuse
    await van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min")
    with pytest.raises(AskPerson, match="red value"):
        await van.visits.end(by="zhou.min")
    assert van.visits.current() is not None
    van.visits.before_end = None
    await van.visits.end(by="zhou.min")


def test_a_month_of_track_takes_seconds(van: Van) -> None:
    """About 10,000 points: one van's week; bounded generously for a busy machine."""
    import time

    began_s = time.monotonic()
    van.stand(NEAR, 60 * 28)
    assert time.monotonic() - began_s < 30
    assert len(van.entries("track/1")) == 336


async def test_two_taps_open_one_visit(van: Van) -> None:
    van.stand(NEAR, 5)
    taps = [van.visits.start(NEAR_CODE, ["zhou.min"], by="zhou.min") for _ in range(2)]
    opened, refused = await asyncio.gather(*taps, return_exceptions=True)
    assert isinstance(refused, VisitAlreadyOpen)
    assert [entry.fields["visit_id"] for entry in van.entries("visit_opened/1")] == [opened.visit]


async def test_a_village_is_in_force_from_midnight_in_china(van: Van) -> None:
    early = datetime(2026, 3, 1, 7, 30, tzinfo=LOCAL)
    van.clock.set_wall(early.astimezone(UTC))
    van.visits.known = (replace(van.villages[0], valid_from=early.date()), van.villages[1])
    assert NEAR_CODE in [village.code for village in van.visits.villages()]

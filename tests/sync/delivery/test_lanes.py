"""Who has the right of way on the uplink: records first, a live consultation before what is large, nothing lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devices.clock import SimulatedClock, SystemClock
from sync.delivery.connections import LARGEST_SEND_BUFFER_BYTES, SMALLEST_SEND_BUFFER_BYTES, Measured, send_buffer_bytes
from sync.delivery.county_client import CountyClient
from sync.delivery.entry_delivery import FIRST_BATCH_PACKAGES, LARGEST_BATCH_PACKAGES, BatchSize
from sync.delivery.lanes import LANES, PACED_BYTES_S, PACED_PART_BYTES, HeldForConsultation, RightOfWay, WhenLive
from sync.delivery.recording_delivery import LARGEST_PART_BYTES, PART_S, SMALLEST_PART_BYTES, PartSize
from sync.delivery.tcp_info import TcpInfo
from sync.delivery.uploader import Uploader
from sync.formats import wire
from sync.formats.canonical import Json
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import OpenStore, reading, recording
from tests.sync.county_simulator import UNREACHABLE, Answer, CountySimulator

ECG, WANTED, PHOTOS, CLIPS, TRACKS = LANES


class Van:
    """An uploader against a simulated county, with a consultation that can be made live."""

    def __init__(self, store: Store, signer: SeedSigner, clock: SimulatedClock, folder: Path) -> None:
        self.store, self.clock = store, clock
        self.recordings = Recordings(folder / "recordings")
        self.county = CountySimulator(signer.verifier_key(), clock)
        self.live = False
        key = self.county.cosigner.verifier_key()
        self.client = CountyClient("http://county", key, signer, clock, self.county)
        self.uploader = self.new_uploader()

    def new_uploader(self) -> Uploader:
        self.uploader = Uploader(
            self.store, self.recordings, self.client, self.clock, jitter=lambda: 0.0, live=lambda: self.live
        )
        return self.uploader

    def keep(self, data: bytes, what: str, encounter: str | None = None) -> str:
        sha256, size = self.recordings.store(data, "application/octet-stream")
        draft = recording(sha256, size, what)
        self.store.commit_now(Draft(draft.kind, draft.fields, encounter=encounter))
        return sha256

    def consultation(self, encounter: str, state: str | None = None) -> None:
        said: dict[str, Json] = {"consultation": f"consultation-{encounter}"}
        asked: dict[str, Json] = {**said, "patient": "patient-1", "urgency": "urgent", "fields": {}, "consent": {}}
        self.store.commit_now(Draft("consultation/1", asked, encounter=encounter))
        if state is not None:
            self.store.commit_now(Draft("consultation_changed/1", {**said, "state": state}, encounter=encounter))


@pytest.fixture
def van(store: Store, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path) -> Van:
    return Van(store, signer, clock, tmp_path)


def test_lanes_are_in_order_of_urgency_and_share_the_recordings() -> None:
    assert [lane.rank for lane in LANES] == [1, 2, 3, 4, 5]
    assert [lane.when_live for lane in LANES] == [WhenLive.PACED] + 4 * [WhenLive.HELD]
    assert all(lane.in_flight == (3 if lane.what is None else 1) for lane in LANES)
    assert [lane.bulk for lane in LANES] == [False, True, True, True, True]


async def test_recordings_go_by_urgency(van: Van) -> None:
    van.consultation("encounter-1")
    van.consultation("encounter-2", "closed")
    track = van.keep(b"track", "raw_track")
    other, over = van.keep(b"other", "clip"), van.keep(b"over", "clip", "encounter-2")
    wanted, ecg = van.keep(b"wanted", "clip", "encounter-1"), van.keep(b"ecg", "ecg", "encounter-1")
    assert (await van.uploader.deliver_now()).complete
    assert list(van.county.uploads) == [ecg, wanted, other, over, track]


async def test_live_consultation_holds_what_is_large_and_never_a_record(van: Van) -> None:
    van.live = True
    clip, ecg = van.keep(b"clip" * 1000, "clip"), van.keep(b"ecg", "ecg")
    delivered = await van.uploader.deliver_now()
    assert not delivered.complete
    assert "live consultation" in str(delivered.reason)
    assert list(van.county.uploads) == [ecg]
    assert van.store.waiting().entries == 0
    assert van.uploader.status().held
    assert van.uploader.status().online
    assert van.uploader.status().parked == []
    van.live = False
    assert (await van.uploader.deliver_now()).complete
    assert van.county.uploads[clip].complete
    assert not van.uploader.status().held


async def test_clip_under_way_stops_at_the_next_part_and_goes_on_there(van: Van) -> None:
    data = bytes(range(256)) * 8000
    clip = van.keep(data, "clip")

    def consultation_begins(what: str) -> None:
        van.live = van.live or what.startswith("PATCH")

    van.county.on_request = consultation_begins
    assert not (await van.uploader.deliver_now()).complete
    kept = len(van.county.uploads[clip].data)
    assert 0 < kept < len(data)
    van.county.on_request = lambda _: None
    van.live = False
    asked = len(van.county.requests)
    assert (await van.uploader.deliver_now()).complete
    assert van.county.requests[asked].startswith("HEAD")
    assert bytes(van.county.uploads[clip].data) == data


async def test_ecg_is_paced_during_a_live_consultation(van: Van, clock: SimulatedClock) -> None:
    van.live = True
    size = 5 * PACED_PART_BYTES
    van.keep(bytes(size), "ecg")
    began_s = clock.monotonic_s()
    await van.uploader.deliver_now()
    assert van.store.waiting().recordings == 0
    assert clock.monotonic_s() - began_s == pytest.approx(size / PACED_BYTES_S)


async def test_next_part_waits_while_something_more_urgent_is_sent() -> None:
    way, order = RightOfWay(), list[str]()

    async def send(rank: int, name: str, until: asyncio.Event) -> None:
        async with way.sending(rank):
            order.append(f"{name} begins")
            await until.wait()
            order.append(f"{name} ends")

    async def clip(begun: asyncio.Event) -> None:
        begun.set()
        await way.turn(CLIPS)
        order.append("clip")

    done, begun = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(send(0, "record", done))
        await asyncio.sleep(0)
        group.create_task(clip(begun))
        await begun.wait()
        done.set()
    assert order == ["record begins", "record ends", "clip"]


async def test_turn_waits_for_no_lane_that_is_less_urgent() -> None:
    way = RightOfWay()
    async with way.sending(PHOTOS.rank), way.sending(CLIPS.rank), way.sending(TRACKS.rank):
        await asyncio.wait_for(way.turn(WANTED), 5)
        await asyncio.wait_for(way.turn(PHOTOS), 5)


async def test_held_lane_says_so_at_once() -> None:
    way = RightOfWay(lambda: True)
    with pytest.raises(HeldForConsultation):
        await way.turn(CLIPS)
    await way.turn(ECG)


async def test_two_clips_in_flight_recover_each_by_itself(
    open_store: OpenStore, signer: SeedSigner, tmp_path: Path
) -> None:
    clock = SystemClock()
    store = open_store(clock=clock)
    van = Van(store, signer, clock, tmp_path)  # type: ignore[arg-type]
    clips = [van.keep(bytes([n]) * 300_000, "clip") for n in range(4)]
    broken = iter([True, True, False, True])
    van.county.fault_for = lambda request: (
        UNREACHABLE if request.method in ("PUT", "PATCH") and next(broken, False) else None
    )
    arrived = asyncio.Event()
    van.uploader.on_change = arrived.set
    task = asyncio.create_task(van.uploader.run())
    try:
        async with asyncio.timeout(30):
            while store.waiting().recordings:
                arrived.clear()
                if store.waiting().recordings:
                    await arrived.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert all(van.county.uploads[clip].complete for clip in clips)


# sizes ----------------------------------------------------------------------------------------------------------------


def test_parts_grow_to_what_the_link_takes_in_part_s_and_no_further() -> None:
    part, rate_bytes_s = PartSize(), 250_000.0
    for _ in range(20):
        part.took(part.bytes, 0.05 + part.bytes / rate_bytes_s, 0.05)
    assert part.bytes == pytest.approx(rate_bytes_s * (PART_S + 0.05), rel=0.02)
    for _ in range(20):
        part.took(part.bytes, 0.05 + part.bytes / (rate_bytes_s / 5), 0.05)
    assert part.bytes == pytest.approx(rate_bytes_s / 5 * (PART_S + 0.05), rel=0.1)


def test_parts_stay_useful_on_a_satellite_s_delay() -> None:
    part, rate_bytes_s = PartSize(), 250_000.0
    for _ in range(40):
        part.took(part.bytes, 0.6 + part.bytes / rate_bytes_s, 0.6)
    assert part.bytes > rate_bytes_s * PART_S


def test_parts_have_bounds_and_shrink_when_the_link_breaks() -> None:
    part = PartSize()
    for _ in range(20):
        part.took(part.bytes, 0.0, 0.0)
    assert part.bytes == LARGEST_PART_BYTES
    for _ in range(20):
        part.broke()
    assert part.bytes == SMALLEST_PART_BYTES
    part.took(10, 0.001, 0.0)
    assert part.bytes == SMALLEST_PART_BYTES, "a short last part does not say that more would have fitted"


def test_batches_follow_the_link() -> None:
    size = BatchSize()
    assert size.packages == FIRST_BATCH_PACKAGES
    for _ in range(9):
        size.took(0.1)
    assert size.packages == LARGEST_BATCH_PACKAGES
    for _ in range(9):
        size.took(9.0)
    assert size.packages == 1


def test_send_buffer_holds_the_link_s_own_delay_and_a_bounded_queue() -> None:
    assert send_buffer_bytes(0, 50.0) is None
    assert send_buffer_bytes(250_000, None) is None
    twenty, two = send_buffer_bytes(2_500_000, 50.0), send_buffer_bytes(250_000, 50.0)
    assert twenty is not None
    assert two is not None
    assert twenty == 10 * two
    assert 2 * two < 250_000, "less than a second of the slow link is under way"
    assert send_buffer_bytes(1, 1.0) == SMALLEST_SEND_BUFFER_BYTES
    assert send_buffer_bytes(1e12, 50.0) == LARGEST_SEND_BUFFER_BYTES


def test_empty_delay_is_the_smallest_of_ten_minutes(clock: SimulatedClock) -> None:
    measured = Measured(clock)
    for rtt_ms in (80.0, 50.0, 300.0):
        measured.note(TcpInfo(rtt_ms, None, rtt_ms, 1000))
    assert measured.empty_rtt_ms == 50.0
    clock.advance(700)
    measured.note(TcpInfo(120.0, None, 120.0, 1000))
    assert measured.empty_rtt_ms == 120.0


# recordings that a county lost ----------------------------------------------------------------------------------------


async def test_county_restored_from_a_backup_gets_its_recordings_again(van: Van) -> None:
    old = van.keep(b"old", "ecg")
    await van.uploader.deliver_now()
    backup = van.county.entries[:], dict(van.county.pending), van.county.pending_size, dict(van.county.uploads)
    newer = [van.keep(b"newer %d" % n, "clip") for n in range(3)]
    await van.uploader.deliver_now()
    van.county.entries, van.county.pending, van.county.pending_size, van.county.uploads = backup
    van.store.commit_now(reading(1))
    assert (await van.uploader.deliver_now()).complete
    assert all(van.county.uploads[sha256].complete for sha256 in (old, *newer))
    assert van.store.waiting().recordings == 0


async def test_lost_recordings_are_noticed_once_a_day(van: Van, clock: SimulatedClock) -> None:
    lost, evicted = van.keep(b"lost", "ecg"), van.keep(b"evicted", "ecg")
    await van.uploader.deliver_now()
    van.recordings.path(evicted).unlink()
    van.county.uploads.clear()
    await van.uploader.deliver_now()
    assert van.county.uploads == {}, "asked this morning already"
    clock.advance(25 * 3600)
    await van.uploader.deliver_now()
    assert list(van.county.uploads) == [lost], "what the van has evicted it cannot send again"
    asked = van.county.requests.count("POST missing")
    await van.uploader.deliver_now()
    assert van.county.requests.count("POST missing") == asked


async def test_all_recordings_are_asked_about_in_bounded_lists(van: Van) -> None:
    hashes = [f"{n:064x}" for n in range(2 * wire.MOST_HASHES + 5)]
    van.store.transact(
        lambda db: db.conn.executemany(
            "INSERT INTO recordings_delivered (sha256, at) VALUES (?, '')", [(sha256,) for sha256 in hashes]
        )
    )
    await van.uploader.deliver_now()
    assert van.county.requests.count("POST missing") == 3


async def test_county_without_that_route_is_left_alone(van: Van, clock: SimulatedClock) -> None:
    van.keep(b"ecg", "ecg")
    await van.uploader.deliver_now()
    clock.advance(25 * 3600)
    van.county.fault_for = lambda request: Answer(404) if request.url.path.endswith("/missing") else None
    assert (await van.uploader.deliver_now()).complete
    assert van.uploader.status().parked == []


def test_hash_lines_are_bounded_and_strict() -> None:
    hashes = [f"{n:064x}" for n in range(wire.MOST_HASHES)]
    assert wire.parse_hash_lines(wire.hash_lines(hashes)) == hashes
    assert wire.parse_hash_lines(b"") == []
    for body in (wire.hash_lines([*hashes, hashes[0]]), b"zz\n", hashes[0].encode(), b"\n", hashes[0].upper().encode()):
        with pytest.raises(wire.Malformed):
            wire.parse_hash_lines(body)


async def test_network_that_is_back_ends_pauses_but_not_those_the_county_asked_for(
    open_store: OpenStore, signer: SeedSigner, tmp_path: Path
) -> None:
    clock = SystemClock()
    store = open_store(clock=clock)
    van = Van(store, signer, clock, tmp_path)  # type: ignore[arg-type]
    moved = asyncio.Event()
    van.uploader.on_change = moved.set
    van.county.fault_for = lambda _: Answer(503, {"Retry-After": "3000"})
    task = asyncio.create_task(van.uploader.run())
    try:
        async with asyncio.timeout(20):
            await moved.wait()  # lost, once
            asked = len(van.county.requests)
            van.county.fault_for = lambda _: None
            van.uploader.network_changed()
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(van.county.requests) == asked
            moved.clear()
            van.uploader.nudge()
            while store.waiting().entries:
                await moved.wait()
                moved.clear()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_answer_without_end_is_no_answer(van: Van) -> None:
    van.store.commit_now(reading(1))
    van.county.fault_for = lambda _: Answer(200, {}, bytes(300 * 1024))
    delivered = await van.uploader.deliver_now()
    assert not delivered.complete
    assert van.store.waiting().entries == 2
    assert van.uploader.status().parked == []


async def test_stale_connections_are_left_at_once(van: Van) -> None:
    van.store.commit_now(reading(1))
    van.county.faults.extend(["cut_body", "cut_body"])
    assert (await van.uploader.deliver_now()).complete
    assert van.uploader.status().online

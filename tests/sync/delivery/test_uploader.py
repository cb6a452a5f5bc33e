"""Delivery against a county with knobs: nothing acknowledged is lost, nothing arrives twice, nothing is faked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.clock import SimulatedClock, SystemClock
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Backoff, Uploader
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner
from sync.record.recordings import Recordings
from sync.record.store import Store
from sync.settings_file import SettingsRefused
from tests.sync.conftest import ORIGIN, OpenStore, reading, recording
from tests.sync.county_simulator import CUT_BODY, LOSE_ANSWER, UNREACHABLE, Answer, CountySimulator, Fault


class Van:
    """A store, its recordings and an uploader that talks to a simulated county."""

    def __init__(self, store: Store, signer: SeedSigner, clock: SimulatedClock, folder: Path) -> None:
        self.store, self.signer, self.clock = store, signer, clock
        self.recordings = Recordings(folder / "recordings")
        self.county = CountySimulator(signer.verifier_key(), clock)
        self.uploader = self.new_uploader()

    def new_uploader(self) -> Uploader:
        """As after a restart: knows only what is on the disk."""
        client = CountyClient(
            "http://county", self.county.cosigner.verifier_key(), self.signer, self.clock, self.county
        )
        self.uploader = Uploader(self.store, self.recordings, client, self.clock, jitter=lambda: 0.0)
        return self.uploader

    def keep(self, data: bytes, what: str = "ecg") -> str:
        sha256, size = self.recordings.store(data, "application/octet-stream")
        self.store.commit_now(recording(sha256, size, what))
        return sha256

    def all_entries(self) -> list[bytes]:
        return self.store.entries(0, self.store.size())


@pytest.fixture
def van(store: Store, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path) -> Van:
    return Van(store, signer, clock, tmp_path)


async def test_entries_arrive_and_only_a_receipt_clears_them(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(700)))
    assert van.store.waiting().entries == 701
    delivered = await van.uploader.deliver_now()
    assert (delivered.entries, delivered.complete) == (701, True)
    assert van.county.entries == van.all_entries()
    assert van.store.waiting().entries == 0
    assert van.uploader.status().last_receipt_at == van.clock.now()
    assert van.county.requests.count("POST add-checkpoint") == 1
    assert van.county.requests.count("POST add-entries") == 2


async def test_second_delivery_sends_only_what_is_new(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(300)))
    await van.uploader.deliver_now()
    van.store.commit_now(reading(300))
    await van.uploader.deliver_now()
    assert set(van.county.rounds_of_entry.values()) == {1}
    assert van.county.entries == van.all_entries()


async def test_restart_goes_on_where_the_county_says(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(900)))
    van.county.fault_for = lambda _: UNREACHABLE if len(van.county.entries) >= 256 else None
    assert not (await van.uploader.deliver_now()).complete
    van.county.fault_for = lambda _: None
    assert (await van.new_uploader().deliver_now()).complete
    assert van.county.entries == van.all_entries()
    assert set(van.county.rounds_of_entry.values()) == {1}


async def test_receipt_whose_answer_was_lost_is_asked_for_again(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(10)))
    van.county.fault_for = lambda request: LOSE_ANSWER if request.url.path.endswith("add-entries") else None
    assert not (await van.uploader.deliver_now()).complete
    assert van.store.waiting().entries == 11
    van.county.fault_for = lambda _: None
    assert (await van.new_uploader().deliver_now()).complete
    assert set(van.county.rounds_of_entry.values()) == {1}
    assert van.store.waiting().entries == 0


FAULTS: st.SearchStrategy[list[Fault | None]] = st.lists(
    st.sampled_from([None, UNREACHABLE, CUT_BODY, LOSE_ANSWER, Answer(503), Answer(429, {"Retry-After": "7"})]),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=FAULTS, counts=st.lists(st.integers(1, 400), min_size=1, max_size=4), restart=st.booleans())
async def test_any_pattern_of_faults_ends_in_equal_logs(
    open_store: OpenStore,
    signer: SeedSigner,
    clock: SimulatedClock,
    tmp_path_factory: pytest.TempPathFactory,
    faults: list[Fault | None],
    counts: list[int],
    restart: bool,
) -> None:
    folder = tmp_path_factory.mktemp("van")
    store = open_store(folder)
    van = Van(store, signer, clock, folder)
    pattern = iter(faults)
    van.county.fault_for = lambda _: next(pattern, None)
    for count in counts:
        van.store.commit_now(*(reading(n) for n in range(count)))
        van.keep(b"ecg %d" % store.size() * 40_000)
        await van.uploader.deliver_now()
        if restart:
            van.new_uploader()
    for _ in range(len(faults) + 2):
        await van.uploader.deliver_now()
    assert van.county.entries == van.all_entries()
    assert all(upload.complete for upload in van.county.uploads.values())
    assert len(van.county.uploads) == len(counts)
    waiting = store.waiting()
    assert (waiting.entries, waiting.recordings) == (0, 0)
    store.close()


@pytest.mark.parametrize("status", [401, 403, 422, 400, 404])
async def test_refusal_is_parked_and_never_success(van: Van, status: int) -> None:
    van.store.commit_now(reading(1))
    van.county.fault_for = lambda _: Answer(status, body=b"not today")
    delivered = await van.uploader.deliver_now()
    assert not delivered.complete
    assert van.store.waiting().entries == 2
    (parked,) = van.uploader.status().parked
    assert (parked.what, parked.status) == ("journal", status)
    asked = len(van.county.requests)
    van.county.fault_for = lambda _: None
    await van.new_uploader().deliver_now()
    assert len(van.county.requests) == asked, "parked is not resent blindly, not even by a restart"
    assert van.uploader.status().parked == [parked]
    van.uploader.retry_parked("journal")
    assert (await van.uploader.deliver_now()).complete
    assert van.uploader.status().parked == []


async def test_van_that_was_enrolled_meanwhile_asks_again_by_itself(van: Van, clock: SimulatedClock) -> None:
    van.county.fault_for = lambda _: Answer(401)
    await van.uploader.deliver_now()
    van.county.fault_for = lambda _: None
    clock.advance(timedelta(minutes=16).total_seconds())
    assert (await van.uploader.deliver_now()).complete
    assert van.uploader.status().parked == []


async def test_clock_set_back_does_not_keep_a_van_from_asking_again(van: Van, clock: SimulatedClock) -> None:
    clock.set_wall(clock.now() + timedelta(days=1000))
    van.county.fault_for = lambda _: Answer(403)
    await van.uploader.deliver_now()
    van.county.fault_for = lambda _: None
    clock.set_wall(clock.now() - timedelta(days=1000))
    assert (await van.uploader.deliver_now()).complete
    assert van.uploader.status().parked == []


async def test_receipt_of_a_former_county_is_still_shown(van: Van, clock: SimulatedClock) -> None:
    await van.uploader.deliver_now()
    received_at = clock.now()
    van.county.cosigner = SeedSigner("county.example", b"n" * 32, ED25519_COSIGNATURE)
    van.store.commit_now(reading(1))
    assert van.new_uploader().status().last_receipt_at == received_at
    clock.advance(60)
    assert (await van.uploader.deliver_now()).complete
    assert van.uploader.status().last_receipt_at == clock.now()


async def test_county_restored_from_a_backup_gets_what_it_lost(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(300)))
    await van.uploader.deliver_now()
    backup = van.county.entries[:], dict(van.county.pending), van.county.pending_size
    van.store.commit_now(*(reading(n) for n in range(300, 900)))
    await van.uploader.deliver_now()
    van.county.entries, van.county.pending, van.county.pending_size = backup
    for uploader in (van.uploader, van.new_uploader()):
        van.store.commit_now(reading(1000 + van.store.size()))
        assert (await uploader.deliver_now()).complete
        assert van.county.entries == van.all_entries()


async def test_receipt_of_another_key_is_no_receipt(van: Van) -> None:
    van.county.cosigner = SeedSigner("county.example", b"x" * 32, ED25519_COSIGNATURE)
    assert not (await van.uploader.deliver_now()).complete
    assert van.store.waiting().entries == 1
    assert van.uploader.status().parked[0].code == "receipt_invalid"


async def test_older_copy_of_the_disk_is_shown_not_hidden(van: Van, open_store: OpenStore, tmp_path: Path) -> None:
    van.store.commit_now(*(reading(n) for n in range(20)))
    await van.uploader.deliver_now()
    older = Van(open_store(tmp_path / "older"), van.signer, van.clock, tmp_path / "older")
    older.county = van.county
    older.new_uploader()
    assert not (await older.uploader.deliver_now()).complete
    assert older.uploader.status().parked[0].code == "county_ahead"


async def test_rewritten_journal_is_refused(van: Van, open_store: OpenStore, tmp_path: Path) -> None:
    await van.uploader.deliver_now()
    van.clock.advance(5)
    other = Van(open_store(tmp_path / "other"), van.signer, van.clock, tmp_path / "other")
    other.store.commit_now(*(reading(n) for n in range(20)))
    other.county = van.county
    other.new_uploader()
    assert not (await other.uploader.deliver_now()).complete
    assert other.store.delivered_size() == 0
    assert other.uploader.status().parked[0].status == 422
    assert len(van.county.entries) == 1


async def test_large_entries_are_sent_in_small_steps(van: Van) -> None:
    van.store.commit_now(*(reading(n, device_said_at="x" * 40_000) for n in range(40)))
    assert (await van.uploader.deliver_now()).complete
    assert van.county.entries == van.all_entries()
    steps = [after - before for before, after in pairwise([0, *van.county.cosigned])]
    assert max(steps) <= 8, "at most 256 KB at risk in one step"


async def test_recordings_resume_where_they_broke_off(van: Van) -> None:
    data = bytes(range(256)) * 8192
    sha256 = van.keep(data)
    cut = iter([False, False, True])
    van.county.fault_for = lambda request: (
        UNREACHABLE if request.url.path.startswith("/recordings") and next(cut, False) else None
    )
    assert not (await van.uploader.deliver_now()).complete
    kept = len(van.county.uploads[sha256].data)
    assert 0 < kept < len(data)
    assert (await van.uploader.deliver_now()).complete
    assert bytes(van.county.uploads[sha256].data) == data
    assert van.store.waiting().recordings == 0


async def test_recording_refused_does_not_hold_up_the_next(van: Van) -> None:
    refused, taken = van.keep(b"refused"), van.keep(b"taken")
    van.county.fault_for = lambda request: Answer(422) if request.url.path.endswith(refused) else None
    delivered = await van.uploader.deliver_now()
    assert delivered.recordings == 1
    assert van.county.uploads[taken].complete
    assert [parked.what for parked in van.uploader.status().parked] == [f"recording:{refused}"]
    assert van.store.waiting().recordings == 1
    assert van.store.waiting().entries == 0


async def test_page_of_something_in_between_parks_no_recording_for_good(van: Van, clock: SimulatedClock) -> None:
    van.keep(b"one")
    van.keep(b"two")
    van.county.fault_for = lambda _: Answer(404, body=b"<html>not found</html>")
    assert not (await van.uploader.deliver_now()).complete
    assert {parked.what for parked in van.uploader.status().parked} == {"journal", "recordings"}
    van.county.fault_for = lambda _: None
    clock.advance(timedelta(minutes=16).total_seconds())
    assert (await van.uploader.deliver_now()).complete
    assert van.store.waiting().recordings == 0


async def test_damaged_and_missing_files_are_parked(van: Van) -> None:
    damaged, missing = van.keep(b"damaged"), van.keep(b"missing")
    van.recordings.path(damaged).write_bytes(b"DAMAGED")
    van.recordings.path(missing).unlink()
    await van.uploader.deliver_now()
    assert {parked.code for parked in van.uploader.status().parked} == {"recording_damaged"}
    assert len(van.uploader.status().parked) == 2


async def test_urgent_recordings_go_first_and_clips_never_hold_up_a_record(van: Van) -> None:
    clip, photo, ecg = van.keep(b"clip", "clip"), van.keep(b"photo", "photo"), van.keep(b"ecg")
    van.county.fault_for = lambda request: UNREACHABLE if request.url.path.endswith(clip) else None
    await van.uploader.deliver_now()
    assert list(van.county.uploads) == [ecg, photo]
    assert van.store.waiting().entries == 0


async def test_a_photo_goes_behind_what_is_urgent_and_before_the_clips(van: Van) -> None:
    clips = [van.keep(f"clip {n}".encode(), "clip") for n in range(4)]
    photo, ecg = van.keep(b"photo", "photo"), van.keep(b"ecg")
    await van.uploader.deliver_now()
    assert list(van.county.uploads)[:2] == [ecg, photo]
    assert set(van.county.uploads) == {ecg, photo, *clips}


async def test_wrong_clock_corrects_the_stamp_of_requests_only(van: Van, signer: SeedSigner) -> None:
    wrong = SimulatedClock(van.clock.now() - timedelta(days=400))
    client = CountyClient("http://county", van.county.cosigner.verifier_key(), signer, wrong, van.county)
    uploader = Uploader(van.store, van.recordings, client, wrong, jitter=lambda: 0.0)
    assert (await uploader.deliver_now()).complete


async def test_online_changes_are_told_once(van: Van) -> None:
    changes: list[bool] = []
    van.uploader.on_change = lambda: changes.append(van.uploader.status().online)
    van.store.commit_now(reading(1))
    van.county.faults.extend([UNREACHABLE, UNREACHABLE])
    await van.uploader.deliver_now()
    await van.uploader.deliver_now()
    await van.uploader.deliver_now()
    assert changes.count(False) == 1
    assert changes[-1] is True
    assert van.uploader.status().rate_bytes_s >= 0


async def test_running_uploader_wakes_on_commit_and_on_nudge(store: Store, signer: SeedSigner, tmp_path: Path) -> None:
    clock = SystemClock()
    county = CountySimulator(signer.verifier_key(), clock)
    client = CountyClient("http://county", county.cosigner.verifier_key(), signer, clock, county)
    uploader = Uploader(store, Recordings(tmp_path / "recordings"), client, clock)
    moved = asyncio.Event()
    uploader.on_change = moved.set
    task = asyncio.create_task(uploader.run())
    try:
        async with asyncio.timeout(20):
            await _until(lambda: store.waiting().entries == 0, moved)
            await store.commit(reading(1))
            await _until(lambda: store.waiting().entries == 0, moved)
            county.fault_for = lambda _: Answer(503, {"Retry-After": "3000"})
            await store.commit(reading(2))
            await _until(lambda: not uploader.status().online, moved)
            county.fault_for = lambda _: None
            uploader.nudge()
            await _until(lambda: store.waiting().entries == 0, moved)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


async def _until(reached: Callable[[], bool], moved: asyncio.Event) -> None:
    while not reached():
        moved.clear()
        if not reached():
            await moved.wait()


def test_back_off_doubles_to_a_minute_and_obeys_retry_after() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [round(backoff.next_s(), 1) for _ in range(11)] == [
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        12.8,
        25.6,
        51.2,
        60.0,
        60.0,
    ]
    assert backoff.next_s(retry_after_s=300.0) == 300.0
    backoff.reset()
    assert Backoff(lambda: 1.0).next_s() == pytest.approx(0.1)
    assert backoff.next_s() == pytest.approx(0.2)


async def test_receipt_stays_with_the_checkpoint_it_is_for(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(5)))
    await van.uploader.deliver_now()
    (row,) = van.store.read("SELECT size, note FROM receipts")
    note = Note.parse(row["note"])
    assert note.verified_by([van.signer.verifier_key(), van.county.cosigner.verifier_key()]) == note.signatures
    assert Checkpoint.parse(note.text) == Checkpoint(ORIGIN, 6, van.store.root(6))


def test_settings_with_a_wrong_county_key_are_refused(signer: SeedSigner, clock: SimulatedClock) -> None:
    whole = str(signer.verifier_key())
    for key in (whole[:-4] + "AAAA", whole):
        with pytest.raises(SettingsRefused, match="county's key"):
            CountyClient("http://county", key, signer, clock)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Encoding": "gzip"}, b"not packed"),
        Answer(401, {"Date": "Mon, 01 Jan 99999999999999999 00:00:00 GMT"}),
        Answer(503, {"Retry-After": "Mon, 01 Jan 99999999999999999 00:00:00 GMT"}),
    ],
)
async def test_answers_that_make_no_sense_end_no_uploader(van: Van, clock: SimulatedClock, answer: Answer) -> None:
    van.county.fault_for = lambda _: answer
    assert not (await van.uploader.deliver_now()).complete
    van.county.fault_for = lambda _: None
    clock.advance(timedelta(minutes=16).total_seconds())
    assert (await van.uploader.deliver_now()).complete


@pytest.mark.parametrize("status", [302, 405, 407, 429, 500, 502, 511, 204])
async def test_answers_of_something_in_between_are_never_parked(van: Van, status: int) -> None:
    van.county.fault_for = lambda _: Answer(status, {"Location": "http://log-in.example"}, b"<html>buy air time</html>")
    assert not (await van.uploader.deliver_now()).complete
    van.county.fault_for = lambda _: Answer(200, {}, b"<html>welcome</html>")
    assert not (await van.uploader.deliver_now()).complete
    assert van.uploader.status().parked == []
    assert van.store.waiting().entries == 1
    van.county.fault_for = lambda _: None
    assert (await van.uploader.deliver_now()).complete

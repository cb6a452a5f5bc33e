"""A vehicle changes its key: every cut between two steps ends well, and the county takes each size by its own key."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from county_month import Founded, at

from devices.clock import SimulatedClock
from sync.county.stick_import import StickImport
from sync.delivery.key_rotation import RotatingClient
from sync.delivery.stick_export import StickExport
from sync.delivery.uploader import Uploader
from sync.formats import wire
from sync.formats.merkle import root_of
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner
from sync.formats.records import Draft
from sync.formats.request_signature import signature_headers
from sync.keys.journal_keys import JournalKeys, KeyChangeRefused
from sync.keys.key_statements import KeyChange, StatementRefused
from sync.keys.vehicle_key import VehicleKey
from sync.record.recordings import Recordings
from sync.record.store import Store

ORIGIN = "van-07.qingyu.example"


class Cut(Exception):
    """The power goes off."""


class Road(httpx.AsyncBaseTransport):
    """The way to the county: may be cut before a request arrives, or before its answer does."""

    def __init__(self, founded: Founded) -> None:
        self.to(founded)
        self.lose: dict[str, str] = {}
        """Last part of a path -> "request" or "answer": which is lost."""
        self.seen: list[str] = []

    def to(self, founded: Founded) -> None:
        self._inner = httpx.ASGITransport(founded.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        last = request.url.path.rpartition("/")[2]
        self.seen.append(last)
        if self.lose.get(last) == "request":
            raise httpx.ConnectError("no network")
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        if self.lose.get(last) == "answer":
            raise httpx.ReadError("the answer was lost")
        return answer


@dataclass
class Van:
    """A van that can be switched off and on."""

    folder: Path
    founded: Founded
    road: Road
    keys: JournalKeys = field(init=False)
    store: Store = field(init=False)
    uploader: Uploader = field(init=False)

    def __post_init__(self) -> None:
        self.switch_on()

    def switch_on(self) -> None:
        clock = self.founded.clock
        self.keys = JournalKeys.load_or_create(self.folder / "keys", ORIGIN)
        self.store = Store.open(self.folder, ORIGIN, self.keys, clock, vehicle="van-07")
        self.recordings = Recordings(self.folder / "recordings")
        try:
            self.keys.resume(self.store)
        except BaseException:
            self.store.close()
            raise
        client = RotatingClient("http://county.test", self.founded.county.verifier_key, self.keys, clock, self.road)
        self.uploader = Uploader(self.store, self.recordings, client, clock, jitter=lambda: 0.0)

    def switch_off(self) -> None:
        self.store.close()

    def restart(self) -> None:
        self.switch_off()
        self.switch_on()

    def work(self, count: int = 3) -> None:
        self.store.commit_now(*(Draft("clock/1", {"seconds_ms": n, "source": "gnss"}) for n in range(count)))

    async def delivers(self) -> bool:
        return (await self.uploader.deliver_now()).complete


@pytest.fixture
async def van(tmp_path: Path) -> AsyncIterator[Van]:
    founded = Founded(tmp_path / "county-side", SimulatedClock(at(9, 1, 8)))
    made = Van(tmp_path / "van", founded, Road(founded))
    founded.county.fleet.enrol(ORIGIN, str(made.keys.verifier_key()), "van-07")
    yield made
    made.switch_off()
    founded.close()


def changes_of(store: Store) -> int:
    return len(store.read("SELECT n FROM entries WHERE kind = 'key_changed/1'"))


async def settled(van: Van, first: str, at_most_changes: int = 1) -> None:
    """One change of key, taken on both sides, and the whole journal under receipts of the right keys."""
    van.work()
    assert await van.delivers()
    enrolled = van.founded.county.fleet.get(ORIGIN)
    assert enrolled is not None
    assert [key.key for key in enrolled.keys] == [first, str(van.keys.verifier_key())]
    assert changes_of(van.store) == at_most_changes
    assert enrolled.keys[0].until_size == enrolled.keys[1].from_size - 1
    (entry,) = van.store.read("SELECT n FROM entries WHERE kind = 'key_changed/1'")
    assert enrolled.keys[1].from_size == entry["n"] + 1
    for size in range(1, van.store.size() + 1):
        note = van.store.checkpoint_at(size)
        assert note.verified_by([van.founded.county.fleet.key_at(ORIGIN, size)])
    assert sorted(path.name for path in (van.folder / "keys").iterdir()) == [
        "journal.key",
        f"journal.key.until-{entry['n']}",
    ]


async def test_from_the_next_size_on_the_new_key_signs(van: Van) -> None:
    first = str(van.keys.verifier_key())
    van.work()
    assert await van.delivers()
    van.keys.prepare()
    van.work()
    assert str(van.keys.verifier_key()) == first, "nothing changes before the next start"
    assert await van.delivers()
    van.restart()
    await settled(van, first)
    kept = Note.parse(van.founded.county.mirror.checkpoint(ORIGIN) or b"")
    assert kept.verified_by([van.keys.verifier_key()])
    van.restart()
    van.work()
    assert await van.delivers()


@pytest.mark.parametrize("cut", ["after the file", "after the entry", "within the exchange of files", "after it"])
@pytest.mark.parametrize("delivered", [True, False], ids=["on the line", "never delivered"])
async def test_the_power_may_go_off_between_any_two_steps(
    van: Van, cut: str, delivered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = str(van.keys.verifier_key())
    van.work()
    if delivered:
        assert await van.delivers()
    van.keys.prepare()
    match cut:
        case "after the file":
            van.restart()
        case "after the entry":
            van.restart()
            assert changes_of(van.store) == 1
        case _:
            van.restart()
            with monkeypatch.context() as patched:
                if cut == "within the exchange of files":
                    patched.setattr("sync.keys.journal_keys.os.replace", lambda *_: (_ for _ in ()).throw(Cut()))
                with pytest.raises(Cut) if cut.startswith("within") else monkeypatch.context():
                    await van.uploader.deliver_now()
    van.restart()
    await settled(van, first)


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_county_out_of_reach_for_days_loses_nothing(van: Van, lost: str) -> None:
    first = str(van.keys.verifier_key())
    van.work()
    assert await van.delivers()
    van.keys.prepare()
    van.road.lose = {"rotate-key": lost}
    for _ in range(3):
        van.restart()
        van.work()
        van.founded.clock.advance(timedelta(days=1).total_seconds())
        assert not await van.delivers()
        assert van.uploader.status().parked == []
    assert "add-checkpoint" not in van.road.seen[van.road.seen.index("rotate-key") :], "first the key, then its work"
    van.road.lose = {}
    await settled(van, first)


async def test_a_recording_sent_while_the_answer_was_lost_goes_out_by_the_new_key(van: Van) -> None:
    first = str(van.keys.verifier_key())
    van.keys.prepare()
    van.restart()
    van.road.lose = {"rotate-key": "answer"}
    assert not await van.delivers()
    sha256, size = van.recordings.store(b"ecg" * 100, "x/ecg")
    fields = {"sha256": sha256, "bytes": size, "media_type": "x/ecg", "what": "ecg", "duration_ms": 0, "facts": {}}
    van.store.commit_now(Draft("recording/1", {**fields, "started_at": "2026-09-01T00:00:00.000Z"}))
    van.road.lose = {"add-checkpoint": "request"}
    delivered = await van.uploader.deliver_now()
    assert delivered.recordings == 1, "a 401 by the old key is settled at once"
    van.road.lose = {}
    await settled(van, first)


async def test_a_second_change_waits_for_the_first(van: Van) -> None:
    van.keys.prepare()
    with pytest.raises(KeyChangeRefused, match="connect the vehicle"):
        van.keys.prepare()
    van.restart()
    with pytest.raises(KeyChangeRefused):
        van.keys.prepare()
    assert await van.delivers()
    first, *_ = (key for _, key in van.keys.files())
    van.keys.prepare()
    van.restart()
    assert await van.delivers()
    enrolled = van.founded.county.fleet.get(ORIGIN)
    assert enrolled is not None
    assert len(enrolled.keys) == 3
    assert enrolled.keys[1].key == str(first.verifier_key())
    for size in range(1, van.store.size() + 1):
        assert van.store.checkpoint_at(size).verified_by([van.founded.county.fleet.key_at(ORIGIN, size)])


async def test_an_entry_between_gives_a_void_change_and_no_false_one(van: Van, monkeypatch: pytest.MonkeyPatch) -> None:
    first = str(van.keys.verifier_key())
    van.keys.prepare()
    size = van.store.size
    with monkeypatch.context() as patched:
        patched.setattr("sync.record.store.Store.size", lambda store: size() - 1)
        van.switch_off()
        with pytest.raises(KeyChangeRefused, match="came between"):
            van.switch_on()
    van.switch_on()
    assert changes_of(van.store) == 2
    assert await van.delivers()
    enrolled = van.founded.county.fleet.get(ORIGIN)
    assert enrolled is not None
    assert [key.key for key in enrolled.keys] == [first, str(van.keys.verifier_key())]


async def test_a_key_changed_far_from_any_network_comes_by_stick(van: Van, tmp_path: Path) -> None:
    first = str(van.keys.verifier_key())
    van.work()
    van.keys.prepare()
    van.restart()
    van.work()
    county = van.founded.county
    stick = tmp_path / "stick"
    stick.mkdir()
    StickExport(van.store, van.recordings, county.verifier_key, lambda _: None).run(stick)
    cosigner = VehicleKey.load(county.settings.key_file)
    (imported,) = StickImport(county, cosigner).run(stick)
    assert imported.size == van.store.size()
    assert [key.key for key in county.fleet.get(ORIGIN).keys] == [first, str(van.keys.files()[-1][1].verifier_key())]
    assert StickImport(county, cosigner).run(stick)[0].entries == 0
    await settled(van, first)


# what the county refuses ----------------------------------------------------------------------------------------------

OLD, NEW = SeedSigner(ORIGIN, b"o" * 32), SeedSigner(ORIGIN, b"n" * 32)


# a county that was set back -------------------------------------------------------------------------------------------


def set_back(founded: Founded, backup: Path) -> None:
    """The county with the database of an earlier day; its keys and settings are those of today."""
    file = founded.folder / "county" / "county.db"
    founded.county.close()
    for left in file.parent.glob("county.db*"):
        left.unlink()
    shutil.copy(backup, file)
    founded.app = founded.open()


def saved(founded: Founded, backup: Path) -> Path:
    """A backup of the county's database, as sqlite3's own backup makes it."""
    with (
        closing(sqlite3.connect(founded.folder / "county" / "county.db")) as source,
        closing(sqlite3.connect(backup)) as target,
    ):
        source.backup(target)
    return backup


@pytest.mark.parametrize("changes", [1, 2])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_county_set_back_to_before_a_change_is_told_of_it_again(
    van: Van, tmp_path: Path, changes: int, restarted: bool
) -> None:
    van.work()
    assert await van.delivers()
    backup, before = saved(van.founded, tmp_path / "backup.db"), van.store.size()
    for _ in range(changes):
        van.keys.prepare()
        van.restart()
        van.work()
        assert await van.delivers()
    keys = keys_of(van.founded)
    assert len(keys) == changes + 1
    set_back(van.founded, backup)
    van.road.to(van.founded)
    assert keys_of(van.founded) == keys[:1]
    if restarted:
        van.restart()
    van.work()
    assert await van.delivers()
    assert keys_of(van.founded) == keys
    county = van.founded.county
    assert county.mirror.log(ORIGIN).mirror_size == van.store.size() > before
    assert [body for _, body in county.mirror.bodies(ORIGIN, 0, van.store.size())] == van.store.entries(0, 10**6)


async def test_a_county_set_back_while_the_next_change_waits_takes_both(van: Van, tmp_path: Path) -> None:
    van.work()
    assert await van.delivers()
    backup = saved(van.founded, tmp_path / "backup.db")
    van.keys.prepare()
    van.restart()
    assert await van.delivers()
    van.keys.prepare()
    van.restart()
    set_back(van.founded, backup)
    van.road.to(van.founded)
    assert await van.delivers()
    assert keys_of(van.founded)[-1] == str(van.keys.verifier_key())
    assert len(keys_of(van.founded)) == 3


async def test_a_revoked_vehicle_that_changed_its_key_before_is_parked_as_ever(van: Van) -> None:
    van.work()
    assert await van.delivers()
    van.keys.prepare()
    van.restart()
    assert await van.delivers()
    van.founded.county.fleet.revoke(ORIGIN, "车辆报废")
    van.work()
    van.road.seen.clear()
    said = await van.uploader.deliver_now()
    assert not said.complete
    assert {parked.status for parked in van.uploader.status().parked} == {401}
    assert van.road.seen.count("rotate-key") <= 2
    assert van.founded.county.fleet.verifier(ORIGIN) is None


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    county.county.fleet.enrol(ORIGIN, str(OLD.verifier_key()), "van-07")
    yield county
    county.close()


async def send(founded: Founded, body: bytes, origin: str = ORIGIN) -> httpx.Response:
    async with founded.client() as client:
        return await client.post(f"/log/{origin}/rotate-key", content=body)


async def post_checkpoint(founded: Founded, signer: SeedSigner, size: int, by: SeedSigner) -> int:
    """A checkpoint of ``size`` signed by ``signer``, in a request signed ``by``; its status."""
    root = root_of([b"\x01" * 32] * size)
    note = Checkpoint(ORIGIN, size, root).signed(signer)
    path, body = wire.log_path(ORIGIN, "add-checkpoint"), bytes(wire.AddCheckpoint(0, (), note))
    headers = signature_headers(by, "POST", path, body, founded.clock.now())
    async with founded.client() as client:
        return (await client.post(path, content=body, headers=headers)).status_code


def keys_of(founded: Founded) -> list[str]:
    enrolled = founded.county.fleet.get(ORIGIN)
    assert enrolled is not None
    return [key.key for key in enrolled.keys]


async def test_a_change_is_taken_once_however_often_it_comes(founded: Founded) -> None:
    change = KeyChange.signed(OLD, NEW, 7)
    size = founded.county.registry.state().size
    assert [(await send(founded, bytes(change))).status_code for _ in range(3)] == [200, 200, 200]
    assert keys_of(founded) == [str(OLD.verifier_key()), str(NEW.verifier_key())]
    assert founded.county.registry.state().size == size + 2, "the vehicle and the index, once"
    assert founded.county.fleet.verifier(ORIGIN) == NEW.verifier_key()
    third = SeedSigner(ORIGIN, b"3" * 32)
    assert (await send(founded, bytes(KeyChange.signed(NEW, third, 9)))).status_code == 200
    assert (await send(founded, bytes(change))).status_code == 200, "the first one again, after the second"
    assert founded.county.fleet.verifier(ORIGIN) == third.verifier_key()


async def test_each_size_by_its_own_key_and_requests_by_the_present_one(founded: Founded) -> None:
    assert (await send(founded, bytes(KeyChange.signed(OLD, NEW, 7)))).status_code == 200
    assert await post_checkpoint(founded, OLD, 6, by=OLD) == 401
    assert await post_checkpoint(founded, OLD, 7, by=NEW) == 403
    assert await post_checkpoint(founded, NEW, 6, by=NEW) == 403
    assert await post_checkpoint(founded, OLD, 6, by=NEW) == 200


async def test_a_change_below_what_the_county_has_is_refused(founded: Founded) -> None:
    assert await post_checkpoint(founded, OLD, 7, by=OLD) == 200
    for size in (1, 6, 7):
        answer = await send(founded, bytes(KeyChange.signed(OLD, NEW, size)))
        assert answer.status_code == 403
    assert keys_of(founded) == [str(OLD.verifier_key())]
    assert (await send(founded, bytes(KeyChange.signed(OLD, NEW, 8)))).status_code == 200


async def test_forged_and_misdirected_changes(founded: Founded) -> None:
    stranger = SeedSigner(ORIGIN, b"s" * 32)
    other = SeedSigner("van-09.qingyu.example", b"9" * 32)
    founded.county.fleet.enrol(other.name, str(other.verifier_key()))
    good = KeyChange.signed(OLD, NEW, 7)
    swapped = KeyChange(good.old, good.new, 7, good.new_signature, good.old_signature)
    moved = KeyChange(good.old, good.new, 8, good.old_signature, good.new_signature)
    once = KeyChange(good.old, good.new, 7, good.old_signature, stranger.sign(b"x"))
    county = founded.county.verifier_key
    for status, body in (
        (400, b""),
        (400, b"{}"),
        (400, b"\xff" * 50),
        (413, b"x" * 5000),
        (400, bytes(swapped)),
        (400, bytes(moved)),
        (400, bytes(once)),
        (400, bytes(KeyChange.signed(OLD, OLD, 7))),
        (400, bytes(KeyChange.signed(OLD, SeedSigner(ORIGIN, b"n" * 32, ED25519_COSIGNATURE), 7))),
        (400, bytes(KeyChange.signed(other, SeedSigner(other.name, b"m" * 32), 7))),
        (403, bytes(KeyChange.signed(stranger, NEW, 7))),
        (403, bytes(KeyChange.signed(OLD, SeedSigner(ORIGIN, b"9" * 32), 7))),
    ):
        answer = await send(founded, body)
        assert answer.status_code == status, (status, body[:60], answer.text)
    assert (await send(founded, bytes(KeyChange.signed(stranger, NEW, 7)), "nobody.example")).status_code == 400
    assert keys_of(founded) == [str(OLD.verifier_key())]
    assert founded.county.verifier_key == county


async def test_a_revoked_key_names_no_other(founded: Founded) -> None:
    founded.county.fleet.revoke(ORIGIN, "stolen")
    answer = await send(founded, bytes(KeyChange.signed(OLD, NEW, 7)))
    assert answer.status_code == 403
    assert "revoked" in answer.text


def test_a_change_reads_back_as_it_was_written() -> None:
    change = KeyChange.signed(OLD, NEW, 7)
    assert KeyChange.parse(bytes(change)) == change
    assert KeyChange.of_entry(change.entry_fields(), 6, OLD.verifier_key()) == change
    for n, old in ((7, OLD), (6, NEW)):
        with pytest.raises(StatementRefused):
            KeyChange.of_entry(change.entry_fields(), n, old.verifier_key())


async def test_too_many_changes_of_an_address_wait(founded: Founded) -> None:
    statuses = [(await send(founded, b"{}")).status_code for _ in range(130)]
    assert set(statuses) == {400, 429}
    founded.clock.advance(60)
    assert (await send(founded, b"{}")).status_code == 400

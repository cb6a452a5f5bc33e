"""The county and the province's witness together: every checkpoint is cosigned, and a past that changed is noticed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from county_month import Founded, Van, at
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.__main__ import main
from sync.county.app import open_county
from sync.county.schema import checkpoints, witness_logs
from sync.county.settings import CountySettings, WitnessAddress, read_county_settings
from sync.county.witnessing import LONGEST_PAUSE_S, REFUSED_AGAIN, Witnessing
from sync.formats.merkle import consistency_proof, leaf_hash, root_of
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner
from sync.formats.wire import AddCheckpoint
from sync.keys.key_roles import KeyInTwoRoles
from sync.proof.registry_entries import RegistryDraft
from sync.proof.registry_state import KeyRange
from sync.settings_file import SettingsRefused
from sync.witness.app import create_witness
from sync.witness.client import WitnessClient, WitnessUnreachable
from sync.witness.ledger import Ledger
from sync.witness.settings import WitnessedCounty

PROVINCE = SeedSigner("witness.province.example", b"p" * 32, ED25519_COSIGNATURE)


class Connection(httpx.AsyncBaseTransport):
    """To the witness; may be cut, lose the answer, or be counted."""

    def __init__(self, ledger: Ledger) -> None:
        self._through = httpx.ASGITransport(create_witness(ledger))
        self.cut = self.loses_answers = False
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("cut")
        self.asked.append(request.url.path)
        answer = await self._through.handle_async_request(request)
        if self.loses_answers:
            raise httpx.ReadError("lost")
        return answer


class Province:
    def __init__(self, founded: Founded, folder: Path) -> None:
        county = founded.county
        known = WitnessedCounty(registry=str(county.registry.verifier_key), key=str(county.verifier_key))
        self.ledger = Ledger(folder / "witness.db", (known,), PROVINCE, founded.clock)
        self.connection = Connection(self.ledger)

    def pusher(self, founded: Founded) -> Witnessing:
        county = founded.county
        client = WitnessClient("http://witness.test", PROVINCE.verifier_key(), self.connection)
        return Witnessing(county.database, county.mirror, county.registry, client, founded.clock)

    def sizes(self) -> dict[str, int]:
        return {log.origin: log.size for log in self.ledger.logs()}


@pytest.fixture
def founded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Founded]:
    """On SQLite; on both databases for a test that asks for ``database_url``."""
    url = request.getfixturevalue("database_url") if "database_url" in request.fixturenames else ""
    founded = Founded(tmp_path, SimulatedClock(at(9, 8, 8)), url)
    yield founded
    founded.close()


@pytest.fixture
def province(founded: Founded, tmp_path: Path) -> Iterator[Province]:
    province = Province(founded, tmp_path)
    yield province
    province.ledger.close()


@pytest.fixture
def pusher(founded: Founded, province: Province) -> Witnessing:
    return province.pusher(founded)


def newest(founded: Founded, origin: str) -> Note:
    return Note.parse(founded.county.mirror.checkpoint(origin) or b"")


def witnessed(founded: Founded, origin: str) -> list[int]:
    rows = founded.county.database.rows(
        select(checkpoints.c.size, checkpoints.c.note)
        .where(checkpoints.c.origin == origin, checkpoints.c.witnessed_at.is_not(None))
        .order_by(checkpoints.c.size)
    )
    for row in rows:
        assert Note.parse(row["note"]).verified_by([PROVINCE.verifier_key()])
    return [row["size"] for row in rows]


async def test_a_delivery_carries_three_signatures(
    founded: Founded, province: Province, pusher: Witnessing, van: Van, database_url: str
) -> None:
    await van.deliver()
    assert await pusher.push_due() == 2
    note = newest(founded, van.signer.name)
    keys = [van.signer.verifier_key(), founded.county.verifier_key, PROVINCE.verifier_key()]
    assert len(note.verified_by(keys)) == 3
    assert len(newest(founded, founded.county.registry.origin).verified_by(keys)) == 2
    assert province.connection.asked == ["/add-checkpoint"] * 2 + ["/add-log", "/add-checkpoint"]
    assert await pusher.push_due() == 0


async def test_each_push_takes_the_newest_checkpoint_only(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    sizes = []
    for _ in range(3):
        for _ in range(2):
            van.restart()
            await van.deliver()
        await pusher.push_due()
        sizes.append(founded.county.mirror.log(van.signer.name).mirror_size)
    assert witnessed(founded, van.signer.name) == sizes
    assert province.sizes()[van.signer.name] == sizes[-1]


async def test_an_unreachable_witness_delays_and_loses_nothing(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    await van.deliver()
    province.connection.cut = True
    with pytest.raises(WitnessUnreachable):
        await pusher.push_due()
    status = pusher.status()
    assert (status.name, status.waiting, status.witnessed_at) == (PROVINCE.name, 2, None)
    province.connection.cut = False
    assert await pusher.push_due() == 2
    assert pusher.status().waiting == 0


async def test_a_lost_answer_is_asked_for_again(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    await van.deliver()
    await pusher.push_due()
    van.restart()
    await van.deliver()
    province.connection.loses_answers = True
    with pytest.raises(WitnessUnreachable):
        await pusher.push_due()
    assert province.sizes()[van.signer.name] == founded.county.mirror.log(van.signer.name).mirror_size
    province.connection.loses_answers = False
    assert await pusher.push_due() == 1
    assert newest(founded, van.signer.name).verified_by([PROVINCE.verifier_key()])


async def test_a_new_key_of_a_vehicle_is_shown_to_the_witness(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    await van.deliver()
    await pusher.push_due()
    registry = founded.county.registry
    before = registry.vehicle(van.signer.name)
    assert before is not None
    size = founded.county.mirror.log(van.signer.name).mirror_size
    new = SeedSigner(van.signer.name, b"n" * 32)
    keys = (replace(before.keys[0], until_size=size), KeyRange(str(new.verifier_key()), size + 1))
    _enter(founded, [{"key": key.key, "from_size": key.from_size} for key in keys], until=size)
    van.restart()
    _sign_as(van, new)
    await van.deliver()
    assert await pusher.push_due() == 2
    assert province.sizes()[van.signer.name] > size


async def test_a_key_revoked_below_what_was_delivered_is_no_contradiction(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    """The county decides that less counts than it has; the witness has nothing further to sign."""
    await van.deliver()
    await pusher.push_due()
    van.restart()
    await van.deliver()
    before = province.sizes()[van.signer.name]
    founded.county.fleet.revoke(van.signer.name, "失窃", before, "xu.jing")
    await pusher.push_due()
    status = pusher.status()
    assert (status.contradictions, status.waiting) == ((), 0)
    assert province.sizes()[van.signer.name] == before


def _enter(founded: Founded, keys: list[dict[str, Any]], until: int) -> None:
    keys[0]["until_size"] = until
    fields = {"origin": "van-07.qingyu.example", "vehicle": "van-07", "plate": "", "keys": keys}
    founded.county.registry.append(RegistryDraft("vehicle/1", fields), by="xu.jing")


def _sign_as(van: Van, signer: SeedSigner) -> None:
    van.store.close()
    van.signer = signer
    van.__post_init__()


async def test_several_workers_push_each_log_once(
    founded: Founded, province: Province, pusher: Witnessing, van: Van, database_url: str
) -> None:
    await van.deliver()
    await pusher.push_due()
    for _ in range(4):
        van.restart()
        await van.deliver()
        founded.county.registry.set_rules({"staff": 3}, by="xu.jing")
        province.connection.asked.clear()
        counts = await asyncio.gather(*(province.pusher(founded).push_due() for _ in range(4)))
        assert sum(counts) == 2
        assert province.connection.asked == ["/add-checkpoint"] * 2


async def test_a_claim_of_a_worker_that_died_runs_out(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    await van.deliver()
    assert pusher._claim(van.signer.name)
    assert await pusher.push_due() == 1
    founded.clock.advance(120)
    assert await pusher.push_due() == 1


async def test_a_county_whose_database_was_set_back_is_noticed_and_told(tmp_path: Path) -> None:
    """The county is restored from yesterday's copy: what the province has cosigned since proves it."""
    founded = Founded(tmp_path, SimulatedClock(at(9, 8, 8)))
    province = Province(founded, tmp_path)
    van = founded.van("van-07")
    await van.deliver()
    await province.pusher(founded).push_due()
    founded.county.close()
    shutil.copytree(tmp_path / "county", tmp_path / "copy")
    founded.app = founded.open()
    van.restart()
    await van.deliver()
    founded.county.registry.set_rules({"staff": 3}, by="xu.jing")
    await province.pusher(founded).push_due()
    founded.county.close()
    shutil.rmtree(tmp_path / "county")
    shutil.copytree(tmp_path / "copy", tmp_path / "county")
    founded.app = founded.open()
    # The restored registry goes on in another way, with fewer entries than the witness has, then with more.
    founded.county.registry.waive(founded.villages[0].code, "2026-09", "大雪封路", by="xu.jing")
    pusher = province.pusher(founded)
    assert await pusher.push_due() == 0
    (contradiction,) = pusher.status().contradictions
    assert contradiction.origin == founded.county.registry.origin
    assert "another root for the same size" in contradiction.reason
    for number in range(3):
        founded.county.registry.waive(founded.villages[number].code, "2026-10", "大雪封路", by="xu.jing")
    founded.clock.advance(REFUSED_AGAIN.total_seconds() + 1)
    assert await pusher.push_due() == 0
    (contradiction,) = pusher.status().contradictions
    assert "not proven to extend" in contradiction.reason
    assert province.ledger.refused(founded.county.registry.origin)
    province.ledger.close()
    founded.close()


async def test_a_smaller_log_than_the_witness_has_is_called_set_back(
    founded: Founded, province: Province, pusher: Witnessing, van: Van
) -> None:
    """The witness has got a longer log from the county's better days: signed by the vehicle, an extension."""
    await van.deliver()
    await pusher.push_due()
    origin = van.signer.name
    leaves = [*founded.county.mirror.leaves(origin, 0, province.sizes()[origin]), leaf_hash(b"later")]

    def subtree(level: int, place: int) -> bytes:
        return root_of(leaves[place << level : (place + 1) << level])

    longer = Checkpoint(origin, len(leaves), root_of(leaves)).signed(van.signer)
    proof = consistency_proof(len(leaves) - 1, len(leaves), subtree)
    province.ledger.add_checkpoint(AddCheckpoint(len(leaves) - 1, tuple(proof), longer))
    with founded.county.database.write() as connection:
        connection.execute(witness_logs.update().values(size=0))
    assert await pusher.push_due() == 1
    (contradiction,) = pusher.status().contradictions
    assert contradiction.origin == origin
    assert f"cosigned {len(leaves)} entries, the county has {len(leaves) - 1}" in contradiction.reason
    assert "set back" in contradiction.reason


async def test_what_the_witness_refuses_is_asked_again_after_an_hour(
    founded: Founded, province: Province, van: Van, tmp_path: Path, database_url: str
) -> None:
    """A province that does not know the county yet: 404, until somebody has entered its key."""
    stranger = Ledger(tmp_path / "other.db", (), PROVINCE, founded.clock)
    connection = Connection(stranger)
    client = WitnessClient("http://witness.test", PROVINCE.verifier_key(), connection)
    county = founded.county
    pusher = Witnessing(county.database, county.mirror, county.registry, client, founded.clock)
    assert await pusher.push_due() == 0
    first = pusher.status().contradictions
    assert [one.origin for one in first] == [county.registry.origin]
    assert "not known here" in first[0].reason
    assert await pusher.push_due() == 0
    assert len(connection.asked) == 1
    founded.clock.advance(timedelta(hours=2).total_seconds())
    assert await province.pusher(founded).push_due() == 1
    assert pusher.status().contradictions == ()
    stranger.close()


async def test_an_answer_that_is_no_cosignature_is_not_kept(founded: Founded, van: Van) -> None:
    await van.deliver()
    forger = SeedSigner(PROVINCE.name, b"f" * 32, ED25519_COSIGNATURE)
    county = founded.county
    for answer in (
        httpx.Response(200, content=b"welcome to the hotel's network"),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"x" * 100_000),
        httpx.Response(200, content=f"— {forger.name} {'A' * 104}\n".encode()),
        httpx.Response(409, content=b"many\n", headers={"Content-Type": "text/x.tlog.size"}),
        httpx.Response(500),
    ):
        transport = httpx.MockTransport(lambda request, answer=answer: answer)
        client = WitnessClient("http://witness.test", PROVINCE.verifier_key(), transport)
        pusher = Witnessing(county.database, county.mirror, county.registry, client, founded.clock)
        with pytest.raises(WitnessUnreachable):
            await pusher.push_due()
    assert witnessed(founded, county.registry.origin) == []


async def test_it_goes_on_by_itself_with_pauses(founded: Founded, province: Province, pusher: Witnessing) -> None:
    """On simulated time: pauses double up to the longest, and end when the witness is back."""
    province.connection.cut = True
    running = asyncio.create_task(pusher.run())
    try:
        began = founded.clock.now()
        while founded.clock.now() - began < timedelta(seconds=3 * LONGEST_PAUSE_S):
            await _tick(founded.clock)
        assert witnessed(founded, founded.county.registry.origin) == []
        province.connection.cut = False
        while not witnessed(founded, founded.county.registry.origin):
            await _tick(founded.clock)
    finally:
        running.cancel()


async def _tick(clock: SimulatedClock) -> None:
    clock.advance(20)
    await asyncio.sleep(0.002)


async def test_without_a_witness_nothing_is_sent(founded: Founded, van: Van) -> None:
    await van.deliver()
    assert founded.county.witnessing.status().name is None
    assert founded.county.witnessing.key is None
    assert await founded.county.witnessing.push_due() == 0
    await founded.county.witnessing.run()


# settings -------------------------------------------------------------------------------------------------------------


def county_toml(tmp_path: Path, key: str) -> Path:
    path = tmp_path / "county.toml"
    said = 'name = "青峪县"\ndata = "data"\norigin = "county.qingyu.example"\n'
    path.write_text(f'{said}[witness]\nurl = "http://127.0.0.1:8600"\nkey = "{key}"\n', encoding="utf-8")
    return path


def test_the_policy_names_all_three_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = county_toml(tmp_path, str(PROVINCE.verifier_key()))
    assert main(["--settings", str(path), "policy"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    words = [line.split() for line in lines]
    assert [line[:2] for line in words[1:3]] == [["witness", "county"], ["witness", "province"]]
    assert words[0][1].startswith("registry.county.qingyu.example+")
    assert words[3:] == [["group", "both", "all", "county", "province"], ["quorum", "both"]]


@pytest.mark.parametrize(
    ("key", "said"),
    [("rubbish", "copy the whole line"), (str(SeedSigner("w.example", b"w" * 32).verifier_key()), "not a witness's")],
)
def test_a_wrong_witness_key_is_refused(tmp_path: Path, key: str, said: str) -> None:
    with pytest.raises(SettingsRefused, match=said):
        read_county_settings(county_toml(tmp_path, key))


def test_a_witness_with_the_countys_own_key_is_refused(tmp_path: Path) -> None:
    settings = CountySettings(name="青峪县", data=tmp_path / "data", origin="county.qingyu.example")
    county = open_county(settings)
    own = SeedSigner("witness.province.example", b"-" * 32, ED25519_COSIGNATURE).verifier_key()
    same = str(replace(own, public_key=county.verifier_key.public_key))
    county.close()
    address = WitnessAddress(url="http://127.0.0.1:8600", key=same)
    with pytest.raises(KeyInTwoRoles, match="the county and the province's witness have"):
        open_county(settings.model_copy(update={"witness": address}))

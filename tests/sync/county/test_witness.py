"""The province's witness: what it cosigns, what it refuses and how, and that it never forgets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from sync.formats import wire
from sync.formats.merkle import EMPTY_ROOT, Frontier, consistency_proof, inclusion_proof, leaf_hash
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner, Signature, cosign, cosigned_at
from sync.formats.wire import AddCheckpoint
from sync.keys.introduction import Introduction
from sync.keys.key_roles import KeyInTwoRoles
from sync.proof.registry_entries import RegistryDraft, write_registry_entry
from sync.settings_file import SettingsRefused
from sync.witness.__main__ import main, open_ledger
from sync.witness.app import create_witness
from sync.witness.ledger import Ledger, Refused
from sync.witness.settings import WitnessedCounty, read_witness_settings

NOW = datetime(2026, 9, 3, 1, 2, 3, tzinfo=UTC)
WITNESS = SeedSigner("witness.province.example", b"p" * 32, ED25519_COSIGNATURE)
COUNTY = SeedSigner("county.qingyu.example", b"c" * 32, ED25519_COSIGNATURE)
REGISTRY = SeedSigner("registry.county.qingyu.example", b"r" * 32)
VAN = SeedSigner("van-07.qingyu.example", b"v" * 32)
NEW_KEY = SeedSigner(VAN.name, b"n" * 32)
COUNTIES = (WitnessedCounty(registry=str(REGISTRY.verifier_key()), key=str(COUNTY.verifier_key())),)


@dataclass
class Log:
    """A log that grows, and says what its owner would send."""

    signer: SeedSigner
    bodies: list[bytes] = field(default_factory=list)

    def grow(self, *bodies: bytes) -> Log:
        self.bodies += bodies
        return self

    def filled(self, count: int) -> Log:
        return self.grow(*(f"{self.signer.name} {n}".encode() for n in range(len(self.bodies), count)))

    def subtree(self, level: int, index: int) -> bytes:
        frontier = Frontier()
        for body in self.bodies[index << level : (index + 1) << level]:
            frontier.append(leaf_hash(body))
        return frontier.root()

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.bodies) if size is None else size
        frontier = Frontier()
        for body in self.bodies[:size]:
            frontier.append(leaf_hash(body))
        return Checkpoint(self.signer.name, size, frontier.root())

    def asking(self, old: int, size: int | None = None, signer: SeedSigner | None = None) -> AddCheckpoint:
        checkpoint = self.checkpoint(size)
        proof = consistency_proof(old, checkpoint.size, self.subtree)
        return AddCheckpoint(old, tuple(proof), checkpoint.signed(signer or self.signer))


def vehicle(place: int, **more: Any) -> bytes:
    fields = {"origin": VAN.name, "vehicle": "van-07", "plate": "", "keys": [{"key": key(VAN), "from_size": 0}], **more}
    return write_registry_entry(RegistryDraft("vehicle/1", fields), place, NOW, "xu.jing").body


def key(signer: SeedSigner) -> str:
    return str(signer.verifier_key())


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def ledger(tmp_path: Path, clock: SimulatedClock) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "witness.db", COUNTIES, WITNESS, clock)
    yield opened
    opened.close()


@pytest.fixture
def registry() -> Log:
    return Log(REGISTRY)


def refused(ledger: Ledger, asked: AddCheckpoint) -> tuple[int, int | None]:
    with pytest.raises(Refused) as caught:
        ledger.add_checkpoint(asked)
    return caught.value.status, caught.value.size


def introduction(ledger: Ledger, registry: Log, place: int) -> Introduction:
    """Of the entry at ``place``, by the registry's checkpoint that the witness has cosigned."""
    note = Note.parse(ledger.checkpoint(sha256(REGISTRY.name.encode()).hexdigest()) or b"")
    size = Checkpoint.parse(note.text).size
    return Introduction(place, tuple(inclusion_proof(place, size, registry.subtree)), registry.bodies[place], note)


def introduce(ledger: Ledger, registry: Log, **more: Any) -> None:
    place = len(registry.bodies)
    registry.grow(vehicle(place, **more), f"index {place}".encode())
    ledger.add_checkpoint(registry.asking(place))
    ledger.add_log(introduction(ledger, registry, place))


# add-checkpoint -------------------------------------------------------------------------------------------------------


def test_what_extends_the_last_checkpoint_is_cosigned(ledger: Ledger, registry: Log, clock: SimulatedClock) -> None:
    for old, size in ((0, 3), (3, 4), (4, 9)):
        asked = registry.filled(size).asking(old)
        line = ledger.add_checkpoint(asked)
        assert WITNESS.verifier_key().verifies(asked.checkpoint.text, line)
        assert cosigned_at(line) == clock.now()
        clock.advance(300)
    note = Note.parse(ledger.checkpoint(sha256(REGISTRY.name.encode()).hexdigest()) or b"")
    assert Checkpoint.parse(note.text) == registry.checkpoint()
    assert len(note.verified_by([REGISTRY.verifier_key(), WITNESS.verifier_key()])) == 2
    assert [(log.origin, log.size, log.refused) for log in ledger.logs()] == [(REGISTRY.name, 9, 0)]


def test_the_same_again_gives_the_same_line(ledger: Ledger, registry: Log, clock: SimulatedClock) -> None:
    first = ledger.add_checkpoint(registry.filled(3).asking(0))
    clock.advance(3600)
    assert ledger.add_checkpoint(registry.asking(3)) == first
    assert refused(ledger, registry.asking(0)) == (409, 3)


def test_unknown_signature_lines_and_further_witnesses_do_not_matter(ledger: Ledger, registry: Log) -> None:
    asked = registry.filled(3).asking(0)
    strange = Signature("sm2.example", b"abcd", b"x" * 70)
    note = asked.checkpoint.signed_also([strange, cosign(asked.checkpoint.text, COUNTY, NOW)])
    line = ledger.add_checkpoint(AddCheckpoint(0, (), note))
    assert WITNESS.verifier_key().verifies(note.text, line)


def test_refusals_are_those_of_the_specification(ledger: Ledger, registry: Log) -> None:
    ledger.add_checkpoint(registry.filled(5).asking(0))
    registry.filled(8)
    good = registry.asking(5)
    assert refused(ledger, Log(SeedSigner("other.example", b"o" * 32)).filled(2).asking(0)) == (404, None)
    assert refused(ledger, registry.asking(5, signer=SeedSigner(REGISTRY.name, b"x" * 32))) == (403, None)
    damaged = Signature(REGISTRY.name, REGISTRY.verifier_key().key_id, b"x" * 64)
    assert refused(ledger, AddCheckpoint(5, good.proof, Note(good.checkpoint.text, (damaged,)))) == (403, None)
    assert refused(ledger, AddCheckpoint(9, good.proof, good.checkpoint)) == (400, None)
    assert refused(ledger, registry.asking(4)) == (409, 5)
    assert refused(ledger, AddCheckpoint(5, good.proof[:-1], good.checkpoint)) == (422, None)
    assert refused(ledger, AddCheckpoint(5, (*good.proof, b"x" * 32), good.checkpoint)) == (422, None)
    assert ledger.logs()[0].size == 5
    ledger.add_checkpoint(good)


def test_a_proof_where_none_belongs_and_a_wrong_empty_log_are_refused(ledger: Ledger, registry: Log) -> None:
    asked = registry.filled(3).asking(0)
    assert refused(ledger, AddCheckpoint(0, (b"x" * 32,), asked.checkpoint)) == (422, None)
    empty = Checkpoint(REGISTRY.name, 0, b"x" * 32).signed(REGISTRY)
    assert refused(ledger, AddCheckpoint(0, (), empty)) == (422, None)
    ledger.add_checkpoint(AddCheckpoint(0, (), Checkpoint(REGISTRY.name, 0, EMPTY_ROOT).signed(REGISTRY)))


def test_a_rewritten_log_is_refused_and_kept_as_evidence(ledger: Ledger, registry: Log) -> None:
    ledger.add_checkpoint(registry.filled(5).asking(0))
    rewritten = Log(REGISTRY).grow(*registry.bodies[:4], b"something else")
    assert refused(ledger, rewritten.asking(5)) == (422, None)
    assert refused(ledger, rewritten.filled(9).asking(5)) == (422, None)
    assert refused(ledger, rewritten.asking(5)) == (422, None)
    kept = ledger.refused(REGISTRY.name)
    assert [reason.partition(" ")[0] for _, reason, _ in kept] == ["another", "size"]
    for _, _, note in kept:
        Note.parse(note).verified_by([REGISTRY.verifier_key()])
    assert ledger.logs()[0].refused == 2
    ledger.add_checkpoint(registry.filled(6).asking(5))


def test_nobody_takes_the_room_of_evidence_by_sending_a_good_checkpoint_again(ledger: Ledger, registry: Log) -> None:
    """What the county has published anybody may send: with a broken proof, and with lines of his own."""
    ledger.add_checkpoint(registry.filled(5).asking(0))
    good = registry.filled(9).asking(5)
    for n in range(5):
        line = Signature("stranger.example", b"1234", b"%d" % n)
        assert refused(ledger, replace(good, proof=(), checkpoint=good.checkpoint.signed_also([line]))) == (422, None)
    ((_, _, note),) = ledger.refused(REGISTRY.name)
    assert note == bytes(good.checkpoint)
    many = replace(good.checkpoint, signatures=good.checkpoint.signatures * 64)
    line = ledger.add_checkpoint(replace(good, checkpoint=many))
    kept = Note.parse(ledger.checkpoint(sha256(REGISTRY.name.encode()).hexdigest()) or b"")
    assert kept.signatures == (*good.checkpoint.signatures, line)


def test_a_log_that_was_set_back_is_noticed(ledger: Ledger, registry: Log) -> None:
    """A county's database restored from an old copy, or a van's disk: it is smaller than what was cosigned."""
    ledger.add_checkpoint(registry.filled(9).asking(0))
    restored = Log(REGISTRY).filled(5)
    assert refused(ledger, restored.asking(5)) == (409, 9)
    assert refused(ledger, restored.asking(0)) == (409, 9)
    grown_otherwise = restored.grow(*(b"later %d" % n for n in range(7)))
    assert refused(ledger, grown_otherwise.asking(9)) == (422, None)


def test_what_was_cosigned_outlives_a_restart(tmp_path: Path, registry: Log, clock: SimulatedClock) -> None:
    first = Ledger(tmp_path / "again.db", COUNTIES, WITNESS, clock)
    introduce(first, registry)
    first.close()
    again = Ledger(tmp_path / "again.db", COUNTIES, WITNESS, clock)
    assert refused(again, Log(REGISTRY).filled(1).asking(0)) == (409, 2)
    again.add_checkpoint(Log(VAN).filled(3).asking(0))
    again.close()


def test_of_a_registry_every_checkpoint_is_kept(ledger: Ledger, registry: Log) -> None:
    """What was cosigned when is what a county's entries are held against later."""
    for old, size in ((0, 5), (5, 9), (9, 9)):
        ledger.add_checkpoint(registry.filled(size).asking(old))
    introduce(ledger, registry)
    ledger.add_checkpoint(Log(VAN).filled(3).asking(0))
    kept = ledger.registry_checkpoints(REGISTRY.name)
    assert [size for size, _ in kept][:2] == [5, 9]
    for size, note in kept:
        read = Note.parse(note)
        assert Checkpoint.parse(read.text) == registry.checkpoint(size)
        assert read.verified_by([REGISTRY.verifier_key()])
        assert read.verified_by([WITNESS.verifier_key()])
    assert ledger.registry_checkpoints(VAN.name) == []


def test_of_requests_at_once_one_wins(ledger: Ledger, registry: Log) -> None:
    registry.filled(20)
    asked = [registry.asking(0, size) for size in range(1, 21)]

    def ask(request: AddCheckpoint) -> int | None:
        try:
            ledger.add_checkpoint(request)
        except Refused:
            return None
        return Checkpoint.parse(request.checkpoint.text).size

    with ThreadPoolExecutor(8) as pool:
        taken = [size for size in pool.map(ask, asked) if size is not None]
    assert taken == [ledger.logs()[0].size]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=12))
def test_nothing_is_ever_taken_back(
    tmp_path_factory: pytest.TempPathFactory, clock: SimulatedClock, steps: list[tuple[int, int, bool]]
) -> None:
    """Whatever is asked in whatever order: every cosigned checkpoint is a prefix of every later one."""
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger(folder / "witness.db", COUNTIES, WITNESS, clock)
    honest = Log(REGISTRY).filled(12)
    forger = Log(REGISTRY).grow(*honest.bodies[:3], b"forged").filled(12)
    cosigned: list[Checkpoint] = []
    for old, size, forged in steps:
        log = forger if forged else honest
        asked = AddCheckpoint(old, (), log.checkpoint(size).signed(REGISTRY))
        if old <= size:
            asked = log.asking(old, size)
        try:
            ledger.add_checkpoint(asked)
        except Refused:
            continue
        cosigned.append(log.checkpoint(size))
    assert [one.size for one in cosigned] == sorted(one.size for one in cosigned)
    assert all(one in {honest.checkpoint(one.size): 1} for one in cosigned) or all(
        one in {forger.checkpoint(one.size): 1} for one in cosigned
    )
    ledger.close()


# add-log --------------------------------------------------------------------------------------------------------------


def test_a_vehicle_is_known_by_its_entry_in_the_registry(ledger: Ledger, registry: Log) -> None:
    van = Log(VAN).filled(4)
    assert refused(ledger, van.asking(0)) == (404, None)
    introduce(ledger, registry)
    ledger.add_checkpoint(van.asking(0))
    assert [log.origin for log in ledger.logs()] == [REGISTRY.name, VAN.name]


def test_an_introduction_that_is_not_proven_is_refused(ledger: Ledger, registry: Log) -> None:
    registry.grow(vehicle(0), b"index")
    ledger.add_checkpoint(registry.asking(0))
    good = introduction(ledger, registry, 0)
    forged = SeedSigner(VAN.name, b"f" * 32)
    own_checkpoint = registry.checkpoint().signed(REGISTRY)
    other = vehicle(0, keys=[{"key": key(forged), "from_size": 0}])
    for wrong, status in (
        (Introduction(0, good.proof, other, good.checkpoint), 422),
        (Introduction(0, (), good.body, good.checkpoint), 422),
        (Introduction(0, good.proof, good.body, own_checkpoint), 403),
        (Introduction(1, good.proof, b"index", good.checkpoint), 400),
        (Introduction(0, good.proof, good.body, Log(VAN).filled(2).checkpoint().signed(VAN)), 404),
    ):
        with pytest.raises(Refused) as caught:
            ledger.add_log(wrong)
        assert caught.value.status == status
    assert refused(ledger, Log(VAN).filled(1).asking(0)) == (404, None)


def test_keys_change_with_the_size_and_end_with_the_revocation(ledger: Ledger, registry: Log) -> None:
    van = Log(VAN).filled(12)
    introduce(ledger, registry)
    ledger.add_checkpoint(van.asking(0, 4))
    keys = [{"key": key(VAN), "from_size": 0, "until_size": 5}, {"key": key(NEW_KEY), "from_size": 6}]
    introduce(ledger, registry, keys=keys)
    assert refused(ledger, van.asking(4, 6)) == (403, None)
    assert refused(ledger, van.asking(4, 5, signer=NEW_KEY)) == (403, None)
    ledger.add_checkpoint(van.asking(4, 5))
    ledger.add_checkpoint(van.asking(5, 8, signer=NEW_KEY))
    introduce(ledger, registry, keys=keys, revoked={"size": 9, "at": "2026-09-03T01:02:03.000Z", "reason": "失窃"})
    ledger.add_checkpoint(van.asking(8, 9, signer=NEW_KEY))
    assert refused(ledger, van.asking(9, 12, signer=NEW_KEY)) == (403, None)


def test_an_older_entry_does_not_bring_a_revoked_key_back(ledger: Ledger, registry: Log) -> None:
    introduce(ledger, registry)
    introduce(ledger, registry, revoked={"size": 2, "at": "2026-09-03T01:02:03.000Z", "reason": "失窃"})
    with pytest.raises(Refused) as caught:
        ledger.add_log(introduction(ledger, registry, 0))
    assert (caught.value.status, caught.value.size) == (409, 2)
    assert refused(ledger, Log(VAN).filled(3).asking(0)) == (403, None)


@pytest.mark.parametrize("owner", [REGISTRY, COUNTY, WITNESS])
def test_a_vehicle_with_the_key_of_another_role_is_refused(ledger: Ledger, registry: Log, owner: SeedSigner) -> None:
    seed = {REGISTRY: b"r", COUNTY: b"c", WITNESS: b"p"}[owner] * 32
    registry.grow(vehicle(0, keys=[{"key": key(SeedSigner(VAN.name, seed)), "from_size": 0}]), b"index")
    ledger.add_checkpoint(registry.asking(0))
    with pytest.raises(Refused, match="have the same key") as caught:
        ledger.add_log(introduction(ledger, registry, 0))
    assert caught.value.status == 403


def test_two_vehicles_never_share_a_key(ledger: Ledger, registry: Log) -> None:
    introduce(ledger, registry)
    twin = SeedSigner("van-08.qingyu.example", b"v" * 32)
    with pytest.raises(Refused, match=r"van-07.*van-08|van-08.*van-07"):
        introduce(ledger, registry, origin=twin.name, keys=[{"key": key(twin), "from_size": 0}])


def test_a_log_stays_with_the_county_that_enrolled_it(tmp_path: Path, registry: Log, clock: SimulatedClock) -> None:
    county = SeedSigner("county.other.example", b"d" * 32, ED25519_COSIGNATURE)
    other = Log(SeedSigner("registry.county.other.example", b"s" * 32))
    more = WitnessedCounty(registry=key(other.signer), key=key(county))
    ledger = Ledger(tmp_path / "two.db", (*COUNTIES, more), WITNESS, clock)
    introduce(ledger, registry)
    other.grow(vehicle(0, keys=[{"key": key(NEW_KEY), "from_size": 0}]), b"index")
    ledger.add_checkpoint(other.asking(0))
    note = Note.parse(ledger.checkpoint(sha256(other.signer.name.encode()).hexdigest()) or b"")
    proof = tuple(inclusion_proof(0, 2, other.subtree))
    with pytest.raises(Refused, match="another registry"):
        ledger.add_log(Introduction(0, proof, other.bodies[0], note))
    ledger.close()


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_any_bytes_are_an_introduction_or_malformed(data: bytes) -> None:
    try:
        parsed = Introduction.parse(data)
    except wire.Malformed:
        return
    assert bytes(parsed) == data


# over HTTP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def client(ledger: Ledger) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_witness(ledger))
    async with httpx.AsyncClient(transport=transport, base_url="http://witness.test") as client:
        yield client


async def test_answers_are_those_of_the_specification(client: httpx.AsyncClient, registry: Log) -> None:
    asked = registry.filled(4).asking(0)
    answer = await client.post("/add-checkpoint", content=bytes(asked))
    assert answer.status_code == 200
    (line,) = wire.parse_signature_lines(answer.content)
    assert WITNESS.verifier_key().verifies(asked.checkpoint.text, line)
    answer = await client.post("/add-checkpoint", content=bytes(asked))
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (409, wire.SIZE_TYPE, b"4\n")
    monitored = await client.get(f"/{sha256(REGISTRY.name.encode()).hexdigest()}/checkpoint")
    assert Note.parse(monitored.content).verified_by([WITNESS.verifier_key()])
    assert (await client.get(f"/{'0' * 64}/checkpoint")).status_code == 404
    assert (await client.get("/key")).text.strip() == key(WITNESS)


async def test_an_introduction_over_http(client: httpx.AsyncClient, ledger: Ledger, registry: Log) -> None:
    registry.grow(vehicle(0), b"index")
    await client.post("/add-checkpoint", content=bytes(registry.asking(0)))
    body = bytes(introduction(ledger, registry, 0))
    assert (await client.post("/add-log", content=body)).status_code == 200
    assert (await client.post("/add-log", content=body)).status_code == 200
    assert (await client.post("/add-log", content=body[:-1])).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/add-checkpoint", b"", 400),
        ("/add-checkpoint", b"old 0\n\n", 400),
        ("/add-checkpoint", b"old -1\n\nx\n", 400),
        ("/add-checkpoint", b"old 0\n" + b"AAAA\n" * 64 + b"\nx\n", 400),
        ("/add-checkpoint", b"x" * 300_000, 413),
        ("/add-log", b"", 400),
        ("/add-log", b"entry 0\n\n{}\n", 400),
        ("/add-log", b"entry 01\n\n{}\nx\n", 400),
    ],
)
async def test_malformed_requests(client: httpx.AsyncClient, path: str, body: bytes, status: int) -> None:
    assert (await client.post(path, content=body)).status_code == status


async def test_a_foreign_page_cannot_ask_through_a_browser(client: httpx.AsyncClient, registry: Log) -> None:
    answer = await client.post(
        "/add-checkpoint", content=bytes(registry.filled(1).asking(0)), headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


# settings -------------------------------------------------------------------------------------------------------------


def toml(registry: str = key(REGISTRY), county: str = key(COUNTY)) -> str:
    return (
        f'data = "data"\norigin = "witness.province.example"\n[[county]]\nregistry = "{registry}"\nkey = "{county}"\n'
    )


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "witness.toml"
    file.write_text(toml())
    read = read_witness_settings(file)
    assert read.data == tmp_path / "data"
    assert read.county[0].registry_key == REGISTRY.verifier_key()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (toml(registry=key(COUNTY)), "is not a registry's key"),
        (toml(registry=key(VAN)), "is not a registry's key"),
        (toml(county=key(REGISTRY)), "is not the key of the county"),
        (toml(county="rubbish"), "not base64|not a verifier key"),
        (toml() + "prot = 1\n", "unknown key"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "witness.toml"
    file.write_text(text)
    with pytest.raises(SettingsRefused, match=said):
        read_witness_settings(file)


def test_one_key_in_two_roles_stops_the_witness(tmp_path: Path, clock: SimulatedClock) -> None:
    same = SeedSigner(WITNESS.name, b"c" * 32, ED25519_COSIGNATURE)
    with pytest.raises(KeyInTwoRoles, match=r"the witness and county\.qingyu\.example have the same key"):
        Ledger(tmp_path / "witness.db", COUNTIES, same, clock)


def test_the_command_line_says_what_was_cosigned_and_refused(
    tmp_path: Path, clock: SimulatedClock, registry: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "witness.toml"
    file.write_text(toml())
    assert main(["--settings", str(file), "show-key"]) == 0
    shown = capsys.readouterr().out.strip()
    assert shown.startswith("witness.province.example+")
    ledger = open_ledger(read_witness_settings(file))
    assert str(ledger.verifier_key) == shown
    ledger.add_checkpoint(registry.filled(5).asking(0))
    refused(ledger, Log(REGISTRY).grow(b"other").filled(5).asking(5))
    ledger.close()
    assert main(["--settings", str(file), "logs"]) == 0
    assert capsys.readouterr().out.startswith(f"{REGISTRY.name} 5 ")
    assert main(["--settings", str(file), "refused", REGISTRY.name]) == 0
    assert "another root for the same size 5" in capsys.readouterr().out
    assert main(["--settings", str(file), "checkpoints", REGISTRY.name, str(tmp_path / "kept")]) == 0
    assert Checkpoint.parse(Note.parse((tmp_path / "kept" / "5").read_bytes()).text).size == 5
    file.write_text(toml(county="rubbish"))
    assert main(["--settings", str(file), "logs"]) == 2

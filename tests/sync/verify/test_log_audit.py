"""A whole log as tlog-tiles: one that is good, and every way in which one may be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.generated_log import COUNTY, ORIGIN, VEHICLE, entries, policy, write_log
from devices.clock import SimulatedClock
from sync.formats import canonical
from sync.formats.merkle import EMPTY_ROOT, root_of
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner, cosign
from sync.formats.records import format_time
from sync.proof.coverage import Rules
from sync.proof.evidence import NotProven
from sync.proof.registry_entries import RegistryDraft, RegistryEntry, write_registry_entry
from sync.proof.registry_state import Index
from sync.verify.__main__ import main
from sync.verify.log_audit import LogReport, audit_log, keys_from, tile_path
from sync.verify.policy import Policy
from tests.sync.county_month import Founded, at

COUNT = 3 * 256 + 77
BODIES = list(entries(COUNT))
TRUST = Policy.parse(policy().encode())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_log(folder, BODIES)
    return folder


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "copy")
    return tmp_path / "copy"


def audited(folder: Path) -> LogReport:
    def read(path: str) -> bytes | None:
        found = folder / path
        return found.read_bytes() if found.is_file() else None

    return audit_log(read, TRUST, keys_from(TRUST))


def codes(report: LogReport) -> set[str]:
    return {code for code, _ in report.faults}


def rewritten(tmp_path: Path, change: Callable[[list[bytes]], None]) -> LogReport:
    """A log whose vehicle signs changed entries itself."""
    bodies = list(BODIES)
    change(bodies)
    write_log(tmp_path / "rewritten", bodies)
    return audited(tmp_path / "rewritten")


def edited(body: bytes, **fields: object) -> bytes:
    return canonical.dumps({**canonical.loads(body), **fields})  # type: ignore[dict-item]


def test_a_good_log(good: Path) -> None:
    report = audited(good)
    assert (report.faults, report.stepped, report.absent) == ([], [], 0)
    assert report.size == sum(report.kinds.values()) == COUNT
    assert report.kinds["track/1"] > COUNT // 10
    assert report.boots == 1
    assert report.signed is not None
    assert list(report.signed.witnesses) == ["county.bench.example"]


def test_an_empty_log(tmp_path: Path) -> None:
    write_log(tmp_path / "empty", [])
    report = audited(tmp_path / "empty")
    assert (report.faults, report.size) == ([], 0)
    assert Checkpoint.parse(Note.parse((tmp_path / "empty" / "checkpoint").read_bytes()).text).root == EMPTY_ROOT


@pytest.mark.parametrize("count", [1, 255, 256, 257, 512])
def test_logs_that_end_at_the_edge_of_a_tile(tmp_path: Path, count: int) -> None:
    write_log(tmp_path / "log", BODIES[:count])
    assert audited(tmp_path / "log").faults == []


def test_tile_names_are_those_of_the_specification() -> None:
    assert tile_path(0) == "000"
    assert tile_path(1234067) == "x001/x234/067"


def test_a_log_without_its_older_entries_is_good_as_long_as_their_hashes_are_there(copy: Path) -> None:
    """A stick carries what the county has not yet; a pruned log keeps its hashes."""
    (copy / "tile/entries/000").unlink()
    report = audited(copy)
    assert (report.faults, report.absent, report.boots) == ([], 256, 1)
    (copy / "tile/0/000").unlink()
    assert audited(copy).faults == [], "the hash of the whole tile stands one level up"
    shutil.rmtree(copy / "tile/1")
    assert codes(audited(copy)) == {"tree_incomplete"}


def test_entries_alone_are_enough(copy: Path) -> None:
    shutil.rmtree(copy / "tile/0")
    shutil.rmtree(copy / "tile/1")
    assert audited(copy).faults == []


@pytest.mark.parametrize("name", ["tile/entries/001", "tile/0/001", "tile/1/000.p/3", "tile/entries/003.p/77"])
@pytest.mark.parametrize("place", [0, 1, 700, -1])
def test_any_changed_byte_of_a_tile_is_found(copy: Path, name: str, place: int) -> None:
    changed = bytearray((copy / name).read_bytes())
    changed[place % len(changed)] ^= 0x10
    (copy / name).write_bytes(changed)
    assert codes(audited(copy)) & {"root_mismatch", "tree_incomplete"}


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_bundle_that_was_cut_off_is_found(copy: Path, cut: int) -> None:
    path = copy / "tile/entries/002"
    path.write_bytes(path.read_bytes()[:-cut])
    assert "tree_incomplete" in codes(audited(copy))


def test_a_checkpoint_of_another_root_is_found(copy: Path) -> None:
    note = Checkpoint(ORIGIN, COUNT, b"x" * 32).signed(VEHICLE)
    (copy / "checkpoint").write_bytes(bytes(note))
    assert codes(audited(copy)) == {"root_mismatch", "quorum_missing"}


def test_a_stranger_s_signature_and_a_damaged_one_are_found(copy: Path, tmp_path: Path) -> None:
    write_log(tmp_path / "other", BODIES, SeedSigner(ORIGIN, b"x" * 32))
    assert codes(audited(tmp_path / "other")) == {"signature_missing"}
    note = Note.parse((copy / "checkpoint").read_bytes())
    damaged = note.signatures[1].__class__(COUNTY.name, COUNTY.verifier_key().key_id, bytes(72))
    (copy / "checkpoint").write_bytes(bytes(Note(note.text, (note.signatures[0], damaged))))
    assert codes(audited(copy)) == {"signature_invalid"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda bodies: bodies.__setitem__(300, bodies[300] + b" "), "entry_not_canonical"),
        (lambda bodies: bodies.__setitem__(300, edited(bodies[300], n=299)), "entry_not_canonical"),
        (lambda bodies: bodies.__setitem__(300, bodies[301]), "entry_not_canonical"),
        (lambda bodies: bodies.__delitem__(300), "entry_not_canonical"),
        (lambda bodies: bodies.__setitem__(301, b"{}"), "entry_not_canonical"),
        (lambda bodies: bodies.__setitem__(301, b""), "entry_not_canonical"),
        (lambda bodies: bodies.__setitem__(300, edited(bodies[300], vehicle="van-08")), "entry_misplaced"),
        (lambda bodies: bodies.__setitem__(300, edited(bodies[300], boot=2)), "boot_order"),
        (lambda bodies: bodies.__setitem__(300, edited(bodies[0], n=300, boot=3)), "boot_order"),
    ],
)
def test_what_a_vehicle_may_not_say_even_with_its_own_signature(
    tmp_path: Path, change: Callable[[list[bytes]], None], code: str
) -> None:
    assert code in codes(rewritten(tmp_path, change))


def test_unknown_kinds_and_clock_steps_are_told_and_are_no_fault(tmp_path: Path) -> None:
    def change(bodies: list[bytes]) -> None:
        bodies[300] = edited(bodies[300], kind="of_the_future/9")
        for n in range(500, len(bodies)):
            bodies[n] = edited(bodies[n], mono_ms=canonical.loads(bodies[n])["mono_ms"] - 60_000)

    report = rewritten(tmp_path, change)
    assert report.faults == []
    assert report.unknown_kinds == {"of_the_future/9": 1}
    assert report.stepped == [500]


def test_a_declared_clock_step_is_none(tmp_path: Path) -> None:
    def change(bodies: list[bytes]) -> None:
        clock = {"kind": "clock/1", "seconds_ms": 60_000, "source": "gnss"}
        common = {name: canonical.loads(bodies[500])[name] for name in ("n", "at", "at_source", "boot", "vehicle")}
        bodies[500] = canonical.dumps({**clock, **common, "mono_ms": canonical.loads(bodies[500])["mono_ms"] - 60_000})
        for n in range(501, len(bodies)):
            bodies[n] = edited(bodies[n], mono_ms=canonical.loads(bodies[n])["mono_ms"] - 60_000)

    assert rewritten(tmp_path, change).stepped == []


def test_from_the_command_line(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = tmp_path / "policy.txt"
    trust.write_text(policy())
    assert main(["--log", str(copy), "--policy", str(trust), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["result"], said["size"], said["faults"]) == ("valid", COUNT, [])
    (copy / "tile/entries/001").write_bytes(b"\0")
    assert main(["--log", str(copy), "--policy", str(trust), "--lang", "zh"]) == 1
    assert "无效" in capsys.readouterr().out
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")
    assert main(["--log", str(tmp_path / "nowhere"), "--policy", str(trust)]) == 2
    assert "UNREADABLE" in capsys.readouterr().out
    assert main(["--log", str(tmp_path), "--policy", str(trust)]) == 2
    assert "member_missing" in capsys.readouterr().out


def test_a_county_s_registry_and_its_keys_for_a_vehicle(tmp_path: Path) -> None:
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    van, county = founded.van("van-07"), founded.county
    state = county.registry.state()
    trust = Policy.parse(
        f"log {county.registry.verifier_key}\nwitness county {county.verifier_key}\nquorum county\n".encode()
    )
    bodies = [body for _, body in county.mirror.bodies(county.registry.origin, 0, state.size)]
    files = {"checkpoint": county.mirror.checkpoint(county.registry.origin)}
    packed = b"".join(len(body).to_bytes(2, "big") + body for body in bodies)
    files[f"tile/entries/000.p/{len(bodies)}"] = packed
    report = audit_log(files.get, trust, keys_from(trust))
    assert report.faults == []
    assert report.registry is not None
    assert keys_from(trust, report.registry)(van.signer.name, 5) == [van.signer.verifier_key()]
    assert keys_from(trust)(van.signer.name, 5) == []
    body = bodies[-1]
    files[f"tile/entries/000.p/{len(bodies)}"] = packed[: -len(body)] + edited(body, rules=0)
    assert codes(audit_log(files.get, trust, keys_from(trust))) & {"root_mismatch", "index_missing", "tree_incomplete"}
    founded.close()


# a county that writes its registry otherwise than it was --------------------------------------------------------------

MORNING = at(9, 3, 8)
REGISTRY = SeedSigner("registry.county.qingyu.example", b"r" * 32)
PROVINCE = SeedSigner("witness.province.example", b"p" * 32, ED25519_COSIGNATURE)
WITNESSED_TEXT = f"log {REGISTRY.verifier_key()}\nwitness province {PROVINCE.verifier_key()}\nquorum province\n"
WITNESSED = Policy.parse(WITNESSED_TEXT.encode())


class Registry:
    """Entries that a county signs, whatever they say."""

    def __init__(self) -> None:
        self.entries: list[RegistryEntry] = []

    def change(self, draft: RegistryDraft, moment: datetime) -> None:
        """As an honest county writes it, but for the time."""
        index = Index.read(self.entries[-1]) if self.entries else Index()
        entry = write_registry_entry(draft, len(self.entries), moment, "xu.jing")
        self.entries += [entry, write_registry_entry(index.after(entry).draft(), entry.n + 1, moment, "xu.jing")]

    def note(self, cosigned_at: datetime, size: int | None = None) -> bytes:
        leaves = [entry.leaf_hash for entry in self.entries][:size]
        note = Checkpoint(REGISTRY.name, len(leaves), root_of(leaves)).signed(REGISTRY)
        return bytes(note.signed_also([cosign(note.text, PROVINCE, cosigned_at)]))

    def audited(self, cosigned_at: datetime, earlier: Sequence[bytes] = ()) -> LogReport:
        return audit_log(self.files(cosigned_at).get, WITNESSED, keys_from(WITNESSED), earlier)

    def files(self, cosigned_at: datetime) -> dict[str, bytes]:
        packed = b"".join(len(entry.body).to_bytes(2, "big") + entry.body for entry in self.entries)
        return {"checkpoint": self.note(cosigned_at), f"tile/entries/000.p/{len(self.entries)}": packed}


def rules(version: int, before: int | None) -> RegistryDraft:
    said = {"version": version, "rules": Rules(version=version).as_json()}
    return RegistryDraft("rules/1", said if before is None else {**said, "before": before})


def decided(*visits: str) -> RegistryDraft:
    one = {"origin": ORIGIN, "decision": "counted", "reason": "电话核实", "by": "xu.jing", "at": format_time(MORNING)}
    return RegistryDraft("reviews/1", {"month": "2026-08", "decided": dict.fromkeys(visits, one)})


def test_rules_that_are_dated_back_are_found_by_the_entries_themselves() -> None:
    registry = Registry()
    registry.change(rules(2, None), MORNING)
    assert registry.audited(MORNING).faults == []
    registry.change(rules(3, 0), MORNING - timedelta(days=30))
    assert codes(registry.audited(MORNING)) == {"registry_backdated"}


def test_rules_that_are_dated_back_are_found_by_a_checkpoint_that_somebody_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The county has left no later entry standing, and what it writes is dated between two others."""
    registry = Registry()
    registry.change(rules(2, None), MORNING)
    month_later = MORNING + timedelta(days=30)
    kept = registry.note(month_later)
    registry.change(rules(3, 0), MORNING + timedelta(seconds=1))
    assert registry.audited(month_later).faults == []
    report = registry.audited(month_later, [kept])
    assert [code for code, _ in report.faults] == ["registry_backdated"]
    assert "entry 2" in report.faults[0][1]

    for name, data in registry.files(month_later).items():
        (tmp_path / "registry" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "registry" / name).write_bytes(data)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "2").write_bytes(kept)
    (tmp_path / "policy.txt").write_text(WITNESSED_TEXT, encoding="utf-8")
    asked = ["--log", str(tmp_path / "registry"), "--policy", str(tmp_path / "policy.txt"), "--lang", "en"]
    assert main(asked) == 0
    assert main([*asked, "--earlier", str(tmp_path / "kept")]) == 1
    assert "registry_backdated" in capsys.readouterr().out


def test_a_log_that_does_not_extend_what_somebody_kept() -> None:
    registry, other = Registry(), Registry()
    registry.change(rules(2, None), MORNING)
    other.change(decided("visit-1"), MORNING)
    assert codes(registry.audited(MORNING, [other.note(MORNING)])) == {"root_mismatch"}
    other.entries[:0] = registry.entries
    assert codes(registry.audited(MORNING, [other.note(MORNING)])) == {"root_mismatch"}
    assert registry.audited(MORNING, [registry.note(MORNING)]).faults == []
    with pytest.raises(NotProven, match="an earlier checkpoint"):
        registry.audited(MORNING, [bytes(Checkpoint(ORIGIN, 2, EMPTY_ROOT).signed(REGISTRY))])


def test_entries_that_say_a_time_after_their_cosignature() -> None:
    registry = Registry()
    registry.change(rules(2, None), MORNING + timedelta(hours=1))
    assert codes(registry.audited(MORNING)) == {"registry_postdated"}


def test_a_newer_list_that_drops_a_decision() -> None:
    registry = Registry()
    registry.change(decided("visit-1"), MORNING)
    registry.change(decided("visit-1", "visit-2"), MORNING)
    assert registry.audited(MORNING).faults == []
    registry.change(decided("visit-2"), MORNING)
    assert codes(registry.audited(MORNING)) == {"registry_item_dropped"}

"""The county changes a rule; the van takes the edition over when its proof holds; old results stay what they were."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sync"))

from clinic_world import DOCTOR, World
from county_month import Founded

from devices.clock import SimulatedClock
from sync.county.registry import RegistryRefused
from sync.delivery.county_client import CountyClient
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.formats.signed_rules import RulesNotProven, proven
from sync.screening.evaluator import GRADES, RuleSet, UnknownRule, shipped_rules
from sync.screening.replay import SAME, summary
from sync.screening.rule_changes import switched, thresholds, with_thresholds
from sync.screening.rule_file import RuleFileRefused
from tests.vehicle.conftest import MORNING
from tests.vehicle.touch_bench import Bench, settings_in
from vehicle.hints import hint
from vehicle.open_record import open_record
from vehicle.record_commands import ReplayDiffers, run
from vehicle.rule_book import RegistryWentBack, RuleBook, refusal_code

REASON = "2026 年县里会议定的"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(MORNING)


@pytest.fixture
def founded(tmp_path: Path, clock: SimulatedClock) -> Iterator[Founded]:
    made = Founded(tmp_path / "county", clock)
    yield made
    made.county.close()


@pytest.fixture
def world(tmp_path: Path, clock: SimulatedClock) -> Iterator[World]:
    made = World(tmp_path / "van", clock)
    yield made
    made.close()


class Shows:
    """A county that answers what it is told to."""

    def __init__(self, key: Any, body: bytes | None) -> None:
        self.key, self.body = key, body

    async def screening_rules(self, have: str) -> bytes | None:
        return self.body


def edited(founded: Founded, number: float) -> dict[str, Any]:
    """The rules in force with another line for grade 3 of the systolic pressure."""
    raw = founded.county.screening_rules.raw()
    row = next(one for one in raw["rules"] if one["id"] == "BP-GRADE")
    key = next(one.key for one in thresholds(row) if one.code == "HTN3" and one.field == "sbp")
    return with_thresholds(raw, "BP-GRADE", {key: number})


def shows(founded: Founded, have: str = "") -> Shows:
    return Shows(founded.county.verifier_key, founded.county.screening_rules.proof(have))


async def test_a_van_takes_over_what_the_county_signed(founded: Founded, world: World) -> None:
    await world.serve()
    assert await world.measurements.confirm(world.cuff(182, 80), DOCTOR)
    book = RuleBook(world.store, world.clock, world.prompts, shows(founded))
    assert not await book.ask(), "the county has made no edition yet"
    made = founded.county.screening_rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    assert (made.number, made.rules) == (1, ("BP-GRADE",))
    book = RuleBook(world.store, world.clock, world.prompts, shows(founded))
    assert await book.ask()
    assert book.edition == 1
    world.clock.advance(60.0)
    assert await world.measurements.confirm(world.cuff(182, 80), DOCTOR)
    results = world.store.read("SELECT code, rule_version FROM screening_results WHERE rule = 'BP-GRADE' ORDER BY at")
    assert [row["code"] for row in results] == ["HTN3", "HTN2"]
    assert len({row["rule_version"] for row in results}) == 2
    told, same = summary(book.replay())
    assert same, told
    assert {one.outcome for one in book.replay()} == {SAME}
    later = RuleBook(world.store, world.clock, world.prompts, shows(founded, made.sha256))
    assert not await later.ask(), "it has that edition"
    assert world.kinds().count("screening_rules/1") == 1


async def test_after_a_restart_the_edition_holds_on(founded: Founded, tmp_path: Path, clock: SimulatedClock) -> None:
    founded.county.screening_rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    world = World(tmp_path / "van", clock)
    assert await RuleBook(world.store, clock, world.prompts, shows(founded)).ask()
    world.close()
    again = World(tmp_path / "van", clock, seed=2)
    assert again.prompts.rules.evaluate("BP-GRADE", {"sbp": 182, "dbp": 80, "age": 50}).code == "HTN3"
    RuleBook(again.store, clock, again.prompts, None)
    assert again.prompts.rules.evaluate("BP-GRADE", {"sbp": 182, "dbp": 80, "age": 50}).code == "HTN2"
    again.close()


async def test_what_the_county_did_not_sign_is_refused(founded: Founded, world: World) -> None:
    founded.county.screening_rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    good = founded.county.screening_rules.proof("")
    assert good is not None
    said = json.loads(good)
    swapped = {**said, "entries": [{**row, "body": row["body"].replace("李医生", "王医生")} for row in said["entries"]]}
    moved = {**said, "entries": [{**row, "n": row["n"] + 1} for row in said["entries"]]}
    stranger = SeedSigner(founded.county.verifier_key.name, bytes(32)).verifier_key()
    for key, body in (
        (founded.county.verifier_key, json.dumps(swapped).encode()),
        (founded.county.verifier_key, json.dumps(moved).encode()),
        (founded.county.verifier_key, json.dumps({**said, "entries": said["entries"][:1]}).encode()),
        (founded.county.verifier_key, b"{}"),
        (founded.county.verifier_key, b"\xff"),
        (stranger, good),
    ):
        book = RuleBook(world.store, world.clock, world.prompts, Shows(key, body))
        assert not await book.ask()
        assert (bool(book.fault), book.fault_code, book.edition) == (True, "rules_not_proven", 0)
    with pytest.raises(RulesNotProven, match="not of 'registry"):
        proven(good, "registry.elsewhere", founded.county.verifier_key)


async def test_an_older_edition_never_replaces_a_newer_one(founded: Founded, world: World) -> None:
    rules = founded.county.screening_rules
    rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    first = rules.proof("")
    rules.publish(edited(founded, 190), "李医生", REASON, "xu.jing")
    book = RuleBook(world.store, world.clock, world.prompts, shows(founded))
    assert await book.ask()
    assert book.edition == 2
    back = RuleBook(world.store, world.clock, world.prompts, Shows(founded.county.verifier_key, first))
    assert not await back.ask()
    assert "went back" in back.fault
    assert (back.fault_code, back.edition) == ("rules_older", 2)
    back._county = Shows(founded.county.verifier_key, None)
    assert not await back.ask()
    assert (back.fault, back.fault_code) == ("", ""), "the county does not offer it any more"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (RegistryWentBack("older"), "rules_older"),
        (RulesNotProven("no cosignature"), "rules_not_proven"),
        (UnknownRule("BP-NEW"), "rules_other_version"),
        (RuleFileRefused("schema", "of another schema"), "rules_other_version"),
        (RuleFileRefused("test", "answers otherwise"), "rules_unusable"),
    ],
    ids=["older", "unsigned", "rule", "schema", "test"],
)
def test_a_refusal_says_who_has_to_do_what(fault: Exception, code: str) -> None:
    assert refusal_code(fault) == code
    for language in ("zh", "en"):
        assert hint(code, language).next_step


async def test_a_refusal_stands_on_the_status_page(tmp_path: Path, clock: SimulatedClock) -> None:
    bench = Bench(tmp_path, clock)
    assert "rules_older" not in {fault["code"] for fault in bench.vehicle.health.status("zh")["faults"]}
    bench.vehicle.rule_book._refused(RegistryWentBack("edition 1 after edition 2"))
    [said] = [one for one in bench.vehicle.health.status("zh")["faults"] if one["code"] == "rules_older"]
    assert "告诉县里" in said["next_step"]
    await bench.vehicle.stop()


async def test_over_the_wire_it_is_asked_with_the_vehicles_signature(founded: Founded, world: World) -> None:
    van = founded.van("van-07")
    client = CountyClient(
        "http://county.test",
        founded.county.verifier_key,
        van.signer,
        founded.clock,
        transport=httpx.ASGITransport(founded.app),
    )
    book = RuleBook(world.store, world.clock, world.prompts, client)
    assert not await book.ask()
    founded.county.screening_rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    assert await book.ask()
    assert not await book.ask()
    assert book.edition == 1
    await client.aclose()


def test_an_edition_needs_a_name_a_reason_and_a_difference(founded: Founded) -> None:
    rules = founded.county.screening_rules
    for raw, name, reason, problem in (
        (edited(founded, 185), "", REASON, "clinician"),
        (edited(founded, 185), "李医生", " ", "reason"),
        (rules.raw(), "李医生", REASON, "nothing_changed"),
    ):
        with pytest.raises(RegistryRefused) as refused:
            rules.publish(raw, name, reason, "xu.jing")
        assert refused.value.problem == problem
    broken = edited(founded, 185)
    broken["rules"].pop()
    with pytest.raises(RuleFileRefused):
        rules.publish(broken, "李医生", REASON, "xu.jing")
    assert rules.proof("") is None


def test_each_edition_goes_on_from_the_one_before_it(founded: Founded) -> None:
    rules = founded.county.screening_rules
    rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    on = switched(rules.raw(), "TEMP", True, "李医生", "核对过教材", "2026-09-01")
    rules.publish(on, "李医生", "冬天要看体温", "xu.jing")
    told = [(one.number, one.rules, one.name) for one in rules.editions()]
    assert told == [(2, ("TEMP",), "李医生"), (1, ("BP-GRADE",), "李医生"), (0, (), "")]
    assert rules.raw(1) != rules.raw(2)
    assert rules.raw(2) == rules.raw()


async def test_the_county_replays_what_vans_delivered(founded: Founded) -> None:
    van = founded.van("van-07")
    rules = founded.county.screening_rules
    raw = rules.raw()
    old = RuleSet(raw).evaluate("BP-GRADE", {"sbp": 182, "dbp": 80, "age": 50})
    rules.publish(edited(founded, 185), "李医生", REASON, "xu.jing")
    new = RuleSet(rules.raw()).evaluate("BP-GRADE", {"sbp": 182, "dbp": 80, "age": 50})
    for number, result in enumerate((old, new)):
        fields = {"result": f"r{number}", "patient": "p1", "rule": result.rule, "rule_version": result.rule_version}
        fields |= {"inputs": result.inputs, "code": result.code, "level": GRADES[result.level or 0]}
        van.store.commit_now(Draft("screening_result/1", fields))
    await van.deliver()
    told, same = summary(rules.replay())
    assert same, told
    forged = {**fields, "result": "r9", "code": "NORMAL", "level": "green"}
    van.store.commit_now(Draft("screening_result/1", forged))
    await van.deliver()
    told, same = summary(rules.replay())
    assert not same
    assert told.splitlines() == [
        f"r9 BP-GRADE {new.rule_version} NORMAL: different, now HTN2",
        "3 results replayed: 2 same, 1 different, 0 of a rule version that is not at hand",
    ]


async def test_the_van_replays_its_results_at_the_command_line(tmp_path: Path, clock: SimulatedClock) -> None:
    settings = settings_in(tmp_path)
    store = open_record(settings, clock, lambda n: b"r" * n).store
    said = shipped_rules().evaluate("GLU-SCREEN", {"fpg": 6.4, "known_dm": False})
    fields = {"result": "r1", "patient": "p1", "rule": said.rule, "rule_version": said.rule_version}
    fields |= {"inputs": {"fpg": "6.4", "known_dm": False}, "code": said.code, "level": GRADES[said.level or 0]}
    store.commit_now(Draft("screening_result/1", fields))
    store.close()
    assert run("replay", settings, clock, Namespace()) == (
        "1 results replayed: 1 same, 0 different, 0 of a rule version that is not at hand"
    )
    store = open_record(settings, clock, lambda n: b"r" * n).store
    store.commit_now(Draft("screening_result/1", {**fields, "result": "r2", "rule_version": "2020-01-01/000000000000"}))
    store.close()
    with pytest.raises(ReplayDiffers, match="r2 GLU-SCREEN 2020-01-01/000000000000 IFG: unknown_version"):
        run("replay", settings, clock, Namespace())

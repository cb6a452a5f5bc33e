"""A result finds its person by the number of the specimen, or waits; what it says stays what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SimulatedClock
from devices.drivers import hl7_analyser
from devices.laboratory import laboratory_value
from devices.readings import LaboratoryResult, LaboratoryValue
from sync.formats.identifiers import Identifiers
from sync.formats.records import LARGEST_BODY_BYTES
from tests.vehicle.clinic_world import DOCTOR, NURSE, World, card
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.critical import Answer
from vehicle.clinic.laboratory import Laboratory, Report
from vehicle.clinic.laboratory_report import groups, rule_inputs, side, stored_values
from vehicle.clinic.prompts import NoEncounter
from vehicle.clinic.specimens import SpecimenNumberRefused, SpecimenNumberTaken, Specimens, SpecimenUnknown
from vehicle.commits import Commits

NINE = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)  # 09:00 in China
OTHER = card("李长福", date(1950, 1, 5), "033")
MAP = "urit 5160"


class LaboratoryWorld(World):
    def __init__(self, folder: Path, clock: SimulatedClock) -> None:
        super().__init__(folder, clock)
        ids = Identifiers(clock, lambda n: bytes(n))
        self.specimens = Specimens(self.store, ids, clock, self, self.encounters)
        self.laboratory = Laboratory(
            self.store,
            ids,
            clock,
            self,
            Commits(self.store, clock, at_once=True),
            self.specimens,
            self.prompts,
            self.visits,
        )
        self.laboratory.listen(self.feed)

    def waiting(self) -> list[Report]:
        return self.laboratory.waiting("zh")

    def recent(self) -> list[Report]:
        return self.laboratory.recent("zh")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LaboratoryWorld]:
    made = LaboratoryWorld(tmp_path, SimulatedClock(NINE))
    yield made
    made.close()


def blood(**said: str) -> tuple[LaboratoryValue, ...]:
    units = {"HGB": "g/L", "WBC": "10^9/L", "PLT": "10^9/L"}
    return tuple(laboratory_value(MAP, code, text, unit=units.get(code, "")) for code, text in said.items())


def result(specimen: str | None = "101", **more: Any) -> LaboratoryResult:
    told = LaboratoryResult(specimen=specimen, values=blood(WBC="6.40", HGB="134"), analyser=MAP)
    return replace(told, **more)


async def test_the_number_of_the_specimen_says_whose_it_is(world: LaboratoryWorld) -> None:
    patient = await world.serve()
    specimen = await world.specimens.take("blood", " 0101 ", DOCTOR)
    await world.serve(OTHER)
    world.clock.advance(600)
    world.publish(result("101"), "lab-1")
    assert world.waiting() == []
    (found,) = world.recent()
    assert (found.patient, found.encounter) == (patient.patient, specimen.encounter)
    assert [group.key for group in found.groups] == ["blood_count"]
    assert world.specimens.get(specimen.specimen).results == 1
    entry = json.loads(world.store.read("SELECT body FROM entries WHERE kind = 'reading_confirmed/1'")[0]["body"])
    assert entry["specimen"] == specimen.specimen
    assert "by" not in entry


async def test_a_number_that_nobody_wrote_down_waits_for_the_doctor(world: LaboratoryWorld) -> None:
    patient = await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    world.publish(result("102", person_said="杨桂芳"), "lab-1")
    world.publish(result(None), "lab-1")
    first, second = world.waiting()
    assert (first.specimen, second.specimen) == ("102", "")
    assert first.person_said == "杨桂芳"
    await world.measurements.assign(first.reading, DOCTOR)
    await world.measurements.reject(second.reading, "test", DOCTOR)
    assert world.waiting() == []
    assert [found.patient for found in world.recent()] == [patient.patient]
    assert world.kinds()[-1] == "reading_rejected/1"


async def test_the_same_number_at_two_people_is_nobodys(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    await world.serve(OTHER)
    with pytest.raises(SpecimenNumberTaken):
        await world.specimens.take("blood", "101", DOCTOR)
    with pytest.raises(SpecimenNumberTaken):
        await world.specimens.take("urine", "00101", DOCTOR)


async def test_a_urine_number_takes_no_blood(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("urine", "101", DOCTOR)
    world.publish(result("101"), "lab-1")
    assert len(world.waiting()) == 1
    await world.specimens.take("blood", "101", DOCTOR)
    world.publish(result("101", values=blood(WBC="7.1")), "lab-1")
    assert len(world.recent()) == 1


async def test_what_was_measured_before_the_specimen_was_taken_is_not_of_it(world: LaboratoryWorld) -> None:
    """The analyser's memory has an older 101; its clock is two hours ahead, which it shows by the time of sending."""
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    ahead = {"message_said_at": "2026-03-01T11:00:00"}
    world.publish(result(device_said_at="2026-02-28T10:30:00", **ahead), "lab-1")
    assert [found.clock_offset_s for found in world.waiting()] == [7200]
    world.publish(result(device_said_at="2026-03-01T11:00:00", **ahead), "lab-1")
    (found,) = world.recent()
    assert found.at == NINE
    assert found.device_said_at == "2026-03-01T11:00:00"


def of_status(status: str, **said: str) -> tuple[LaboratoryValue, ...]:
    return tuple(replace(value, status=status) for value in blood(**said))


async def test_a_corrected_result_takes_the_place_and_the_person_of_the_first(world: LaboratoryWorld) -> None:
    """HL7 table 0085: C replaces, D and W withdraw, what is final replaces what was preliminary."""
    patient = await world.serve()
    world.publish(result("102", values=(*of_status("P", HGB="52"), *of_status("F", WBC="6.4"))), "lab-1")
    (held,) = world.waiting()
    await world.measurements.assign(held.reading, DOCTOR)
    (first,) = world.recent()
    assert [row.status for group in first.groups for row in group.rows] == ["", "preliminary"]
    assert first.open_red
    for _ in range(2):  # sent again because our answer was lost
        world.publish(result("102", values=of_status("F", HGB="134")), "lab-1")
    (second,) = world.recent()
    assert world.waiting() == []
    assert (second.patient, second.encounter, list(second.line)) == (
        patient.patient,
        first.encounter,
        ["WBC 6.4", "HGB 134"],
    )
    assert not second.open_red
    await world.serve(OTHER)  # nothing red holds the first one any more
    red = [(row["reading"], row["action"]) for row in world.store.read("SELECT * FROM critical_actions ORDER BY n")]
    assert red == [(first.reading, "found"), (first.reading, "withdrawn")]
    world.publish(result("102", values=of_status("C", WBC="64")), "lab-1")
    (third,) = world.recent()
    assert (third.patient, list(third.line)) == (patient.patient, ["HGB 134", "WBC 64"])
    world.publish(result("102", values=of_status("D", WBC="---")), "lab-1")
    (fourth,) = world.recent()
    assert list(fourth.line) == ["HGB 134"]
    world.publish(result("102", values=of_status("W", HGB="---")), "lab-1")
    world.publish(result("102", values=of_status("D", HGB="---")), "lab-1")
    assert (world.recent(), world.waiting()) == ([], [])
    kept = world.store.read("SELECT reading FROM readings WHERE rejected_reason = 'corrected'")
    assert len(kept) == 4, "all stay in the journal"


async def test_a_preliminary_result_becomes_final_without_being_sent_again(world: LaboratoryWorld) -> None:
    """HL7 table 0085: U without a value; of what was never sent it says nothing."""
    await world.serve()
    world.publish(result("102", values=(*of_status("P", HGB="134", PLT="210"), *of_status("C", WBC="6.4"))), "lab-1")
    world.publish(result("103", values=of_status("U", HGB="")), "lab-1")
    for _ in range(2):
        world.publish(result("102", values=of_status("U", HGB="", WBC="", RBC="")), "lab-1")
    (found,) = world.waiting()
    assert {row.code: (row.said, row.status) for group in found.groups for row in group.rows} == {
        "HGB": ("134", ""),
        "PLT": ("210", "preliminary"),
        "WBC": ("6.4", "corrected"),
    }


async def test_a_result_that_corrects_nothing_is_one_of_its_own(world: LaboratoryWorld) -> None:
    await world.serve()
    world.publish(result("102", values=of_status("F", HGB="134")), "lab-1")
    for specimen, device in (("103", "lab-1"), ("102", "lab-2"), (None, "lab-1")):
        world.publish(result(specimen, values=of_status("C", HGB="135")), device)
    world.publish(result("102", values=of_status("F", HGB="136")), "lab-1")
    assert [found.line[0] for found in world.waiting()] == ["HGB 134", "HGB 135", "HGB 135", "HGB 135", "HGB 136"]


async def test_a_discarded_specimen_claims_nothing(world: LaboratoryWorld) -> None:
    await world.serve()
    specimen = await world.specimens.take("blood", "101", DOCTOR)
    await world.specimens.discard(specimen.specimen, "spilled", NURSE)
    world.publish(result("101"), "lab-1")
    assert len(world.waiting()) == 1
    with pytest.raises(SpecimenUnknown):
        await world.specimens.discard(specimen.specimen, "spilled", NURSE)


async def test_a_number_counts_for_two_days(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    world.clock.advance(timedelta(hours=49).total_seconds())
    world.publish(result("101"), "lab-1")
    assert len(world.waiting()) == 1


async def test_numbers_are_proposed_and_checked(world: LaboratoryWorld) -> None:
    with pytest.raises(NoEncounter):
        await world.specimens.take("blood", "101", DOCTOR)
    await world.serve()
    assert world.specimens.proposed_number() == "01001"
    first = await world.specimens.take("blood", "01001", DOCTOR)
    assert await world.specimens.take("blood", "1001", DOCTOR) == first
    assert world.specimens.proposed_number() == "01002"
    await world.specimens.discard(first.specimen, "spilled", DOCTOR)
    assert world.specimens.proposed_number() == "01002"
    await world.specimens.take("blood", "01002", DOCTOR)
    assert world.specimens.proposed_number() == "01003"
    for refused in ("", "1 ' 2", "x" * 31, "-1"):
        with pytest.raises(SpecimenNumberRefused):
            await world.specimens.take("blood", refused, DOCTOR)
    with pytest.raises(SpecimenNumberRefused):
        await world.specimens.take("tears", "105", DOCTOR)


async def test_a_result_sent_again_is_there_once(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    said = {"device_said_at": "2026-03-01T09:05:00", "message_said_at": "2026-03-01T09:05:00"}
    world.publish(result(**said), "lab-1")
    world.clock.advance(10)
    world.publish(result(**said | {"message_said_at": "2026-03-01T09:05:10"}), "lab-1")
    world.publish(result(), "lab-1")
    world.publish(result(), "lab-1")
    assert len(world.recent()) == 2


async def test_control_material_belongs_to_nobody(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    world.publish(result("101", control=True), "lab-1")
    assert world.waiting() == world.recent() == []
    (row,) = world.store.read("SELECT facts_json FROM device_events WHERE event = 'control_measured'")
    assert [found["code"] for found in json.loads(row["facts_json"])["results"]] == ["WBC", "HGB"]


async def test_a_critical_value_is_asked_about_also_when_the_person_has_gone(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    await world.encounters.close(DOCTOR)
    world.publish(result("101", values=blood(HGB="52")), "lab-1")
    (found,) = world.recent()
    assert found.grade.grade == "red"
    assert found.open_red
    called = Answer(frozenset({"referred"}), receiver="县医院急诊科", read_back=True)
    await world.critical_values.acknowledge(found.reading, called, DOCTOR)
    (found,) = world.recent()
    assert not found.open_red
    rules = world.store.read("SELECT code FROM screening_results WHERE rule = 'CRIT-A'")
    assert [row["code"] for row in rules] == ["CRITICAL_A"]


async def test_a_critical_value_of_who_is_served_may_not_be_left(world: LaboratoryWorld) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    world.publish(result("101", values=blood(PLT="22")), "lab-1")
    (red,) = world.measurements.critical("zh")
    assert red.type == "laboratory"
    assert world.told("prompts")


@pytest.mark.parametrize(("said", "reds"), [("2.8", 1), ("2.9", 0)])
async def test_so_low_a_glucose_is_red_whatever_was_eaten(world: LaboratoryWorld, said: str, reds: int) -> None:
    await world.serve()
    await world.specimens.take("blood", "101", DOCTOR)
    world.publish(result("101", values=(laboratory_value("urit 8030", "GLI", said, "mmol/L"),)), "lab-1")
    assert len(world.measurements.critical("zh")) == reds


async def test_the_specialist_reads_every_analyte_and_no_name_typed_at_the_analyser(world: LaboratoryWorld) -> None:
    patient = await world.serve()
    specimen = await world.specimens.take("blood", "101", DOCTOR)
    world.publish(result("101", values=blood(HGB="52", WBC="6.4"), person_said="somebody"), "lab-1")
    notes = CaseNotes(world.store, world.people, world.prompts)
    told = notes.of(specimen.encounter, patient.patient, "en")["readings"]
    assert [(row["type"], row.get("title"), row["text"]) for row in told] == [
        ("laboratory", None, ""),
        ("analyte", "White blood cells", "6.4 10^9/L"),
        ("analyte", "Haemoglobin", "52 g/L"),
    ]
    assert told[0]["grade"] == "red"
    assert "somebody" not in json.dumps(told)


def test_the_rules_hear_plain_numbers_of_known_analytes_only() -> None:
    told = result(values=blood(HGB="134", WBC="<0.5", PLT="++++"))
    assert rule_inputs(stored_values(told)) == {"hb": 134.0}
    twice = result(values=(*blood(HGB="134"), *blood(HGB="135")))
    assert rule_inputs(stored_values(twice)) == {}
    foreign = laboratory_value("somebody else", "HGB", "52", "g/L")
    assert rule_inputs(stored_values(result(values=(foreign,)))) == {}


@pytest.mark.parametrize(
    ("said", "unit", "heard"), [("126", "mg/dL", 7.0), ("111", "mg/dL", 6.2), ("6.96", "mmol/L", 6.96)]
)
def test_the_rules_hear_glucose_sent_in_other_units_as_limits_are_given(said: str, unit: str, heard: float) -> None:
    sugar = laboratory_value("urit 8030", "GLI", said, unit)
    assert rule_inputs(stored_values(result(values=(sugar,)))) == {"glu": heard}


async def test_the_largest_result_that_a_driver_can_tell_fits_into_an_entry(world: LaboratoryWorld) -> None:
    wide = "汉" * 300
    segments = ["MSH|^~\\&|urit|5160|||20260301090000||ORU^R01|1|P|2.3.1", f"PID|1||{wide}||{wide}", f"OBR|1|{wide}"]
    flags = "~".join([wide] * 9)
    segments += [f"OBX|{n}|ST|{wide}||{n}{wide}|{wide}|{wide}|{flags}|||{wide}" for n in range(130)]
    segments += [f"NTE|1||{wide}"] * 30
    results = hl7_analyser.message_of("\r".join(segments)).results
    assert [len(one.values) for one in results] == [60, 60, 10]
    await world.serve()
    for one in results:
        world.publish(one, "lab-1")
    assert len(world.waiting()) == 3
    (largest,) = world.store.read("SELECT max(length(CAST(body AS BLOB))) AS n FROM entries")
    assert 20_000 < largest["n"] < LARGEST_BODY_BYTES


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"said": "12", "flags": ["H"], "reference_range": "1-20"}, "high"),
        ({"said": "12", "flags": ["L", "A"]}, "low"),
        ({"said": "12", "flags": ["N"], "reference_range": "1-2"}, ""),
        ({"said": "12", "reference_range": "1 - 11.9"}, "high"),
        ({"said": "0.9", "reference_range": "1-11.9"}, "low"),
        ({"said": "5", "reference_range": "1-11.9"}, ""),
        ({"said": "5.3", "reference_range": "<5.2"}, "high"),
        ({"said": "0.9", "reference_range": "≥1.0"}, "low"),
        ({"said": "<1", "reference_range": "1-11"}, "low"),
        ({"said": "<5", "reference_range": "1-3"}, ""),
        ({"said": "5", "reference_range": "negative"}, ""),
        ({"said": "+2", "key": "u_protein"}, "abnormal"),
        ({"said": "±", "key": "u_protein"}, "abnormal"),
        ({"said": "-", "key": "u_protein"}, ""),
        ({"said": "+2", "key": "wbc"}, ""),
        ({"said": "----", "reference_range": "1-2"}, ""),
    ],
)
def test_out_of_range_is_what_the_analyser_says(value: dict[str, Any], expected: str) -> None:
    assert side(value) == expected


def test_the_table_has_its_groups_and_keeps_what_nobody_knows() -> None:
    values = (
        laboratory_value("x", "XYZ", "3", "foo"),
        *blood(HGB="134", WBC="6.4"),
        laboratory_value("urit 8030", "GLI", "111", "mg/dL", reference_range="65-99"),
    )
    found = groups(stored_values(result(values=values)), "en")
    assert [group.key for group in found] == ["blood_count", "chemistry", "other"]
    assert [row.name for row in found[0].rows] == ["White blood cells", "Haemoglobin"]
    sugar, other = found[1].rows[0], found[2].rows[0]
    assert (sugar.said, sugar.unit, sugar.converted, sugar.side) == ("111", "mg/dL", "6.161 mmol/L", "high")
    assert (other.name, other.said, other.unit, other.known) == ("XYZ", "3", "foo", False)

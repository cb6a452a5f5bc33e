"""Evidence out of the ordinary: decided by a person, never ended, a changed key, a merged village, one long boot."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.county.evidence_maker import EvidenceMissing
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.keys.key_statements import KeyChange
from sync.proof.coverage import VisitState
from sync.proof.evidence import read_bundle
from sync.verify.bundle_check import CheckedVisit, check_bundle
from sync.verify.policy import Policy
from sync.verify.report import bundle_text
from sync.verify.words import Words
from tests.sync.county_month import TOWNSHIP, at
from tests.sync.evidence_county import MONTH, DayOut, EvidenceCounty, begun, merge_villages, side_by_side


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[EvidenceCounty]:
    county = EvidenceCounty(tmp_path, SimulatedClock(at(8, 31, 20)))
    yield county
    county.close()


def proven(county: EvidenceCounty, visit: str) -> CheckedVisit:
    """What the evidence of a visit proves, verified as an inspector would."""
    report = check_bundle(county.of_visit(visit).data, Policy.parse(county.policy))
    assert report.wrong == ()
    return next(found for found in report.visits if found.claim.visit == visit)


async def test_a_person_s_decision_is_part_of_the_evidence(county: EvidenceCounty) -> None:
    """A visit with too few witnesses waits for review; the registry says what was decided, and by whom."""
    (van,) = await begun(county, "van-07")
    visit = await DayOut(van, county.villages[0], at(9, 1, 8, 20), people=3, confirms=False, attaches=False).run()
    await county.witness()
    before = proven(county, visit)
    assert (before.verdict.state, before.verdict.reasons) == (VisitState.REVIEW, ("too_few_witnesses",))
    county.county.registry.decide(MONTH, {visit: van.signer.name}, "counted", "与村医电话核对", by="xu.jing")
    with pytest.raises(EvidenceMissing, match="gives another verdict"):
        county.of_visit(visit)
    await county.witness()
    after = proven(county, visit)
    assert after.verdict.counted
    assert "decided_by_reviewer" in after.verdict.flags
    county.county.registry.decide(MONTH, {visit: van.signer.name}, "refused", "村医说没有来", by="xu.jing")
    await county.witness()
    assert proven(county, visit).verdict.reasons == ("refused_by_reviewer",)


async def test_a_visit_that_nobody_ended(county: EvidenceCounty) -> None:
    (van,) = await begun(county, "van-07")
    visit = await DayOut(van, county.villages[0], at(9, 1, 8, 20), people=2, closes=False).run()
    await DayOut(van, county.villages[1], at(9, 3, 8, 20), people=1).run()
    await county.witness()
    found = proven(county, visit)
    assert found.verdict.state is VisitState.REVIEW
    assert "unclosed" in found.verdict.reasons


async def test_a_journal_whose_key_was_changed(county: EvidenceCounty) -> None:
    """Checkpoints before and after the change stand in one bundle, each signed by the key of its size."""
    (van,) = await begun(county, "van-07")
    first = await DayOut(van, county.villages[0], at(9, 1, 8, 20), people=1).run()
    await county.witness()
    new = SeedSigner(van.signer.name, b"another key of this vehicle.....")
    change = KeyChange.signed(van.signer, new, van.store.size() + 1)
    van.store.commit_now(Draft("key_changed/1", change.entry_fields()))
    county.county.fleet.rotate(change)
    van.signer = new
    second = await DayOut(van, county.villages[0], at(9, 8, 8, 20), people=1).run()
    await county.witness()
    report = county.of_village(county.villages[0]).report
    assert [visit.claim.visit for visit in report.visits] == [first, second]
    assert report.month.counted == 2
    assert len(report.registry.keys[van.signer.name]) == 2


async def test_a_village_that_was_merged_into_its_neighbour(county: EvidenceCounty) -> None:
    """The van's list is old: it names a village that is no longer in force; the one it stands in now has the visit."""
    (van,) = await begun(county, "van-07")
    villages = county.villages
    old, heir = villages[0], villages[1]
    listed = json.loads(TOWNSHIP.read_text(encoding="utf-8"))
    merge_villages(listed, old.code, heir.code)
    county.county.registry.import_villages(listed, by="xu.jing", valid_from=date(2026, 9, 1))
    visit = await DayOut(van, old, at(9, 2, 8, 20), people=2).run()
    await county.witness()
    found = proven(county, visit)
    assert found.proof.evidence.named == old.code
    assert found.proof.facts.village == heir.code
    assert "village_replaced" in found.verdict.flags
    assert found.verdict.counted


async def test_a_weekend_of_rain_two_visits_in_one_boot(county: EvidenceCounty) -> None:
    """Two villages on one day, without switching off between: each has its own evidence over the same boot."""
    (van,) = await begun(county, "van-07")
    morning = await DayOut(van, county.villages[0], at(9, 1, 8, 20), minutes=60, people=1).run()
    county.clock.advance(timedelta(minutes=20).total_seconds())
    noon = await DayOut(van, county.villages[1], at(9, 1, 11, 0), minutes=250, people=1, boots=False).run()
    await county.witness()
    assert proven(county, morning).verdict.state is VisitState.SHORT
    after = proven(county, noon)
    assert after.verdict.counted
    assert after.proof.evidence.first == proven(county, morning).proof.evidence.first


async def test_a_sealed_month_is_shown_beside_what_is_recomputed(county: EvidenceCounty) -> None:
    """A decision after the sealing makes no evidence until a new verdict, which names the old one, is sealed."""
    (van,) = await begun(county, "van-07")
    village = county.villages[0]
    visit = await DayOut(van, village, at(9, 1, 8, 20), people=1).run()
    county.clock.advance((at(10, 12, 8) - county.clock.now()).total_seconds())
    assert county.county.sealing.seal_due()
    await county.witness()
    report = county.of_village(village).report
    assert report.registry.sealed is not None
    assert [(one.visit, one.state) for one in report.registry.sealed.visits] == [(visit, "counted")]
    said = "\n".join(bundle_text(report, Words("en")))
    assert "county's sealed verdict: the same as recomputed" in said
    county.county.registry.decide(MONTH, {visit: van.signer.name}, "refused", "两村相争，另查", by="xu.jing")
    await county.witness()
    with pytest.raises(EvidenceMissing, match="gives another verdict"):
        county.of_visit(visit)
    assert county.county.sealing.seal_due()
    await county.witness()
    assert proven(county, visit).verdict.reasons == ("refused_by_reviewer",)
    again = county.of_village(village).report
    assert again.registry.sealed is not None
    assert [one.state for one in again.registry.sealed.visits] == ["not_counted"]


NURSE = {"person": "wu.qian", "role": "nurse", "name": "吴倩"}
OTHERS = ({"person": "luo.wen", "role": "doctor", "name": "罗文"}, NURSE)


def reasons(county: EvidenceCounty, *months: date) -> list[tuple[str, ...]]:
    """Of all visits of these months, by village."""
    tables = [county.county.coverage.table(month, practice=False) for month in months]
    return [judged.verdict.reasons for table in tables for row in table.rows for judged in row.visits]


async def test_a_nurse_in_two_vans_at_once_and_the_evidence_once_it_is_decided(county: EvidenceCounty) -> None:
    """One village's evidence cannot show the other visit: a person decides first."""
    seven, nine = await begun(county, "van-07", "van-09")
    first = DayOut(seven, county.villages[0], at(9, 1, 8, 20), people=1)
    second = DayOut(nine, county.villages[1], at(9, 1, 9, 20), people=1, crew=OTHERS)
    await side_by_side(first, second)
    await county.witness()
    assert reasons(county, MONTH) == [("staff_in_two_vehicles",), ("staff_in_two_vehicles",)]
    with pytest.raises(EvidenceMissing, match=first.visit) as missing:
        county.of_visit(first.visit)
    assert missing.value.reason == "beside_another"
    county.county.registry.decide(MONTH, {second.visit: nine.signer.name}, "refused", "吴倩当天在云坪村", by="xu.jing")
    await county.witness()
    assert proven(county, first.visit).verdict.counted
    assert proven(county, second.visit).verdict.reasons == ("refused_by_reviewer",)


async def test_a_nurse_in_two_vans_that_came_to_one_village_is_seen_in_its_evidence(county: EvidenceCounty) -> None:
    seven, nine = await begun(county, "van-07", "van-09")
    first = DayOut(seven, county.villages[0], at(9, 1, 8, 20), people=1)
    second = DayOut(nine, county.villages[0], at(9, 1, 8, 50), people=1, crew=OTHERS, minutes=260)
    await side_by_side(first, second)
    await county.witness()
    assert proven(county, second.visit).verdict.reasons == ("staff_in_two_vehicles",)
    assert proven(county, first.visit).verdict.reasons == ("duplicate_vehicle", "staff_in_two_vehicles")


async def test_visits_on_both_sides_of_a_month_s_end_are_compared(county: EvidenceCounty) -> None:
    seven, nine = await begun(county, "van-07", "van-09")
    await side_by_side(
        DayOut(seven, county.villages[0], at(9, 30, 22, 20), people=1),
        DayOut(nine, county.villages[1], at(10, 1, 0, 20), people=1, crew=OTHERS),
    )
    found = reasons(county, MONTH, date(2026, 10, 1))
    assert found == [("staff_in_two_vehicles",), ("staff_in_two_vehicles",)]


async def test_rules_of_a_month_are_shown_to_have_been_made_in_time(county: EvidenceCounty) -> None:
    """Also when the evidence is made long after: then an older checkpoint of the registry is in it."""
    (van,) = await begun(county, "van-07")
    visit = await DayOut(van, county.villages[0], at(9, 1, 8, 20), people=1).run()
    await county.witness()
    assert county.of_visit(visit).report.registry.rules_witnessed is None
    county.county.registry.set_rules({"dwell_s": 7200}, by="xu.jing")
    await county.witness()
    first = county.of_visit(visit)
    assert first.report.registry.rules_witnessed is not None
    assert first.report.registry.rules_witnessed.in_time
    assert read_bundle(first.data).rules_checkpoint is None
    county.clock.advance((at(11, 20, 9) - county.clock.now()).total_seconds())
    county.county.registry.waive(county.villages[1].code, "2026-11", "道路塌方", by="xu.jing")
    await county.witness()
    later = county.of_visit(visit)
    assert later.report.registry.rules_witnessed is not None
    assert later.report.registry.rules_witnessed.in_time
    assert read_bundle(later.data).rules_checkpoint is not None
    assert "rules: witnessed by the province 2026-09-01" in "\n".join(bundle_text(later.report, Words("en")))


async def test_rules_that_the_province_saw_too_late_are_told(county: EvidenceCounty) -> None:
    """The witness was out of reach for two months: no fraud, and nothing that a third party could tell from one."""
    (van,) = await begun(county, "van-07")
    visit = await DayOut(van, county.villages[0], at(9, 1, 8, 20), people=1).run()
    county.county.registry.set_rules({"dwell_s": 7200}, by="xu.jing")
    county.clock.advance((at(11, 20, 9) - county.clock.now()).total_seconds())
    await county.witness()
    found = county.of_visit(visit)
    witnessed = found.report.registry.rules_witnessed
    assert witnessed is not None
    assert not witnessed.in_time
    assert read_bundle(found.data).rules_checkpoint is None
    assert "注意：规则在 2026-10-10 前未经省级见证" in "\n".join(bundle_text(found.report, Words("zh")))

"""Whoever changes evidence, whatever keys he has, gets nothing counted that was not: the matrix of the design."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.evidence_maker import EvidenceMissing
from sync.county.schema import logs
from sync.formats import canonical
from sync.formats.notes import ED25519_COSIGNATURE, Note, SeedSigner, Signature, VerifierKey, cosign
from sync.proof.bundle_file import BundleUnreadable, read_members, write_members
from sync.proof.coverage import VisitState
from sync.proof.evidence import LogPart, NotProven, read_bundle, write_bundle
from sync.verify.bundle_check import check_bundle
from sync.verify.policy import Policy
from tests.sync.county_month import at
from tests.sync.evidence_attacks import (
    ATTACKS,
    SEVEN,
    STRANGER,
    Attack,
    Case,
    Month,
    case_of,
    hidden,
    resealed,
    verdict,
)
from tests.sync.evidence_county import PROVINCE, DayOut, EvidenceCounty, begun


@pytest.fixture(scope="module")
def case(evidence_month: Month) -> Case:
    return case_of(evidence_month, "first")


@pytest.fixture(scope="module")
def short(evidence_month: Month) -> Case:
    return case_of(evidence_month, "short")


# what is good, and stays good -----------------------------------------------------------------------------------------


def test_the_evidence_is_good(case: Case) -> None:
    assert verdict(case.bundle, case.policy) == "valid"
    (visit,) = case.report.visits
    assert visit.verdict.state is VisitState.COUNTED
    assert visit.proof.facts.dwell_s == pytest.approx(250 * 60, abs=600)
    assert visit.proof.facts.encounters == 6
    assert len(visit.proof.facts.staff) == 3
    assert visit.proof.evidence.hidden == 36
    assert sorted(visit.sealed_by) == ["county.qingyu.example", "witness.province.example"]
    assert visit.proof.bracket is not None
    assert visit.proof.bracket.on_target


def test_nothing_personal_is_shown(case: Case) -> None:
    for body in case.journal.entries.values():
        said = canonical.loads(body)
        assert "salt" not in said
        assert "patient" not in said
        assert "演练居民" not in body.decode()


@pytest.mark.parametrize("name", ["first", "second", "short", "few staff", "too close", "longer", "rival"])
def test_every_visit_of_the_month_proves_the_county_s_own_verdict(evidence_month: Month, name: str) -> None:
    county, visits = evidence_month
    evidence = county.of_visit(visits[name])
    assert evidence.report.wrong == ()
    assert len(evidence.data) < 64 * 1024
    assert any(visit.claim.visit == visits[name] for visit in evidence.report.visits)


def test_a_visit_too_close_comes_with_the_one_that_it_is_too_close_to(evidence_month: Month) -> None:
    county, visits = evidence_month
    evidence = county.of_visit(visits["too close"])
    states = {visit.claim.visit: visit.claim.state for visit in evidence.report.visits}
    assert states == {visits["second"]: "counted", visits["too close"]: "not_counted"}


def test_a_village_s_month(evidence_month: Month) -> None:
    county, visits = evidence_month
    evidence = county.of_village(county.villages[0])
    assert len(evidence.data) < 64 * 1024
    assert evidence.report.month.counted == 2
    assert {visit.claim.visit for visit in evidence.report.visits} == {
        visits[name] for name in ("first", "second", "too close")
    }
    both = county.of_village(county.villages[2])
    assert len(read_bundle(both.data).journals) == 2


def test_unknown_signature_lines_and_more_witnesses_do_no_harm(case: Case) -> None:
    def more(data: bytes) -> bytes:
        note = Note.parse(data)
        strange = Signature("sm2.county.example", b"\1\2\3\4", b"any other algorithm" * 5)
        same_name = Signature(case.county.name, b"\0\0\0\0", b"another key of that name" * 3)
        return bytes(note.signed_also([strange, same_name, cosign(note.text, STRANGER, at(9, 30, 0))]))

    checkpoints = {size: more(note) for size, note in case.journal.checkpoints.items()}
    bundle = case.with_journal(checkpoints=checkpoints)
    newest = {key: more(note) for key, note in bundle.registry.checkpoints.items()}
    assert verdict(replace(bundle, registry=replace(bundle.registry, checkpoints=newest)), case.policy) == "valid"
    wider = Policy.parse(f"{case.text}witness another {STRANGER.verifier_key()}\n".encode())
    assert verdict(bundle, wider) == "valid"
    assert verdict(case.bundle, wider) == "valid"


# the matrix -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name)
def test_tampering_is_refused_or_not_counted(case: Case, one: Attack) -> None:
    assert verdict(one.make(case), case.policy) in one.codes


def test_a_short_visit_does_not_become_a_counted_one_by_saying_so(short: Case) -> None:
    claims = tuple(replace(claim, state="counted") for claim in short.bundle.manifest.visits)
    assert verdict(replace(short.bundle, manifest=replace(short.bundle.manifest, visits=claims)), short.policy) == (
        "state_mismatch"
    )


# whom one trusts ------------------------------------------------------------------------------------------------------


def test_one_key_in_two_roles_is_refused(case: Case) -> None:
    def trusted(key: bytes, name: str) -> Policy:
        shared = VerifierKey(name, ED25519_COSIGNATURE, key)
        return Policy.parse(f"{case.text}witness shared {shared}\n".encode())

    with pytest.raises(NotProven, match="as a log and as the witness") as caught:
        trusted(case.registry.verifier_key().public_key, "shared.example")
    assert caught.value.code == "key_in_two_roles"
    with pytest.raises(BundleUnreadable, match="second witness"):
        trusted(case.county.verifier_key().public_key, "shared.example")
    also_vehicle = trusted(case.vehicle.verifier_key().public_key, "shared.example")
    assert verdict(case.bundle, also_vehicle) == "key_in_two_roles"


def test_another_county_s_policy_proves_nothing(case: Case) -> None:
    other = SeedSigner("registry.county.other.example", b"o" * 32)
    policy = Policy.parse(f"log {other.verifier_key()}\nquorum none\n".encode())
    assert verdict(case.bundle, policy) == "origin_mismatch"
    same_name = SeedSigner(case.registry.name, b"o" * 32)
    text = case.text.replace(str(case.registry.verifier_key()), str(same_name.verifier_key()))
    assert verdict(case.bundle, Policy.parse(text.encode())) == "signature_missing"


def test_without_the_county_s_cosigner_there_is_no_time(case: Case) -> None:
    key = case.registry.verifier_key()
    policy = Policy.parse(f"log {key}\nwitness province {PROVINCE.verifier_key()}\nquorum province\n".encode())
    assert verdict(case.bundle, policy) == "origin_mismatch"


# any byte, and any hiding ---------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_any_member_proves_nothing_more(case: Case, data: st.DataObject) -> None:
    members = read_members(write_bundle(case.bundle))
    name = data.draw(st.sampled_from(sorted(members)))
    changed = bytearray(members[name])
    place = data.draw(st.integers(0, len(changed) - 1))
    match data.draw(st.sampled_from(["change", "insert", "delete", "cut"])):
        case "change":
            changed[place] ^= data.draw(st.integers(1, 255))
        case "insert":
            changed.insert(place, data.draw(st.sampled_from([*b'0:{}[]",\n A\x80'])))
        case "delete":
            del changed[place]
        case _:
            del changed[place:]
    try:
        report = check_bundle(write_members({**members, name: bytes(changed)}), case.policy)
    except (BundleUnreadable, NotProven):
        return
    assert [visit.verdict for visit in report.visits] == [visit.verdict for visit in case.report.visits] or report.wrong
    assert report.month.counted <= case.report.month.counted


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hiding_never_gains_a_minute_or_a_verdict(short: Case, data: st.DataObject) -> None:
    kept = {*short.places("boot/1"), *short.places("visit_opened/1")}
    free = sorted(short.journal.entries.keys() - kept)
    gone = data.draw(st.lists(st.sampled_from(free), unique=True, max_size=12))
    bundle = replace(short.bundle, journals={SEVEN: hidden(short.journal, gone)})
    try:
        report = check_bundle(write_bundle(bundle), short.policy)
    except NotProven:
        return
    (visit,), (before,) = report.visits, short.report.visits
    assert not visit.verdict.counted
    assert (visit.proof.facts.dwell_s or 0) <= (before.proof.facts.dwell_s or 0)
    assert visit.proof.facts.encounters <= before.proof.facts.encounters
    assert visit.proof.facts.staff <= before.proof.facts.staff
    assert visit.proof.evidence.hidden >= before.proof.evidence.hidden


# what a vehicle's owner may try before he signs -----------------------------------------------------------------------


@pytest.fixture
async def county(tmp_path: Path) -> Any:
    county = EvidenceCounty(tmp_path, SimulatedClock(at(8, 31, 20)))
    yield county
    county.close()


async def test_a_replayed_disk_image_or_a_cloned_vehicle_gets_no_evidence(
    county: EvidenceCounty, tmp_path: Path
) -> None:
    """A copy of Monday's disk makes another visit on Tuesday, as if Monday's had not been."""
    (van,) = await begun(county, "van-07")
    van.store.close()
    shutil.copytree(tmp_path / "van-07", tmp_path / "copy")
    van.restart()
    honest = await DayOut(van, county.villages[0], at(9, 1, 8, 20), people=2).run()
    await county.witness()
    before = county.of_visit(honest).data
    van.store.close()
    shutil.rmtree(tmp_path / "van-07")
    shutil.copytree(tmp_path / "copy", tmp_path / "van-07")
    van.restart()
    cloned = await DayOut(van, county.villages[1], at(9, 2, 8, 20), people=2).run()
    await county.witness()
    with pytest.raises(EvidenceMissing) as caught:
        county.of_visit(cloned)
    assert caught.value.reason == "no_visit"
    log = county.county.database.row(select(logs).where(logs.c.origin == SEVEN))
    assert log is not None
    assert log["frozen_at"] is not None, "and it is there for the inspector to see"
    assert county.of_visit(honest).data == before, "what was proven stays proven"


async def test_a_moved_clock_is_reviewed_and_not_counted(county: EvidenceCounty) -> None:
    """In the middle of the visit the van's clock is put forward by three hours, so that a short stay looks long."""
    (van,) = await begun(county, "van-07")
    outing = DayOut(van, county.villages[0], at(9, 1, 8, 20), minutes=100)
    visit = await outing.run()
    await county.witness()
    (before,) = county.of_visit(visit).report.visits
    assert before.verdict.state is VisitState.SHORT
    moved = case_of((county, {"moved": visit}), "moved")
    half = at(9, 1, 9, 0)
    entries = {n: _forward(body, half, timedelta(hours=3)) for n, body in moved.journal.entries.items()}
    changed = resealed(replace(moved.journal, entries=entries), SEVEN, [moved.vehicle, moved.county, PROVINCE])
    bundle = replace(moved.bundle, journals={SEVEN: _reanchored(changed, moved)})
    report = check_bundle(write_bundle(bundle), moved.policy)
    (visited,) = report.visits
    assert not visited.verdict.counted
    assert "clock_stepped" in visited.verdict.reasons
    assert (visited.proof.facts.dwell_s or 0) <= 100 * 60 + 600, "counted by monotonic time"


def _forward(body: bytes, since: Any, by: timedelta) -> bytes:
    """An entry whose wall time is moved, its monotonic time not."""
    said = canonical.loads(body)
    for name in ("at", "started_at", "opened_at"):
        if name in said and said[name] >= since.strftime("%Y-%m-%dT%H:%M"):
            moved = since.fromisoformat(said[name].replace("Z", "+00:00")) + by
            said[name] = moved.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moved.microsecond // 1000:03d}Z"
    return canonical.dumps(said)


def _reanchored(part: LogPart, case: Case) -> LogPart:
    """The checkpoints before the changed entries as they were: the anchor's receipt still fits."""
    first = min(case.places("visit_opened/1"))
    kept = {size: note for size, note in case.journal.checkpoints.items() if size <= first}
    return replace(part, checkpoints={**part.checkpoints, **kept})

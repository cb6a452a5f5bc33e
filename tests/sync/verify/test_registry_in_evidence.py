"""What evidence says of the registry, found the same by both verifiers: rules dated back, a village that was merged."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.formats import canonical
from sync.proof.evidence import Bundle, read_bundle, write_bundle
from sync.verify.bundle_check import check_bundle
from sync.verify.policy import Policy
from sync.verify.report import bundle_text
from sync.verify.words import Words
from tests.sync.county_month import TOWNSHIP, at
from tests.sync.evidence_attacks import Case, cosigned_again, without
from tests.sync.evidence_county import PROVINCE, DayOut, EvidenceCounty, begun, merge_villages
from tests.sync.second_verifier import Verifier, agree, codes

pytestmark = pytest.mark.browser
DUE, LATE = at(10, 10, 23), at(10, 11, 0)
"""The last hour in which rules for September can be made, and the first in which they cannot."""


async def _merged(folder: Path) -> tuple[bytes, bytes, str, str]:
    """Evidence of a visit that names a village which is in force no longer, policy, that village, its successor."""
    county = EvidenceCounty(folder, SimulatedClock(at(8, 31, 20)))
    (van,) = await begun(county, "van-07")
    old, heir = county.villages[:2]
    listed = json.loads(TOWNSHIP.read_text(encoding="utf-8"))
    merge_villages(listed, old.code, heir.code)
    county.county.registry.import_villages(listed, by="xu.jing", valid_from=date(2026, 9, 1))
    visit = await DayOut(van, old, at(9, 2, 8, 20), people=2).run()
    await county.witness()
    found = county.of_visit(visit).data, county.policy, old.code, heir.code
    county.close()
    return found


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, str, str]:
    """Asked for before the browser, beside which no coroutine runs on this thread."""
    return asyncio.run(_merged(tmp_path_factory.mktemp("merged")))


def test_a_visit_to_a_merged_village_belongs_to_its_successor(
    merged: tuple[bytes, bytes, str, str], second: Verifier
) -> None:
    data, policy, old, heir = merged
    found = agree(second, data, policy)
    assert (found["result"], found["village"]) == ("valid", heir)
    assert "village_replaced" in found["visits"][0]["flags"]
    bundle = read_bundle(data)
    former = replace(bundle, manifest=replace(bundle.manifest, village=old))
    assert codes(agree(second, write_bundle(former), policy)) == ["village_mismatch"]


def with_rules(case: Case, seconds: float) -> Bundle:
    """A second version of the rules that says it was made in September, in a registry that was cosigned then."""
    part, size = case.bundle.registry, case.report.registry.signed.checkpoint.size
    index = canonical.loads(part.entries[size - 1])
    common = {"at": "2026-09-20T02:00:00.000Z", "by": "xu.jing"}
    rules = {**common, "kind": "rules/1", "n": size, "version": 2, "rules": {"version": 2, "dwell_s": 60}}
    entries = {size: canonical.dumps(rules), size + 1: canonical.dumps({**index, "n": size + 1, "rules": size})}
    grown = replace(part, entries={**part.entries, **entries})
    return replace(case.bundle, registry=cosigned_again(grown, size + 2, case, round(seconds)))


@pytest.mark.parametrize(("cosigned", "in_time"), [(DUE, True), (LATE, False)])
def test_rules_that_nobody_saw_in_time_are_told(
    merged: object, second: Verifier, case: Case, cosigned: object, in_time: bool
) -> None:
    """The county dates its new rules back to September; the province's clock says when it first saw them."""
    data = write_bundle(with_rules(case, cosigned.timestamp()))  # type: ignore[attr-defined]
    found = agree(second, data, case.text.encode())
    assert (found["result"], found["rules"]["version"]) == ("valid", 2)
    assert found["rules_witnessed"]["due_on"] == "2026-10-10"
    assert found["rules_witnessed"]["in_time"] is in_time
    said = "\n".join(bundle_text(check_bundle(data, Policy.parse(case.text.encode())), Words("en")))
    assert ("NOTE: rules not witnessed by the province by 2026-10-10" in said) is not in_time


def test_an_older_checkpoint_shows_that_rules_were_made_in_time(merged: object, second: Verifier, case: Case) -> None:
    late = with_rules(case, LATE.timestamp())
    (earlier,) = with_rules(case, DUE.timestamp()).registry.checkpoints.values()
    (before,) = case.bundle.registry.checkpoints.values()
    (journal, *_) = case.journal.checkpoints.values()
    found = []
    for note in (earlier, before, without(earlier, PROVINCE.verifier_key()), journal, b"x", None):
        report = agree(second, write_bundle(replace(late, rules_checkpoint=note)), case.text.encode())
        found.append(codes(report) or report["rules_witnessed"]["in_time"])
    assert found == [True, False, ["quorum_missing"], ["origin_mismatch"], ["note_unreadable"], False]
    other = replace(late, rules_checkpoint=_of_another_tree(late, case))
    assert codes(agree(second, write_bundle(other), case.text.encode())) == ["root_mismatch"]


def _of_another_tree(bundle: Bundle, case: Case) -> bytes:
    """Signed and cosigned by all: a registry of the same size in which the rules say something else."""
    part = bundle.registry
    place = max(part.entries) - 1
    changed = {**canonical.loads(part.entries[place]), "version": 3}
    other = replace(part, entries={**part.entries, place: canonical.dumps(changed)})
    (note,) = cosigned_again(other, max(part.entries) + 1, case, round(DUE.timestamp())).checkpoints.values()
    return note

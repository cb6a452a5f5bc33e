"""T1, the earliest time of a visit: by the very receipt that the vehicle's anchor names, or there is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path

import county_month
import pytest
from county_month import Founded, at

from devices.clock import SimulatedClock
from sync.county.visit_report import VisitReports
from sync.formats.notes import ED25519_COSIGNATURE, Note, SeedSigner, VerifierKey, cosign
from sync.formats.records import Draft
from sync.proof.anchors import Read, newer_anchor


def unchanged(anchor: Draft) -> Draft:
    return anchor


def another_receipt(anchor: Draft) -> Draft:
    """The right checkpoint, by a receipt that the county never gave."""
    return Draft("anchor/1", {**anchor.fields, "receipt_sha256": sha256(b"none").hexdigest()})


def another_root(anchor: Draft) -> Draft:
    return Draft("anchor/1", {**anchor.fields, "root": sha256(b"none").hexdigest()})


@pytest.mark.parametrize(("change", "known"), [(unchanged, True), (another_receipt, False), (another_root, False)])
async def test_only_the_receipt_that_the_county_gave_says_the_earliest_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Draft], Draft], known: bool
) -> None:
    def anchor_of(read: Read) -> Draft | None:
        anchor = newer_anchor(read)
        return change(anchor) if anchor is not None else None

    monkeypatch.setattr(county_month, "newer_anchor", anchor_of)
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    van = founded.van("van-07")
    visit = van.visit(founded.villages[0], at(9, 1, 9))
    await van.deliver()
    mirror, witness = founded.county.mirror, SeedSigner("witness.example", b"w" * 32, ED25519_COSIGNATURE)
    size = mirror.log(van.signer.name).mirror_size
    note = mirror.checkpoint(van.signer.name)
    assert note is not None
    mirror.keep_cosignature(van.signer.name, size, cosign(Note.parse(note).text, witness, founded.clock.now()))
    (case,) = founded.county.visits.cases(date(2026, 9, 1), date(2026, 9, 30), practice=False)
    assert case.record.visit == visit
    assert (case.bracket.known_at is not None) is known
    assert case.bracket.sealed_at is not None
    founded.close()


async def test_the_page_of_a_visit_says_when_the_province_cosigned_it(tmp_path: Path) -> None:
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    van, county = founded.van("van-07"), founded.county
    visit = van.visit(founded.villages[0], at(9, 1, 9))
    await van.deliver()
    size, text = county.mirror.log(van.signer.name).mirror_size, county.mirror.checkpoint(van.signer.name)
    assert text is not None
    province = SeedSigner("witness.example", b"w" * 32, ED25519_COSIGNATURE)
    stranger = SeedSigner("witness.example", b"s" * 32, ED25519_COSIGNATURE)

    def witnessed_at(key: VerifierKey | None) -> datetime | None:
        report = VisitReports(county.database, county.visits, county.coverage, key).find(visit)
        assert report is not None
        return report.bracket.witnessed_at

    assert witnessed_at(province.verifier_key()) is None
    moment = at(9, 1, 15)
    county.mirror.keep_cosignature(van.signer.name, size, cosign(Note.parse(text).text, province, moment))
    assert witnessed_at(province.verifier_key()) == moment
    assert witnessed_at(stranger.verifier_key()) is None
    assert witnessed_at(None) is None
    auditor = await founded.signed_in("he.ming")
    page = (await auditor.get(f"/county/visits/{visit}")).text
    await auditor.aclose()
    assert "没有设省级见证" in page
    founded.close()

"""Evidence as people get it from the county: file, printed sheet, verifier, and words when it is too early."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pikepdf
import pytest
import zxingcpp
from PIL import Image

from devices.clock import SimulatedClock
from sync import verify_html
from sync.county.audit import Audit
from sync.formats.notes import Checkpoint, Note
from sync.proof.evidence import read_bundle
from sync.verify.bundle_check import check_bundle
from sync.verify.policy import Policy
from sync.web.paper import FONT_PACKAGE, PANGO_PACKAGES
from tests.sync.county_month import at
from tests.sync.evidence_county import PROVINCE, SIGN_JPEG, DayOut, EvidenceCounty, begun

Month = tuple[EvidenceCounty, dict[str, str]]
HTML = {"Accept": "text/html"}


def url(visit: str, ending: str = "zip") -> str:
    return f"/api/visits/{visit}/evidence.{ending}"


@pytest.fixture(scope="module")
def sheet(evidence_month: Month) -> bytes:
    return asyncio.run(_sheet(*evidence_month))


async def _sheet(county: EvidenceCounty, visits: dict[str, str]) -> bytes:
    async with aclosing(await county.signed_in("xu.jing")) as client:
        answer = await client.get(url(visits["first"], "pdf"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    return answer.content


# the file -------------------------------------------------------------------------------------------------------------


async def test_what_is_downloaded_is_valid_under_the_policy_that_is_downloaded(evidence_month: Month) -> None:
    county, visits = evidence_month
    async with aclosing(await county.signed_in("xu.jing")) as client:
        answer = await client.get(url(visits["first"]))
        trust = await client.get("/policy.txt")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="evidence-{visits["first"]}.zip"'
    assert answer.headers["cache-control"] == "no-store"
    report = check_bundle(answer.content, Policy.parse(trust.content))
    assert report.wrong == ()
    assert [visit.claim.visit for visit in report.visits] == [visits["first"]]


async def test_a_village_s_month(evidence_month: Month) -> None:
    county, _ = evidence_month
    code = county.villages[0].code
    async with aclosing(await county.signed_in("he.ming")) as client:
        answer = await client.get(f"/api/villages/{code}/evidence.zip", params={"month": "2026-09"})
        wrong = await client.get(f"/api/villages/{code}/evidence.zip", params={"month": "2026-9"})
        none = await client.get(f"/api/villages/{code}/evidence.zip", params={"month": "2026-07"})
    assert len(read_bundle(answer.content).manifest.visits) == 3
    assert f"evidence-{code}-2026-09.zip" in answer.headers["content-disposition"]
    assert (wrong.status_code, none.status_code) == (422, 404)


async def test_the_same_evidence_is_the_same_file(evidence_month: Month) -> None:
    """Its hash stands on paper."""
    county, visits = evidence_month
    async with aclosing(await county.signed_in("xu.jing")) as client:
        answers = [(await client.get(url(visits["first"]))).content for _ in range(2)]
    assert answers[0] == answers[1]


async def test_every_download_is_noted(evidence_month: Month) -> None:
    county, visits = evidence_month
    async with aclosing(await county.signed_in("he.ming")) as client:
        await client.get(url(visits["short"]))
    (line,) = [
        line
        for line in Audit(county.county.database, county.clock).latest()
        if line.action == "evidence" and visits["short"] in line.what
    ]
    assert line.account == "he.ming"
    assert line.what.startswith(f"evidence-{visits['short']}.zip ")


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("shen.ruochuan", 403)])
async def test_evidence_is_for_administrator_and_auditor(evidence_month: Month, who: str | None, status: int) -> None:
    county, visits = evidence_month
    async with aclosing(await county.signed_in(who) if who else county.client()) as client:
        for path in (url(visits["first"]), url(visits["first"], "pdf"), "/api/villages/1/evidence.zip?month=2026-09"):
            assert (await client.get(path)).status_code == status


async def test_buttons_of_the_visit_page(evidence_month: Month) -> None:
    county, visits = evidence_month
    async with aclosing(await county.signed_in("xu.jing")) as client:
        page = (await client.get(f"/county/visits/{visits['first']}")).text
    assert f'href="{url(visits["first"])}"' in page
    assert f'href="{url(visits["first"], "pdf")}"' in page
    assert 'href="/verify.html"' in page


async def test_the_offline_verifier_is_for_everybody_and_opens_as_a_file(evidence_month: Month) -> None:
    county, _ = evidence_month
    async with aclosing(county.client()) as client:
        answer = await client.get("/verify.html")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="xunzhen-verify.html"'
    assert answer.content == verify_html.build()


# words when something is missing --------------------------------------------------------------------------------------


async def test_unknown_visits(evidence_month: Month) -> None:
    county, _ = evidence_month
    async with aclosing(await county.signed_in("xu.jing")) as client:
        for visit in ("visit-of-nobody", "..%2F..%2Fetc", "x" * 200):
            assert (await client.get(url(visit))).status_code == 404


async def test_what_is_still_missing_is_told_in_words(tmp_path: Path) -> None:
    county = EvidenceCounty(tmp_path, SimulatedClock(at(8, 31, 20)))
    (van,) = await begun(county, "van-07")
    outing = DayOut(van, county.villages[0], at(9, 1, 8, 20), people=1)
    visit = await outing.run()
    async with aclosing(await county.signed_in("xu.jing")) as client:
        early = await client.get(url(visit), headers=HTML)
        english = await client.get(url(visit), params={"lang": "en"})
        assert (early.status_code, english.status_code) == (409, 409)
        assert "还没有得到省级会签" in early.text
        assert "Not yet cosigned by the province" in english.json()["detail"]
        await county.witness()
        assert (await client.get(url(visit))).status_code == 200
        waiting = DayOut(van, county.villages[1], at(9, 2, 8, 20), people=1)
        waiting._go_to(waiting.since)
        waiting._write(waiting._opened())
        await van.deliver()
        still = await client.get(url(waiting.visit))
        assert still.status_code == 409
        assert "还没有结束" in still.json()["detail"]
    county.close()


# the printed sheet ----------------------------------------------------------------------------------------------------


def test_the_sheet_is_one_page_of_pdf_a_3b(sheet: bytes) -> None:
    with pikepdf.open(io.BytesIO(sheet)) as document:
        assert len(document.pages) == 1
        width, height = (float(side) for side in document.pages[0].mediabox[2:])
        assert (width, height) == pytest.approx((595.28, 841.89), abs=0.1), "A4"
        with document.open_metadata() as about:
            assert (about["pdfaid:part"], about["pdfaid:conformance"]) == ("3", "B")
            assert about["dc:title"].startswith("巡诊到村证明 ")
        (intent,) = document.Root.OutputIntents
        assert intent.S == "/GTS_PDFA1"
        assert "/Encrypt" not in document.trailer


def test_every_font_is_in_the_sheet(sheet: bytes) -> None:
    with pikepdf.open(io.BytesIO(sheet)) as document:
        fonts = [found for found in document.objects if isinstance(found, pikepdf.Dictionary) and _is_font(found)]
        assert len(fonts) >= 2
        for font in fonts:
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(font.keys()), f"{font.FontName} is not embedded"


def _is_font(found: pikepdf.Dictionary) -> bool:
    return found.get("/Type") == "/FontDescriptor"


def test_the_evidence_is_inside_the_sheet(evidence_month: Month, sheet: bytes) -> None:
    county, visits = evidence_month
    with pikepdf.open(io.BytesIO(sheet)) as document:
        ((name, attached),) = document.attachments.items()
        inside = attached.get_file().read_bytes()
        assert attached.relationship == "/Data"
        assert name == f"evidence-{visits['first']}.zip"
        assert {str(file.UF) for file in document.Root.AF} == {name}, "ISO 19005-3: an associated file of the document"
    assert inside == county.of_visit(visits["first"]).data
    assert check_bundle(inside, Policy.parse(county.policy)).wrong == ()


def drawn(sheet: bytes, folder: Path, dpi: int) -> Image.Image:
    (folder / "sheet.pdf").write_bytes(sheet)
    command = ["pdftoppm", "-r", str(dpi), "-png", "-singlefile", "sheet.pdf", "sheet"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return Image.open(folder / "sheet.png")


def test_the_code_on_paper_is_the_cosigned_checkpoint(evidence_month: Month, sheet: bytes, tmp_path: Path) -> None:
    """At the resolution of a fax machine's better days."""
    county, visits = evidence_month
    (code,) = zxingcpp.read_barcodes(drawn(sheet, tmp_path, 150))
    assert code.format == zxingcpp.BarcodeFormat.QRCode
    note = Note.parse(code.bytes)
    keys = [county.vans["van-07"].signer.verifier_key(), county.county.verifier_key, PROVINCE.verifier_key()]
    assert len(note.verified_by(keys)) == 3
    checkpoint = Checkpoint.parse(note.text)
    (visit,) = county.of_visit(visits["first"]).report.visits
    assert checkpoint.origin == "van-07.qingyu.example"
    assert checkpoint.size > visit.proof.evidence.last


def read(sheet: bytes, folder: Path) -> str:
    (folder / "sheet.pdf").write_bytes(sheet)
    command = ["pdftotext", "-layout", "sheet.pdf", "-"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60).stdout.decode()


def test_the_sheet_says_what_the_evidence_says(evidence_month: Month, sheet: bytes, tmp_path: Path) -> None:
    county, visits = evidence_month
    text = read(sheet, tmp_path)
    evidence = county.of_visit(visits["first"])
    groups = re.findall(r"\b[0-9a-f]{8}\b", text)
    assert "".join(groups[-8:]) == evidence.report.sha256 or evidence.report.sha256 in "".join(groups)
    for word in ("巡诊到村证明", "云坪村", "999901101201", "计入", "周敏", "T1", "T2", "不早于", "证据文件", "盖章"):
        assert word in text
    for word in ("Evidence of a village visit", "not before", "witness.province.example", "village doctor"):
        assert word in text


@pytest.mark.parametrize("name", ["short", "too close"])
async def test_visits_that_do_not_count_have_a_sheet_of_one_page_too(evidence_month: Month, name: str) -> None:
    county, visits = evidence_month
    async with aclosing(await county.signed_in("xu.jing")) as client:
        answer = await client.get(url(visits[name], "pdf"))
    assert answer.status_code == 200, answer.text
    with pikepdf.open(io.BytesIO(answer.content)) as document:
        assert len(document.pages) == 1


async def test_without_pango_the_rest_works(evidence_month: Month, monkeypatch: pytest.MonkeyPatch) -> None:
    county, visits = evidence_month
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    async with aclosing(await county.signed_in("xu.jing")) as client:
        page = await client.get(url(visits["first"], "pdf"), headers=HTML)
        assert page.status_code == 503
        assert PANGO_PACKAGES in page.text
        assert "证据文件不受影响" in page.text
        assert (await client.get(url(visits["first"]))).status_code == 200


def test_without_a_chinese_font_nothing_is_printed(tmp_path: Path) -> None:
    """In a process of its own: fonts are looked for once."""
    script = """
from datetime import UTC, datetime
from sync.web.paper import PrintingUnavailable, pdf_of
file = {"name": "a.zip", "string": b"x"}
assert pdf_of("<p>village</p>", [file], datetime.now(UTC)).startswith(b"%PDF")
try:
    pdf_of("<p>到村</p>", [file], datetime.now(UTC))
except PrintingUnavailable as missing:
    print(missing.packages)
"""
    fonts = "<fontconfig><dir>/usr/share/fonts/truetype/dejavu</dir></fontconfig>"
    config = tmp_path / "fonts.conf"
    config.write_text(f'<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">{fonts}')
    environment = {**os.environ, "FONTCONFIG_FILE": str(config), "XDG_CACHE_HOME": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=60)
    assert said.stdout.decode().strip() == FONT_PACKAGE


# the verifier ---------------------------------------------------------------------------------------------------------


async def test_anybody_may_have_the_verifier_and_it_needs_nothing(evidence_month: Month, tmp_path: Path) -> None:
    county, visits = evidence_month
    async with aclosing(county.client()) as client:
        (tmp_path / "verify.pyz").write_bytes((await client.get("/verify.pyz")).content)
        (tmp_path / "policy.txt").write_bytes((await client.get("/policy.txt")).content)
    (tmp_path / "evidence.zip").write_bytes(county.of_visit(visits["first"]).data)
    said = stand_alone(tmp_path, "--json")
    assert said.returncode == 0
    found: dict[str, Any] = json.loads(said.stdout)
    assert (found["result"], found["counted"], found["village_name"]) == ("valid", 1, "云坪村")
    (tmp_path / "evidence.zip").write_bytes(b"PK")
    assert stand_alone(tmp_path).returncode == 2


def stand_alone(folder: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    """Isolated, without site-packages, in an empty environment."""
    command = [sys.executable, "-I", "-S", "verify.pyz", "evidence.zip", "--policy", "policy.txt", *more]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, timeout=60)


# pictures -------------------------------------------------------------------------------------------------------------


async def test_a_picture_is_told_before_it_arrives_and_shown_once_it_has(evidence_month: Month) -> None:
    """Until then the page and the paper say that only its hash is here; then both show the very file."""
    county, visits = evidence_month
    name, path = sha256(SIGN_JPEG).hexdigest(), f"/county/visits/{visits['first']}"
    file = f"/api/visits/{visits['first']}/pictures/{name}"
    async with aclosing(await county.signed_in("xu.jing")) as client:
        assert "图片还没有送到县里" in (await client.get(path)).text
        assert (await client.get(file)).status_code == 404
        bare = (await client.get(url(visits["first"], "pdf"))).content
        county.county.blobs.append("van-07", name, 0, SIGN_JPEG, True, len(SIGN_JPEG))
        try:
            page = (await client.get(path)).text
            shown, strange = await client.get(file), await client.get(f"{file[:-64]}{'0' * 64}")
            other = await client.get(file.replace(visits["first"], visits["short"]))
            paper = (await client.get(url(visits["first"], "pdf"))).content
            told = (await client.get(f"/api/visits/{visits['first']}")).json()["pictures"]
        finally:
            county.county.blobs.remove(name)
    assert (shown.content, shown.headers["content-type"]) == (SIGN_JPEG, "image/jpeg")
    assert (strange.status_code, other.status_code) == (404, 404)
    assert f'<img src="{file}"' in page
    assert "在村界内" in page
    assert [(one["sha256"], one["outside_m"], one["during"]) for one in told] == [(name, 0, True)]
    with pikepdf.open(io.BytesIO(bare)) as read:
        assert len(read.attachments) == 1
    with pikepdf.open(io.BytesIO(paper)) as read:
        assert len(read.pages) == 1
        inside = {one: read.attachments[one].get_file().read_bytes() for one in read.attachments}
    assert inside[f"village_sign-{name[:16]}.jpg"] == SIGN_JPEG
    assert f"evidence-{visits['first']}.zip" in inside


async def test_pictures_are_for_administrator_and_auditor(evidence_month: Month) -> None:
    county, visits = evidence_month
    file = f"/api/visits/{visits['first']}/pictures/{sha256(SIGN_JPEG).hexdigest()}"
    async with aclosing(county.client()) as client:
        assert (await client.get(file)).status_code == 401
    async with aclosing(await county.signed_in("shen.ruochuan")) as client:
        assert (await client.get(file)).status_code == 403

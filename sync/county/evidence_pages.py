"""Routes of evidence: bundles, the printable sheet, the stand-alone verifier and the policy that it needs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from devices.events import emit
from sync import standalone, verify_html
from sync.county.evidence_maker import Evidence, EvidenceMaker, EvidenceMissing
from sync.county.evidence_sheet import Printer, Sheet
from sync.county.map_view import visit_map
from sync.county.pages import NOT_KEPT, READERS
from sync.county.policy import policy_text
from sync.county.visit_images import image_of
from sync.county.visit_report import VisitReport, VisitReports
from sync.proof.coverage import month_of
from sync.verify.policy import Policy
from sync.web.access import PUBLIC, roles
from sync.web.catalog import Texts, texts
from sync.web.paper import PrintingUnavailable

if TYPE_CHECKING:
    from sync.county.app import County

ZIP_TYPE = "application/zip"
PDF_TYPE = "application/pdf"
VERIFIER_TYPE = "application/x-python-zip-application"
HTML_TYPE = "text/html; charset=utf-8"
_STATUS = {"no_visit": 404}
"""HTTP status by the reason why there is no evidence; 409 when it may be there later."""

router = APIRouter()


@router.get("/api/visits/{visit}/evidence.zip")
@roles(*READERS)
async def visit_bundle(request: Request, visit: str) -> Response:
    found = await run_in_threadpool(_evidence_of_visit, request, visit[:60])
    return await _download(request, found[1], found[1].data, ZIP_TYPE, "zip")


@router.get("/api/visits/{visit}/evidence.pdf")
@roles(*READERS)
async def visit_sheet(request: Request, visit: str) -> Response:
    report, evidence = await run_in_threadpool(_evidence_of_visit, request, visit[:60])
    written = await run_in_threadpool(_printed, request, report, evidence)
    return await _download(request, evidence, written, PDF_TYPE, "pdf")


@router.get("/api/visits/{visit}/pictures/{sha256}")
@roles(*READERS)
async def visit_picture(request: Request, visit: str, sha256: str) -> Response:
    """A picture of the visit: the very file of which its entry names the hash."""
    county = _county(request)
    report = await run_in_threadpool(_found, request, visit[:60])
    named = (one for one in report.pictures if one.sha256 == sha256)
    picture = next(named, None)
    body = await run_in_threadpool(image_of, county.blobs, picture) if picture is not None else None
    if picture is None or body is None:
        raise HTTPException(404, _words(request)("county.picture.not_here"))
    return Response(body, headers={**NOT_KEPT, "X-Content-Type-Options": "nosniff"}, media_type=picture.media_type)


@router.get("/api/villages/{code}/evidence.zip")
@roles(*READERS)
async def village_bundle(
    request: Request,
    code: str,
    month: Annotated[str, Query(max_length=20)],
    practice: Annotated[str | None, Query(pattern="^[01]$")] = None,
) -> Response:
    evidence = await run_in_threadpool(_evidence_of_village, request, code[:20], month, practice)
    return await _download(request, evidence, evidence.data, ZIP_TYPE, "zip")


@router.get("/verify.pyz")
@roles(PUBLIC)
async def verifier(request: Request) -> Response:
    """The same for everybody, and worth nothing without a policy from a source that one trusts."""
    body = await run_in_threadpool(_verifier)
    return Response(body, headers=_attached("xunzhen-verify.pyz"), media_type=VERIFIER_TYPE)


@router.get("/verify.html")
@roles(PUBLIC)
async def verifier_page(request: Request) -> Response:
    """To be saved and opened as a file: whoever checks evidence should not need the county's server for it."""
    body = await run_in_threadpool(_verifier_page)
    return Response(body, headers=_attached("xunzhen-verify.html"), media_type=HTML_TYPE)


@router.get("/policy.txt")
@roles(PUBLIC)
async def policy(request: Request) -> Response:
    """Public keys only."""
    return Response(trusted(_county(request)), headers=_attached("policy.txt"), media_type="text/plain; charset=utf-8")


@lru_cache(maxsize=1)
def _verifier() -> bytes:
    return standalone.build()


@lru_cache(maxsize=1)
def _verifier_page() -> bytes:
    return verify_html.build()


def trusted(county: County) -> str:
    """The county's policy: its registry, its cosigner and the province's."""
    return policy_text(county.registry.verifier_key, county.verifier_key, county.witnessing.key) + "\n"


def maker(county: County) -> EvidenceMaker:
    trust = Policy.parse(trusted(county).encode())
    return EvidenceMaker(county.database, county.mirror, county.coverage, county.settings.origin, trust)


def _evidence_of_visit(request: Request, visit: str) -> tuple[VisitReport, Evidence]:
    report = _found(request, visit)
    month = report.judged.case.facts.day.replace(day=1)
    try:
        return report, maker(_county(request)).of_visit(visit, month, report.record.practice)
    except EvidenceMissing as missing:
        raise _refusal(request, missing, visit) from None


def _found(request: Request, visit: str) -> VisitReport:
    county = _county(request)
    report = VisitReports(county.database, county.visits, county.coverage).find(visit)
    if report is None:
        raise HTTPException(404, f"there is no visit {visit!r}")
    return report


def _evidence_of_village(request: Request, code: str, month: str, practice: str | None) -> Evidence:
    county = _county(request)
    try:
        first = month_of(month)
    except ValueError as fault:
        raise HTTPException(422, str(fault)) from None
    shown = county.coverage.default_practice() if practice is None else practice == "1"
    try:
        return maker(county).of_village(code, first, shown)
    except EvidenceMissing as missing:
        raise _refusal(request, missing, f"{code} {month}") from None


def _printed(request: Request, report: VisitReport, evidence: Evidence) -> bytes:
    county = _county(request)
    sheet = Sheet(
        county=county.settings.name,
        evidence=evidence,
        report=report,
        drawing=visit_map(report, evidence.report.registry.around(report.record.village)),
        made_at=county.clock.now(),
        images=tuple((one, image_of(county.blobs, one)) for one in report.pictures),
    )
    try:
        return Printer(Path(__file__).parent / "templates").pdf(sheet)
    except PrintingUnavailable as missing:
        emit("printing_unavailable", packages=missing.packages)
        raise HTTPException(503, _words(request)("county.evidence.no_printing", packages=missing.packages)) from None


def _refusal(request: Request, missing: EvidenceMissing, what: str) -> HTTPException:
    """In words, and what to do next; the detail goes to the log."""
    emit("evidence_missing", what=what, reason=missing.reason, detail=str(missing)[:300])
    status = _STATUS.get(missing.reason, 409)
    return HTTPException(status, _words(request)(f"county.evidence.{missing.reason}"))


def _words(request: Request) -> Texts:
    return texts(_county(request).pages.language(request))


async def _download(request: Request, evidence: Evidence, body: bytes, media_type: str, ending: str) -> Response:
    """Every download is noted, with the hash by which a paper can be told from another."""
    county, name = _county(request), f"{evidence.name}.{ending}"
    what = f"{name} {evidence.report.sha256[:16]}"
    await run_in_threadpool(county.audit.note, request.state.caller.id, "evidence", what)
    return Response(body, headers={**NOT_KEPT, **_attached(name)}, media_type=media_type)


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county

"""The printable sheet of a visit: one page of PDF/A-3b (ISO 19005-3) with the evidence attached inside.

Chinese first, English beside it: map, facts and verdict, the bracket in time, who cosigned, the SHA-256 of the evidence
and, as a QR code, the cosigned checkpoint itself. WeasyPrint draws it with Pango, which is not everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sync.county import visit_words
from sync.county.evidence_maker import Evidence
from sync.county.map_view import VisitMap
from sync.county.visit_images import ENDINGS
from sync.county.visit_report import VisitReport
from sync.proof.presence import LOCAL
from sync.proof.visit_pictures import SIGNATURE, VILLAGE_SIGN, VisitPicture
from sync.verify.bundle_check import CheckedVisit
from sync.web.catalog import Texts, texts
from sync.web.paper import pdf_of, picture_url

_HASH_GROUP = 8
_MOST_STAFF = 6


@dataclass(frozen=True)
class Sheet:
    """What is printed. ``made_at``: of the evidence; ``images``: of the visit, None where the file is not here."""

    county: str
    evidence: Evidence
    report: VisitReport
    drawing: VisitMap
    made_at: datetime
    images: tuple[tuple[VisitPicture, bytes | None], ...] = ()

    @property
    def visit(self) -> CheckedVisit:
        """The visit that the sheet is of: others may be in the evidence because its verdict rests on them."""
        wanted = self.report.judged.case.facts.visit
        return next(visit for visit in self.evidence.report.visits if visit.claim.visit == wanted)


class Printer:
    """:param folder: of the template. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def html(self, sheet: Sheet) -> str:
        return self._environment.get_template("evidence-sheet.html").render(_context(sheet))

    def pdf(self, sheet: Sheet) -> bytes:
        """:raises PrintingUnavailable: Pango or a Chinese font is missing on this server"""
        sha256 = sheet.evidence.report.sha256
        evidence = {"name": f"{sheet.evidence.name}.zip", "description": f"Evidence, SHA-256 {sha256}"}
        files = [evidence | {"string": sheet.evidence.data}]
        for picture, image in sheet.images:
            if image is not None:
                name = f"{picture.what}-{picture.sha256[:16]}.{ENDINGS[picture.media_type]}"
                about = {"name": name, "description": f"{picture.what}, SHA-256 {picture.sha256}"}
                files.append(about | {"string": image})
        return pdf_of(self.html(sheet), files, sheet.made_at)


# what the template shows ----------------------------------------------------------------------------------------------


def _context(sheet: Sheet) -> dict[str, Any]:
    visit, facts = sheet.visit, sheet.visit.proof.facts
    registry, bracket = sheet.evidence.report.registry, sheet.visit.proof.bracket
    sha256 = sheet.evidence.report.sha256
    return {
        "county": sheet.county,
        "sheet": sheet,
        "visit": visit,
        "facts": facts,
        "proof": visit.proof,
        "stays": visit.proof.stays,
        "bracket": bracket,
        "width": bracket.width if bracket else None,
        "registry": registry,
        "practice": sheet.evidence.report.manifest.practice,
        "both": _Both(texts("zh"), texts("en")),
        "zh": texts("zh"),
        "en": texts("en"),
        "duration": visit_words.duration,
        "duty_role": visit_words.duty_role,
        "local": lambda at: at.astimezone(LOCAL),
        "short": _short,
        "qr": qr_code(checkpoint_note(sheet)),
        "hash_groups": [sha256[at : at + _HASH_GROUP] for at in range(0, len(sha256), _HASH_GROUP)],
        "bar": _bar(sheet),
        "staff": _staff(sheet),
        "sign": _newest(sheet, VILLAGE_SIGN),
        "signed": _newest(sheet, SIGNATURE),
        "pictures_inside": sum(image is not None for _, image in sheet.images),
    }


class _Both:
    """One text in both languages."""

    def __init__(self, zh: Texts, en: Texts) -> None:
        self._zh, self._en = zh, en

    def __call__(self, key: str, **values: object) -> tuple[str, str]:
        return self._zh(key, **values), self._en(key, **values)


def _newest(sheet: Sheet, what: str) -> tuple[VisitPicture, str] | None:
    """The newest picture of a kind, with the URL of its file; "" where that is not here."""
    found = [(picture, image) for picture, image in sheet.images if picture.what == what]
    if not found:
        return None
    picture, image = found[-1]
    return picture, picture_url(image, picture.media_type) if image is not None else ""


def _staff(sheet: Sheet) -> list[tuple[str, str]]:
    """Name and role of those whom the evidence proves to have been on duty; at most what the page has room for."""
    names = {row["person"]: row["name"] for row in sheet.report.crew}
    proven = sorted(sheet.visit.proof.facts.staff)
    return [(names.get(person) or person, role) for person, role in proven[:_MOST_STAFF]]


def checkpoint_note(sheet: Sheet) -> bytes:
    """The last checkpoint of the visit's journal that is cosigned as the policy asks: what the QR code holds."""
    return sheet.visit.sealed_note


def qr_code(note: bytes) -> str:
    """SVG without a size of its own; error correction M."""
    code = segno.make(note, mode="byte", error="m", boost_error=False, micro=False)
    return code.svg_inline(omitsize=True, border=2, dark="#111")


def _short(origin: str) -> str:
    return origin.partition(".")[0]


def _bar(sheet: Sheet) -> Mapping[str, float] | None:
    """The stay between T1 and T2, as parts of the whole; never narrower than can be seen."""
    bracket, stays = sheet.visit.proof.bracket, sheet.visit.proof.stays
    if bracket is None or bracket.known_at is None or bracket.sealed_at is None or not stays:
        return None
    whole = max(bracket.sealed_at - bracket.known_at, timedelta(seconds=1))
    left = (stays[0].arrived_at - bracket.known_at) / whole
    right = (stays[-1].left_at - bracket.known_at) / whole
    return {"left": min(0.97, max(0.0, left)), "width": max(0.03, min(1.0, right) - max(0.0, left))}

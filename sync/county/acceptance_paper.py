"""The acceptance report on A4 (PDF/A-3b, with the file to check inside) and as a workbook of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sync.county.acceptance_brief import paper_tables
from sync.county.acceptance_report import AcceptanceReport
from sync.county.acceptance_tables import ReportTable, hours, period_name
from sync.county.evidence_sheet import qr_code
from sync.county.follow_up_report import shown
from sync.county.office_sheet import OfficeSheet, office_book
from sync.proof.presence import LOCAL
from sync.web.catalog import Texts
from sync.web.paper import pdf_of

HASH_GROUP = 8


@dataclass(frozen=True)
class AcceptancePaper:
    """:ivar checkpoint: the registry's newest cosigned checkpoint, as a signed note; None while there is none
    :ivar proof: the file to check, by its name; None while there is none
    :ivar workbook: name of the file with every row, which lies inside where paper has less
    """

    county: str
    report: AcceptanceReport
    tables: Sequence[ReportTable]
    checkpoint: bytes | None
    proof: tuple[str, bytes] | None
    workbook: str
    made_at: datetime


def acceptance_xlsx(report: AcceptanceReport, tables: Sequence[ReportTable], county: str, t: Texts) -> bytes:
    """A sheet for each table, with the same numbers as the page."""
    mark = f" {t('county.practice_mark')}" if report.practice else ""
    sheets = []
    for table in tables:
        title = f"{county} {t('county.acceptance.title')} {period_name(report.period, t)}{mark} · {table.title}"
        name = t(f"county.acceptance.sheet_{table.name.replace('-', '_')}") + mark
        lines = [*table.rows, *([table.total] if table.total else [])]
        rows = [[cell.value for cell in line] for line in lines]
        sheets.append(OfficeSheet(title, name, [column.head for column in table.columns], rows, table.notes))
    return office_book(sheets)


def acceptance_html(paper: AcceptancePaper, t: Texts) -> str:
    return _environment().get_template("acceptance-paper.html").render(_context(paper, t))


def acceptance_pdf(paper: AcceptancePaper, t: Texts) -> bytes:
    """:raises sync.web.paper.PrintingUnavailable: Pango or a Chinese font is missing on this server"""
    attached: list[Mapping[str, Any]] = []
    if paper.proof is not None:
        name, content = paper.proof
        attached.append({"name": name, "description": "Sealed months with their proofs", "string": content})
    if _shortened(paper, t):
        book = acceptance_xlsx(paper.report, paper.tables, paper.county, t)
        attached.append({"name": paper.workbook, "description": "Every row of every table", "string": book})
    return pdf_of(acceptance_html(paper, t), attached, paper.made_at)


def _shortened(paper: AcceptancePaper, t: Texts) -> bool:
    return paper_tables(paper.report, paper.tables, t) != tuple(paper.tables)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _context(paper: AcceptancePaper, t: Texts) -> dict[str, Any]:
    registry = paper.report.registry
    root = registry.root.hex() if registry is not None else ""
    return {
        "paper": paper,
        "report": paper.report,
        "tables": paper_tables(paper.report, paper.tables, t),
        "attached": [*([paper.proof[0]] if paper.proof else ()), *([paper.workbook] if _shortened(paper, t) else ())],
        "t": t,
        "title": period_name(paper.report.period, t),
        "hours": hours,
        "shown": shown,
        "local": lambda at: at.astimezone(LOCAL),
        "page_words": t("county.acceptance.page_of", page="|", pages="|").split("|"),
        "root_groups": [root[at : at + HASH_GROUP] for at in range(0, len(root), HASH_GROUP)],
        "qr": qr_code(paper.checkpoint) if paper.checkpoint is not None else "",
    }

"""Whether a paper that somebody holds says what a van's journal says: found by the number that stands on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from sync.county.database import Database, Row
from sync.county.schema import logs, projected
from sync.formats import slips
from sync.formats.records import parse_time

PREFIX = "XZ1"
"""What the QR code of a slip begins with; behind it origin and number."""


@dataclass(frozen=True, slots=True)
class SlipFound:
    """:ivar genuine: the number is that of this very content
    :ivar rows: what stands on the paper, line by line: (label, text); empty for what is no slip
    """

    origin: str
    reference: str
    form: str
    made_at: datetime
    state: str
    destination: str
    village: str
    township: str
    whose: str
    """The name as it stands on lists: masked."""
    title: str
    rows: tuple[tuple[str, str], ...]
    genuine: bool
    practice: bool


def number_of(said: str) -> tuple[str, str]:
    """(origin or empty, number) of what somebody typed or scanned: "7f3k 2m9q", or a whole QR code."""
    words = "".join(said.split())
    parts = words.split(":")
    origin = parts[1] if len(parts) == 3 and parts[0].upper() == PREFIX else ""
    return origin, parts[-1].upper()


def find(database: Database, said: str) -> list[SlipFound]:
    """Every print of that number: one, as good as always; nothing when no journal has it."""
    origin, reference = number_of(said)
    prints, visits, patients = (projected[name] for name in ("prints", "visits", "patients"))
    wanted = (prints.c.reference == reference) & prints.c.asked_at.is_not(None)
    if origin:
        wanted &= prints.c.origin == origin
    of_visit = (visits.c.origin == prints.c.origin) & (visits.c.visit == prints.c.visit)
    of_patient = (patients.c.origin == prints.c.origin) & (patients.c.patient == prints.c.patient)
    query = (
        select(prints, visits.c.village_name, visits.c.township, patients.c.name, logs.c.practice)
        .select_from(
            prints.outerjoin(visits, of_visit)
            .outerjoin(patients, of_patient)
            .outerjoin(logs, logs.c.origin == prints.c.origin)
        )
        .where(wanted)
        .order_by(prints.c.asked_at)
    )
    return [_found(row) for row in database.rows(query)]


def _found(row: Row) -> SlipFound:
    content = json.loads(row["content_json"] or "{}")
    try:
        slip = slips.slip_of(content)
        title, rows = slip.title, tuple(_rows(slip))
    except slips.SlipUnreadable:
        title, rows = "", ()
    return SlipFound(
        origin=row["origin"],
        reference=row["reference"],
        form=row["form"],
        made_at=parse_time(row["asked_at"]),
        state=row["state"],
        destination=row["destination"],
        village=row["village_name"] or "",
        township=row["township"] or "",
        whose=masked(row["name"] or ""),
        title=title,
        rows=rows,
        genuine=slips.reference(row["print"], content) == row["reference"],
        practice=bool(row["practice"]),
    )


def masked(name: str) -> str:
    """ "杨**": the family name, as lists have it."""
    return name[:1] + "*" * (len(name) - 1)


def _rows(slip: slips.Slip) -> list[tuple[str, str]]:
    found = []
    for block in slip.blocks:
        match block:
            case slips.Fact(label, text) | slips.Passage(label, text) | slips.Emphasis(label, text):
                found.append((label, text))
            case slips.Value(label, text, unit, _, word):
                found.append((label, " ".join(part for part in (text, unit, word and f"[{word}]") if part)))
    return found

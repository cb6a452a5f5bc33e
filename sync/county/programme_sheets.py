"""The county's lists as .xlsx: counts by village with small cells suppressed, or line by line with names.

Headings in Chinese, whatever the page's language: the sheets go to Chinese offices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from sync.county.long_sheet import long_sheet
from sync.county.office_sheet import office_sheet
from sync.county.programme_lists import IN_TIME_MINUTES, Line, VillageCount
from sync.web.catalog import Texts

SMALL = 5
"""Cells from one to below this are not shown exactly (domain notes, section 5.16)."""
_NAMED = ("number", "township", "village", "code", "name", "sex", "born_on", "id_tail", "phone", "address", "what")
_WIDTHS = (6, 14, 14, 14, 12, 6, 12, 10, 15, 30, 18, 14, 12, 16)


def shown(count: int) -> str | int:
    """A count as it may be shown: "<5" for small ones."""
    return count if count == 0 or count >= SMALL else f"<{SMALL}"


def total(counts: Sequence[int]) -> str | int:
    """The sum below a column; not given where it would tell the only cell that is not shown."""
    hidden = sum(0 < count < SMALL for count in counts)
    return shown(sum(counts)) if hidden != 1 else "–"


def counted_xlsx(
    name: str,
    counts: Sequence[VillageCount],
    closed: tuple[int, int, int],
    county: str,
    day: date,
    practice: bool,
    t: Texts,
) -> bytes:
    """How many people of each village are on the list, by what puts them there; nobody can be told from it.

    :param closed: of red values: how many, closed in time, not closed at all
    """
    kinds = sorted({one.what for one in counts})
    people = {(one.village, one.what): one.people for one in counts}
    villages = {one.village: one for one in counts}
    heads = [t(f"county.lists.{one}") for one in ("township", "village", "code")]
    heads += [word(name, kind, t) for kind in kinds]
    rows: list[list[str | int]] = []
    for code in sorted(villages):
        where = villages[code]
        cells = [shown(people.get((code, kind), 0)) for kind in kinds]
        rows.append([where.township, where.village_name or t("county.lists.no_village"), code, *cells])
    sums = [total([people.get((code, kind), 0) for code in villages]) for kind in kinds]
    rows.append([t("county.lists.total"), "", "", *sums])
    notes = [t("county.lists.note_counts", small=SMALL)]
    if name == "critical":
        every, in_time, still_open = map(shown, closed)
        facts = {"all": every, "in_time": in_time, "open": still_open, "minutes": IN_TIME_MINUTES}
        notes.append(t("county.lists.note_critical", **facts))
    return office_sheet(_title(name, county, day, practice, t), t("county.lists.sheet"), heads, rows, notes)


def named_xlsx(
    name: str, lines: Iterable[Line], county: str, day: date, practice: bool, by: str, reason: str, t: Texts
) -> tuple[bytes, int]:
    """Line by line with names, for who has to act, and how many lines; who made it and why stands on the sheet."""
    heads = [t(f"county.lists.{one}") for one in _NAMED]
    heads += [t("county.lists.source"), t("county.lists.on")]
    if name == "poverty":
        heads.append(t("county.lists.household"))
    if name == "critical":
        heads.append(t("county.lists.minutes"))
    rows = (_named_row(name, number, line, t) for number, line in enumerate(lines, start=1))
    notes = [t("county.lists.note_named", by=by, reason=reason), t(f"county.lists.note_{name}_named")]
    title = _title(name, county, day, practice, t)
    return long_sheet(title, t("county.lists.sheet"), heads, rows, notes, _WIDTHS[: len(heads)])


def word(name: str, kind: str, t: Texts) -> str:
    """A disease, symptom or kind of value in words."""
    for key in (f"critical.finding_{kind}", f"touch.condition.{kind}", f"county.lists.{kind}", f"touch.tile.{kind}"):
        if key in t:
            return t(key)
    return kind


def _named_row(name: str, number: int, line: Line, t: Texts) -> list[str | int]:
    one = line.person
    sex = t(f"touch.sex.{one.sex}") if f"touch.sex.{one.sex}" in t else one.sex
    source = f"county.lists.source_{line.source or 'open'}"
    row: list[str | int] = [
        number,
        one.township,
        one.village_name,
        one.village,
        one.name,
        sex,
        one.born_on,
        one.id_last4,
        one.phone,
        one.address,
        word(name, line.what, t),
        t(source) if source in t else line.source,
        line.on.isoformat(),
    ]
    if name == "poverty":
        row.append(t(f"touch.monitored.{line.household}"))
    if name == "critical":
        row.append(line.minutes if line.minutes is not None else "–")
    return row


def _title(name: str, county: str, day: date, practice: bool, t: Texts) -> str:
    title = t(f"county.lists.title_{name}", county=county, day=day.isoformat())
    return f"{title} {t('county.practice_mark')}" if practice else title

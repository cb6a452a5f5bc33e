"""The period of an acceptance report: a quarter, a year, or any whole months up to the two years of a pilot. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from sync.proof.coverage import end_of_month, month_of, other_month

MOST_MONTHS = 24
"""A project of the programme lasts one year, its pilots two (domain notes, table 1.1)."""
_QUARTER = re.compile(r"(\d{4})-Q([1-4])")
_YEAR = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class Period:
    """:ivar first: its first day, the first of a month"""

    first: date
    months: int

    @classmethod
    def parse(cls, text: str) -> Period:
        """Written "2026", "2026-Q3", or "2025-11..2026-10".

        :raises ValueError: none of these, outside 2000 to 2100, ends before it begins, or more than ``MOST_MONTHS``
        """
        quarter = _QUARTER.fullmatch(text)
        if quarter:
            return cls(month_of(f"{quarter[1]}-{int(quarter[2]) * 3 - 2:02d}"), 3)
        if _YEAR.fullmatch(text):
            return cls(month_of(f"{text}-01"), 12)
        first, dots, last = text.partition("..")
        if not dots:
            raise ValueError(f"{text[:20]!r} is not a period: write 2026, 2026-Q3 or 2025-11..2026-10")
        begins, ends = month_of(first), month_of(last)
        months = (ends.year - begins.year) * 12 + ends.month - begins.month + 1
        if not 1 <= months <= MOST_MONTHS:
            raise ValueError(f"{text[:20]!r} is no period of 1 to {MOST_MONTHS} months")
        return cls(begins, months)

    @classmethod
    def quarter_of(cls, day: date) -> Period:
        return cls(date(day.year, (day.month - 1) // 3 * 3 + 1, 1), 3)

    @classmethod
    def year_of(cls, day: date) -> Period:
        return cls(date(day.year, 1, 1), 12)

    @property
    def kind(self) -> str:
        """Of "quarter", "year" and "months"."""
        if self.months == 3 and self.first.month % 3 == 1:
            return "quarter"
        return "year" if self.months == 12 and self.first.month == 1 else "months"

    @property
    def name(self) -> str:
        """As ``parse`` reads it."""
        if self.kind == "quarter":
            return f"{self.first:%Y}-Q{self.first.month // 3 + 1}"
        return f"{self.first:%Y}" if self.kind == "year" else f"{self.first:%Y-%m}..{self.last:%Y-%m}"

    @property
    def last(self) -> date:
        """Its last day."""
        return end_of_month(other_month(self.first, self.months - 1))

    def __iter__(self) -> Iterator[date]:
        """The first days of its months."""
        return (other_month(self.first, place) for place in range(self.months))

    def moved(self, periods: int) -> Period:
        """As many months, so many periods later (or earlier)."""
        return Period(other_month(self.first, self.months * periods), self.months)

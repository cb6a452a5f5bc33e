"""What messages of analysers have in common: text, numbers, times. Pure.

A result stays what it is: "<0.5" is a bound, "++++", "-----" and "neg" are words, and nothing but a plain number is
taken for one. ASTM E1394 and HL7 v2 write times as ``YYYYMMDD[HH[MM[SS]]]`` by the analyser's own clock, without zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from devices.analytes import analyte_of
from devices.readings import LaboratoryResult, LaboratoryValue

MAX_VALUES = 60
"""In one result; a longer report becomes several, so that each fits into a journal entry, whatever is in it."""
MAX_WORD, MAX_UNIT = 40, 24
MAX_SAID = 60
"""Longer "results" are pictures and histograms: their beginning is kept, and an ellipsis."""
MAX_REMARKS, MAX_REMARK = 10, 100
NO_RESULT = "---"
"""What stands for a result that there is none of, whatever was sent in its place."""
PRELIMINARY = ("P", "R", "S")
"""Status of a value that another one will follow: preliminary, entered and not verified, partial."""

_NUMBER = re.compile(r"(<=|>=|<|>|≤|≥)?\s*(-?[0-9]{1,9}(?:\.[0-9]{1,6})?)")
_COMPARATORS = {"≤": "<=", "≥": ">="}
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?")
_DASHED_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")


def decoded(raw: bytes) -> str:
    """UTF-8, else GB18030, else Latin-1: no message says reliably which (MSH-18 "UNICODE" and "ASCII" are no charsets).

    Decoded before it is cut: the second byte of a GB18030 character may be ``|``, ``^`` or a backslash.
    """
    for charset in ("utf-8", "gb18030"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def word(text: str, most: int = MAX_WORD) -> str:
    """``text`` without control characters and outer blanks, cut to ``most``."""
    plain = "".join(letter for letter in text if letter.isprintable()).strip()
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def number_of(said: str) -> tuple[float | None, str | None]:
    """(number, comparator) of a result; (None, None) for anything that is not exactly a number.

    "+1", "1+", "1:40", "6,4" and "1.2e3" are none: who writes so may mean something else.
    """
    found = _NUMBER.fullmatch(said.strip())
    if found is None:
        return None, None
    sign = found.group(1)
    return float(found.group(2)), None if sign is None else _COMPARATORS.get(sign, sign)


def time_of(said: str) -> str | None:
    """ISO 8601 without zone, as the analyser's clock showed it; a bare date stays a date; None: not a time."""
    text = said.strip()
    dashed = _DASHED_DATE.fullmatch(text)
    found = _TIME.match(text.replace("-", "") if dashed else text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        moment = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None
    return moment.isoformat(timespec="seconds") if found.group(4) else moment.date().isoformat()


def laboratory_value(
    sender: str,
    code: str,
    said: str,
    unit: str = "",
    loinc: str | None = None,
    reference_range: str = "",
    flags: Iterable[str] = (),
    status: str = "",
    obtained: bool = True,
) -> LaboratoryValue:
    """One analyte as sent, with what our map knows of it.

    :param sender: what the analyser calls itself
    :param loinc: where the analyser itself gives the LOINC code
    :param obtained: False: its status says that there is no result, whatever stands in its place
    """
    code, unit, status = word(code), word(unit, MAX_UNIT), word(status, 4)
    said = word(said, MAX_SAID) if obtained else NO_RESULT
    number, comparator = number_of(said)
    analyte = analyte_of(sender, code, unit, loinc)
    quantity = None
    if analyte is not None and number is not None and (unit or analyte.ucum in ("1", "[pH]")):
        quantity = analyte.converted(number, unit)
    return LaboratoryValue(
        code=code,
        said=said,
        unit=unit,
        key=analyte.key if analyte else None,
        number=number,
        comparator=comparator,
        quantity=quantity,
        ucum=analyte.ucum if analyte and quantity is not None else None,
        reference_range=word(reference_range),
        flags=tuple(flag for flag in (word(flag, 8) for flag in flags) if flag and obtained)[:6],
        status=status,
    )


def in_entries(result: LaboratoryResult) -> Iterator[LaboratoryResult]:
    """The same in results of at most ``MAX_VALUES`` values; nothing for a result without any."""
    for start in range(0, len(result.values), MAX_VALUES):
        yield replace(result, values=result.values[start : start + MAX_VALUES])


def field_at(fields: Sequence[str], number: int) -> str:
    """Field ``number`` as the standards count (1 is the type of the record); empty where the record is shorter."""
    return fields[number - 1] if len(fields) >= number else ""

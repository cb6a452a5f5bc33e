"""How values, times and sizes are written on the touchscreen. Local time exists here and in the templates only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sync.proof.presence import LOCAL
from sync.web.catalog import Texts
from vehicle.clinic import laboratory_report

MISSING = "–"


def local_time(at: datetime | str | None) -> str:
    """ "11:04", or a dash; accepts the journal's ISO text."""
    moment = _moment(at)
    return MISSING if moment is None else moment.astimezone(LOCAL).strftime("%H:%M")


def local_day(at: datetime | date | str | None, t: Texts) -> str:
    """ "11月21日" or "21 Nov"."""
    if isinstance(at, str) and len(at) == 10:
        at = date.fromisoformat(at)
    if isinstance(at, date) and not isinstance(at, datetime):
        day: date = at
    else:
        moment = _moment(at)
        if moment is None:
            return MISSING
        day = moment.astimezone(LOCAL).date()
    month = t("touch.month").split()[day.month - 1]
    return t("touch.day", month=month, day=day.day)


def weekday(at: datetime, t: Texts) -> str:
    return t("touch.weekday").split()[at.astimezone(LOCAL).weekday()]


def hours_minutes(seconds: float | None) -> str:
    """ "2:52"; a dash for None."""
    if seconds is None:
        return MISSING
    minutes = int(seconds) // 60
    return f"{minutes // 60}:{minutes % 60:02d}"


def minutes_seconds(seconds: float | None) -> str:
    """ "03:12"; a dash for None."""
    return MISSING if seconds is None else f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def span(seconds: float, t: Texts) -> str:
    """ "6 分钟", "2 小时", "3 天": the largest unit that says enough."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return t("touch.span.seconds", n=max(0, int(seconds)))
    if minutes < 90:
        return t("touch.span.minutes", n=minutes)
    if minutes < 48 * 60:
        return t("touch.span.hours", n=round(minutes / 60))
    return t("touch.span.days", n=round(minutes / 1440))


def byte_size(count: int | None) -> str:
    """ "3.4 MB" in decimal units."""
    if count is None:
        return MISSING
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            shown = count / size
            return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:.1f} {unit}"
    return f"{count} B"


def measured(values: Mapping[str, Any], name: str) -> float | None:
    """A number of a reading, whichever way it is kept: as itself or as the journal's integer times 100 (``_e2``)."""
    if values.get(name) is not None:
        return float(values[name])
    scaled = values.get(f"{name}_e2")
    return None if scaled is None else float(scaled) / 100


def value_text(kind: str, values: Mapping[str, Any] | None) -> str:
    """The number as it stands on a tile: "162/98", "6.4", "96", "36.6"; a dash where there is none."""
    values = values or {}
    if kind == "blood_pressure":
        pair = (measured(values, "systolic_mmhg"), measured(values, "diastolic_mmhg"))
        return MISSING if None in pair else "/".join(f"{number:.0f}" for number in pair)
    if kind == laboratory_report.TYPE:
        return ", ".join(laboratory_report.summary(values)[:2]) or MISSING
    name, digits = {
        "glucose": ("glucose_mmol_l", 1),
        "pulse_oximetry": ("spo2_percent", 0),
        "temperature": ("temperature_c", 1),
        "weight": ("weight_kg", 1),
        "heart_rate": ("heart_rate_bpm", 0),
        "uric_acid": ("uric_acid_umol_l", 0),
    }.get(kind, (kind, 0))
    number = measured(values, name)
    if number is None:
        return {"low": "LO", "high": "HI"}.get(str(values.get("range")), MISSING)
    return f"{number:.{digits}f}"


def input_text(given: object, t: Texts) -> str:
    """An input of a rule: numbers without needless zeros, yes and no in words, codes of sex in words."""
    if isinstance(given, bool):
        return t("touch.answer.yes" if given else "touch.answer.no")
    if isinstance(given, float):
        return f"{given:g}"
    sexes = {"M": "male", "F": "female"}
    return t(f"touch.sex.{sexes[given]}") if isinstance(given, str) and given in sexes else str(given)


def printed_place(where: str) -> str:
    """Where in a source something stands, without its web address: nobody opens one on this panel.

    Empty when nothing else was said.
    """
    said = re.sub(r"\s*(secondary page|text reproduced at|seen on|at)?\s*https?://[^\s;,]+", "", where)
    return said.strip(" ;,")


def reason_text(reason: str, t: Texts) -> str:
    """Why something happened: a code ("link lost", "link_lost") in words, what a person typed as it was typed.

    A code may have more below it, in a line of its own, that a person typed.
    """
    first, _, typed = reason.partition("\n")
    key = f"touch.consult.reason.{'_'.join(first.lower().split())}"
    said = t(key) if re.fullmatch(r"[a-z_.]+", key) and key in t else first
    return t("touch.comma").join(part for part in (said, typed) if part)


def _moment(at: Any) -> datetime | None:
    if at is None or isinstance(at, datetime):
        return at
    return datetime.fromisoformat(str(at))

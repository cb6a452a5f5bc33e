"""Figures of the mobile link in an entry ``link_quality/1``: how they are summed up, what they are held against. Pure.

The programme asks for 50 Mbit/s and 100 ms. Percentiles are nearest-rank; all figures are whole numbers with the unit
in their name: ``rtt_ms``, ``jitter_ms``, ``loss_per_mille``, ``up_kbit_s``, ``down_kbit_s``, ``rsrp_dbm``, ``sinr_db``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

NEEDED_KBIT_S = 50_000
MOST_RTT_MS = 100
FIGURES = ("rtt_ms", "jitter_ms", "loss_per_mille", "up_kbit_s", "down_kbit_s", "rsrp_dbm", "sinr_db")
RATES = ("up_kbit_s", "down_kbit_s")


class Verdict(StrEnum):
    MEETS = "meets"
    MISSES = "misses"
    NOT_MEASURED = "not_measured"
    """What was measured is good enough, and not everything was measured."""


def summary(values: Sequence[float]) -> dict[str, int]:
    """Least, median and 95th percentile of at least one value."""
    ordered = sorted(values)
    return {"min": round(ordered[0]), "median": round(_rank(ordered, 0.5)), "p95": round(_rank(ordered, 0.95))}


def shortfalls(figures: Mapping[str, Any]) -> list[str]:
    """Which of the programme's figures a link does not reach: names of ``FIGURES``."""
    short = [name for name in RATES if _part(figures, name, "median") is not None]
    short = [name for name in short if (_part(figures, name, "median") or 0) < NEEDED_KBIT_S]
    rtt_ms = _part(figures, "rtt_ms", "p95")
    return [*short, *(["rtt_ms"] if rtt_ms is not None and rtt_ms > MOST_RTT_MS else [])]


def verdict(figures: Mapping[str, Any]) -> Verdict:
    """Median of both rates against 50 Mbit/s, 95th percentile of the round trip against 100 ms."""
    if shortfalls(figures):
        return Verdict.MISSES
    complete = all(_part(figures, name, "median") is not None for name in (*RATES, "rtt_ms"))
    return Verdict.MEETS if complete else Verdict.NOT_MEASURED


def _part(figures: Mapping[str, Any], name: str, part: str) -> int | None:
    """A figure as some vehicle has written it; whatever has another form is not there."""
    said = figures.get(name)
    value = said.get(part) if isinstance(said, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

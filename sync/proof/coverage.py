"""Coverage rules: does a visit count, and has a village had its visits this month.

Pure functions over facts; nothing here reads a table or a clock. The defaults of ``Rules`` are the programme's: every
administrative village at least 2 counted visits a calendar month (Asia/Shanghai), 5 days apart, each of at least
240 min on one local day, at least 2 staff on duty of whom one doctor, at least 1 encounter or recorded outreach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

REASONS = (
    "outside",
    "too_short",
    "too_few_staff",
    "no_doctor",
    "no_encounter",
    "too_close_to_previous",
    "duplicate_vehicle",
    "refused_by_reviewer",
)
"""Why a visit is not counted."""

REVIEW_REASONS = (
    "clock_stepped",
    "boots_missing",
    "track_hidden",
    "unclosed",
    "weakly_anchored",
    "witness_conflict",
    "too_few_witnesses",
    "overlapping_stays",
    "staff_in_two_vehicles",
)
"""Why a person has to decide before a visit may count."""

WITNESSES = ("gnss", "odometer", "cells", "confirmed", "devices")
"""What says that the vehicle was in the village; see ``sync.proof.visit_witnesses``."""

FLAGS = (
    "gnss_gap_inferred",
    "inferred_more_than_half",
    "moved_during_gap",
    "low_accuracy",
    "few_satellites",
    "spoof_flag",
    "position_jump",
    "clock_corrected",
    "clock_set_by_hand",
    "clock_set_back",
    "village_replaced",
    "merged_into",
    "decided_by_reviewer",
)
"""What a reader should know; does not decide by itself."""

MONTH_FLAGS = ("provisional", "supersedes_sealed")

RULE_LIMITS: Mapping[str, tuple[int, int]] = {
    "version": (1, 10**6),
    "visits_per_month": (1, 31),
    "days_apart": (0, 31),
    "dwell_s": (0, 86_400),
    "staff": (0, 20),
    "doctors": (0, 20),
    "encounters": (0, 1000),
    "witnesses": (0, 4),
    "provisional_days": (0, 365),
}
"""Smallest and largest value of each whole number in ``Rules``."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of a county's rules.

    :ivar witnesses: independent witnesses wanted beside the position, else a person decides
    :ivar provisional_days: days after the month's end in which late arrivals still change it
    :ivar doctor_roles: duty roles that count as a doctor
    """

    version: int = 1
    visits_per_month: int = 2
    days_apart: int = 5
    dwell_s: int = 240 * 60
    staff: int = 2
    doctors: int = 1
    encounters: int = 1
    witnesses: int = 2
    provisional_days: int = 10
    doctor_roles: tuple[str, ...] = ("doctor", "village_doctor")

    def __post_init__(self) -> None:
        for name, (low, high) in RULE_LIMITS.items():
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
                raise ValueError(f"rule {name} must be a whole number from {low} to {high} (found {number!r})")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "doctor_roles": list(self.doctor_roles)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Rules:
        """:raises ValueError: an unknown rule or a value out of bounds"""
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown rule {sorted(unknown)[0]!r}: remove it or correct the spelling")
        roles = tuple(str(role) for role in fields.get("doctor_roles", cls().doctor_roles))
        return cls(**{**fields, "doctor_roles": roles})


class VisitState(StrEnum):
    COUNTED = "counted"
    SHORT = "short"
    """Not counted, and too short a stay is why."""
    NOT_COUNTED = "not_counted"
    REVIEW = "review"
    MERGED = "merged"
    """Its time stands in another visit of the same vehicle, village and day."""
    OPEN = "open"
    """Still going on and not yet enough."""


class MonthState(StrEnum):
    DONE = "done"
    PARTIAL = "partial"
    MISSED = "missed"
    WAIVED = "waived"
    NOT_SYNCED = "not_synced"
    PENDING = "pending"
    """None so far and the month is not over."""


@dataclass(frozen=True, slots=True)
class VisitFacts:
    """What is known of one visit, from track points, duty and encounters; never from the vehicle's own claim.

    :ivar day: local date of the first point of its first stay
    :ivar dwell_s: counted seconds in the village that day; None when no stay in the village was found
    :ivar staff: (person, role) on duty
    :ivar review: words of ``REVIEW_REASONS``
    :ivar merged_into: the visit that carries this one's time
    :ivar decision: of a person: "counted" or "refused"; None while nobody decided
    """

    visit: str
    vehicle: str
    village: str
    day: date
    dwell_s: float | None
    staff: frozenset[tuple[str, str]] = frozenset()
    encounters: int = 0
    outreach: bool = False
    review: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    merged_into: str | None = None
    open: bool = False
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class VisitVerdict:
    """:ivar reasons: why not counted, words of ``REASONS`` and ``REVIEW_REASONS`` in that order; empty when counted"""

    visit: str
    state: VisitState
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def counted(self) -> bool:
        return self.state is VisitState.COUNTED


@dataclass(frozen=True, slots=True)
class MonthVerdict:
    """One village in one month.

    :ivar visits: the verdict of every visit, by visit id
    :ivar missing: counted visits still wanted
    """

    village: str
    month: date
    state: MonthState
    counted: int
    missing: int
    visits: Mapping[str, VisitVerdict] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def judge_visit(facts: VisitFacts, rules: Rules) -> VisitVerdict:
    """The verdict of one visit by itself, before its neighbours in the month are looked at."""
    if facts.merged_into is not None:
        return VisitVerdict(facts.visit, VisitState.MERGED, (), tuple(sorted({*facts.flags, "merged_into"})))
    reasons = tuple(_shortcomings(facts, rules))
    flags = tuple(sorted(facts.flags))
    if facts.decision is not None:
        return _decided(facts, reasons, flags)
    if facts.open and (reasons or facts.review):
        return VisitVerdict(facts.visit, VisitState.OPEN, reasons + facts.review, flags)
    if reasons == ("outside",) and "witness_conflict" in facts.review:
        return VisitVerdict(facts.visit, VisitState.REVIEW, reasons + facts.review, flags)
    if "too_short" in reasons:
        return VisitVerdict(facts.visit, VisitState.SHORT, reasons + facts.review, flags)
    if reasons:
        return VisitVerdict(facts.visit, VisitState.NOT_COUNTED, reasons + facts.review, flags)
    if facts.review:
        return VisitVerdict(facts.visit, VisitState.REVIEW, facts.review, flags)
    return VisitVerdict(facts.visit, VisitState.COUNTED, (), flags)


def _decided(facts: VisitFacts, reasons: tuple[str, ...], flags: tuple[str, ...]) -> VisitVerdict:
    """A person answers for what the machine could not tell; what is short stays short.

    "Counted" also stands against a position that is contradicted by other witnesses.
    """
    flags = tuple(sorted({*flags, "decided_by_reviewer"}))
    if facts.decision == "refused":
        return VisitVerdict(facts.visit, VisitState.NOT_COUNTED, (*reasons, "refused_by_reviewer"), flags)
    if "witness_conflict" in facts.review:
        reasons = tuple(reason for reason in reasons if reason != "outside")
    if "too_short" in reasons:
        return VisitVerdict(facts.visit, VisitState.SHORT, reasons, flags)
    return VisitVerdict(facts.visit, VisitState.NOT_COUNTED if reasons else VisitState.COUNTED, reasons, flags)


def _shortcomings(facts: VisitFacts, rules: Rules) -> Iterable[str]:
    if facts.dwell_s is None:
        yield "outside"
    elif facts.dwell_s < rules.dwell_s:
        yield "too_short"
    if len({person for person, _ in facts.staff}) < rules.staff:
        yield "too_few_staff"
    if len({person for person, role in facts.staff if role in rules.doctor_roles}) < rules.doctors:
        yield "no_doctor"
    if facts.encounters < rules.encounters and not facts.outreach:
        yield "no_encounter"


def judge_month(
    village: str,
    month: date,
    visits: Sequence[VisitFacts],
    rules: Rules,
    *,
    today: date,
    waived: bool = False,
    synced: bool = True,
) -> MonthVerdict:
    """One village's month.

    :param month: its first day
    :param visits: the visits of this village whose day lies in the month
    :param today: the local date on which the verdict is made
    :param waived: a signed waiver covers the village and month
    :param synced: every vehicle has reported up to the end of the month, or up to now while it lasts
    """
    verdicts = {facts.visit: judge_visit(facts, rules) for facts in visits}
    _one_vehicle_a_day(visits, verdicts)
    counted = _far_enough_apart(visits, verdicts, rules)
    last_day = end_of_month(month)
    if counted >= rules.visits_per_month:
        state = MonthState.DONE
    elif counted:
        state = MonthState.PARTIAL
    elif waived:
        state = MonthState.WAIVED
    elif not synced:
        state = MonthState.NOT_SYNCED
    else:
        state = MonthState.MISSED if today > last_day else MonthState.PENDING
    provisional = today <= last_day + timedelta(days=rules.provisional_days)
    return MonthVerdict(
        village=village,
        month=month,
        state=state,
        counted=counted,
        missing=max(0, rules.visits_per_month - counted),
        visits=verdicts,
        flags=("provisional",) if provisional else (),
    )


def _one_vehicle_a_day(visits: Sequence[VisitFacts], verdicts: dict[str, VisitVerdict]) -> None:
    """Two vehicles in one village on one day are one visit: the longer stay; their times are not added.

    What a person refused does not stand in another vehicle's way.
    """
    longest: dict[date, VisitFacts] = {}
    present = [
        facts
        for facts in visits
        if facts.merged_into is None and facts.dwell_s is not None and facts.decision != "refused"
    ]
    for facts in present:
        rival = longest.get(facts.day)
        if rival is None or (_dwell(facts), rival.visit) > (_dwell(rival), facts.visit):
            longest[facts.day] = facts
    for facts in present:
        if facts.vehicle != longest[facts.day].vehicle:
            verdicts[facts.visit] = _refused(verdicts[facts.visit], "duplicate_vehicle")


def _dwell(facts: VisitFacts) -> float:
    return facts.dwell_s or 0.0


def _far_enough_apart(visits: Sequence[VisitFacts], verdicts: dict[str, VisitVerdict], rules: Rules) -> int:
    """Counts from the earliest visit on; one too close to the last counted one is refused."""
    counted, last = 0, None
    for facts in sorted(visits, key=lambda facts: (facts.day, facts.visit)):
        if not verdicts[facts.visit].counted:
            continue
        if last is not None and (facts.day - last).days < max(1, rules.days_apart):
            verdicts[facts.visit] = _refused(verdicts[facts.visit], "too_close_to_previous")
            continue
        counted, last = counted + 1, facts.day
    return counted


def _refused(verdict: VisitVerdict, reason: str) -> VisitVerdict:
    state = verdict.state if verdict.state is VisitState.SHORT else VisitState.NOT_COUNTED
    ordered = [word for word in (*REASONS, *REVIEW_REASONS) if word in {*verdict.reasons, reason}]
    return replace(verdict, state=state, reasons=tuple(ordered))


# calendar -------------------------------------------------------------------------------------------------------------


def month_of(text: str) -> date:
    """The first day of a month written YYYY-MM.

    :raises ValueError: not such a month, or outside 2000 to 2100
    """
    year, _, number = text.partition("-")
    written = len(year) == 4 and len(number) == 2 and year.isascii() and number.isascii()
    if not (written and year.isdigit() and number.isdigit() and 2000 <= int(year) <= 2100 and 1 <= int(number) <= 12):
        raise ValueError(f"{text[:20]!r} is not a month: write it as YYYY-MM, for example 2025-11")
    return date(int(year), int(number), 1)


def end_of_month(month: date) -> date:
    return other_month(month, 1) - timedelta(days=1)


def other_month(month: date, months: int) -> date:
    """The first day of the month ``months`` later (or earlier)."""
    number = month.year * 12 + month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)

"""Coverage rules as a table that an administrator can read."""

# ruff: noqa: E501   one case of the tables is one line

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from sync.proof.coverage import (
    FLAGS,
    REASONS,
    REVIEW_REASONS,
    MonthState,
    Rules,
    VisitFacts,
    VisitState,
    end_of_month,
    judge_month,
    judge_visit,
    month_of,
    other_month,
)

DOCTOR, NURSE, DRIVER = ("zhou", "village_doctor"), ("wu", "nurse"), ("zhao", "driver")
SEPTEMBER = date(2026, 9, 1)


def visit(
    day: int = 1, minutes: float | None = 240, staff: tuple[tuple[str, str], ...] = (DOCTOR, NURSE), **more: object
) -> VisitFacts:
    facts = VisitFacts(
        visit=f"visit-{day:02d}",
        vehicle="van-07",
        village="999901101201",
        day=date(2026, 9, day),
        dwell_s=None if minutes is None else minutes * 60,
        staff=frozenset(staff),
        encounters=1,
    )
    return replace(facts, **more)  # type: ignore[arg-type]


# one visit by itself --------------------------------------------------------------------------------------------------

ONE_VISIT = [
    # what happened                              facts                                            verdict       reasons
    ("half a day, two staff, one served", visit(), "counted", ()),
    ("one second short of half a day", visit(minutes=239.99), "short", ("too_short",)),
    ("never seen in the village", visit(minutes=None), "not_counted", ("outside",)),
    ("the driver counts as staff", visit(staff=(DOCTOR, DRIVER)), "counted", ()),
    ("the doctor alone", visit(staff=(DOCTOR,)), "not_counted", ("too_few_staff",)),
    ("nurse and driver, no doctor", visit(staff=(NURSE, DRIVER)), "not_counted", ("no_doctor",)),
    ("a county doctor is a doctor", visit(staff=(("li", "doctor"), DRIVER)), "counted", ()),
    (
        "one person named in two roles is one",
        visit(staff=(DOCTOR, ("zhou", "driver"))),
        "not_counted",
        ("too_few_staff",),
    ),
    ("nobody served", visit(encounters=0), "not_counted", ("no_encounter",)),
    ("nobody served, but an outreach", visit(encounters=0, outreach=True), "counted", ()),
    (
        "short and nobody there",
        visit(minutes=10, staff=(), encounters=0),
        "short",
        ("too_short", "too_few_staff", "no_doctor", "no_encounter"),
    ),
    ("the clock was moved", visit(review=("clock_stepped",)), "review", ("clock_stepped",)),
    (
        "weakly anchored and short",
        visit(minutes=10, review=("weakly_anchored",)),
        "short",
        ("too_short", "weakly_anchored"),
    ),
    ("going on, not half a day yet", visit(minutes=100, open=True), "open", ("too_short",)),
    ("going on, but it is enough already", visit(open=True), "counted", ()),
    ("its time stands in another visit", visit(merged_into="visit-00"), "merged", ()),
    ("a flag alone changes nothing", visit(flags=("gnss_gap_inferred",)), "counted", ()),
]


@pytest.mark.parametrize(
    ("facts", "state", "reasons"), [case[1:] for case in ONE_VISIT], ids=[case[0] for case in ONE_VISIT]
)
def test_one_visit(facts: VisitFacts, state: str, reasons: tuple[str, ...]) -> None:
    verdict = judge_visit(facts, Rules())
    assert (verdict.state, verdict.reasons) == (state, reasons)
    assert verdict.counted is (state == "counted")
    assert set(verdict.reasons) <= {*REASONS, *REVIEW_REASONS}
    assert set(verdict.flags) <= set(FLAGS)


# a village's month ----------------------------------------------------------------------------------------------------

OTHER_VAN = {"vehicle": "van-09", "visit": "visit-other"}
LATE = {"today": date(2026, 10, 20)}

A_MONTH = [
    # what happened                     visits                                       more              month, counted, not counted because
    ("two visits, five days apart", [visit(1), visit(6)], {}, "done", 2, {}),
    ("two visits, four days apart", [visit(1), visit(5)], {}, "partial", 1, {"visit-05": "too_close_to_previous"}),
    ("the third is far enough from the first", [visit(1), visit(4), visit(6)], {}, "done", 2, {"visit-04": "too_close_to_previous"}),
    ("three visits, all far enough apart", [visit(1), visit(10), visit(20)], {}, "done", 3, {}),
    ("in whatever order they arrive", [visit(6), visit(1)], {}, "done", 2, {}),
    ("a short one takes no place", [visit(1, minutes=10), visit(3), visit(8)], {}, "done", 2, {"visit-01": "too_short"}),
    ("one counted", [visit(1), visit(9, staff=(DOCTOR,))], {}, "partial", 1, {"visit-09": "too_few_staff"}),
    ("none, and the month is not over", [], {}, "pending", 0, {}),
    ("none, and the month is over", [], LATE, "missed", 0, {}),
    ("none, and a vehicle has not synced", [], {**LATE, "synced": False}, "not_synced", 0, {}),
    ("one, although a vehicle has not synced", [visit(1)], {**LATE, "synced": False}, "partial", 1, {}),
    ("none, waived", [], {**LATE, "waived": True}, "waived", 0, {}),
    ("a counted visit beats a waiver", [visit(1)], {**LATE, "waived": True}, "partial", 1, {}),
    ("only tried, waived", [visit(1, minutes=10)], {**LATE, "waived": True}, "waived", 0, {"visit-01": "too_short"}),
    ("two vehicles on one day: the longer stay", [visit(1, minutes=250), visit(1, minutes=300, **OTHER_VAN)], {}, "partial", 1, {"visit-01": "duplicate_vehicle"}),
    ("two half visits of two vehicles are not added", [visit(1, minutes=130), visit(1, minutes=140, **OTHER_VAN)], LATE, "missed", 0, {"visit-01": "too_short", "visit-other": "too_short"}),
    ("the same vehicle twice on a day is one visit", [visit(1), visit(1, visit="visit-again", merged_into="visit-01"), visit(9)], {}, "done", 2, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("visits", "more", "state", "counted", "refused"), [case[1:] for case in A_MONTH], ids=[case[0] for case in A_MONTH]
)
def test_a_month(
    visits: list[VisitFacts], more: dict[str, object], state: str, counted: int, refused: dict[str, str]
) -> None:
    given = {"today": date(2026, 9, 25), **more}
    verdict = judge_month("999901101201", SEPTEMBER, visits, Rules(), **given)  # type: ignore[arg-type]
    assert (verdict.state, verdict.counted, verdict.missing) == (state, counted, max(0, 2 - counted))
    found = {id: one for id, one in verdict.visits.items() if one.state not in (VisitState.COUNTED, VisitState.MERGED)}
    assert set(found) == set(refused)
    for id, reason in refused.items():
        assert reason in found[id].reasons


def test_a_month_is_provisional_for_ten_days_after_its_end() -> None:
    for day, provisional in ((9, True), (10, True), (11, False)):
        verdict = judge_month("v", SEPTEMBER, [], Rules(), today=date(2026, 10, day))
        assert ("provisional" in verdict.flags) is provisional


def test_a_county_may_set_other_rules() -> None:
    weekly = Rules(version=2, visits_per_month=4, days_apart=7, dwell_s=3600, staff=1)
    visits = [visit(day, minutes=61, staff=(DOCTOR,)) for day in (1, 8, 15, 22)]
    assert judge_month("v", SEPTEMBER, visits, weekly, today=date(2026, 9, 30)).state is MonthState.DONE
    assert judge_month("v", SEPTEMBER, visits, Rules(), today=date(2026, 9, 30)).counted == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"visits_per_month": 0}, "visits_per_month"),
        ({"dwell_s": -1}, "dwell_s"),
        ({"dwell_s": 1.5}, "dwell_s"),
        ({"staff": True}, "staff"),
        ({"dwel_s": 60}, "unknown rule 'dwel_s'"),
    ],
)
def test_senseless_rules_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rules.from_json(fields)


def test_rules_read_back_as_written() -> None:
    rules = Rules(version=3, days_apart=7, doctor_roles=("doctor",))
    assert Rules.from_json(rules.as_json()) == rules


def test_months() -> None:
    assert month_of("2026-09") == SEPTEMBER
    assert end_of_month(date(2024, 2, 1)) == date(2024, 2, 29)
    assert (other_month(SEPTEMBER, 4), other_month(SEPTEMBER, -9)) == (date(2027, 1, 1), date(2025, 12, 1))


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-9", "2026-13", "2026-00", "26-09", "2026-09-01", "２０２６-09", "1999-12", "x" * 500]
)
def test_what_is_no_month_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        month_of(text)

"""The verdict of a visit in words: every rule with what was found, as the visit page lists it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sync.county.visit_report import VisitReport
from sync.proof.coverage import REVIEW_REASONS, VisitState
from sync.proof.presence import LOCAL
from sync.web.catalog import Texts


@dataclass(frozen=True, slots=True)
class Check:
    """:ivar met: True, False, or None for a remark that does not decide"""

    met: bool | None
    label: str
    found: str = ""


def title(report: VisitReport, t: Texts) -> str:
    state = report.judged.verdict.state
    if state is VisitState.COUNTED:
        months = t("county.months").split("|")
        return t("county.visit.counted_title", month=months[report.judged.case.facts.day.month - 1])
    return t(f"county.visit_state.{state.value}")


def subtitle(report: VisitReport, t: Texts) -> str:
    """Which visit of the month it is, or why it does not count."""
    verdict = report.judged.verdict
    if verdict.counted and report.judged.case.facts.decision is None:
        return t("county.visit.counted_why", number=report.number)
    if verdict.counted:
        return t("county.flag.decided_by_reviewer")
    if verdict.state is VisitState.MERGED:
        return t("county.flag.merged_into")
    return t("county.list_comma").join(t(f"county.reason.{reason}") for reason in verdict.reasons)


def checks(report: VisitReport, inside: int, t: Texts) -> list[Check]:
    """:param inside: valid track points within the border"""
    facts, verdict, rules = report.judged.case.facts, report.judged.verdict, report.rules
    if verdict.state is VisitState.MERGED:
        return [_remark(flag, t) for flag in verdict.flags]
    failed = set(verdict.reasons)
    doctors = len({person for person, role in facts.staff if role in rules.doctor_roles})
    staff = len({person for person, _ in facts.staff})
    people = "county.visit.check_people"
    found = [
        Check(
            "outside" not in failed, t("county.visit.check_inside"), t("county.visit.check_inside_value", points=inside)
        ),
        Check(
            not failed & {"too_short", "outside"},
            t("county.visit.check_dwell"),
            t(
                "county.visit.check_dwell_value",
                minutes=report.judged.dwell_minutes,
                required=rules.dwell_s // 60,
            ),
        ),
        Check(_far_enough(report), t("county.visit.check_apart"), _apart(report, t)),
        Check(
            "too_few_staff" not in failed, t("county.visit.check_staff", required=rules.staff), t(people, count=staff)
        ),
        Check("no_doctor" not in failed, t("county.visit.check_doctor"), t(people, count=doctors)),
        Check(
            "no_encounter" not in failed,
            t("county.visit.check_served", required=rules.encounters),
            t(people, count=facts.encounters) + (f" + {t('county.visit.check_outreach')}" if facts.outreach else ""),
        ),
        *_witnesses(report, t),
    ]
    others = [word for word in ("duplicate_vehicle", "refused_by_reviewer", *REVIEW_REASONS) if word in failed]
    found += [Check(False, t(f"county.reason.{word}")) for word in others if word != "too_few_witnesses"]
    return found + [_remark(flag, t) for flag in verdict.flags if flag != "decided_by_reviewer"]  # the heading says it


def _witnesses(report: VisitReport, t: Texts) -> list[Check]:
    """How many independent witnesses agree, and which; none are asked for a visit that was never in the village."""
    if not report.judged.case.stays:
        return []
    agree = [one.name for one in report.judged.case.proof.witnesses if one.agrees and one.name != "gnss"]
    named = t("county.list_comma").join(t(f"county.witness.{name}") for name in agree)
    enough = len(agree) >= report.rules.witnesses
    value = named or t("county.none")
    return [Check(enough, t("county.visit.check_witnesses", required=report.rules.witnesses), value)]


def decision(report: VisitReport, name: str, t: Texts) -> str:
    """What a person decided, when and why; empty while nobody did. ``name``: of who decided."""
    made = report.judged.case.proof.decision
    if made is None:
        return ""
    at = f"{made.at.astimezone(LOCAL):%m-%d %H:%M}"
    word = t(f"county.visit.decided_{made.decision}")
    return t("county.visit.decided", name=name, at=at, decision=word, reason=made.reason)


def _remark(flag: str, t: Texts) -> Check:
    return Check(None, t(f"county.flag.{flag}"))


def _far_enough(report: VisitReport) -> bool:
    """Also of a visit that fails for another reason, which the month therefore never compares with the one before."""
    return report.before is None or (report.judged.case.facts.day - report.before).days >= report.rules.days_apart


def _apart(report: VisitReport, t: Texts) -> str:
    if report.before is None:
        return t("county.visit.check_apart_first")
    days = (report.judged.case.facts.day - report.before).days
    return t("county.visit.check_apart_value", days=days, required=report.rules.days_apart)


def duration(seconds: float, t: Texts) -> str:
    minutes = int(seconds // 60)
    return t("county.hours_minutes", hours=minutes // 60, minutes=minutes % 60)


def work(kind: str, t: Texts) -> str:
    key = f"county.work.{kind}"
    return t(key) if key in t else t("county.work.other")


def entry_kind(kind: str, t: Texts) -> str:
    key = f"county.kind.{kind.partition('/')[0]}"
    return t(key) if key in t else t("county.kind.other")


def duty_role(role: str | None, t: Texts) -> str:
    key = f"county.duty_role.{role}"
    return t(key) if key in t else t("county.duty_role.other")


def moment(at: datetime, beside: datetime) -> str:
    """Local time of day; with the date when it is another day than ``beside``."""
    local = at.astimezone(LOCAL)
    return f"{local:%H:%M}" if local.date() == beside.astimezone(LOCAL).date() else f"{local:%m-%d %H:%M}"

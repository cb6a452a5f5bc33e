"""What was found, for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from sync.formats.records import format_time
from sync.proof.visit_pictures import VisitPicture
from sync.verify.bundle_check import BundleReport, CheckedVisit
from sync.verify.rules_check import RulesWitnessed
from sync.verify.words import Words

if TYPE_CHECKING:
    from sync.verify.log_audit import LogReport

_CHINA = timezone(timedelta(hours=8))


def fault_json(result: str, code: str, detail: str) -> dict[str, Any]:
    return {"result": result, "faults": [{"code": code, "detail": detail}]}


def fault_text(result: str, code: str, detail: str, t: Words) -> list[str]:
    return [t(result), f"  {t('reason')}: {code}: {detail}"]


# a bundle -------------------------------------------------------------------------------------------------------------


class GivenPicture(NamedTuple):
    """A file that somebody has with the evidence; ``entry``: place of the entry that names its hash."""

    file: str
    sha256: str
    entry: int | None


def held_against(report: BundleReport, files: Iterable[tuple[str, str]]) -> list[GivenPicture]:
    """:param files: name and SHA-256 of each"""
    known = {one.sha256: one.n for visit in report.visits for one in visit.proof.evidence.pictures}
    return [GivenPicture(name, sha256, known.get(sha256)) for name, sha256 in files]


def bundle_json(report: BundleReport, given: Sequence[GivenPicture] = ()) -> dict[str, Any]:
    """:param given: files held against the pictures of the evidence"""
    manifest, registry = report.manifest, report.registry
    faults = [{"code": "state_mismatch", "detail": _mismatch(visit)} for visit in report.wrong]
    faults += [{"code": "picture_unknown", "detail": one.file} for one in given if one.entry is None]
    return {
        "result": "invalid" if faults else "valid",
        "faults": faults,
        "sha256": report.sha256,
        "county": manifest.county,
        "village": manifest.village,
        "village_name": registry.own.name,
        "township": registry.own.township,
        "month": manifest.month,
        "practice": manifest.practice,
        "counted": report.month.counted,
        "rules": registry.rules.as_json(),
        "rules_witnessed": _witnessed_json(registry.rules_witnessed),
        "registry": {
            "origin": registry.signed.checkpoint.origin,
            "size": registry.signed.checkpoint.size,
            "cosigned": _times(registry.signed.witnesses),
        },
        "visits": [_visit_json(visit) for visit in report.visits],
        **({"given": [one._asdict() for one in given]} if given else {}),
    }


def _given(picture: GivenPicture, t: Words) -> str:
    return t("picture_unknown") if picture.entry is None else t("picture_known", entry=picture.entry)


def _witnessed_json(witnessed: RulesWitnessed | None) -> dict[str, Any] | None:
    if witnessed is None:
        return None
    at = format_time(witnessed.at) if witnessed.at is not None else None
    return {
        "place": witnessed.due.place,
        "due_on": witnessed.due.due_on.isoformat(),
        "at": at,
        "in_time": witnessed.in_time,
    }


def _mismatch(visit: CheckedVisit) -> str:
    return f"visit {visit.claim.visit}: claimed {visit.claim.state}, recomputed {visit.verdict.state}"


def _times(times: Any) -> dict[str, str]:
    return {name: format_time(at) for name, at in sorted(times.items())}


def _visit_json(visit: CheckedVisit) -> dict[str, Any]:
    proof, evidence = visit.proof, visit.proof.evidence
    bracket = proof.bracket
    known = bracket.known_at if bracket else None
    sealed = bracket.sealed_at if bracket else None
    return {
        "visit": visit.claim.visit,
        "origin": visit.claim.origin,
        "day": proof.facts.day.isoformat(),
        "claimed": visit.claim.state,
        "state": str(visit.verdict.state),
        "reasons": list(visit.verdict.reasons),
        "flags": list(visit.verdict.flags),
        "t1": format_time(known) if known else None,
        "t2": format_time(sealed) if sealed else None,
        "t2_minus_t1_s": round((sealed - known).total_seconds()) if known and sealed else None,
        "sealed_by": _times(visit.sealed_by),
        "stays": [[format_time(stay.arrived_at), format_time(stay.left_at)] for stay in proof.stays],
        "dwell_s": round(proof.facts.dwell_s, 3) if proof.facts.dwell_s is not None else None,
        "inferred_s": round(sum(stay.inferred_s for stay in proof.stays), 3),
        "staff": sorted([person, role] for person, role in proof.facts.staff),
        "encounters": proof.facts.encounters,
        "outreach": proof.facts.outreach,
        "witnesses": {one.name: one.agrees for one in proof.witnesses},
        "pictures": [_picture_json(one) for one in evidence.pictures],
        "entries": {"first": evidence.first, "last": evidence.last, "shown": visit.shown, "hidden": evidence.hidden},
    }


def _picture_json(picture: VisitPicture) -> dict[str, Any]:
    return {
        "entry": picture.n,
        "what": picture.what,
        "sha256": picture.sha256,
        "taken_at": format_time(picture.taken_at),
        "place": list(picture.place) if picture.place is not None else None,
        "accuracy_m": picture.accuracy_m,
        "outside_m": picture.outside_m,
        "during": picture.during,
        "name": picture.name,
        "post": picture.post,
    }


def bundle_text(report: BundleReport, t: Words, given: Sequence[GivenPicture] = ()) -> Iterator[str]:
    """:param given: files held against the pictures of the evidence"""
    manifest, registry = report.manifest, report.registry
    yield t("invalid" if report.wrong or any(one.entry is None for one in given) else "valid")
    yield from _table(*((one.file, _given(one, t)) for one in given))
    yield from _table(
        (t("file"), report.sha256),
        (t("village"), f"{registry.own.name} {manifest.village} ({registry.own.township})"),
        (t("month"), manifest.month + (f" ({t('practice')})" if manifest.practice else "")),
        ("", t("counted", counted=report.month.counted, wanted=registry.rules.visits_per_month)),
        (t("registry"), _registry(report, t)),
        (t("seen"), _cosigned(registry.signed.witnesses)),
        (t("rules"), _rules(registry.rules_witnessed, t)),
        (t("sealed"), _sealed(report, t)),
    )
    for visit in report.visits:
        yield ""
        yield f"{t('visit')} {visit.claim.visit}"
        yield from _table(*_visit_lines(visit, t))
    yield ""
    yield t("checked")
    for check in ("check_tree", "check_signatures", "check_registry", "check_track"):
        yield f"  - {t(check)}"


def _table(*rows: tuple[str, str]) -> Iterator[str]:
    for name, value in rows:
        if value:
            yield f"  {name}: {value}" if name else f"  {value}"


def _registry(report: BundleReport, t: Words) -> str:
    checkpoint, rules = report.registry.signed.checkpoint, report.registry.rules
    version = t("rules_version", version=rules.version)
    return t("registry_value", origin=checkpoint.origin, size=checkpoint.size, rules=version)


def _rules(witnessed: RulesWitnessed | None, t: Words) -> str:
    """Empty for the programme's defaults."""
    if witnessed is None:
        return ""
    due_on, at = witnessed.due.due_on.isoformat(), _local(witnessed.at) if witnessed.at is not None else t("never")
    return t("rules_in_time" if witnessed.in_time else "rules_late", at=at, due_on=due_on)


def _cosigned(times: Any) -> str:
    return "; ".join(f"{name} {_local(at)}" for name, at in sorted(times.items()))


def _sealed(report: BundleReport, t: Words) -> str:
    sealed = report.registry.sealed
    if sealed is None:
        return ""
    found = {visit.claim.visit: visit.verdict.state for visit in report.visits}
    said = {visit.visit: visit.state for visit in sealed.visits}
    other = [
        f"{visit} {t.word(said[visit], 'state')}" for visit in found if said.get(visit, found[visit]) != found[visit]
    ]
    more = [visit for visit in said if visit not in found]
    parts = [t("sealed_other", states=", ".join(other)) if other else t("sealed_same")]
    if more:
        parts.append(t("sealed_more", visits=", ".join(more)))
    return "; ".join(parts)


def _visit_lines(visit: CheckedVisit, t: Words) -> Iterator[tuple[str, str]]:
    proof, facts = visit.proof, visit.proof.facts
    yield t("vehicle"), visit.claim.origin
    yield t("day"), facts.day.isoformat()
    state = t.word(visit.verdict.state, "state")
    if visit.verdict.state != visit.claim.state:
        state = t("state_wrong", claimed=t.word(visit.claim.state, "state"), found=state)
    yield t("state"), state
    if visit.verdict.reasons:
        yield t("why"), t.words(visit.verdict.reasons)
    yield t("time"), _between(visit, t)
    yield t("seen"), _cosigned(visit.sealed_by)
    yield t("dwell"), _dwell(visit, t)
    yield (
        t("staff"),
        ", ".join(f"{person} ({t.word(role, 'role')})" for person, role in sorted(facts.staff)) or t("none"),
    )
    yield t("encounters"), str(facts.encounters)
    said = ((one, "agrees" if one.agrees else "contradicts") for one in proof.witnesses if one.agrees is not None)
    yield t("witnesses"), "; ".join(t(word, name=t.word(one.name)) for one, word in said) or t("none")
    if proof.evidence.pictures:
        yield t("pictures"), "; ".join(_picture(one, t) for one in proof.evidence.pictures)
    yield t("entries"), t("entries_value", shown=visit.shown, hidden=proof.evidence.hidden)
    if visit.verdict.flags:
        yield t("flags"), t.words(visit.verdict.flags)


def _picture(picture: VisitPicture, t: Words) -> str:
    """What, when, where, by whom, and the hash by which the file is told."""
    if picture.outside_m is None:
        place = t("picture_nowhere")
    else:
        place = t("picture_inside") if picture.outside_m == 0 else t("picture_outside", metres=picture.outside_m)
    apart = "" if picture.during else t("picture_apart")
    by = f"{t.word(picture.post, 'post') if picture.post else ''} {picture.name}".strip()
    said = (t.word(picture.what, "picture"), _local(picture.taken_at), place, apart, by, f"SHA-256 {picture.sha256}")
    return ", ".join(filter(None, said))


def _between(visit: CheckedVisit, t: Words) -> str:
    bracket = visit.proof.bracket
    if bracket is None or bracket.sealed_at is None:
        return t("none")
    if bracket.known_at is None or bracket.width is None:
        return t("between_open", sealed=_local(bracket.sealed_at))
    return t(
        "between", known=_local(bracket.known_at), sealed=_local(bracket.sealed_at), width=_duration(bracket.width, t)
    )


def _dwell(visit: CheckedVisit, t: Words) -> str:
    proof = visit.proof
    if proof.facts.dwell_s is None:
        return t("dwell_none")
    inferred = timedelta(seconds=sum(stay.inferred_s for stay in proof.stays))
    dwell = timedelta(seconds=proof.facts.dwell_s)
    return t("dwell_value", dwell=_duration(dwell, t), inferred=_duration(inferred, t))


def _duration(length: timedelta, t: Words) -> str:
    minutes = int(length.total_seconds() // 60)
    if minutes >= 48 * 60:
        return t("days", days=minutes // 1440, hours=minutes % 1440 // 60)
    return t("minutes", hours=minutes // 60, minutes=minutes % 60)


def _local(at: datetime) -> str:
    return at.astimezone(_CHINA).strftime("%Y-%m-%d %H:%M:%S +08:00")


# a log ----------------------------------------------------------------------------------------------------------------


def log_json(report: LogReport) -> dict[str, Any]:
    return {
        "result": "invalid" if report.faults else "valid",
        "faults": [{"code": code, "detail": detail} for code, detail in report.faults],
        "faults_in_all": report.faults_in_all,
        "origin": report.origin,
        "size": report.size,
        "cosigned": _times(report.signed.witnesses) if report.signed else {},
        "kinds": dict(sorted(report.kinds.items())),
        "unknown_kinds": report.unknown_kinds,
        "boots": report.boots,
        "absent": report.absent,
        "clock_steps": report.stepped,
        "first_at": format_time(report.first_at) if report.first_at else None,
        "last_at": format_time(report.last_at) if report.last_at else None,
    }


def log_text(report: LogReport, t: Words) -> Iterator[str]:
    yield t("log_invalid" if report.faults else "log_valid")
    for code, detail in report.faults:
        yield f"  {t('reason')}: {code}: {detail}"
    if report.faults_in_all > len(report.faults):
        yield "  " + t("log_more", count=report.faults_in_all - len(report.faults))
    span = f"{_local(report.first_at)} – {_local(report.last_at)}" if report.first_at and report.last_at else ""
    stepped = ", ".join(map(str, report.stepped[:10])) + (" …" if len(report.stepped) > 10 else "")
    unknown = ", ".join(f"{kind} × {count}" for kind, count in report.unknown_kinds.items())
    yield from _table(
        (t("log"), report.origin),
        (t("entries"), t("log_size", size=report.size, boots=report.boots)),
        (t("log_span"), span),
        (t("seen"), _cosigned(report.signed.witnesses) if report.signed else ""),
        (t("log_absent"), str(report.absent or "")),
        (t("log_stepped"), stepped),
        (t("log_unknown"), unknown),
    )

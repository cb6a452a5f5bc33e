"""What the registry pages show: the changes with who made them, what is in force, and how the log is vouched for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select

from sync.county.database import Database
from sync.county.registry import Registry, RegistryRefused
from sync.county.schema import checkpoints
from sync.proof.areas import Village, VillagesRefused
from sync.proof.coverage import Rules
from sync.proof.registry_entries import RegistryEntry, RegistryUnreadable
from sync.proof.registry_state import RegistryState, rules_in
from sync.proof.village_import import ImportPlan
from sync.web.catalog import Texts

CHANGES_A_PAGE = 40
_READ_AT_ONCE = 400
_NAMED = 3
"""Villages that are named; of more, their number."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a change did: ``kind`` has words in the catalog, ``facts`` fill them in."""

    kind: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChangeView:
    """:ivar first: place of its first entry"""

    first: int
    at: datetime
    by: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """:ivar differs: (rule, before, after)"""

    rules: Rules
    at: datetime | None
    by: str
    differs: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True, slots=True)
class LogView:
    """The newest checkpoint of the registry. ``root`` in base64."""

    origin: str
    size: int
    root: bytes
    cosigned_at: datetime | None
    witnessed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChangedVillage:
    """One line of an import's preview. ``before`` and ``after`` are those of the day from which it holds."""

    before: Village | None
    after: Village | None
    what: tuple[str, ...]

    @property
    def village(self) -> Village:
        village = self.after or self.before
        assert village is not None, "one of both is there"
        return village


def log_view(database: Database, registry: Registry) -> LogView | None:
    """None while nothing was written."""
    newest = (
        select(checkpoints).where(checkpoints.c.origin == registry.origin).order_by(checkpoints.c.size.desc()).limit(1)
    )
    row = database.row(newest)
    if row is None:
        return None
    return LogView(registry.origin, row["size"], row["root"], row["cosigned_at"], row["witnessed_at"])


def changes(registry: Registry, before: int | None = None) -> tuple[list[ChangeView], int | None]:
    """The changes that end before the place ``before`` (the newest when None), newest first, and where to go on."""
    state = registry.state()
    end = state.size if before is None else max(0, min(before, state.size))
    names = {village.code: village.name for village in registry.villages()}
    found: list[ChangeView] = []
    while end > 0 and len(found) < CHANGES_A_PAGE:
        for entries in reversed(_changes_before(registry, end)[-(CHANGES_A_PAGE - len(found)) :]):
            found.append(_change(entries, names, state))
            end = entries[0].n
    return found, end or None


def _changes_before(registry: Registry, end: int) -> list[list[RegistryEntry]]:
    """The last whole changes before ``end``, at least one; each with its index."""
    count = _READ_AT_ONCE
    while True:
        first = max(0, end - count)
        groups: list[list[RegistryEntry]] = [[]]
        for entry in registry.entries(first, end):
            groups[-1].append(entry)
            if entry.kind == "index/1":
                groups.append([])
        whole = groups[:-1] if first == 0 else groups[1:-1]
        if whole or first == 0:
            return whole
        count *= 2


def _change(entries: Sequence[RegistryEntry], names: Mapping[str, str], state: RegistryState) -> ChangeView:
    last = entries[-1]
    villages = [entry.fields["name"] for entry in entries if entry.kind == "village/1"]
    lines = [_line(entry, villages, names, state) for entry in entries if entry.kind not in ("village/1", "index/1")]
    return ChangeView(entries[0].n, last.at, last.by, tuple(lines))


def _line(entry: RegistryEntry, villages: Sequence[str], names: Mapping[str, str], state: RegistryState) -> Line:
    said = entry.fields
    kind = entry.kind.partition("/")[0]
    match entry.kind:
        case "village_list/1":
            few = "、".join(villages) if len(villages) <= _NAMED else ""
            facts = {
                "written": len(villages),
                "total": len(said["villages"]),
                "names": few,
                "note": said.get("note", ""),
            }
        case "rules/1":
            version = _version(entry, state)
            facts = {"version": said["version"], "differs": version.differs}
        case "screening_rules/1":
            facts = {"edition": said["edition"], "reason": said["reason"], "rules": ", ".join(said["rules"])}
        case "waivers/1":
            code, waived = max(said["waived"].items(), key=lambda item: str(item[1]["at"]))
            kind = "waivers_withdrawn" if waived.get("withdrawn") else kind
            facts = {"village": names.get(code, code), "month": said["month"], "reason": waived["reason"]}
        case "reviews/1":
            newest = max(made["at"] for made in said["decided"].values())
            made = [made for made in said["decided"].values() if made["at"] == newest]
            facts = {"count": len(made), "decision": made[0]["decision"], "month": said["month"]}
            facts["reason"] = made[0]["reason"]
        case "vehicle/1":
            event = "revoked" if "revoked" in said else "key" if len(said["keys"]) > 1 else "enrolled"
            kind = f"vehicle_{event}"
            facts = {"vehicle": said["vehicle"], "plate": said["plate"], "origin": said["origin"]}
            facts["reason"] = said.get("revoked", {}).get("reason", "")
        case "verdict/1":
            states = [village["state"] for village in said["villages"].values()]
            facts = {"township": said["township"], "month": said["month"], "done": states.count("done")}
            facts |= {"total": len(states), "supersedes": said.get("supersedes")}
        case _:
            kind, facts = "other", {"kind": entry.kind}
    return Line(kind, facts)


# rules ----------------------------------------------------------------------------------------------------------------


def rules_versions(registry: Registry) -> list[RulesVersion]:
    """All versions, the newest first; the last is the programme's defaults."""
    state = registry.state()
    return [*(_version(entry, state) for entry in state.rules_chain()), RulesVersion(Rules(), None, "", ())]


def _version(entry: RegistryEntry, state: RegistryState) -> RulesVersion:
    rules, before = rules_in(entry), Rules()
    if "before" in entry.fields:
        try:
            before = rules_in(state.read(entry.fields["before"]))
        except RegistryUnreadable:  # rules of a newer program
            before = rules
    one, other = before.as_json(), rules.as_json()
    differs = tuple((name, one[name], other[name]) for name in other if name != "version" and one[name] != other[name])
    return RulesVersion(rules, entry.at, entry.by, differs)


# an import before it is made ------------------------------------------------------------------------------------------


def changed_villages(plan: ImportPlan, present: Sequence[Village]) -> dict[str, list[ChangedVillage]]:
    """By "added", "changed" and "removed"."""
    before = {village.code: village for village in present if village.in_force(plan.valid_from)}
    after = {
        code: next((village for village in versions if village.in_force(plan.valid_from)), versions[-1])
        for code, versions in plan.villages.items()
    }
    return {
        "added": [ChangedVillage(None, after[code], ()) for code in plan.added],
        "changed": [
            ChangedVillage(before.get(code), after[code], _differences(before.get(code), after[code]))
            for code in plan.changed
        ],
        "removed": [ChangedVillage(before.get(code) or _last(present, code), None, ()) for code in plan.removed],
    }


def _last(present: Sequence[Village], code: str) -> Village | None:
    return max((one for one in present if one.code == code), key=lambda one: one.valid_from, default=None)


def _differences(before: Village | None, after: Village) -> tuple[str, ...]:
    """Words of the catalog: name, township, area, validity."""
    if before is None:
        return ("validity",)
    found = [name for name in ("name", "township") if getattr(before, name) != getattr(after, name)]
    if (before.polygon, before.radius_m, before.centre_latitude_deg, before.centre_longitude_deg) != (
        after.polygon,
        after.radius_m,
        after.centre_latitude_deg,
        after.centre_longitude_deg,
    ):
        found.append("area")
    return tuple(found) or ("validity",)


def problem_in_words(refusal: VillagesRefused | RegistryRefused, t: Texts) -> str:
    """Why a list or a change is refused, in the language of the page; as the command line says it when there is no
    word for it.
    """
    word = f"county.registry.refused_{refusal.problem}"
    if not refusal.problem or word not in t:
        return str(refusal)
    where = getattr(refusal, "where", None)
    head = t("county.registry.refused_where", place=where.place, name=where.name) if where is not None else ""
    rule = f"county.registry.rule_{refusal.facts.get('rule')}"
    named = {"rule": t(rule)} if rule in t else {}
    return head + t(word, **{**refusal.facts, **named})


def villages_listed(villages: Sequence[Village], today: date) -> list[tuple[Village, str]]:
    """Every version with "now", "later" or "over", by township and code."""

    def when(village: Village) -> str:
        return "now" if village.in_force(today) else "later" if village.valid_from > today else "over"

    order = {name: place for place, name in enumerate(dict.fromkeys(village.township for village in villages))}
    listed = sorted(villages, key=lambda village: (order[village.township], village.code, village.valid_from))
    return [(village, when(village)) for village in listed]

"""What the registry says: its index and what the index points to. Pure; the same for the county and for a verifier.

A state is the last index and a way to read the entries it points to. The county reads them from its tables, a verifier
from the few that it was shown: ``RegistryState.shown``. ``RegistryState.after`` follows a whole registry from its first
entry and refuses one whose index does not say what its entries say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from sync.formats.records import LARGEST_BODY_BYTES, format_time, parse_time
from sync.proof.areas import Village
from sync.proof.coverage import Rules, end_of_month
from sync.proof.presence import local_day
from sync.proof.registry_entries import (
    RegistryDraft,
    RegistryDraftRefused,
    RegistryEntry,
    RegistryUnreadable,
    village_of,
    write_registry_entry,
)
from sync.proof.registry_order import check_goes_on, check_time

ReadEntry = Callable[[int], RegistryEntry]
"""The entry at a place. Raises ``RegistryUnreadable`` when it is not there."""

_FULL_BYTES = LARGEST_BODY_BYTES - 10_000
"""What grows by month goes on in a new entry from this size on."""
MOST_VERDICTS = 2400
"""That an index names, so that it never grows beyond an entry: four years of fifty townships, ten of twenty."""
_ONE_MORE_BYTES = 1000
"""A waiver or a decision takes less: reasons have at most 200 letters."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A village excused for a month.

    :ivar withdrawn: what was said before is taken back, for this reason
    """

    village: str
    month: date
    reason: str
    by: str
    at: datetime
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about a visit.

    :ivar origin: the vehicle's log; the same visit id in another log is another visit
    :ivar decision: "counted" or "refused"
    """

    origin: str
    decision: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyRange:
    """:ivar key: verifier key as text, good for checkpoints of ``from_size`` up to ``until_size`` entries"""

    key: str
    from_size: int
    until_size: int | None = None

    def signs(self, size: int) -> bool:
        """Whether a checkpoint of ``size`` entries is this key's to sign."""
        return self.from_size <= size and (self.until_size is None or size <= self.until_size)


@dataclass(frozen=True, slots=True)
class Revocation:
    """:ivar size: entries that still count"""

    size: int
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RegisteredVehicle:
    origin: str
    vehicle: str
    plate: str
    keys: tuple[KeyRange, ...]
    revoked: Revocation | None = None
    succeeds: str | None = None


@dataclass(frozen=True, slots=True)
class SealedVisit:
    visit: str
    origin: str
    day: date
    state: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedVillage:
    state: str
    counted: int
    visits: tuple[SealedVisit, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sealed verdict of one township and month.

    :ivar n: place of its entry
    :ivar rules: place of the rules it was judged by; None for the programme's defaults
    :ivar supersedes: place of the verdict that it replaces
    """

    n: int
    at: datetime
    month: date
    township: str
    township_code: str
    practice: bool
    rules: int | None
    village_list: int
    villages: Mapping[str, SealedVillage]
    supersedes: int | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """Places of what is in force. Months are written YYYY-MM."""

    rules: int | None = None
    village_list: int | None = None
    waivers: Mapping[str, int] = field(default_factory=dict)
    reviews: Mapping[str, int] = field(default_factory=dict)
    vehicles: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    screening_rules: int | None = None

    @classmethod
    def read(cls, entry: RegistryEntry) -> Index:
        """:raises RegistryUnreadable: not an index"""
        if entry.kind != "index/1":
            raise RegistryUnreadable(f"entry {entry.n} closes the registry but is {entry.kind}, not an index")
        said = entry.fields
        maps = (said["waivers"], said["reviews"], said["vehicles"], said["verdicts"])
        return cls(said.get("rules"), said.get("village_list"), *maps, said.get("screening_rules"))

    def draft(self) -> RegistryDraft:
        maps = {name: getattr(self, name) for name in ("waivers", "reviews", "vehicles", "verdicts")}
        single = {name: getattr(self, name) for name in ("rules", "village_list", "screening_rules")}
        return RegistryDraft("index/1", {**maps, **{name: n for name, n in single.items() if n is not None}})

    def after(self, entry: RegistryEntry) -> Index:
        """The index once ``entry`` is in force. Entries that only lists point to, and unknown kinds, change nothing."""
        said, n = entry.fields, entry.n
        match entry.kind:
            case "rules/1":
                return replace(self, rules=n)
            case "village_list/1":
                return replace(self, village_list=n)
            case "screening_rules/1":
                return replace(self, screening_rules=n)
            case "waivers/1":
                return replace(self, waivers={**self.waivers, said["month"]: n})
            case "reviews/1":
                return replace(self, reviews={**self.reviews, said["month"]: n})
            case "vehicle/1":
                return replace(self, vehicles={**self.vehicles, said["origin"]: n})
            case "verdict/1":
                month = {**self.verdicts.get(said["month"], {}), said["township_code"]: n}
                return replace(self, verdicts=_newest({**self.verdicts, said["month"]: month}))
        return self


def _newest(verdicts: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """The months whose verdicts the index still names: the oldest go when there are more than ``MOST_VERDICTS``."""
    kept = dict(verdicts)
    while sum(map(len, kept.values())) > MOST_VERDICTS:
        del kept[min(kept)]
    return kept


def _nothing(n: int) -> RegistryEntry:
    raise RegistryUnreadable(f"entry {n} of the registry is not here")


@dataclass(frozen=True, slots=True)
class RegistryState:
    """:ivar size: entries of the registry; the last is the index"""

    size: int = 0
    index: Index = Index()
    read: ReadEntry = field(default=_nothing, repr=False)

    @classmethod
    def after(cls, entries: Iterable[RegistryEntry]) -> RegistryState:
        """The state of a whole registry, from its first entry on.

        :raises RegistryUnreadable: see ``apply``
        """
        return cls().apply(entries)

    @classmethod
    def shown(cls, entries: Iterable[RegistryEntry]) -> RegistryState:
        """The state that some entries show: the last one, the index, and those of its entries that are asked for.

        :raises RegistryUnreadable: none, or the last is no index. Later, by whatever asks for an entry not shown.
        """
        held = {entry.n: entry for entry in entries}
        if not held:
            raise RegistryUnreadable("no entry of the registry is shown")
        last = held[max(held)]
        return cls(last.n + 1, Index.read(last), _reader(held, _nothing))

    def apply(self, entries: Iterable[RegistryEntry]) -> RegistryState:
        """The state after the entries that follow; the last must be an index.

        :raises RegistryUnreadable: a gap, no index at the end, or an index that is not what the entries before it make
        :raises RegistryContradicts: an entry says an earlier time than the one before it, or what a newer list or newer
            rules go on from is not what was in force
        """
        held: dict[int, RegistryEntry] = {}
        size, index, closed = self.size, self.index, True
        before = self.last_at
        for entry in entries:
            if entry.n != size:
                raise RegistryUnreadable(f"entry {size} of the registry is missing; the next one is {entry.n}")
            check_time(entry, before)
            held[entry.n], size, before = entry, size + 1, entry.at
            if closed := entry.kind == "index/1":
                if Index.read(entry) != index:
                    raise RegistryUnreadable(f"the index at {entry.n} does not say what the entries before it say")
            else:
                lists = {"waivers/1": index.waivers, "reviews/1": index.reviews}
                check_goes_on(entry, index.rules, lists, RegistryState(size, index, _reader(held, self.read)).gathered)
                index = index.after(entry)
        if not closed:
            raise RegistryUnreadable(f"entry {size - 1} of the registry is not followed by an index")
        return RegistryState(size, index, _reader(held, self.read))

    @property
    def last_at(self) -> datetime | None:
        """The time that the last entry says: no later one says an earlier time. None while there is no entry."""
        return self.read(self.size - 1).at if self.size else None

    # what is in force -------------------------------------------------------------------------------------------------

    @property
    def villages_version(self) -> int:
        """Place of the list of villages in force; 0 when there is none (a list never stands at place 0)."""
        return self.index.village_list or 0

    def village_entries(self, village_list: int | None = None) -> dict[str, tuple[RegistryEntry, ...]]:
        """Entries of each code, oldest first.

        :param village_list: place of an older list, such as a verdict names; else the one in force
        """
        place = self.index.village_list if village_list is None else village_list
        if place is None:
            return {}
        listed = self._entry(place, "village_list/1").fields["villages"]
        return {code: tuple(self._entry(n, "village/1") for n in places) for code, places in listed.items()}

    def villages(self) -> tuple[Village, ...]:
        """All villages of the list in force, past and future ones included; ask ``in_force``."""
        return tuple(village_of(entry.fields) for entries in self.village_entries().values() for entry in entries)

    def villages_around(self, code: str, village_list: int | None = None) -> tuple[Village, ...]:
        """The village and its neighbours: all areas that a verdict about it takes."""
        place = self.index.village_list if village_list is None else village_list
        listed = self._entry(place, "village_list/1").fields["villages"] if place is not None else {}
        own = [self._entry(n, "village/1") for n in listed.get(code, ())]
        around = sorted({near for entry in own for near in entry.fields["neighbours"] if near in listed} - {code})
        others = [self._entry(n, "village/1") for near in around for n in listed[near]]
        return tuple(village_of(entry.fields) for entry in (*own, *others))

    def rules(self) -> Rules:
        """The rules in force: the latest version, else the programme's defaults as version 1."""
        return rules_in(self._entry(self.index.rules, "rules/1")) if self.index.rules is not None else Rules()

    def rules_of(self, month: date) -> Rules:
        """The rules by which a month is judged: the latest made before the month stopped being provisional.

        Rules made later judge later months; they never change one that is settled.
        """
        entry = self.rules_entry_of(month)
        return rules_in(entry) if entry is not None else Rules()

    def rules_entry_of(self, month: date) -> RegistryEntry | None:
        """The entry that ``rules_of`` reads; None for the defaults."""
        judged_by = None
        for entry in reversed(list(self.rules_chain())):
            before = rules_in(judged_by) if judged_by is not None else Rules()
            if local_day(entry.at) > end_of_month(month) + timedelta(days=before.provisional_days):
                break
            judged_by = entry
        return judged_by

    def rules_chain(self) -> Iterator[RegistryEntry]:
        """Every version of the rules, the newest first."""
        return self._chain(self.index.rules, "rules/1")

    def waivers(self, month: date) -> dict[str, Waiver]:
        """Waivers of a month by village code, without those that were withdrawn."""
        said = self.gathered(self.index.waivers.get(month_key(month)), "waivers/1", "waived")
        return {
            code: Waiver(code, month, waiver["reason"], waiver["by"], parse_time(waiver["at"]))
            for code, waiver in said.items()
            if not waiver.get("withdrawn")
        }

    def reviews(self, month: date) -> dict[str, Decision]:
        """What people decided about the visits of a month, by visit id."""
        said = self.gathered(self.index.reviews.get(month_key(month)), "reviews/1", "decided")
        return {
            visit: Decision(made["origin"], made["decision"], made["reason"], made["by"], parse_time(made["at"]))
            for visit, made in said.items()
        }

    def vehicle(self, origin: str) -> RegisteredVehicle | None:
        place = self.index.vehicles.get(origin)
        return registered_vehicle(self._entry(place, "vehicle/1").fields) if place is not None else None

    def vehicles(self) -> dict[str, RegisteredVehicle]:
        """Every vehicle that was ever enrolled, by origin."""
        places = self.index.vehicles.items()
        return {origin: registered_vehicle(self._entry(n, "vehicle/1").fields) for origin, n in places}

    def verdicts(self, month: date) -> dict[str, Verdict]:
        """The sealed verdicts of a month, by ``township_of`` their villages."""
        places = self.index.verdicts.get(month_key(month), {})
        return {code: self.verdict_at(place) for code, place in places.items()}

    def verdict_at(self, place: int) -> Verdict:
        entry = self._entry(place, "verdict/1")
        return _verdict(entry, self.gathered(place, "verdict/1", "villages"))

    # making changes ---------------------------------------------------------------------------------------------------

    def waive(self, waiver: Waiver) -> RegistryDraft:
        """The draft that adds ``waiver`` to those of its month; one that is withdrawn stays in it, as withdrawn."""
        said: dict[str, Any] = {"reason": waiver.reason, "by": waiver.by, "at": format_time(waiver.at)}
        said |= {"withdrawn": True} if waiver.withdrawn else {}
        return self._grown("waivers/1", "waived", waiver.month, self.index.waivers, {waiver.village: said})

    def decide(self, month: date, decisions: Mapping[str, Decision]) -> RegistryDraft:
        """The draft that adds what was decided about visits of a month."""
        said = {
            visit: {
                "origin": made.origin,
                "decision": made.decision,
                "reason": made.reason,
                "by": made.by,
                "at": format_time(made.at),
            }
            for visit, made in decisions.items()
        }
        return self._grown("reviews/1", "decided", month, self.index.reviews, said)

    def change_rules(self, rules: Rules) -> RegistryDraft:
        fields: dict[str, Any] = {"version": rules.version, "rules": rules.as_json()}
        if self.index.rules is not None:
            fields["before"] = self.index.rules
        return RegistryDraft("rules/1", fields)

    def _grown(
        self, kind: str, name: str, month: date, places: Mapping[str, int], more: Mapping[str, Any]
    ) -> RegistryDraft:
        """What a month has so far and ``more``; what would not fit stays where it is and is named in ``before``."""
        fields: dict[str, Any] = {"month": month_key(month), name: dict(more)}
        place = places.get(month_key(month))
        if place is None:
            return RegistryDraft(kind, fields)
        newest = self._entry(place, kind)
        if len(newest.body) + _ONE_MORE_BYTES * len(more) > _FULL_BYTES:
            return RegistryDraft(kind, {**fields, "before": place})
        fields[name] = {**newest.fields[name], **more}
        if "before" in newest.fields:
            fields["before"] = newest.fields["before"]
        return RegistryDraft(kind, fields)

    # reading ----------------------------------------------------------------------------------------------------------

    def _entry(self, place: int, kind: str) -> RegistryEntry:
        entry = self.read(place)
        if entry.kind != kind:
            raise RegistryUnreadable(f"entry {place} of the registry is {entry.kind}, not {kind}")
        return entry

    def _chain(self, place: int | None, kind: str) -> Iterator[RegistryEntry]:
        """The entry at ``place`` and those it goes on from, newest first."""
        while place is not None:
            entry = self._entry(place, kind)
            yield entry
            before = entry.fields.get("before")
            if before is not None and before >= place:
                raise RegistryUnreadable(f"entry {place} of the registry goes on from {before}, which is not before it")
            place = before

    def gathered(self, place: int | None, kind: str, name: str) -> dict[str, Any]:
        """What the entry at ``place`` and those it goes on from say in the field ``name``; the newer holds."""
        gathered: dict[str, Any] = {}
        for entry in self._chain(place, kind):
            gathered = {**entry.fields[name], **gathered}
        return gathered


Change = Callable[[RegistryState, int], Sequence[RegistryDraft]]
"""(state, place of the first draft) -> the drafts of one change, without its index."""


def written_change(state: RegistryState, change: Change, at: datetime, by: str) -> list[RegistryEntry]:
    """The entries of one change with the index that closes it; empty when the change is none.

    :param at: now; a clock that was set back does not make an entry older than the one before it
    :raises RegistryDraftRefused: a draft cannot be written
    """
    drafts = change(state, state.size)
    if not drafts:
        return []
    if any(draft.kind == "index/1" for draft in drafts):
        raise RegistryDraftRefused("the index is written by the registry itself")
    at = max(at, state.last_at or at)
    entries = [write_registry_entry(draft, state.size + place, at, by) for place, draft in enumerate(drafts)]
    index = state.index
    for entry in entries:
        index = index.after(entry)
    return [*entries, write_registry_entry(index.draft(), state.size + len(entries), at, by)]


def rules_in(entry: RegistryEntry) -> Rules:
    """:raises RegistryUnreadable: rules that this version does not know"""
    try:
        return Rules.from_json(entry.fields["rules"])
    except (ValueError, TypeError) as fault:
        raise RegistryUnreadable(f"rules at {entry.n}: {fault}") from None


def month_key(month: date) -> str:
    return month.strftime("%Y-%m")


def _reader(held: Mapping[int, RegistryEntry], otherwise: ReadEntry) -> ReadEntry:
    return lambda n: held[n] if n in held else otherwise(n)


def registered_vehicle(said: Mapping[str, Any]) -> RegisteredVehicle:
    keys = tuple(KeyRange(key["key"], key["from_size"], key.get("until_size")) for key in said["keys"])
    revoked = said.get("revoked")
    if revoked is not None:
        revoked = Revocation(revoked["size"], parse_time(revoked["at"]), revoked["reason"])
    return RegisteredVehicle(said["origin"], said["vehicle"], said["plate"], keys, revoked, said.get("succeeds"))


def _verdict(entry: RegistryEntry, villages: Mapping[str, Any]) -> Verdict:
    said = entry.fields
    return Verdict(
        n=entry.n,
        at=entry.at,
        month=date.fromisoformat(said["month"] + "-01"),
        township=said["township"],
        township_code=said["township_code"],
        practice=said["practice"],
        rules=said.get("rules"),
        village_list=said["village_list"],
        villages=sealed_villages(villages),
        supersedes=said.get("supersedes"),
    )


def sealed_villages(said: Mapping[str, Mapping[str, Any]]) -> dict[str, SealedVillage]:
    """``villages`` of a ``verdict/1`` entry."""
    return {code: _sealed_village(sealed) for code, sealed in said.items()}


def _sealed_village(said: Mapping[str, Any]) -> SealedVillage:
    visits = tuple(
        SealedVisit(
            visit["visit"],
            visit["origin"],
            date.fromisoformat(visit["day"]),
            visit["state"],
            tuple(visit["reasons"]),
        )
        for visit in said["visits"]
    )
    return SealedVillage(said["state"], said["counted"], visits)

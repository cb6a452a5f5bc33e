"""The county's registry: a log of its own beside the vehicles', signed by the registry's key, cosigned by the county.

Every change is one transaction that closes with an index (``sync.proof.registry_state``). Several processes may change
it: a change is made from the state that it finds under the lock of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Executable, select

from devices.clock import Clock
from devices.errors import AskPerson
from sync.county.database import Database
from sync.county.mirror import Mirror
from sync.county.schema import entries, logs
from sync.county.village_shift import VillagesShifted, find_shift
from sync.formats.notes import Signer, VerifierKey
from sync.proof.areas import Village, read_villages
from sync.proof.coverage import Rules, month_of
from sync.proof.gcj02 import Place
from sync.proof.presence import local_day
from sync.proof.registry_entries import (
    DECISIONS,
    RegistryDraft,
    RegistryDraftRefused,
    RegistryEntry,
    RegistryUnreadable,
    read_registry_entry,
)
from sync.proof.registry_state import (
    Change,
    Decision,
    Index,
    RegisteredVehicle,
    RegistryState,
    SealedVillage,
    Verdict,
    Waiver,
    month_key,
    written_change,
)
from sync.proof.village_import import ImportPlan, plan_import

REASON_LETTERS = (2, 200)
_MOST_IN_LIST = 400
"""Places in one query; SQLite takes a limited number of parameters."""
_Rows = Callable[[Executable], Iterable[Mapping[str, Any]]]


class RegistryRefused(AskPerson):
    """The change cannot be made; the message says why.

    :ivar problem: the same as one word, for pages in other languages; empty when there is none
    """

    code = "registry_refused"

    def __init__(self, message: str, problem: str = "", **facts: object) -> None:
        super().__init__(message)
        self.problem = problem
        self.facts = {name: str(fact)[:60] for name, fact in facts.items()}


class Registry:
    """:param signer: the registry's key, of type 0x01; its name is the log's"""

    def __init__(self, database: Database, mirror: Mirror, signer: Signer, clock: Clock) -> None:
        self._database = database
        self._mirror = mirror
        self._signer = signer
        self._clock = clock
        self._entries: dict[int, RegistryEntry] = {}
        self._state = RegistryState()
        self._villages: tuple[int, tuple[Village, ...]] = (0, ())

    @property
    def origin(self) -> str:
        return self._signer.name

    @property
    def verifier_key(self) -> VerifierKey:
        return self._signer.verifier_key()

    # the log ----------------------------------------------------------------------------------------------------------

    def state(self) -> RegistryState:
        """What is in force now, whichever process wrote it."""
        row = self._database.row(select(logs.c.mirror_size).where(logs.c.origin == self.origin))
        size = row["mirror_size"] if row else 0
        state = self._state  # another thread may put its own there meanwhile
        if size != state.size:
            state = self._state = self._state_of(size, self._database.rows)
        return state

    def entry(self, n: int) -> RegistryEntry:
        """:raises RegistryUnreadable: there is none at this place"""
        return self.state().read(n)

    def entries(self, first: int, end: int) -> list[RegistryEntry]:
        """The entries in [first, end), in order."""
        return [read_registry_entry(body, n) for n, body in self._mirror.bodies(self.origin, first, end)]

    def change(self, change: Change, by: str) -> list[RegistryEntry]:
        """Write what ``change`` makes of the present state, with its index; nothing when it makes nothing.

        :raises RegistryRefused: an entry cannot be written
        """
        return self._append(lambda state: written_change(state, change, self._clock.now(), by))

    def append(self, *drafts: RegistryDraft, by: str) -> list[RegistryEntry]:
        """Write ``drafts`` as one change.

        :raises RegistryRefused: an entry cannot be written
        """
        return self.change(lambda state, n: drafts, by)

    def begin(self, written: Callable[[RegistryState], Sequence[RegistryEntry]]) -> list[RegistryEntry]:
        """Write the first entries of a registry that has none; nothing when it has some already."""
        return self._append(lambda state: written(state) if state.size == 0 else [])

    def _append(self, written: Callable[[RegistryState], Sequence[RegistryEntry]]) -> list[RegistryEntry]:
        made: list[RegistryEntry] = []

        def make(connection: Connection, size: int) -> list[bytes]:
            made[:] = written(
                self._state_of(size, lambda query: [dict(row) for row in connection.execute(query).mappings()])
            )
            return [entry.body for entry in made]

        try:
            self._mirror.append_own(self._signer, make)
        except RegistryDraftRefused as fault:
            raise RegistryRefused(str(fault), "too_large") from None
        return made

    def _state_of(self, size: int, rows: _Rows) -> RegistryState:
        """The state of the first ``size`` entries; those it points to are fetched at once and kept."""
        if size == 0:
            return RegistryState()
        read = _StoredEntries(self.origin, rows, self._entries)
        index = Index.read(read(size - 1))
        wanted = {size - 1, *_pointed(index)}
        read.fetch(wanted)
        if index.village_list is not None:
            listed = read(index.village_list).fields["villages"]
            wanted |= {n for places in listed.values() for n in places}
            read.fetch(wanted)
        self._entries = {n: read(n) for n in wanted}
        return RegistryState(size, index, read)

    # villages ---------------------------------------------------------------------------------------------------------

    def plan_import(self, geojson: Mapping[str, Any], valid_from: date | None = None) -> ImportPlan:
        """What an import would change.

        :raises sync.proof.areas.VillagesRefused: the list cannot be read
        """
        return plan_import(read_villages(geojson), self.state(), self._today(), valid_from)

    def find_shift(self, geojson: Mapping[str, Any], stood: Mapping[str, Place]) -> VillagesShifted | None:
        """Whether the list lies beside the one in force; the first one: beside where vans stood, by village code.

        :raises sync.proof.areas.VillagesRefused: the list cannot be read
        """
        return find_shift(read_villages(geojson), self.villages(), stood, self._today())

    def import_villages(
        self,
        geojson: Mapping[str, Any],
        by: str,
        valid_from: date | None = None,
        stood: Mapping[str, Place] | None = None,
        accept_shift: str = "",
    ) -> tuple[Village, ...]:
        """Make ``geojson`` the list of today; returns the villages then in force. See ``sync.proof.village_import``.

        :param valid_from: from when what differs holds, unless the list says so itself; from today when None
        :param stood: where vans stood, by village code
        :param accept_shift: why a list that lies beside the one in force is right; kept in the registry
        :raises sync.proof.areas.VillagesRefused: the list cannot be read, or ``VillagesShifted``
        :raises RegistryRefused: a village's outline is too fine to be written, or no reason for the shift
        """
        given, today = read_villages(geojson), self._today()
        shifted = find_shift(given, self.villages(), stood or {}, today)
        if shifted is not None and not accept_shift:
            raise shifted
        note = f"{shifted.code} accepted: {_reason(accept_shift, 'a shift')}" if shifted is not None else ""
        self.change(lambda state, n: plan_import(given, state, today, valid_from).drafts(state, n, note), by)
        return tuple(village for village in self.villages() if village.in_force(today))

    def villages(self) -> tuple[Village, ...]:
        """All villages of the list in force, past and future ones included; ask ``in_force``."""
        state = self.state()
        if self._villages[0] != state.villages_version:
            self._villages = state.villages_version, state.villages()
        return self._villages[1]

    @property
    def villages_version(self) -> int:
        return self.state().villages_version

    # rules, waivers, reviews, vehicles, verdicts ----------------------------------------------------------------------

    def set_rules(self, rules: Mapping[str, Any], by: str) -> Rules:
        """A new version of the rules; its number is the next one.

        :raises RegistryRefused: an unknown rule or a value out of bounds
        """

        def change(state: RegistryState, n: int) -> list[RegistryDraft]:
            try:
                changed = Rules.from_json({**rules, "version": state.rules().version + 1})
            except (ValueError, TypeError) as fault:
                raise RegistryRefused(str(fault), "rules") from None
            return [state.change_rules(changed)]

        self.change(change, by)
        return self.rules()

    def rules(self) -> Rules:
        """The rules in force: the latest version, else the programme's defaults as version 1."""
        return self.state().rules()

    def rules_of(self, month: date) -> Rules:
        """The rules by which a month is judged: the latest made before the month stopped being provisional."""
        return self.state().rules_of(month)

    def waive(self, village: str, month: str, reason: str, by: str) -> Waiver:
        """Excuse a village for a month; shown as waived, never as done.

        :raises RegistryRefused: unknown village, bad month, no reason
        """
        try:
            first = month_of(month)
        except ValueError as fault:
            raise RegistryRefused(str(fault), "month", found=month) from None
        if not any(known.code == village for known in self.villages()):
            raise RegistryRefused(f"there is no village with code {village[:20]!r}", "no_village", found=village[:20])
        waiver = Waiver(village, first, _reason(reason, "a waiver"), by, self._clock.now())
        self.change(lambda state, n: [state.waive(waiver)], by)
        return waiver

    def withdraw(self, village: str, month: str, reason: str, by: str) -> Waiver:
        """Take a waiver back; both stay in the registry.

        :raises RegistryRefused: bad month, no reason, or the village is not excused
        """
        try:
            first = month_of(month)
        except ValueError as fault:
            raise RegistryRefused(str(fault), "month", found=month) from None
        taken = Waiver(village, first, _reason(reason, "a withdrawal"), by, self._clock.now(), withdrawn=True)

        def change(state: RegistryState, _: int) -> list[RegistryDraft]:
            if village not in state.waivers(first):
                raise RegistryRefused(f"{village[:20]!r} is not excused for {month}", "no_waiver", found=village[:20])
            return [state.waive(taken)]

        self.change(change, by)
        return taken

    def waivers(self, month: date) -> dict[str, Waiver]:
        """Waivers of a month by village code; of two, the later."""
        return self.state().waivers(month)

    def decide(self, month: date, visits: Mapping[str, str], decision: str, reason: str, by: str) -> None:
        """Write down what a person decided about visits of ``month``.

        :param visits: the origin of each visit's log, by visit id
        :param decision: "counted" or "refused"
        :raises RegistryRefused: another decision, or no reason
        """
        if decision not in DECISIONS:
            raise RegistryRefused(f"a visit is counted or refused, not {decision[:20]!r}")
        said = _reason(reason, "a decision")
        now = self._clock.now()
        decisions = {visit: Decision(origin, decision, said, by, now) for visit, origin in visits.items()}
        self.change(lambda state, n: [state.decide(month, decisions)] if decisions else [], by)

    def reviews(self, month: date) -> dict[str, Decision]:
        """What people decided about the visits of a month, by visit id."""
        return self.state().reviews(month)

    def vehicle(self, origin: str) -> RegisteredVehicle | None:
        return self.state().vehicle(origin)

    def verdicts(self, month: date) -> dict[str, Verdict]:
        """The sealed verdicts of a month, by the township's part of the village codes."""
        state = self.state()
        if isinstance(state.read, _StoredEntries):
            state.read.fetch(state.index.verdicts.get(month_key(month), {}).values())
        return state.verdicts(month)

    def sealed(self, month: date, practice: bool) -> dict[str, tuple[Verdict, SealedVillage]]:
        """What is sealed about the villages of a month, by their codes; empty while nothing is."""
        found = {}
        for verdict in self.verdicts(month).values():
            if verdict.practice == practice:
                found.update({code: (verdict, village) for code, village in verdict.villages.items()})
        return found

    def _today(self) -> date:
        return local_day(self._clock.now())


class _StoredEntries:
    """Reads the registry's entries; each is fetched once.

    :param held: those that are known already, by place
    """

    def __init__(self, origin: str, rows: _Rows, held: Mapping[int, RegistryEntry]) -> None:
        self._origin = origin
        self._rows = rows
        self._held = dict(held)

    def __call__(self, n: int) -> RegistryEntry:
        """:raises RegistryUnreadable: there is none at this place"""
        self.fetch([n])
        if n not in self._held:
            raise RegistryUnreadable(f"entry {n} of the registry is not here")
        return self._held[n]

    def fetch(self, places: Iterable[int]) -> None:
        """Fetch at once what will be asked for."""
        missing = [n for n in places if n not in self._held]
        for start in range(0, len(missing), _MOST_IN_LIST):
            part = entries.c.n.in_(missing[start : start + _MOST_IN_LIST])
            found = select(entries.c.n, entries.c.body).where(entries.c.origin == self._origin, part)
            self._held.update({row["n"]: read_registry_entry(row["body"], row["n"]) for row in self._rows(found)})


def _reason(reason: str, what: str) -> str:
    fewest, most = REASON_LETTERS
    if not fewest <= len(reason.strip()) <= most:
        raise RegistryRefused(
            f"{what} needs a reason of {fewest} to {most} characters", "reason", fewest=fewest, most=most
        )
    return reason.strip()


def _pointed(index: Index) -> set[int]:
    months = [*index.waivers.values(), *index.reviews.values(), *index.vehicles.values()]
    return {n for n in (index.rules, index.village_list, index.screening_rules, *months) if n is not None}


__all__ = ["ImportPlan", "Registry", "RegistryRefused", "Waiver"]

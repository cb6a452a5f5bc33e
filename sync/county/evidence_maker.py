"""Makes evidence bundles from the county's tables: what docs/evidence.md asks for, and not an entry more.

The maker is trusted by nobody: a bundle is verified here with the county's own policy before it is given away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, Join, select

from devices.errors import AskPerson
from sync.county.database import Database
from sync.county.mirror import Mirror
from sync.county.month_table import JudgedVisit, MonthTables, VillageMonth
from sync.county.schema import checkpoints, entries, entry_facts, subtrees
from sync.county.visits import OPEN_FOR
from sync.formats.notes import Note, NoteRefused
from sync.formats.records import format_time, parse_time, read_entry
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.coverage import VisitState
from sync.proof.evidence import Bundle, ClaimedVisit, LogPart, Manifest, Node, NotProven, nodes_for, write_bundle
from sync.proof.registry_entries import RegistryEntry, RegistryUnreadable, read_registry_entry, registry_origin
from sync.proof.registry_state import Index, RegistryState, month_key
from sync.proof.visit_conflicts import COMPARED
from sync.proof.visit_track import PROOF_KINDS
from sync.verify.bundle_check import BundleReport, check_bundle
from sync.verify.policy import Policy
from sync.verify.registry_check import RegistryFacts
from sync.verify.rules_check import RulesDue

_MOST_TRIED = 20
"""Checkpoints looked at for one that enough witnesses cosigned."""


class EvidenceMissing(AskPerson):
    """There is no evidence yet, or none at all; ``reason`` is a word for the page.

    :ivar reason: visit_open, not_delivered, not_witnessed, registry_not_witnessed, no_visit, not_provable,
        beside_another: in review because of a visit that these bundles do not show
    """

    code = "evidence_missing"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Evidence:
    """:ivar report: what the county's own verification of ``data`` found"""

    name: str
    data: bytes
    report: BundleReport


@dataclass(frozen=True)
class _Part:
    """Where a visit stands in its journal: first and last place of its range, and the checkpoints that bracket it."""

    first: int
    last: int
    sizes: frozenset[int]


class EvidenceMaker:
    """:param county: the county's origin
    :param policy: whose cosignatures are wanted
    """

    def __init__(self, database: Database, mirror: Mirror, tables: MonthTables, county: str, policy: Policy) -> None:
        self._database = database
        self._mirror = mirror
        self._tables = tables
        self._county = county
        self._policy = policy

    def of_visit(self, visit: str, month: date, practice: bool) -> Evidence:
        """Evidence of one visit, with the others of the month that its verdict rests on.

        :raises EvidenceMissing: see there
        """
        for row in self._tables.table(month, practice).rows:
            found = next((judged for judged in row.visits if judged.case.facts.visit == visit), None)
            if found is not None:
                if found.verdict.state is VisitState.OPEN:
                    raise EvidenceMissing("visit_open", f"visit {visit} has not ended yet")
                return self._made(row, month, practice, _resting_on(found, row.visits), f"evidence-{_safe(visit)}")
        raise EvidenceMissing("no_visit", f"there is no visit {visit} in {month_key(month)}")

    def of_village(self, code: str, month: date, practice: bool) -> Evidence:
        """Evidence of all visits to a village in a month, but for one that is still going on.

        :raises EvidenceMissing: see there
        """
        for row in self._tables.table(month, practice).rows:
            if row.village.code == code:
                ended = [judged for judged in row.visits if judged.verdict.state is not VisitState.OPEN]
                if ended:
                    return self._made(row, month, practice, ended, f"evidence-{code}-{month_key(month)}")
        raise EvidenceMissing("no_visit", f"no visit to {code} in {month_key(month)} has ended")

    def _made(
        self, row: VillageMonth, month: date, practice: bool, visits: Sequence[JudgedVisit], name: str
    ) -> Evidence:
        claims = [
            ClaimedVisit(judged.case.facts.visit, judged.case.record.origin, str(judged.verdict.state))
            for judged in visits
        ]
        claims.sort(key=lambda claim: (claim.origin, claim.visit))
        manifest = Manifest(self._county, row.village.code, month_key(month), practice, tuple(claims))
        journals = {}
        for origin in sorted({claim.origin for claim in claims}):
            parts = [self._part(origin, claim.visit) for claim in claims if claim.origin == origin]
            journals[origin] = self._journal(origin, parts)
        try:
            named = {judged.case.proof.evidence.named for judged in visits}
            registry, rules_checkpoint = self._registry(manifest, sorted(journals), named)
            data = write_bundle(Bundle(manifest, registry, journals, rules_checkpoint))
            report = check_bundle(data, self._policy)
        except (BundleUnreadable, NotProven, RegistryUnreadable) as fault:
            raise EvidenceMissing("not_provable", str(fault)) from None
        if report.wrong:
            beside = [judged.case.facts.visit for judged in visits if set(COMPARED) & set(judged.verdict.reasons)]
            if beside:
                raise EvidenceMissing("beside_another", f"in review because of visits elsewhere: {', '.join(beside)}")
            wrong = ", ".join(f"{visit.claim.visit}: {visit.verdict.state}" for visit in report.wrong)
            raise EvidenceMissing("not_provable", f"what is cosigned so far gives another verdict ({wrong})")
        return Evidence(name, data, report)

    # a visit's range and its checkpoints ------------------------------------------------------------------------------

    def _part(self, origin: str, visit: str) -> _Part:
        first, opened, last = self._range(origin, visit)
        sizes = {self._first_sealed(origin, visit, last), self._witnessed(origin, visit, last)}
        anchors = select(entries.c.body).select_from(_both()).where(entry_facts.c.origin == origin)
        anchors = anchors.where(entry_facts.c.kind == "anchor/1", entry_facts.c.n.between(first, opened))
        anchor = self._database.row(anchors.order_by(entry_facts.c.n.desc()).limit(1))
        if anchor is not None:
            sizes.add(read_entry(anchor["body"]).fields["size"])
        return _Part(first, last, frozenset(sizes))

    def _range(self, origin: str, visit: str) -> tuple[int, int, int]:
        """Places of the boot, of the visit's opening and of its end: of one that nobody ended, a day later."""
        of_visit = select(entry_facts).where(entry_facts.c.origin == origin, entry_facts.c.visit == visit)
        openings = of_visit.where(entry_facts.c.kind == "visit_opened/1").order_by(entry_facts.c.n)
        opened = self._database.row(openings.limit(1))
        if opened is None:
            raise EvidenceMissing("no_visit", f"the journal {origin} does not open visit {visit}")
        boots = select(entry_facts.c.n).where(entry_facts.c.origin == origin, entry_facts.c.kind == "boot/1")
        boot = self._database.row(boots.where(entry_facts.c.n <= opened["n"]).order_by(entry_facts.c.n.desc()).limit(1))
        if boot is None:
            raise EvidenceMissing("not_provable", f"the beginning of boot {opened['boot']} of {origin} is not known")
        ends = of_visit.where(entry_facts.c.kind == "visit_closed/1", entry_facts.c.n > opened["n"])
        closed = self._database.row(ends.order_by(entry_facts.c.n).limit(1))
        if closed is not None:
            return boot["n"], opened["n"], closed["n"]
        day_after = format_time(parse_time(opened["at"]) + OPEN_FOR)
        last = select(entry_facts.c.n).where(entry_facts.c.origin == origin, entry_facts.c.n >= opened["n"])
        end = self._database.row(last.where(entry_facts.c.at <= day_after).order_by(entry_facts.c.n.desc()).limit(1))
        return boot["n"], opened["n"], end["n"] if end else opened["n"]

    def _first_sealed(self, origin: str, visit: str, last: int) -> int:
        """Size of the checkpoint over ``last`` that the county cosigned first."""
        covering = select(checkpoints.c.size).where(checkpoints.c.origin == origin, checkpoints.c.size > last)
        covering = covering.where(checkpoints.c.cosigned_at.is_not(None))
        found = self._database.row(covering.order_by(checkpoints.c.cosigned_at, checkpoints.c.size).limit(1))
        if found is None:
            raise EvidenceMissing("not_delivered", f"visit {visit}: its last records have not been delivered yet")
        size: int = found["size"]
        return size

    def _witnessed(self, origin: str, visit: str, last: int) -> int:
        """Size of the first checkpoint over ``last`` that all have cosigned whom the policy asks for."""
        size = self._satisfying(checkpoints.c.origin == origin, checkpoints.c.size > last)
        if size is None:
            raise EvidenceMissing("not_witnessed", f"visit {visit}: not cosigned by the province yet")
        return size

    def _satisfying(self, *where: ColumnElement[bool], newest: bool = False) -> int | None:
        """Size of the first (or newest) checkpoint that satisfies the policy; those of the province are tried first."""
        found = select(checkpoints.c.size, checkpoints.c.note).where(*where, checkpoints.c.cosigned_at.is_not(None))
        found = found.order_by(checkpoints.c.size.desc() if newest else checkpoints.c.size).limit(_MOST_TRIED)
        for rows in (found.where(checkpoints.c.witnessed_at.is_not(None)), found):
            for row in self._database.rows(rows):
                if self._satisfied(row["note"]):
                    size: int = row["size"]
                    return size
        return None

    def _satisfied(self, note: bytes) -> bool:
        try:
            lines = Note.parse(note).signatures
        except NoteRefused:
            return False
        witnesses = self._policy.witnesses.items()
        return self._policy.satisfied_by({name for name, key in witnesses if any(map(key.fits, lines))})

    # parts of logs ----------------------------------------------------------------------------------------------------

    def _journal(self, origin: str, parts: Sequence[_Part]) -> LogPart:
        ranges = [(part.first, part.last + 1) for part in parts]
        shown: dict[int, bytes] = {}
        for part in parts:
            wanted = select(entries.c.n, entries.c.body).select_from(_both()).where(entry_facts.c.origin == origin)
            wanted = wanted.where(entry_facts.c.n.between(part.first, part.last), entry_facts.c.kind.in_(PROOF_KINDS))
            shown |= {row["n"]: row["body"] for row in self._database.rows(wanted)}
        return self._log_part(origin, ranges, shown, {size for part in parts for size in part.sizes})

    def _registry(
        self, manifest: Manifest, origins: Sequence[str], named: Iterable[str]
    ) -> tuple[LogPart, bytes | None]:
        """The newest checkpoint that all have cosigned, with the entries that a verdict asks for.

        And an earlier one over the rules of the month, when the newest is too late to show that they were made in time.
        """
        origin = registry_origin(self._county)
        size = self._satisfying(checkpoints.c.origin == origin, newest=True)
        if size is None:
            raise EvidenceMissing("registry_not_witnessed", "the registry is not cosigned by the province yet")
        shown: dict[int, bytes] = {}
        read = self._reading(origin, shown)
        state = RegistryState(size, Index.read(read(size - 1)), read)
        due = RegistryFacts.read(state, manifest, origins).rules_due
        for code in named:
            state.villages_around(code)
        sizes = {size}
        if due is not None and not self._cosigned_in_time(origin, size, due):
            sizes.add(self._satisfying(checkpoints.c.origin == origin, checkpoints.c.size > due.place) or size)
        part = self._log_part(origin, [(n, n + 1) for n in shown], shown, sizes)
        return part, part.checkpoints[min(sizes)] if len(sizes) > 1 else None

    def _cosigned_in_time(self, origin: str, size: int, due: RulesDue) -> bool:
        at = (checkpoints.c.origin == origin) & (checkpoints.c.size == size)
        row = self._database.row(select(checkpoints.c.witnessed_at).where(at))
        return row is not None and row["witnessed_at"] is not None and due.kept(row["witnessed_at"])

    def _reading(self, origin: str, shown: dict[int, bytes]) -> Callable[[int], RegistryEntry]:
        """Reads entries of the registry and notes which."""
        known: dict[int, RegistryEntry] = {}

        def read(n: int) -> RegistryEntry:
            if n not in known:
                found = self._mirror.bodies(origin, n, n + 1)
                if not found:
                    raise RegistryUnreadable(f"entry {n} of the registry is not here")
                shown[n] = found[0][1]
                known[n] = read_registry_entry(shown[n], n)
            return known[n]

        return read

    def _log_part(
        self, origin: str, singly: Sequence[tuple[int, int]], shown: Mapping[int, bytes], sizes: set[int]
    ) -> LogPart:
        nodes = [node for node in nodes_for(singly, sizes) if node[0] or node[1] not in shown]
        notes = select(checkpoints.c.size, checkpoints.c.note).where(checkpoints.c.origin == origin)
        found = {row["size"]: row["note"] for row in self._database.rows(notes.where(checkpoints.c.size.in_(sizes)))}
        if set(found) != sizes:
            raise EvidenceMissing("not_provable", f"checkpoints of {origin} are missing: {sorted(sizes - set(found))}")
        return LogPart(dict(sorted(shown.items())), self._hashes(origin, nodes), found)

    def _hashes(self, origin: str, nodes: Iterable[Node]) -> dict[Node, bytes]:
        """Leaves range by range, the few larger subtrees one by one."""
        hashes: dict[Node, bytes] = {}
        leaves = sorted(index for level, index in nodes if level == 0)
        for first, end in _runs(leaves):
            hashes |= {(0, first + place): leaf for place, leaf in enumerate(self._mirror.leaves(origin, first, end))}
        with self._database.read() as connection:
            for level, index in nodes:
                if level:
                    at = (subtrees.c.origin == origin) & (subtrees.c.level == level) & (subtrees.c.place == index)
                    hashes[level, index] = connection.execute(select(subtrees.c.hash).where(at)).scalar_one()
        return hashes


def _both() -> Join:
    return entry_facts.join(entries, (entries.c.origin == entry_facts.c.origin) & (entries.c.n == entry_facts.c.n))


def _safe(name: str) -> str:
    """Fit for the name of a file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges [first, end) of places that follow one another."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1] = runs[-1][0], place + 1
        else:
            runs.append((place, place + 1))
    return runs


def _resting_on(found: JudgedVisit, visits: Sequence[JudgedVisit]) -> list[JudgedVisit]:
    """The visit, those of its day, and for one that stands too close the counted one before it, with its day's."""
    wanted = {found.case.facts.day}
    for _ in visits:
        for judged in visits:
            if judged.case.facts.day in wanted and "too_close_to_previous" in judged.verdict.reasons:
                earlier = [
                    other.case.facts.day
                    for other in visits
                    if other.verdict.counted and other.case.facts.day < judged.case.facts.day
                ]
                wanted |= {max(earlier)} if earlier else set()
    return [
        judged for judged in visits if judged.case.facts.day in wanted and judged.verdict.state is not VisitState.OPEN
    ]

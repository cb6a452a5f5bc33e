"""The review queue: visits that wait for a person, and what was decided about others. Nothing is ever dropped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from devices.clock import Clock
from devices.errors import AskPerson
from sync.county.month_table import JudgedVisit, MonthTable, MonthTables
from sync.county.registry import Registry
from sync.proof.areas import Village
from sync.proof.coverage import VisitState, other_month
from sync.proof.presence import local_day
from sync.proof.registry_state import Decision

MONTHS_BACK = 2
"""Before the present one."""


class NothingToDecide(AskPerson):
    """The visit does not wait for a person, or no longer."""

    code = "nothing_to_decide"


@dataclass(frozen=True, slots=True)
class ReviewedVisit:
    """:ivar decision: None while it waits"""

    judged: JudgedVisit
    village: Village
    decision: Decision | None

    @property
    def visit(self) -> str:
        return self.judged.case.facts.visit


@dataclass(frozen=True, slots=True)
class ReviewQueue:
    """:ivar waiting: the oldest first; ``decided``: the newest decision first"""

    waiting: tuple[ReviewedVisit, ...]
    decided: tuple[ReviewedVisit, ...]


class Reviews:
    def __init__(self, tables: MonthTables, registry: Registry, clock: Clock) -> None:
        self._tables = tables
        self._registry = registry
        self._clock = clock

    def queue(self, practice: bool) -> ReviewQueue:
        """Visits of this month and the two before it, judged as they stand now, sealed or not."""
        this = local_day(self._clock.now()).replace(day=1)
        found = [
            one
            for back in range(MONTHS_BACK, -1, -1)
            for one in _visits(self._tables.table(other_month(this, -back), practice, as_sealed=False))
        ]
        waiting = [one for one in found if one.judged.verdict.state is VisitState.REVIEW]
        decided = [(one.decision.at, one) for one in found if one.decision is not None]
        decided.sort(key=lambda made: (made[0], made[1].visit), reverse=True)
        return ReviewQueue(tuple(waiting), tuple(one for _, one in decided))

    def decide(
        self, visits: Collection[str], decision: str, reason: str, by: str, practice: bool
    ) -> list[ReviewedVisit]:
        """Write a person's decision about visits into the registry; returns those for which it is a new one.

        A decision may be changed by another one; both stay in the log.

        :raises NothingToDecide: a visit does not wait for one, and none was made; nothing is written
        :raises sync.county.registry.RegistryRefused: no reason of 2 to 200 characters, or another word than
            "counted" and "refused"
        """
        queue = self.queue(practice)
        known = {one.visit: one for one in (*queue.waiting, *queue.decided)}
        unknown = [visit for visit in visits if visit not in known]
        if unknown or not visits:
            raise NothingToDecide("; ".join(f"visit {visit[:60]!r} does not wait for a decision" for visit in unknown))
        new = [known[visit] for visit in visits if not _same(known[visit].decision, decision, reason)]
        by_month: dict[date, dict[str, str]] = {}
        for one in new:
            month = one.judged.case.facts.day.replace(day=1)
            by_month.setdefault(month, {})[one.visit] = one.judged.case.record.origin
        for month, origins in by_month.items():
            self._registry.decide(month, origins, decision, reason, by)
        return new


def _same(made: Decision | None, decision: str, reason: str) -> bool:
    return made is not None and (made.decision, made.reason) == (decision, reason.strip())


def _visits(table: MonthTable) -> list[ReviewedVisit]:
    found = [
        ReviewedVisit(judged, row.village, judged.case.proof.decision) for row in table.rows for judged in row.visits
    ]
    return sorted(found, key=lambda one: (one.judged.case.facts.day, one.visit))

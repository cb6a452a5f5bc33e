"""Were the rules of a month in the registry in time? By the province's clock, not by the county's. Pure.

The registry's entries say their own time, so a county could date rules back. A checkpoint that covers them and that the
province cosigned before the month was settled shows that it did not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sync.proof.coverage import Rules, end_of_month
from sync.proof.presence import local_day
from sync.proof.registry_state import RegistryState, rules_in
from sync.verify.checkpoints import SignedCheckpoint


@dataclass(frozen=True)
class RulesDue:
    """:ivar place: of the rules by which the month is judged
    :ivar due_on: the last local day on which rules for it could be made
    """

    place: int
    due_on: date

    @classmethod
    def of(cls, state: RegistryState, month: date) -> RulesDue | None:
        """None for the programme's defaults, which nobody made."""
        entry = state.rules_entry_of(month)
        if entry is None:
            return None
        before = entry.fields.get("before")
        settled_by = rules_in(state.read(before)) if before is not None else Rules()
        return cls(entry.n, end_of_month(month) + timedelta(days=settled_by.provisional_days))

    def kept(self, at: datetime) -> bool:
        return local_day(at) <= self.due_on


@dataclass(frozen=True)
class RulesWitnessed:
    """:ivar at: when another than the county first cosigned a shown checkpoint over the rules; None: nobody did"""

    due: RulesDue
    at: datetime | None

    @property
    def in_time(self) -> bool:
        return self.at is not None and self.due.kept(self.at)

    @classmethod
    def among(cls, due: RulesDue, signed: Iterable[SignedCheckpoint], county: str) -> RulesWitnessed:
        """:param county: key name of the county's cosigner, whose word does not count here"""
        covering = (one for one in signed if one.checkpoint.size > due.place)
        times = (at for one in covering for name, at in one.witnesses.items() if name != county)
        return cls(due, min(times, default=None))

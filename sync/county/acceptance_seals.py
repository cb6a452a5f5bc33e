"""Sealed months as a reviewer may check them: places and leaf hashes of their verdicts, and a file that proves them.

The file holds the verdicts themselves, the index that names them, a proof for each that it lies in the registry's tree,
and the cosigned checkpoint: ``sync.verify.sealed_check`` checks it with the policy and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sync.county.acceptance_period import Period
from sync.county.mirror import Mirror
from sync.county.month_table import MonthTable
from sync.county.registry import Registry
from sync.formats.merkle import leaf_hash
from sync.formats.notes import Checkpoint, Note
from sync.proof.registry_entries import RegistryEntry
from sync.proof.registry_state import Index, RegistryState, Verdict, month_key
from sync.proof.sealed_file import write_sealed_file


@dataclass(frozen=True, slots=True)
class SealedTownship:
    """:ivar entries: place and leaf hash (RFC 6962) of each entry of the verdict, the newest first
    :ivar supersedes: place of the verdict that it took the place of, because of what arrived later
    """

    township: str
    at: datetime
    entries: tuple[tuple[int, bytes], ...]
    supersedes: int | None


@dataclass(frozen=True, slots=True)
class SealedMonth:
    """:ivar state: "sealed", "provisional" (over, late arrivals may still change it), "due" or "running"
    :ivar sealed_on: from this day on it is sealed
    """

    month: date
    state: str
    sealed_on: date
    townships: tuple[SealedTownship, ...]


def sealed_month(registry: Registry, table: MonthTable) -> SealedMonth:
    """What is sealed of a month; verdicts over practice are none over the real thing, and the other way round."""
    state = registry.state()
    found = [one for one in registry.verdicts(table.month).values() if one.practice == table.practice]
    said = tuple(_township(state, verdict) for verdict in sorted(found, key=lambda verdict: verdict.township_code))
    if said:
        word = "sealed"
    elif table.today <= table.days[-1]:
        word = "running"
    else:
        word = "provisional" if table.provisional else "due"
    return SealedMonth(table.month, word, table.sealed_on, said)


def sealed_file(registry: Registry, mirror: Mirror, period: Period, about: Mapping[str, Any]) -> bytes:
    """The file for whoever checks the report: see ``sync.proof.sealed_file``.

    :param about: beside the months, which it says itself
    :raises LookupError: nothing of the registry is cosigned yet
    """
    note = mirror.checkpoint(registry.origin)
    if note is None:
        raise LookupError("the registry has no cosigned checkpoint yet")
    size = Checkpoint.parse(Note.parse(note).text).size
    state = registry.state()
    named = Index.read(state.read(size - 1)).verdicts
    verdicts = [n for month in period for n in named.get(month_key(month), {}).values()]
    shown = sorted({size - 1, *(entry.n for n in verdicts for entry in _of_verdict(state, n))})
    entries = [(n, state.read(n).body, mirror.inclusion(registry.origin, n, size)) for n in shown]
    months = {"first": month_key(period.first), "last": month_key(period.last)}
    return write_sealed_file({**about, **months}, note, entries)


def _township(state: RegistryState, verdict: Verdict) -> SealedTownship:
    entries = tuple((entry.n, leaf_hash(entry.body)) for entry in _of_verdict(state, verdict.n))
    return SealedTownship(verdict.township, verdict.at, entries, verdict.supersedes)


def _of_verdict(state: RegistryState, n: int | None) -> Iterator[RegistryEntry]:
    """A large township's verdict goes on from other entries."""
    while n is not None:
        entry = state.read(n)
        yield entry
        n = entry.fields.get("before")

"""The county's editions of the screening rules: made from the one in force, checked, signed into the registry.

An edition is the whole rule file (``sync.screening``). The shipped file counts as edition 0 until the first is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from sync.county.database import Database
from sync.county.mirror import Mirror
from sync.county.registry import REASON_LETTERS, Registry, RegistryRefused
from sync.county.schema import projected
from sync.formats.notes import Checkpoint, Note
from sync.formats.signed_rules import Shown, written
from sync.proof.registry_entries import RegistryDraft, RegistryEntry
from sync.proof.registry_state import RegistryState
from sync.screening.evaluator import RuleSet
from sync.screening.replay import Replay, Replayed, Stored
from sync.screening.rule_changes import Difference, Turned, differences, turned, with_edition
from sync.screening.rule_file import (
    RuleFileRefused,
    canonical,
    check,
    pack,
    read,
    sha256_of,
    shipped_raw,
    shipped_text,
    unpack,
)

KIND = "screening_rules/1"


@dataclass(frozen=True, slots=True)
class Edition:
    """:ivar number: 0 for the shipped file
    :ivar place: of its entry in the registry; None for the shipped file"""

    number: int
    sha256: str
    name: str
    reason: str
    rules: tuple[str, ...]
    by: str
    at: datetime | None
    place: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a copy would change. ``problem``: why it cannot come into force."""

    raw: Mapping[str, Any]
    differences: tuple[Difference, ...]
    turned: tuple[Turned, ...]
    tests: int
    problem: RuleFileRefused | None


class ScreeningRules:
    def __init__(self, registry: Registry, mirror: Mirror, database: Database, county: str) -> None:
        self._registry = registry
        self._mirror = mirror
        self._database = database
        self._county = county

    # what is in force -------------------------------------------------------------------------------------------------

    def editions(self) -> list[Edition]:
        """The newest first; the shipped file last."""
        told = [_edition(entry) for entry in self._chain(self._registry.state())]
        return [*told, Edition(0, sha256_of(shipped_text()), "", "", (), "", None, None)]

    def raw(self, number: int | None = None) -> dict[str, Any]:
        """The rule file in force, or that of an edition.

        :raises RegistryRefused: there is no such edition
        """
        for entry in self._chain(self._registry.state()):
            if number is None or entry.fields["edition"] == number:
                return read(unpack(entry.fields["file"], entry.fields["sha256"]))[0]
        if number:
            raise RegistryRefused(f"there is no edition {number} of the screening rules", "no_edition", found=number)
        return shipped_raw()

    def preview(self, raw: Mapping[str, Any]) -> Preview:
        """What ``raw`` would change against what is in force, and whether it can."""
        before = self.raw()
        try:
            changed = differences(before, raw)
            answered = turned(raw)
            dressed = with_edition(raw, self._next(self._registry.state()), "-", "-", self._county)
            count = sum(len(row.get("tests", ())) for row in dressed["rules"])
            check(dressed)
        except RuleFileRefused as refusal:
            return Preview(raw, (), (), 0, refusal)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return Preview(raw, (), (), 0, _first_problem(raw))
        return Preview(raw, tuple(changed), tuple(answered), count, None)

    def publish(self, raw: Mapping[str, Any], name: str, reason: str, by: str) -> Edition:
        """Make ``raw`` the edition in force.

        :param name: of the clinician who answers for it
        :raises RegistryRefused: no name or reason, or nothing is changed
        :raises RuleFileRefused: the file cannot come into force
        """
        name, reason = name.strip(), reason.strip()
        fewest, most = REASON_LETTERS
        if not 2 <= len(name) <= 60:
            raise RegistryRefused("name the clinician who answers for the rules", "clinician")
        if not fewest <= len(reason) <= most:
            raise RegistryRefused(
                f"an edition needs a reason of {fewest} to {most} characters", "reason", fewest=fewest, most=most
            )
        check_shape(raw)

        def change(state: RegistryState, n: int) -> list[RegistryDraft]:
            newest = next(self._chain(state), None)
            before = read(unpack(newest.fields["file"], newest.fields["sha256"]))[0] if newest else shipped_raw()
            changed = differences(before, raw)
            if not changed:
                raise RegistryRefused("nothing differs from the rules in force", "nothing_changed")
            dressed = with_edition(raw, self._next(state), name, reason, self._county)
            check(dressed)
            text = canonical(dressed)
            fields: dict[str, Any] = {
                "edition": self._next(state),
                "sha256": sha256_of(text),
                "file": pack(text),
                "name": name,
                "reason": reason,
                "rules": sorted({one.rule or one.where for one in changed}),
            }
            if newest is not None:
                fields["before"] = newest.n
            return [RegistryDraft(KIND, fields)]

        entries = self._registry.change(change, by)
        return _edition(entries[0])

    # for vans ---------------------------------------------------------------------------------------------------------

    def proof(self, have: str) -> bytes | None:
        """What a van needs to trust the edition in force (``sync.formats.signed_rules``).

        :param have: SHA-256 of the file that it works by; None when that is the one in force, or there is none
        """
        note = self._mirror.checkpoint(self._registry.origin)
        if note is None:
            return None
        size = Checkpoint.parse(Note.parse(note).text).size
        index = self._registry.entry(size - 1)
        place = index.fields.get("screening_rules")
        if place is None:
            return None
        edition = self._registry.entry(place)
        if edition.fields["sha256"] == have:
            return None
        origin = self._registry.origin
        shown = [Shown(one.n, one.body, tuple(self._mirror.inclusion(origin, one.n, size))) for one in (edition, index)]
        return written(note, shown)

    # replay -----------------------------------------------------------------------------------------------------------

    def files(self) -> Iterator[RuleSet]:
        """Every rule file at hand: shipped, the editions, and those that vans say they worked by."""
        yield read(shipped_text())[1]
        for entry in self._chain(self._registry.state()):
            yield read(unpack(entry.fields["file"], entry.fields["sha256"]))[1]
        table = projected["screening_rules"]
        for row in self._database.rows(select(table.c.sha256, table.c.file).distinct()):
            yield read(unpack(row["file"], row["sha256"]))[1]

    def replay(self) -> Iterator[Replayed]:
        """Every screening result of every van, asked again."""
        replay = Replay(self.files())
        table = projected["screening_results"]
        for row in self._database.rows(select(table).order_by(table.c.origin, table.c.at, table.c.result)):
            yield replay.ask(stored_of(row))

    def _chain(self, state: RegistryState) -> Iterator[RegistryEntry]:
        place = state.index.screening_rules
        while place is not None:
            entry = state.read(place)
            yield entry
            place = entry.fields.get("before")

    def _next(self, state: RegistryState) -> int:
        newest = next(self._chain(state), None)
        return (newest.fields["edition"] if newest else 0) + 1


def stored_of(row: Mapping[str, Any]) -> Stored:
    """A row of the projection table ``screening_results``."""
    inputs = json.loads(row["inputs_json"] or "{}")
    return Stored(row["result"], row["rule"], row["rule_version"], inputs, row["code"], row["level"])


def check_shape(raw: Mapping[str, Any]) -> None:
    """:raises RuleFileRefused: everything but tests that answer otherwise, which whoever signs has seen"""
    try:
        check(raw)
    except RuleFileRefused as refusal:
        if refusal.problem != "test":
            raise


def _first_problem(raw: Any) -> RuleFileRefused:
    try:
        check(raw)
    except RuleFileRefused as refusal:
        return refusal
    return RuleFileRefused("unreadable", "the file cannot be compared with the one in force")


def _edition(entry: RegistryEntry) -> Edition:
    said = entry.fields
    return Edition(
        said["edition"], said["sha256"], said["name"], said["reason"], tuple(said["rules"]), entry.by, entry.at, entry.n
    )

"""Which screening rules this van works by: the shipped file, or the county's newest edition that it has verified.

The county shows its edition with a proof (``sync.formats.signed_rules``): cosigned by the county's key, named by the
index of its registry, whole by its SHA-256, readable, and answering its own tests. Only then it is kept as an entry
(``screening_rules/1``, with the file) and asked from that moment on. An older registry than one seen before is refused.
Each file is in the journal, so that every result can be asked again under the rules of its day (``replay``).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any, Protocol

from devices.clock import Clock
from devices.events import emit
from sync.delivery.county_client import CountyUnreachable, RecordRefused
from sync.formats.canonical import Json
from sync.formats.notes import VerifierKey
from sync.formats.records import Draft
from sync.formats.signed_rules import RulesNotProven, SignedRules, proven
from sync.proof.registry_entries import registry_origin
from sync.screening.evaluator import RuleSet, UnknownRule
from sync.screening.replay import Replay, Replayed, Stored
from sync.screening.rule_file import RuleFileRefused, pack, read, sha256_of, shipped_text, unpack
from vehicle.clinic.ports import Journal
from vehicle.clinic.prompts import Prompts

EVERY_S = 300.0
SHIPPED, COUNTY = "shipped", "county"


class County(Protocol):
    """The part of ``CountyClient`` that is asked here."""

    @property
    def key(self) -> VerifierKey: ...

    async def screening_rules(self, have: str) -> bytes | None: ...


class RegistryWentBack(RulesNotProven):
    """The county shows an older edition, or an older registry, than this van has seen."""


def refusal_code(fault: Exception) -> str:
    """Of a refused edition what somebody should do about it: a code of the hints."""
    if isinstance(fault, RegistryWentBack):
        return "rules_older"
    if isinstance(fault, RulesNotProven):
        return "rules_not_proven"
    if isinstance(fault, UnknownRule) or (isinstance(fault, RuleFileRefused) and fault.problem in OTHER_VERSION):
        return "rules_other_version"
    return "rules_unusable"


OTHER_VERSION = frozenset({"schema", "field", "input", "condition"})
"""Problems of a file that uses what this version does not know."""


class RuleBook:
    """:param county: None where the van has none"""

    def __init__(self, store: Journal, clock: Clock, prompts: Prompts, county: County | None) -> None:
        self._store = store
        self._clock = clock
        self._prompts = prompts
        self._county = county
        self.fault: str = ""
        """Why the county's newest edition was refused; empty when it was not."""
        self.fault_code: str = ""
        """The same as a code of the hints: it stands on Status."""
        self._unreadable = False
        """The edition in force cannot be read by this version: the shipped rules hold."""
        self._load()

    @property
    def edition(self) -> int:
        """Of the county; 0 for the shipped rules."""
        row = self._newest()
        return int(row["edition"]) if row else 0

    async def run(self) -> None:
        """Keep the shipped file in the journal, then ask the county for ever."""
        await self._keep_shipped()
        while True:
            with contextlib.suppress(CountyUnreachable, RecordRefused):  # the uploader says how the county is
                await self.ask()
            await self._clock.sleep(EVERY_S)

    async def ask(self) -> bool:
        """Take over the county's edition in force; whether there was a newer one.

        :raises CountyUnreachable, RecordRefused: see ``CountyClient``
        """
        if self._county is None:
            return False
        newest = self._newest()
        body = await self._county.screening_rules(newest["sha256"] if newest else "")
        if body is None:  # it offers nothing else than what is in force: a refused edition is gone
            if self.fault_code and not self._unreadable:
                self._refused(None)
            return False
        try:
            signed, rules = self._verified(body, self._county.key, newest)
            self._prompts.take(rules)
        except (RulesNotProven, RuleFileRefused, UnknownRule) as fault:
            self._refused(fault)
            return False
        self._unreadable = False
        self._refused(None)
        fields: dict[str, Json] = {
            "sha256": signed.sha256,
            "edition": signed.edition,
            "source": COUNTY,
            "file": signed.file,
            "place": signed.place,
            "checkpoint": signed.checkpoint,
        }
        await self._store.commit(Draft("screening_rules/1", fields))
        emit("screening_rules_taken", edition=signed.edition, sha256=signed.sha256)
        return True

    def replay(self) -> Iterator[Replayed]:
        """Every screening result of this van, asked again under the rule version that it names."""
        return replay(self._store)

    def _verified(self, body: bytes, key: VerifierKey, newest: dict[str, Any] | None) -> tuple[SignedRules, RuleSet]:
        signed = proven(body, registry_origin(key.name), key)
        if newest is not None and (signed.edition <= newest["edition"] or signed.place <= newest["place"]):
            raise RegistryWentBack(
                f"the county shows edition {signed.edition} after edition {newest['edition']}: its registry went back"
            )
        raw, rules = read(unpack(signed.file, signed.sha256))
        said = raw.get("edition")
        if not isinstance(said, dict) or said.get("county") != key.name or said.get("number") != signed.edition:
            raise RulesNotProven("the rule file is not the edition of this county that its entry names")
        return signed, rules

    def _load(self) -> None:
        """Work by the newest edition that was taken over; by the shipped file when it cannot be read any more."""
        newest = self._newest()
        if newest is None:
            return
        try:
            self._prompts.take(read(unpack(newest["file"], newest["sha256"]))[1])
        except (RuleFileRefused, UnknownRule) as fault:
            self._unreadable = True
            self._refused(fault)

    def _refused(self, fault: Exception | None) -> None:
        """Note why an edition was refused, once in the log; None: none is any more."""
        if fault is not None and str(fault) != self.fault:
            emit("screening_rules_refused", level=logging.WARNING, reason=str(fault)[:300])
        self.fault = str(fault) if fault is not None else ""
        self.fault_code = refusal_code(fault) if fault is not None else ""

    def _newest(self) -> dict[str, Any] | None:
        rows = self._store.read(
            "SELECT * FROM screening_rules WHERE source = ? AND at IS NOT NULL ORDER BY edition DESC LIMIT 1", (COUNTY,)
        )
        return rows[0] if rows else None

    async def _keep_shipped(self) -> None:
        text = shipped_text()
        if self._store.read("SELECT 1 FROM screening_rules WHERE sha256 = ?", (sha256_of(text),)):
            return
        fields: dict[str, Json] = {
            "sha256": sha256_of(text),
            "edition": 0,
            "source": SHIPPED,
            "file": pack(text),
        }
        await self._store.commit(Draft("screening_rules/1", fields))


def replay(store: Journal) -> Iterator[Replayed]:
    """Every screening result of a journal, asked again under the rule version that it names."""
    files = [read(shipped_text())[1]]
    for row in store.read("SELECT sha256, file FROM screening_rules WHERE at IS NOT NULL ORDER BY at, sha256"):
        files.append(read(unpack(row["file"], row["sha256"]))[1])
    asked = Replay(files)
    for row in store.read("SELECT * FROM screening_results WHERE at IS NOT NULL ORDER BY at, result"):
        inputs = json.loads(row["inputs_json"] or "{}")
        yield asked.ask(Stored(row["result"], row["rule"], row["rule_version"], inputs, row["code"], row["level"]))

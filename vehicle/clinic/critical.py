"""Red values: found, told, measured again, and then referred, consulted or refused; each step an entry with its time.

A critical value needs a call, the words repeated by who takes them, and the time (domain notes, section 3.7): whoever
refers says whom they called and that it was read back. Who refuses says why and signs. Who cannot be told (unconscious,
a small child) is not kept waiting for it: why is said instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.critical_actions import CLOSING, WITHDRAWN
from sync.formats.records import Draft, format_time
from sync.record.recordings import Recordings
from vehicle.clinic.critical_record import Critical, done_about, finding
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.measurements import Measurements
from vehicle.clinic.ports import Journal, Live

ACTIONS = ("told", "not_told", "repeated", "referred", "consulted", "refused", WITHDRAWN)
"""What can be done about a red value; ``withdrawn`` about a finding only: it was none."""
LONGEST_WORDS = 200
LARGEST_SIGNATURE_BYTES = 400_000
_PNG = b"\x89PNG\r\n\x1a\n"


class ActionMissing(AskPerson):
    """``facts["what"]`` is missing: action, told, not_told_because, receiver, read_back, reason or signature."""

    code = "critical_unanswered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody says was done about one red value."""

    actions: frozenset[str]
    receiver: str = ""
    """Who was called, with the referral."""
    read_back: bool = False
    """Who was called repeated the value, and it was right."""
    reason: str = ""
    """Why the person refuses, in their words."""
    not_told_because: str = ""
    """Why the person could not be told."""
    signature_png: bytes = b""

    def missing(self, person_is_here: bool, done: tuple[str, ...], may_withdraw: bool = False) -> str:
        """The first thing that is missing, empty when nothing is.

        :param done: actions noted before
        """
        chosen = self.actions & (set(ACTIONS) - (set() if may_withdraw else {WITHDRAWN}))
        wanted = {
            "action": bool(chosen),
            "told": not (person_is_here and chosen & CLOSING) or self._told(chosen | set(done)),
            "not_told_because": "not_told" not in chosen or 1 <= len(self.not_told_because.strip()) <= LONGEST_WORDS,
            "receiver": "referred" not in chosen or 1 <= len(self.receiver.strip()) <= LONGEST_WORDS,
            "read_back": "referred" not in chosen or self.read_back,
            "reason": "refused" not in chosen or 1 <= len(self.reason.strip()) <= LONGEST_WORDS,
            "signature": "refused" not in chosen or self._signed(),
        }
        return next((what for what, is_there in wanted.items() if not is_there), "")

    @staticmethod
    def _told(actions: AbstractSet[str]) -> bool:
        """Who could not be told cannot refuse either."""
        return "told" in actions or ("not_told" in actions and "refused" not in actions)

    def _signed(self) -> bool:
        return self.signature_png.startswith(_PNG) and len(self.signature_png) <= LARGEST_SIGNATURE_BYTES


class CriticalValues:
    def __init__(
        self,
        store: Journal,
        clock: Clock,
        recordings: Recordings,
        encounters: Encounters,
        measurements: Measurements,
        live: Live,
    ) -> None:
        self._store = store
        self._clock = clock
        self._recordings = recordings
        self._encounters = encounters
        self._measurements = measurements
        self._live = live
        self._changing = asyncio.Lock()

    async def acknowledge(self, reading: str, answer: Answer, by: str) -> list[Critical]:
        """Note what was done about a red value; returns what is still open of the person being served.

        :param reading: a reading, or a finding (``vehicle.clinic.critical_findings``)
        :raises ActionMissing: says what; nothing is written
        :raises ReadingUnknown: no such reading
        """
        async with self._changing:
            found = finding(self._store, reading)
            row = self._measurements.row(reading) if found is None else self._row(reading)
            served = self._encounters.current()
            here = served is not None and served.encounter == row["encounter"]
            if what := answer.missing(here, done_about(self._store, reading), found is not None):
                raise ActionMissing(f"say what was done: {what} is missing", what=what)
            drafts: list[Draft] = []
            signature = ""
            if "refused" in answer.actions:
                signature, size = await asyncio.to_thread(self._recordings.store, answer.signature_png, "image/png")
                drafts.append(self._signature_draft(signature, size, row, by))
            drafts += [
                Draft("critical_action/1", fields, by, row["visit"], row["encounter"])
                for fields in _fields(reading, row["patient"], answer, signature)
            ]
            await self._store.commit(*drafts)
            if found is None:
                return self._measurements.acknowledged(reading)
            said = {"live": False, "state": "acknowledged", "kind": found.type, "reading": reading}
            self._live.send({"type": "reading", **said})
            return self._measurements.critical()

    def _row(self, name: str) -> dict[str, Any]:
        """A finding with the columns of a reading that are needed here."""
        rows = self._store.read(
            "SELECT finding AS reading, patient, visit, encounter FROM critical_findings WHERE finding = ?", (name,)
        )
        return rows[0]

    def _signature_draft(self, sha256: str, size: int, row: Mapping[str, Any], by: str) -> Draft:
        fields: dict[str, Json] = {
            "sha256": sha256,
            "bytes": size,
            "media_type": "image/png",
            "what": "signature",
            "patient": row["patient"],
            "started_at": format_time(self._clock.now()),
            "duration_ms": 0,
            "facts": {"reading": row["reading"], "signed_by": "patient"},
        }
        return Draft("recording/1", fields, by, row["visit"], row["encounter"])


def _fields(reading: str, patient: str | None, answer: Answer, signature: str) -> list[dict[str, Json]]:
    """The fields of one entry for each action, in the order of ``ACTIONS``."""
    entries = []
    for action in ACTIONS:
        if action not in answer.actions:
            continue
        fields: dict[str, Json] = {"reading": reading, "action": action}
        if patient:
            fields["patient"] = patient
        if action == "referred":
            fields |= {"receiver": answer.receiver.strip(), "read_back": answer.read_back}
        if action == "not_told":
            fields["reason"] = answer.not_told_because.strip()
        if action == "refused":
            fields |= {"reason": answer.reason.strip(), "signature": signature}
        entries.append(fields)
    return entries

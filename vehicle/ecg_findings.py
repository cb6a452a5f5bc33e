"""Findings of recorded ECGs: each recording is analysed once, and the doctor signs what he makes of it.

The journal is the queue: what has no ``ecg_analysis/1`` yet is analysed, newest first, so a crash or an import loses
none. Whose an ECG is, its recording says. Findings and signature go into the record together with what the screening
rules say of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from devices.readings import INVALID_COUNT
from sync.formats import ecg_file
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time
from sync.record.recordings import RecordingMissing, Recordings
from vehicle.clinic.critical_findings import CriticalFindings
from vehicle.clinic.ecg.findings import AF_ANSWERS, VERSION, analyse, heard_by_rules, median_beat, with_ecg
from vehicle.clinic.ports import Journal, Live
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.staff import Staff

LOOKED_BACK = timedelta(hours=24)
"""How old a recording may be that is analysed by itself; older ones when somebody opens them."""
LONGEST_WORDS = 500
LOOK_EVERY_S = 60.0


class EcgReviewIncomplete(AskPerson):
    """Agreement or the answer about atrial fibrillation is missing, or a disagreement has no words."""

    code = "ecg_review_incomplete"


class EcgNotAnalysed(AskPerson):
    """There are no findings to sign: the analysis is not done yet, or the file cannot be read."""

    code = "ecg_not_analysed"


@dataclass(frozen=True, slots=True)
class Review:
    agrees: bool
    af: str
    words: str
    by_name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class FindingsView:
    """Findings of one recording; ``review`` is None while they are automatic only."""

    sha256: str
    version: str
    findings: Mapping[str, Any]
    at: datetime
    review: Review | None


class EcgFindings:
    def __init__(
        self,
        journal: Journal,
        recordings: Recordings,
        clock: Clock,
        live: Live,
        prompts: Prompts,
        staff: Staff,
        critical: CriticalFindings,
    ) -> None:
        self._journal, self._recordings, self._clock = journal, recordings, clock
        self._live, self._prompts, self._staff, self._critical = live, prompts, staff, critical
        self._changing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._unreadable: set[str] = set()

    # analysis ---------------------------------------------------------------------------------------------------------

    def nudge(self) -> None:
        """There may be a new recording."""
        self._wanted.set()

    async def run(self) -> None:
        """The service: analyse what is new, for ever."""
        while True:
            self._wanted.clear()
            for row in self._waiting():
                await self.analyse(row["sha256"])
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def analyse(self, sha256: str) -> FindingsView | None:
        """Findings of a recording, made now if there are none. None: no such ECG, evicted, or a damaged file."""
        async with self._changing:
            known = self.of(sha256)
            if known is not None or sha256 in self._unreadable:
                return known
            row = self._recording(sha256)
            if row is None:
                return None
            try:
                found = await asyncio.to_thread(self._analysed, sha256)
            except (RecordingMissing, ValueError) as fault:  # EcgFileUnreadable is a ValueError
                self._unreadable.add(sha256)
                emit("ecg_not_analysed", level=logging.WARNING, sha256=sha256, reason=type(fault).__name__)
                return None
            fields: dict[str, Json] = {"sha256": sha256, "version": VERSION, "findings": found}
            made = Draft("ecg_analysis/1", fields, visit=row["visit"], encounter=row["encounter"])
            await self._commit([made, *self._critical.analysed(row, found)], row, heard_by_rules(found), None)
            return self.of(sha256)

    def of(self, sha256: str) -> FindingsView | None:
        found = self.of_all([sha256])
        return found.get(sha256)

    def of_all(self, sha256s: Sequence[str]) -> dict[str, FindingsView]:
        """By recording, of those that have findings."""
        marks = ",".join("?" * len(sha256s))
        rows = self._journal.read(
            f"SELECT * FROM ecg_analyses WHERE sha256 IN ({marks}) AND analysed_at IS NOT NULL", tuple(sha256s)
        )
        return {row["sha256"]: _view(row) for row in rows}

    def newest(self, encounter: str) -> FindingsView | None:
        """Of the newest analysed ECG of an encounter."""
        rows = self._journal.read(
            "SELECT a.* FROM ecg_analyses a JOIN recordings r ON r.sha256 = a.sha256 "
            "WHERE r.encounter = ? AND a.analysed_at IS NOT NULL ORDER BY r.started_at DESC LIMIT 1",
            (encounter,),
        )
        return _view(rows[0]) if rows else None

    def median_beat(self, sha256: str) -> tuple[ecg_file.Header, Any] | None:
        """Header of the file and int16[n, channels]: the usual beat. None: no findings, or fewer than three such beats.

        Reads the file: not for the event loop. :raises RecordingMissing: evicted
        """
        known = self.of(sha256)
        if known is None:
            return None
        header, counts = ecg_file.joined(self._recordings.read(sha256))
        beat = median_beat(counts, header.sample_rate_hz, known.findings, INVALID_COUNT)
        return None if beat is None else (header, beat)

    # the doctor -------------------------------------------------------------------------------------------------------

    async def review(
        self,
        sha256: str,
        agrees: bool | None,
        af: str,
        words: str,
        by: str,
        pin: str,
        critical: Sequence[str] = (),
    ) -> FindingsView:
        """Sign findings. A later signature counts instead of an earlier one; both stay in the journal.

        :param agrees: with the automatic findings; ``words`` are needed where not
        :param af: whether the doctor reads atrial fibrillation: yes, no, unclear
        :param critical: what else he reads that is critical, of ``critical_record.MARKED_ON_ECG``
        :raises EcgNotAnalysed, EcgReviewIncomplete, WrongPin, LockedOut: nothing is written
        :raises FindingUnknown, NobodysRecording: see ``CriticalFindings.signed``
        """
        words = words.strip()[:LONGEST_WORDS]
        if agrees is None or af not in AF_ANSWERS or (not agrees and not words):
            raise EcgReviewIncomplete("say whether you agree and whether it is AF; say in words what is otherwise")
        async with self._changing:
            known, row = self.of(sha256), self._recording(sha256)
            if known is None or row is None:
                raise EcgNotAnalysed("there are no findings to sign")
            red = self._critical.signed(row, known.findings, agrees, critical, by)
            person = await self._staff.check_pin(by, pin)
            fields: dict[str, Json] = {
                "sha256": sha256,
                "version": known.version,
                "agrees": agrees,
                "af": af,
                "words": words,
                "by_name": person.name,
            }
            signed = Draft("ecg_review/1", fields, by, row["visit"], row["encounter"])
            await self._commit([signed, *red], row, heard_by_rules(known.findings, af), by)
        reviewed = self.of(sha256)
        assert reviewed is not None
        return reviewed

    # how --------------------------------------------------------------------------------------------------------------

    async def _commit(
        self, drafts: list[Draft], row: Mapping[str, Any], heard: Mapping[str, object], by: str | None
    ) -> None:
        """Entries, with the screening results of their encounter that follow from them."""
        encounter, patient = row["encounter"], row["patient"]
        if encounter and patient:
            known = with_ecg(self._prompts.inputs(encounter), heard)
            drafts = drafts + self._prompts.results_to_record(encounter, patient, row["visit"], known, by)
        await self._journal.commit(*drafts)
        self._critical.tell_drafts(drafts)
        self._live.send({"type": "ecg_findings", "sha256": row["sha256"], "encounter": encounter})
        if encounter and patient:
            self._prompts.announce(encounter)

    def _analysed(self, sha256: str) -> dict[str, Json]:
        header, counts = ecg_file.joined(self._recordings.read(sha256))
        return analyse(header.channels, header.sample_rate_hz, counts, header.resolution_uv, INVALID_COUNT)

    def _waiting(self) -> list[dict[str, Any]]:
        rows = self._journal.read(
            "SELECT r.sha256 FROM recordings r LEFT JOIN ecg_analyses a ON a.sha256 = r.sha256 "
            "WHERE r.what = 'ecg' AND a.sha256 IS NULL AND r.evicted_at IS NULL AND r.started_at >= ? "
            "ORDER BY r.started_at DESC",
            (format_time(self._clock.now() - LOOKED_BACK),),
        )
        return [row for row in rows if row["sha256"] not in self._unreadable]

    def _recording(self, sha256: str) -> dict[str, Any] | None:
        rows = self._journal.read("SELECT * FROM recordings WHERE sha256 = ? AND what = 'ecg'", (sha256,))
        return rows[0] if rows else None


def _view(row: Mapping[str, Any]) -> FindingsView:
    review = None
    if row["reviewed_at"]:
        review = Review(
            bool(row["agrees"]), row["af"], row["words"] or "", row["reviewed_name"], parse_time(row["reviewed_at"])
        )
    findings = json.loads(row["findings_json"])
    return FindingsView(row["sha256"], row["version"], findings, parse_time(row["analysed_at"]), review)

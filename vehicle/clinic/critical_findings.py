"""Critical findings of an ECG or ultrasound: found on the running ECG, signed by the doctor, or marked on a picture.

Each is an entry with the moment it was found, rings, is told to whoever watches, and holds its person until somebody
says what was done (``vehicle.clinic.critical``). One kind is not told twice while it is open; a rate that somebody has
answered for is not told again in the same encounter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.critical_actions import MEASURED_AGAIN
from sync.formats.records import Draft, format_time
from vehicle.clinic.critical_record import (
    LIVE_ECG,
    MARKED_ON_ECG,
    MARKED_ON_ULTRASOUND,
    REPEATED_ECG,
    SIGNED_ECG,
    ULTRASOUND,
    Critical,
    findings_of,
    findings_since,
    found_draft,
)
from vehicle.clinic.ecg.critical import RATE_HIGH, RATE_LOW, SHOCKABLE, WIDE_RUN, in_findings
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.occasions import adults_rate
from vehicle.clinic.ports import Ids, Journal, Live, Soon

ANSWERED_ONCE = frozenset({RATE_HIGH, RATE_LOW})
JUDGED_BY_ANALYSIS = frozenset({"ecg_asystole", "ecg_pause", RATE_HIGH, RATE_LOW, WIDE_RUN, SHOCKABLE})
"""Whether they are gone a later recording says by itself; of the others a doctor."""
SHOWN_FOR = timedelta(hours=48)
LONGEST_WORDS = 200


class FindingUnknown(AskPerson):
    """No such kind of finding, or no words where the list has none; nothing is written."""

    code = "finding_unknown"


class NobodysRecording(AskPerson):
    """A recording that belongs to nobody cannot be somebody's critical finding: say whose it is first."""

    code = "nobodys_recording"


class CriticalFindings:
    def __init__(
        self, store: Journal, ids: Ids, clock: Clock, live: Live, commits: Soon, encounters: Encounters
    ) -> None:
        self._store, self._ids, self._clock = store, ids, clock
        self._live, self._commits, self._encounters = live, commits, encounters
        self._on_the_way: set[tuple[str, str]] = set()
        """(encounter, what) of findings that are not durable yet."""

    def open_of_others(self, language: str | None = None) -> list[Critical]:
        """Findings of the last two days about people who are not being served, that nobody has dealt with."""
        served = self._encounters.current()
        here = served.encounter if served else None
        since = format_time(self._clock.now() - SHOWN_FOR)
        return [one for one in findings_since(self._store, since, language) if not one.closed and one.encounter != here]

    # found ------------------------------------------------------------------------------------------------------------

    def on_live_ecg(self, device: str, what: str, facts: Mapping[str, Json]) -> None:
        """The running ECG of the person being served shows something critical; with nobody served it is nobody's."""
        served = self._encounters.current()
        if served is None or not self._is_new(served.encounter, what):
            return
        if what in ANSWERED_ONCE and not adults_rate(facts.get("heart_rate_bpm"), served.patient.age):
            return
        drafts, name = self._drafts(
            LIVE_ECG, what, facts, served.patient.patient, None, served.visit, served.encounter, device=device
        )
        key = (served.encounter, what)
        self._on_the_way.add(key)

        def durable() -> None:
            self._on_the_way.discard(key)
            self.tell(name, what, facts)

        self._commits.soon(*drafts, then=durable)

    def analysed(self, row: Mapping[str, Any], found: Mapping[str, Any]) -> list[Draft]:
        """What a new recording says about findings that are to be repeated: for the commit of its analysis.

        :param row: of the table ``recordings``
        """
        encounter, patient = row["encounter"], row["patient"]
        if not encounter or not patient:
            return []
        repeated = [
            one
            for one in findings_of(self._store, encounter)
            if not one.closed and one.awaits_repeat and one.type in JUDGED_BY_ANALYSIS
            if str(row["started_at"]) > format_time(one.at)
        ]
        seen = self._of_that_age(encounter, found)
        drafts: list[Draft] = []
        for one in repeated:
            drafts.append(self._closes(one, MEASURED_AGAIN, row))
            if one.type in seen:
                again, _ = self._drafts(
                    REPEATED_ECG, one.type, seen[one.type], patient, None, row["visit"], encounter, row["sha256"]
                )
                drafts += again
        return drafts

    def signed(
        self, row: Mapping[str, Any], found: Mapping[str, Any], agrees: bool, marked: Sequence[str], by: str
    ) -> list[Draft]:
        """What a doctor's signature makes critical: what he marks, and what he agrees the analysis has found.

        :raises FindingUnknown: something marked is not on the list
        :raises NobodysRecording: critical, and the recording belongs to nobody
        """
        if set(marked) - set(MARKED_ON_ECG):
            raise FindingUnknown("mark what is on the list")
        encounter, patient = row["encounter"], row["patient"]
        told = self._of_that_age(encounter, found) if agrees else {}
        for what in marked:
            told.setdefault(what, {})
        if told and not patient:
            raise NobodysRecording("say whose ECG it is first")
        drafts: list[Draft] = []
        if encounter:
            for one in findings_of(self._store, encounter):
                signed_away = one.awaits_repeat and one.type not in JUDGED_BY_ANALYSIS
                if not one.closed and signed_away and str(row["started_at"]) > format_time(one.at):
                    drafts.append(self._closes(one, MEASURED_AGAIN, row, by))
        closing = {draft.fields["reading"] for draft in drafts}
        for what, facts in told.items():
            if self._is_new(encounter, what, signed=True, closing=closing):
                made, _ = self._drafts(
                    SIGNED_ECG, what, facts, patient, by, row["visit"], encounter, row["sha256"], row["device"]
                )
                drafts += made
        return drafts

    async def mark(self, sha256: str, what: str, words: str, by: str) -> str:
        """The doctor calls what an ultrasound picture or clip shows critical; the name of the finding.

        :raises FindingUnknown: not on the list, no words with "other", or no such picture
        :raises NobodysRecording: the picture belongs to nobody
        """
        words = words.strip()[:LONGEST_WORDS]
        rows = self._store.read("SELECT * FROM recordings WHERE sha256 = ? AND what LIKE 'ultrasound%'", (sha256,))
        if what not in MARKED_ON_ULTRASOUND or (what == "us_other" and not words) or not rows:
            raise FindingUnknown("choose what it is from the list, or say it in words")
        row = rows[0]
        if not row["patient"]:
            raise NobodysRecording("say whose picture it is first")
        for one in findings_of(self._store, row["encounter"] or ""):
            if not one.closed and (one.type, one.sha256, one.words) == (what, sha256, words):
                return one.reading  # the form was sent twice
        drafts, name = self._drafts(
            ULTRASOUND, what, {}, row["patient"], by, row["visit"], row["encounter"], sha256, row["device"], words
        )
        await self._store.commit(*drafts)
        self.tell(name, what, {})
        return name

    def tell_drafts(self, drafts: Sequence[Draft]) -> None:
        """Tell the screens of findings among entries that were committed with others."""
        for draft in drafts:
            if draft.kind == "critical_finding/1":
                facts = draft.fields["facts"]
                assert isinstance(facts, dict)
                self.tell(str(draft.fields["finding"]), str(draft.fields["what"]), facts)

    def tell(self, name: str, what: str, facts: Mapping[str, Json]) -> None:
        """It is in the record: pages show and ring it, whoever watches is told."""
        values = {key: facts[key] for key in ("heart_rate_bpm", "pause_ms") if key in facts}
        self._live.send({"type": "reading", "live": False, "state": "critical", "kind": what, "reading": name})
        self._live.send({"type": "critical", "kind": what, "reading": name, "values": values})

    # how --------------------------------------------------------------------------------------------------------------

    def _of_that_age(self, encounter: str | None, found: Mapping[str, Any]) -> dict[str, dict[str, Json]]:
        """What is critical in the findings of a recording: of a child a heart rate by the limits of children only."""
        served = self._encounters.get(encounter) if encounter else None
        age = served.patient.age if served else None
        return {
            what: facts
            for what, facts in in_findings(found)
            if what not in ANSWERED_ONCE or adults_rate(facts.get("heart_rate_bpm"), age)
        }

    def _is_new(
        self, encounter: str | None, what: str, signed: bool = False, closing: frozenset[Any] | set[Any] = frozenset()
    ) -> bool:
        """Whether a finding of this kind is to be told: see the module.

        :param signed: by a doctor, about what may have been told and answered before
        :param closing: findings that end in the same commit
        """
        if encounter is None:
            return True
        if (encounter, what) in self._on_the_way:
            return False
        before = [one for one in findings_of(self._store, encounter) if one.type == what]
        if not before:
            return True
        last = before[-1]
        if not last.closed:
            return last.reading in closing
        return last.done[-1:] == (MEASURED_AGAIN,) or not (signed or what in ANSWERED_ONCE)

    def _closes(self, one: Critical, action: str, row: Mapping[str, Any], by: str | None = None) -> Draft:
        fields: dict[str, Json] = {"reading": one.reading, "patient": one.patient, "action": action}
        return Draft("critical_action/1", fields, by, row["visit"], row["encounter"])

    def _drafts(
        self,
        source: str,
        what: str,
        facts: Mapping[str, Json],
        patient: str,
        by: str | None,
        visit: str | None,
        encounter: str | None,
        sha256: str | None = None,
        device: str | None = None,
        words: str = "",
    ) -> tuple[list[Draft], str]:
        name = self._ids.new("finding")
        fields: dict[str, Json] = {
            "finding": name,
            "patient": patient,
            "source": source,
            "what": what,
            "facts": dict(facts),
        }
        fields |= {
            key: told for key, told in (("sha256", sha256), ("device", device), ("words", words or None)) if told
        }
        return [
            Draft("critical_finding/1", fields, by, visit, encounter),
            found_draft(name, patient, by, visit, encounter),
        ], name

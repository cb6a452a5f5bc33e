"""Referrals: to whom, why and how urgent, as an entry; followed up until it is known whether the person arrived.

A referral is proposed from what the rules said (``proposed``), changed and signed by a person, listed at the county
(``sync/county/referrals.py``), and printed as a slip from ``ReferralView``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from vehicle.clinic.path_runs import PathResult, PathRuns
from vehicle.clinic.paths import URGENCIES, PathSet
from vehicle.clinic.ports import Ids, Journal
from vehicle.clinic.prompt_views import Prompt
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.screening import DISCLAIMER
from vehicle.clinic.views import CHINA

FOLLOW_UP_AFTER = timedelta(days=14)
"""National specification, third edition: the result of a referral is followed up within two weeks."""
TB_FOLLOW_UP_AFTER = timedelta(days=7)
"""Of suspected tuberculosis within one week."""
OUTCOMES = ("arrived", "treated", "not_gone", "not_reached")
ON_EVERY_SLIP = ("age", "sex")
"""Said beside the name already."""
LONGEST_TEXT = 600
"""Characters of reason and findings."""


class ReferralIncomplete(AskPerson):
    """A referral needs a place, a reason and an urgency; ``facts["field"]`` says which is missing."""

    code = "referral_incomplete"


class ReferralUnknown(AskPerson):
    """There is no such referral."""

    code = "referral_unknown"


@dataclass(frozen=True, slots=True)
class ReferralDraft:
    """What stands in the form before a person signs it."""

    to: str
    """Name of the place, as it is printed."""
    department: str
    urgency: str
    reason: str
    findings: str
    path: str


@dataclass(frozen=True, slots=True)
class ReferralView:
    """A referral as it is kept: what the screen shows and the slip prints."""

    referral: str
    patient: str
    encounter: str
    to: str
    department: str
    urgency: str
    reason: str
    findings: str
    path: str
    results: tuple[str, ...]
    follow_up_on: date | None
    at: datetime
    by: str
    outcome: str
    note: str


class Referrals:
    def __init__(
        self, store: Journal, ids: Ids, clock: Clock, prompts: Prompts, runs: PathRuns, paths: PathSet
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._prompts = prompts
        self._runs = runs
        self._paths = paths

    def places(self, language: str) -> list[tuple[str, str]]:
        """(key, name) of the places that are proposed."""
        return [(key, words(language)) for key, words in self._paths.places.items()]

    def proposed(self, encounter: str, path: str, language: str) -> ReferralDraft:
        """From the results of a path: findings above green as reason, the inputs they rest on as findings.

        :raises PathUnknown: no such path
        """
        result = self._runs.result(encounter, path, language)
        place = self._paths.places.get(result.to)
        return ReferralDraft(
            to=place(language) if place else "",
            department="",
            urgency=result.urgency,
            reason=reason_of(result.prompts, language),
            findings=findings_of(result, language),
            path=path,
        )

    async def refer(self, encounter: str, draft: ReferralDraft, by: str) -> ReferralView:
        """Keep a referral; one that came from a path ends it.

        :raises ReferralIncomplete: no place, no reason, or another urgency
        :raises NoEncounter: no such encounter
        """
        for name, given in (("to", draft.to), ("reason", draft.reason)):
            if not given.strip():
                raise ReferralIncomplete(f"a referral needs {name}", field=name)
        if draft.urgency not in URGENCIES:
            raise ReferralIncomplete("choose how urgent it is", field="urgency")
        patient, visit = self._prompts.known.whose(encounter)
        if draft.path:
            await self._runs.end(encounter, draft.path, "referral", by)
        after = TB_FOLLOW_UP_AFTER if draft.path == "tb" else FOLLOW_UP_AFTER
        referral = self._ids.new("referral")
        kept: list[Json] = list(self._runs.results_kept(encounter, draft.path)) if draft.path else []
        fields: dict[str, Json] = {
            "referral": referral,
            "patient": patient,
            "to": draft.to.strip()[:80],
            "urgency": draft.urgency,
            "reason": draft.reason.strip()[:LONGEST_TEXT],
            "findings": draft.findings.strip()[:LONGEST_TEXT],
            "results": kept,
            "follow_up_on": (self._clock.now().astimezone(CHINA).date() + after).isoformat(),
        }
        fields |= {
            name: said.strip()[:80] for name, said in (("department", draft.department), ("path", draft.path)) if said
        }
        await self._store.commit(Draft("referral/1", fields, by=by, visit=visit, encounter=encounter))
        return self.get(referral)

    async def follow(self, referral: str, outcome: str, note: str, by: str) -> ReferralView:
        """Note what became of a referral.

        :param outcome: of ``OUTCOMES``
        :raises ReferralUnknown, ReferralIncomplete: see there
        """
        if outcome not in OUTCOMES:
            raise ReferralIncomplete("choose what became of it", field="outcome")
        fields: dict[str, Json] = {"referral": referral, "patient": self.get(referral).patient, "outcome": outcome}
        if note.strip():
            fields["note"] = note.strip()[:LONGEST_TEXT]
        await self._store.commit(Draft("referral_followed/1", fields, by=by))
        return self.get(referral)

    def get(self, referral: str) -> ReferralView:
        """:raises ReferralUnknown: there is none of this id"""
        rows = self._store.read("SELECT * FROM referrals WHERE referral = ? AND at IS NOT NULL", (referral,))
        if not rows:
            raise ReferralUnknown(f"there is no referral {referral[:40]!r}")
        return _view(rows[0])

    def to_follow_up(self, on: date) -> list[ReferralView]:
        """Those nobody has followed up whose day has come, the longest due first."""
        rows = self._store.read(
            "SELECT * FROM referrals WHERE at IS NOT NULL AND outcome IS NULL AND follow_up_on <= ? "
            "ORDER BY follow_up_on, referral",
            (on.isoformat(),),
        )
        return [_view(row) for row in rows]


def reason_of(prompts: Sequence[Prompt], language: str) -> str:
    """Titles and results above green, a line each; of the first one when none is."""
    above = [prompt for prompt in prompts if prompt.level] or list(prompts[:1])
    colon, stop = (": ", ".") if language == "en" else ("：", "。")
    lines = [f"{prompt.title}{colon}{prompt.result}{stop}" for prompt in above]
    return "\n".join(dict.fromkeys(lines))[:LONGEST_TEXT]


def findings_of(result: PathResult, language: str) -> str:
    """The inputs that the results rest on, each once, without what was answered no: "收缩压 182 mmHg"."""
    yes = "yes" if language == "en" else "是"
    said: dict[str, str] = {}
    for row in (*(row for prompt in result.prompts for row in prompt.inputs), *result.also):
        if row.field in ON_EVERY_SLIP or row.value is False:
            continue
        number = f"{row.value:g}" if isinstance(row.value, float) else str(row.value)
        told = yes if row.value is True else f"{number} {row.unit}".strip()
        said[row.field] = f"{row.label.partition('(')[0].strip()} {told}"
    comma = ", " if language == "en" else "，"
    return comma.join(said.values())[:LONGEST_TEXT]


def consultation_fields(result: PathResult, language: str) -> Mapping[str, str]:
    """The five fields of a consultation, as far as a path can fill them; the rest is for the doctor."""
    asked = {
        "zh": f"{result.title}筛查提示如上，请指导下一步处理。（{DISCLAIMER['zh']}）",
        "en": f"Screening for {result.title} as above: what should be done next? ({DISCLAIMER['en']})",
    }
    return {
        "chief_complaint": "",
        "history": "",
        "findings": findings_of(result, language),
        "preliminary": reason_of(result.prompts, language),
        "question": asked["en" if language == "en" else "zh"],
    }


def _view(row: Mapping[str, Any]) -> ReferralView:
    return ReferralView(
        referral=row["referral"],
        patient=row["patient"],
        encounter=row["encounter"] or "",
        to=row["place"],
        department=row["department"] or "",
        urgency=row["urgency"],
        reason=row["reason"],
        findings=row["findings"],
        path=row["path"] or "",
        results=tuple(json.loads(row["results_json"] or "[]")),
        follow_up_on=date.fromisoformat(row["follow_up_on"]) if row["follow_up_on"] else None,
        at=parse_time(row["at"]),
        by=row["by"] or "",
        outcome=row["outcome"] or "",
        note=row["note"] or "",
    )

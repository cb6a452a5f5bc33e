"""Follow-up forms as others see them: a draft on the screen, a signed form with its corrections, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from devices.errors import AskPerson
from sync.formats.canonical import Json
from vehicle.clinic.forms.filling import DOCTOR, Answer, Filled
from vehicle.clinic.forms.form import Form
from vehicle.clinic.people import PatientView
from vehicle.clinic.views import CHINA

CORRECTION_REASONS = ("mistyped", "measured_again", "told_otherwise", "result_came", "wrong_choice")
"""Why a signed form is corrected; a doctor may say it in words instead."""


class FormUnknown(AskPerson):
    """No such form, draft or signed form, or it was signed or put away meanwhile: the page is old."""

    code = "follow_up_unknown"


class FormAnswerRefused(AskPerson):
    """An answer that cannot be; ``facts``: field, reason, low, high."""

    code = "follow_up_answer_refused"


class CorrectionUnexplained(AskPerson):
    """Nothing is corrected without a reason: of ``CORRECTION_REASONS``, or in words."""

    code = "correction_unexplained"


class FormIncomplete(AskPerson):
    """Something that has to be in the form is not; ``facts["fields"]`` names it."""

    code = "follow_up_incomplete"


@dataclass(frozen=True)
class FormDraft:
    """A form as it stands on the screen.

    :ivar corrects: place of the signed form that this one corrects
    """

    draft: str
    form: Form
    patient: PatientView
    encounter: str | None
    visit: str | None
    opened_at: datetime
    corrects: int | None
    filled: Filled


@dataclass(frozen=True, slots=True)
class Correction:
    """An entry that says otherwise than a form was signed: why (of ``CORRECTION_REASONS`` or words), when, by whom."""

    reason: str
    at: datetime
    by: str


@dataclass(frozen=True)
class SignedForm:
    """:ivar n: its place in the journal
    :ivar corrections: the oldest first; empty: it stands as it was signed
    :ivar sources: field to {"from", "of", "on", "device"} of ``forms.filling``
    """

    n: int
    form: Form
    version: str
    patient: PatientView
    filled_at: datetime
    signed_by: str
    answers: Mapping[str, Json]
    sources: Mapping[str, Mapping[str, str]]
    next_on: date | None
    corrections: tuple[Correction, ...] = ()

    @property
    def corrected(self) -> bool:
        return bool(self.corrections)

    def source(self, name: str) -> Answer:
        """An answer with where it came from, as it was signed."""
        told = self.sources.get(name, {})
        on = date.fromisoformat(told["on"]) if told.get("on") else None
        return Answer(self.answers[name], told.get("from", DOCTOR), told.get("of", ""), told.get("device", ""), on)

    @property
    def day(self) -> date:
        return self.filled_at.astimezone(CHINA).date()

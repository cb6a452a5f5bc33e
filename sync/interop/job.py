"""What one run of ``python -m sync.interop`` is asked and answers: typed JSON on its standard input and output."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchiveSaid(_Said):
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    called_ae_title: Annotated[str, Field(min_length=1, max_length=16)]
    calling_ae_title: Annotated[str, Field(min_length=1, max_length=16)]
    timeout_s: float = 30.0


class PatientSaid(_Said):
    patient: str
    name: str
    initials: str = ""
    ethnicity_code: str = ""
    sex: str = ""
    born_on: date | None = None


class StudySaid(_Said):
    origin: str
    encounter: str
    begun_at: datetime
    institution: str = ""
    station: str = ""
    description: str = "巡诊检查"
    referring: str = ""


class MachineSaid(_Said):
    name: str
    manufacturer: str = ""
    model: str = ""
    serial: str = ""


class Job(_Said):
    """One recording to send.

    :ivar clips: the form a clip is sent in
    :ivar device_said_at: of an imported ECG: when, by its device's clock
    :ivar heart_rate_bpm: of an ECG, as far as somebody or something has counted it
    :ivar said: what the record says of an ECG, as text
    :ivar signed_at: when a doctor signed the findings that ``said`` has; empty: nobody has
    :ivar median_beat: of an ECG, counts of its usual beat, a row a sample, a column a recorded channel
    """

    archive: ArchiveSaid
    patient: PatientSaid
    study: StudySaid
    machine: MachineSaid
    what: Literal["ultrasound_still", "ultrasound_clip", "ecg"]
    file: Path
    sha256: str
    number: int
    taken_at: datetime
    pixel_mm: tuple[float, float] | None = None
    performed_by: str = ""
    comment: str = ""
    clips: Literal["jpeg", "mpeg4"] = "jpeg"
    device_said_at: str | None = None
    heart_rate_bpm: int | None = None
    said: tuple[str, ...] = ()
    signed_at: str = ""
    median_beat: tuple[tuple[int, ...], ...] | None = None


class Answer(_Said):
    """``state``: one of ``sync.interop.archive.State``."""

    state: str
    reason: str = ""
    instance: str = ""
    study: str = ""
    transfer_syntax: str = ""
    confirmed: bool = False

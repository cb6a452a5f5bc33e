"""What the ECG chain says. Every event carries ``sample``: an index at the rate of the recording, counted from the
first sample pushed, missing samples of a gap included; so ``sample / fs_hz`` is its place on the trace.

Nothing here is a diagnosis: everything automatic is unreviewed until a person has signed it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """Class of a beat by its shape beside the beats before it (``shapes.py``)."""

    NORMAL = "normal"
    """Like the person's usual beat."""
    ECTOPIC = "ectopic"
    """Wide and unlike the usual beat."""
    OTHER = "other"
    """Neither: still learning, noise, narrow but different."""


class Level(StrEnum):
    """What one lead is worth at the moment (``quality.py``)."""

    GOOD = "good"
    POOR = "poor"
    """Shown, but not trusted alone."""
    UNUSABLE = "unusable"
    """Not used for beats."""


class Reason(StrEnum):
    """Why a lead is not good."""

    LEAD_OFF = "lead_off"
    """The front end says so, or the input stands at its rail."""
    FLAT = "flat"
    RAIL = "rail"
    STEP = "step"
    SMALL = "small"
    LARGE = "large"
    NOISE = "noise"
    """Muscle or mains."""
    DISAGREES = "disagrees"
    """Its beats are not those of the other leads."""
    MISSING = "missing"
    """No samples (NaN or a gap)."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One QRS. ``sample`` is the R peak (largest deflection over the leads used)."""

    sample: int
    time_s: float
    shape: Shape
    revised: bool = False
    """Found late, by looking back at what had been refused: it was not said within 300 ms."""
    width_ms: float | None = None
    """Rough width of the QRS, for telling shapes apart; not a measurement to report."""
    trusted: bool = True
    """False where no lead was good: an interval that ends or begins here says little."""


@dataclass(frozen=True, slots=True)
class LeadQuality:
    """A lead changed its level or reason. Said once at the start for each lead, then on change."""

    sample: int
    lead: str
    level: Level
    reason: Reason | None
    lead_off: bool


@dataclass(frozen=True, slots=True)
class HeartRate:
    """Said once a second. ``bpm`` is None when there is no rate to show: too few beats, no usable lead, asystole."""

    sample: int
    bpm: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """No beat for longer than the limit. First ``ended`` False as soon as it is one, then True with its length."""

    sample: int
    began: int
    """The beat before it."""
    seconds: float
    ended: bool


@dataclass(frozen=True, slots=True)
class Asystole:
    """No beat for the asystole time on a usable or flat lead. ``ended`` by the next beat, a gap or a lead off."""

    sample: int
    began: int
    ended: bool
    flat: bool = False
    """The line is flat: an electrode or cable may be the cause."""


@dataclass(frozen=True, slots=True)
class Bradycardia:
    """The rate fell below its limit, or rose above it again (``ended``)."""

    sample: int
    bpm: float | None
    ended: bool


@dataclass(frozen=True, slots=True)
class Tachycardia:
    """The rate rose above its limit, or fell below it again (``ended``)."""

    sample: int
    bpm: float | None
    ended: bool


@dataclass(frozen=True, slots=True)
class ShockableRhythm:
    """The signal looks like ventricular fibrillation, flutter or rapid ventricular tachycardia (``shockable.py``), or
    does no longer (``ended``)."""

    sample: int
    began: int
    """About where it began: the first sample of what was looked at when it was said first."""
    ended: bool


class AfLevel(StrEnum):
    """The three steps of an AF screening answer, and none at all."""

    UNDECIDED = "undecided"
    """Too little usable signal."""
    NONE = "none"
    POSSIBLE = "possible"
    """Repeat 30 seconds."""
    LIKELY = "likely"


@dataclass(frozen=True, slots=True)
class RhythmAssessment:
    """AF screening over the beats up to ``sample``."""

    sample: int
    level: AfLevel
    score: float
    """0..1."""
    beats: int
    """How many beats it rests on."""


@dataclass(frozen=True, slots=True)
class SwapHint:
    """The electrodes may be exchanged. A hint to look at them, said once."""

    sample: int
    electrodes: str
    """"LA/RA" and so on."""
    signs: tuple[str, ...]
    """What speaks for it: "I inverted", "aVR upright" ..."""


Event = (
    Beat | LeadQuality | HeartRate | Pause | Asystole | Bradycardia | Tachycardia | ShockableRhythm | RhythmAssessment
    | SwapHint
)  # fmt: skip

"""What the ECG chain found in a recording, as the entry ``ecg_analysis/1`` keeps it, and what the rules hear. Pure.

Everything here is automatic and unreviewed until a doctor has signed (``ecg_review/1``). No length of PR, QRS or QT and
no twelve-lead diagnosis is given: nothing here proves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from sync.formats.canonical import Json
from vehicle.clinic.ecg.af_trees import coefficients
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import (
    AfLevel,
    Asystole,
    Beat,
    Bradycardia,
    Event,
    HeartRate,
    LeadQuality,
    Level,
    Pause,
    RhythmAssessment,
    Shape,
    ShockableRhythm,
    SwapHint,
    Tachycardia,
)
from vehicle.clinic.ecg.rhythm import STRIP_LONGEST_S
from vehicle.clinic.ecg.rhythm_summary import summarise

VERSION = "xunzhen-ecg/4"
"""Of chain and findings together: an entry says by what it was made. Raised whenever results may differ."""
PUSHED_SAMPLES = 5000
"""At once; results do not depend on it."""
LEAST_BEATS = 5
LEAST_TRUSTED = 0.8
"""Share of trusted beats. With fewer the heart rate is shown and not heard by the rules (project choice)."""
REPEAT_SECONDS = 30
"""A possible AF asks for this much once more (APHRS 2021: a single-lead ECG of at least 30 s)."""
AF_ANSWERS = ("yes", "no", "unclear")
"""What the doctor who reads the ECG says of atrial fibrillation."""

_LETTERS = {Shape.NORMAL: "n", Shape.ECTOPIC: "e", Shape.OTHER: "o"}
_ORDER = (AfLevel.UNDECIDED, AfLevel.NONE, AfLevel.POSSIBLE, AfLevel.LIKELY)


def analyse(
    channels: Sequence[str], sample_rate_hz: float, counts: npt.NDArray[np.int16], resolution_uv: float, invalid: int
) -> dict[str, Json]:
    """The findings of a recording.

    :param counts: int16[n, channels], in steps of ``resolution_uv``; ``invalid`` where there is no value
    :raises ValueError: no channels, or a rate the chain does not take
    """
    chain = EcgChain(channels, sample_rate_hz)
    events: list[Event] = []
    gaps: list[int] = []
    missing = (counts == invalid).all(axis=1)
    for first, last in _runs(missing):
        if missing[first]:
            gaps.append(first)
            events += chain.gap(last - first)
            continue
        for at in range(first, last, PUSHED_SAMPLES):
            part = counts[at : min(last, at + PUSHED_SAMPLES)]
            mv = part.astype(np.float64) * (resolution_uv / 1000)
            mv[part == invalid] = np.nan
            events += chain.push(mv)
    events += chain.flush()
    return findings(channels, sample_rate_hz, len(counts), events, gaps)


def findings(
    channels: Sequence[str], fs_hz: float, n_samples: int, events: Iterable[Event], gaps: Sequence[int] = ()
) -> dict[str, Json]:
    """What the events of a recording say together. Times are milliseconds from its first sample; no floats.

    :param gaps: first missing sample of each gap: no interval is taken across one
    """
    told = list(events)
    beats = sorted((event for event in told if isinstance(event, Beat)), key=lambda beat: beat.sample)

    def ms(sample: int) -> int:
        return round(sample * 1000 / fs_hz)

    said: dict[str, Json] = {
        "duration_ms": ms(n_samples),
        "leads": _leads(channels, n_samples, told),
        "beats": len(beats),
        "trusted_beats": sum(beat.trusted for beat in beats),
        "ectopic_beats": sum(beat.shape is Shape.ECTOPIC for beat in beats),
        "beat_ms": [ms(beat.sample) for beat in beats],
        "beat_shapes": "".join(_LETTERS[beat.shape] for beat in beats),
        "pauses": _pauses(told, ms),
        "asystole": [
            {"began_ms": ms(event.began)} for event in told if isinstance(event, Asystole) and not event.ended
        ],
        "shockable": _shockable(told, n_samples, ms),
        "slow": any(isinstance(event, Bradycardia) for event in told),
        "fast": any(isinstance(event, Tachycardia) for event in told),
        **_rhythm(told, ms, fs_hz),
        **_heart_rate(beats, gaps, fs_hz, told),
    }
    if swaps := [event for event in told if isinstance(event, SwapHint)]:
        said["swap"] = {"electrodes": swaps[-1].electrodes, "signs": list(swaps[-1].signs)}
    return said


def heard_by_rules(found: Mapping[str, Any], af: str | None = None) -> dict[str, object]:
    """What the rules may know of an analysed ECG: ``hr``, ``rr_irregular``, and ``ecg_af`` only from the doctor.

    :param af: what the doctor answered, None before anybody has read it
    """
    known: dict[str, object] = {}
    rate, beats = found.get("heart_rate_bpm"), int(found.get("beats", 0))
    if rate and beats >= LEAST_BEATS and int(found.get("trusted_beats", 0)) >= LEAST_TRUSTED * beats:
        known["hr"] = rate
    if found.get("rhythm") in (AfLevel.POSSIBLE, AfLevel.LIKELY):
        known["rr_irregular"] = True
    elif found.get("rhythm") == AfLevel.NONE and af != "unclear":
        known["rr_irregular"] = False
    if af in ("yes", "no"):
        known["ecg_af"] = af == "yes"
    return known


def with_ecg(known: Mapping[str, object], heard: Mapping[str, object]) -> dict[str, object]:
    """What is known and what an ECG says: its heart rate counts, and an irregular pulse stays one that was felt."""
    merged = {**known, **heard}
    if known.get("rr_irregular") is True:
        merged["rr_irregular"] = True
    return merged


def repeat_wanted(found: Mapping[str, Any]) -> bool:
    """A possible AF in a recording shorter than 30 s, or one that says nothing: record 30 s."""
    return found.get("rhythm") == AfLevel.POSSIBLE or (
        found.get("rhythm") == AfLevel.UNDECIDED and int(found.get("duration_ms", 0)) < REPEAT_SECONDS * 1000
    )


def median_beat(
    counts: npt.NDArray[np.int16],
    sample_rate_hz: float,
    found: Mapping[str, Any],
    invalid: int,
    before_s: float = 0.35,
    after_s: float = 0.55,
) -> npt.NDArray[np.int16] | None:
    """The median of the beats of the usual shape, sample by sample: int16[n, channels]; None with fewer than three.

    A beat that a missing value falls into does not count in that lead.
    """
    before, after = round(before_s * sample_rate_hz), round(after_s * sample_rate_hz)
    middles = [
        round(at * sample_rate_hz / 1000)
        for at, letter in zip(found["beat_ms"], found["beat_shapes"], strict=True)
        if letter == "n"
    ]
    whole = [counts[at - before : at + after] for at in middles if at >= before and at + after <= len(counts)]
    if len(whole) < 3:
        return None
    beats = np.stack(whole).astype(np.float32)
    beats[(beats == invalid).any(axis=1, keepdims=True) & np.ones_like(beats, bool)] = np.nan
    lost = np.isnan(beats).all(axis=0)
    beats[:, lost] = 0.0
    middle = np.rint(np.nanmedian(beats, axis=0))
    middle[lost] = invalid
    typed: npt.NDArray[np.int16] = middle.astype(np.int16)
    return typed


def _runs(missing: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of the stretches with and without samples, in order."""
    if not len(missing):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(missing)) + 1).tolist(), len(missing)]
    return list(pairwise(cuts))


def _leads(channels: Sequence[str], n_samples: int, told: Sequence[Event]) -> dict[str, Json]:
    """Per lead how much of the recording it was good, poor, unusable and off, in thousandths, and why not good."""
    table: dict[str, Json] = {}
    for lead in channels:
        states = [event for event in told if isinstance(event, LeadQuality) and event.lead == lead]
        spans = pairwise([*((state, state.sample) for state in states), (None, n_samples)])
        share = dict.fromkeys((*(str(level) for level in Level), "off"), 0)
        why: dict[str, int] = {}
        for (state, since), (_, until) in spans:
            assert state is not None
            length = max(0, until - since)
            share[str(state.level)] += length
            share["off"] += length if state.lead_off else 0
            if state.reason is not None:
                why[str(state.reason)] = why.get(str(state.reason), 0) + length
        row: dict[str, Json] = {f"{name}_permille": round(1000 * n / max(1, n_samples)) for name, n in share.items()}
        if why:
            row["reason"] = max(why, key=lambda name: why[name])
        table[lead] = row
    return table


def _pauses(told: Sequence[Event], ms: Any) -> list[Json]:
    """One row per pause, with its whole length where its end was seen."""
    longest: dict[int, float] = {}
    for event in told:
        if isinstance(event, Pause):
            longest[event.began] = max(longest.get(event.began, 0.0), event.seconds)
    return [{"began_ms": ms(began), "ms": round(seconds * 1000)} for began, seconds in sorted(longest.items())]


def _shockable(told: Sequence[Event], n_samples: int, ms: Any) -> list[Json]:
    """Each stretch like fibrillation or rapid ventricular tachycardia; one that did not end goes to the last sample."""
    ended: dict[int, int] = {}
    for event in told:
        if isinstance(event, ShockableRhythm):
            ended[event.began] = event.sample if event.ended else n_samples
    return [{"began_ms": ms(began), "ended_ms": ms(end)} for began, end in ended.items()]


def _rhythm(told: Sequence[Event], ms: Any, fs_hz: float) -> dict[str, Json]:
    """Of a lone strip the most severe assessment, and of those the one with the highest score; of a longer recording
    what held for half a minute, with the stretches of AF and their share of the judged time."""
    assessed = [event for event in told if isinstance(event, RhythmAssessment)]
    if not assessed:
        return {"rhythm": str(AfLevel.UNDECIDED)}
    worst = max(assessed, key=lambda event: (_ORDER.index(event.level), event.score))
    if assessed[-1].sample < STRIP_LONGEST_S * fs_hz:
        return _rhythm_row(worst.level, worst.score, worst.beats, ms(worst.sample))
    held = summarise(assessed, fs_hz)
    row = _rhythm_row(held.level, held.score, held.beats, ms(held.sample))
    if held.burden is not None:
        row["af_burden_permille"] = round(1000 * held.burden)
        row["af_episodes"] = [{"began_ms": ms(begin), "ended_ms": ms(end)} for begin, end in held.episodes]
    return row


def _rhythm_row(level: AfLevel, score: float, beats: int, until_ms: int) -> dict[str, Json]:
    return {
        "rhythm": str(level),
        "af_score_permille": round(1000 * score),
        "af_beats": beats,
        "af_until_ms": until_ms,
        "af_coefficients": coefficients().version,
    }


def _heart_rate(beats: Sequence[Beat], gaps: Sequence[int], fs_hz: float, told: Sequence[Event]) -> dict[str, Json]:
    """Mean from the intervals between trusted beats; lowest and highest of the rate as it is shown."""
    intervals = [
        later.sample - earlier.sample
        for earlier, later in pairwise(beats)
        if earlier.trusted and later.trusted and not any(earlier.sample < gap <= later.sample for gap in gaps)
    ]
    if not intervals:
        return {}
    mean = 60 * fs_hz * len(intervals) / sum(intervals)
    shown = [event.bpm for event in told if isinstance(event, HeartRate) and event.bpm is not None]
    return {
        "heart_rate_bpm": round(mean),
        "heart_rate_min_bpm": round(min([*shown, mean])),
        "heart_rate_max_bpm": round(max([*shown, mean])),
    }

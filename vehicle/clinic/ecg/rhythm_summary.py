"""What the assessments of one recording come to: level, score, episodes, burden. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vehicle.clinic.ecg.af_trees import coefficients
from vehicle.clinic.ecg.events import AfLevel, RhythmAssessment
from vehicle.clinic.ecg.rhythm import STRIP_LONGEST_S
from vehicle.clinic.ecg.rhythm_watch import STRIP_S, level_of

AF_FROM = 0.5
"""A score from which time counts as AF."""
EPISODE_S = 30.0
"""Shorter ones are not called AF (ESC guideline 2020, clinical AF: 30 s or a whole 12-lead ECG)."""


@dataclass(frozen=True, slots=True)
class RhythmSummary:
    """Samples count from the first one of the recording, as in the events."""

    level: AfLevel
    score: float
    """0..1: of a lone strip the answer over all of it, else the highest that held for ``EPISODE_S``."""
    sample: int | None
    """Last sample of what ``score`` rests on; None where nothing was assessed."""
    beats: int
    judged_s: float
    """How much of the recording was judged at all."""
    burden: float | None
    """Share of the judged time with AF, 0..1; None where nothing was judged."""
    episodes: tuple[tuple[int, int], ...]
    """First and last sample of each stretch of AF of at least ``EPISODE_S``."""
    coefficients: str
    """Version of what was learnt."""


@dataclass(frozen=True, slots=True)
class _Span:
    begin: int
    said: RhythmAssessment

    def seconds(self, fs_hz: float) -> float:
        return (self.said.sample - self.begin) / fs_hz


def summarise(said: Sequence[RhythmAssessment], fs_hz: float) -> RhythmSummary:
    """``said``: all assessments of a recording in their order."""
    version = coefficients().version
    if not said:
        return RhythmSummary(AfLevel.UNDECIDED, 0.0, None, 0, 0.0, None, (), version)
    spans = [span for span in _spans(said, fs_hz) if span.said.level is not AfLevel.UNDECIDED]
    if not spans:
        last = said[-1]
        return RhythmSummary(AfLevel.UNDECIDED, last.score, last.sample, last.beats, 0.0, None, (), version)
    score, rests_on = _held(spans, fs_hz)
    judged_s = sum(span.seconds(fs_hz) for span in spans)
    af_s = sum(span.seconds(fs_hz) for span in spans if span.said.score >= AF_FROM)
    return RhythmSummary(
        level_of(score),
        score,
        rests_on.sample,
        rests_on.beats,
        judged_s,
        af_s / judged_s if judged_s > 0 else None,
        _episodes(spans, fs_hz),
        version,
    )


def _spans(said: Sequence[RhythmAssessment], fs_hz: float) -> list[_Span]:
    """An assessment stands for the time since the one before it, at most the 30 seconds it looked at; the last one of a
    lone strip was made over all of it and stands alone."""
    reach = round(STRIP_S * fs_hz)
    if said[-1].sample < STRIP_LONGEST_S * fs_hz:
        return [_Span(0, said[-1])]
    first = said[0]
    begins = [max(0, first.sample - reach)] + [max(a.sample, b.sample - reach) for a, b in pairwise(said)]
    return [_Span(begin, one) for begin, one in zip(begins, said, strict=True)]


def _held(spans: Sequence[_Span], fs_hz: float) -> tuple[float, RhythmAssessment]:
    """The highest score that no span within ``EPISODE_S`` falls below, and where it was. What does not reach so far
    (a strip) counts as it is."""
    best: tuple[float, RhythmAssessment] | None = None
    for i, first in enumerate(spans):
        low = first
        for last in spans[i:]:
            low = last if last.said.score < low.said.score else low
            if last.said.sample - first.begin >= (EPISODE_S - 1) * fs_hz:
                if best is None or low.said.score > best[0]:
                    best = (low.said.score, last.said)
                break
    if best is not None:
        return best
    return spans[-1].said.score, spans[-1].said


def _episodes(spans: Sequence[_Span], fs_hz: float) -> tuple[tuple[int, int], ...]:
    runs: list[list[int]] = []
    for span in spans:
        if span.said.score < AF_FROM:
            continue
        if runs and runs[-1][1] == span.begin:
            runs[-1][1] = span.said.sample
        else:
            runs.append([span.begin, span.said.sample])
    return tuple((a, b) for a, b in runs if b - a >= (EPISODE_S - 1) * fs_hz)

"""P wave, the watch beside the chain and the summary, on made signals: sinus rhythm with P waves, and without them."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle.clinic.ecg.af_features import clipped_rr_s
from vehicle.clinic.ecg.af_trees import probability
from vehicle.clinic.ecg.events import AfLevel, Beat, LeadQuality, Level, Reason, RhythmAssessment, Shape
from vehicle.clinic.ecg.findings import findings
from vehicle.clinic.ecg.p_wave import AFTER_S, BEFORE_S, GRID_HZ, POINTS, SHAPES, on_grid, shape_features
from vehicle.clinic.ecg.rhythm import RhythmStream, strip_log_odds
from vehicle.clinic.ecg.rhythm_summary import summarise
from vehicle.clinic.ecg.rhythm_watch import RhythmWatch, level_of

FS = 250.0


def bump(t: np.ndarray, at_s: float, width_s: float, mv: float) -> np.ndarray:
    return mv * np.exp(-(((t - at_s) / width_s) ** 2))


def made(rr_s: np.ndarray, p_mv: float, f_mv: float, noise_mv: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """A lead and the times of its R peaks; ``p_mv`` of P wave, ``f_mv`` of fibrillatory waves of 6 Hz, not in step."""
    at = 0.8 + np.concatenate(([0.0], np.cumsum(rr_s)))
    t = np.arange(int((at[-1] + 1.0) * FS)) / FS
    x = f_mv * np.sin(2 * np.pi * (6 * t + 0.6 * np.sin(1.3 * t))) + np.random.default_rng(3).normal(
        0, noise_mv, len(t)
    )
    for r in at:
        x += bump(t, r, 0.015, 1.0) + bump(t, r + 0.03, 0.012, -0.25) + bump(t, r + 0.27, 0.05, 0.3)
        x += bump(t, r - 0.16, 0.022, p_mv)
    return x, at


def sinus(beats: int = 45) -> tuple[np.ndarray, np.ndarray]:
    return made(0.8 + np.random.default_rng(1).normal(0, 0.02, beats), 0.12, 0.0)


def fibrillation(beats: int = 50) -> tuple[np.ndarray, np.ndarray]:
    return made(0.7 * np.exp(np.random.default_rng(2).normal(0, 0.22, beats)), 0.0, 0.06)


def cut(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.array([beat for r in at if (beat := on_grid(FS, r * FS, x)) is not None])


def features(x: np.ndarray, at: np.ndarray) -> dict[str, float]:
    said = shape_features(cut(x, at))
    assert said is not None
    return dict(zip(SHAPES, said.tolist(), strict=True))


def test_a_p_wave_is_there_and_steady_or_it_is_not() -> None:
    p, f = features(*sinus()), features(*fibrillation())
    assert p["p_size"] == pytest.approx(0.12 / 1.25, abs=0.03)
    assert f["p_size"] < p["p_size"] / 2
    assert p["p_alike"] > 0.9 > 0.6 > f["p_alike"]
    assert p["p_jitter_s"] < 0.01 < 0.02 < f["p_jitter_s"]
    assert f["rest_fibrillatory"] > 0.5 > p["rest_fibrillatory"]
    assert p["t_alike"] > 0.9


@pytest.mark.parametrize("factor", [-1.0, 0.4, 3.0])
def test_gain_and_polarity_change_little(factor: float) -> None:
    x, at = sinus()
    plain, other = features(x, at), features(factor * x, at)
    del plain["qrs_mv"], other["qrs_mv"]
    assert other == pytest.approx(plain, rel=0.1, abs=0.02)


def test_beats_are_cut_where_the_samples_are() -> None:
    x = np.arange(400.0)
    beat = on_grid(FS, 150, x)
    assert beat is not None
    assert len(beat) == POINTS
    assert beat[round(BEFORE_S * GRID_HZ)] == pytest.approx(150)
    assert beat[-1] == pytest.approx(150 + AFTER_S * FS)
    assert on_grid(FS, BEFORE_S * FS - 1, x) is None
    assert on_grid(FS, 399 - AFTER_S * FS + 1, x) is None
    x[160] = np.nan
    assert on_grid(FS, 150, x) is None


def test_too_few_beats_have_no_shape() -> None:
    assert shape_features(np.zeros((4, POINTS))) is None
    flat = shape_features(np.zeros((9, POINTS)))
    assert flat is not None
    assert np.isfinite(flat).all()


def events_of(at: np.ndarray, trusted: bool = True) -> list[Beat]:
    return [Beat(round(r * FS), float(r), Shape.NORMAL, trusted=trusted) for r in at]


def watch(x: np.ndarray, events: Iterable[Beat | LeadQuality], lead: str = "II") -> list[RhythmAssessment]:
    """Runs a watch over events; its window is cut from the signal, as the chain's is."""

    def window(sample: int, before_s: float, after_s: float) -> tuple[float, np.ndarray] | None:
        begin, end = sample - round(before_s * FS), sample + round(after_s * FS) + 1
        return (FS, x[begin:end, None]) if begin >= 0 and end <= len(x) else None

    one = RhythmWatch((lead,), FS)
    said = [answer for event in events for answer in one.event(event, window)]
    return said + one.flush(window)


def test_a_strip_is_answered_after_30_seconds_and_at_its_end() -> None:
    x, at = sinus()
    said = watch(x, events_of(at))
    assert [one.level for one in said] == [AfLevel.NONE, AfLevel.NONE]
    assert said[0].sample / FS == pytest.approx(at[0] + 30, abs=1.0)
    assert said[1].sample == round(at[-1] * FS)
    assert said[1].beats == len(at)
    x, at = fibrillation()
    assert {one.level for one in watch(x, events_of(at))} == {AfLevel.LIKELY}


def test_p_waves_lower_the_score_of_an_irregular_rhythm() -> None:
    rr_s = 0.75 * np.exp(np.random.default_rng(5).normal(0, 0.12, 45))
    with_p, without = made(rr_s, 0.15, 0.0), made(rr_s, 0.0, 0.07)
    assert watch(with_p[0], events_of(with_p[1]))[-1].score < 0.5 * watch(without[0], events_of(without[1]))[-1].score


def test_a_minute_on_the_answer_is_renewed_every_five_seconds() -> None:
    x, at = sinus(150)
    said = watch(x, events_of(at))
    apart = np.diff([one.sample / FS for one in said])
    assert apart[0] == pytest.approx(32, abs=1.5)
    assert (apart[1:-1] < 6.5).all()
    assert {one.level for one in said} == {AfLevel.NONE}
    assert max(one.beats for one in said) < 45


def test_without_a_lead_a_renewed_answer_is_the_mean_of_strip_and_stream() -> None:
    x, at = fibrillation(150)
    off = LeadQuality(0, "II", Level.UNUSABLE, Reason.NOISE, False)
    last = watch(x, [off, *events_of(at)])[-1]
    stream = RhythmStream()
    stream.push(at)
    strip = strip_log_odds(clipped_rr_s(at[at >= at[-1] - 30]))
    assert stream.log_odds is not None
    assert strip is not None
    assert last.score == pytest.approx(probability((stream.log_odds + strip) / 2), abs=1e-9)


def test_too_few_or_untrusted_beats_leave_it_undecided() -> None:
    x, at = fibrillation(10)
    assert [one.level for one in watch(x, events_of(at))] == [AfLevel.UNDECIDED]
    x, at = fibrillation()
    assert {one.level for one in watch(x, events_of(at, trusted=False))} == {AfLevel.UNDECIDED}
    assert watch(x, []) == []


def test_beats_found_late_are_put_in_their_place() -> None:
    x, at = sinus()
    events = events_of(at)
    late = [*events[:20], events[21], events[20], *events[22:]]
    assert watch(x, late) == watch(x, events)


def test_an_unusable_lead_leaves_the_intervals_to_decide() -> None:
    x, at = fibrillation()
    off = LeadQuality(0, "II", Level.UNUSABLE, Reason.NOISE, False)
    noise = np.random.default_rng(1).normal(0, 2.0, len(x))
    assert watch(x, [off, *events_of(at)]) == watch(noise, [off, *events_of(at)])
    assert watch(x, [off, *events_of(at)])[-1].level is not AfLevel.NONE


@settings(max_examples=8, deadline=None)
@given(cut_at=st.integers(12, 130))
def test_what_comes_later_changes_no_answer_given(cut_at: int) -> None:
    x, at = fibrillation(150)
    whole, part = watch(x, events_of(at)), watch(x, events_of(at[:cut_at]))
    assert part[:-1] == whole[: len(part) - 1]


def test_a_gap_is_not_an_interval() -> None:
    _, at = sinus(90)
    one = RhythmWatch(("II",), FS)

    def nothing(sample: int, before_s: float, after_s: float) -> None:
        return None

    events = events_of(at)
    for event in events[:20]:
        one.event(event, nothing)
    one.gap(nothing)
    shifted = [Beat(e.sample + 1000, e.time_s + 4.0, e.shape) for e in events[20:60]]
    for event in shifted:
        one.event(event, nothing)
    assert one.flush(nothing)[-1].beats == 59, "58 intervals between 60 beats and a gap"


@pytest.mark.parametrize(
    ("score", "level"), [(0.0, AfLevel.NONE), (0.26, AfLevel.NONE), (0.27, AfLevel.POSSIBLE), (0.73, AfLevel.LIKELY)]
)
def test_three_steps(score: float, level: AfLevel) -> None:
    assert level_of(score) is level


def said_at(seconds: float, score: float, level: AfLevel | None = None) -> RhythmAssessment:
    return RhythmAssessment(round(seconds * FS), level or level_of(score), score, 40)


def test_the_summary_of_a_strip_is_its_last_answer() -> None:
    summary = summarise([said_at(30, 0.9), said_at(45, 0.4)], FS)
    assert (summary.level, summary.score, summary.sample) == (AfLevel.POSSIBLE, 0.4, 45 * 250)
    assert summary.burden == 0.0
    assert summary.coefficients


def test_the_summary_of_a_longer_recording_has_episodes_and_burden() -> None:
    scores = [0.1] * 20 + [0.9] * 12 + [0.1] * 10 + [0.95] * 2 + [0.1] * 10
    said = [said_at(30, 0.1), *(said_at(65 + 5 * i, score) for i, score in enumerate(scores))]
    summary = summarise(said, FS)
    assert summary.level is AfLevel.LIKELY
    assert summary.score == 0.9, "ten seconds at 0.95 are no episode"
    assert summary.episodes == ((160 * 250, 220 * 250),)
    assert summary.judged_s == pytest.approx(65 + 5 * 53 - 5, abs=0.1)
    assert summary.burden == pytest.approx(70 / summary.judged_s)


def test_findings_of_a_longer_recording_name_episodes_burden_and_coefficients() -> None:
    scores = [0.1] * 20 + [0.9] * 12 + [0.95] + [0.1] * 20
    said = [said_at(30, 0.1), *(said_at(65 + 5 * i, score) for i, score in enumerate(scores))]
    found = findings(("II",), FS, 90_000, said)
    assert (found["rhythm"], found["af_score_permille"]) == ("likely", 900)
    assert found["af_episodes"] == [{"began_ms": 160_000, "ended_ms": 225_000}]
    assert found["af_burden_permille"] == round(1000 * 65 / summarise(said, FS).judged_s)
    assert found["af_coefficients"] == summarise(said, FS).coefficients
    short = findings(("II",), FS, 8_000, said[:1])
    assert (short["rhythm"], short.get("af_episodes")) == ("none", None)


def test_nothing_said_is_undecided() -> None:
    assert summarise([], FS).level is AfLevel.UNDECIDED
    few = summarise([said_at(8, 0.9, AfLevel.UNDECIDED)], FS)
    assert (few.level, few.score, few.burden, few.episodes) == (AfLevel.UNDECIDED, 0.9, None, ())

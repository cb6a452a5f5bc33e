"""AF from the times of beats: made rhythms whose truth is known, causality, cuts, and times that cannot be."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle.clinic.ecg.af_context import SUMS, Context
from vehicle.clinic.ecg.af_features import FEATURES, FEWEST_RR, clipped_rr_s, feature_matrix, median3
from vehicle.clinic.ecg.af_trees import coefficients, probability, trees_from
from vehicle.clinic.ecg.p_wave import SHAPES
from vehicle.clinic.ecg.rhythm import EVIDENCE, RhythmStream, beat_scores, evidence_features, strip_log_odds
from vehicle.clinic.ecg.scoring import af_score

BEATS = 400


def times(rr_s: np.ndarray) -> np.ndarray:
    return 0.4 + np.concatenate(([0.0], np.cumsum(rr_s)))


def regular(beats: int = BEATS, rr_s: float = 0.8, spread_s: float = 0.015, seed: int = 1) -> np.ndarray:
    return rr_s + np.random.default_rng(seed).normal(0, spread_s, beats)


def fibrillating(beats: int = BEATS, rr_s: float = 0.7, seed: int = 2) -> np.ndarray:
    """Independent intervals, as the AV node passes them on: log-normal, a fifth of spread."""
    return rr_s * np.exp(np.random.default_rng(seed).normal(0, 0.22, beats))


def child_breathing(beats: int = BEATS) -> np.ndarray:
    """Respiratory arrhythmia of a child: a sixth up and down over four to five beats."""
    return 0.65 + 0.1 * np.sin(2 * np.pi * np.arange(beats) / 4.6) + regular(beats, 0.0, 0.008)


def bigeminy(beats: int = BEATS) -> np.ndarray:
    return np.tile([0.5, 1.1], beats // 2) + regular(beats, 0.0, 0.012)


def premature_beats(beats: int = BEATS) -> np.ndarray:
    """About one beat in nine early, with a full compensatory pause."""
    rr = regular(beats)
    for i in np.flatnonzero(np.random.default_rng(4).random(beats - 1) < 0.11):
        rr[i], rr[i + 1] = 0.55, 1.05
    return rr


def flutter(beats: int = BEATS) -> np.ndarray:
    """Atrial flutter with 2:1 conduction, 150 a minute: not AF."""
    return regular(beats, 0.4, 0.004)


def missed(beats: int = BEATS) -> np.ndarray:
    """A regular rhythm of which the detector misses a beat in 25."""
    rr = regular(beats)
    rr[::25] *= 2
    return rr


NOT_AF = {f.__name__: f for f in (regular, child_breathing, bigeminy, premature_beats, flutter, missed)}


@pytest.mark.parametrize("rhythm", NOT_AF)
def test_what_is_not_af_stays_below_half(rhythm: str) -> None:
    score = af_score(times(NOT_AF[rhythm]()))
    assert score[40:].max() < 0.5, f"{rhythm}: {score[40:].max():.3f}"


@pytest.mark.parametrize("rhythm", NOT_AF)
def test_strips_of_what_is_not_af_stay_below_half(rhythm: str) -> None:
    t = times(NOT_AF[rhythm]())
    for begin in range(0, len(t) - 60, 60):
        strip = t[begin : begin + 45]
        strip = strip[strip < strip[0] + 30]
        assert af_score(strip)[0] < 0.5, f"{rhythm} from beat {begin}"


@pytest.mark.parametrize("rr_s", [0.45, 0.6, 0.8, 1.0])
def test_af_is_told_at_any_rate(rr_s: float) -> None:
    t = times(fibrillating(rr_s=rr_s))
    assert af_score(t)[40:].min() > 0.5
    strip = t[t < t[0] + 30]
    assert (af_score(strip) > 0.9).all()


def test_an_episode_is_flagged_and_left_within_a_minute() -> None:
    t = times(np.concatenate((regular(200), fibrillating(200), regular(200, seed=3))))
    af = af_score(t) >= 0.5
    assert not af[:200].any()
    begins, ends = 201 + int(np.argmax(af[201:])), 401 + int(np.argmax(~af[401:]))
    assert t[begins] - t[200] < 40
    assert t[ends] - t[400] < 60
    assert not af[ends:].any()


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(100, 300), seed=st.integers(0, 9))
def test_beats_to_come_change_no_score_past(cut: int, seed: int) -> None:
    before = times(np.concatenate((regular(150, seed=seed), fibrillating(150, seed=seed))))
    other = np.concatenate((before[:cut], before[cut - 1] + np.cumsum(np.full(80, 0.37))))
    assert np.array_equal(af_score(before)[:cut], af_score(other)[:cut])


@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_how_beats_are_cut_into_pushes_changes_no_bit(sizes: list[int], seed: int) -> None:
    t = times(np.concatenate((fibrillating(60, seed=seed), regular(60, seed=seed))))
    whole = RhythmStream().push(t)
    stream, parts, at = RhythmStream(), [], 0
    for size in itertools.cycle(sizes):
        parts.append(stream.push(t[at : at + size]))
        at += size
        if at >= len(t):
            break
    assert np.array_equal(np.concatenate(parts), whole)
    assert stream.score == whole[-1]


@pytest.mark.parametrize("rhythm", [regular, child_breathing, premature_beats, fibrillating])
@pytest.mark.parametrize(("missed_share", "doubled_share"), [(0.03, 0.0), (0.0, 0.03), (0.02, 0.02)])
def test_beats_missed_or_doubled_on_a_coarse_grid(rhythm, missed_share: float, doubled_share: float) -> None:
    """125 samples a second, a detector that errs in one of thirty: sinus rhythm stays, AF is told."""
    rng = np.random.default_rng(5)
    t = times(rhythm(900))
    kept = t[rng.random(len(t)) >= missed_share]
    twice = np.flatnonzero(rng.random(len(kept) - 1) < doubled_share)
    t = np.sort(np.concatenate((kept, kept[twice] + 0.4 * np.diff(kept)[twice])))
    flagged = af_score(np.unique(np.round(t * 125) / 125))[100:] >= 0.5
    assert flagged.mean() > 0.97 if rhythm is fibrillating else flagged.mean() < 0.03


def test_deep_breathing_is_believed_less_than_chance() -> None:
    """Intervals that seldom turn speak against AF, however irregular they are; AF turns two times in three."""
    seldom, often = np.full(200, 0.4), np.full(200, 0.65)
    against = [SUMS.index(name) for name in SUMS if name.startswith("few_turns")]
    breathing, af = Context().push(np.full(200, 2.0), seldom), Context().push(np.full(200, 2.0), often)
    assert np.allclose(breathing[:, against], 1.5)
    assert not af[:, against].any()
    learnt = coefficients().stream
    assert (learnt.weights[against] < 0).all()
    assert breathing[-1] @ learnt.weights + learnt.constant < af[-1] @ learnt.weights + learnt.constant - 4


def test_overwhelming_evidence_is_believed_at_once_and_weak_evidence_slowly() -> None:
    believed = SUMS.index("believed")
    strong, weak = (Context().push(np.full(300, x), np.full(300, 0.65))[:, believed] for x in (5.0, 0.5))
    assert np.argmax(strong > 0) < 6
    assert 12 < np.argmax(weak > 0) < 60
    assert strong.max() < 14, "what is believed lets go at the rate rhythms end"
    both = Context()
    parts = [both.push(np.full(n, 5.0), np.full(n, 0.65)) for n in (1, 7, 292)]
    assert np.array_equal(np.concatenate(parts)[:, believed], strong)


def test_a_window_at_the_start_of_a_recording_is_as_long_as_there_are_beats() -> None:
    rr = clipped_rr_s(times(fibrillating(60)))
    smooth = median3(rr)
    ends = np.arange(60)
    found = evidence_features(rr, ends)
    assert np.isnan(found[: FEWEST_RR - 1]).all()
    assert np.isfinite(found[FEWEST_RR - 1 :]).all()
    for end, begins in ((7, (0, 0, 0)), (14, (5, 0, 0)), (59, (50, 40, 24))):
        rows = [feature_matrix(rr[None, b : end + 1], smooth[None, b : end + 1]) for b in begins]
        assert np.array_equal(found[end], np.hstack(rows)[0])


def test_memory_stays_bounded() -> None:
    stream = RhythmStream()
    for part in np.array_split(times(regular(3000)), 30):
        stream.push(part)
    assert len(stream._rr) <= 38


def test_no_interval_is_taken_across_a_gap() -> None:
    t = times(regular(300))
    far = np.concatenate((t[:150], t[150:] + 7.0))
    stream = RhythmStream()
    first = stream.push(far[:150])
    stream.gap()
    second = stream.push(far[150:])
    without = RhythmStream()
    assert np.array_equal(first, without.push(t[:150]))
    assert second[0] == first[-1], "no interval ends at the first beat behind a gap"
    assert stream.intervals == 299
    assert second.max() < 0.5


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([1.0, 2.0, float("nan"), 4.0], "NaN"),
        ([1.0, 2.0, float("inf")], "infinity"),
        ([1.0, 3.0, 2.0], "do not rise at beat 2"),
        ([[1.0, 2.0], [3.0, 4.0]], "one dimension"),
    ],
    ids=["nan", "infinite", "unsorted", "table"],
)
def test_times_that_cannot_be_are_refused(bad: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        af_score(np.array(bad))


@pytest.mark.parametrize("n", [40, 400])
def test_a_beat_that_is_marked_twice_is_one_beat(n: int) -> None:
    t = times(fibrillating(n))
    twice = np.sort(np.concatenate((t, t[[0, 7, 7, len(t) - 1]])))
    scores = af_score(twice)
    assert np.array_equal(scores, af_score(t)[np.searchsorted(t, twice)])
    with pytest.raises(ValueError, match="do not rise"):
        RhythmStream().push(twice)


def test_a_refused_push_leaves_the_stream_as_it_was() -> None:
    t = times(fibrillating(80))
    stream, other = RhythmStream(), RhythmStream()
    stream.push(t[:40])
    other.push(t[:40])
    for bad in ([t[10]], [t[40], float("nan")], [t[41], t[40]]):
        with pytest.raises(ValueError, match=r"rise|NaN|behind"):
            stream.push(bad)
    assert np.array_equal(stream.push(t[40:]), other.push(t[40:]))


@pytest.mark.parametrize("n", range(FEWEST_RR + 3))
def test_few_beats_give_a_score_each_and_no_flag_out_of_nothing(n: int) -> None:
    score = af_score(np.arange(n, dtype=float))
    assert score.shape == (n,)
    assert (score < 0.5).all()


def test_features_of_a_window_do_not_depend_on_its_neighbours() -> None:
    rr = clipped_rr_s(times(fibrillating(200)))
    windows = np.lib.stride_tricks.sliding_window_view(rr, 20)
    smooth = np.lib.stride_tricks.sliding_window_view(median3(rr), 20)
    together = feature_matrix(windows, smooth)
    assert np.isfinite(together).all()
    for i in (0, 7, 100):
        assert np.array_equal(feature_matrix(windows[i : i + 1], smooth[i : i + 1])[0], together[i])


def test_median3_takes_a_lone_early_beat_away() -> None:
    assert median3(np.array([0.8, 0.8, 0.5, 0.8, 0.8])).tolist() == [0.8] * 5


def test_trees_are_walked_as_they_are_written() -> None:
    head = trees_from(
        {
            "features": ["a", "b"],
            "offset": 0.25,
            "trees": [[[0, 1.0, 1, 2], [-1.0], [1, 5.0, 3, 4], [2.0], [4.0]], [[0.5]]],
        }
    )
    x = np.array([[1.0, 9.0], [1.5, 5.0], [1.5, 6.0]], np.float32)
    assert head.log_odds(x).tolist() == [-0.25, 2.75, 4.75]
    assert head.log_odds(x[:0]).tolist() == []
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        head.log_odds(x[:, :1])


def test_coefficients_know_the_features_they_were_learnt_on() -> None:
    learnt = coefficients()
    assert learnt.evidence.features == EVIDENCE
    assert learnt.strip.features == FEATURES
    assert learnt.record.features == FEATURES + SHAPES
    assert learnt.version


def test_probability_is_symmetric_and_never_overflows() -> None:
    assert probability(0.0) == 0.5
    assert probability(800.0) == 1.0
    assert probability(-800.0) == 0.0
    assert math.isclose(probability(2.0) + probability(-2.0), 1.0)


def test_a_strip_of_too_few_intervals_says_nothing() -> None:
    assert strip_log_odds(np.full(FEWEST_RR - 1, 0.8)) is None
    assert beat_scores(np.arange(3.0)).tolist() == [0.0, 0.0, 0.0]

"""The chain as a whole: exact synthetic waves, any cut, gaps, leads that come off, nonsense."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vehicle.ecg_waves import NORMAL, P_PULMONALE, PACED, TWELVE, VENTRICULAR, regular, trace, twelve_leads
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import Beat, Event, HeartRate, LeadQuality, Level, Reason, Shape
from vehicle.clinic.ecg.scoring import qrs_batch, qrs_stream


def told_by(
    mv: np.ndarray, fs_hz: float, cuts: list[int] | None = None, leads: tuple[str, ...] = ("II",)
) -> list[Event]:
    chain = EcgChain(leads, fs_hz, screen_af=False)
    told: list[Event] = []
    columns = mv if mv.ndim == 2 else mv[:, None]
    for part in np.split(columns, cuts or []):
        told += chain.push(part)
    return told + chain.flush()


def beats_of(told: list[Event]) -> list[Beat]:
    return [event for event in told if isinstance(event, Beat)]


def assert_beats_at(found: list[Beat], times_s: np.ndarray, within_s: float = 0.03) -> None:
    assert len(found) == len(times_s)
    assert np.abs(np.array([beat.time_s for beat in found]) - times_s).max() <= within_s


@pytest.mark.parametrize("fs_hz", [125, 200, 250, 300, 360, 500, 1000])
@pytest.mark.parametrize("bpm", [30, 60, 120, 200])
def test_each_beat_is_found_at_its_place(fs_hz: int, bpm: int) -> None:
    times = regular(bpm, 20)
    assert_beats_at(beats_of(told_by(trace(times, 20, fs_hz), fs_hz)), times)


@pytest.mark.parametrize("gain", [0.5, 5.0, -1.0])
def test_amplitude_and_polarity_do_not_matter(gain: float) -> None:
    times = regular(72, 20)
    assert_beats_at(beats_of(told_by(trace(times, 20, 500, gain=gain), 500)), times)


@pytest.mark.parametrize("wave", [PACED, P_PULMONALE, VENTRICULAR], ids=["paced", "tall P", "ventricular"])
def test_beats_of_other_shapes_count_once(wave) -> None:
    times = regular(70, 30)
    found = beats_of(told_by(trace(times, 30, 250, wave), 250))
    assert abs(len(found) - len(times)) <= 1
    late = [beat.time_s for beat in found if beat.time_s > 3]
    known = times[times > 3]
    assert len(late) == len(known)
    assert np.abs(np.array(late) - known).max() < 0.1


def test_a_ventricular_beat_has_its_shape() -> None:
    times = regular(75, 40)
    kinds = [VENTRICULAR if index % 10 == 9 else NORMAL for index in range(len(times))]
    found = beats_of(told_by(trace(times, 40, 250, kinds), 250))
    assert_beats_at(found, times, 0.08)
    after_learning = list(zip(found, kinds, strict=True))[6:]
    assert all((beat.shape is Shape.ECTOPIC) == (kind is VENTRICULAR) for beat, kind in after_learning)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 5000), max_size=12), seed=st.integers(0, 3))
def test_how_samples_are_cut_changes_nothing(cuts: list[int], seed: int) -> None:
    whole = trace(regular(80, 20), 20, 250, noise_mv=0.08, seed=seed)
    assert told_by(whole, 250, sorted(cuts)) == told_by(whole, 250)


@settings(max_examples=4, deadline=None)
@given(size=st.integers(1, 60))
def test_small_pushes_of_twelve_leads_change_nothing(size: int) -> None:
    whole = twelve_leads(trace(regular(80, 6), 6, 500, noise_mv=0.05))
    cuts = list(range(size, len(whole), size))
    assert told_by(whole, 500, cuts, TWELVE) == told_by(whole, 500, None, TWELVE)


@settings(max_examples=5, deadline=None)
@given(end=st.integers(1000, 4999))
def test_what_comes_later_does_not_change_what_was_said(end: int) -> None:
    whole = trace(regular(90, 20), 20, 250, noise_mv=0.1)
    chain = EcgChain(("II",), 250)
    short, long = chain.push(whole[:end, None]), told_by(whole, 250)
    assert short == long[: len(short)]
    assert len(beats_of(short)) >= (end / 250 - 1.2) / (60 / 90) - 1 - 3  # the first two seconds are learnt from


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(["white", "steps", "huge", "nan", "constant", "infinite"]),
    fs_hz=st.sampled_from([125.0, 250.0, 333.3, 500.0]),
    seed=st.integers(0, 1000),
)
def test_noise_never_raises(kind: str, fs_hz: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mv = rng.normal(0, 1, (round(6 * fs_hz), 2))
    if kind == "steps":
        mv = np.round(mv) * rng.choice([0, 1, 400], (len(mv), 1))
    elif kind == "huge":
        mv *= 1e9
    elif kind == "nan":
        mv[rng.random(mv.shape) < 0.5] = np.nan
    elif kind == "constant":
        mv[:] = 3.0
    elif kind == "infinite":
        mv[rng.random(mv.shape) < 0.01] = np.inf
    chain = EcgChain(("I", "II"), fs_hz, screen_af=False)
    told = chain.push(mv, rng.random(mv.shape) < 0.1) + chain.gap(7) + chain.push(mv) + chain.flush()
    assert all(0 <= event.sample <= chain.samples for event in told)


def test_a_gap_is_no_pause_and_the_numbering_goes_on() -> None:
    fs_hz, times = 250, regular(75, 10)
    part = trace(times, 10, fs_hz)[:, None]
    chain = EcgChain(("II",), fs_hz, screen_af=False)
    told = chain.push(part) + chain.gap(20 * fs_hz) + chain.push(part) + chain.flush()
    assert {type(event) for event in told} <= {Beat, HeartRate, LeadQuality}
    found = beats_of(told)
    after = [beat.time_s for beat in found if beat.time_s >= 30]
    assert chain.samples == 40 * fs_hz
    assert np.abs(np.array(after) - (times + 30)).max() < 0.03
    assert not [event for event in told if isinstance(event, HeartRate) and 10.1 < event.sample / fs_hz < 30]


def test_a_lead_that_comes_off_is_said_and_the_others_go_on() -> None:
    fs_hz, times = 250, regular(75, 20)
    one = trace(times, 20, fs_hz)
    mv = np.stack([one, 0.8 * one + np.random.default_rng(0).normal(0, 0.005, len(one))], axis=1)
    off = np.zeros(mv.shape, np.bool_)
    off[8 * fs_hz : 14 * fs_hz, 0] = True
    mv[8 * fs_hz : 14 * fs_hz, 0] = 390.0
    chain = EcgChain(("I", "II"), fs_hz, screen_af=False)
    told = chain.push(mv, off) + chain.flush()
    said = [event for event in told if isinstance(event, LeadQuality) and event.lead == "I"]
    assert said[0].level is Level.GOOD
    assert (said[1].level, said[1].reason, said[1].lead_off) == (Level.UNUSABLE, Reason.LEAD_OFF, True)
    assert 8 < said[1].sample / fs_hz <= 9
    assert said[-1].level is Level.GOOD
    assert said[-1].sample / fs_hz <= 16
    assert_beats_at(beats_of(told), times)


def test_all_leads_off_says_no_rate_and_no_asystole() -> None:
    fs_hz = 250
    mv = np.repeat(trace(regular(75, 20), 20, fs_hz)[:, None], 2, axis=1)
    off = np.zeros(mv.shape, np.bool_)
    off[10 * fs_hz :] = True
    chain = EcgChain(("I", "II"), fs_hz, screen_af=False)
    told = chain.push(mv, off) + chain.flush()
    assert {type(event).__name__ for event in told} <= {"Beat", "HeartRate", "LeadQuality"}
    rates = [event.bpm for event in told if isinstance(event, HeartRate) and event.sample > 11 * fs_hz]
    assert rates
    assert set(rates) == {None}
    assert all(beat.sample <= 10.1 * fs_hz for beat in beats_of(told))


def test_a_silent_lead_beside_a_good_one_takes_no_beat_away() -> None:
    fs_hz, times = 250, regular(75, 20)
    mv = np.stack([trace(times, 20, fs_hz), np.full(20 * fs_hz, np.nan)], axis=1)
    assert_beats_at(beats_of(told_by(mv, fs_hz, leads=("I", "II"))), times)


def test_the_window_is_the_signal_around_a_beat() -> None:
    fs_hz, times = 500, regular(60, 12)
    chain = EcgChain(("II",), fs_hz)
    told = chain.push(trace(times, 12, fs_hz)[:, None])
    beat = beats_of(told)[-2]
    rate_hz, mv = chain.window(beat.sample, 0.2, 0.3) or pytest.fail("no window")
    assert rate_hz == 250
    assert mv.shape == (126, 1)
    assert abs(int(mv[:, 0].argmax()) - 50) <= 2
    assert chain.window(chain.samples, 0.2, 0.3) is None
    assert chain.window(0, 0.2, 0.3) is None


def swapped(mv: np.ndarray) -> np.ndarray:
    """LA and RA exchanged: I upside down, II and III exchanged, aVR and aVL exchanged."""
    at = {name: mv[:, index] for index, name in enumerate(TWELVE)}
    new = at | {"I": -at["I"], "II": at["III"], "III": at["II"], "aVR": at["aVL"], "aVL": at["aVR"]}
    return np.stack([new[name] for name in TWELVE], axis=1)


def test_exchanged_arm_electrodes_are_hinted_at_once() -> None:
    right = twelve_leads(trace(regular(75, 15), 15, 250))
    hints = [event for event in told_by(swapped(right), 250, leads=TWELVE) if type(event).__name__ == "SwapHint"]
    assert [hint.electrodes for hint in hints] == ["LA/RA"]
    assert not [event for event in told_by(right, 250, leads=TWELVE) if type(event).__name__ == "SwapHint"]


def test_stream_and_batch_say_the_same() -> None:
    mv = trace(regular(88, 15), 15, 360, noise_mv=0.05)
    stream = qrs_stream(360)
    said = [sample for begin in range(0, len(mv), 18) for sample in stream.push(mv[begin : begin + 18])]
    assert said + stream.flush() == list(qrs_batch(mv, 360))


def test_marks_come_within_300_ms() -> None:
    fs_hz, times = 250, regular(75, 30)
    mv = trace(times, 30, fs_hz)
    stream = qrs_stream(fs_hz)
    waited = []
    for begin in range(0, len(mv), 5):
        waited += [(begin + 5 - sample) / fs_hz for sample in stream.push(mv[begin : begin + 5])]
    assert max(waited[4:]) <= 0.3


@pytest.mark.parametrize(("leads", "fs_hz"), [((), 250), (("II",), 50), (("II",), 4000), (("II",), float("nan"))])
def test_what_the_chain_does_not_take_is_said(leads: tuple[str, ...], fs_hz: float) -> None:
    with pytest.raises(ValueError, match="ECG chain"):
        EcgChain(leads, fs_hz)


def test_wrong_shapes_leave_the_state_unchanged() -> None:
    chain = EcgChain(("I", "II"), 250)
    for wrong in (np.zeros(5), np.zeros((5, 3))):
        with pytest.raises(ValueError, match="expected"):
            chain.push(wrong)
    with pytest.raises(ValueError, match="lead-off"):
        chain.push(np.zeros((5, 2)), np.zeros((4, 2), np.bool_))
    with pytest.raises(ValueError, match="gap"):
        chain.gap(-1)
    assert chain.samples == 0
    assert chain.gap(0) == []

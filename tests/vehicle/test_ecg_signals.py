"""The parts of the ECG chain: kept columns, held samples, aligned signals, kinds of shapes, the network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vehicle.ecg_waves import NORMAL, VENTRICULAR, trace
from vehicle.clinic.ecg.intake import Intake
from vehicle.clinic.ecg.qrs_judge import learnt_judge
from vehicle.clinic.ecg.scoring import qrs_batch
from vehicle.clinic.ecg.shape_bank import ShapeBank, unit_shape
from vehicle.clinic.ecg.signals import Signals
from vehicle.clinic.ecg.timeline import Timeline


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 20), max_size=30))
def test_a_timeline_keeps_its_newest_columns(sizes: list[int]) -> None:
    line, whole = Timeline(2, 20), np.arange(2.0 * sum(sizes)).reshape(2, -1)
    at = 0
    for size in sizes:
        line.append(whole[:, at : at + size])
        at += size
        assert line.end == at
        assert np.array_equal(line.read(line.begin, at), whole[:, line.begin : at])
        assert line.read(at, at + 5).shape == (2, 0)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_missing_samples_are_held_however_they_are_cut(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mv = rng.normal(200, 1, (60, 2))
    mv[rng.random(mv.shape) < 0.3] = np.nan
    cuts = sorted(data.draw(st.lists(st.integers(0, 60), max_size=5)))
    whole, missing = Intake(2).push(mv, None)
    intake = Intake(2)
    parts = [intake.push(part, None)[0] for part in np.split(mv, cuts)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert np.isfinite(whole).all()
    assert np.array_equal(missing, np.isnan(mv.T))
    held = whole[:, 1:][missing[:, 1:]]
    assert np.array_equal(held, whole[:, :-1][missing[:, 1:]])
    returns = missing[:, :-1] & ~missing[:, 1:]
    assert np.array_equal(whole[:, 1:][returns], whole[:, :-1][returns])


@pytest.mark.parametrize("fs_hz", [125, 250, 300, 360, 500, 1000])
def test_every_signal_of_a_beat_stands_at_its_place(fs_hz: int) -> None:
    signals = Signals(1, fs_hz)
    mv = trace(np.array([1.0]), 2, fs_hz, noise_mv=0.0)
    for part in np.array_split(mv, 8):
        signals.push(part[None])
    at = signals.rate_hz
    end = signals.known_envelope
    for row in (signals.clean(0, end)[0], signals.envelope(0, end), signals.magnitude(0, end)):
        assert abs(int(row.argmax()) - at) <= 0.024 * at


def test_kinds_are_learnt_unlearnt_and_forgotten() -> None:
    bank = ShapeBank(2, 1000.0)
    shapes = [unit_shape(np.eye(3)[index]) for index in range(3)]
    for _ in range(4):
        bank.learn(shapes[0], 0)
    assert bank.likeness(shapes[0]) == pytest.approx(1 - 0.5**4)
    assert bank.likeness(shapes[1]) == 0
    bank.learn(shapes[1], 10)
    bank.learn(shapes[2], 20)
    assert len(bank.kinds) == 2
    assert bank.likeness(shapes[1]) == 0
    bank.unlearn(shapes[2], None)
    assert bank.likeness(shapes[2]) == 0
    assert unit_shape(np.zeros(4)) is None
    bank.learn(None, 30)
    assert bank.likeness(None) == 0


def test_the_network_has_a_weight_for_each_measure() -> None:
    judge = learnt_judge()
    assert np.isfinite(judge(np.zeros(50)))
    with pytest.raises(ValueError):
        judge(np.zeros(49))


def test_a_made_recording_of_two_minutes() -> None:
    """Irregular intervals, ventricular beats, a wandering line, breathing QRS and muscle noise: a regression."""
    rng = np.random.default_rng(4)
    times = 0.5 + np.cumsum(rng.uniform(0.45, 1.2, 135))
    times = times[times < 118]
    kinds = [VENTRICULAR if index % 9 == 5 else NORMAL for index in range(len(times))]
    mv = trace(times, 120, 250, kinds, noise_mv=0.06)
    t = np.arange(len(mv)) / 250
    mv = mv * (1 + 0.2 * np.sin(2 * np.pi * 0.3 * t)) + 0.8 * np.sin(2 * np.pi * 0.15 * t)
    found = qrs_batch(mv, 250) / 250
    hit = sum(bool(np.abs(found - at).min() <= 0.15) for at in times)
    assert 2 * hit / (len(times) + len(found)) >= 0.985

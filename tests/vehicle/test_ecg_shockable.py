"""Ventricular fibrillation and rapid ventricular tachycardia, made: what is told, when, and what looks like it and is
not. Figures on real ones stand in vehicle/clinic/ecg/README.md."""

from __future__ import annotations

import numpy as np
import pytest

from devices.readings import Samples
from tests.vehicle.ecg_waves import NORMAL, VENTRICULAR, Floats, regular, trace, ventricular_fibrillation
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.critical import in_findings
from vehicle.clinic.ecg.events import Beat, ShockableRhythm
from vehicle.clinic.ecg.findings import analyse
from vehicle.clinic.ecg.live_state import LiveEcg
from vehicle.clinic.ecg.shockable import bent, half_periods, leakage, resting

FS_HZ = 250
BEFORE_S = 20
RESTED = trace(regular(75, BEFORE_S), BEFORE_S, FS_HZ)


def told(mv: Floats, fs_hz: float = FS_HZ, lead_off: np.ndarray | None = None) -> list[ShockableRhythm]:
    columns = mv if mv.ndim == 2 else mv[:, None]
    chain = EcgChain(("II", "V1")[: columns.shape[1]], fs_hz, screen_af=False)
    events = chain.push(columns, lead_off) + chain.flush()
    return [event for event in events if isinstance(event, ShockableRhythm)]


def irregular(seconds: float) -> Floats:
    """Times of beats of an atrial fibrillation at about 130 a minute."""
    return 0.5 + np.cumsum(np.random.default_rng(5).uniform(0.33, 0.62, int(seconds / 0.47)))


@pytest.mark.parametrize("fs_hz", [100, 125, 250, 360, 500, 1000])
def test_fibrillation_is_told_within_ten_seconds_and_is_over_when_the_heart_beats_again(fs_hz: int) -> None:
    rested = trace(regular(75, BEFORE_S), BEFORE_S, fs_hz)
    found = told(np.concatenate([rested, ventricular_fibrillation(20, fs_hz), rested, rested]), fs_hz)
    assert [event.ended for event in found] == [False, True]
    assert 0 < found[0].sample / fs_hz - BEFORE_S <= 10
    assert abs(found[0].began / fs_hz - BEFORE_S) <= 4
    assert 0 < found[1].sample / fs_hz - (BEFORE_S + 20) <= 10


@pytest.mark.parametrize("bpm", [180, 220, 250])
def test_rapid_wide_beats_are_told(bpm: int) -> None:
    times = regular(bpm, 25)
    assert told(np.concatenate([RESTED, trace(times, 25, FS_HZ, VENTRICULAR)]))


@pytest.mark.parametrize(
    "mv",
    [
        trace(regular(45, 60), 60, FS_HZ),
        trace(regular(150, 60), 60, FS_HZ),
        trace(regular(210, 60), 60, FS_HZ),
        trace(irregular(60), 60, FS_HZ),
        trace(regular(80, 60), 60, FS_HZ, [VENTRICULAR, NORMAL] * 39 + [NORMAL]),
        trace(regular(70, 60), 60, FS_HZ, VENTRICULAR),
        trace(regular(75, 60), 60, FS_HZ, noise_mv=0.15),
        np.random.default_rng(3).normal(0, 0.2, 60 * FS_HZ),
        trace(regular(75, 60), 60, FS_HZ) + 2 * np.sin(2 * np.pi * 0.4 * np.arange(60 * FS_HZ) / FS_HZ),
        np.zeros(60 * FS_HZ),
    ],
    ids=["45", "150", "210", "af", "bigeminy", "wide_70", "muscle", "noise_alone", "wandering", "flat"],
)
def test_what_beats_rests_or_is_noise_is_not_told(mv: Floats) -> None:
    assert told(mv) == []


def shaking(hz: float, seconds: float, mv: float) -> Floats:
    """A hand that trembles: waves of ``hz`` whose height comes and goes, ``mv`` from peak to peak at most."""
    t = np.arange(round(seconds * FS_HZ)) / FS_HZ
    height = 0.5 * mv * (0.7 + 0.3 * np.sin(0.8 * t))
    return height * np.sin(2 * np.pi * hz * t + 0.8 * np.sin(1.3 * t))


@pytest.mark.parametrize("hz", [6.0, 7.0])
@pytest.mark.parametrize("bpm", [60, 75])
def test_a_hand_that_trembles_over_qrs_that_stand_out_is_not_told(hz: float, bpm: int) -> None:
    beats = trace(regular(bpm, 40), 40, FS_HZ)
    assert told(beats + shaking(hz, 40, 0.7)) == []
    assert told(np.concatenate([RESTED, shaking(hz, 40, 0.7)])), "nothing stands out of it: it is told"


@pytest.mark.parametrize("hz", [8.6, 9.5])
def test_what_turns_faster_than_a_heart_fibrillates_is_not_told(hz: float) -> None:
    assert told(np.concatenate([RESTED, shaking(hz, 40, 0.5)])) == []


def test_small_waves_and_leads_that_are_off_are_not_judged() -> None:
    fine = ventricular_fibrillation(30, FS_HZ, mv=0.12)
    assert told(np.concatenate([RESTED, fine])) == []
    coarse = np.concatenate([RESTED, ventricular_fibrillation(30, FS_HZ)])
    off = np.zeros((len(coarse), 1), bool)
    off[len(RESTED) :] = True
    assert told(coarse, lead_off=off) == []
    assert told(coarse)


def test_one_lead_that_shakes_beside_one_that_beats_is_not_told() -> None:
    beats = trace(regular(75, 50), 50, FS_HZ)
    shaking = np.concatenate([RESTED, ventricular_fibrillation(30, FS_HZ)])
    assert told(np.stack([beats, shaking], axis=1)) == []
    assert told(np.stack([shaking, shaking], axis=1))


def test_a_gap_ends_what_was_open_and_nothing_is_said_before_eight_new_seconds() -> None:
    chain = EcgChain(("II",), FS_HZ, screen_af=False)
    wild = ventricular_fibrillation(30, FS_HZ)[:, None]
    first = [event for event in chain.push(wild) if isinstance(event, ShockableRhythm)]
    assert [event.ended for event in first] == [False]
    assert [e.ended for e in chain.gap(FS_HZ) if isinstance(e, ShockableRhythm)] == [True]
    again = [event for event in chain.push(wild) if isinstance(event, ShockableRhythm)]
    assert [event.ended for event in again] == [False]
    assert again[0].sample >= len(wild) + FS_HZ + 8 * FS_HZ


def test_how_samples_are_cut_changes_nothing() -> None:
    mv = np.concatenate([RESTED, ventricular_fibrillation(20, FS_HZ), RESTED])
    chain = EcgChain(("II",), FS_HZ, screen_af=False)
    parts = [event for part in np.array_split(mv[:, None], 531) for event in chain.push(part)]
    assert [event for event in parts if isinstance(event, ShockableRhythm)] == told(mv) != []


def test_the_measures_are_what_they_say() -> None:
    t = np.arange(8 * FS_HZ) / FS_HZ
    waves = np.stack(
        [np.sin(2 * np.pi * 5 * t), trace(regular(60, 8), 8, FS_HZ), np.random.default_rng(1).normal(size=len(t))]
    )
    left = leakage(waves, half_periods(waves))
    assert left[0] < 0.1 < 0.6 < left[1]
    assert resting(waves)[0] < 0.1 < 0.6 < resting(waves)[1]
    sine, beating, noise = bent(waves)
    assert sine == pytest.approx(1.4, abs=0.1)
    assert noise < 5 < beating


def test_a_recording_and_the_running_ecg_say_it_as_a_critical_finding() -> None:
    mv = np.concatenate([RESTED, ventricular_fibrillation(20, FS_HZ)])
    counts = np.round(mv * 1000 / 1.25).astype(np.int16).reshape(-1, 1)
    found = analyse(("II",), FS_HZ, counts, 1.25, -32768)
    [stretch] = found["shockable"]
    assert stretch["ended_ms"] == found["duration_ms"] == 40_000
    critical = dict(in_findings(found))
    assert critical["ecg_shockable"] == {"began_ms": stretch["began_ms"]}
    samples = Samples("ecg", ("II",), FS_HZ, 1, 0, counts, 1.25, "uV")
    live = LiveEcg(samples)
    live.push(samples)
    assert live.message()["shockable"] is True
    assert ("ecg_shockable", {}) in live.critical()


@pytest.mark.parametrize("bpm", [125, 140, 170, 200])
def test_a_run_of_wide_beats_is_counted_at_its_own_rate(bpm: int) -> None:
    first = regular(75, 10)
    run = first[-1] + 0.5 + np.arange(20) * 60 / bpm
    mv = trace(np.concatenate([first, run]), run[-1] + 1.5, FS_HZ, [NORMAL] * len(first) + [VENTRICULAR] * len(run))
    chain = EcgChain(("II",), FS_HZ, screen_af=False)
    beats = [event.time_s for event in chain.push(mv[:, None]) + chain.flush() if isinstance(event, Beat)]
    assert sum(at > first[-1] + 0.2 for at in beats) == len(run)

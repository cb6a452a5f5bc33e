"""AF through the whole chain: samples in, assessments and the score of a recording out."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.vehicle.test_ecg_p_wave import FS, fibrillation, made, sinus
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import AfLevel, RhythmAssessment
from vehicle.clinic.ecg.scoring import af_record, qrs_batch

SCORER = Path(__file__).resolve().parents[3] / "shared/tools/ecg"


def assessed(mv: np.ndarray, size: int) -> list[RhythmAssessment]:
    chain = EcgChain(("II",), FS)
    told = [e for i in range(0, len(mv), size) for e in chain.push(mv[i : i + size, None])] + chain.flush()
    return [event for event in told if isinstance(event, RhythmAssessment)]


def test_a_recording_of_af_and_one_of_sinus_rhythm() -> None:
    assert af_record(fibrillation()[0], FS) > 0.9
    assert af_record(sinus()[0], FS) < 0.1


@pytest.mark.parametrize("fs_hz", [125.0, 500.0])
def test_at_other_rates(fs_hz: float) -> None:
    for (x, _), af in ((fibrillation(), True), (sinus(), False)):
        at = np.arange(int(len(x) * fs_hz / FS)) / fs_hz
        assert (af_record(np.interp(at, np.arange(len(x)) / FS, x), fs_hz) >= 0.5) is af


def test_assessments_do_not_depend_on_the_pushes() -> None:
    rr_s = np.concatenate((fibrillation_rr(40), np.full(45, 0.8), fibrillation_rr(40)))
    x, _ = made(rr_s, 0.05, 0.05)
    whole = assessed(x, len(x))
    assert len(whole) > 5
    assert assessed(x, 41) == whole
    assert assessed(x, 1009) == whole


def fibrillation_rr(beats: int) -> np.ndarray:
    return 0.7 * np.exp(np.random.default_rng(2).normal(0, 0.22, beats))


def test_a_lead_that_came_off_leaves_it_undecided() -> None:
    x, _ = sinus()
    off = np.random.default_rng(1).normal(0, 0.002, len(x))
    assert {one.level for one in assessed(off, 250)} <= {AfLevel.UNDECIDED}
    assert af_record(np.full(len(x), np.nan), FS) == 0.0
    assert af_record(np.zeros(0), FS) == 0.0


@pytest.mark.skipif(not SCORER.is_dir(), reason="skipped: no ../shared")
def test_records_of_people_with_and_without_af(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two records each from the development half of cinc2017, by signal and by times of beats."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).resolve().parents[2]), *sys.path])
    records = importlib.import_module("benchmarks.train_ecg_af").cinc2017()
    left = {"A": 2, "N": 2}
    for _, label, mv in records:
        if left.get(label, 0):
            left[label] -= 1
            assert (af_record(mv, 300.0) >= 0.5) is (label == "A")
            assert len(qrs_batch(mv, 300.0)) > 10
        if not any(left.values()):
            break
    assert left == {"A": 0, "N": 0}

"""Recordings made harder for training keep what is known of them."""

import numpy as np
import pytest

from benchmarks.made_harder import Record, beatless, changes, made_harder, other_length, other_rate, racing
from tests.vehicle.ecg_waves import regular, trace
from vehicle.clinic.ecg.scoring import qrs_batch

FS_HZ, SECONDS = 360, 130
NOISES = {name: np.random.default_rng(seed).normal(0, 1, 20_000) for seed, name in enumerate(("ma", "bw"))}
CHANGES = [change for _, change in changes(NOISES)]
"""All of them, in their order."""


def easy() -> Record:
    times = regular(70, SECONDS)
    return Record("made", trace(times, SECONDS, FS_HZ), FS_HZ, np.round(times * FS_HZ).astype(np.int64))


def share_found(record: Record) -> float:
    """Share of its beats that the detector finds, after the first seconds."""
    found, known = qrs_batch(record.mv, record.fs_hz), record.beats[record.beats > 5 * record.fs_hz]
    return float(np.mean([np.abs(found - beat).min() <= 0.15 * record.fs_hz for beat in known]))


@pytest.mark.parametrize("index", range(len(CHANGES)))
def test_each_change_leaves_its_beats_where_they_are_said(index: int) -> None:
    before = easy()
    after = CHANGES[index](before, np.random.default_rng(index))
    assert np.isfinite(after.mv).all()
    assert len(after.mv) != len(before.mv) or after.fs_hz != before.fs_hz or not np.array_equal(after.mv, before.mv)
    assert 0 <= after.beats.min() <= after.beats.max() < len(after.mv)
    assert (np.diff(after.beats) > 0).all()
    assert share_found(after) >= 0.9
    assert np.array_equal(before.mv, easy().mv)


def test_other_rates_and_lengths_keep_the_beats_at_their_peaks() -> None:
    for change in (other_rate, other_length, racing):
        made = change(easy(), np.random.default_rng(3))
        near = round(0.03 * made.fs_hz)
        peaks = [beat - near + int(made.mv[beat - near : beat + near].argmax()) for beat in made.beats]
        assert np.abs(np.array(peaks) - made.beats).max() <= 0.012 * made.fs_hz


def test_chance_decides_and_the_seed_says_which() -> None:
    made = [made_harder(easy(), NOISES, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(made[0].mv, made[1].mv)
    assert len(made[0].mv) != len(made[2].mv) or not np.array_equal(made[0].mv, made[2].mv)


def test_a_beatless_line_has_none() -> None:
    line = beatless(250, 20, NOISES, np.random.default_rng(0))
    assert len(line.mv) == 5000
    assert not len(line.beats)


def test_a_piece_counts_from_its_begin() -> None:
    piece = easy().piece(10, 20)
    assert len(piece.mv) == 20 * FS_HZ
    assert np.array_equal(piece.beats, easy().beats[(easy().beats >= 3600) & (easy().beats < 10800)] - 3600)

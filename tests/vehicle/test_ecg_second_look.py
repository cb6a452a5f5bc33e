"""A peak in doubt is looked at once more, when what follows it is known."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vehicle.ecg_waves import BeatWave, regular, trace
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import Beat, Pause
from vehicle.clinic.ecg.qrs_judge import LATE, SIZE, Floats

FS_HZ, SECONDS = 250, 20
TIMES = regular(70, SECONDS)
SURE, IN_DOUBT = 5.0, 0.5
FOLLOWED = BeatWave(((0.0, 0.012, 1.0), (0.17, 0.02, 0.5)))
"""Something rises behind its QRS."""


def never_sure_at_first(measures: Floats) -> float:
    """In doubt at the first look; at the second, half of the usual height is a beat."""
    if not measures[LATE]:
        return IN_DOUBT
    return SURE if measures[SIZE] > np.log(0.5) else -SURE


def told(mv: Floats, chunk: int) -> list[tuple[float, object]]:
    chain = EcgChain(("II",), FS_HZ, screen_af=False, judge=never_sure_at_first)
    pushes = range(0, len(mv), chunk)
    return [((at + chunk) / FS_HZ, event) for at in pushes for event in chain.push(mv[at : at + chunk, None])]


def test_each_beat_in_doubt_is_marked_once_and_a_little_later() -> None:
    said = [(at, event) for at, event in told(trace(TIMES, SECONDS, FS_HZ, FOLLOWED), 5) if isinstance(event, Beat)]
    assert len(said) == len(TIMES)
    waited = [at - event.time_s for at, event in said if event.time_s > 3]
    assert min(waited) > 0.3
    assert max(waited) < 0.45
    assert not any(event.revised for _, event in said)


def test_doubts_say_no_pause() -> None:
    """A pause is said when no beat can come any more that would end it, a doubted one neither."""
    times = np.arange(0.5, SECONDS - 1, 2.48)
    assert not [event for _, event in told(trace(times, SECONDS, FS_HZ, FOLLOWED), 5) if isinstance(event, Pause)]


@settings(max_examples=5, deadline=None)
@given(chunk=st.integers(1, 700))
def test_how_samples_are_cut_changes_no_doubt(chunk: int) -> None:
    mv = trace(TIMES, SECONDS, FS_HZ, FOLLOWED, noise_mv=0.05)
    assert [event for _, event in told(mv, chunk)] == [event for _, event in told(mv, len(mv))]


def test_tall_p_waves_before_small_wide_beats_are_no_beats() -> None:
    """As in record 108: the P wave is sharper than the QRS and nearly as high."""
    wave = BeatWave(((-0.19, 0.018, 0.3), (0.0, 0.022, -0.55), (0.05, 0.02, 0.25), (0.30, 0.05, 0.15)))
    chain = EcgChain(("II",), FS_HZ, screen_af=False)
    events = chain.push(trace(TIMES, SECONDS, FS_HZ, wave)[:, None]) + chain.flush()
    found = np.array([event.time_s for event in events if isinstance(event, Beat) and event.time_s > 3])
    late = TIMES[TIMES > 3]
    assert len(found) == len(late)
    assert np.abs(found - late).max() < 0.1

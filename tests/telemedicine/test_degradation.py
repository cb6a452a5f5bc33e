"""The degradation ladder: down at once to what still fits, up with patience, and back by itself."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemedicine.degradation import (
    FALLS_AFTER_S,
    LADDER,
    LONGEST_RISE_S,
    RISES_AFTER_S,
    Change,
    Reason,
    Rung,
    Standing,
    step,
    unmet,
)
from telemedicine.link_sample import LinkSample, as_fields
from tests.vehicle.conftest import MORNING

RUNGS = list(LADDER)
STEP_S = 0.5


def sample(
    up: float | None = None, rtt: float | None = 40.0, loss: float | None = 0.0, silent: float = 0.0
) -> LinkSample:
    return LinkSample(MORNING, "session", rtt_ms=rtt, loss_percent=loss, up_bit_s=up, silent_s=silent)


def run(
    standing: Standing, samples: list[LinkSample], from_s: float = 0.0
) -> tuple[Standing, list[tuple[float, Change]]]:
    changes = []
    for i, one in enumerate(samples):
        now_s = from_s + i * STEP_S
        standing, change = step(standing, one, now_s)
        if change is not None:
            changes.append((now_s, change))
    return standing, changes


def lasting(seconds: float, one: LinkSample) -> list[LinkSample]:
    return [one] * round(seconds / STEP_S)


def test_the_table_goes_from_more_to_less() -> None:
    assert list(Rung) == RUNGS
    for better, worse in pairwise(LADDER.values()):
        assert better.least_up_bit_s > worse.least_up_bit_s
        assert better.most_rtt_ms < worse.most_rtt_ms
        assert better.most_loss_percent < worse.most_loss_percent
        assert better.video_height >= worse.video_height
        assert (better.stills, better.audio, better.live_data) >= (worse.stills, worse.audio, worse.live_data)
    assert LADDER[Rung.AUDIO_ECG].audio
    assert LADDER[Rung.AUDIO_ECG].live_data


@pytest.mark.parametrize(
    ("one", "rung", "reason"),
    [
        (sample(up=600_000), Rung.SMALLER, Reason.BANDWIDTH),
        (sample(up=250_000), Rung.STILLS_AUDIO, Reason.BANDWIDTH),
        (sample(up=100_000), Rung.AUDIO_ECG, Reason.BANDWIDTH),
        (sample(up=20_000), Rung.ASYNCHRONOUS, Reason.BANDWIDTH),
        (sample(up=9e6, loss=15.0), Rung.SMALLER, Reason.LOSS),
        (sample(up=9e6, rtt=1500.0), Rung.STILLS_AUDIO, Reason.ROUND_TRIP),
    ],
)
def test_down_straight_to_what_fits_after_two_seconds(one: LinkSample, rung: Rung, reason: Reason) -> None:
    standing, changes = run(Standing(), lasting(5, one))
    ((at_s, change),) = changes
    assert (at_s, change.before, change.after, change.reason) == (FALLS_AFTER_S, Rung.LIVE, rung, reason)
    assert change.sample == one
    assert standing.rung == rung


def test_a_short_dip_and_a_short_outage_change_nothing() -> None:
    good, bad = sample(up=3e6), sample(up=100_000)
    outage = [sample(up=0.0, silent=i * STEP_S) for i in range(18)]
    samples = [*lasting(3, good), *lasting(1.5, bad), *lasting(3, good), *outage, *lasting(3, good)]
    assert run(Standing(), samples) == (Standing(), [])


def test_after_ten_seconds_of_silence_the_case_goes_on_in_writing_and_comes_back_by_itself() -> None:
    silence = [sample(up=3e6, silent=i * STEP_S) for i in range(30)]
    standing, changes = run(Standing(), silence)
    ((at_s, change),) = changes
    assert (at_s, change.after, change.reason) == (10.5, Rung.ASYNCHRONOUS, Reason.SILENCE)
    standing, changes = run(standing, lasting(20, sample(up=3e6)), from_s=15.0)
    ((at_s, change),) = changes
    assert (at_s - 15.0, change.after, change.reason) == (RISES_AFTER_S, Rung.LIVE, Reason.BETTER)


def test_a_link_just_at_the_border_does_not_swing() -> None:
    """1.1 Mbit/s carries live pictures, and is not enough room to take them again."""
    _, changes = run(Standing(), [*lasting(3, sample(up=900_000)), *lasting(300, sample(up=1_100_000))])
    assert [change.after for _, change in changes] == [Rung.SMALLER]


def test_patience_doubles_when_a_rise_was_too_early() -> None:
    standing, now_s, waits = Standing(rung=Rung.SMALLER), 0.0, []
    for _ in range(6):
        began_s, change = now_s, None
        while change is None:
            standing, change = step(standing, sample(up=2e6), now_s)
            now_s += STEP_S
        assert change.after is Rung.LIVE
        waits.append(now_s - STEP_S - began_s)
        standing, changes = run(standing, lasting(4, sample(up=500_000)), now_s)
        assert [change.after for _, change in changes] == [Rung.SMALLER]
        now_s += 4
    assert waits == [6.0, 12.0, 24.0, 48.0, 60.0, 60.0]


def test_patience_comes_back_after_a_quiet_minute() -> None:
    standing = Standing(Rung.LIVE, patience_s=48.0, risen_s=0.0)
    standing, _ = run(standing, lasting(LONGEST_RISE_S + 2, sample(up=3e6)), 1.0)
    assert standing.patience_s == RISES_AFTER_S


def test_nobody_measured_is_no_reason_and_no_proof() -> None:
    nothing = LinkSample(MORNING, "session")
    assert run(Standing(), lasting(60, nothing))[1] == []
    assert run(Standing(rung=Rung.AUDIO_ECG), lasting(60, nothing))[1] == []


FIGURES = st.builds(
    sample,
    up=st.none() | st.floats(0, 1e8),
    rtt=st.none() | st.floats(0, 1e4),
    loss=st.none() | st.floats(0, 100),
    silent=st.just(0.0) | st.floats(0, 60),
)


@settings(max_examples=200, deadline=None)
@given(samples=st.lists(FIGURES, max_size=80))
def test_any_link_keeps_the_rules(samples: list[LinkSample]) -> None:
    """A change is to another rung; down only when the rung was unmet; always onto one that fits; never two rises closer
    together than the least patience."""
    standing = Standing()
    rises: list[float] = []
    for i, one in enumerate(samples):
        before = standing
        standing, change = step(standing, one, i * STEP_S)
        if change is None:
            assert standing.rung is before.rung
            continue
        assert (change.before, change.after) == (before.rung, standing.rung)
        assert change.before is not change.after
        assert unmet(LADDER[change.after], one) is None
        if change.reason is Reason.BETTER:
            assert RUNGS.index(change.after) < RUNGS.index(change.before)
            rises.append(i * STEP_S)
        else:
            assert RUNGS.index(change.after) > RUNGS.index(change.before)
            assert unmet(LADDER[change.before], one) is change.reason
    assert all(later - earlier >= RISES_AFTER_S for earlier, later in pairwise(rises))


@settings(max_examples=50, deadline=None)
@given(samples=st.lists(FIGURES, max_size=40))
def test_whatever_has_happened_a_good_link_brings_live_pictures_back(samples: list[LinkSample]) -> None:
    standing, _ = run(Standing(), samples)
    good = lasting(LONGEST_RISE_S + 2, sample(up=20e6))
    assert run(standing, good, from_s=len(samples) * STEP_S)[0].rung is Rung.LIVE


def test_what_an_entry_says_of_a_sample() -> None:
    said = LinkSample(MORNING, "session", rtt_ms=51.2, jitter_ms=4.0, loss_percent=1.25, up_bit_s=1_234_567)
    assert as_fields(said) == {"rtt_ms": 51, "jitter_ms": 4, "loss_per_mille": 12, "up_kbit_s": 1235}
    assert as_fields(LinkSample(MORNING, "probe")) == {}
    assert as_fields(sample(rtt=None, loss=None, silent=2.5)) == {"silent_ms": 2500}

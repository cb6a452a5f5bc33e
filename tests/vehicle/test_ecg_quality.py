"""What is said of a lead whose signal is bad in one way, and that it gets better again."""

import numpy as np
import pytest

from tests.vehicle.ecg_waves import TWELVE, regular, trace, twelve_leads
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import Beat, LeadQuality, Level, Reason

FS_HZ = 250
SECONDS = 24
BAD = slice(8 * FS_HZ, 14 * FS_HZ)


def one_lead() -> np.ndarray:
    return trace(regular(75, SECONDS), SECONDS, FS_HZ)


def said_of(mv: np.ndarray, leads: tuple[str, ...] = ("II",)) -> list[LeadQuality]:
    chain = EcgChain(leads, FS_HZ, screen_af=False)
    told = chain.push(mv.reshape(len(mv), -1)) + chain.flush()
    return [event for event in told if isinstance(event, LeadQuality)]


def missing(mv: np.ndarray) -> None:
    mv[BAD] = np.nan


def railed(mv: np.ndarray) -> None:
    mv[BAD] = 350.0


def flat(mv: np.ndarray) -> None:
    mv[BAD] = 0.0


def clipped(mv: np.ndarray) -> None:
    mv[BAD] = np.clip(3 * np.sin(np.arange(len(mv[BAD])) / 8), -1, 1)


def large(mv: np.ndarray) -> None:
    mv[BAD] += 9 * np.sin(np.arange(len(mv[BAD])) / 30)


def noisy(mv: np.ndarray) -> None:
    mv[BAD] += np.random.default_rng(1).normal(0, 1.5, len(mv[BAD]))


def stepped(mv: np.ndarray) -> None:
    mv[BAD] += np.where(np.arange(len(mv[BAD])) // 100 % 2 == 0, -160.0, 160.0)


def small(mv: np.ndarray) -> None:
    mv[BAD] *= 0.06


@pytest.mark.parametrize(
    ("spoil", "level", "reason"),
    [
        (missing, Level.UNUSABLE, Reason.MISSING),
        (railed, Level.UNUSABLE, Reason.RAIL),
        (flat, Level.UNUSABLE, Reason.FLAT),
        (clipped, Level.POOR, Reason.RAIL),
        (large, Level.UNUSABLE, Reason.LARGE),
        (noisy, Level.UNUSABLE, Reason.NOISE),
        (stepped, Level.UNUSABLE, Reason.STEP),
        (small, Level.POOR, Reason.SMALL),
    ],
)
def test_a_bad_stretch_has_its_reason_and_ends(spoil, level: Level, reason: Reason) -> None:
    mv = one_lead()
    spoil(mv)
    said = said_of(mv)
    assert said[0].level is Level.GOOD
    during = [event for event in said if 8 * FS_HZ < event.sample <= 14.5 * FS_HZ]
    assert (level, reason) in [(event.level, event.reason) for event in during]
    assert said[-1].level is Level.GOOD
    assert said[-1].sample <= 18 * FS_HZ


def bursts(sizes_mv: list[float]) -> list[LeadQuality]:
    """What is said of noise of these sizes, half a second each, from the tenth second on."""
    seconds = 30
    mv = trace(regular(75, seconds), seconds, FS_HZ)
    rng, hop = np.random.default_rng(5), FS_HZ // 2
    for index, size in enumerate(sizes_mv):
        begin = 10 * FS_HZ + index * hop
        mv[begin : begin + hop] += rng.normal(0, size, hop)
    return [event for event in said_of(mv) if event.sample > 9 * FS_HZ]


def test_muscle_in_bursts_is_one_poor_stretch_and_a_twitch_is_none() -> None:
    assert bursts([0.0, 0.25, 0.0, 0.0, 0.25]) == []
    twice = bursts([0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.5, 0.5])
    assert [event.level for event in twice] == [Level.POOR, Level.GOOD]
    assert twice[0].reason is Reason.NOISE
    assert 15.5 + 3 < twice[1].sample / FS_HZ <= 15.5 + 4.5


def test_twelve_good_leads_are_good_once() -> None:
    said = said_of(twelve_leads(one_lead()), TWELVE)
    assert sorted(event.lead for event in said if event.level is Level.GOOD) == sorted(TWELVE)
    assert all(event.sample == FS_HZ // 2 for event in said)


def test_a_lead_with_other_beats_disagrees() -> None:
    other = trace(regular(97, SECONDS, first_s=0.83), SECONDS, FS_HZ, gain=0.8, seed=3)
    mv = np.stack([2 * one_lead(), 2.4 * one_lead(), other], axis=1)
    said = [event for event in said_of(mv, ("I", "II", "V1")) if event.lead == "V1"]
    assert said[-1].reason is Reason.DISAGREES


def test_noise_on_one_lead_costs_no_beat() -> None:
    mv = np.stack([one_lead(), one_lead()], axis=1)
    mv[BAD, 1] += np.random.default_rng(2).normal(0, 1.0, len(mv[BAD]))
    chain = EcgChain(("I", "II"), FS_HZ, screen_af=False)
    found = [event.time_s for event in chain.push(mv) + chain.flush() if isinstance(event, Beat)]
    times = regular(75, SECONDS)
    hit = [time for time in times if any(abs(at - time) < 0.06 for at in found)]
    assert len(hit) >= len(times) - 1
    assert len(found) <= len(times) + 1

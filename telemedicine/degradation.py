"""The degradation ladder of a live consultation: what is carried when the link gets worse, as one table. Pure.

Live pictures, then smaller ones, then stills with the voices, then the voices with the ECG, then no session: the same
case waits for the specialist's written opinion. Going down is quick and straight to the rung that still fits; going up
waits until a better rung has fitted for a while with room to spare, longer each time it was too early. Nothing here
ends a consultation: the rung goes back up by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from telemedicine.link_sample import LinkSample


class Rung(StrEnum):
    LIVE = "live"
    SMALLER = "smaller"
    STILLS_AUDIO = "stills_audio"
    AUDIO_ECG = "audio_ecg"
    ASYNCHRONOUS = "asynchronous"


class Reason(StrEnum):
    BANDWIDTH = "bandwidth"
    ROUND_TRIP = "round_trip"
    LOSS = "loss"
    SILENCE = "silence"
    BETTER = "better"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a rung asks of the link, and what it carries."""

    least_up_bit_s: float
    most_rtt_ms: float
    most_loss_percent: float
    most_silent_s: float
    video_height: int
    """0: no moving picture."""
    stills: bool
    audio: bool
    live_data: bool


LADDER: Mapping[Rung, Needs] = MappingProxyType(
    {
        # rung                       up_bit_s   rtt   loss  silent  video  stills audio  ECG
        Rung.LIVE: Needs(1_000_000, 800.0, 10.0, 10.0, 720, True, True, True),
        Rung.SMALLER: Needs(350_000, 1200.0, 20.0, 10.0, 360, True, True, True),
        Rung.STILLS_AUDIO: Needs(180_000, 2000.0, 30.0, 10.0, 0, True, True, True),
        Rung.AUDIO_ECG: Needs(64_000, 3000.0, 40.0, 10.0, 0, False, True, True),
        Rung.ASYNCHRONOUS: Needs(0.0, float("inf"), 100.0, float("inf"), 0, False, False, False),
    }
)
"""Best first. 64 kbit/s: sparing voice (at most 28 on the wire) and eight leads of ECG packed (31); an outage of up to
10 s changes nothing, because the session comes back where it was."""

ROOM_TO_RISE = 1.3
"""A rung is taken again when the link gives so much more than it needs, and RTT and loss are so much less."""
FALLS_AFTER_S = 2.0
OLD_AFTER_S = 0.5
"""Of silence; then the other figures are of another time."""
RISES_AFTER_S, LONGEST_RISE_S = 6.0, 60.0
TOO_EARLY_WITHIN_S = 20.0
"""A fall so soon after a rise doubles the patience before the next."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step; ``sample`` is the figure it was decided on."""

    before: Rung
    after: Rung
    reason: Reason
    sample: LinkSample


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands on the ladder. Times are of one monotonic clock.

    :ivar unmet_since_s: since when the rung's needs are not met; None: they are
    :ivar fits_since_s: since when each better rung has fitted, with room
    :ivar patience_s: how long a better rung has to fit before it is taken
    """

    rung: Rung = Rung.LIVE
    unmet_since_s: float | None = None
    fits_since_s: Mapping[Rung, float] = field(default_factory=dict)
    patience_s: float = RISES_AFTER_S
    risen_s: float | None = None

    @property
    def carries(self) -> Needs:
        return LADDER[self.rung]


def step(standing: Standing, sample: LinkSample, now_s: float) -> tuple[Standing, Change | None]:
    """One sample further; at most one change, to any rung."""
    reason = unmet(LADDER[standing.rung], sample)
    if reason is not None:
        return _unmet(standing, sample, now_s, reason)
    standing = replace(standing, unmet_since_s=None)
    fitting = {
        rung: standing.fits_since_s.get(rung, now_s)
        for rung in _better_than(standing.rung)
        if _fits_with_room(LADDER[rung], sample)
    }
    settled = standing.risen_s is not None and now_s - standing.risen_s > LONGEST_RISE_S
    standing = replace(standing, fits_since_s=fitting, patience_s=RISES_AFTER_S if settled else standing.patience_s)
    for rung, since_s in fitting.items():
        if now_s - since_s >= standing.patience_s:
            risen = replace(standing, rung=rung, fits_since_s={}, risen_s=now_s)
            return risen, Change(standing.rung, rung, Reason.BETTER, sample)
    return standing, None


def unmet(needs: Needs, sample: LinkSample) -> Reason | None:
    """Why the link does not carry a rung now. A figure that nobody measured is no reason."""
    if sample.silent_s > needs.most_silent_s:
        return Reason.SILENCE
    if sample.silent_s > OLD_AFTER_S:
        return None
    if sample.up_bit_s is not None and sample.up_bit_s < needs.least_up_bit_s:
        return Reason.BANDWIDTH
    if sample.loss_percent is not None and sample.loss_percent > needs.most_loss_percent:
        return Reason.LOSS
    if sample.rtt_ms is not None and sample.rtt_ms > needs.most_rtt_ms:
        return Reason.ROUND_TRIP
    return None


def _unmet(standing: Standing, sample: LinkSample, now_s: float, reason: Reason) -> tuple[Standing, Change | None]:
    since_s = now_s if standing.unmet_since_s is None else standing.unmet_since_s
    standing = replace(standing, unmet_since_s=since_s, fits_since_s={})
    if reason is not Reason.SILENCE and now_s - since_s < FALLS_AFTER_S:
        return standing, None
    after = next(rung for rung, needs in LADDER.items() if unmet(needs, sample) is None)
    too_early = standing.risen_s is not None and now_s - standing.risen_s <= TOO_EARLY_WITHIN_S
    patience_s = min(standing.patience_s * 2, LONGEST_RISE_S) if too_early else standing.patience_s
    fallen = Standing(rung=after, patience_s=patience_s)
    return fallen, Change(standing.rung, after, reason, sample)


def _better_than(rung: Rung) -> list[Rung]:
    """Best first."""
    rungs = list(LADDER)
    return rungs[: rungs.index(rung)]


def _fits_with_room(needs: Needs, sample: LinkSample) -> bool:
    """Taken again only on a measured rate: silence is no proof of a good link."""
    if sample.up_bit_s is None or sample.silent_s > OLD_AFTER_S:
        return False
    return (
        sample.up_bit_s >= needs.least_up_bit_s * ROOM_TO_RISE
        and (sample.rtt_ms is None or sample.rtt_ms * ROOM_TO_RISE <= needs.most_rtt_ms)
        and (sample.loss_percent is None or sample.loss_percent * ROOM_TO_RISE <= needs.most_loss_percent)
    )

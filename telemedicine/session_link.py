"""The link of the live session: figures out of the uplink once a second, and where they put it on the ladder.

What the picture rungs do second by second is the uplink's; this says which kind of session the link allows, so that
the crew and the record know it. The vehicle process reads ``told`` and keeps each change as an entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from devices.clock import Clock
from devices.events import emit
from sync.formats.records import format_time
from telemedicine.degradation import Change, Rung, Standing, step
from telemedicine.link_sample import LinkSample, as_fields

MOST_CHANGES = 20
"""That are told again and again until somebody has surely read them."""


class SessionLink:
    """
    :param facts: what the uplink knows now (``telemedicine.transport.media_uplink.MediaUplink.facts``)
    :param target_bit_s: the whole uplink's rate as the congestion controller has it
    """

    def __init__(
        self, facts: Callable[[], Mapping[str, float]], target_bit_s: Callable[[], float], clock: Clock
    ) -> None:
        self._facts = facts
        self._target_bit_s = target_bit_s
        self._clock = clock
        self._standing = Standing()
        self._consultation: str | None = None
        self._sample: LinkSample | None = None
        self._last_facts: Mapping[str, float] | None = None
        self._heard_s = 0.0
        self._changes: deque[dict[str, Any]] = deque(maxlen=MOST_CHANGES)

    @property
    def rung(self) -> Rung:
        return self._standing.rung

    def look(self, consultation: str | None) -> None:
        """Once a second. ``consultation``: the one that is live, None without."""
        now_s = self._clock.monotonic_s()
        if consultation != self._consultation:
            self._consultation, self._standing, self._sample = consultation, Standing(), None
            self._last_facts, self._heard_s = None, now_s
        if consultation is None:
            return
        facts = dict(self._facts())
        if facts.get("rtt_s") and facts != self._last_facts:  # each feedback message changes them
            self._last_facts, self._heard_s = facts, now_s
        if self._last_facts is None:
            return  # nobody has connected yet
        self._sample = self._sampled(self._last_facts, now_s)
        self._standing, change = step(self._standing, self._sample, now_s)
        if change is not None:
            self._note(consultation, change)

    def told(self) -> dict[str, Any] | None:
        """Figures and rung of the live session, and the latest changes, as JSON; None where there is nothing to say."""
        changes = {"changes": list(self._changes)}
        if self._sample is None:
            return changes if self._changes else None
        return {**as_fields(self._sample), "rung": str(self.rung), **changes}

    def _sampled(self, facts: Mapping[str, float], now_s: float) -> LinkSample:
        return LinkSample(
            at=self._clock.now(),
            source="session",
            rtt_ms=facts["rtt_s"] * 1000,
            jitter_ms=facts.get("jitter_s", 0.0) * 1000,
            loss_percent=min(100.0, facts.get("lost", 0.0) * 100),
            up_bit_s=self._target_bit_s(),
            silent_s=now_s - self._heard_s,
        )

    def _note(self, consultation: str, change: Change) -> None:
        emit("session_rung_changed", consultation=consultation, before=change.before, after=change.after)
        self._changes.append(
            {
                "at": format_time(change.sample.at),
                "consultation": consultation,
                "before": str(change.before),
                "after": str(change.after),
                "reason": str(change.reason),
                "figures": as_fields(change.sample),
            }
        )

"""How good the link is, from whoever has seen it: a session, a delivery, a probe. Pure.

Quantities as the IETF's IP performance metrics name them: round-trip delay (RFC 2681), loss (RFC 7680), interarrival
jitter (RFC 3550 6.4.1). Every figure may be missing: who did not measure it says None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

SampleSource = Literal["session", "delivery", "probe"]


@dataclass(frozen=True, slots=True)
class LinkSample:
    """
    :ivar rtt_ms: round-trip delay
    :ivar up_bit_s: what the way up takes at this moment: an estimate of capacity, not what happened to be sent
    :ivar silent_s: since the other side was last heard; the other figures are older than that
    """

    at: datetime
    source: SampleSource
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    loss_percent: float | None = None
    up_bit_s: float | None = None
    down_bit_s: float | None = None
    silent_s: float = 0.0


def as_fields(sample: LinkSample) -> dict[str, int]:
    """The figures for an entry: whole numbers with the unit in the name, missing ones left out."""
    figures = {
        "rtt_ms": sample.rtt_ms,
        "jitter_ms": sample.jitter_ms,
        "loss_per_mille": None if sample.loss_percent is None else sample.loss_percent * 10,
        "up_kbit_s": None if sample.up_bit_s is None else sample.up_bit_s / 1000,
        "down_kbit_s": None if sample.down_bit_s is None else sample.down_bit_s / 1000,
        "silent_ms": sample.silent_s * 1000 or None,
    }
    return {name: round(value) for name, value in figures.items() if value is not None}


def from_fields(said: Mapping[str, Any], at: datetime, source: SampleSource) -> LinkSample | None:
    """A sample out of what ``as_fields`` wrote, from another process; None where it has no figure at all."""
    known = {name: float(value) for name, value in said.items() if type(value) is int and 0 <= value < 1 << 40}
    up, down, loss = (known.get(name) for name in ("up_kbit_s", "down_kbit_s", "loss_per_mille"))
    sample = LinkSample(
        at=at,
        source=source,
        rtt_ms=known.get("rtt_ms"),
        jitter_ms=known.get("jitter_ms"),
        loss_percent=None if loss is None else min(loss / 10, 100.0),
        up_bit_s=None if up is None else up * 1000,
        down_bit_s=None if down is None else down * 1000,
        silent_s=known.get("silent_ms", 0.0) / 1000,
    )
    return None if sample == LinkSample(at, source) else sample

"""The van's pictures: what each asks of the uplink, in which sizes it is encoded, how its source is."""

from __future__ import annotations

from typing import Any

from devices.clock import Clock
from telemedicine.media.captures import Wish
from telemedicine.media.h264 import H264
from telemedicine.media.ladder import Ladder, shapes
from telemedicine.media.sources import OPEN, Pictures, Source
from telemedicine.settings import FeedName, FeedSettings
from telemedicine.transport.uplink import PICTURE_SHARE, Stream

NO_H264_ENCODER = "no_h264_encoder"
"""State of every feed, and the event at start, when FFmpeg has no H.264 encoder that works."""
RANKS: dict[FeedName, tuple[int, float]] = {"ultrasound": (0, 0.6), "room": (1, 0.4)}
"""Rank and weight in the uplink: the ultrasound goes before faces."""
LEAST_BIT_S = 150_000.0
FLOORS_BPS: dict[FeedName, int] = {"ultrasound": 800_000, "room": 250_000}
"""What a feed in its whole size needs; below it the picture gets smaller. Speckle costs more than faces."""


def ladder_of(feed: FeedSettings, clock: Clock, h264: H264, prepared: Pictures | None = None) -> Ladder:
    """:param prepared: the pictures of this feed, where they are cut and turned before anybody sees them"""
    floor_bps = min(FLOORS_BPS[feed.name], feed.bit_rate_bit_s)
    rungs = shapes(feed.width, feed.height, feed.frame_rate_hz, floor_bps, feed.bit_rate_bit_s)
    wish = Wish(feed.width, feed.height, feed.frame_rate_hz)
    return Ladder(prepared or Source(feed.name, feed.source, clock, wish), rungs, clock, h264)


def stream_of(feed: FeedSettings) -> Stream:
    """What a feed asks of the uplink: below its least it yields to the one before it."""
    rank, weight = RANKS[feed.name]
    most_bit_s = feed.bit_rate_bit_s / PICTURE_SHARE
    return Stream(feed.name, rank, weight, min(LEAST_BIT_S, most_bit_s), most_bit_s)


def status_of(ladder: Ladder | None) -> dict[str, Any]:
    """open, state, fps, viewers; None: there is no encoder."""
    if ladder is None:
        return {"open": False, "state": NO_H264_ENCODER, "fps": 0.0, "viewers": 0}
    source = ladder.source
    return {
        "open": source.state in OPEN,
        "state": str(source.state),
        "fps": round(source.frame_rate_hz, 1),
        "viewers": ladder.viewers,
    }

"""The van's media, whoever looks: its pictures and their encoders, the voices, and the uplink that all share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from devices.clock import Clock
from telemedicine.camera_preview import same_place
from telemedicine.feeds import ladder_of, status_of, stream_of
from telemedicine.media import face
from telemedicine.media.audio import AudioBridge
from telemedicine.media.h264 import H264
from telemedicine.media.ladder import Ladder, PacketTrack, shapes
from telemedicine.media.sources import Pictures, SourceState
from telemedicine.session_link import SessionLink
from telemedicine.settings import FeedName, FeedSettings
from telemedicine.transport import addresses
from telemedicine.transport.media_uplink import MediaUplink

ENDS_WITHIN_S = 5.0
SPARES_BELOW_BIT_S, SPARES_UNTIL_BIT_S = 120_000, 200_000
"""Of the whole uplink: below, voice and data take as little as they can."""


class Viewer(Protocol):
    """Who looks through the uplink (``telemedicine.peer.Leg``)."""

    @property
    def path(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def tracks(self) -> Mapping[Ladder, PacketTrack]: ...


class MediaEngine:
    """
    :param feeds: its pictures
    :param h264: the encoder for every feed; None: there are no pictures
    :param prepared: the pictures of a feed where they are cut and turned before anybody sees them, else None
    :param spare: told whether bits are scarce, and the round trip in s, for what is sent beside the pictures
    :ivar viewers: those that share the uplink; who opens a connection adds it and takes it away
    """

    def __init__(
        self,
        feeds: Sequence[FeedSettings],
        h264: H264 | None,
        clock: Clock,
        prepared: Callable[[FeedName], Pictures | None],
        spare: Callable[[bool, float], None],
    ) -> None:
        self._feeds = feeds
        self._h264 = h264
        self._spare_data = spare
        self.viewers: set[Viewer] = set()
        self.voices = AudioBridge(clock)
        self.face = face.Face(clock)
        self.face_ladder = _face_ladder(self.face, clock, h264) if h264 is not None else None
        self.ladders: dict[FeedName, Ladder] = {
            feed.name: ladder_of(feed, clock, h264, prepared(feed.name)) for feed in feeds if h264 is not None
        }
        self.uplink = MediaUplink(clock)
        for feed in feeds:
            self.uplink.add_stream(stream_of(feed))
        for name, ladder in self.ladders.items():
            for rung in ladder.rungs:
                rung.set_gate(partial(self.uplink.may_encode, name))
        self.uplink.on_rates(self._allot)
        self.session_link = SessionLink(self.uplink.facts, lambda: self.uplink.target_bit_s, clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self.uplink.run(addresses.changes())

    async def close(self) -> None:
        """End the sources and encoders; when it returns their threads have ended, or 5 s have passed."""
        ended = [ladder.close() for ladder in (*self.ladders.values(), *filter(None, [self.face_ladder]))]
        await asyncio.to_thread(_join, [thread for threads in ended for thread in threads])

    @property
    def in_use(self) -> bool:
        """Somebody looks, or a picture's source is still open."""
        sources = (ladder.source.state for ladder in self.ladders.values())
        return bool(self.viewers) or any(state != SourceState.CLOSED for state in sources)

    def pictures_from(self, address: str) -> Pictures | None:
        """Those of the feed whose source is at ``address``; None: no feed comes from there."""
        names = (feed.name for feed in self._feeds if same_place(feed.source, address))
        return next((self.ladders[name].source for name in names if name in self.ladders), None)

    def told(self) -> dict[str, Any]:
        """For the status."""
        return {
            "h264_encoder": self._h264.name if self._h264 is not None else None,
            "feeds": self.feeds_told(),
            "face": "on" if self.face.state == SourceState.LIVE else "off",
            "link": self.session_link.told(),
        }

    def feeds_told(self) -> dict[str, Any]:
        return {feed.name: status_of(self.ladders.get(feed.name)) for feed in self._feeds}

    def _allot(self) -> None:
        """Each viewer behind the uplink on the rung, and each rung at the rate, that its share is good for."""
        viewers = [viewer for viewer in self.viewers if viewer.state == "connected"]
        for name, ladder in self.ladders.items():
            shares = {
                viewer.tracks[ladder]: self.uplink.picture_bit_s(name, viewer.path)
                for viewer in viewers
                if ladder in viewer.tracks
            }
            ladder.allot({track: share_bps for track, share_bps in shares.items() if share_bps > 0})
        self._spare(self.uplink.target_bit_s if viewers else SPARES_UNTIL_BIT_S)

    def _spare(self, up_bit_s: float) -> None:
        if up_bit_s < SPARES_BELOW_BIT_S or up_bit_s >= SPARES_UNTIL_BIT_S:
            scarce = up_bit_s < SPARES_BELOW_BIT_S
            self.voices.spare(scarce)
            self._spare_data(scarce, self.uplink.facts()["rtt_s"])


def _face_ladder(pictures: face.Face, clock: Clock, h264: H264) -> Ladder:
    floor_bps, ceiling_bps = face.BIT_RATE_BIT_S // 4, face.BIT_RATE_BIT_S
    rungs = shapes(face.WIDTH, face.HEIGHT, face.FRAME_RATE_HZ, floor_bps, ceiling_bps)
    return Ladder(pictures, rungs, clock, h264, repeats_still=False)


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(timeout=ENDS_WITHIN_S)

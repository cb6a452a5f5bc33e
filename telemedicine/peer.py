"""One WebRTC leg of a consultation: to a specialist's browser, to the van's own touchscreen, or to a hospital's SFU.

A page always makes the offer: video lines in the order room, ultrasound, then optionally a line of its own camera
(or, on the touchscreen, the specialist's face); one audio line; the specialist's page also opens the data channels
"live" and "vitals". To an SFU the offer is ours: what we send, and voice. All candidates are in the descriptions,
nothing trickles.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCCertificate,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

from devices.errors import AskPerson
from telemedicine.live_data import DataViewer
from telemedicine.media.audio import Line
from telemedicine.media.ladder import Ladder, PacketTrack
from telemedicine.media.opus import with_terms
from telemedicine.settings import IceServer
from telemedicine.transport import aiortc_patches
from telemedicine.transport.media_uplink import MediaUplink

MOST_VIDEO_LINES = 3
CONNECT_WITHIN_S = 20.0
_MDNS_CANDIDATE = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ \S+\.local .*\r?\n", re.MULTILINE)
_UNREADABLE = (ValueError, AssertionError, IndexError, KeyError, TypeError, AttributeError)
"""What aiortc/sdp.py raises on text that is no session description."""
_END_OF_CANDIDATES = re.compile(r"^a=end-of-candidates\r?\n", re.MULTILINE)


class OfferRefused(AskPerson):
    """The offer cannot be answered; ``str()`` says what the page has to change."""

    code = "offer_refused"


class AnswerUnusable(ValueError):
    """What came back is no answer to our offer; ``str()`` says why."""


class Leg:
    """One peer connection; ``answer``, or ``offer`` and ``take``, once; then it lives until ``close`` or until the
    other side is gone."""

    def __init__(
        self,
        name: str,
        ladders: Sequence[Ladder | None],
        line: Line | None,
        data: DataViewer | None,
        ice_servers: Sequence[IceServer],
        on_state: Callable[[Leg, str], None],
        uplink: MediaUplink,
        watch: Callable[[MediaStreamTrack], Awaitable[None]] | None = None,
        through_uplink: bool = True,
        certificate: RTCCertificate | None = None,
        channels: Mapping[str, Callable[[RTCDataChannel], None]] | None = None,
        keeps_line: bool = False,
    ) -> None:
        """
        :param ladders: what the video lines show, in their order; None for a feed that is not configured
        :param line: the voices; None: this leg has no sound
        :param on_state: called with the connection's state: connecting, connected, disconnected, failed, closed
        :param uplink: what all legs share
        :param watch: reads the page's own camera to its end; None: its pictures are thrown away
        :param through_uplink: False: the van's own screen, which is not behind the radio
        :param certificate: what this side shows; None: a new one
        :param channels: who serves a data channel of this label; of others, "live" and "vitals" go to ``data``
        :param keeps_line: ``line`` is not of this leg alone: closing it is up to who made it
        """
        self._channels = dict(channels or {})
        self.name = name
        self._ladders = list(ladders)
        self._line = line
        self._keeps_line = keeps_line
        self._data = data
        self._on_state = on_state
        self._watch = watch or _drain
        self._ice_servers = ice_servers
        self._pc = self._connection(certificate)
        self._senders: dict[str, RTCRtpSender] = {}
        self._uplink = uplink
        self._through_uplink = through_uplink
        self.path = f"{name}/{id(self):x}"
        """This connection's name in the uplink; ``name`` may have another one a moment later."""
        self.tracks: dict[Ladder, PacketTrack] = {}
        """What this leg looks at."""
        self._drains: set[asyncio.Future[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.state = "new"

    async def answer(self, offer_sdp: str) -> str:
        """The answer with all candidates.

        :raises OfferRefused: not SDP, too many video lines, or no H.264
        """
        try:
            description = SessionDescription.parse(offer_sdp)
            lines = [media for media in description.media if media.kind == "video"]
        except _UNREADABLE as fault:
            await self.close()
            raise OfferRefused(f"the offer is not a session description: {fault}") from None
        if not description.media:
            await self.close()
            raise OfferRefused("the offer is not a session description: it has no media lines")
        if len(lines) > MOST_VIDEO_LINES:
            await self.close()
            raise OfferRefused(f"an offer has at most {MOST_VIDEO_LINES} video lines, this one has {len(lines)}")
        for index, media in enumerate(lines):
            wanted = media.direction in ("recvonly", "sendrecv")
            if media.direction == "sendonly":
                self._pc.addTransceiver("video", direction="recvonly")  # its camera, in whatever codec it prefers
            else:
                self._add_video(self._ladders[index] if wanted and index < len(self._ladders) else None)
        if any(media.kind == "audio" for media in description.media) and self._line is not None:
            self._add_voice(self._line)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(without_mdns(offer_sdp), "offer"))
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except (OperationError, InvalidAccessError, InvalidStateError, ValueError, AssertionError) as fault:
            await self.close()
            raise OfferRefused(f"the offer cannot be answered; the page must offer H.264 and Opus: {fault}") from None
        self._begin()
        return with_terms(str(self._pc.localDescription.sdp))

    async def offer(self, voice: str) -> str:
        """Our offer with all candidates: a line for each ladder (None: a picture that we want to see), one of sound.

        :param voice: "sendonly" or "recvonly"
        """
        for ladder in self._ladders:
            self._add_video(ladder)
        if self._line is not None:
            self._add_voice(self._line, voice)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return with_terms(str(self._pc.localDescription.sdp))

    async def take(self, answer_sdp: str) -> None:
        """The answer to ``offer``.

        :raises AnswerUnusable: not SDP, or it does not fit the offer
        """
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))
        except (*_UNREADABLE, OperationError, InvalidAccessError, InvalidStateError) as fault:
            await self.close()
            raise AnswerUnusable(str(fault) or type(fault).__name__) from None
        self._begin()

    def _begin(self) -> None:
        if self._through_uplink:
            self._uplink.attach(self.path, self._pc, self._senders, self._begin_anew)
        else:
            self._uplink.attach_beside(self.path, self._senders)
        asyncio.get_running_loop().call_later(CONNECT_WITHIN_S, self._give_up)

    @property
    def route(self) -> str | None:
        """Of which type the two ends in use are, ours first: "host host", "relay host" through our relay; None before
        there is a pair."""
        transports = [transceiver.sender.transport for transceiver in self._pc.getTransceivers()]
        types = aiortc_patches.candidate_types(transports[0]) if transports else None
        return None if types is None else " ".join(types)

    async def close(self) -> None:
        """Close the connection and release every track; again is harmless."""
        self._uplink.detach(self.path)
        for task in self._drains:
            task.cancel()
        for track in self.tracks.values():
            track.stop()
        if self._line is not None and not self._keeps_line:
            self._line.stop()
        if self._data is not None:
            self._data.close()
        await self._pc.close()

    def _connection(self, certificate: RTCCertificate | None) -> RTCPeerConnection:
        servers = [
            RTCIceServer(urls=server.urls, username=server.username or None, credential=server.credential or None)
            for server in self._ice_servers
        ]
        pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        if certificate is not None:
            aiortc_patches.certify(pc, certificate)
        pc.on("track", self._take_track)
        pc.on("datachannel", self._take_channel)
        pc.on("connectionstatechange", self._state_changed)
        return pc

    def _add_video(self, ladder: Ladder | None) -> None:
        if ladder is None:
            transceiver = self._pc.addTransceiver("video", direction="recvonly")
        else:
            track = self.tracks[ladder] = ladder.track()
            transceiver = self._pc.addTransceiver(track, direction="sendonly")
            aiortc_patches.route_key_frame_requests(transceiver.sender, track.request_key_frame)
            aiortc_patches.extend_headers(transceiver.sender, self._through_uplink)
            self._senders[ladder.source.feed] = transceiver.sender
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType in ("video/H264", "video/rtx")])

    def _add_voice(self, line: Line, direction: str = "sendrecv") -> None:
        transceiver = self._pc.addTransceiver(line, direction=direction)
        aiortc_patches.extend_headers(transceiver.sender, self._through_uplink)
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "audio/opus"])
        aiortc_patches.pass_packets(transceiver.receiver, line.take_packet)

    def _begin_anew(self) -> None:
        for track in self.tracks.values():
            track.request_key_frame()

    def _take_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":  # pictures nobody has asked for must still be read, or aiortc keeps them all
            task = asyncio.ensure_future(self._watch(track))
            self._drains.add(task)
            task.add_done_callback(self._drains.discard)

    def _take_channel(self, channel: RTCDataChannel) -> None:
        take = self._channels.get(channel.label)
        if take is not None:
            take(channel)
        elif self._data is None:
            channel.close()
        else:
            self._data.attach(channel)

    def _state_changed(self) -> None:
        self.state = self._pc.connectionState
        if self.state == "connected":
            self._uplink.connected(self.path)
        self._on_state(self, self.state)

    def _give_up(self) -> None:
        if self.state in ("new", "connecting"):
            self._closing = asyncio.get_running_loop().create_task(self.close())


async def _drain(track: MediaStreamTrack) -> None:
    while True:
        try:
            await track.recv()
        except MediaStreamError:
            return


def without_mdns(sdp: str) -> str:
    """The offer without candidates that hide behind an mDNS name.

    A browser that has no camera permission names its addresses "<uuid>.local". It reaches our candidates in any case
    and we learn its address from its first check, so nothing is resolved; and as that check may come later, the offer
    must not say that there are no more candidates.
    """
    return _END_OF_CANDIDATES.sub("", _MDNS_CANDIDATE.sub("", sdp))

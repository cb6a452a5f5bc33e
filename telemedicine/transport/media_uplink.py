"""The van's uplink on real connections: aiortc's packets go through ``Uplink``, its decisions to the encoders.

Packets of pictures are taken from aiortc before they are encrypted, wait in the pacer, and get their transport-wide
number when they leave; sound leaves at once. When feedback falls silent the pair in use is checked every 0.2 s, so
that a rebound NAT or a new address of ours is known to the other side at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpSender, RTCSctpTransport

from devices.clock import Clock
from devices.events import emit
from telemedicine.transport import aiortc_patches
from telemedicine.transport.aiortc_patches import SendRtp
from telemedicine.transport.feedback import FeedbackUnreadable, messages, parse_feedback
from telemedicine.transport.path import PathState
from telemedicine.transport.retransmission import RetransmissionLimit
from telemedicine.transport.uplink import MOST_BIT_S, Stream, Uplink

WIRE_OVERHEAD_BYTES = 28 + 16
"""UDP and IPv4 headers, SRTP's authentication."""
LOOK_EVERY_S = 0.02
CHECK_EVERY_S = 0.1
CHECKS_AT_ONCE = 5
HURRY_EVERY_S = 0.1
MOST_PROBE_PACKETS = 10
SOUND = "sound"
MARKER = 0x80
"""Of RTP's second byte: the last packet of a picture (RFC 6184, 5.1)."""


@dataclass(eq=False)
class _Leg:
    name: str
    connection: RTCPeerConnection
    transport: RTCDtlsTransport
    senders: dict[int, tuple[str, RTCRtpSender, bool]]
    """SSRC -> stream, its sender, whether it carries repeated packets."""
    on_lost_picture: Callable[[], None]
    send: SendRtp | None = None
    limits: dict[str, RetransmissionLimit] = field(default_factory=dict)
    checked_s: float = float("-inf")
    hurried_s: float = float("-inf")
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    repeat: dict[str, Callable[[int], Awaitable[None]]] = field(default_factory=dict)
    padding: bool = False
    doubling: bool = False
    """What is repeated now was not asked for: to feel the link, or as the second copy of a picture."""
    pictures: dict[str, list[int]] = field(default_factory=dict)
    """Stream -> sequence numbers of the picture that aiortc is handing over."""


class MediaUplink:
    """Event loop only, except ``may_encode``. ``run`` for as long as there are connections."""

    def __init__(self, clock: Clock, most_bit_s: float = MOST_BIT_S) -> None:
        self._clock = clock
        self._uplink: Uplink[tuple[_Leg, int, bytes]] = Uplink(clock.monotonic_s(), most_bit_s=most_bit_s)
        self._legs: dict[str, _Leg] = {}
        self._coming: dict[str, _Leg] = {}
        """Attached, not connected yet: perhaps never, and until then nobody's pictures wait for them."""
        self._wake = asyncio.Event()
        self._open: dict[str, bool] = {}
        self._beside: dict[str, frozenset[str]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._addresses: frozenset[str] = frozenset()

    # who is there

    def add_stream(self, stream: Stream) -> None:
        self._uplink.add_stream(stream)
        self._open[stream.name] = False

    def on_rates(self, listener: Callable[[], None]) -> None:
        """``listener`` is called whenever the rates may have changed, some twenty times a second and connection."""
        self._listeners.append(listener)

    def attach(
        self,
        name: str,
        connection: RTCPeerConnection,
        senders: Mapping[str, RTCRtpSender],
        on_lost_picture: Callable[[], None],
    ) -> None:
        """Take over what ``connection`` sends from ``connected`` on. After its local description was set, before
        anything is sent; its senders had ``extend_headers``.

        :param senders: stream -> the sender that carries it
        :param on_lost_picture: this viewer needs a key frame
        """
        self.detach(name)
        transport = next(iter(connection.getTransceivers())).sender.transport
        ssrcs: dict[int, tuple[str, RTCRtpSender, bool]] = {}
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "audio":
                sound, _ = aiortc_patches.synchronization_sources(transceiver.sender)
                ssrcs[sound] = (SOUND, transceiver.sender, False)
        leg = _Leg(name, connection, transport, ssrcs, on_lost_picture)
        for stream, sender in senders.items():
            first, again = aiortc_patches.synchronization_sources(sender)
            ssrcs[first], ssrcs[again] = (stream, sender, False), (stream, sender, True)
            limit = leg.limits[stream] = RetransmissionLimit()
            leg.repeat[stream] = aiortc_patches.limit_retransmissions(sender, partial(self._may_repeat, leg, limit))
        leg.send = aiortc_patches.intercept(transport, partial(self._take, leg), partial(self._hear, leg))
        self._coming[name] = leg

    def connected(self, name: str) -> None:
        """The connection is there; again, and for names that are not attached, is harmless."""
        leg = self._coming.pop(name, None)
        if leg is not None:
            self._legs[name] = leg
            self._uplink.add_path(name, leg.limits, self._clock.monotonic_s())
            self._changed()

    def attach_beside(self, name: str, streams: Iterable[str]) -> None:
        """A viewer that does not look through the uplink (the van's own screen): its pictures go on in an outage."""
        self._beside[name] = frozenset(streams)
        self._update_gates()

    def detach(self, name: str) -> None:
        """The connection is closed, or about to be; unknown names are ignored."""
        self._beside.pop(name, None)
        self._coming.pop(name, None)
        leg = self._legs.pop(name, None)
        if leg is not None:
            self._uplink.remove_path(name)
            for check in leg.tasks:
                check.cancel()
            self._changed()

    # what the encoders may do

    def picture_bit_s(self, stream: str, viewer: str) -> float:
        """What the encoder may make of ``stream`` for ``viewer``, bit/s; 0: not now."""
        return self._uplink.picture_bit_s(stream, viewer) if viewer in self._legs else 0.0

    def may_encode(self, stream: str) -> bool:
        """Whether a picture captured now would leave soon. Any thread."""
        return self._open.get(stream, False)

    @property
    def target_bit_s(self) -> float:
        return self._uplink.target_bit_s

    def facts(self) -> dict[str, float]:
        """What is known of the link now, for logs and figures; seconds and bit/s."""
        return self._uplink.facts()

    def state(self, viewer: str) -> PathState | None:
        return self._uplink.state(viewer) if viewer in self._legs else None

    # running

    async def run(self, address_changes: AsyncIterable[frozenset[str]]) -> None:
        """Until cancelled.

        :param address_changes: our own addresses each time they have changed (``addresses.changes``)
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pace())
            group.create_task(self._look())
            group.create_task(self._follow_addresses(address_changes))

    async def _pace(self) -> None:
        while True:
            now_s = self._clock.monotonic_s()
            while (departure := self._uplink.depart(now_s)) is not None:
                item, number = departure
                await self._transmit(*item.packet, number)
                now_s = self._clock.monotonic_s()
            self._update_gates()
            self._wake.clear()
            wait_s = self._uplink.wait_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait_s is None else max(0.001, wait_s)):
                    await self._wake.wait()

    async def _transmit(self, leg: _Leg, extension_id: int, packet: bytes, number: int) -> None:
        assert leg.send is not None
        with contextlib.suppress(ConnectionError):  # closed meanwhile: ``detach`` follows
            await leg.send(aiortc_patches.stamp(packet, number, extension_id))

    async def _look(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            now_s = self._clock.monotonic_s()
            fallen = self._uplink.look(now_s)
            for name in fallen:
                emit("viewer_silent", viewer=name)
                if self._uplink.state(name) == PathState.BLIND:
                    self._resumed(self._legs[name])
            if fallen:
                self._changed()  # smaller pictures from now on
            self._renew_pictures(now_s)
            for leg in tuple(self._legs.values()):
                self._look_after(leg, now_s)
            if (probed := self._uplink.probe(now_s)) is not None:
                await self._probe(self._legs[probed])
            self._update_gates()

    async def _probe(self, leg: _Leg) -> None:
        """Repeat the last packets of the largest stream, as padding that costs the receiver nothing."""
        stream = max(leg.limits, key=lambda name: len(leg.limits[name]), default=None)
        sender = next((one for name, one, again in leg.senders.values() if name == stream and again), None)
        if stream is None or sender is None:
            return
        leg.padding = True
        try:
            for sequence_number in leg.limits[stream].largest(self._uplink.probe_bytes, MOST_PROBE_PACKETS):
                await leg.repeat[stream](sequence_number)
        finally:
            leg.padding = False

    def _look_after(self, leg: _Leg, now_s: float) -> None:
        state = self._uplink.state(leg.name)
        if not self._uplink.overdue(leg.name, now_s):
            return
        if now_s - leg.checked_s >= CHECK_EVERY_S and len(leg.tasks) < CHECKS_AT_ONCE:
            leg.checked_s = now_s
            check = asyncio.get_running_loop().create_task(self._check(leg, now_s))
            leg.tasks.add(check)
            check.add_done_callback(leg.tasks.discard)
        if state == PathState.BLIND and now_s - leg.hurried_s >= HURRY_EVERY_S:
            leg.hurried_s = now_s
            self._hurry_data(leg)

    async def _check(self, leg: _Leg, asked_s: float) -> None:
        answered = await aiortc_patches.check_now(leg.transport)
        if leg.name not in self._legs:
            return
        if not answered:
            self._uplink.check_failed(leg.name)
        elif self._uplink.on_check(leg.name, asked_s, self._clock.monotonic_s()):
            self._resumed(leg)

    async def _follow_addresses(self, address_changes: AsyncIterable[frozenset[str]]) -> None:
        async for now in address_changes:
            if now == self._addresses:
                continue
            self._addresses = now
            emit("addresses_changed", addresses=sorted(now))
            for leg in tuple(self._legs.values()):
                with contextlib.suppress(OSError):
                    if await aiortc_patches.leave_address(leg.transport, now) and leg.name in self._legs:
                        self._uplink.path_changed(leg.name, self._clock.monotonic_s())
                        self._look_after(leg, self._clock.monotonic_s())

    # packets

    def _take(self, leg: _Leg, packet: bytes) -> bytes | None:
        """What leaves at once; None for a packet that will be sent by us, or is of no use any more."""
        sequence_number, ssrc = struct.unpack_from("!H", packet, 2)[0], struct.unpack_from("!I", packet, 8)[0]
        known = leg.senders.get(ssrc)
        extension_id = aiortc_patches.transport_cc_id(known[1]) if known is not None else None
        if known is None or extension_id is None or leg.name not in self._legs:
            return packet
        stream, _, again = known
        now_s, size = self._clock.monotonic_s(), len(packet) + WIRE_OVERHEAD_BYTES
        if stream == SOUND:
            number = self._uplink.urgent(leg.name, size, now_s)
            return None if number is None else aiortc_patches.stamp(packet, number, extension_id)
        if not again:
            leg.limits[stream].sent(sequence_number, size, now_s)
            self._double(leg, stream, sequence_number, ends=bool(packet[1] & MARKER))
        again = again and not leg.doubling  # a copy leaves after its picture, what was asked for before
        if self._uplink.put(leg.name, stream, size, (leg, extension_id, packet), now_s, again, leg.padding):
            self._wake.set()
        return None

    def _double(self, leg: _Leg, stream: str, sequence_number: int, ends: bool) -> None:
        """Note a packet of a picture; behind the last one, while packets get lost, a copy of each."""
        picture = leg.pictures.setdefault(stream, [])
        picture.append(sequence_number)
        if ends:
            leg.pictures[stream] = []
            if self._uplink.doubled:
                copying = asyncio.get_running_loop().create_task(self._copy(leg, stream, picture))
                leg.tasks.add(copying)
                copying.add_done_callback(leg.tasks.discard)

    async def _copy(self, leg: _Leg, stream: str, picture: list[int]) -> None:
        leg.doubling = True
        try:
            for sequence_number in picture:
                await leg.repeat[stream](sequence_number)
        finally:
            leg.doubling = False

    def _may_repeat(self, leg: _Leg, limit: RetransmissionLimit, sequence_number: int) -> bool:
        if leg.name not in self._legs:
            return False
        rtt_s = self._uplink.monitor(leg.name).smoothed_rtt_s
        return limit.may_repeat(sequence_number, self._clock.monotonic_s(), rtt_s, self._uplink.resumed_s(leg.name))

    def _hear(self, leg: _Leg, rtcp: bytes) -> None:
        if leg.name not in self._legs:
            return
        now_s, resumed = self._clock.monotonic_s(), False
        for message in messages(rtcp):
            try:
                resumed |= self._uplink.on_feedback(leg.name, parse_feedback(message), now_s)
            except FeedbackUnreadable:
                continue  # counted by nobody: the next one comes in 50 ms
        if resumed:
            self._resumed(leg)
        self._changed()

    def _resumed(self, leg: _Leg) -> None:
        emit("viewer_heard_again", viewer=leg.name)
        self._renew_pictures(self._clock.monotonic_s())
        self._hurry_data(leg)
        self._changed()

    def _renew_pictures(self, now_s: float) -> None:
        for name in self._uplink.due_key_frames(now_s):
            self._legs[name].on_lost_picture()

    @staticmethod
    def _hurry_data(leg: _Leg) -> None:
        association: RTCSctpTransport | None = leg.connection.sctp
        if association is not None:
            aiortc_patches.hurry_data(association)

    def _changed(self) -> None:
        self._wake.set()
        self._update_gates()
        for listener in self._listeners:
            listener()

    def _update_gates(self) -> None:
        now_s = self._clock.monotonic_s()
        for stream in self._open:
            beside = any(stream in streams for streams in self._beside.values())
            heard = self._uplink.watched(stream)
            self._open[stream] = self._uplink.may_encode(stream, now_s) if heard or not beside else True

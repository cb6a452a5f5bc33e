"""Every place where aiortc 1.16 and aioice 0.13 are changed or looked into beyond their public interface.

Each with the upstream file and what is missing there, and the issue or pull request where we found one;
``tests/telemedicine/test_aiortc_patches.py`` fails when upstream changes shape. ``apply()`` once per process, before
the first connection; everything else is put on one connection, so that connections without it stay as upstream made
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import aioice.ice
import aioice.stun
import aiortc.codecs
import aiortc.codecs.h264
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
from aiortc import (
    RTCCertificate,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSctpTransport,
)
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    RtpPacket,
    pack_header_extensions,
    unpack_header_extensions,
)

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
PLAYOUT_DELAY_ID = 5
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
TRANSPORT_CC_ID = 4
RTP_HISTORY_SIZE = 1024
SCTP_RTO_MIN_S = 0.2
CONSENT_EVERY_S, CONSENT_FOR_S = 1.0, 30.0
MAX_BIT_RATE_BIT_S = 8_000_000
CHECK_TIMEOUT_S = 0.4
BLIND_WINDOW_BYTES = 12_000
"""What SCTP may have under way while nothing comes back: a second of ECG and vitals."""
_ONE_BYTE_EXTENSIONS = 0xBEDE

SendRtp = Callable[[bytes], Awaitable[None]]

_gathered_by_aioice: Callable[[bool, bool], list[str]] = aioice.ice.get_host_addresses


def apply() -> None:
    """Change the module constants and tables; doing it twice changes nothing more."""
    # aiortc/rtcrtpsender.py: 128 packets are less than one large key frame, so a loss in it could not be repaired.
    aiortc.rtcrtpsender.RTP_HISTORY_SIZE = RTP_HISTORY_SIZE  # type: ignore[attr-defined]
    # aiortc/rtcsctptransport.py: 1 s is RFC 4960's floor; an ECG sample is late after a fifth of that.
    aiortc.rtcsctptransport.SCTP_RTO_MIN = SCTP_RTO_MIN_S  # type: ignore[assignment]
    # aioice/ice.py query_consent: asks every 5 s, so a rebound NAT goes unnoticed for 5 s; and takes no answer that
    # comes after half a second, so a slow radio ends a connection that works.
    aioice.ice.Connection.query_consent = keep_consent  # type: ignore[assignment,method-assign]
    # aiortc/codecs/h264.py: the receiver's estimate is clamped to 3 Mbit/s before we can read it (aiortc#980).
    aiortc.codecs.h264.MAX_BITRATE = MAX_BIT_RATE_BIT_S
    # aioice/ice.py get_host_addresses: never 127.0.0.1, so a machine without a network could not talk to itself.
    aioice.ice.get_host_addresses = host_addresses
    # aiortc/codecs/__init__.py: playout-delay is not offered; with 0..0 the browser shows a picture when it is there.
    _offer_extension("video", PLAYOUT_DELAY_ID, PLAYOUT_DELAY)
    # aiortc/codecs/__init__.py: no feedback per packet (aiortc#1411 would add an event); only the receiver's own
    # estimate is offered, which needs 15 s to find a link that has become fast again.
    _offer_extension("video", TRANSPORT_CC_ID, TRANSPORT_CC)
    _offer_extension("audio", TRANSPORT_CC_ID, TRANSPORT_CC)
    for codec in (*aiortc.codecs.CODECS["video"], *aiortc.codecs.CODECS["audio"]):
        wanted = codec.mimeType.startswith("video/") or codec.mimeType == "audio/opus"
        told = any(feedback.type == "transport-cc" for feedback in codec.rtcpFeedback)
        if wanted and not told and not aiortc.codecs.is_rtx(codec):
            codec.rtcpFeedback.append(RTCRtcpFeedback(type="transport-cc"))


def _offer_extension(kind: str, number: int, uri: str) -> None:
    extensions = aiortc.codecs.HEADER_EXTENSIONS[kind]
    if all(extension.uri != uri for extension in extensions):
        extensions.append(RTCRtpHeaderExtensionParameters(id=number, uri=uri))


def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """What aioice finds (without link-local IPv4), and the loopback address where nothing else is there."""
    found = [address for address in _gathered_by_aioice(use_ipv4, use_ipv6) if not address.startswith("169.254.")]
    return found or (["127.0.0.1"] if use_ipv4 else [])


class _TransportExtensions(HeaderExtensionsMap):
    """Adds what aiortc/rtp.py packs never (transport-wide number) or does not know (playout-delay min = max = 0), when
    the receiver agreed to it. The number comes first and is 0: ``stamp`` writes it when the packet leaves."""

    def __init__(self, numbered: bool) -> None:
        super().__init__()
        self._numbered = numbered
        self._playout_delay_id: int | None = None
        self._transport_cc_id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == PLAYOUT_DELAY:
                self._playout_delay_id = extension.id
            elif extension.uri == TRANSPORT_CC and self._numbered:
                self._transport_cc_id = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, packed = super().set(values)
        extensions = unpack_header_extensions(profile, packed)
        if self._transport_cc_id is not None:
            extensions.insert(0, (self._transport_cc_id, b"\x00\x00"))
        if self._playout_delay_id is not None:
            extensions.append((self._playout_delay_id, b"\x00\x00\x00"))
        return pack_header_extensions(extensions)


def extend_headers(sender: RTCRtpSender, numbered: bool) -> None:
    """Let packets of ``sender`` say "show at once" (pictures) and, if ``numbered``, leave room for a transport-wide
    number. Before it starts."""
    attributes: dict[str, Any] = vars(sender)
    attributes["_RTCRtpSender__rtp_header_extensions_map"] = _TransportExtensions(numbered)


def transport_cc_id(sender: RTCRtpSender) -> int | None:
    """The id under which the receiver of ``sender`` wants transport-wide numbers; None before, or when it does not."""
    extensions = vars(sender)["_RTCRtpSender__rtp_header_extensions_map"]
    return extensions._transport_cc_id if isinstance(extensions, _TransportExtensions) else None


def synchronization_sources(sender: RTCRtpSender) -> tuple[int, int]:
    """The SSRCs of what ``sender`` sends and of what it repeats: aiortc/rtcrtpsender.py tells them only in statistics
    and in SDP."""
    return sender._ssrc, sender._rtx_ssrc


def stamp(packet: bytes, number: int, extension_id: int) -> bytes:
    """The RTP packet with its transport-wide ``number``, as ``_TransportExtensions`` has left room for it.

    :raises ValueError: there is no room for it
    """
    at = 12 + 4 * (packet[0] & 15)
    profile = struct.unpack_from("!H", packet, at)[0] if packet[0] & 0x10 and len(packet) > at + 7 else 0
    if profile != _ONE_BYTE_EXTENSIONS or packet[at + 4] != (extension_id << 4 | 1):
        raise ValueError("the packet has no room for a transport-wide sequence number")
    return packet[: at + 5] + struct.pack("!H", number) + packet[at + 7 :]


def route_key_frame_requests(sender: RTCRtpSender, request: Callable[[], None]) -> None:
    """PLI and FIR of this viewer call ``request``: aiortc/rtcrtpsender.py forgets them when packets are passed on (FIR
    always: aiortc#1364)."""
    sender._send_keyframe = request  # type: ignore[method-assign]


class _PassingOn:
    """Stands where aiortc's jitter buffer does: packets go to ``take``, nothing is left to be decoded."""

    def __init__(self, take: Callable[[int, int, bytes], None]) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._take(packet.sequence_number, packet.timestamp, packet._data)  # type: ignore[attr-defined]
        return False, None


def pass_packets(receiver: RTCRtpReceiver, take: Callable[[int, int, bytes], None]) -> None:
    """Give each packet (RTP sequence number, timestamp, payload) to ``take`` as it comes: aiortc/jitterbuffer.py waits
    for a lost packet of sound until 16 later ones are there, and nothing conceals it (aiortc#543). Before the receiver
    starts."""
    attributes: dict[str, Any] = vars(receiver)
    attributes["_RTCRtpReceiver__jitter_buffer"] = _PassingOn(take)


def limit_retransmissions(sender: RTCRtpSender, may_repeat: Callable[[int], bool]) -> Callable[[int], Awaitable[None]]:
    """Repeat a packet (RTP sequence number) only if ``may_repeat`` says so: aiortc/rtcrtpsender.py answers every NACK
    at once, as often as it comes and however old the packet is. Returns what repeats a packet unasked."""
    repeat = sender._retransmit

    async def limited(sequence_number: int) -> None:
        if may_repeat(sequence_number):
            await repeat(sequence_number)

    sender._retransmit = limited  # type: ignore[method-assign]
    return repeat


def intercept(
    transport: RTCDtlsTransport, on_rtp: Callable[[bytes], bytes | None], on_rtcp: Callable[[bytes], None]
) -> SendRtp:
    """Take RTP before it is encrypted and see RTCP after it is decrypted: aiortc/rtcdtlstransport.py sends at once,
    the whole picture in one burst, and drops feedback of format 15.

    :param on_rtp: the packet as it is to be sent at once, None: it will be sent later, by what this function returns
    :return: sends a packet as upstream does; raises ConnectionError when the transport is not connected
    """
    send, handle = transport._send_rtp, transport._handle_rtcp_data

    async def send_rtp(data: bytes) -> None:
        now = data if aiortc.rtp.is_rtcp(data) else on_rtp(data)
        if now is not None:
            await send(now)

    async def handle_rtcp(data: bytes) -> None:
        on_rtcp(data)
        await handle(data)

    transport._send_rtp = send_rtp  # type: ignore[method-assign]
    transport._handle_rtcp_data = handle_rtcp  # type: ignore[method-assign]
    return send


def certify(connection: RTCPeerConnection, certificate: RTCCertificate) -> None:
    """Use ``certificate``: aiortc/rtcpeerconnection.py makes a new one for each connection and takes none. Right after
    construction."""
    name = "_RTCPeerConnection__certificates"
    attributes: dict[str, Any] = vars(connection)
    if name not in attributes:
        raise AttributeError(f"RTCPeerConnection has no {name}")
    attributes[name] = [certificate]


def _ice(transport: RTCDtlsTransport) -> aioice.ice.Connection:
    return transport.transport._connection


class _Consent:
    """Stands where aioice keeps a transaction, and gives none up: an answer counts however late it comes."""

    def __init__(self, password: bytes, on_answer: Callable[[], None]) -> None:
        self._password, self._on_answer = password, on_answer

    def response_received(self, message: aioice.stun.Message, _from: tuple[str, int]) -> None:
        if message.message_class == aioice.stun.Class.RESPONSE and message.check_message_integrity(self._password):
            self._on_answer()


async def keep_consent(ice: aioice.ice.Connection) -> None:
    """Ask the other side every second whether we may go on sending; close the connection when no request of the last
    30 s was answered (RFC 7675, 5.1)."""
    assert ice.remote_password is not None
    loop, password = asyncio.get_running_loop(), ice.remote_password.encode()
    given_s = loop.time()

    def give() -> None:
        nonlocal given_s
        given_s = loop.time()

    while loop.time() - given_s < CONSENT_FOR_S:
        await asyncio.sleep(CONSENT_EVERY_S * random.uniform(0.8, 1.2))
        for pair in tuple(ice._nominated.values()):
            request = ice.build_request(pair, nominate=False)
            request.add_message_integrity(password)
            waiting: dict[bytes, Any] = pair.protocol.transactions
            waiting[request.transaction_id] = _Consent(password, give)
            loop.call_later(CONSENT_FOR_S, waiting.pop, request.transaction_id, None)
            with contextlib.suppress(OSError):
                pair.protocol.send_stun(request, pair.remote_addr)
    ice._query_consent_task = None
    await ice.close()


async def check_now(transport: RTCDtlsTransport) -> bool:
    """One connectivity check on the pair in use, whether it was answered: aioice/ice.py sends one per consent
    interval only (RFC 7675 allows more). At the other end it shows the address we have now (RFC 8445, 7.3.1.3)."""
    ice = _ice(transport)
    if ice.remote_password is None:
        return False
    for pair in tuple(ice._nominated.values()):
        request = ice.build_request(pair, nominate=False)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await pair.protocol.request(
                    request, pair.remote_addr, integrity_key=ice.remote_password.encode(), retransmissions=0
                )
        except (aioice.stun.TransactionError, TimeoutError, OSError):
            return False
        return True
    return False


async def leave_address(transport: RTCDtlsTransport, addresses: frozenset[str]) -> bool:
    """Move sockets that are bound to an address that is not among ``addresses`` any more to 0.0.0.0, so that the next
    packet leaves from whatever address there is: aioice/ice.py binds one socket to each address of the beginning and
    never looks again. The port changes with it; the peer learns both from the next check. True: something moved."""
    moved = False
    loop = asyncio.get_running_loop()
    for protocol in tuple(_ice(transport)._protocols):
        old = protocol.transport
        name = old.get_extra_info("sockname")
        bound = isinstance(old, asyncio.Transport) and old.get_extra_info("socket") is not None  # not through TURN
        if not bound or name is None or name[0] in addresses or name[0] == "0.0.0.0" or ":" in name[0]:
            continue
        fresh, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("0.0.0.0", 0))
        protocol.transport, spare = fresh, fresh.get_protocol()
        fresh.set_protocol(protocol)
        old.set_protocol(spare)
        old.close()
        moved = True
    return moved


def candidate_types(transport: RTCDtlsTransport) -> tuple[str, str] | None:
    """Of the pair in use, ours and theirs: host, srflx, prflx or relay (RFC 8445); None before there is one.
    aiortc/stats.py has no candidates."""
    pair = next(iter(_ice(transport)._nominated.values()), None)
    return None if pair is None else (pair.local_candidate.type, pair.remote_candidate.type)


def hurry_data(association: RTCSctpTransport) -> None:
    """Send what SCTP holds back now: aiortc/rtcsctptransport.py waits for its timer after an outage, and with one
    chunk per timer while acknowledgements go to an address we no longer have."""
    if association._association_state != RTCSctpTransport.State.ESTABLISHED:
        return
    if association._t3_handle is not None:
        association._t3_cancel()
        association._t3_expired()
    association._cwnd = max(association._cwnd, BLIND_WINDOW_BYTES)
    association._rto = max(SCTP_RTO_MIN_S, min(association._rto, 2 * SCTP_RTO_MIN_S))


def estimated_bit_rate(sender: RTCRtpSender) -> int | None:
    """The receiver's estimate (REMB) in bit/s for the whole connection, None before the first one.

    aiortc/rtcrtpsender.py hands it only to its own encoder, which in our case packs and never encodes.
    """
    encoder = vars(sender).get("_RTCRtpSender__encoder")
    rate = getattr(encoder, "target_bitrate", None)
    return int(rate) if rate is not None and rate != aiortc.codecs.h264.DEFAULT_BITRATE else None

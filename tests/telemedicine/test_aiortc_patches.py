"""What we rely on inside aiortc and aioice is still there: these fail when upstream changes shape."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import struct
from pathlib import Path

import aioice.ice
import aiortc.codecs
import aiortc.codecs.h264
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
import pytest
from aiortc import (
    RTCCertificate,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSctpTransport,
)
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, unpack_header_extensions, wrap_rtx

from telemedicine.transport import aiortc_patches
from telemedicine.transport.aiortc_patches import PLAYOUT_DELAY, PLAYOUT_DELAY_ID, TRANSPORT_CC, TRANSPORT_CC_ID


@pytest.fixture(autouse=True)
def applied() -> None:
    aiortc_patches.apply()


@pytest.fixture
async def sender() -> RTCRtpSender:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    return pc.addTransceiver("video", direction="sendonly").sender


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (RTCRtpSender._retransmit, "RTP_HISTORY_SIZE"),
        (RTCRtpSender._run_rtp, "RTP_HISTORY_SIZE"),
        (aioice.ice.Connection.connect, "self._query_consent_task = asyncio.create_task(self.query_consent())"),
        (aioice.ice.StunProtocol.datagram_received, "self.transactions[message.transaction_id]"),
        (aioice.ice.Connection.gather_candidates, "get_host_addresses"),
        (aiortc.codecs.h264.H264Encoder.target_bitrate.fset, "MAX_BITRATE"),
    ],
)
def test_constants_are_read_where_we_set_them(function: object, name: str) -> None:
    assert name in inspect.getsource(function)  # type: ignore[arg-type]


def test_sctp_timeout_is_read_at_call_time() -> None:
    source = inspect.getsource(aiortc.rtcsctptransport)
    assert "max(SCTP_RTO_MIN" in source
    assert aiortc.rtcsctptransport.SCTP_RTO_MIN == aiortc_patches.SCTP_RTO_MIN_S


def test_playout_delay_is_offered_once_however_often_it_is_applied() -> None:
    aiortc_patches.apply()
    offered = [extension.uri for extension in aiortc.codecs.HEADER_EXTENSIONS["video"]]
    assert offered.count(PLAYOUT_DELAY) == 1
    for extensions in aiortc.codecs.HEADER_EXTENSIONS.values():
        assert len({extension.id for extension in extensions}) == len(extensions)
    both = [extension for extensions in aiortc.codecs.HEADER_EXTENSIONS.values() for extension in extensions]
    assert len({extension.id for extension in both}) == len({extension.uri for extension in both}), "one bundle"


MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


def configured(sender: RTCRtpSender, *agreed: tuple[int, str]) -> HeaderExtensionsMap:
    name = "_RTCRtpSender__rtp_header_extensions_map"
    assert name in vars(sender), "the sender's map is where we replace it"
    aiortc_patches.extend_headers(sender, numbered=True)
    extensions: HeaderExtensionsMap = vars(sender)[name]
    offered = [RTCRtpHeaderExtensionParameters(id=number, uri=uri) for number, uri in agreed]
    extensions.configure(RTCRtpParameters(headerExtensions=offered))
    return extensions


def carried(raw: bytes) -> dict[int, bytes]:
    profile, words = struct.unpack_from("!HH", raw, 12)
    return dict(unpack_header_extensions(profile, raw[16 : 16 + 4 * words]))


AGREED = ((1, MID), (TRANSPORT_CC_ID, TRANSPORT_CC), (PLAYOUT_DELAY_ID, PLAYOUT_DELAY))


async def test_packets_carry_what_was_agreed_and_the_number_of_their_departure(
    sender: RTCRtpSender,
) -> None:
    extensions = configured(sender, *AGREED)
    assert aiortc_patches.transport_cc_id(sender) == TRANSPORT_CC_ID
    packet = RtpPacket(payload_type=99, payload=b"x" * 50)
    packet.extensions.mid, packet.extensions.abs_send_time = "0", 77
    raw = packet.serialize(extensions)
    stamped = aiortc_patches.stamp(raw, 54_321, TRANSPORT_CC_ID)
    wanted = {1: b"0", TRANSPORT_CC_ID: struct.pack("!H", 54_321), PLAYOUT_DELAY_ID: b"\x00\x00\x00"}
    assert carried(stamped) == wanted
    read = RtpPacket.parse(stamped, extensions)
    assert (read.payload, read.extensions.transport_sequence_number, len(stamped)) == (b"x" * 50, 54_321, len(raw))


async def test_repeated_packets_have_room_for_a_number_too(sender: RTCRtpSender) -> None:
    extensions = configured(sender, *AGREED)
    packet = RtpPacket(payload_type=99, sequence_number=7, payload=b"x")
    packet.extensions.mid = "0"
    again = wrap_rtx(packet, payload_type=100, sequence_number=1, ssrc=9).serialize(extensions)
    assert carried(aiortc_patches.stamp(again, 5, TRANSPORT_CC_ID))[TRANSPORT_CC_ID] == b"\x00\x05"


async def test_without_agreement_nothing_is_added(sender: RTCRtpSender) -> None:
    extensions = configured(sender, (1, MID))
    profile, packed = extensions.set(HeaderExtensions(mid="7"))
    assert unpack_header_extensions(profile, packed) == [(1, b"7")]
    assert aiortc_patches.transport_cc_id(sender) is None
    packet = RtpPacket(payload_type=99, payload=b"x")
    with pytest.raises(ValueError, match="no room"):
        aiortc_patches.stamp(packet.serialize(extensions), 5, TRANSPORT_CC_ID)


def test_feedback_per_packet_is_offered_for_pictures_and_voice() -> None:
    for codec in (*aiortc.codecs.CODECS["video"], *aiortc.codecs.CODECS["audio"]):
        told = [feedback.type for feedback in codec.rtcpFeedback].count("transport-cc")
        assert told == (not aiortc.codecs.is_rtx(codec) and codec.mimeType not in OTHER_VOICE)


OTHER_VOICE = {"audio/G722", "audio/PCMU", "audio/PCMA"}


def test_the_hooks_are_where_upstream_calls_them() -> None:
    assert "self.transport._send_rtp(packet_bytes)" in inspect.getsource(RTCRtpSender._run_rtp)
    assert "self.transport._send_rtp(packet_bytes)" in inspect.getsource(RTCRtpSender._retransmit)
    assert "await self._retransmit(seq)" in inspect.getsource(RTCRtpSender._handle_rtcp_packet)
    assert "await self._handle_rtcp_data(data)" in inspect.getsource(RTCDtlsTransport._recv_next)
    assert "self.__certificates)" in inspect.getsource(RTCPeerConnection)
    for name in ("_nominated", "_protocols", "remote_password"):
        assert name in inspect.getsource(aioice.ice.Connection)
    for name in ("_t3_handle", "_cwnd", "_rto", "_association_state"):
        assert name in inspect.getsource(RTCSctpTransport)


OUR_OWN = {"self", "cls", "its"}
"""Names under which a class looks at its own kind."""


def test_nobody_else_looks_into_another_library() -> None:
    package = Path(aiortc_patches.__file__).parents[1]
    reached = {
        f"{file.relative_to(package)}:{node.lineno}"
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id in OUR_OWN)
    }
    assert {place for place in reached if not place.startswith("transport/aiortc_patches.py")} == set()
    assert len(reached) > 10, "the one file that does is seen"


async def test_a_senders_sources_are_those_of_its_description() -> None:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = pc.addTransceiver("video", direction="sendonly").sender
    await pc.setLocalDescription(await pc.createOffer())
    told = re.findall(r"a=ssrc-group:FID (\d+) (\d+)", pc.localDescription.sdp)
    first, again = aiortc_patches.synchronization_sources(sender)
    assert told == [(str(first), str(again))]
    await pc.close()


async def test_the_connection_shows_the_certificate_it_was_given() -> None:
    certificate = RTCCertificate.generateCertificate()
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    aiortc_patches.certify(pc, certificate)
    pc.createDataChannel("live")
    await pc.setLocalDescription(await pc.createOffer())
    assert certificate.getFingerprints()[0].value in pc.localDescription.sdp
    await pc.close()


async def test_sockets_leave_an_address_that_is_gone_and_the_connection_goes_on() -> None:
    van, page = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    heard: asyncio.Queue[object] = asyncio.Queue()
    page.on("datachannel", lambda channel: channel.on("message", heard.put_nowait))
    channel = van.createDataChannel("live")
    await van.setLocalDescription(await van.createOffer())
    await page.setRemoteDescription(van.localDescription)
    await page.setLocalDescription(await page.createAnswer())
    await van.setRemoteDescription(page.localDescription)
    channel.on("open", lambda: channel.send("before"))
    async with asyncio.timeout(20):
        assert await heard.get() == "before"
        assert van.sctp is not None
        transport = van.sctp.transport
        assert aiortc_patches.candidate_types(transport) == ("host", "host")
        assert not await aiortc_patches.leave_address(transport, frozenset(aioice.ice.get_host_addresses(True, False)))
        assert await aiortc_patches.leave_address(transport, frozenset())
        assert await aiortc_patches.check_now(transport), "the other side learns our new port"
        channel.send("after")
        assert await heard.get() == "after"
    await asyncio.gather(van.close(), page.close())


async def test_consent_counts_answers_however_late_and_ends_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7675, 5.1; aioice itself takes none after half a second."""
    monkeypatch.setattr(aiortc_patches, "CONSENT_EVERY_S", 0.05)
    monkeypatch.setattr(aiortc_patches, "CONSENT_FOR_S", 1.2)
    van, page = aioice.ice.Connection(ice_controlling=True), aioice.ice.Connection(ice_controlling=False)
    await asyncio.gather(van.gather_candidates(), page.gather_candidates())
    for one, other in ((van, page), (page, van)):
        for candidate in one.local_candidates:
            await other.add_remote_candidate(candidate)
        await other.add_remote_candidate(None)
        other.remote_username, other.remote_password = one.local_username, one.local_password
    await asyncio.gather(van.connect(), page.connect())
    loop, late, answering = asyncio.get_running_loop(), asyncio.Semaphore(0), True

    def answer_late(message: aioice.stun.Message, addr: tuple[str, int]) -> None:
        def answer() -> None:
            if answering:
                protocol.transport.sendto(bytes(message), addr)
                late.release()

        loop.call_later(0.6, answer)

    (pair,) = page._nominated.values()
    protocol = pair.protocol
    monkeypatch.setattr(protocol, "send_stun", answer_late)
    async with asyncio.timeout(30):
        for _ in range(40):
            await late.acquire()
        await van.sendto(b"still open", 1)
        assert await page.recv() == b"still open"
        answering = False
        with pytest.raises(ConnectionError):
            await van.recv()
    await page.close()


async def test_repeating_is_asked_for(sender: RTCRtpSender) -> None:
    asked: list[int] = []
    aiortc_patches.limit_retransmissions(sender, lambda number: bool(asked.append(number)))
    await sender._retransmit(17)
    assert asked == [17]


async def test_key_frame_requests_reach_us(sender: RTCRtpSender) -> None:
    assert "self._send_keyframe()" in inspect.getsource(RTCRtpSender._handle_rtcp_packet)
    asked: list[bool] = []
    aiortc_patches.route_key_frame_requests(sender, lambda: asked.append(True))
    sender._send_keyframe()
    assert asked == [True]


async def test_receivers_estimate_is_read_from_the_senders_encoder(sender: RTCRtpSender) -> None:
    assert "_RTCRtpSender__encoder" in vars(sender)
    assert aiortc_patches.estimated_bit_rate(sender) is None
    encoder = aiortc.codecs.h264.H264Encoder()
    vars(sender)["_RTCRtpSender__encoder"] = encoder
    assert aiortc_patches.estimated_bit_rate(sender) is None, "the start value is no estimate"
    encoder.target_bitrate = 5_000_000
    assert aiortc_patches.estimated_bit_rate(sender) == 5_000_000


def test_a_machine_without_network_talks_over_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc_patches, "_gathered_by_aioice", lambda *_: [])
    assert aioice.ice.get_host_addresses(True, True) == ["127.0.0.1"]
    monkeypatch.setattr(aiortc_patches, "_gathered_by_aioice", lambda *_: ["169.254.3.4", "192.0.2.7"])
    assert aioice.ice.get_host_addresses(True, True) == ["192.0.2.7"]


async def test_packets_of_a_voice_come_to_us_and_not_to_the_decoder() -> None:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = pc.addTransceiver("audio").receiver
    taken: list[tuple[int, int, bytes]] = []
    assert "_RTCRtpReceiver__jitter_buffer" in vars(receiver)
    assert "self.__jitter_buffer.add(packet)" in inspect.getsource(type(receiver)._handle_rtp_packet)

    def take(sequence_number: int, timestamp: int, payload: bytes) -> None:
        taken.append((sequence_number, timestamp, payload))

    aiortc_patches.pass_packets(receiver, take)
    packet = RtpPacket(payload_type=111, sequence_number=7, timestamp=960)
    packet._data = b"voice"  # type: ignore[attr-defined]
    buffer = vars(receiver)["_RTCRtpReceiver__jitter_buffer"]
    assert buffer.add(packet) == (False, None)
    assert taken == [(7, 960, b"voice")]
    await pc.close()

"""What we rely on inside aiortc and aioice is still there: these fail when upstream changes shape."""

from __future__ import annotations

import inspect
import struct

import aioice.ice
import aiortc.codecs
import aiortc.codecs.h264
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, RtpPacket, unpack_header_extensions

from telemedicine.media import aiortc_patches
from telemedicine.media.aiortc_patches import PLAYOUT_DELAY, PLAYOUT_DELAY_ID


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
        (aioice.ice.Connection.query_consent, "CONSENT_INTERVAL"),
        (aioice.ice.Connection.query_consent, "CONSENT_FAILURES"),
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
    ids = [e.id for kind in ("audio", "video") for e in aiortc.codecs.HEADER_EXTENSIONS[kind] if e.uri != MID]
    assert len(ids) == len(set(ids)), "ids are shared across the bundle"


MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


async def test_packets_carry_playout_delay_zero_when_the_receiver_agreed(sender: RTCRtpSender) -> None:
    name = "_RTCRtpSender__rtp_header_extensions_map"
    assert name in vars(sender), "the sender's map is where we replace it"
    aiortc_patches.show_at_once(sender)
    extensions = vars(sender)[name]
    extensions.configure(
        RTCRtpParameters(
            headerExtensions=[
                RTCRtpHeaderExtensionParameters(id=1, uri=MID),
                RTCRtpHeaderExtensionParameters(id=PLAYOUT_DELAY_ID, uri=PLAYOUT_DELAY),
            ]
        )
    )
    packet = RtpPacket(payload_type=99, payload=b"x")
    packet.extensions.mid = "0"
    raw = packet.serialize(extensions)
    profile, words = struct.unpack_from("!HH", raw, 12)
    carried = dict(unpack_header_extensions(profile, raw[16 : 16 + 4 * words]))
    assert carried == {1: b"0", PLAYOUT_DELAY_ID: b"\x00\x00\x00"}


async def test_without_agreement_nothing_is_added(sender: RTCRtpSender) -> None:
    aiortc_patches.show_at_once(sender)
    extensions = vars(sender)["_RTCRtpSender__rtp_header_extensions_map"]
    extensions.configure(RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=1, uri=MID)]))
    profile, packed = extensions.set(HeaderExtensions(mid="7"))
    assert unpack_header_extensions(profile, packed) == [(1, b"7")]


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

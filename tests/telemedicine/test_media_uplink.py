"""The uplink on real connections: from when on one counts."""

from __future__ import annotations

from aiortc import RTCConfiguration, RTCPeerConnection

from devices.clock import SystemClock
from telemedicine.transport import aiortc_patches
from telemedicine.transport.media_uplink import MediaUplink
from telemedicine.transport.path import PathState
from telemedicine.transport.uplink import Stream


def attach(uplink: MediaUplink, name: str) -> RTCPeerConnection:
    aiortc_patches.apply()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = connection.addTransceiver("video", direction="sendonly").sender
    aiortc_patches.extend_headers(sender, numbered=True)
    uplink.attach(name, connection, {"room": sender}, lambda: None)
    return connection


async def test_a_connection_counts_when_it_is_there_and_holds_nobody_up_before() -> None:
    uplink = MediaUplink(SystemClock())
    uplink.add_stream(Stream("room", 1, 0.4, 150_000, 4_000_000))
    connections = [attach(uplink, name) for name in ("specialist/1", "specialist/2")]
    assert not uplink.may_encode("room")
    assert uplink.picture_bit_s("room", "specialist/1") == 0
    uplink.connected("specialist/1")
    assert uplink.may_encode("room")
    assert uplink.state("specialist/1") == PathState.LIVE
    assert uplink.state("specialist/2") is None
    alone = uplink.picture_bit_s("room", "specialist/1")
    uplink.detach("specialist/2")
    uplink.connected("specialist/2")
    assert uplink.state("specialist/2") is None
    uplink.connected("specialist/1")
    assert uplink.picture_bit_s("room", "specialist/1") == alone > 0
    for connection in connections:
        await connection.close()

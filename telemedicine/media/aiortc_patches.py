"""Every place where aiortc 1.16 and aioice 0.13 are changed or looked into beyond their public interface.

Each with the upstream file and what is missing there; ``tests/telemedicine/test_aiortc_patches.py`` fails when
upstream changes shape. ``apply()`` once per process, before the first connection; the rest is per connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aioice.ice
import aiortc.codecs
import aiortc.codecs.h264
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, pack_header_extensions, unpack_header_extensions

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
PLAYOUT_DELAY_ID = 5
RTP_HISTORY_SIZE = 1024
SCTP_RTO_MIN_S = 0.2
CONSENT_INTERVAL_S = 1
CONSENT_FAILURES = 30
MAX_BIT_RATE_BIT_S = 8_000_000

_gathered_by_aioice: Callable[[bool, bool], list[str]] = aioice.ice.get_host_addresses


def apply() -> None:
    """Change the module constants and tables; doing it twice changes nothing more."""
    # aiortc/rtcrtpsender.py: 128 packets are less than one large key frame, so a loss in it could not be repaired.
    aiortc.rtcrtpsender.RTP_HISTORY_SIZE = RTP_HISTORY_SIZE  # type: ignore[attr-defined]
    # aiortc/rtcsctptransport.py: 1 s is RFC 4960's floor; an ECG sample is late after a fifth of that.
    aiortc.rtcsctptransport.SCTP_RTO_MIN = SCTP_RTO_MIN_S  # type: ignore[assignment]
    # aioice/ice.py: a check every 5 s would leave a rebound NAT unnoticed for 5 s.
    aioice.ice.CONSENT_INTERVAL = CONSENT_INTERVAL_S
    aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES
    # aiortc/codecs/h264.py: the receiver's estimate is clamped to 3 Mbit/s before we can read it.
    aiortc.codecs.h264.MAX_BITRATE = MAX_BIT_RATE_BIT_S
    # aioice/ice.py get_host_addresses: never 127.0.0.1, so a machine without a network could not talk to itself.
    aioice.ice.get_host_addresses = host_addresses
    # aiortc/codecs/__init__.py: playout-delay is not offered; with 0..0 the browser shows a picture when it is there.
    extensions = aiortc.codecs.HEADER_EXTENSIONS["video"]
    if all(extension.uri != PLAYOUT_DELAY for extension in extensions):
        extensions.append(RTCRtpHeaderExtensionParameters(id=PLAYOUT_DELAY_ID, uri=PLAYOUT_DELAY))


def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """What aioice finds (without link-local IPv4), and the loopback address where nothing else is there."""
    found = [address for address in _gathered_by_aioice(use_ipv4, use_ipv6) if not address.startswith("169.254.")]
    return found or (["127.0.0.1"] if use_ipv4 else [])


class _PlayoutDelayMap(HeaderExtensionsMap):
    """Adds playout-delay min = max = 0 to each packet that is sent, when the receiver agreed to it."""

    def __init__(self) -> None:
        super().__init__()
        self._playout_delay_id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == PLAYOUT_DELAY:
                self._playout_delay_id = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, packed = super().set(values)
        if self._playout_delay_id is None:
            return profile, packed
        extensions = unpack_header_extensions(profile, packed)
        return pack_header_extensions([*extensions, (self._playout_delay_id, b"\x00\x00\x00")])


def show_at_once(sender: RTCRtpSender) -> None:
    """Let the receiver of ``sender`` show each picture without a jitter buffer. Before the connection starts."""
    attributes: dict[str, Any] = vars(sender)
    attributes["_RTCRtpSender__rtp_header_extensions_map"] = _PlayoutDelayMap()


def route_key_frame_requests(sender: RTCRtpSender, request: Callable[[], None]) -> None:
    """PLI and FIR of this viewer call ``request``: aiortc/rtcrtpsender.py forgets them when packets are passed on."""
    sender._send_keyframe = request  # type: ignore[method-assign]


def estimated_bit_rate(sender: RTCRtpSender) -> int | None:
    """The receiver's estimate (REMB) in bit/s for the whole connection, None before the first one.

    aiortc/rtcrtpsender.py hands it only to its own encoder, which in our case packs and never encodes.
    """
    encoder = vars(sender).get("_RTCRtpSender__encoder")
    rate = getattr(encoder, "target_bitrate", None)
    return int(rate) if rate is not None and rate != aiortc.codecs.h264.DEFAULT_BITRATE else None

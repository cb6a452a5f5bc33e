"""The binary samples frame: one form on the WebSocket and on the WebRTC data channel.

``u32 LE header length | header JSON (UTF-8) | int16 LE payload, sample-major (n x channels)``; -32768 is "no value".
The twin for browsers is ``devices/web/live_feed.js``.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from devices.errors import DropFrame
from devices.readings import Samples

MAX_HEADER_BYTES = 4096
_LENGTH = struct.Struct("<I")


class FrameUnreadable(DropFrame):
    code = "frame_unreadable"


def pack_samples(device: str, samples: Samples) -> bytes:
    """The frame of one chunk.

    :raises ValueError: ``counts`` is not of shape (n, channels).
    """
    counts = np.ascontiguousarray(samples.counts, dtype="<i2")
    if counts.ndim != 2 or counts.shape[1] != len(samples.channels):
        raise ValueError(f"counts of shape {counts.shape} do not fit {len(samples.channels)} channels")
    header = json.dumps(
        {
            "type": "samples",
            "stream": samples.stream,
            "device": device,
            "channels": samples.channels,
            "sample_rate_hz": samples.sample_rate_hz,
            "segment": samples.segment,
            "first_index": samples.first_index,
            "n": len(counts),
            "resolution": samples.resolution,
            "unit": samples.unit,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    return _LENGTH.pack(len(header)) + header + counts.tobytes()


def unpack_samples(frame: bytes) -> tuple[str, Samples]:
    """(device, samples) of a frame made by ``pack_samples``.

    :raises FrameUnreadable: cut short, not JSON, a field missing or of another type, payload of another length.
    """
    try:
        (header_length,) = _LENGTH.unpack_from(frame)
        if header_length > MAX_HEADER_BYTES:
            raise FrameUnreadable(f"header of {header_length} bytes")
        end = _LENGTH.size + header_length
        header = json.loads(frame[_LENGTH.size : end])
        channels = tuple(str(name) for name in header["channels"])
        n = int(header["n"])
        payload = frame[end:]
        if header["type"] != "samples" or n < 0 or len(payload) != 2 * n * len(channels):
            raise FrameUnreadable(f"{len(payload)} bytes of payload for {n} x {len(channels)} samples")
        counts = np.frombuffer(payload, dtype="<i2").reshape(n, len(channels)).astype(np.int16)
        samples = Samples(
            stream=str(header["stream"]),
            channels=channels,
            sample_rate_hz=float(header["sample_rate_hz"]),
            segment=int(header["segment"]),
            first_index=int(header["first_index"]),
            counts=counts,
            resolution=float(header["resolution"]),
            unit=str(header["unit"]),
        )
        return str(header["device"]), samples
    except (struct.error, ValueError, KeyError, TypeError, OverflowError) as fault:
        raise FrameUnreadable(f"not a samples frame: {fault}") from fault

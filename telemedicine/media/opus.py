"""Voice as Opus (RFC 6716, RFC 7587): mono at 24 kbit/s, losses repaired from the next packet, silence not sent.

FFmpeg's wrapper of libopus, which PyAV has, can neither conceal a lost packet nor use the copy that the next one
carries, so libopus is called itself: the one that PyAV brings along, or the system's.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from devices.errors import AskPerson

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 960
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
BIT_RATE_BIT_S = 24_000
SPARING_BIT_RATE_BIT_S = 16_000
EXPECTED_LOSS_PERCENT = 10
"""From here libopus spends bits on a coarse copy of each packet inside the next one."""
MOST_PACKET_BYTES = 1_275
LONGEST_PACKET_SAMPLES = 5_760
NOTHING_TO_SEND_BYTES = 2
"""opus_encode(3): a packet of 2 bytes or less need not be sent (DTX)."""
TERMS = f"minptime=10;useinbandfec=1;usedtx=1;stereo=0;maxaveragebitrate={BIT_RATE_BIT_S}"
"""What we ask the other side's encoder (RFC 7587 6.1)."""

Sound = npt.NDArray[np.int16]
"""Mono at 48 kHz, any length."""

_VOIP = 2048
_SET_BITRATE, _SET_INBAND_FEC, _SET_LOSS, _SET_DTX, _SET_SIGNAL = 4002, 4012, 4014, 4016, 4024
_SIGNAL_VOICE = 3001
_OPUS_LINE = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r?\n", re.MULTILINE)


class NoOpus(AskPerson):
    """libopus is nowhere to be found."""

    code = "no_opus"


class PacketDamaged(ValueError):
    """libopus does not take it for an Opus packet."""


@cache
def _library() -> ctypes.CDLL:
    brought = sorted((Path(av.__file__).parent.parent / "av.libs").glob("libopus-*.so*"))
    for name in (*map(str, brought), ctypes.util.find_library("opus"), "libopus.so.0"):
        if name is None:
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        for function in ("opus_encoder_create", "opus_decoder_create"):
            getattr(library, function).restype = ctypes.c_void_p
        return library
    raise NoOpus("libopus is not installed: apt install libopus0")


class VoiceEncoder:
    """One voice on its way out."""

    def __init__(self) -> None:
        self._opus = _library()
        fault = ctypes.c_int()
        self._state = ctypes.c_void_p(self._opus.opus_encoder_create(SAMPLE_RATE_HZ, 1, _VOIP, ctypes.byref(fault)))
        if fault.value:
            raise NoOpus(f"libopus makes no encoder: error {fault.value}")
        self._packet = ctypes.create_string_buffer(MOST_PACKET_BYTES)
        for request, setting in (
            (_SET_INBAND_FEC, 1),
            (_SET_LOSS, EXPECTED_LOSS_PERCENT),
            (_SET_DTX, 1),
            (_SET_SIGNAL, _SIGNAL_VOICE),
        ):
            self._set(request, setting)
        self.set_bit_rate(BIT_RATE_BIT_S)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._opus.opus_encoder_destroy(self._state)

    def set_bit_rate(self, bit_rate_bit_s: int) -> None:
        self._set(_SET_BITRATE, bit_rate_bit_s)

    def encode(self, sound: Sound) -> bytes | None:
        """The packet of 20, 40 or 60 ms; None when nothing needs to be sent."""
        samples = np.ascontiguousarray(sound, dtype=np.int16)
        pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        size = self._opus.opus_encode(self._state, pointer, len(samples), self._packet, MOST_PACKET_BYTES)
        if size < 0:
            raise ValueError(f"libopus does not encode {len(samples)} samples: error {size}")
        return self._packet.raw[:size] if size > NOTHING_TO_SEND_BYTES else None

    def _set(self, request: int, setting: int) -> None:
        self._opus.opus_encoder_ctl(self._state, request, ctypes.c_int(setting))


class VoiceDecoder:
    """One voice on its way in; calls in the order of time."""

    def __init__(self) -> None:
        self._opus = _library()
        fault = ctypes.c_int()
        self._state = ctypes.c_void_p(self._opus.opus_decoder_create(SAMPLE_RATE_HZ, 1, ctypes.byref(fault)))
        if fault.value:
            raise NoOpus(f"libopus makes no decoder: error {fault.value}")

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._opus.opus_decoder_destroy(self._state)

    def decode(self, packet: bytes) -> Sound:
        """:raises PacketDamaged: no Opus packet"""
        return self._decoded(packet, LONGEST_PACKET_SAMPLES, from_next=False)

    def recover(self, following: bytes, samples: int = FRAME_SAMPLES) -> Sound:
        """The lost ``samples`` before ``following``, from the copy in it; concealed when it carries none.

        :raises PacketDamaged: ``following`` is no Opus packet
        """
        return self._decoded(following, samples, from_next=True)

    def conceal(self, samples: int = FRAME_SAMPLES) -> Sound:
        """A guess at what was lost; the longer nothing comes, the quieter."""
        return self._decoded(None, samples, from_next=False)

    def _decoded(self, packet: bytes | None, most_samples: int, from_next: bool) -> Sound:
        sound = np.zeros(most_samples, dtype=np.int16)
        pointer = sound.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        size = 0 if packet is None else len(packet)
        count = self._opus.opus_decode(self._state, packet, size, pointer, most_samples, int(from_next))
        if count < 0:
            raise PacketDamaged(f"libopus does not take a packet of {size} bytes: error {count}")
        return sound[:count]


def with_terms(sdp: str) -> str:
    """The description with ``TERMS`` for Opus in place of what it said about it."""
    for payload_type in _OPUS_LINE.findall(sdp):
        sdp = re.sub(rf"^a=fmtp:{payload_type} .*\r?\n", "", sdp, flags=re.MULTILINE)
    return _OPUS_LINE.sub(lambda line: f"{line[0]}a=fmtp:{line[1]} {TERMS}\r\n", sdp)

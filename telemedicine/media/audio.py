"""Voice between the touchscreen and the specialists: everybody hears everybody else.

Each leg has one line into the bridge. What comes in is evened out and concealed (``voice_buffer``), what goes out is
the sum of the others as Opus. One mixer moves them all, 20 ms at a time; what is not fetched within 200 ms is given up,
so a call is never late for long.
"""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import av
import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from devices.clock import Clock
from telemedicine.media.opus import (
    BIT_RATE_BIT_S,
    FRAME_S,
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    SPARING_BIT_RATE_BIT_S,
    Sound,
    VoiceEncoder,
)
from telemedicine.media.voice_buffer import VoiceBuffer

QUEUE_PACKETS = 10
SPARING_FRAMES = 3
"""60 ms in a packet where bits are scarce: 33 packets a second less is 14 kbit/s of headers less."""
HELD_UP_S = 0.5
Who = TypeVar("Who", bound=Hashable)
_TIME_BASE = fractions.Fraction(1, SAMPLE_RATE_HZ)


class Line(MediaStreamTrack):
    """One leg's line; itself the track that is sent to that leg, as Opus packets."""

    kind = "audio"

    def __init__(self, bridge: AudioBridge, name: str, may_speak: bool) -> None:
        super().__init__()
        self.name = name
        self._may_speak = may_speak
        self._bridge = bridge
        self._encoder = VoiceEncoder()
        self._unsent: list[Sound] = []
        self._packets: asyncio.Queue[av.Packet[Any] | None] = asyncio.Queue()
        self._at_samples = 0
        self.heard = VoiceBuffer()
        """What this leg says."""
        self.received_frames = 0

    def take_packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """A packet of this leg's voice (RTP sequence number, timestamp, Opus)."""
        if not self._may_speak:
            return
        self.received_frames += 1
        self.heard.put(sequence, timestamp, payload)

    def say(self, sound: Sound, frames_in_packet: int) -> None:
        """20 ms for this leg; sent when ``frames_in_packet`` are together."""
        self._unsent.append(sound)
        if len(self._unsent) < frames_in_packet:
            return
        packed = np.concatenate(self._unsent)
        self._unsent.clear()
        at_samples, self._at_samples = self._at_samples, self._at_samples + len(packed)
        payload = self._encoder.encode(packed)
        if payload is None:
            return
        packet: av.Packet[Any] = av.Packet(payload)
        packet.pts, packet.time_base = at_samples, _TIME_BASE
        if self._packets.qsize() >= QUEUE_PACKETS:
            self._packets.get_nowait()
        self._packets.put_nowait(packet)

    def set_bit_rate(self, bit_rate_bit_s: int) -> None:
        self._encoder.set_bit_rate(bit_rate_bit_s)

    async def recv(self) -> av.Packet[Any]:
        """The next packet for this leg; in silence there is one every 0.4 s.

        :raises MediaStreamError: the leg was closed
        """
        packet = await self._packets.get() if self.readyState == "live" else None
        if packet is None:
            raise MediaStreamError
        return packet

    def stop(self) -> None:
        super().stop()
        self._packets.put_nowait(None)
        self._bridge.leave(self)


class AudioBridge:
    """The lines of one consultation; mixes while there are any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: set[Line] = set()
        self._sparing = False
        self._mixing: asyncio.Task[None] | None = None

    def join(self, name: str, may_speak: bool = True) -> Line:
        """A line; to be called in the event loop. Who may not speak is not heard, whatever comes."""
        line = Line(self, name, may_speak)
        line.set_bit_rate(SPARING_BIT_RATE_BIT_S if self._sparing else BIT_RATE_BIT_S)
        self._lines.add(line)
        if self._mixing is None:
            self._mixing = asyncio.get_running_loop().create_task(self._mix_for_ever(), name="voice mixer")
        return line

    def leave(self, line: Line) -> None:
        self._lines.discard(line)
        if not self._lines and self._mixing is not None:
            self._mixing.cancel()
            self._mixing = None

    def spare(self, sparing: bool) -> None:
        """Whether bits are scarce: 16 instead of 24 kbit/s, three frames in a packet; 23 instead of 46 on the wire."""
        if sparing == self._sparing:
            return
        self._sparing = sparing
        for line in self._lines:
            line.set_bit_rate(SPARING_BIT_RATE_BIT_S if sparing else BIT_RATE_BIT_S)

    def mix(self) -> None:
        """20 ms of every voice to every other line."""
        said = {line: line.heard.take() for line in self._lines}
        for line, sound in mixed(said).items():
            line.say(sound, SPARING_FRAMES if self._sparing else 1)

    async def _mix_for_ever(self) -> None:
        due_s = self._clock.monotonic_s()
        while True:
            self.mix()
            due_s += FRAME_S
            now_s = self._clock.monotonic_s()
            if now_s - due_s > HELD_UP_S:  # the process was held up: go on from now, without a burst
                due_s = now_s
            await asyncio.sleep(max(0.0, due_s - now_s))


def mixed(said: Mapping[Who, Sound | None]) -> dict[Who, Sound]:
    """For each line the sum of the others, cut at full scale."""
    total: npt.NDArray[np.int32] = np.zeros(FRAME_SAMPLES, dtype=np.int32)
    for sound in said.values():
        if sound is not None:
            total += sound
    return {
        line: np.clip(total if sound is None else total - sound, -32768, 32767).astype(np.int16)
        for line, sound in said.items()
    }

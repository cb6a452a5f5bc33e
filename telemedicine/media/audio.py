"""Voice between the touchscreen and the specialists: everybody hears everybody else.

Each leg has one line into the bridge: what comes in (decoded by aiortc, 48 kHz) is queued for every other line, what
goes out is the sum of the others, one frame of 20 ms at a time, silence where nothing came. A queue holds at most
200 ms; when it is full the oldest sound goes, so a call is never late for long.
"""

from __future__ import annotations

import asyncio
import fractions
from collections import deque

import av
import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from devices.clock import Clock

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 960
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
QUEUE_FRAMES = 10
PREFILL_FRAMES = 2
"""A queue that ran empty waits for this many frames, so that jitter does not chop the voice."""

Sound = npt.NDArray[np.int16]
"""Mono, any length."""


class _Jitter:
    """What one speaker said and one listener has not yet heard."""

    def __init__(self) -> None:
        self._sound: deque[Sound] = deque()
        self._samples = 0
        self._waiting = True

    def put(self, sound: Sound) -> None:
        self._sound.append(sound)
        self._samples += len(sound)
        while self._samples > QUEUE_FRAMES * FRAME_SAMPLES:
            self._samples -= len(self._sound.popleft())

    def take(self) -> Sound | None:
        """20 ms, or None while there is not enough."""
        if self._samples < FRAME_SAMPLES * (PREFILL_FRAMES if self._waiting else 1):
            self._waiting = True
            return None
        self._waiting = False
        parts, missing = [], FRAME_SAMPLES
        while missing:
            head = self._sound.popleft()
            if len(head) > missing:
                self._sound.appendleft(head[missing:])
                head = head[:missing]
            parts.append(head)
            missing -= len(head)
        self._samples -= FRAME_SAMPLES
        return np.concatenate(parts)


class Line(MediaStreamTrack):
    """One leg's line; itself the track that is sent to that leg."""

    kind = "audio"

    def __init__(self, bridge: AudioBridge, name: str, clock: Clock) -> None:
        super().__init__()
        self.name = name
        self._bridge = bridge
        self._clock = clock
        self._heard: dict[Line, _Jitter] = {}
        self._began_s: float | None = None
        self._sent = 0
        self._listening: asyncio.Task[None] | None = None
        self.received_frames = 0

    def hear(self, track: MediaStreamTrack) -> None:
        """Let the others hear ``track``, until it ends."""
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.create_task(self._pump(track))

    def put(self, speaker: Line, sound: Sound) -> None:
        self._heard.setdefault(speaker, _Jitter()).put(sound)

    def forget(self, speaker: Line) -> None:
        self._heard.pop(speaker, None)

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms for this leg, at their time.

        :raises MediaStreamError: the leg was closed
        """
        if self.readyState != "live":
            raise MediaStreamError
        now_s = self._clock.monotonic_s()
        if self._began_s is None:
            self._began_s = now_s
        due_s = self._began_s + self._sent * FRAME_S
        if due_s < now_s - 0.5:  # the process was held up: go on from now, do not send a burst
            self._began_s += now_s - due_s
        await asyncio.sleep(max(0.0, due_s - now_s))
        mixed = np.zeros(FRAME_SAMPLES, dtype=np.int32)
        for jitter in self._heard.values():
            sound = jitter.take()
            if sound is not None:
                mixed += sound
        frame = av.AudioFrame.from_ndarray(
            np.clip(mixed, -32768, 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts, frame.time_base = self._sent * FRAME_SAMPLES, fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._sent += 1
        return frame

    def stop(self) -> None:
        super().stop()
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        self._bridge.leave(self)

    async def _pump(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.AudioFrame):
                self.received_frames += 1
                self._bridge.said(self, _mono(frame))


class AudioBridge:
    """The lines of one consultation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: set[Line] = set()

    def join(self, name: str) -> Line:
        line = Line(self, name, self._clock)
        self._lines.add(line)
        return line

    def leave(self, line: Line) -> None:
        self._lines.discard(line)
        for other in self._lines:
            other.forget(line)

    def said(self, speaker: Line, sound: Sound) -> None:
        for line in self._lines:
            if line is not speaker:
                line.put(speaker, sound)


def _mono(frame: av.AudioFrame) -> Sound:
    """The frame's sound as mono int16; aiortc decodes Opus to interleaved stereo at 48 kHz."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if channels > 1:
        interleaved = samples.reshape(-1, channels) if samples.shape[0] == 1 else samples.T
        return np.asarray(interleaved.astype(np.int32).mean(axis=1), dtype=np.int16)
    return np.asarray(samples.reshape(-1), dtype=np.int16)

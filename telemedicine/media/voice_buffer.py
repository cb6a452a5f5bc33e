"""One speaker's packets between the network and the mixer: put in order, evened out, and what is lost is concealed.

Packets come when they come; every 20 ms somebody takes 20 ms of sound. Kept back is as little as the network allows:
40 ms, more after packets came too late, less again when they no longer do. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from telemedicine.media.opus import FRAME_SAMPLES, PacketDamaged, Sound, VoiceDecoder

LEAST_FRAMES, MOST_FRAMES = 2, 10
"""What is kept back, in frames of 20 ms."""
ROOM_FRAMES = 5
"""More than this above what is kept back is given up, so a call is never late for long."""
CALM_FRAMES = 500
"""10 s without a late packet: one frame less is kept back."""
CONCEALED_FRAMES = 5
"""After 100 ms without a packet the speaker is silent until one comes."""
HALF = 1 << 31


@dataclass(slots=True)
class VoiceCounts:
    """Frames of 20 ms handed out, by where they came from; ``late`` and ``dropped`` are packets."""

    heard: int = 0
    recovered: int = 0
    concealed: int = 0
    late: int = 0
    dropped: int = 0


class VoiceBuffer:
    def __init__(self) -> None:
        self._decoder = VoiceDecoder()
        self._packets: dict[int, tuple[int, bytes]] = {}
        """Unwrapped RTP timestamp -> sequence number, payload."""
        self._newest: int | None = None
        self._due: int | None = None
        """Timestamp of the next sound to be decoded; None: waiting for enough packets."""
        self._last_sequence = -1
        self._kept_frames = LEAST_FRAMES
        self._calm = 0
        self._empty = 0
        self._sound: Sound = np.empty(0, dtype=np.int16)
        self.counts = VoiceCounts()

    @property
    def kept_frames(self) -> int:
        return self._kept_frames

    def put(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """An RTP packet: sequence number (16 bit), timestamp (32 bit, 48 kHz), Opus payload."""
        if not payload:
            return
        if self._newest is None:
            self._newest = timestamp
        at = self._newest + (timestamp - self._newest + HALF) % (2 * HALF) - HALF
        self._newest = max(self._newest, at)
        if self._due is not None and at < self._due:
            self.counts.late += 1
            self._kept_frames, self._calm = min(MOST_FRAMES, self._kept_frames + 1), 0
            return
        self._packets[at] = sequence, payload
        self._give_up_old()

    def take(self) -> Sound | None:
        """The next 20 ms; None while this speaker is silent."""
        self._grow_calm()
        while len(self._sound) < FRAME_SAMPLES:
            more = self._next()
            if more is None:
                return None
            self._sound = np.concatenate((self._sound, more)) if len(self._sound) else more
        taken, self._sound = self._sound[:FRAME_SAMPLES], self._sound[FRAME_SAMPLES:]
        return taken

    def _next(self) -> Sound | None:
        if self._due is None:
            if not self._packets or self._span() < self._kept_frames * FRAME_SAMPLES:
                return None
            self._due = min(self._packets)
            self._last_sequence = (self._packets[self._due][0] - 1) % 65_536
        found = self._packets.pop(self._due, None)
        if found is not None:
            return self._decoded(*found)
        if not self._packets:
            return self._ran_empty()
        self._empty = 0
        return self._lost()

    def _decoded(self, sequence: int, payload: bytes) -> Sound:
        assert self._due is not None
        self._empty, self._last_sequence = 0, sequence
        try:
            sound = self._decoder.decode(payload)
            self.counts.heard += 1
        except PacketDamaged:
            sound = self._concealed()
        self._due += len(sound)
        return sound

    def _lost(self) -> Sound:
        """Nothing for this moment, but for a later one: lost, or the speaker's encoder had nothing to say."""
        assert self._due is not None
        following_at = min(self._packets)
        sequence, payload = self._packets[following_at]
        due, self._due = self._due, min(self._due + FRAME_SAMPLES, following_at)
        missing = self._due - due
        was_lost = sequence != (self._last_sequence + 1) % 65_536
        if was_lost and self._due == following_at:
            try:
                sound = self._decoder.recover(payload, missing)
                self.counts.recovered += 1
                return sound
            except PacketDamaged:
                pass
        return self._concealed(missing)

    def _ran_empty(self) -> Sound | None:
        self._empty += 1
        if self._empty > CONCEALED_FRAMES:
            self._due, self._empty = None, 0
            return None
        assert self._due is not None
        self._due += FRAME_SAMPLES
        return self._concealed()

    def _concealed(self, samples: int = FRAME_SAMPLES) -> Sound:
        self.counts.concealed += 1
        return self._decoder.conceal(max(120, samples // 120 * 120))  # libopus: whole 2.5 ms

    def _give_up_old(self) -> None:
        most = (self._kept_frames + ROOM_FRAMES) * FRAME_SAMPLES
        while self._packets and self._span() > most:
            self.counts.dropped += 1
            del self._packets[min(self._packets)]
            if self._due is not None and self._packets:
                self._due = min(self._packets)

    def _span(self) -> int:
        return max(self._packets) - min(self._packets) + FRAME_SAMPLES

    def _grow_calm(self) -> None:
        self._calm += 1
        if self._calm >= CALM_FRAMES and self._kept_frames > LEAST_FRAMES:
            self._kept_frames, self._calm = self._kept_frames - 1, 0

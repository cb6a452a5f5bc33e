"""What one viewer has not yet been sent: a quarter second of packets at most, always decodable from its head.

H.264 without B pictures: every packet needs all packets before it back to the last key frame. So a queue that is full
cannot lose its oldest packet alone; it skips to the next key frame it holds, or empties itself and lets nothing in
before the next key frame. That one is asked for when the viewer comes to read again: a viewer that never reads must not
cost the others a key frame four times a second.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

QUEUE_S = 0.25
"""Seconds of pictures a viewer may be behind; a picture that is later than that is of no use to a hand on a probe."""
RTP_CLOCK_HZ = 90_000


class Stamped(Protocol):
    """The part of ``av.Packet`` that the queue looks at."""

    @property
    def pts(self) -> int | None: ...

    @property
    def is_keyframe(self) -> bool: ...


Packet = TypeVar("Packet", bound=Stamped)


class PacketQueue(Generic[Packet]):
    """``put`` by the encoder's thread, ``take`` by the viewer's; never waits, never grows.

    Packets come in the order of their ``pts`` (1/90000 s) and leave in it; the first one, and the first one after a
    skip, is a key frame.
    """

    def __init__(self, span_s: float = QUEUE_S) -> None:
        self._span = round(span_s * RTP_CLOCK_HZ)
        self._lock = threading.Lock()
        self._packets: deque[Packet] = deque()
        self._waits_for_key_frame = True
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def dropped(self) -> int:
        """Packets that were put and will never be taken."""
        return self._dropped

    @property
    def waits_for_key_frame(self) -> bool:
        """Whether it is empty and will stay so until a key frame is put."""
        return self._waits_for_key_frame

    def put(self, packet: Packet) -> None:
        """Take ``packet`` in, or drop it, or what it overtakes."""
        with self._lock:
            if self._waits_for_key_frame and not packet.is_keyframe:
                self._dropped += 1
                return
            self._waits_for_key_frame = False
            self._packets.append(packet)
            while self._behind() > self._span:
                self._skip_to_next_key_frame()

    def take(self) -> Packet | None:
        """The oldest packet, None when there is none."""
        with self._lock:
            return self._packets.popleft() if self._packets else None

    def clear(self) -> None:
        """Drop all; begin again at a key frame."""
        with self._lock:
            self._dropped += len(self._packets)
            self._packets.clear()
            self._waits_for_key_frame = True

    def _behind(self) -> int:
        """Ticks between the oldest and the newest packet."""
        if len(self._packets) < 2:
            return 0
        return (self._packets[-1].pts or 0) - (self._packets[0].pts or 0)

    def _skip_to_next_key_frame(self) -> None:
        self._packets.popleft()
        self._dropped += 1
        while self._packets and not self._packets[0].is_keyframe:
            self._packets.popleft()
            self._dropped += 1
        self._waits_for_key_frame = not self._packets

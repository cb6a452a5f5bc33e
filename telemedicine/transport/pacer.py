"""A leaky bucket before the socket: a picture leaves as an even train instead of one burst.

Ranks are served in order, and within a rank what came first leaves first, so that the packets of one picture stay
together. A connection whose window is full is passed over and does not hold up the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

BURST_S = 0.004
LEAST_BURST_BYTES = 1_500

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Queued(Generic[P]):
    """``packet`` of ``stream`` for connection ``path``."""

    path: str
    stream: str
    rank: int
    size_bytes: int
    queued_s: float
    packet: P
    padding: bool = False


class Pacer(Generic[P]):
    def __init__(self, ranks: int, now_s: float) -> None:
        self._queues: list[deque[Queued[P]]] = [deque() for _ in range(ranks)]
        self._credit_bytes = 0.0
        self._filled_s = now_s
        self.rate_bit_s = 1e6

    def put(self, item: Queued[P]) -> None:
        self._queues[item.rank].append(item)

    def take(self, now_s: float, may_leave: Callable[[Queued[P]], bool]) -> Queued[P] | None:
        """The next packet that leaves now, None when the bucket is empty or nothing may leave."""
        self._fill(now_s)
        if self._credit_bytes <= 0:
            return None
        for queue in self._queues:
            blocked: set[str] = set()
            for position, item in enumerate(queue):
                if item.path in blocked:
                    continue
                if may_leave(item):
                    del queue[position]
                    self._credit_bytes -= item.size_bytes
                    return item
                blocked.add(item.path)
        return None

    def wait_s(self) -> float:
        """Until there is credit again; 0 when there is."""
        return max(0.0, -self._credit_bytes * 8 / self.rate_bit_s)

    def spend(self, size_bytes: int) -> None:
        """Something left past the pacer: the next picture packets wait for it."""
        self._credit_bytes -= size_bytes

    @property
    def probing(self) -> bool:
        """Whether what leaves next is only to feel the link."""
        first = next((queue[0] for queue in self._queues if queue), None)
        return first is not None and first.padding

    def drop(self, path: str | None = None, stream: str | None = None) -> int:
        """Throw away what waits for ``path`` (and ``stream``); the number of packets."""
        dropped = 0
        for rank, queue in enumerate(self._queues):
            kept = deque(item for item in queue if path not in (None, item.path) or stream not in (None, item.stream))
            dropped += len(queue) - len(kept)
            self._queues[rank] = kept
        return dropped

    def backlog_bytes(self, upto_rank: int, path: str | None = None) -> int:
        """What leaves before a new packet of ``upto_rank`` would; of it what is for ``path``."""
        queues = self._queues[: upto_rank + 1]
        return sum(item.size_bytes for queue in queues for item in queue if path in (None, item.path))

    def oldest_s(self, path: str) -> float | None:
        """When the oldest packet that waits for ``path`` was queued."""
        return min((item.queued_s for queue in self._queues for item in queue if item.path == path), default=None)

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues)

    def _fill(self, now_s: float) -> None:
        most = max(LEAST_BURST_BYTES, self.rate_bit_s / 8 * BURST_S)
        earned = self.rate_bit_s / 8 * max(0.0, now_s - self._filled_s)
        self._credit_bytes = min(most, self._credit_bytes + earned)
        self._filled_s = now_s

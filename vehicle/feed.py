"""The bounded in-process feed: device sessions publish, everybody else listens.

Two ways to listen. ``on`` calls a function at once, in the publisher's turn: for those that must not miss anything
(recorder, patrol, measurements), and natural in simulated time. ``subscribe`` queues up to a bound for a task that
reads at its own pace: when the queue is full the stated overflow happens, and what was lost is read as a ``Gap``.

One thread: ``publish`` is called in the event loop's thread (or in the only thread, in simulated time).
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from devices.events import emit
from devices.readings import DeviceState, Samples, Stamped
from vehicle.topics import BY_NAME, Overflow, topic_of

Listener = Callable[[Stamped], None]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Gap:
    """So many events of one device and topic were not read in time and are gone from this subscription."""

    device: str
    topic: str
    events: int
    segment: int | None = None
    """Of the first lost chunk, for waveforms."""
    first_index: int | None = None


@dataclass(slots=True)
class Heard:
    """When a device was last heard on a topic, by the monotonic clock of the publisher."""

    received_mono_s: float
    events: int = 0


class Feed:
    def __init__(self) -> None:
        self._listeners: dict[str, list[tuple[str, Listener]]] = {name: [] for name in BY_NAME}
        self._subscriptions: list[Subscription] = []
        self.heard: dict[tuple[str, str], Heard] = {}
        """(device, topic) -> when last heard: the source of every liveness check."""
        self.failures: dict[str, str] = {}
        """Listener name -> the last error it raised; shown by health, never a reason to stop the others."""
        self._half_heard: set[str] = set()
        """Devices of which a reading met a listener that raised."""

    def publish(self, stamped: Stamped) -> None:
        """Hand ``stamped`` to every listener and subscription, in the order they came.

        A listener that raises is a bug in that listener: logged, kept in ``failures``, the others still hear.
        """
        topic = topic_of(stamped.event)
        heard = self.heard.setdefault((stamped.device, topic), Heard(stamped.received_mono_s))
        heard.received_mono_s = stamped.received_mono_s
        heard.events += 1
        for name, listener in self._listeners[topic]:
            try:
                listener(stamped)
            except Exception as fault:
                self._failed(name, topic, fault)
                if not isinstance(stamped.event, Samples | DeviceState):
                    self._half_heard.add(stamped.device)
        for subscription in self._subscriptions:
            subscription._offer(topic, stamped)

    def take_half_heard(self, device: str) -> bool:
        """Whether a listener raised at a reading of ``device`` since this was last asked: it may be kept nowhere."""
        half_heard = device in self._half_heard
        self._half_heard.discard(device)
        return half_heard

    def on(self, topic: str, listener: Listener, name: str = "") -> Callable[[], None]:
        """Call ``listener`` for every event of ``topic``; returns the function that ends it.

        :raises KeyError: no such topic
        """
        row = (name or getattr(listener, "__qualname__", repr(listener)), listener)
        self._listeners[topic].append(row)

        def end() -> None:
            if row in self._listeners[topic]:
                self._listeners[topic].remove(row)

        return end

    def subscribe(
        self,
        name: str,
        topics: Iterable[str],
        bound: int | None = None,
        overflow: Overflow | None = None,
    ) -> Subscription:
        """A queue of ``topics``; ``bound`` and ``overflow`` per topic are those of ``vehicle.topics`` unless given."""
        subscription = Subscription(self, name, frozenset(topics), bound, overflow)
        self._subscriptions.append(subscription)
        return subscription

    def _failed(self, name: str, topic: str, fault: Exception) -> None:
        words = f"{type(fault).__name__}: {fault}"
        if self.failures.get(name) != words:  # once per kind of failure, not 20 times a second
            emit("listener_failed", level=logging.ERROR, listener=name, topic=topic, reason=type(fault).__name__)
            logging.getLogger(__name__).error("listener %s failed", name, exc_info=fault)
        self.failures[name] = words

    def _drop(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


class Reader(ABC, Generic[Item]):
    """An asynchronous iterator of what ``take`` hands out; ``close`` ends it, also as a context manager."""

    def __init__(self, leave: Callable[[], None]) -> None:
        """:param leave: called by ``close``: nothing more is to be queued"""
        self._leave = leave
        self._closed = False
        self._ready = asyncio.Event()
        """Set by whoever queues."""

    @abstractmethod
    def take(self) -> Item | None:
        """The next item without waiting; None when there is nothing."""

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            item = self.take()
            if item is not None:
                yield item
            elif self._closed:
                return
            else:
                self._ready.clear()
                await self._ready.wait()

    def close(self) -> None:
        """Nothing more is queued; what is may still be read."""
        self._closed = True
        self._leave()
        self._ready.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Subscription(Reader[Stamped | Gap]):
    """Of ``Stamped`` and ``Gap``.

    Each topic has its own bounded queue, so a flood of waveforms never pushes out a reading. Items of one topic come
    in order; between topics the order is that of arrival.
    """

    def __init__(
        self, feed: Feed, name: str, topics: frozenset[str], bound: int | None, overflow: Overflow | None
    ) -> None:
        for topic in topics:
            if topic not in BY_NAME:
                raise KeyError(f"no topic {topic!r} in vehicle.topics")
        super().__init__(lambda: feed._drop(self))
        self.name = name
        self._bounds = {topic: bound or BY_NAME[topic].bound for topic in topics}
        self._overflow = {topic: overflow or BY_NAME[topic].overflow for topic in topics}
        self._queues: dict[str, deque[tuple[int, Stamped]]] = {topic: deque() for topic in topics}
        self._gaps: dict[tuple[str, str], Gap] = {}
        self._arrival = 0

    def take(self) -> Stamped | Gap | None:
        """A gap comes before what followed it."""
        pending = [(queue[0][0], topic) for topic, queue in self._queues.items() if queue]
        if not pending:
            return None
        _, topic = min(pending)
        device = self._queues[topic][0][1].device
        gap = self._gaps.pop((device, topic), None)
        return gap if gap is not None else self._queues[topic].popleft()[1]

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def _offer(self, topic: str, stamped: Stamped) -> None:
        queue = self._queues.get(topic)
        if queue is None:
            return
        self._arrival += 1
        if self._overflow[topic] is Overflow.LATEST_WINS:
            self._supersede(queue, stamped)
        if len(queue) >= self._bounds[topic]:
            self._lose(topic, queue.popleft()[1])
        queue.append((self._arrival, stamped))
        self._ready.set()

    @staticmethod
    def _supersede(queue: deque[tuple[int, Stamped]], stamped: Stamped) -> None:
        for position, (_, waiting) in enumerate(queue):
            if waiting.device == stamped.device:
                del queue[position]
                return

    def _lose(self, topic: str, lost: Stamped) -> None:
        before = self._gaps.get((lost.device, topic))
        if before is not None:
            self._gaps[(lost.device, topic)] = Gap(
                lost.device, topic, before.events + 1, before.segment, before.first_index
            )
        elif isinstance(lost.event, Samples):
            self._gaps[(lost.device, topic)] = Gap(lost.device, topic, 1, lost.event.segment, lost.event.first_index)
        else:
            self._gaps[(lost.device, topic)] = Gap(lost.device, topic, 1)

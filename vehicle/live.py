"""The live feed as screens and the consultation process read it: one hub, one message form for all of them.

Text messages are JSON objects with a ``type``; waveforms are the binary frames of ``devices.wire``. What describes a
state (device, status, visit, encounter, prompts, consultation, clock, pairing) is remembered, so that a page that opens
or reconnects starts from ``snapshot()``. Each reader has bounded queues: a newer state supersedes an unread older one,
the oldest unread waveform goes first, and what a reader missed is told as ``{"type": "gap", ...}``.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from devices.readings import CuffPressure, DeviceState, HeartRate, PulseOximetry, Samples, Stamped
from devices.wire import pack_samples
from vehicle.feed import Feed, Reader
from vehicle.stream_choice import StreamChoice

STATES = frozenset(
    {"device", "status", "visit", "encounter", "prompts", "consultation", "clock", "pairing", "driving", "emergency"}
)
"""Message types that say how things are now; all others say that something happened."""

WAVEFORMS = ("ecg", "pleth")
NUMBERS: dict[str, tuple[str, ...]] = {
    "pulse_oximetry": ("spo2_percent", "pulse_bpm", "perfusion_index_percent"),
    "heart_rate": ("heart_rate_bpm",),
    "cuff_pressure": ("cuff_mmhg",),
}
"""Readings of which each one is told, and what of them."""
MESSAGES_BOUND = 200
FRAMES_BOUND = 100
"""Per reader and device: 5 s of ECG at 20 chunks a second."""


class LiveHub:
    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}
        self._readers: list[LiveReader] = []
        self._choice = StreamChoice()

    def listen(self, feed: Feed) -> None:
        """Forward the feed: waveforms as frames, device states and live numbers as messages."""
        for stream in WAVEFORMS:
            feed.on(stream, self._on_samples, "live")
        feed.on("device", self._on_device, "live")
        for stream in NUMBERS:
            feed.on(stream, self._on_numbers, "live")

    def send(self, message: dict[str, Any]) -> None:
        """Tell every reader; ``message`` has a ``type`` and is JSON-serialisable."""
        key = _state_key(message)
        if key is not None:
            self._states[key] = message
        if not self._readers:
            return
        text = _json(message)
        for reader in self._readers:
            reader._offer_text(key, text)

    def snapshot(self) -> list[dict[str, Any]]:
        """The newest message of every state, in the order in which they first came."""
        return list(self._states.values())

    def subscribe(self, streams: Iterable[str] = ()) -> LiveReader:
        """A reader of all messages and of the waveform ``streams`` ("ecg", "pleth"); unknown names are ignored.

        It begins with the snapshot. Close it, or use it as a context manager.
        """
        reader = LiveReader(self, frozenset(streams) & frozenset(WAVEFORMS))
        for message in self.snapshot():
            reader._offer_text(_state_key(message), _json(message))
        self._readers.append(reader)
        return reader

    @property
    def readers(self) -> int:
        return len(self._readers)

    def _on_samples(self, stamped: Stamped) -> None:
        samples = stamped.event
        if not isinstance(samples, Samples) or not self._choice.takes(stamped):
            return
        wanted = [reader for reader in self._readers if samples.stream in reader.streams]
        if wanted:
            frame = pack_samples(stamped.device, samples)
            for reader in wanted:
                reader._offer_frame(stamped.device, samples, frame)

    def _on_device(self, stamped: Stamped) -> None:
        state = stamped.event
        if isinstance(state, DeviceState):
            self.send(device_message(stamped, state))

    def _on_numbers(self, stamped: Stamped) -> None:
        reading = stamped.event
        if isinstance(reading, PulseOximetry | HeartRate | CuffPressure):
            values = {name: getattr(reading, name) for name in NUMBERS[reading.kind]}
            self.send(
                {
                    "type": "reading",
                    "live": True,
                    "kind": reading.kind,
                    "device": stamped.device,
                    "values": values,
                    "at": stamped.received_at.isoformat(),
                }
            )

    def _drop(self, reader: LiveReader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)


def device_message(stamped: Stamped, state: DeviceState) -> dict[str, Any]:
    """The ``device`` message: who, and how it is."""
    return {
        "type": "device",
        "device": stamped.device,
        "driver": stamped.driver,
        "link": str(state.link),
        "sensor": str(state.sensor),
        "leads_off": list(state.leads_off),
        "battery_percent": state.battery_percent,
        "fault": state.fault,
        "at": stamped.received_at.isoformat(),
    }


class LiveReader(Reader[str | bytes]):
    """Of ``str`` (JSON messages) and ``bytes`` (waveform frames)."""

    def __init__(self, hub: LiveHub, streams: frozenset[str]) -> None:
        super().__init__(lambda: hub._drop(self))
        self.streams = streams
        self._texts: dict[str, str] = {}
        self._texts_lost = 0
        self._frames: dict[str, deque[tuple[Samples, bytes]]] = {}
        self._gaps: dict[str, dict[str, Any]] = {}
        self._serial = 0

    def take(self) -> str | bytes | None:
        """Messages first, they are few."""
        if self._texts_lost:
            lost, self._texts_lost = self._texts_lost, 0
            return _json({"type": "gap", "messages": lost})
        if self._texts:
            return self._texts.pop(next(iter(self._texts)))
        device = max(self._frames, key=lambda name: len(self._frames[name]), default=None)
        if device is None or not self._frames[device]:
            return None
        gap = self._gaps.pop(device, None)
        return _json(gap) if gap is not None else self._frames[device].popleft()[1]

    def _offer_text(self, key: str | None, text: str) -> None:
        if key is None:
            self._serial += 1
            key = f"#{self._serial}"
        self._texts.pop(key, None)  # a state moves to the end: it is told in the order of its newest form
        if len(self._texts) >= MESSAGES_BOUND:
            del self._texts[next(iter(self._texts))]
            self._texts_lost += 1
        self._texts[key] = text
        self._ready.set()

    def _offer_frame(self, device: str, samples: Samples, frame: bytes) -> None:
        queue = self._frames.setdefault(device, deque())
        if len(queue) >= FRAMES_BOUND:
            self._lose(device, queue.popleft()[0])
        queue.append((samples, frame))
        self._ready.set()

    def _lose(self, device: str, lost: Samples) -> None:
        gap = self._gaps.setdefault(
            device,
            {
                "type": "gap",
                "stream": lost.stream,
                "device": device,
                "segment": lost.segment,
                "first_index": lost.first_index,
                "count": 0,
            },
        )
        gap["count"] += len(lost.counts)


def _state_key(message: dict[str, Any]) -> str | None:
    kind = message["type"]
    if kind not in STATES:
        return None
    return f"{kind}/{message['device']}" if kind == "device" else str(kind)


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, default=str)

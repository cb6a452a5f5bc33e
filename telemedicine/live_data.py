"""Live waveforms and readings to the specialists: from the vehicle's ``/live`` onto data channels.

"live" carries binary samples frames, unordered and never sent twice; a frame that would wait behind others is left
out and the gap is stated. "vitals" carries JSON in order. A page that joins first gets the states as they are now, and
may ask for samples it has missed: ``{"type": "backfill", "device", "segment", "first", "count"}`` on "vitals".

A page that opens "live" with the subprotocol "packed/1" gets ``devices.packed_samples``, both live and asked for, and
on "vitals" their forms: ``{"type": "samples_form", "number", "device", "stream", ...}``; others get ``devices.wire``.
While bits are scarce chunks are merged, and what a page has missed comes in small pieces.

A specialist gets numbers and signals of the person the consultation is about and nothing else of the feed: not who is
served (with address and phone), not the queue, not the crew's prompts. While the van serves somebody else nothing
goes out, and the page is told so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from aiortc import RTCDataChannel

from devices.clock import Clock
from devices.events import emit
from devices.packed_samples import PROTOCOL, SampleForm
from devices.wire import FrameUnreadable, unpack_samples
from telemedicine.live_chunks import LiveChunk, LiveChunks
from telemedicine.vehicle_client import VehicleAway, VehicleClient

STREAMS = ("ecg", "pleth")
LIVE_BOUND_S = 0.5
"""What waits longer is of no use to a live picture."""
QUEUED_RTT_S = 1.0
VITALS_BOUND_BYTES = 128_000
BACKFILL_BOUND_SAMPLES = 5_000
SPARING_BACKFILL_SAMPLES, SPARING_BACKFILL_EVERY_S = 100, 0.8
"""A message of a fifth of a second of ECG, 6 kbit/s: voice and what happens now go first."""
SETTLED = frozenset({"confirmed", "rejected"})
"""States of the vehicle's ``reading`` messages after which the case's table of readings is another one."""
WORKING_LINKS = frozenset({"connected", "degraded"})
SILENT_SENSORS = frozenset({"off", "lead_off", "error"})
FIRST_RETRY_S, LAST_RETRY_S = 0.3, 5.0


class DataViewer:
    """One specialist's pair of data channels."""

    def __init__(self, live_data: LiveData) -> None:
        self._live_data = live_data
        self._live: RTCDataChannel | None = None
        self._vitals: RTCDataChannel | None = None
        self._missed: dict[str, dict[str, Any]] = {}
        self._resync = False
        self._packed = False
        self._asking: asyncio.Task[None] | None = None
        self.frames_sent = 0
        self.frames_skipped = 0

    def attach(self, channel: RTCDataChannel) -> None:
        """Take a channel that the page has opened; others than "live" and "vitals" are closed."""
        if channel.label == "live":
            self._live = channel
            self._packed = channel.protocol == PROTOCOL
        elif channel.label == "vitals":
            self._vitals = channel
            channel.on("message", self._asked)
            self._send_states()
        else:
            channel.close()

    def send_frame(self, chunk: LiveChunk, held: bool = False) -> None:
        """:param held: it would come too late, whatever this channel says"""
        channel = self._live
        if channel is None or channel.readyState != "open":
            return
        frame = self._form(chunk)
        if held or channel.bufferedAmount > len(frame) * LIVE_BOUND_S / chunk.seconds:
            self.frames_skipped += 1
            self._miss(chunk)
            return
        self._tell_missed()
        channel.send(frame)
        self.frames_sent += 1

    def send_message(self, text: str) -> None:
        channel = self._vitals
        if channel is None or channel.readyState != "open" or self._resync:
            return
        if channel.bufferedAmount + len(text) > VITALS_BOUND_BYTES:
            self._resync = True  # it gets all states anew when it has read what is waiting
            channel.bufferedAmountLowThreshold = VITALS_BOUND_BYTES // 4
            channel.once("bufferedamountlow", self._send_states)
            return
        channel.send(text)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._live_data.leave(self)

    def _send_states(self) -> None:
        self._resync = False
        for text in self._live_data.states():
            self.send_message(text)

    def _form(self, chunk: LiveChunk) -> bytes:
        return chunk.packed if self._packed and chunk.packed is not None else chunk.plain

    def _miss(self, chunk: LiveChunk) -> None:
        device, samples = chunk.device, chunk.samples
        gap = self._missed.get(device)
        if gap is None or gap["segment"] != samples.segment:
            gap = self._missed[device] = {
                "type": "gap",
                "stream": samples.stream,
                "device": device,
                "segment": samples.segment,
                "first_index": samples.first_index,
                "count": 0,
            }
        gap["count"] = samples.first_index + len(samples.counts) - gap["first_index"]

    def _tell_missed(self) -> None:
        for gap in self._missed.values():
            self.send_message(json.dumps(gap))
        self._missed.clear()

    def _asked(self, text: object) -> None:
        """One request at a time; a page that asks for more while one runs is not answered."""
        if not isinstance(text, str) or len(text) > 500 or (self._asking is not None and not self._asking.done()):
            return
        try:
            request = json.loads(text)
            if request["type"] != "backfill":
                return
            wanted = str(request["device"]), int(request["segment"]), int(request["first"]), int(request["count"])
        except (ValueError, KeyError, TypeError):
            self.send_message(json.dumps({"type": "error", "message": "not a request for missed samples"}))
            return
        self._asking = asyncio.get_running_loop().create_task(self._backfill(*wanted))

    async def _backfill(self, device: str, segment: int, first: int, count: int) -> None:
        try:
            chunk = await self._live_data.samples(device, segment, first, count)
        except VehicleAway:
            return
        if chunk is not None and self._vitals is not None and self._vitals.readyState == "open":
            self._vitals.send(self._form(chunk))


class LiveData:
    """Reads the vehicle's live feed for ever and hands it to the viewers."""

    def __init__(
        self,
        vehicle: VehicleClient,
        clock: Clock,
        on_news: Callable[[dict[str, Any]], None],
        on_image: Callable[[dict[str, Any]], None] = lambda message: None,
    ) -> None:
        """
        :param on_image: called with the vehicle's message about a still or clip, or what was measured on one; with {}
            when the feed is back
        :param on_news: called with the vehicle's message about a consultation; with {} when the feed is back or the
            confirmed readings changed, which both mean: look at the case again
        """
        self._vehicle = vehicle
        self._clock = clock
        self._on_news = on_news
        self._on_image = on_image
        self._viewers: set[DataViewer] = set()
        self._chunks = LiveChunks(self._tell_form)
        self._held = False
        self._states: dict[str, str] = {}
        self._numbers: dict[str, dict[str, Any]] = {}
        """Device -> the live numbers that stand on the pages now."""
        self._about: str | None = None
        self._served: str | None = None
        self.connected = False

    def join(self) -> DataViewer:
        viewer = DataViewer(self)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: DataViewer) -> None:
        self._viewers.discard(viewer)

    def about(self, encounter: str | None) -> None:
        """The encounter that the consultation is about; None when there is none or it is not known."""
        if encounter != self._about:
            self._about = encounter
            self._look_who_is_served()

    @property
    def withheld(self) -> bool:
        """Somebody else is being served: what the devices say now is not about this consultation's person."""
        return None not in (self._about, self._served) and self._about != self._served

    def states(self) -> list[str]:
        """What a page has to know before it understands what comes next."""
        return [*self._states.values(), *(_text(numbers) for numbers in self._numbers.values())]

    def tell(self, message: dict[str, Any]) -> None:
        """A message of our own (e.g. the state of the feeds) to every viewer; remembered by its type."""
        self._states[f"own/{message['type']}"] = _text(message)
        self._send(message)

    def spare(self, sparing: bool, rtt_s: float = 0.0) -> None:
        """Whether bits are scarce: chunks of 0.2 s: eight leads take 26 kbit/s on the wire instead of 40.

        :param rtt_s: where bits are scarce and this is long, packets queue in the network: chunks are left out and
            stated as gaps, or the queue would never end
        """
        self._chunks.merging, self._held = sparing, sparing and rtt_s > QUEUED_RTT_S
        if not sparing:
            self._send_chunks(self._chunks.flush())

    async def samples(self, device: str, segment: int, first: int, count: int) -> LiveChunk | None:
        """Samples of the last minute for a page that missed them, fewer than ``count`` if those are too many for one
        message; None when there are none or they are withheld."""
        count = min(count, BACKFILL_BOUND_SAMPLES)
        if self._chunks.merging:
            await self._clock.sleep(SPARING_BACKFILL_EVERY_S)
            count = min(count, SPARING_BACKFILL_SAMPLES)
        frame = None if self.withheld else await self._vehicle.samples(device, segment, first, count)
        if frame is None or self.withheld or self._held:
            return None
        try:
            return self._chunks.chunk(*unpack_samples(frame))
        except FrameUnreadable:
            return None

    async def run(self) -> None:
        """Follow the feed; open it again with back-off when the vehicle process restarts."""
        retry_s = FIRST_RETRY_S
        said_lost = False
        while True:
            try:
                async for message in self._vehicle.live(STREAMS):
                    if not self.connected:
                        self.connected, retry_s = True, FIRST_RETRY_S
                        if said_lost:
                            emit("live_data_restored")
                            said_lost = False
                        self._on_news({})
                        self._on_image({})
                    self._take(message)
            except VehicleAway as fault:
                self.connected = False
                self._withdraw()
                if not said_lost:
                    emit("live_data_lost", reason=str(fault))
                    said_lost = True
            await self._clock.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._take_samples(message)
            return
        try:
            parsed = json.loads(message)
            kind = str(parsed["type"])
        except (ValueError, KeyError, TypeError):
            return
        match kind:
            case "consultation":
                self._on_news(parsed)
            case "reading":
                self._reading(parsed)
            case "device":
                self._device(parsed)
            case "encounter":
                served = parsed.get("encounter")
                self._served = served.get("encounter") if isinstance(served, dict) else None
                self._look_who_is_served()
            case "gap":
                self._send(parsed)
            case "critical":
                self._critical(parsed)
            case "ecg_analysis":
                if not self.withheld:
                    self._send(parsed)
            case "ecg_findings":
                self._on_news({})
            case "capture" | "image_measurement":
                self._on_image(parsed)

    def _take_samples(self, frame: bytes) -> None:
        if self.withheld or not self._viewers:
            return
        try:
            device, samples = unpack_samples(frame)
        except FrameUnreadable:
            return
        if len(samples.counts):
            self._send_chunks(self._chunks.add(device, samples))

    def _reading(self, message: dict[str, Any]) -> None:
        """Live numbers go out; what was confirmed or rejected is in the case itself.

        The vehicle says ``reading`` for both: live numbers come with ``values``, a tile's change with its ``state``.
        """
        values = message.get("values")
        if message.get("state") in SETTLED:
            self._on_news({})
        elif message.get("live") and isinstance(values, dict) and not self.withheld:
            numbers = {name: message.get(name) for name in ("kind", "device", "values", "at")}
            self._numbers[str(message.get("device"))] = {"type": "reading", **numbers}
            self._send({"type": "reading", **numbers})

    def _critical(self, message: dict[str, Any]) -> None:
        """A value that turned out red goes to who watches at once, with nothing but its kind and numbers."""
        values = message.get("values")
        if isinstance(values, dict) and not self.withheld:
            self._send({"type": "critical", "kind": message.get("kind"), "values": values})

    def _device(self, message: dict[str, Any]) -> None:
        self._send_chunks(self._chunks.flush())
        device = str(message.get("device", ""))
        self._states[f"device/{device}"] = _text(message)
        self._send(message)
        if message.get("link", "connected") not in WORKING_LINKS or message.get("sensor") in SILENT_SENSORS:
            self._withdraw(device)

    def _look_who_is_served(self) -> None:
        if self.withheld or self._served is None:
            self._withdraw()
            self._chunks.forget()
        told = {"type": "someone_else", "served": self.withheld}
        if self._states.get("own/someone_else") != _text(told):
            self.tell(told)

    def _withdraw(self, device: str | None = None) -> None:
        """Take live numbers off the pages: those of ``device``, or all."""
        for name in [name for name in self._numbers if device in (None, name)]:
            shown = self._numbers.pop(name)
            self._send({**shown, "values": dict.fromkeys(shown["values"])})

    def _tell_form(self, number: int, form: SampleForm) -> None:
        told = {"type": "samples_form", "number": number, **asdict(form)}
        self._states[f"own/samples_form/{number}"] = _text(told)
        self._send(told)

    def _send_chunks(self, chunks: Iterable[LiveChunk]) -> None:
        for chunk in chunks:
            for viewer in tuple(self._viewers):
                viewer.send_frame(chunk, self._held)

    def _send(self, message: dict[str, Any]) -> None:
        text = _text(message)
        for viewer in tuple(self._viewers):
            viewer.send_message(text)


def _text(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)

"""A link, a receiver and an encoder in simulated time: what the transport does on it is exact and repeatable.

Events are ordered by time; nothing sleeps. The link has a capacity that changes at given moments, a bounded queue, a
delay and losses by pattern; the receiver answers as Chromium does: feedback every 50 ms, a NACK 20 ms after a gap.
"""

from __future__ import annotations

import heapq
import itertools
import random
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.cellular import DeliveryTrace, Place
from telemedicine.live_data import QUEUED_RTT_S
from telemedicine.media.ladder import SPARSE_BELOW_BPS
from telemedicine.media_engine import SPARES_BELOW_BIT_S, SPARES_UNTIL_BIT_S
from telemedicine.transport.aiortc_patches import BLIND_WINDOW_BYTES, CHECK_TIMEOUT_S, SCTP_RTO_MIN_S
from telemedicine.transport.feedback import DELTA_STEP_S, parse_feedback
from telemedicine.transport.media_uplink import CHECK_EVERY_S, CHECKS_AT_ONCE
from telemedicine.transport.path import PathState
from telemedicine.transport.uplink import Stream, Uplink

FRAME_S = 1 / 30
PACKET_BYTES = 1_200
HEADER_BYTES = 66
SOUND, SOUND_SPARING = (0.02, 64 + HEADER_BYTES), (0.06, 124 + HEADER_BYTES)
"""(seconds apart, bytes on the wire): what ``test_voice`` measures of speech, at most."""
ECG, ECG_SPARING = (0.05, 217 + 93), (0.2, 683 + 93)
"""The largest messages of a real record (``test_packed_samples``) with SCTP, DTLS, UDP and IPv4."""
SACK_BYTES, CHECK_BYTES = 110, 130
"""With UDP and IPv4: SCTP's acknowledgement in DTLS, a connectivity check and its answer."""
FEEDBACK_S = 0.050
LOOK_S = 0.025
BEGAN_S = 100.0
REMOTE_CLOCK_S = 40_000.0
"""The receiver's clock is somewhere else, so the reference time wraps now and then."""


@dataclass
class Radio:
    """The shared bottleneck. ``steps``: (from when, bit/s); a capacity of 0 is an outage, what is sent vanishes."""

    steps: Sequence[tuple[float, float]]
    delay_s: float = 0.025
    queue_bytes: int = 250_000
    loss: Callable[[], bool] = lambda: False
    jitter: Callable[[], float] = lambda: 0.0
    free_s: float = 0.0
    last_s: float = 0.0
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    dropped: int = 0

    def capacity_bit_s(self, now_s: float) -> float:
        return [rate for since_s, rate in self.steps if since_s <= now_s][-1]

    def gone(self, now_s: float) -> bool:
        """What is sent now vanishes."""
        return self.capacity_bit_s(now_s) <= 0

    def enter(self, size_bytes: int, now_s: float) -> tuple[float, float] | None:
        """(when it has left the queue, when it arrives), None when it is lost."""
        if self.gone(now_s) or self.loss():
            return None
        while self.waiting and self.waiting[0][0] <= now_s:
            self.waiting.popleft()
        if sum(size for _, size in self.waiting) + size_bytes > self.queue_bytes:
            self.dropped += 1
            return None
        self.free_s = self._served(size_bytes * 8, max(now_s, self.free_s))
        self.waiting.append((self.free_s, size_bytes))
        self.last_s = max(self.last_s, self.free_s + self.delay_s + self.jitter())
        return self.free_s, self.last_s

    def _served(self, bits: float, since_s: float) -> float:
        """When ``bits`` are through, at the capacity of each moment."""
        for index, (begins_s, rate) in enumerate(self.steps):
            ends_s = self.steps[index + 1][0] if index + 1 < len(self.steps) else float("inf")
            if ends_s <= since_s:
                continue
            begins_s = max(begins_s, since_s)
            if rate > 0:
                if bits <= rate * (ends_s - begins_s):
                    return begins_s + bits / rate
                bits -= rate * (ends_s - begins_s)
            since_s = ends_s
        return float("inf")


class TracedRadio(Radio):
    """A cellular link: what is sent waits for the next opportunities of the trace, which begins at ``BEGAN_S``."""

    def __init__(self, trace: DeliveryTrace, delay_s: float = 0.025) -> None:
        super().__init__([], delay_s)
        self.trace = trace
        self._place = Place()

    def gone(self, now_s: float) -> bool:
        return False

    def _served(self, bits: float, since_s: float) -> float:
        self._place = self.trace.served(self._place, int(bits) // 8, since_s - BEGAN_S)
        return BEGAN_S + self.trace.moment_s(self._place.index - 1)


@dataclass
class Packet:
    frame: int
    captured_s: float
    last: bool
    of: int
    key: bool = False
    again: bool = False
    number: int = 0
    before: int | None = None
    """The picture it was made from, None for a key frame."""


@dataclass
class Viewer:
    """What one page saw."""

    name: str
    arrivals: dict[int, float] = field(default_factory=dict)
    highest: int = -1
    told: int = 0
    feedback_count: int = 0
    parts: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    shown: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Stream -> (when, how old the picture was), in order of showing."""
    newest: dict[str, int] = field(default_factory=dict)
    ecg: list[tuple[float, float]] = field(default_factory=list)
    """(when, how old the first sample of the chunk was)"""
    sound: list[tuple[float, float]] = field(default_factory=list)
    got: list[tuple[float, int]] = field(default_factory=list)
    data_bytes: int = 0
    """Of the ECG, on their way as SCTP sees it."""
    checked_s: float = float("-inf")
    checks: int = 0


class Encoder:
    """30 pictures a second whose size follows the wanted rate in a tenth of a second (with a key frame at once) and
    varies by a third."""

    def __init__(self, chance: random.Random, activity: Callable[[float], float]) -> None:
        self._chance = chance
        self._activity = activity
        self._rate = 0.0
        self.key = True
        self.frames = 0
        self.newest: int | None = None

    def picture_bytes(self, wanted_bit_s: float, now_s: float) -> int:
        opened_anew = self.key or not self._rate
        self._rate += (1.0 if opened_anew else 0.3) * (wanted_bit_s - self._rate)
        size = self._rate * self._activity(now_s) / 8 * FRAME_S * self._chance.lognormvariate(-0.05, 0.3)
        return max(200, int(size * (4.0 if self.key else 1.0)))


class Simulation:
    """``run`` until a moment; then look at ``viewers``, ``log`` and the uplink."""

    def __init__(
        self,
        radio: Radio,
        viewers: int = 1,
        streams: Sequence[Stream] = (Stream("room", 1, 0.4, 150_000, 6_000_000),),
        first_bit_s: float = 2_000_000,
        activity: Callable[[float], float] = lambda now_s: 1.0,
        downlinks: dict[str, Radio] | None = None,
        ecg: bool = True,
        back: Radio | None = None,
    ) -> None:
        """``back`` is the way of the feedback; without it, it takes the radio's delay."""
        self.radio, self.downlinks, self._back = radio, downlinks or {}, back
        self.now_s = BEGAN_S
        self.uplink: Uplink[Packet] = Uplink(self.now_s, first_bit_s)
        self.viewers = {f"v{index}": Viewer(f"v{index}") for index in range(viewers)}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        chance = random.Random(5)
        self.encoders = {stream.name: Encoder(chance, activity) for stream in streams}
        self.log: list[tuple[float, float, float, float]] = []
        """(when, target, queue in the radio in s, picture rate of the first stream)"""
        self._pacing = self._spares = False
        self._left: dict[tuple[str, str, int], set[int]] = {}
        """Viewer, stream, picture -> its packets that were sent."""
        self._whole: set[tuple[str, str, int]] = set()
        """Pictures that were sent wholly, like all that they are made from."""
        self.began_s = self.now_s
        for stream in streams:
            self.uplink.add_stream(stream)
            self._at(self.now_s, lambda name=stream.name: self._capture(name))
        for name in self.viewers:
            self.uplink.add_path(name, [stream.name for stream in streams], self.now_s)
            self._at(self.now_s + 0.01, lambda name=name: self._sound(name))
            self._at(self.now_s + FEEDBACK_S, lambda name=name: self._feedback(name))
            if ecg:
                self._at(self.now_s, lambda name=name: self._ecg(name))
        self._at(self.now_s, self._look)

    def run(self, seconds: float) -> None:
        """Until ``seconds`` after the beginning."""
        until_s = self.began_s + seconds
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
        self.now_s = until_s

    # what is measured

    def ages_s(self, since_s: float, until_s: float, viewer: str = "v0", stream: str = "room") -> list[float]:
        """How old each picture was when it was shown, between two moments after the beginning."""
        shown = self.viewers[viewer].shown.get(stream, [])
        return [age_s for at_s, age_s in shown if since_s <= at_s - self.began_s < until_s]

    def longest_gap_s(self, since_s: float, until_s: float, viewer: str = "v0", stream: str = "room") -> float:
        shown = [at_s - self.began_s for at_s, _ in self.viewers[viewer].shown.get(stream, [])]
        moments = [since_s, *(at_s for at_s in shown if since_s < at_s < until_s), until_s]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    def late_s(self, since_s: float, until_s: float, bound_s: float) -> float:
        """Seconds (in steps of half a second) in which the median picture was older than ``bound_s``."""
        late, at_s = 0.0, since_s
        while at_s < until_s:
            ages = sorted(self.ages_s(at_s, at_s + 0.5))
            late += 0.5 * (not ages or ages[len(ages) // 2] > bound_s)
            at_s += 0.5
        return late

    def received_bit_s(self, since_s: float, until_s: float, viewer: str = "v0") -> float:
        got = self.viewers[viewer].got
        return sum(size for at_s, size in got if since_s <= at_s - self.began_s < until_s) * 8 / (until_s - since_s)

    def ecg_s(self, since_s: float, until_s: float, viewer: str = "v0") -> list[float]:
        return sorted(age for at_s, age in self.viewers[viewer].ecg if since_s <= at_s - self.began_s < until_s)

    def sound_s(self, since_s: float, until_s: float, viewer: str = "v0") -> list[float]:
        return sorted(age for at_s, age in self.viewers[viewer].sound if since_s <= at_s - self.began_s < until_s)

    def most_queue_s(self, since_s: float, until_s: float) -> float:
        return max(queue_s for at_s, _, queue_s, _ in self.log if since_s <= at_s - self.began_s < until_s)

    def target_bit_s(self, at_s: float) -> float:
        return [target for when_s, target, _, _ in self.log if when_s - self.began_s <= at_s][-1]

    # the van

    def _at(self, when_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), event))

    def _capture(self, stream: str) -> None:
        self._at(self.now_s + FRAME_S, lambda: self._capture(stream))
        encoder = self.encoders[stream]
        encoder.frames += 1
        wanted_bit_s = self.uplink.picture_bit_s(stream)
        sparse = wanted_bit_s < SPARSE_BELOW_BPS
        if not self.uplink.may_encode(stream, self.now_s) or (sparse and encoder.frames % 2):
            return
        size = encoder.picture_bytes(wanted_bit_s * (2 if sparse else 1), self.now_s)
        captured_s, frame, before = self.now_s, encoder.frames, None if encoder.key else encoder.newest
        encoder.key, encoder.newest = False, frame
        self._at(self.now_s + 0.012, lambda: self._packets(stream, frame, captured_s, size, before))

    def _packets(self, stream: str, frame: int, captured_s: float, size: int, before: int | None) -> None:
        count = max(1, -(-size // PACKET_BYTES))
        for name in self.viewers:
            for number in itertools.chain(*[range(count)] * (2 if self.uplink.doubled else 1)):
                packet = Packet(frame, captured_s, number == count - 1, count, number=number, before=before)
                self.uplink.put(name, stream, size // count + HEADER_BYTES, packet, self.now_s)
        self._pace()

    def _pace(self) -> None:
        while (departure := self.uplink.depart(self.now_s)) is not None:
            item, number = departure
            self._note_left(item.path, item.stream, item.packet)
            self._transmit(item.path, number, item.size_bytes, lambda at, item=item: self._received(item, at))
        wait_s = self.uplink.wait_s()
        if wait_s is not None and not self._pacing:
            self._pacing = True
            self._at(self.now_s + max(0.001, wait_s), self._pace_again)

    def _note_left(self, viewer: str, stream: str, packet: Packet) -> None:
        left = self._left.setdefault((viewer, stream, packet.frame), set())
        left.add(packet.number)
        if len(left) == packet.of and (packet.before is None or (viewer, stream, packet.before) in self._whole):
            self._whole.add((viewer, stream, packet.frame))

    def _pace_again(self) -> None:
        self._pacing = False
        self._pace()

    def _sound(self, viewer: str) -> None:
        every_s, size = SOUND_SPARING if self._sparing() else SOUND
        self._at(self.now_s + every_s, lambda: self._sound(viewer))
        number, sent_s = self.uplink.urgent(viewer, size, self.now_s), self.now_s
        heard = self.viewers[viewer].sound
        if number is not None:
            self._transmit(viewer, number, size, lambda at: heard.append((at, at - sent_s)))

    def _ecg(self, viewer: str) -> None:
        every_s, size = ECG_SPARING if self._sparing() else ECG
        self._at(self.now_s + every_s, lambda: self._ecg(viewer))
        page, oldest_s = self.viewers[viewer], self.now_s - every_s
        held = self._sparing() and self.uplink.facts()["rtt_s"] > QUEUED_RTT_S
        if held or page.data_bytes + size > BLIND_WINDOW_BYTES:
            return
        page.data_bytes += size

        def acknowledged() -> None:
            page.data_bytes -= size

        def arrive() -> None:
            page.ecg.append((self.now_s, self.now_s - oldest_s))
            self._back_through(SACK_BYTES, acknowledged)

        through = self._through(viewer, size)
        if through is None:
            self._at(self.now_s + SCTP_RTO_MIN_S, acknowledged)  # given up: it is never sent twice
        else:
            self._at(through, arrive)

    def _sparing(self) -> bool:
        """As ``telemedicine.van`` has it."""
        target = self.uplink.target_bit_s
        if target < SPARES_BELOW_BIT_S or target >= SPARES_UNTIL_BIT_S:
            self._spares = target < SPARES_BELOW_BIT_S
        return self._spares

    def _look(self) -> None:
        self._at(self.now_s + LOOK_S, self._look)
        first = next(iter(self.encoders))
        self.uplink.look(self.now_s)
        self._renew_pictures()
        for name in self.viewers:
            self._look_after(name)
        probe_bytes = self.uplink.probe_bytes
        if (probed := self.uplink.probe(self.now_s)) is not None:
            packet = Packet(-1, self.now_s, False, 1_000)
            for _ in range(-(-probe_bytes // PACKET_BYTES)):
                self.uplink.put(
                    probed, first, PACKET_BYTES + HEADER_BYTES, packet, self.now_s, again=True, padding=True
                )
        queue_s = max(0.0, min(60.0, self.radio.free_s - self.now_s))
        self.log.append((self.now_s, self.uplink.target_bit_s, queue_s, self.uplink.picture_bit_s(first)))
        self._pace()

    def _look_after(self, name: str) -> None:
        """As ``MediaUplink`` checks a connection whose feedback is late."""
        page, asked_s = self.viewers[name], self.now_s
        due = self.now_s - page.checked_s >= CHECK_EVERY_S and page.checks < CHECKS_AT_ONCE
        if not due or not self.uplink.overdue(name, self.now_s):
            return
        page.checked_s, page.checks = self.now_s, page.checks + 1
        open_checks = [True]

        def answered() -> None:
            if open_checks.pop() if open_checks else False:
                page.checks -= 1
                if self.uplink.on_check(name, asked_s, self.now_s):
                    self._renew_pictures()
                    self._pace()

        def failed() -> None:
            if open_checks:
                open_checks.clear()
                page.checks -= 1
                self.uplink.check_failed(name)

        through = self._through(name, CHECK_BYTES)
        if through is not None:
            self._at(through, lambda: self._back_through(CHECK_BYTES, answered))
        self._at(self.now_s + CHECK_TIMEOUT_S, failed)

    def _renew_pictures(self) -> None:
        for encoder in self.encoders.values() if self.uplink.due_key_frames(self.now_s) else ():
            encoder.key = True

    # the network

    def _through(self, viewer: str, size: int) -> float | None:
        passed = self.radio.enter(size, self.now_s)
        own = self.downlinks.get(viewer)
        if passed is None or own is None:
            return None if passed is None or passed[1] == float("inf") else passed[1]
        further = own.enter(size, passed[1])
        return None if further is None else further[1]

    def _transmit(self, viewer: str, number: int, size: int, arrives: Callable[[float], None]) -> None:
        arrives_s = self._through(viewer, size)
        if arrives_s is None:
            return

        def arrive() -> None:
            page = self.viewers[viewer]
            number_now = number + (page.highest - number + 32768) // 65536 * 65536
            page.arrivals[number_now] = self.now_s
            page.highest = max(page.highest, number_now)
            page.got.append((self.now_s, size))
            arrives(self.now_s)

        self._at(arrives_s, arrive)

    # the page

    def _received(self, item: object, at_s: float) -> None:
        packet, viewer, stream = item.packet, self.viewers[item.path], item.stream  # type: ignore[attr-defined]
        parts = viewer.parts.setdefault((stream, packet.frame), set())
        parts.add(packet.number)
        whole = len(parts) == packet.of and (item.path, stream, packet.frame) in self._whole  # type: ignore[attr-defined]
        if whole and packet.frame > viewer.newest.get(stream, -1):
            viewer.newest[stream] = packet.frame
            viewer.shown.setdefault(stream, []).append((at_s, at_s - packet.captured_s))

    def _feedback(self, name: str) -> None:
        self._at(self.now_s + FEEDBACK_S, lambda: self._feedback(name))
        viewer = self.viewers[name]
        if viewer.highest < viewer.told:
            return
        first, last = viewer.told, viewer.highest
        known = {number: viewer.arrivals.pop(number, None) for number in range(first, last + 1)}
        viewer.told = last + 1
        message = feedback_message(
            first, [None if at is None else at + REMOTE_CLOCK_S for at in known.values()], viewer.feedback_count
        )
        viewer.feedback_count = (viewer.feedback_count + 1) % 256
        self._back_through(len(message) + HEADER_BYTES, lambda: self._heard(name, message))

    def _back_through(self, size_bytes: int, arrives: Callable[[], None]) -> None:
        if self._back is not None:
            passed = self._back.enter(size_bytes, self.now_s)
            if passed is not None and passed[1] != float("inf"):
                self._at(passed[1], arrives)
        elif not self.radio.gone(self.now_s):
            self._at(self.now_s + self.radio.delay_s, arrives)

    def _heard(self, name: str, message: bytes) -> None:
        self.uplink.on_feedback(name, parse_feedback(message), self.now_s)
        self._renew_pictures()
        self._pace()


def feedback_message(first: int, arrivals_s: Sequence[float | None], count: int) -> bytes:
    """A message as a receiver writes it (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1), status vectors of
    two bits each; arrival times in seconds on the receiver's clock."""
    came = [at for at in arrivals_s if at is not None]
    reference = int((came[0] if came else 0.0) / 0.064)
    steps = round(reference * 0.064 / DELTA_STEP_S)
    symbols, deltas = [], b""
    for at in arrivals_s:
        if at is None:
            symbols.append(0)
            continue
        delta = round(at / DELTA_STEP_S) - steps
        steps += delta
        symbols.append(1 if 0 <= delta < 256 else 2)
        deltas += struct.pack("!B", delta) if 0 <= delta < 256 else struct.pack("!h", delta)
    chunks = b""
    for begin in range(0, len(symbols), 7):
        part = (symbols[begin : begin + 7] + [0] * 7)[:7]
        chunks += struct.pack("!H", 0xC000 | sum(symbol << (12 - 2 * place) for place, symbol in enumerate(part)))
    head = struct.pack("!HH", first % 65536, len(symbols)) + (reference % (1 << 24)).to_bytes(3, "big")
    return head + bytes([count]) + chunks + deltas


__all__ = ["Packet", "PathState", "Radio", "Simulation", "Stream", "Viewer", "feedback_message"]

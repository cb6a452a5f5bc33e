"""OpenBCI Cyton (ADS1299) as a 12-lead ECG of open hardware: 250 Hz over its USB dongle, 115200 8N1.

Wiring, for the board's default settings (gain 24, all channels against SRB2): SRB2 = RA, BIAS = RL, N1P = LA,
N2P = LL, N3P to N8P = V1 to V6. So channel 1 is lead I, channel 2 lead II, and V1..V6 are channel - (I + II) / 3:
Wilson's central terminal, reckoned. Channels that are not wired stand at the end of the converter: told as off.

Host: ``s`` stops, ``v`` resets to the default settings and answers with text that ends in ``$$$``, ``b`` starts.
Nothing else is ever sent: other letters change gain, inputs or rate. Frame, 33 bytes:

=====  =============================================================================================================
0      A0
1      sample number, 0..255
2-25   eight channels, i24 BE: 4.5 V / 24 / (2^23 - 1) = 0.0224 uV; 7FFFFF and 800000: at the end of the converter
26-31  three words that are not used (acceleration, or what the user's firmware puts there)
32     C0 to C6
=====  =============================================================================================================

No checksum. A frame whose number does not follow waits for the next one: if that goes on from it, frames were lost on
the air and are counted; if that goes on from the one before, the frame was spoiled and is a gap.

The ADS1299 measures from 0 Hz over +-187 mV: see ``devices.ac_coupling`` for what is taken off and why it fits.

Source: OpenBCI documentation "Cyton Data Format", openbci-archive/OpenBCI_Python (MIT). The use as a 12-lead ECG is
ours. Not tried on hardware by us, and no medical device.
"""

from __future__ import annotations

import re
import struct
from typing import ClassVar

from devices.ac_coupling import AcCoupling
from devices.driver import About, Counters, Metric, Output, SerialLine, Write
from devices.framing import Frame
from devices.identity import Identity
from devices.readings import INVALID_COUNT, Event
from devices.sample_clock import SampleClock
from devices.sized_frames import SizedFramer
from devices.steady import LEADS_SETTLED_S, SteadyLeads
from devices.wave_chunks import WaveChunks

CHANNELS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLE_RATE_HZ = 250.0
UV_PER_COUNT = 4.5e6 / 24 / (2**23 - 1)
FRAME_BYTES = 33
HEAD, TAILS = b"\xa0", range(0xC0, 0xC7)
RAILS = (2**23 - 1, -(2**23))

STOP, RESET, START = b"s", b"v", b"b"
TEXT = range(0x09, 0x7F)
READY = b"$$$"
TEXT_BYTES = 512
"""What is kept of the answer to a reset."""
RESET_WITHIN_S = 3.0
"""A board whose answer was missed is started all the same."""
LOST_S = 0.25


class Driver:
    about: ClassVar[About] = About(
        title_zh="OpenBCI Cyton 十二导联心电",
        title_en="OpenBCI Cyton as a 12-lead ECG",
        models=("OpenBCI Cyton (8 channels, firmware 3)",),
        metrics=(Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),),
        line=SerialLine(115200, dtr=True),
        source="OpenBCI Cyton Data Format; OpenBCI_Python (MIT); hardware/protocols/openbci_cyton.md",
        usb_ids=("0403:6015",),
        lost_after_s=5.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (STOP, RESET, START)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = SizedFramer(
            HEAD, lambda held: FRAME_BYTES, lambda frame: frame[-1] in TAILS, FRAME_BYTES, self.counters
        )
        self._wave = WaveChunks("ecg", CHANNELS, SAMPLE_RATE_HZ, 1.0, "uV", self.counters)
        self._coupling = AcCoupling(len(CHANNELS), SAMPLE_RATE_HZ)
        self._leads = SteadyLeads(round(LEADS_SETTLED_S * SAMPLE_RATE_HZ))
        self._quiet = False
        self._begin()

    def open(self) -> Output:
        self._framer.reset()
        self._wave.begin()
        self._begin()
        return Output(writes=[Write(STOP), Write(RESET, after_s=0.2)])

    def close(self) -> Output:
        self._framer.reset()
        return Output(writes=[Write(STOP)])

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        if not self._started:
            chunk = self._listen(chunk, output)
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Frame):
                self._take(piece.payload, output.events)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if not self._started:
            self._waited_s += elapsed_s
            if self._waited_s >= RESET_WITHIN_S:
                self._start(output)
        if self._quiet:
            self._wave.publish(output.events)
        self._quiet = True
        if self._clock.lost(elapsed_s, self._wave.taken):
            self.counters.gaps += 1
            self._wave.publish(output.events)
            self._begin_segment()
        return output

    def _begin(self) -> None:
        self.identity: Identity | None = None
        self._text = b""
        self._started = False
        self._waited_s = 0.0
        self._quiet = False
        self._leads.begin()
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._wave.begin()
        self._coupling.begin()
        self._clock = SampleClock(SAMPLE_RATE_HZ, LOST_S * SAMPLE_RATE_HZ)
        self._expected: int | None = None
        self._doubtful: bytes | None = None

    def _listen(self, chunk: bytes, output: Output) -> bytes:
        """The text after a reset, up to ``$$$``; returns what follows it.

        A stream from before, of who knows which settings, is passed over: its bytes that are no text count as dropped.
        """
        text, ready, rest = (self._text + chunk).partition(READY)
        self.counters.dropped_bytes += sum(byte not in TEXT for byte in text[len(self._text) :])
        self._text = text[-TEXT_BYTES:]
        if ready:
            said = self._text.decode("ascii", "replace")
            firmware = re.search(r"Firmware: *(v[\w.]+)", said)
            model = re.search(r"OpenBCI V3[\w -]*", said)
            if model:
                self.identity = Identity("OpenBCI", model[0].strip(), firmware=firmware[1] if firmware else "")
            self._start(output)
        return rest

    def _start(self, output: Output) -> None:
        self._started = True
        self._text = b""
        output.writes.append(Write(START))

    def _take(self, frame: bytes, events: list[Event]) -> None:
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None:
            self._resolve(doubtful, frame[1], events)
        if self._expected in (None, frame[1]):
            self._append(frame, events)
        else:
            self._doubtful = frame

    def _resolve(self, doubtful: bytes, following: int, events: list[Event]) -> None:
        """A frame out of order: right if the next one goes on from it, else spoiled."""
        expected = self._expected or 0
        if following == (doubtful[1] + 1) % 256:
            self._wave.lose((doubtful[1] - expected) % 256, events)
            self._append(doubtful, events)
        else:
            self.counters.gaps += 1
            self._wave.append(None, events)
            self._expected = (expected + 1) % 256

    def _append(self, frame: bytes, events: list[Event]) -> None:
        self._expected = (frame[1] + 1) % 256
        row = self._coupling.row(leads_uv(counts_of(frame)))
        self._wave.append(row, events)
        off = tuple(lead for lead, count in zip(CHANNELS, row, strict=True) if count == INVALID_COUNT)
        self._leads.look(off, events)


def counts_of(frame: bytes) -> tuple[int, ...]:
    """The eight channels of a frame as they stand in it."""
    return tuple(struct.unpack(">i", frame[at : at + 3] + b"\x00")[0] >> 8 for at in range(2, 26, 3))


def leads_uv(counts: tuple[int, ...]) -> list[float | None]:
    """I, II, V1..V6 in microvolts; None where a channel that is needed stands at the end of the converter."""
    channels = [None if count in RAILS else count * UV_PER_COUNT for count in counts]
    left, leg = channels[0], channels[1]
    if left is None or leg is None:
        return [left, leg, *([None] * 6)]
    terminal = (left + leg) / 3
    return [left, leg, *(None if chest is None else chest - terminal for chest in channels[2:])]

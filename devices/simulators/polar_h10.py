"""Twin of the Polar H10, and the strap around it: heart rate each second, ECG in frames of 73 samples once started."""

from __future__ import annotations

import asyncio
import struct

import numpy as np
import numpy.typing as npt
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.link import LocalLink

from devices.clock import Clock
from devices.drivers import polar_h10 as wire
from devices.sig_heart_rate import MEASUREMENT
from devices.simulators.bluetooth_peripheral import Peripheral
from devices.simulators.ecg_source import EcgSource
from devices.simulators.lead_source import LeadSource

STEP_S = 0.05
STARTED_NS = 849_000_000 * wire.NS_PER_S
"""Some day of 2026 by the strap's clock."""
REMEMBERED_SAMPLES = 60 * 130
Properties = Characteristic.Properties
Closed = Characteristic.Permissions(0)


class PolarH10Twin:
    def __init__(self, source: EcgSource) -> None:
        self.heart_rate_bpm = 64
        self.contact = True
        self.refuses = 0
        """Error code with which a start is answered; 0: none."""
        self.lost_frames = 0
        """So many of the next ECG frames never arrive."""
        self._source = LeadSource(source, wire.SAMPLE_RATE_HZ)
        self._remembered = np.empty(0, np.int16)
        self.power_on()

    @property
    def streaming(self) -> bool:
        return self._streaming

    def power_on(self) -> None:
        self._streaming = False
        self._taken = 0
        self._owed_samples = 0.0
        self._since_rate_s = 1.0

    def control(self, written: bytes) -> bytes:
        """The answer of the control point."""
        error = self.refuses
        if written == wire.START and not error:
            error = wire.RUNS_ALREADY if self._streaming else wire.DONE
            self._streaming = True
        elif written == wire.STOP:
            self._streaming = False
        return bytes((wire.RESPONSE, written[0], written[1], error, 0))

    def advance(self, elapsed_s: float) -> list[tuple[str, bytes]]:
        """(characteristic, value) of what is notified."""
        said: list[tuple[str, bytes]] = []
        self._since_rate_s += elapsed_s
        if self._since_rate_s >= 1.0:
            self._since_rate_s -= 1.0
            said.append((MEASUREMENT, self._rate()))
        self._owed_samples += elapsed_s * wire.SAMPLE_RATE_HZ * self._streaming
        while self._owed_samples >= wire.USUAL_SAMPLES:
            self._owed_samples -= wire.USUAL_SAMPLES
            frame = self._frame()
            if self.lost_frames:
                self.lost_frames -= 1
            else:
                said.append((wire.DATA, frame))
        return said

    def sent(self, last: int) -> npt.NDArray[np.int16]:
        """The last samples in frames, lost ones too, in the driver's units, shape (n, 1)."""
        return self._remembered[-last:].reshape(-1, 1)

    @property
    def samples_sent(self) -> int:
        return len(self._remembered)

    def _rate(self) -> bytes:
        intervals = b"" if not self.contact else struct.pack("<H", round(1024 * 60 / self.heart_rate_bpm))
        flags = 0x04 | self.contact << 1 | bool(intervals) << 4
        return bytes((flags, self.heart_rate_bpm if self.contact else 0)) + intervals

    def _frame(self) -> bytes:
        counts = np.round(self._source.next_uv(wire.USUAL_SAMPLES)[:, 0]).astype(np.int16)
        self._remembered = np.concatenate([self._remembered, counts])[-REMEMBERED_SAMPLES:]
        self._taken += len(counts)
        last_ns = STARTED_NS + round(self._taken / wire.SAMPLE_RATE_HZ * wire.NS_PER_S)
        samples = b"".join(int(count).to_bytes(3, "little", signed=True) for count in counts)
        return wire.HEAD.pack(wire.ECG, last_ns, wire.FRAME_TYPE) + samples


class PolarH10Strap(Peripheral):
    """Advertises its heart-rate service whenever nobody is connected."""

    def __init__(self, link: LocalLink, clock: Clock, twin: PolarH10Twin, address: str) -> None:
        self.twin = twin
        self._clock = clock
        self._on = False
        self._pacing: asyncio.Task[None] | None = None
        self._rate = Characteristic(UUID.from_16_bits(0x2A37), Properties.NOTIFY, Closed, b"")
        heart_rate = Service(UUID.from_16_bits(0x180D), [self._rate])
        super().__init__(link, "Polar H10 0012AB34", address, heart_rate, battery_percent=90, passkey=None)
        self._control: Characteristic[bytes] = Characteristic(
            UUID(wire.CONTROL),
            Properties.WRITE | Properties.INDICATE,
            Characteristic.Permissions.WRITEABLE,
            CharacteristicValue(write=self._on_control),
        )
        self._data = Characteristic(UUID(wire.DATA), Properties.NOTIFY, Closed, b"")
        measuring = UUID("FB005C80-02E7-F387-1CAD-8ACD2D8DF0C8")
        self._device.add_services([Service(measuring, [self._control, self._data])])

    async def switch_on(self) -> None:
        self._on = True
        self.twin.power_on()
        await self.advertise()

    async def withdraw(self) -> None:
        self._on = False
        await super().withdraw()

    def on_hung_up(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
            self._pacing = None
        self.twin.power_on()
        if self._on:
            self.spawn(self.advertise())

    def _on_connection(self, connection: Connection) -> None:
        super()._on_connection(connection)
        self._pacing = self.spawn(self._pace())

    def _on_control(self, connection: Connection, written: bytes) -> None:
        answer = self.twin.control(bytes(written))
        self.spawn(self.indicate(self._control, answer))

    async def _pace(self) -> None:
        before_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic_s()
            for name, value in self.twin.advance(now_s - before_s):
                characteristic = self._data if name == wire.DATA else self._rate
                if self.is_subscribed(characteristic):
                    await self.notify(characteristic, value)
            before_s = now_s

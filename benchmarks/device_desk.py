"""Eight simulated devices in a process of their own, so that their cost is not taken for the van's.

``python -m benchmarks.device_desk FOLDER``: ptys FOLDER/ecg (12 leads, 500 Hz), FOLDER/single (one lead), FOLDER/
oximeter-1 and -2, and four Bluetooth meters that measure in turn, behind a bus whose address goes into FOLDER/bus. Says
READY on stdout, works until stdin is closed, then writes FOLDER/written.json: for each write of the 12-lead ECG, by
CLOCK_MONOTONIC, how many samples of the stream had been written by then.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import count
from pathlib import Path

from devices.clock import Clock, SystemClock
from devices.simulators.berry_bci import BerryTwin
from devices.simulators.bluetooth_meters import BluetoothMeters
from devices.simulators.bluetooth_profiles import Scale, Thermometer
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPiTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.twin import Twin

MEASURE_EVERY_S = 2.0
HEAD_START_S = 3.0
"""The screens show one ECG, that which came first: the single lead is touched only once the 12-lead ECG streams."""


class TimedEcg(ContecEcgTwin):
    """Notes when how much of the stream was written; a new stream begins a new list."""

    def __init__(self) -> None:
        super().__init__(SynthesisedEcg(seed=12))
        self.written: list[tuple[float, int]] = []
        self.began_s = 0.0

    def receive(self, chunk: bytes) -> bytes:
        was_streaming = self.streaming
        answer = super().receive(chunk)
        if self.streaming and not was_streaming:
            self.written, self.began_s = [], time.monotonic()
        return answer

    def advance(self, elapsed_s: float) -> bytes:
        chunk = super().advance(elapsed_s)
        if chunk:
            self.written.append((time.monotonic(), self.samples_sent))
        return chunk


class SecondEcg(HealthyPiTwin):
    """One lead, held by somebody while the other ECG streams."""

    def __init__(self, first: TimedEcg) -> None:
        super().__init__(SynthesisedEcg(seed=13))
        self._first = first

    def advance(self, elapsed_s: float) -> bytes:
        later = time.monotonic() - self._first.began_s > HEAD_START_S
        self.person.electrodes_on = self._first.streaming and later
        return super().advance(elapsed_s)


async def main(folder: Path) -> None:
    clock: Clock = SystemClock()
    ecg, berry, contec = TimedEcg(), BerryTwin(), Cms50Twin()
    berry.put_finger(Finger(97, 71))
    contec.put_finger(Finger(96, 74))
    single = SecondEcg(ecg)
    twins: dict[str, Twin] = {"ecg": ecg, "single": single, "oximeter-1": contec, "oximeter-2": berry}
    ports = [PtyPort(folder / name, twin, clock) for name, twin in twins.items()]
    (folder / "bluetooth").mkdir()
    meters = BluetoothMeters(folder / "bluetooth", clock)
    (folder / "bus").write_text(await meters.start())
    thermometer, scale = Thermometer(meters.radio, clock), Scale(meters.radio, clock)
    measuring = asyncio.create_task(measure_in_turn(meters, thermometer, scale))
    for port in ports:
        port.attach()
    print("READY", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    measuring.cancel()
    await asyncio.gather(measuring, return_exceptions=True)
    for port in ports:
        port.detach()
    for meter in (thermometer, scale):
        await meter.withdraw()
    await meters.stop()
    lost = sum(port.lost_bytes for port in ports)
    (folder / "written.json").write_text(json.dumps({"writes": ecg.written, "lost_bytes": lost}))


async def measure_in_turn(meters: BluetoothMeters, thermometer: Thermometer, scale: Scale) -> None:
    for turn in count():
        match turn % 4:
            case 0:
                await meters.glucose(5.0 + turn % 7 / 10)
            case 1:
                await meters.blood_pressure(120 + turn % 10, 80, 72)
            case 2:
                await thermometer.measure(36.5)
            case _:
                await scale.measure(62.5)
        await asyncio.sleep(MEASURE_EVERY_S)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

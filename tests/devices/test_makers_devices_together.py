"""Devices of five makers' protocols at once over one radio, hung up again and again: each keeps to its own driver."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon

from devices import catalog
from devices.driver import GattUse
from devices.readings import Link, PulseOximetry
from devices.simulators.contec_cms50 import Finger
from devices.simulators.contec_cms50d_bt import Cms50dBtTwin
from devices.simulators.creative_oximeter import CreativeOximeterTwin
from devices.simulators.creative_pc300 import Pc300Twin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.sinocare_ba80x import Ba80xTwin
from devices.simulators.sinocare_meter import SinocareMeterTwin
from devices.simulators.stream_peripheral import StreamPeripheral
from devices.simulators.twin import Twin

SHOWN = datetime(2026, 11, 22, 8, 30)  # noqa: DTZ001  what devices show has no zone
HANG_UPS = 12
PAUSE_S = 0.4

NAMES = {
    "creative_oximeter": "PC-60F_SN1",
    "creative_pc300": "PC_300SNT",
    "contec_cms50d_bt": "SpO2080971",
    "sinocare_ba80x": "ClinkBlood",
    "sinocare_meter": "SN-GA3-01",
}
"""Driver -> what its device is called."""
SPO2 = {"creative_oximeter": 96, "creative_pc300": 93, "contec_cms50d_bt": 98}


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        bench.meters.bluez.mtu = 23
        yield bench


async def put(bench: Bench, driver: str, twin: Twin) -> StreamPeripheral:
    """Switched on, and waited for by a session that is called like the driver."""
    use = catalog.about(driver).lines(GattUse)[0]
    if not use.service:  # no source names it
        use = replace(use, service="FFE0", subscribe=("FFE1",), write="FFE2")
    bench.attach(called(driver), driver=driver)
    address = f"F0:F1:F2:05:00:{list(NAMES).index(driver):02X}"
    return await bench.put(StreamPeripheral(bench.meters.radio, bench.hub.clock, twin, NAMES[driver], address, use))


def called(driver: str) -> str:
    return driver.replace("_", "-")


@needs_dbus_daemon
async def test_each_keeps_to_its_own_driver_however_often_the_radio_fails(bench: Bench) -> None:
    oximeter, case, finger_clip = CreativeOximeterTwin(), Pc300Twin(SynthesisedEcg()), Cms50dBtTwin()
    cuff, meter = Ba80xTwin(), SinocareMeterTwin()
    twins: dict[str, Twin] = dict(zip(NAMES, (oximeter, case, finger_clip, cuff, meter), strict=True))
    devices = [await put(bench, driver, twin) for driver, twin in twins.items()]

    def all_connected() -> bool:
        return all(bench.link(called(driver)) is Link.CONNECTED for driver in NAMES)

    await bench.until(all_connected)
    chance = random.Random(5)
    for _ in range(HANG_UPS):
        for device in chance.sample(devices, chance.choice((1, 1, 2, len(devices)))):
            await device.hang_up()
        await asyncio.sleep(chance.random() * PAUSE_S)
    await bench.until(all_connected)

    oximeter.put_finger(Finger(SPO2["creative_oximeter"], 70))
    case.put_finger(Finger(SPO2["creative_pc300"], 70))
    finger_clip.put_finger(Finger(SPO2["contec_cms50d_bt"], 70))
    cuff.measure(151, 93, 71, SHOWN)
    meter.glucose(7.9, SHOWN)
    await bench.until(lambda: all(bench.events(called(driver), PulseOximetry) for driver in SPO2))
    await bench.until(lambda: bench.pressures() and bench.glucose("sinocare-meter"))

    for driver, spo2_percent in SPO2.items():
        told = {said.spo2_percent for said in bench.events(called(driver), PulseOximetry)}
        assert told <= {spo2_percent, None}
    assert bench.pressures("sinocare-ba80x") == bench.pressures()
    assert [said.systolic_mmhg for said in bench.pressures()] == [151]
    assert [said.glucose_mmol_l for said in bench.glucose("sinocare-meter")] == [7.9]
    assert {bench.fault(called(driver)) for driver in NAMES} == {None}

"""ECG devices with fewer leads or other rates, through a session: the very samples arrive, whatever carries them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon

from devices import catalog
from devices.clock import SystemClock
from devices.driver import GattUse
from devices.readings import (
    INVALID_COUNT,
    BloodPressure,
    DeviceState,
    HeartRate,
    Link,
    PulseOximetry,
    Samples,
    Sensor,
    Stamped,
    Temperature,
)
from devices.session import DeviceSettings, open_sessions
from devices.simulators.aoj_20a import Aoj20aTwin
from devices.simulators.creative_pc80b import Pc80bTwin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPi5Twin, HealthyPiTwin, Person
from devices.simulators.openbci_cyton import CytonTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.stream_peripheral import StreamPeripheral
from devices.simulators.twin import Twin
from devices.simulators.viatom import Bp2Twin, CuffResult, Er1Twin, O2RingTwin, Worn

PATIENCE_S = 30.0
CLOCK = SystemClock()


class Listener:
    """What a session published, and a way to wait for it."""

    def __init__(self) -> None:
        self.heard: list[Stamped] = []
        self._more = asyncio.Event()

    def publish(self, stamped: Stamped) -> None:
        self.heard.append(stamped)
        self._more.set()

    def events(self, kind: type) -> list[Any]:
        return [stamped.event for stamped in self.heard if isinstance(stamped.event, kind)]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not done():
                self._more.clear()
                await self._more.wait()

    async def samples(self, n: int) -> list[Samples]:
        await self.until(lambda: sum(len(samples.counts) for samples in self.events(Samples)) >= n)
        return self.events(Samples)


@asynccontextmanager
async def plugged(port: Path, twin: Twin) -> AsyncIterator[None]:
    pty = PtyPort(port, twin, CLOCK)
    pty.attach()
    try:
        yield
    finally:
        pty.detach()


@asynccontextmanager
async def attended(port: Path, driver: str) -> AsyncIterator[Listener]:
    """A session at the port; at the end it is cancelled and has said good-bye."""
    listener = Listener()
    settings = DeviceSettings(name="ecg-1", driver=driver, link="serial", port=str(port))
    (session,) = open_sessions([settings], listener.publish, CLOCK, hub=None)
    running = asyncio.create_task(session.run())
    try:
        yield listener
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("driver", "twin_of"),
    [
        pytest.param("healthypi_v4", HealthyPiTwin, id="healthypi_v4"),
        pytest.param("healthypi_v5", HealthyPi5Twin, id="healthypi_v5"),
    ],
)
async def test_a_board_that_runs_free_is_a_single_lead_ecg_and_an_oximeter(
    tmp_path: Path, driver: str, twin_of: Any
) -> None:
    twin = twin_of(SynthesisedEcg(seed=7))
    async with plugged(tmp_path / "ecg", twin), attended(tmp_path / "ecg", driver) as listener:
        await listener.until(lambda: PulseOximetry(98, None) in listener.events(PulseOximetry))
        chunks = await listener.samples(256)
        twin.person = Person(spo2_percent=None, heart_rate_bpm=None)
        await listener.until(lambda: PulseOximetry(None, None) in listener.events(PulseOximetry))
        await listener.until(lambda: HeartRate(None) in listener.events(HeartRate))
    assert {(chunk.stream, chunk.channels, chunk.unit, chunk.segment) for chunk in chunks} == {("ecg", ("I",), "uV", 1)}
    counts = np.concatenate([chunk.counts for chunk in chunks])
    sent = twin.sent(twin.samples_sent)
    start = next(at for at in range(len(sent)) if np.array_equal(sent[at : at + 100], counts[:100]))
    assert np.array_equal(counts, sent[start : start + len(counts)])


async def test_a_cyton_is_started_streams_twelve_leads_and_is_stopped(tmp_path: Path) -> None:
    twin = CytonTwin(SynthesisedEcg(seed=7))
    async with plugged(tmp_path / "ecg", twin):
        async with attended(tmp_path / "ecg", "openbci_cyton") as listener:
            chunks = await listener.samples(250)
            assert chunks[0].channels == ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
            assert not any((chunk.counts == INVALID_COUNT).any() for chunk in chunks)
            twin.leads_off = frozenset({"V6"})
            await listener.until(
                lambda: any(
                    (state.link, state.sensor, state.leads_off) == (Link.CONNECTED, Sensor.LEAD_OFF, ("V6",))
                    for state in listener.events(DeviceState)
                )
            )
            assert twin.streaming
        async with asyncio.timeout(PATIENCE_S):
            while twin.streaming:  # noqa: ASYNC110  a twin has no event to wait for
                await asyncio.sleep(0.01)


async def test_a_pc80b_on_a_serial_port_is_granted_its_session(tmp_path: Path) -> None:
    twin = Pc80bTwin(SynthesisedEcg(seed=7))
    async with plugged(tmp_path / "ecg", twin), attended(tmp_path / "ecg", "creative_pc80b") as listener:
        chunks = await listener.samples(300)
        await listener.until(lambda: HeartRate(72) in listener.events(HeartRate))
    counts = np.concatenate([chunk.counts for chunk in chunks])
    assert np.array_equal(counts, twin.sent(twin.samples_sent)[: len(counts)])


# over Bluetooth


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


async def on_the_air(bench: Bench, device: str, driver: str, name: str, twin: Twin) -> StreamPeripheral:
    """The twin as a peripheral under its name, and a session that looks for it."""
    (use,) = catalog.about(driver).lines(GattUse)
    address = "F0:F1:F2:00:0C:01"
    peripheral = await bench.put(StreamPeripheral(bench.meters.radio, bench.hub.clock, twin, name, address, use))
    bench.attach(device, driver=driver)
    return peripheral


def counts_of(bench: Bench, device: str) -> Any:
    """All samples so far as they came."""
    return np.concatenate([np.empty((0, 1), np.int16), *(s.counts for s in bench.events(device, Samples))])


@needs_dbus_daemon
@pytest.mark.parametrize("mtu", [23, 247])
@pytest.mark.parametrize(
    ("driver", "name", "twin_of"),
    [
        pytest.param("creative_pc80b", "PC80B-BLE", Pc80bTwin, id="creative_pc80b"),
        pytest.param("viatom_er1", "ER1 0012", Er1Twin, id="viatom_er1"),
    ],
)
async def test_the_very_samples_arrive_over_bluetooth(
    bench: Bench, mtu: int, driver: str, name: str, twin_of: Any
) -> None:
    bench.meters.bluez.mtu = mtu
    twin = twin_of(SynthesisedEcg(seed=7))
    await on_the_air(bench, "ecg-1", driver, name, twin)
    await bench.until(lambda: len(counts_of(bench, "ecg-1")) >= 150)
    await bench.until(lambda: bench.events("ecg-1", HeartRate))
    counts = counts_of(bench, "ecg-1")
    sent = twin.sent() if isinstance(twin, Er1Twin) else twin.sent(twin.samples_sent)
    assert np.array_equal(counts, sent[: len(counts)])
    assert bench.link("ecg-1") is Link.CONNECTED


@needs_dbus_daemon
async def test_a_connection_that_drops_amid_a_frame_comes_back_as_a_new_segment(bench: Bench) -> None:
    bench.meters.bluez.mtu = 23
    peripheral = await on_the_air(bench, "ecg-1", "creative_pc80b", "PC80B-BLE", Pc80bTwin(SynthesisedEcg(seed=7)))
    for drops in range(3):
        await bench.until(lambda drops=drops: len({wave.segment for wave in bench.events("ecg-1", Samples)}) > drops)
        await peripheral.hang_up()
        peripheral.twin.power_on()
    firsts: dict[int, int] = {}
    for wave in bench.events("ecg-1", Samples):
        firsts.setdefault(wave.segment, wave.first_index)
    assert set(firsts.values()) == {0}
    assert len(firsts) >= 3


@needs_dbus_daemon
async def test_a_bp2_measures_a_pressure_and_then_an_ecg(bench: Bench) -> None:
    twin = Bp2Twin(SynthesisedEcg(seed=7))
    await on_the_air(bench, "cuff-1", "viatom_bp2", "BP2 0012", twin)
    await bench.until(lambda: bench.link("cuff-1") is Link.CONNECTED)
    twin.inflate()
    twin.finish(CuffResult(141, 88, 105, 77))
    await bench.until(lambda: bench.pressures("cuff-1") == [BloodPressure(141.0, 88.0, 105.0, 77.0)])
    twin.touched(True)
    await bench.until(lambda: len(counts_of(bench, "cuff-1")) >= 250)
    twin.touched(False)
    await bench.until(lambda: HeartRate(None) in bench.events("cuff-1", HeartRate))
    counts = counts_of(bench, "cuff-1")
    assert np.array_equal(counts, twin.sent()[: len(counts)])
    assert len(bench.pressures("cuff-1")) == 1


@needs_dbus_daemon
async def test_a_ring_put_on_and_taken_off(bench: Bench) -> None:
    twin = O2RingTwin()
    await on_the_air(bench, "oximeter-1", "viatom_o2ring", "O2Ring 0099", twin)
    await bench.until(lambda: any(state.sensor is Sensor.OFF for state in bench.states("oximeter-1")))
    twin.worn = Worn(spo2_percent=91)
    await bench.until(lambda: [n for n in bench.events("oximeter-1", PulseOximetry) if n.spo2_percent == 91])
    twin.worn = None
    await bench.until(lambda: bench.events("oximeter-1", PulseOximetry)[-1].spo2_percent is None)


@needs_dbus_daemon
async def test_a_thermometer_says_what_it_measured(bench: Bench) -> None:
    twin = Aoj20aTwin()
    await on_the_air(bench, "thermometer-1", "aoj_20a", "AOJ-20A", twin)
    await bench.until(lambda: any(state.battery_percent == 80 for state in bench.states("thermometer-1")))
    twin.measure(3680)
    await bench.until(lambda: bench.events("thermometer-1", Temperature))
    assert bench.events("thermometer-1", Temperature) == [Temperature(36.8, site="forehead", mode="adult")]

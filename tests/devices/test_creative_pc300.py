"""Creative PC-300: each part of the case, what goes wrong with it, the whole way over Bluetooth and a serial port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon
from device_captures import vectors

from devices.aa55 import packet
from devices.clock import SystemClock
from devices.driver import GattUse
from devices.drivers import creative_pc300 as wire
from devices.links.serial_link import SerialLink
from devices.readings import (
    INVALID_COUNT,
    BloodPressure,
    CuffPressure,
    DeviceState,
    Event,
    Glucose,
    GlucoseRange,
    HeartRate,
    PulseOximetry,
    Samples,
    Sensor,
    Stamped,
    Temperature,
)
from devices.session import DeviceSession, DeviceSettings
from devices.simulators.contec_cms50 import Finger
from devices.simulators.creative_pc300 import Pc300Twin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.pty_port import PtyPort
from devices.simulators.stream_peripheral import StreamPeripheral

Some = TypeVar("Some")
STEP_S = 0.02


class Table:
    """Twin and driver wired together; time passes by ``run``."""

    def __init__(self, twin: Pc300Twin | None = None) -> None:
        self.twin = twin or Pc300Twin(SynthesisedEcg())
        self.driver = wire.Driver()
        self.events: list[Event] = []
        self.asked: list[bytes] = []
        self.lost: Callable[[bytes], bool] = lambda sent: False
        self._say([write.payload for write in self.driver.open().writes])

    def _say(self, payloads: list[bytes]) -> None:
        self.asked += payloads
        for payload in payloads:
            self.events += self.driver.feed(self.twin.receive(payload)).events

    def run(self, seconds: float) -> list[Event]:
        """What was told meanwhile."""
        before = len(self.events)
        for step in range(round(seconds / STEP_S)):
            sent = self.twin.advance(STEP_S)
            if not self.lost(sent):
                self.events += self.driver.feed(sent).events
            if step % 5 == 4:
                output = self.driver.tick(0.1)
                self.events += output.events
                self._say([write.payload for write in output.writes])
        return self.events[before:]


def of(events: list[Event], kind: type[Some]) -> list[Some]:
    return [event for event in events if isinstance(event, kind)]


def told(*frames: bytes) -> list[Event]:
    """What a fresh driver makes of these packets."""
    driver = wire.Driver()
    driver.open()
    return driver.feed(b"".join(frames)).events


def ecg(events: list[Event]) -> list[int]:
    return [int(count) for samples in of(events, Samples) if samples.stream == "ecg" for count in samples.counts[:, 0]]


@pytest.mark.parametrize("vector", vectors("Creative PC-300"))
def test_vectors(vector: dict[str, Any]) -> None:
    expected, events = vector["expected"], told(bytes.fromhex(vector["hex"]))
    pressures, states = of(events, BloodPressure), of(events, DeviceState)
    if "sys" in expected:
        said = (expected["sys"], expected["dia"], expected["map"], expected["pulse"], expected["irregular"])
        assert pressures == [BloodPressure(*said)]
    if "error" in expected:
        assert states[-1].vendor_text == f"43 02, code {expected['error']}: leak"
    if "temp" in expected:
        assert of(events, Temperature) == [Temperature(expected["temp"])]
    assert not pressures or "sys" in expected


def test_says_what_it_is_and_is_asked_for_a_sign_of_life_each_second() -> None:
    table = Table()
    table.run(5.0)
    assert table.driver.identity is not None
    assert (table.driver.identity.model, table.driver.identity.firmware) == ("PC_300SNT", "1.2.0.5")
    assert table.asked[:2] == [wire.ASK_NAME, wire.ASK_VERSION]
    assert table.asked[2:] in ([wire.ASK_VERSION] * 4, [wire.ASK_VERSION] * 5)
    assert of(table.events, DeviceState)[-1].battery_percent == 100


def test_the_cuff_is_followed_while_it_works_and_gives_one_result() -> None:
    table = Table()
    table.twin.measure_pressure(162, 98, 81)
    events = table.run(9.0)
    pressures = of(events, CuffPressure)
    assert max(said.cuff_mmhg or 0 for said in pressures) == 180
    assert any(said.heartbeat for said in pressures)
    assert pressures[-1] == CuffPressure(None)
    assert of(events, BloodPressure) == [BloodPressure(162, 98, 119, 81, irregular_pulse=False)]


def test_a_systolic_pressure_over_255_takes_the_second_byte() -> None:
    (told_,) = of(told(packet(0x43, 0x01, bytes((0x81, 0x04, 170, 140, 90)))), BloodPressure)
    assert (told_.systolic_mmhg, told_.irregular_pulse) == (260, True)


@pytest.mark.parametrize("code", [*wire.CUFF_FAULTS, 13, 99])
def test_a_cuff_that_fails_says_why_in_its_own_words_and_in_ours(code: int) -> None:
    table = Table()
    table.twin.fail_pressure(code, krk_module=code > 6)
    events = table.run(6.0)
    assert of(events, CuffPressure)[-1] == CuffPressure(None)
    state = of(events, DeviceState)[-1]
    assert state.fault == wire.CUFF_FAULTS.get(code, ("blood_pressure_not_measured", ""))[0]
    assert str(state.vendor_text).startswith(f"43 02, code {code}: ")
    assert not of(events, BloodPressure)


def test_a_failed_measurement_does_not_hide_the_other_parts_for_long() -> None:
    table = Table()
    table.twin.fail_pressure(6)
    table.run(6.0)
    assert of(table.run(wire.FAULT_SHOWN_S), DeviceState)[-1].fault is None


def test_a_new_start_or_a_result_takes_the_fault_back() -> None:
    table = Table()
    table.twin.fail_pressure(6)
    table.run(6.0)
    table.twin.measure_pressure(120, 80, 70)
    assert of(table.run(0.5), DeviceState)[0].fault is None


def test_a_cuff_that_falls_silent_is_no_longer_inflating() -> None:
    table = Table()
    table.twin.measure_pressure(120, 80, 70)
    table.run(2.0)
    table.lost = lambda sent: True
    assert of(table.run(6.0), CuffPressure) == [CuffPressure(None)]


def test_no_pressures_of_zero() -> None:
    events = told(packet(0x43, 0x01, bytes(5)))
    assert not of(events, BloodPressure)
    assert of(events, DeviceState)[-1].fault == "blood_pressure_not_measured"


def test_the_thermometer_shows_the_way_and_tells_one_final_value() -> None:
    table = Table()
    table.twin.measure_temperature(38.4)
    said = of(table.run(6.0), Temperature)
    assert [temperature.temperature_c for temperature in said if not temperature.final] == [
        37.2,
        37.9,
        38.2,
        38.3,
        None,
    ]
    assert [temperature.temperature_c for temperature in said if temperature.final] == [38.4]


@pytest.mark.parametrize(
    ("data", "why"),
    [("40 0520", "too hot"), ("50 029E", "probe off"), ("60 029E", "timed out"), ("40 FFFF", "timed out")],
)
def test_no_temperature_is_no_number(data: str, why: str) -> None:
    events = told(packet(0x72, 0x01, bytes.fromhex("20 0100")), packet(0x72, 0x01, bytes.fromhex(data)))
    assert [said.temperature_c for said in of(events, Temperature)] == [32.56, None]
    state = of(events, DeviceState)[-1]
    assert (state.fault, state.vendor_text) == ("temperature_not_measured", f"72 01: {why}")


@pytest.mark.parametrize(
    ("data", "reading"),
    [
        ("00 0056", Glucose(5.6)),
        ("01 038E", Glucose(5.051)),  # 91.0 mg/dL
        ("10 0000", Glucose(None, GlucoseRange.LOW)),
        ("20 0333", Glucose(None, GlucoseRange.HIGH)),
        ("00 0000", None),
        ("00 00AB", None),  # no BCD
        ("30 0056", None),
    ],
)
def test_glucose_in_either_unit_and_out_of_range(data: str, reading: Glucose | None) -> None:
    events = told(packet(0x73, 0x01, bytes.fromhex(data)))
    assert of(events, Glucose) == ([reading] if reading else [])
    assert of(events, DeviceState)[-1].fault == (None if reading else "glucose_not_measured")


def test_finger_in_and_out_is_no_loss() -> None:
    table = Table()
    table.twin.put_finger(Finger(95, 66, 180))
    events = table.run(5.0)
    assert of(events, PulseOximetry)[-1] == PulseOximetry(95, 66, 1.8)
    table.twin.put_finger(None)
    assert of(table.run(2.0), PulseOximetry) == [PulseOximetry(None, None)]
    table.run(5.0)
    assert table.driver.counters.gaps == 0
    sent = [int(count) for samples in of(table.events, Samples) for count in samples.counts[:, 0]]
    assert [count for count in sent if count != INVALID_COUNT] == table.twin.pleth_sent


# ECG


@pytest.mark.parametrize(("gain", "eight_bit"), [(394, False), (200, False), (394, True)])
def test_the_ecg_arrives_sample_by_sample(gain: int, eight_bit: bool) -> None:
    table = Table(Pc300Twin(SynthesisedEcg(), gain=gain))
    table.twin.eight_bit = eight_bit
    table.twin.start_ecg()
    events = table.run(8.0)
    got = ecg(events)
    assert len(got) >= 1150
    assert np.array_equal(got, table.twin.ecg_sent[: len(got)])
    assert {rate.heart_rate_bpm for rate in of(events, HeartRate)} == {72}
    table.twin.stop_ecg()
    assert of(table.run(0.5), HeartRate) == [HeartRate(None)]


def test_counts_that_no_body_makes_are_no_value() -> None:
    driver = wire.Driver()
    driver.open()
    of_12_bits, of_8_bits = bytes((0x8F, 0xFE)), bytes((0x0F, 0xFE))
    driver.feed(packet(0x34, 0x01, bytes((0, 1))))
    events = [
        event
        for number, sample in ((1, of_12_bits), (2, of_8_bits))
        for event in driver.feed(packet(0x32, 0x01, bytes((number,)) + 25 * sample + bytes((72, 0)))).events
    ]
    assert ecg(events) == 50 * [INVALID_COUNT]


def test_the_rate_is_measured_and_stated() -> None:
    table = Table()
    table.twin.start_ecg()
    states = of(table.run(12.0), DeviceState)
    assert states[-1].fault is None
    text = str(states[-1].vendor_text)
    assert abs(float(text.split()[1]) - 150) < 3
    assert text.endswith("150 assumed")


def test_another_rate_than_known_is_not_shown_as_if_it_were_right() -> None:
    table = Table(Pc300Twin(SynthesisedEcg(), ecg_rate_hz=125.0))
    table.twin.start_ecg()
    states = of(table.run(12.0), DeviceState)
    assert states[-1].fault == "ecg_rate_unexpected"
    assert abs(float(str(states[-1].vendor_text).split()[1]) - 125) < 3
    assert not ecg(table.run(5.0))


def test_lost_packets_of_the_ecg_are_a_gap_of_their_length() -> None:
    table = Table()
    table.twin.start_ecg()
    table.run(2.0)
    drop = iter([False, True, True, False])
    table.lost = lambda sent: sent[:3] == b"\xaa\x55\x32" and next(drop, False)
    events = table.run(3.0)
    got = ecg(events)
    assert got.count(INVALID_COUNT) == 50
    assert table.driver.counters.gaps == 1
    at = got.index(INVALID_COUNT)
    whole = table.twin.ecg_sent
    start = len(ecg(table.events)) - len(got)
    assert np.array_equal(got[:at], whole[start : start + at])
    assert np.array_equal(got[at + 50 :], whole[start + at + 50 : start + len(got)])


def test_the_numbers_go_round_without_a_gap() -> None:
    table = Table()
    table.twin.start_ecg()
    table.run(255 / 6 + 5)
    assert table.driver.counters.gaps == 0


def test_an_electrode_off_is_named_and_its_samples_are_none() -> None:
    table = Table()
    table.twin.start_ecg()
    table.run(1.0)
    table.twin.lead_off = True
    events = table.run(1.0)
    assert set(ecg(events)[-100:]) == {INVALID_COUNT}
    state = of(events, DeviceState)[-1]
    assert (state.sensor, state.leads_off) == (Sensor.LEAD_OFF, ("ECG",))
    assert of(events, HeartRate)[-1] == HeartRate(None)
    table.twin.stop_ecg()
    state = of(table.run(3.0), DeviceState)[-1]
    assert (state.sensor, state.leads_off) == (Sensor.OK, ())


# the whole way


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@needs_dbus_daemon
async def test_a_measurement_over_bluetooth(bench: Bench) -> None:
    """In pieces of 20 bytes; the ECG packet of 59 bytes takes three."""
    bench.meters.bluez.mtu = 23
    twin = Pc300Twin(SynthesisedEcg())
    (use,) = wire.Driver.about.lines(GattUse)
    address = "F0:F1:F2:03:00:01"
    bench.attach("case-1", driver="creative_pc300")
    await bench.put(StreamPeripheral(bench.meters.radio, bench.hub.clock, twin, "PC_300SNT", address, use))
    await bench.until(lambda: bench.states("case-1") and bench.states("case-1")[-1].battery_percent == 100)
    twin.measure_pressure(151, 93, 77)
    twin.start_ecg()
    await bench.until(lambda: bench.pressures())
    assert bench.pressures() == [BloodPressure(151, 93, 112, 77, irregular_pulse=False)]
    assert max(said.cuff_mmhg or 0 for said in bench.events("case-1", CuffPressure)) == 180
    counts = [int(count) for chunk in bench.events("case-1", Samples) for count in chunk.counts[:, 0]]
    assert np.array_equal(counts, twin.ecg_sent[: len(counts)])
    assert len(counts) > 100


async def test_a_measurement_over_a_bluetooth_serial_port(tmp_path: Path) -> None:
    clock, twin = SystemClock(), Pc300Twin(SynthesisedEcg())
    port = PtyPort(tmp_path / "case", twin, clock)
    settings = DeviceSettings(name="case-1", driver="creative_pc300", link="serial", port=str(port.path))
    heard: asyncio.Queue[Stamped] = asyncio.Queue()
    session = DeviceSession(settings, wire.Driver(), SerialLink(settings.port), heard.put_nowait, clock)
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(30):
            port.attach()
            await next_of(heard, lambda event: isinstance(event, DeviceState) and event.battery_percent == 100)
            twin.measure_glucose(7.8)
            assert await next_of(heard, lambda event: isinstance(event, Glucose)) == Glucose(7.8)
    finally:
        running.cancel()
        await asyncio.wait({running})
        port.detach()


async def next_of(heard: asyncio.Queue[Stamped], wanted: Callable[[Event], bool]) -> Event:
    while True:
        event = (await heard.get()).event
        if wanted(event):
            return event

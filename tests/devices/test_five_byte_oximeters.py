"""The two families of 5-byte oximeters: same shape, other bits, never taken for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluetooth_bench import bluetooth_bench, needs_dbus_daemon
from device_captures import vectors

from devices import catalog
from devices.capture import settled
from devices.clock import SystemClock
from devices.driver import SerialLine
from devices.drivers import berry_bci, contec_cms50_legacy
from devices.finger_oximeter import NO_NUMBERS, FiveByteDriver
from devices.links.serial_link import SerialLink
from devices.readings import INVALID_COUNT, DeviceState, Event, PulseOximetry, Samples, Sensor, Stamped
from devices.session import DeviceSession, DeviceSettings
from devices.simulators import berry_bci as berry_twin
from devices.simulators import contec_cms50_legacy as legacy_twin
from devices.simulators.contec_cms50 import Finger
from devices.simulators.pty_port import PtyPort
from devices.simulators.stream_peripheral import StreamPeripheral

NORMAL = Finger(97, 70)
FAMILIES = [
    pytest.param(contec_cms50_legacy.Driver, legacy_twin.real_time, legacy_twin.NO_FINGER, id="contec_cms50_legacy"),
    pytest.param(berry_bci.Driver, berry_twin.real_time, berry_twin.NO_FINGER, id="berry_bci"),
]
Frame = Callable[[int, bool, Finger | None], bytes]


def opened(driver: type[FiveByteDriver]) -> FiveByteDriver:
    made = driver()
    made.open()
    return made


def oximetry(events: list[Event]) -> list[PulseOximetry]:
    return [event for event in events if isinstance(event, PulseOximetry)]


def pleth(events: list[Event]) -> list[int]:
    return [int(count) for event in events if isinstance(event, Samples) for count in event.counts[:, 0]]


@pytest.mark.parametrize("vector", vectors("CMS50D+ fw<=4.x"))
def test_legacy_vectors(vector: dict[str, Any]) -> None:
    moment = contec_cms50_legacy.Driver().moment_of(bytes.fromhex(vector["hex"]))
    expected = vector["expected"]
    assert moment.numbers.pulse_bpm == expected["pulse"]
    assert moment.numbers.spo2_percent == expected["spo2"]
    assert moment.sensor is Sensor.OK
    assert moment.pleth == expected.get("pleth", moment.pleth)


@pytest.mark.parametrize("vector", vectors("Berry"))
def test_berry_vectors(vector: dict[str, Any]) -> None:
    moment = berry_bci.Driver().moment_of(bytes.fromhex(vector["hex"]))
    expected = vector["expected"]
    assert (moment.numbers.pulse_bpm, moment.numbers.spo2_percent) == (expected["pulse"], expected["spo2"])
    assert moment.sensor is (Sensor.OFF if expected["no_finger"] else Sensor.OK)
    assert moment.pleth == expected.get("pleth")


@pytest.mark.parametrize(
    ("frame", "sensor"),
    [
        ("9050434861", Sensor.OFF),  # finger out
        ("8550134861", Sensor.OFF),  # probe error
        ("8550230000", Sensor.SEARCHING),
        ("8550434800", Sensor.SEARCHING),
        ("8950434861", Sensor.UNKNOWN),  # a signal of 9 cannot be
        ("8550434865", Sensor.UNKNOWN),  # nor 101 %
    ],
)
def test_legacy_special_values_are_no_numbers(frame: str, sensor: Sensor) -> None:
    moment = contec_cms50_legacy.Driver().moment_of(bytes.fromhex(frame))
    assert (moment.sensor, moment.numbers.spo2_percent) == (sensor, None)
    assert (moment.pleth is None) == (sensor in (Sensor.OFF, Sensor.UNKNOWN))


@pytest.mark.parametrize(
    ("frame", "sensor"),
    [
        ("A000507F7F", Sensor.OFF),  # unplugged
        ("8400150048", Sensor.OFF),  # no finger
        ("942A054862", Sensor.SEARCHING),  # no signal: the numbers may be old ones
        ("842A454862", Sensor.OK),
        ("8465054862", Sensor.UNKNOWN),  # a pleth of 101 cannot be
        ("842A054822", Sensor.UNKNOWN),  # nor 34 %
    ],
)
def test_berry_special_values_are_no_numbers(frame: str, sensor: Sensor) -> None:
    moment = berry_bci.Driver().moment_of(bytes.fromhex(frame))
    assert moment.sensor is sensor
    assert (moment.numbers == NO_NUMBERS) == (sensor in (Sensor.OFF, Sensor.UNKNOWN))


def test_the_two_families_are_told_apart_by_the_settings_for_their_bits_mean_other_things() -> None:
    probe_error = bytes.fromhex("8550134861")
    assert contec_cms50_legacy.Driver().moment_of(probe_error).sensor is Sensor.OFF
    unplugged = bytes.fromhex("A42A054862")  # to the other family: SpO2 is dropping
    assert berry_bci.Driver().moment_of(unplugged).sensor is Sensor.OFF
    assert contec_cms50_legacy.Driver().moment_of(unplugged).sensor is Sensor.OK
    lines = [catalog.about(driver).lines(SerialLine) for driver in ("contec_cms50_legacy", "berry_bci")]
    assert lines == [(SerialLine(19200, parity="O"),), (SerialLine(115200),)]


@pytest.mark.parametrize(("family", "frame", "empty"), FAMILIES)
def test_a_number_is_believed_after_a_tenth_of_a_second_of_agreement(
    family: type[FiveByteDriver], frame: Frame, empty: bytes
) -> None:
    few = round(family.sample_rate_hz / 10) - 1
    driver = opened(family)
    good, other = frame(40, False, NORMAL), frame(40, False, Finger(98, 70))
    assert not oximetry(driver.feed(good * few + other + good * few + other).events)
    assert [number.spo2_percent for number in oximetry(driver.feed(good * (few + 2)).events)] == [97]


@pytest.mark.parametrize(("family", "frame", "empty"), FAMILIES)
def test_a_number_is_told_once_a_second_and_taken_back_once(
    family: type[FiveByteDriver], frame: Frame, empty: bytes
) -> None:
    second = round(family.sample_rate_hz)
    driver = opened(family)
    told = oximetry(driver.feed(frame(40, False, NORMAL) * (10 * second) + empty * (2 * second)).events)
    assert 9 <= len(told) - 1 <= 10
    assert told[-1] == PulseOximetry(None, None)
    assert {number.spo2_percent for number in told[:-1]} == {97}


@pytest.mark.parametrize(("family", "frame", "empty"), FAMILIES)
def test_silence_takes_the_number_back_within_two_seconds(
    family: type[FiveByteDriver], frame: Frame, empty: bytes
) -> None:
    driver = opened(family)
    driver.feed(frame(40, False, NORMAL) * 30)
    told = [event for _ in range(20) for event in oximetry(driver.tick(0.1).events)]
    assert told == [PulseOximetry(None, None)]


@pytest.mark.parametrize(("family", "frame", "empty"), FAMILIES)
def test_two_hundred_random_faults_give_no_wrong_number(
    family: type[FiveByteDriver], frame: Frame, empty: bytes
) -> None:
    random = np.random.default_rng(5)
    stream = bytearray(frame(40, False, NORMAL) * 2000)
    for at in sorted(random.choice(len(stream) - 1, 200, replace=False), reverse=True):
        match random.integers(3):
            case 0:
                stream[at] ^= 1 << int(random.integers(8))
            case 1:
                del stream[at]
            case _:
                stream.insert(at, int(random.integers(256)))
    driver = opened(family)
    events = driver.feed(bytes(stream)).events + settled(driver)
    assert {(number.spo2_percent, number.pulse_bpm) for number in oximetry(events)} == {(97, 70)}
    assert abs(len(pleth(events)) - 2000) < 60
    assert driver.counters.gaps > 50


@pytest.mark.parametrize(("family", "frame", "empty"), FAMILIES)
def test_an_empty_probe_has_no_pleth(family: type[FiveByteDriver], frame: Frame, empty: bytes) -> None:
    events = opened(family).feed(empty * 25).events
    assert set(pleth(events)) == {INVALID_COUNT}
    assert [event.sensor for event in events if isinstance(event, DeviceState)] == [Sensor.OFF]


@pytest.mark.parametrize(
    ("driver", "twin"),
    [("contec_cms50_legacy", legacy_twin.Cms50LegacyTwin()), ("berry_bci", berry_twin.BerryTwin())],
    ids=["contec_cms50_legacy", "berry_bci"],
)
async def test_a_finger_at_the_twin_becomes_a_reading_and_goes_with_the_cable(
    tmp_path: Path, driver: str, twin: Any
) -> None:
    """Through a session on a pty, parity and all."""
    clock = SystemClock()
    port = PtyPort(tmp_path / "oximeter", twin, clock)
    settings = DeviceSettings(name="oximeter-1", driver=driver, link="serial", port=str(port.path))
    told: asyncio.Queue[Stamped] = asyncio.Queue()
    session = DeviceSession(settings, catalog.driver(driver)(), SerialLink(settings.port), told.put_nowait, clock)
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(30):
            port.attach()
            twin.put_finger(Finger(94, 133))
            assert await next_number(told) == PulseOximetry(94, 133)
            port.detach()
            assert await next_withdrawn(told) == PulseOximetry(None, None)
    finally:
        running.cancel()
        await asyncio.wait({running})
        port.detach()


async def next_number(told: asyncio.Queue[Stamped]) -> PulseOximetry:
    while True:
        event = (await told.get()).event
        if isinstance(event, PulseOximetry) and event.spo2_percent is not None:
            return event


async def next_withdrawn(told: asyncio.Queue[Stamped]) -> PulseOximetry:
    while True:
        event = (await told.get()).event
        if isinstance(event, PulseOximetry) and event.spo2_percent is None:
            return event


@needs_dbus_daemon
async def test_berry_over_bluetooth_in_pieces_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by its name, read in notifications of 7 bytes, taken back with the finger."""
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        twin = berry_twin.BerryTwin()
        device = StreamPeripheral(
            bench.meters.radio, bench.hub.clock, twin, "BerryMed", "F0:F1:F2:0F:01:01", berry_bci.BLUETOOTH
        )
        device.cut_at = 7
        bench.attach("oximeter-1", driver="berry_bci")
        await bench.put(device)
        twin.put_finger(Finger(95, 133))
        await bench.until(lambda: PulseOximetry(95, 133) in bench.events("oximeter-1", PulseOximetry))
        twin.put_finger(None)
        await bench.until(lambda: bench.events("oximeter-1", PulseOximetry)[-1] == PulseOximetry(None, None))
        assert device.written == []

"""Contec CMS50D-BT: frames told by their sum, numbers where four readers see them, and the way over Bluetooth."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon

from devices.capture import settled
from devices.driver import GattUse
from devices.drivers import contec_cms50d_bt as wire
from devices.identity import Identity
from devices.readings import DeviceState, Event, PulseOximetry, Samples, Sensor
from devices.simulators.contec_cms50 import Finger
from devices.simulators.contec_cms50d_bt import MODEL_REPLY, Cms50dBtTwin
from devices.simulators.stream_peripheral import StreamPeripheral


def opened() -> wire.Driver:
    driver = wire.Driver()
    driver.open()
    return driver


def oximetry(events: list[Event]) -> list[PulseOximetry]:
    return [event for event in events if isinstance(event, PulseOximetry)]


def pleth(events: list[Event]) -> list[int]:
    return [int(count) for event in events if isinstance(event, Samples) for count in event.counts[:, 0]]


def worn(seconds: float) -> tuple[bytes, Cms50dBtTwin]:
    twin = Cms50dBtTwin()
    twin.receive(wire.START_WAVE + wire.START_NUMBERS)
    twin.put_finger(Finger(96, 71))
    twin.advance(2.0)
    twin.pleth_sent.clear()
    sent = b""
    for _ in range(round(seconds * 10)):
        twin.receive(wire.KEEP_ALIVE)
        sent += twin.advance(0.1)
    return sent, twin


def test_the_published_commands_and_frame_have_the_sum_of_this_framing() -> None:
    """81 01, 9A 1A, 9B 00 1B, 9B 01 1C, 9B 7F 1A of four readers; the numbers frame of EMAY's tests: 62/min, 98 %."""
    commands = (wire.ASK_MODEL, wire.KEEP_ALIVE, wire.START_WAVE, wire.START_NUMBERS, wire.STOP)
    assert [command.hex() for command in commands] == ["8101", "9a1a", "9b001b", "9b011c", "9b7f1a"]
    numbers = opened().feed(bytes.fromhex("EB01053E627F0010")).events
    assert oximetry(numbers) == [PulseOximetry(98, 62)]


@pytest.mark.parametrize("spo2", [0x00, 0x7F, 0xFF, 101])
def test_special_values_are_no_numbers(spo2: int) -> None:
    driver = opened()
    driver.feed(wire.frame_of(0xEB, 0x01, 0x05, 62, 98, 0x7F, 0x00))
    events = driver.feed(wire.frame_of(0xEB, 0x01, 0x05, 62, spo2, 0x7F, 0x00)).events
    assert oximetry(events) == [PulseOximetry(None, None)]
    assert [event.sensor for event in events if isinstance(event, DeviceState)] == [Sensor.SEARCHING]
    no_pulse = driver.feed(wire.frame_of(0xEB, 0x01, 0x05, 0xFF, 97, 0x7F, 0x00)).events
    assert oximetry(no_pulse) == [PulseOximetry(97, None)]


def test_the_model_is_known_and_the_pleth_is_what_was_sent() -> None:
    sent, twin = worn(3.0)
    driver = opened()
    events = driver.feed(MODEL_REPLY + sent).events + settled(driver)
    assert driver.identity == Identity("Contec", "50D-BT")
    assert pleth(events) == twin.pleth_sent


def test_kept_alive_and_stopped_in_good_order() -> None:
    driver = opened()
    writes = [write.payload for _ in range(200) for write in driver.tick(0.1).writes]
    assert set(writes) == {wire.KEEP_ALIVE}
    assert len(writes) in (3, 4)
    assert [write.payload for write in driver.close().writes] == [wire.STOP]


def test_flipped_bits_lost_and_strange_bytes_let_no_wrong_number_through() -> None:
    """Of the seven bits that the sum covers; the eighth is left to the radio's own check."""
    noise = random.Random(50)
    stream = bytearray(worn(120.0)[0])
    for _ in range(200):
        at = noise.randrange(len(stream))
        match noise.randrange(3):
            case 0:
                stream[at] ^= 1 << noise.randrange(7)
            case 1:
                del stream[at]
            case _:
                stream.insert(at, noise.randrange(256))
    numbers = oximetry(opened().feed(bytes(stream)).events)
    wrong = [number for number in numbers if (number.spo2_percent, number.pulse_bpm) not in ((96, 71), (None, None))]
    assert not wrong
    assert len(numbers) > 80


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@needs_dbus_daemon
async def test_a_finger_becomes_a_reading_over_bluetooth(bench: Bench) -> None:
    bench.meters.bluez.mtu = 23
    twin = Cms50dBtTwin()
    (use,) = wire.Driver.about.lines(GattUse)
    address = "F0:F1:F2:FF:12:01"
    device = StreamPeripheral(
        bench.meters.radio, bench.hub.clock, twin, "SpO2080971", address, use, with_response=False
    )
    bench.attach("oximeter-1", driver="contec_cms50d_bt")
    await bench.put(device)
    twin.put_finger(Finger(96, 71))
    await bench.until(lambda: PulseOximetry(96, 71) in bench.events("oximeter-1", PulseOximetry))
    twin.put_finger(None)
    await bench.until(lambda: bench.events("oximeter-1", PulseOximetry)[-1] == PulseOximetry(None, None))
    assert max(pleth(list(bench.events("oximeter-1", Samples)))) > 100
    await bench.detach("oximeter-1")
    assert device.written[-1] == wire.STOP

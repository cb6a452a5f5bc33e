"""Creative oximeters: the ``AA 55`` packets, what is made of them, and the whole way over Bluetooth."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon
from device_captures import vectors

from devices.aa55 import LONGEST_BYTES, Packet, PacketFramer, packet
from devices.capture import settled
from devices.driver import Counters
from devices.drivers import creative_oximeter as wire
from devices.framing import Spoiled
from devices.identity import Identity
from devices.readings import INVALID_COUNT, DeviceState, Event, Link, PulseOximetry, Samples, Sensor
from devices.simulators.contec_cms50 import Finger
from devices.simulators.creative_oximeter import SERIAL_NUMBER_REPLY, VERSION_REPLY, CreativeOximeterTwin, parameters
from devices.simulators.stream_peripheral import StreamPeripheral

FINGER = Finger(spo2_percent=96, pulse_bpm=71, perfusion_index_e2=240)


def opened() -> wire.Driver:
    driver = wire.Driver()
    driver.open()
    return driver


def oximetry(events: list[Event]) -> list[PulseOximetry]:
    return [event for event in events if isinstance(event, PulseOximetry)]


def pleth(events: list[Event]) -> list[int]:
    return [int(count) for event in events if isinstance(event, Samples) for count in event.counts[:, 0]]


def worn(seconds: float, finger: Finger = FINGER) -> tuple[bytes, CreativeOximeterTwin]:
    """What a PC-60FW sends while a finger is in that has been in for a while."""
    twin = CreativeOximeterTwin()
    twin.put_finger(finger)
    twin.advance(2.0)
    twin.pleth_sent.clear()
    return b"".join(twin.advance(0.1) for _ in range(round(seconds * 10))), twin


AA55 = [
    vector
    for vector in vectors("AP-20") + vectors("PC-300") + vectors("PC-60FW")
    if vector.values[0]["hex"].startswith("AA55")
]


@pytest.mark.parametrize("vector", {vector.id: vector for vector in AA55}.values())
def test_every_vector_of_the_family_is_a_packet_and_is_built_again(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    pieces = list(PacketFramer(Counters()).feed(frame))
    assert len(pieces) == 1
    assert isinstance(pieces[0], Packet)
    assert packet(pieces[0].token, pieces[0].type, pieces[0].data) == frame


@pytest.mark.parametrize(("pulse", "told"), [(0, None), (1, 1), (250, 250), (0xFFFF, None)])
def test_a_pulse_is_what_a_heart_can_do(pulse: int, told: int | None) -> None:
    data = bytes((97,)) + pulse.to_bytes(2, "little") + bytes((30, 0, 0))
    assert oximetry(opened().feed(packet(0x0F, 0x01, data)).events)[-1].pulse_bpm == told


@pytest.mark.parametrize("vector", vectors("Creative PC-60FW"))
def test_vectors_of_the_parameters(vector: dict[str, Any]) -> None:
    expected, driver = vector["expected"], opened()
    driver.feed(parameters(FINGER, early=False, battery_level=3))
    numbers = oximetry(driver.feed(bytes.fromhex(vector["hex"])).events)
    assert [(number.spo2_percent, number.pulse_bpm) for number in numbers] == [(expected["spo2"], expected["pulse"])]
    assert numbers[0].perfusion_index_percent == expected.get("pi")


def test_what_the_device_says_of_itself() -> None:
    driver = opened()
    driver.feed(VERSION_REPLY + SERIAL_NUMBER_REPLY)
    assert driver.identity == Identity("Creative", "AP-20", "28ABZD", "2.1.0.3")


@pytest.mark.parametrize(
    ("data", "sensor"),
    [
        ("00 0000 00 00 C0", Sensor.SEARCHING),
        ("61 4800 23 02 C0", Sensor.OFF),  # numbers beside "probe off" are old
        ("61 4800 23 08 C0", Sensor.ERROR),
        ("65 4800 23 00 C0", Sensor.SEARCHING),  # 101 %
        ("FF FFFF FF 00 C0", Sensor.SEARCHING),
    ],
)
def test_special_values_are_no_numbers(data: str, sensor: Sensor) -> None:
    driver = opened()
    driver.feed(parameters(FINGER, early=False, battery_level=3))
    events = driver.feed(packet(0x0F, 0x01, bytes.fromhex(data))).events
    assert oximetry(events) == [PulseOximetry(None, None)]
    assert [event.sensor for event in events if isinstance(event, DeviceState)] in ([sensor], [])


def test_a_faulty_probe_is_named() -> None:
    twin = CreativeOximeterTwin()
    twin.probe_fault = True
    states = [event for event in opened().feed(twin.advance(0.1)).events if isinstance(event, DeviceState)]
    assert [(state.sensor, state.fault) for state in states] == [(Sensor.ERROR, "probe_faulty")]


def test_a_pulse_or_perfusion_of_zero_is_not_said() -> None:
    events = opened().feed(packet(0x0F, 0x01, bytes.fromhex("61 0000 00 00 C0"))).events
    assert oximetry(events) == [PulseOximetry(97, None, None)]


def test_the_pleth_is_what_was_sent_and_an_empty_probe_has_none() -> None:
    sent, twin = worn(5.0)
    driver = opened()
    assert pleth(driver.feed(sent).events + settled(driver)) == twin.pleth_sent
    empty = opened()
    assert set(pleth(empty.feed(CreativeOximeterTwin().advance(1.0)).events + settled(empty))) == {INVALID_COUNT}


def test_silence_takes_the_number_back_within_two_seconds() -> None:
    driver = opened()
    driver.feed(parameters(FINGER, early=False, battery_level=3))
    assert oximetry([event for _ in range(20) for event in driver.tick(0.1).events]) == [PulseOximetry(None, None)]


def test_packets_lost_without_a_trace_open_a_new_segment() -> None:
    """Notifications that never came: nothing is spoiled, the wave only falls behind the clock."""
    driver, events = opened(), list[Event]()
    twin = worn(0.1)[1]
    for step in range(160):
        sent = twin.advance(0.1)
        if not 60 <= step < 70:
            events += driver.feed(sent).events
        events += driver.tick(0.1).events
    assert len({event.segment for event in events if isinstance(event, Samples)}) == 2
    assert driver.counters.gaps == 1


def test_two_hundred_faults_in_two_thousand_packets_let_no_wrong_number_through() -> None:
    noise = random.Random(55)
    stream = bytearray(worn(180.0)[0])
    for _ in range(200):
        at = noise.randrange(len(stream))
        match noise.randrange(3):
            case 0:
                stream[at] ^= 1 << noise.randrange(8)
            case 1:
                del stream[at]
            case _:
                stream.insert(at, noise.randrange(256))
    driver = opened()
    numbers = oximetry(driver.feed(bytes(stream)).events)
    assert {(number.spo2_percent, number.pulse_bpm) for number in numbers} == {(96, 71)}
    assert len(numbers) > 150
    assert driver.counters.bad_checksums > 50


def test_what_lies_between_packets_is_counted_and_bounded() -> None:
    counters = Counters()
    framer = PacketFramer(counters)
    good = packet(0x0F, 0x02, bytes(5))
    pieces = list(framer.feed(b"\xaa" * 7 + good + b"\xaa\x55\xff" + bytes(2) + good))
    assert [type(piece) for piece in pieces] == [Spoiled, Packet, Spoiled, Packet]
    assert counters.frames == 2
    longest = packet(0x0F, 0x02, bytes(253))
    assert len(longest) == LONGEST_BYTES
    assert isinstance(list(framer.feed(longest))[-1], Packet)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@needs_dbus_daemon
@pytest.mark.parametrize(
    ("name", "use", "waits"),
    [("PC-60F_SN1", wire.NORDIC_UART, False), ("AP-20:04013", wire.FFB0, True)],
    ids=["PC-60FW", "AP-20"],
)
async def test_a_finger_becomes_a_reading_over_bluetooth(bench: Bench, name: str, use: Any, waits: bool) -> None:
    """Found, connected, switched on where it waits for that, read in pieces of 20 bytes, taken back with the finger."""
    bench.meters.bluez.mtu = 23
    twin = CreativeOximeterTwin(switched_on_by_host=waits)
    device = StreamPeripheral(bench.meters.radio, bench.hub.clock, twin, name, "F0:F1:F2:0F:00:01", use)
    bench.attach("oximeter-1", driver="creative_oximeter")
    await bench.put(device)
    twin.put_finger(FINGER)
    await bench.until(lambda: PulseOximetry(96, 71, 2.4) in bench.events("oximeter-1", PulseOximetry))
    twin.put_finger(None)
    await bench.until(lambda: bench.events("oximeter-1", PulseOximetry)[-1] == PulseOximetry(None, None))
    counts = pleth(list(bench.events("oximeter-1", Samples)))
    assert {*twin.pleth_sent, 0, INVALID_COUNT} >= set(counts)  # 0 between the finger's leaving and its being told
    assert max(counts) > 100
    states = bench.states("oximeter-1")
    assert (states[-1].link, states[-1].sensor, states[-1].battery_percent) == (Link.CONNECTED, Sensor.OFF, 100)
    await device.switch_off()
    await bench.until(lambda: bench.link("oximeter-1") is Link.ABSENT)

"""Sinocare meters: the vendor's own bytes, frames cut and joined, and the way over Bluetooth with unknown UUIDs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon
from device_captures import vectors

from devices.clock import SystemClock
from devices.driver import GattUse
from devices.drivers import sinocare_meter as wire
from devices.links.serial_link import SerialLink
from devices.readings import DeviceState, Event, Glucose, GlucoseRange, Link, Sensor, Stamped, UricAcid
from devices.session import DeviceSession, DeviceSettings
from devices.simulators.pty_port import PtyPort
from devices.simulators.sinocare_meter import AW_AIR, CARBON, WL_1, SinocareMeterTwin
from devices.simulators.stream_peripheral import StreamPeripheral

SHOWN = datetime(2026, 11, 22, 8, 30, 15)  # noqa: DTZ001  a device's clock has no zone
SAID = "2026-11-22T08:30:15"


def told(twin: SinocareMeterTwin) -> list[Event]:
    driver = wire.Driver()
    driver.open()
    return driver.feed(twin.advance(1.0)).events


def results(events: list[Event]) -> list[Glucose | UricAcid]:
    return [event for event in events if isinstance(event, Glucose | UricAcid)]


def states(events: list[Event]) -> list[tuple[Sensor, str | None, str | None]]:
    return [(event.sensor, event.fault, event.vendor_text) for event in events if isinstance(event, DeviceState)]


def frame(command: int, data: bytes, machine: int = CARBON) -> bytes:
    body = bytes((len(data) + 4,)) + machine.to_bytes(2, "big") + bytes((command,)) + data
    return wire.HEAD + body + bytes((wire.sum_of(body),))


def feed(*chunks: bytes) -> list[Event]:
    driver = wire.Driver()
    driver.open()
    return [event for chunk in chunks for event in driver.feed(chunk).events]


@pytest.mark.parametrize("vector", vectors("Sinocare"))
def test_the_vendors_bytes(vector: dict[str, Any]) -> None:
    expected, note = vector["expected"], str(vector.get("note"))
    (result,) = results(feed(bytes.fromhex(vector["hex"])))
    if "analyte" in expected:
        assert isinstance(result, UricAcid if expected["analyte"] == "UA" else Glucose)
        number = result.uric_acid_umol_l if isinstance(result, UricAcid) else result.glucose_mmol_l
        per_unit = {"mmol/L": 1, "umol/L": 1, "mg/dL": 10 / 180.156}[expected["unit"]]
        if expected.get("flag") == "HI":
            assert (number, result.range) == (None, GlucoseRange.HIGH)
        else:
            assert number == pytest.approx(expected["value"] * per_unit, abs=5e-4)
        assert result.sequence == expected.get("order", result.sequence)
        assert result.device_said_at == expected.get("time", str(result.device_said_at)).replace(" ", "T")
    else:
        assert isinstance(result, Glucose)
        assert f"{result.glucose_mmol_l} mmol/L" in note
        assert str(result.device_said_at).replace("T", " ") in note


@pytest.mark.parametrize("machine", [CARBON, AW_AIR, WL_1])
def test_a_strip_at_each_kind_of_meter(machine: int) -> None:
    twin = SinocareMeterTwin(machine)
    twin.glucose(6.4, SHOWN)
    number = 1 if machine == CARBON else None
    assert results(told(twin)) == [Glucose(6.4, sequence=number, device_said_at=SAID)]


@pytest.mark.parametrize("machine", [CARBON, AW_AIR])
def test_what_is_in_the_memory_keeps_its_number_and_date(machine: int) -> None:
    twin = SinocareMeterTwin(machine)
    twin.glucose(7.7, SHOWN, stored=True)
    assert results(told(twin)) == [Glucose(7.7, sequence=1, device_said_at=SAID)]


def test_uric_acid_and_its_ends() -> None:
    twin = SinocareMeterTwin()
    for value, flag in ((412, 0), (1188, 0x20), (180, 0x10)):
        twin.uric_acid(value, SHOWN, flag)
    said = [(result.uric_acid_umol_l, result.range) for result in results(told(twin)) if isinstance(result, UricAcid)]
    assert said == [(412.0, GlucoseRange.IN_RANGE), (None, GlucoseRange.HIGH), (None, GlucoseRange.LOW)]


@pytest.mark.parametrize(
    ("analyte", "value", "scale", "unit", "expected"),
    [
        (wire.GLUCOSE, 90, 0, wire.MG_DL, Glucose(4.996)),
        (wire.GLUCOSE, 5600, 0, wire.UMOL_L, Glucose(5.6)),
        (wire.URIC_ACID, 70, 1, wire.MG_DL, UricAcid(416.4)),
        (wire.URIC_ACID, 412, 3, wire.MMOL_L, UricAcid(412.0)),
    ],
)
def test_units_and_decimals(analyte: int, value: int, scale: int, unit: int, expected: Glucose | UricAcid) -> None:
    data = bytes(12) + bytes((1, 0, analyte)) + value.to_bytes(2, "big") + bytes((scale << 4, unit, 0, 0, 0, 0))
    (result,) = results(feed(frame(wire.RESULT, data)))
    assert type(result) is type(expected)
    number = "uric_acid_umol_l" if isinstance(expected, UricAcid) else "glucose_mmol_l"
    assert getattr(result, number) == getattr(expected, number)
    assert result.device_said_at is None  # a date of zeros is none


@pytest.mark.parametrize(("high", "where"), [(True, GlucoseRange.HIGH), (False, GlucoseRange.LOW)])
def test_hi_and_lo_of_an_older_meter(high: bool, where: GlucoseRange) -> None:
    twin = SinocareMeterTwin(AW_AIR)
    twin.out_of_range(high)
    assert results(told(twin)) == [Glucose(None, where)]
    carbon = SinocareMeterTwin()  # may be either analyte: no reading is made of it
    carbon.out_of_range(high)
    events = told(carbon)
    assert not results(events)
    assert states(events) == [(Sensor.ERROR, "glucose_not_measured", "HI" if high else "LO")]


def test_an_error_stands_until_the_next_strip() -> None:
    twin = SinocareMeterTwin()
    twin.fail(5)
    twin.insert_strip()
    assert states(told(twin)) == [
        (Sensor.ERROR, "glucose_not_measured", "error 5"),
        (Sensor.OK, None, None),
    ]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (bytes(12) + bytes((2, 0, 0, 0, 56, 0x10, 0, 0, 0, 0, 0)), "meter_result_unknown"),  # not blood
        (bytes(12) + bytes((1, 0, 7, 0, 56, 0x10, 0, 0, 0, 0, 0)), "meter_result_unknown"),  # another analyte
        (bytes(12) + bytes((1, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0)), "glucose_not_measured"),
        (bytes(12) + bytes((1, 0, 0, 0, 56, 0x10, 9, 0, 0, 0, 0)), "glucose_not_measured"),  # an unknown unit
        (bytes(5), "meter_result_unknown"),
    ],
)
def test_what_is_not_known_is_said_and_never_a_number(data: bytes, fault: str) -> None:
    events = feed(frame(wire.RESULT, data))
    assert not results(events)
    assert [said for _, said, _ in states(events)] == [fault]


def test_a_bad_sum_is_no_frame_and_the_next_one_is_read() -> None:
    twin = SinocareMeterTwin()
    twin.glucose(6.4, SHOWN)
    good = twin.advance(1.0)
    for at in range(len(good)):
        spoiled = bytearray(good)
        spoiled[at] ^= 0x10
        driver = wire.Driver()
        driver.open()
        assert not results(driver.feed(bytes(spoiled)).events)
        driver.tick(2.0)
        assert len(results(driver.feed(good).events)) == 1


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@needs_dbus_daemon
@pytest.mark.parametrize(
    ("name", "machine", "service", "notify", "write"),
    [
        ("SN-6X001", CARBON, "FFF0", "FFF4", "FFF3"),
        ("BDE_WEIXIN_TTM", AW_AIR, "FFB0", "FFB1", "FFB2"),
    ],
    ids=["carbon", "AW Air"],
)
async def test_results_over_bluetooth_whatever_the_uuids(
    bench: Bench, name: str, machine: int, service: str, notify: str, write: str
) -> None:
    """Found by its name, its characteristics by what they can; the check byte comes in the next notification."""
    bench.meters.bluez.mtu = 23
    twin = SinocareMeterTwin(machine, line_end=b"\r\n")
    (use,) = wire.Driver.about.lines(GattUse)
    device = StreamPeripheral(
        bench.meters.radio,
        bench.hub.clock,
        twin,
        name,
        "F0:F1:F2:53:4E:01",
        use,
        service=service,
        notify=notify,
        write=write,
        tells_service=False,
    )
    bench.attach("meter-1", driver="sinocare_meter")
    twin.glucose(7.2, SHOWN, stored=True)
    await bench.put(device)
    await bench.until(lambda: bench.glucose("meter-1"))
    await device.switch_off()
    twin.glucose(8.1, SHOWN)
    await device.switch_on()
    await bench.until(lambda: len(bench.glucose("meter-1")) == 2)
    assert [result.glucose_mmol_l for result in bench.glucose("meter-1")] == [7.2, 8.1]
    assert device.written == []


async def test_a_result_over_a_bluetooth_serial_port(tmp_path: Path) -> None:
    clock, twin = SystemClock(), SinocareMeterTwin(WL_1)
    port = PtyPort(tmp_path / "meter", twin, clock)
    settings = DeviceSettings(name="meter-1", driver="sinocare_meter", link="serial", port=str(port.path))
    heard: asyncio.Queue[Stamped] = asyncio.Queue()
    session = DeviceSession(settings, wire.Driver(), SerialLink(settings.port), heard.put_nowait, clock)
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(30):
            port.attach()
            while session.state.link is not Link.CONNECTED:
                await heard.get()
            twin.glucose(5.4, SHOWN)
            while not isinstance((event := (await heard.get()).event), Glucose):
                pass
            assert event == Glucose(5.4, device_said_at=SAID)
    finally:
        running.cancel()
        await asyncio.wait({running})
        port.detach()

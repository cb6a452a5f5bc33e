"""Simulated Bluetooth devices -> virtual BlueZ -> the van as it is put together -> its journal and its screens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SystemClock
from devices.simulators.bluetooth_meters import GLUCOSE_ADDRESS, BluetoothMeters
from devices.simulators.bluetooth_profiles import SCALE_ADDRESS, THERMOMETER_ADDRESS, Scale, Thermometer
from tests.devices.bluetooth_bench import PATIENCE_S, needs_dbus_daemon
from tests.vehicle.conftest import counting_bytes
from tests.vehicle.test_assembly import settings
from vehicle.assembly import Vehicle, assemble
from vehicle.pairing import Asking

pytestmark = needs_dbus_daemon

PASSKEY, DOCTOR = 428195, "zhou.min"
DEVICES = [
    {"name": "glucose-1", "driver": "bluetooth_glucose", "link": "bluetooth"},
    {"name": "ear-1", "driver": "bluetooth_thermometer", "link": "bluetooth"},
    {"name": "scale-1", "driver": "bluetooth_scale", "link": "bluetooth"},
]


@asynccontextmanager
async def van(folder: Path, seed: int = 1) -> AsyncIterator[Vehicle]:
    """Sessions run, nothing else: no sockets, no screen."""
    vehicle = assemble(settings(folder, devices=DEVICES), SystemClock(), counting_bytes(seed))
    await vehicle.on_board.start()
    try:
        yield vehicle
    finally:
        await vehicle.stop()


async def happens(vehicle: Vehicle, done: Callable[[], Any]) -> Any:
    """Wait for what the van tells its screens about."""
    async with asyncio.timeout(PATIENCE_S):
        with vehicle.live.subscribe() as reader:
            if found := done():
                return found
            async for _ in reader:
                if found := done():
                    return found
    raise AssertionError("the van stopped")


def stored(vehicle: Vehicle, type_: str) -> list[dict[str, Any]]:
    return vehicle.store.read("SELECT * FROM readings WHERE type = ? ORDER BY taken_at, reading", (type_,))


@pytest.fixture
async def meters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BluetoothMeters]:
    bus = tmp_path / "bus"
    bus.mkdir()
    made = BluetoothMeters(bus, passkey=PASSKEY)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", await made.start())
    yield made
    await made.stop()


async def test_a_thermometer_and_a_scale_fill_their_tiles(meters: BluetoothMeters, tmp_path: Path) -> None:
    thermometer, scale = Thermometer(meters.radio, SystemClock()), Scale(meters.radio, SystemClock())
    await meters.unplug("glucose")
    async with van(tmp_path) as vehicle:
        await thermometer.measure(36.7)
        await scale.measure(61.35)
        await happens(vehicle, lambda: stored(vehicle, "temperature") and stored(vehicle, "weight"))
        (warm,), (heavy,) = stored(vehicle, "temperature"), stored(vehicle, "weight")
        assert (json.loads(warm["values_json"])["temperature_c_e2"], warm["serial"]) == (3670, THERMOMETER_ADDRESS)
        assert (json.loads(heavy["values_json"]), heavy["serial"]) == ({"weight_kg_e2": 6135}, SCALE_ADDRESS)
        entries = vehicle.store.read("SELECT body FROM entries WHERE kind = 'reading/1'")
        codes = [json.loads(entry["body"])["codes"] for entry in entries]
        assert {"temperature_c_e2": {"mdc": 150364, "loinc": "8310-5", "ucum": "Cel"}} in codes
        held = {one.type: one.measured_at for one in vehicle.measurements.holding()}
        assert set(held) == {"temperature", "weight"}
    for device in (thermometer, scale):
        await device.withdraw()


async def test_a_meter_is_paired_by_its_digits_and_its_memory_is_stored_once(
    meters: BluetoothMeters, tmp_path: Path
) -> None:
    """Wrong digits, then the right ones; the meter hangs up in the middle; the van is started again."""
    meter = meters.glucose_meter
    for tenth in range(12):
        await meter.measure(5.0 + tenth / 10, switched_on=False)
    meter.drop_after = 5
    await meter.switch_off()
    async with van(tmp_path) as vehicle:
        pairing = vehicle.pairing
        await meter.switch_on()

        def asked() -> Asking | None:
            return pairing.asking()

        first: Asking = await happens(vehicle, asked)
        assert (first.device, first.address) == ("glucose-1", GLUCOSE_ADDRESS)
        await pairing.answer(GLUCOSE_ADDRESS, "000001", DOCTOR)
        again: Asking = await happens(vehicle, lambda: found if (found := asked()) and found.again else None)
        assert again.device == "glucose-1"
        await pairing.answer(GLUCOSE_ADDRESS, f"{meter.displayed_passkey:06d}", DOCTOR)
        await happens(vehicle, lambda: len(stored(vehicle, "glucose")) == 12)
        assert pairing.asking() is None
    async with van(tmp_path, seed=2) as vehicle:
        await meter.measure(7.7)
        await happens(vehicle, lambda: len(stored(vehicle, "glucose")) == 13)
        rows = stored(vehicle, "glucose")
        assert sorted(row["sequence"] for row in rows) == list(range(1, 14))
        assert {row["serial"] for row in rows} == {GLUCOSE_ADDRESS}
        assert meter.requests[-1] == b"\x01\x03\x01\x0d\x00"
        await vehicle.pairing.forget("glucose-1", DOCTOR)
        notes = [row["action"] for row in vehicle.store.read("SELECT action FROM access_log ORDER BY n")]
        assert notes == ["passkey_typed", "passkey_typed", "device_forgotten"]

"""What BlueZ, the bus, the adapter and people do wrong, one at a time, and that the meters come back by themselves."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from bluetooth_bench import QUICK, Bench, bluetooth_bench, happens, needs_dbus_daemon
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

from devices.clock import SystemClock
from devices.driver import Write
from devices.drivers import bluetooth_blood_pressure, bluetooth_glucose
from devices.links.bluetooth_hub import BluetoothHub
from devices.links.bluetooth_limits import Limits
from devices.links.link import SessionEnded
from devices.readings import DeviceState, Link
from devices.simulators.bluetooth_meters import CUFF_ADDRESS, GLUCOSE_ADDRESS
from devices.simulators.virtual_bluez import device_path

pytestmark = needs_dbus_daemon

PASSKEY = 482913
UNKNOWN_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"
GLUCOSE_LINE = bluetooth_glucose.Driver.about.line
CUFF_LINE = bluetooth_blood_pressure.Driver.about.line


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="xunzhen")
    return caplog


def bluetooth_events(told: pytest.LogCaptureFixture) -> list[str]:
    said = [json.loads(record.message)["event"] for record in told.records if record.name == "xunzhen"]
    return [event for event in said if event.startswith("bluetooth_")]


async def comes_through(bench: Bench, count: int = 1) -> None:
    await bench.until(lambda: len(bench.glucose()) == count)


async def test_bus_killed_and_back(bench: Bench, told: pytest.LogCaptureFixture) -> None:
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.bluez.kill_bus()
    await bench.until(lambda: bench.fault("glucose-1") == "bluetooth_off")
    await bench.meters.glucose(7.1)
    await bench.meters.bluez.revive_bus()
    await comes_through(bench)
    assert bench.fault("glucose-1") is None
    assert bluetooth_events(told) == ["bluetooth_unavailable", "bluetooth_available"]


async def test_a_call_on_a_dead_bus_fails_and_leaves_no_error_that_nobody_read(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def call_too_late() -> None:
        bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        await bench.meters.bluez.kill_bus()
        with pytest.raises((EOFError, OSError)):
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        with pytest.raises((EOFError, OSError)):
            await bus.call(Message(destination="org.bluez", path="/", interface="org.bluez", member="Anything"))

    await call_too_late()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_bluetoothd_killed_on_a_living_bus_and_back(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.bluez.kill_daemon()
    await bench.until(lambda: bench.fault("glucose-1") == "bluetooth_off")
    await bench.meters.glucose(7.1)
    await bench.meters.bluez.revive_daemon()
    await comes_through(bench)
    assert bench.fault("glucose-1") is None


async def test_adapter_off_and_on(bench: Bench, told: pytest.LogCaptureFixture) -> None:
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.bluez.power(False)
    await bench.until(lambda: bench.fault("glucose-1") == "bluetooth_off")
    await bench.meters.glucose(7.1)
    await bench.meters.bluez.power(True)
    await comes_through(bench)
    assert bluetooth_events(told) == ["bluetooth_unavailable", "bluetooth_available"]


async def test_no_bus_at_all_is_told_once_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    hub = BluetoothHub(SystemClock(), limits=QUICK)
    link = hub.link("glucose-1")
    opening = asyncio.create_task(link.open(GLUCOSE_LINE))
    await happens(lambda: link.fault == "bluetooth_off")
    await asyncio.sleep(1.0)  # several attempts
    assert bluetooth_events(told) == ["bluetooth_unavailable"]
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await hub.stop()


@pytest.mark.parametrize(
    ("member", "error", "text"),
    [
        ("StartDiscovery", "InProgress", "Operation already in progress"),
        ("StartDiscovery", "NotReady", "Resource Not Ready"),
        ("SetDiscoveryFilter", "Failed", "Failed"),
        ("RegisterAgent", "AlreadyExists", "Already Exists"),
        ("Pair", "ConnectionAttemptFailed", "Page Timeout"),
        ("StartNotify", "Failed", "Operation failed with ATT error: 0x0e"),
        ("WriteValue", "InProgress", "In Progress"),
        ("WriteValue", "Failed", "Not connected"),
        ("WriteValue", "Failed", "Operation failed with ATT error: 0xfe"),
        ("WriteValue", UNKNOWN_OBJECT, "no such object"),
        ("StartDiscovery", "Failed", "Operation failed"),
        ("StartDiscovery", UNKNOWN_OBJECT, "the adapter is gone"),
        ("RequestDefaultAgent", "DoesNotExist", "Does Not Exist"),
        ("Pair", "InProgress", "In Progress"),
        ("Pair", "NotReady", "Resource Not Ready"),
        ("Pair", UNKNOWN_OBJECT, "it was temporary"),
        ("StartNotify", "NotPermitted", "Not permitted"),
        ("StartNotify", UNKNOWN_OBJECT, "the services went away"),
    ],
)
async def test_a_refused_call_is_tried_again(bench: Bench, member: str, error: str, text: str) -> None:
    bench.meters.bluez.faults.refuse(member, error, text, times=2)
    await bench.meters.glucose(5.8)
    bench.attach("glucose-1")
    await comes_through(bench)
    assert bench.meters.bluez.calls.count(member) >= 3


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("Failed", "br-connection-unknown"),
        ("NotReady", "Resource Not Ready"),
        ("InProgress", "In Progress"),
        (UNKNOWN_OBJECT, "it was temporary"),
    ],
)
async def test_a_refused_connection_to_a_bonded_meter_is_tried_again(bench: Bench, error: str, text: str) -> None:
    bench.attach("glucose-1")
    await bench.meters.glucose(5.8)
    await comes_through(bench)
    bench.meters.bluez.faults.refuse("Connect", error, text, times=2)
    await bench.meters.glucose(5.9)
    await comes_through(bench, 2)


async def test_a_connection_that_broke_while_it_was_made_is_no_hanging_up(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.meters.glucose(5.8)
    await comes_through(bench)
    await bench.meters.unplug("glucose")
    await bench.until(lambda: bench.link("glucose-1") is Link.ABSENT)
    bench.meters.bluez.faults.abort_by_local = 1
    told = len(bench.published)
    await bench.meters.glucose(5.9)
    await bench.meters.plug("glucose")
    await comes_through(bench, 2)
    links = [stamped.event.link for stamped in bench.published[told:] if isinstance(stamped.event, DeviceState)]
    assert Link.ABSENT not in links[links.index(Link.CONNECTED) :], "bleak tried again by itself, on one opening"


async def test_a_bonded_meter_that_breaks_each_connection_is_told_as_a_bond_that_was_lost(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.meters.glucose(5.8)
    await comes_through(bench)
    await bench.meters.unplug("glucose")
    await bench.until(lambda: bench.link("glucose-1") is Link.ABSENT)
    bench.meters.bluez.faults.abort_by_local = 1000
    await bench.meters.glucose(5.9)
    await bench.meters.plug("glucose")
    await bench.until(lambda: bench.fault("glucose-1") == "bluetooth_pairing_failed")
    bench.meters.bluez.faults.abort_by_local = 0
    await comes_through(bench, 2)
    assert bench.fault("glucose-1") is None


async def test_the_device_is_forgotten_when_discovery_stops(bench: Bench) -> None:
    bench.meters.bluez.faults.forgets_after_discovery = True
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.unplug("glucose")
    await bench.until(lambda: bench.link("glucose-1") is Link.ABSENT)
    bench.attach("cuff-1")  # another service: the scan stops and begins anew
    await bench.meters.plug("glucose")
    await bench.meters.glucose(5.8)
    await bench.meters.blood_pressure(131, 84, 66)
    await comes_through(bench)
    await bench.until(lambda: bench.pressures())


async def test_bus_killed_in_the_middle_of_a_report_loses_and_doubles_nothing(bench: Bench) -> None:
    for index in range(60):
        await bench.meters.glucose_meter.measure(4.0 + index / 10, switched_on=False)
    bench.attach("glucose-1")
    await bench.until(lambda: len(bench.glucose()) >= 5)
    await bench.meters.bluez.kill_bus()
    await bench.until(lambda: bench.fault("glucose-1") == "bluetooth_off")
    bench.last_sequence = bench.glucose()[-1].sequence
    await bench.meters.bluez.revive_bus()
    await bench.until(lambda: len(bench.glucose()) >= 60)
    assert [reading.sequence for reading in bench.glucose()] == list(range(1, 61))


async def test_bus_killed_while_connecting(bench: Bench) -> None:
    await bench.meters.glucose(5.8)
    bench.meters.bluez.faults.slow_s = 0.2
    bench.attach("glucose-1")
    await happens(lambda: "Pair" in bench.meters.bluez.calls)
    await bench.meters.bluez.kill_bus()
    bench.meters.bluez.faults.slow_s = 0.0
    await bench.until(lambda: bench.fault("glucose-1") == "bluetooth_off")
    await bench.meters.bluez.revive_bus()
    await comes_through(bench)


async def test_slow_bluetoothd(bench: Bench) -> None:
    bench.meters.bluez.faults.slow_s = 0.3
    await bench.meters.glucose(5.8)
    bench.attach("glucose-1")
    await comes_through(bench)


async def test_services_resolved_before_they_are_there(bench: Bench) -> None:
    bench.meters.bluez.faults.resolved_before_objects = True
    await bench.meters.glucose(5.8)
    bench.attach("glucose-1")
    await happens(lambda: bench.meters.glucose_meter.connections >= 2)
    bench.meters.bluez.faults.resolved_before_objects = False
    await comes_through(bench)


async def test_device_object_removed_before_connecting(bench: Bench) -> None:
    await bench.meters.glucose(5.8)
    bench.meters.bluez.faults.slow_s = 0.2
    bench.attach("glucose-1")
    path = device_path(GLUCOSE_ADDRESS)
    await happens(lambda: path in bench.meters.bluez.devices)
    await bench.meters.bluez.forget(GLUCOSE_ADDRESS)
    bench.meters.bluez.faults.slow_s = 0.0
    await comes_through(bench)


async def test_device_object_removed_while_connected(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.bluez.forget(GLUCOSE_ADDRESS)
    await bench.meters.glucose(5.8)
    await comes_through(bench)


async def test_a_deaf_scan_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(settle_s=0.1, retry_first_s=0.05, deaf_s=0.5)
    async with bluetooth_bench(tmp_path, monkeypatch, limits=limits) as bench:
        await bench.meters.unplug("glucose")
        bench.attach("glucose-1")
        await happens(lambda: "StartDiscovery" in bench.meters.bluez.calls)
        bench.meters.bluez.faults.deaf = True
        await bench.meters.plug("glucose")
        await bench.meters.glucose(5.8)
        await comes_through(bench)
        assert bench.meters.bluez.calls.count("StartDiscovery") >= 2


async def test_an_adapter_that_hangs_is_switched_off_and_on_while_nothing_is_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(settle_s=0.1, retry_first_s=0.05, deaf_s=0.4)
    async with bluetooth_bench(tmp_path, monkeypatch, limits=limits) as bench:
        bench.meters.bluez.faults.hung = True
        bench.attach("glucose-1")
        await bench.meters.glucose(5.8)
        await comes_through(bench)
        assert bench.meters.bluez.faults.hung is False
        assert bench.meters.bluez.calls.count("StartDiscovery") >= 3
        assert not [state for state in bench.states("glucose-1") if state.fault == "bluetooth_off"]


async def test_a_connection_left_by_a_former_life_is_given_up(bench: Bench) -> None:
    await bench.meters.glucose(5.8)
    former = await MessageBus(bus_type=BusType.SYSTEM).connect()

    async def call(path: str, interface: str, member: str) -> None:
        await former.call(Message(destination="org.bluez", path=path, interface=interface, member=member))

    await call("/org/bluez/hci0", "org.bluez.Adapter1", "StartDiscovery")
    path = device_path(GLUCOSE_ADDRESS)
    await happens(lambda: path in bench.meters.bluez.devices)
    await call(path, "org.bluez.Device1", "Connect")
    former.disconnect()
    assert bench.meters.bluez.devices[path].is_connected
    bench.attach("glucose-1")
    await comes_through(bench)


async def test_pairing_asks_for_the_passkey_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def operator(address: str) -> int | None:
        asked.append(address)
        return PASSKEY

    async with bluetooth_bench(tmp_path, monkeypatch, passkey=PASSKEY, ask_passkey=operator) as bench:
        await bench.meters.glucose(5.8)
        bench.attach("glucose-1")
        await comes_through(bench)
        assert bench.meters.glucose_meter.displayed_passkey == PASSKEY
        await bench.meters.glucose(5.9)
        await comes_through(bench, 2)
        assert asked == [GLUCOSE_ADDRESS]


async def test_while_digits_are_looked_for_a_known_meter_delivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, typed = asyncio.Event(), asyncio.Event()

    async def operator(address: str) -> int | None:
        asked.set()
        await typed.wait()
        return PASSKEY

    async with bluetooth_bench(tmp_path, monkeypatch, passkey=PASSKEY, ask_passkey=operator) as bench:
        bench.attach("cuff-1")
        await bench.meters.blood_pressure(131, 84, 66)
        await bench.until(lambda: len(bench.pressures()) == 1)
        bench.meters.bluez.faults.refuse("Pair", "AuthenticationFailed")  # then it is asked for by the subscription
        bench.meters.glucose_meter.demand_bond()
        await bench.meters.glucose(5.8)
        bench.attach("glucose-1")
        await asked.wait()
        await bench.meters.blood_pressure(132, 85, 67)
        await bench.until(lambda: len(bench.pressures()) == 2)
        assert bench.glucose() == []
        typed.set()
        await comes_through(bench)
        assert bench.fault("glucose-1") is None


async def test_what_is_told_only_to_bonded_hosts_is_read_after_pairing(bench: Bench) -> None:
    """bluetoothd neither raised security by itself nor was asked to: it says "Not paired"."""
    bench.meters.bluez.faults.leaves_security_alone = True
    await bench.meters.unplug("blood_pressure")
    bench.meters.cuff.demand_bond()
    link = bench.hub.link("cuff-1")
    opening = asyncio.create_task(link.open(replace(CUFF_LINE, bond=False, read=("2A25",))))
    await bench.meters.plug("blood_pressure")
    await bench.meters.blood_pressure(131, 84, 66)
    async with asyncio.timeout(bench.patience_s):
        await opening
        heard = dict([await link.receive(), await link.receive()])
    await link.close()
    assert heard["2A25"] == CUFF_ADDRESS[-5:].encode()
    assert heard["2A35"][1] == 131
    assert bench.meters.bluez.calls.count("Pair") == 1


async def test_wrong_passkey_is_shown_and_the_right_one_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [111111]

    async def operator(address: str) -> int | None:
        return answers[-1]

    async with bluetooth_bench(tmp_path, monkeypatch, passkey=PASSKEY, ask_passkey=operator) as bench:
        await bench.meters.glucose(5.8)
        link = bench.hub.link("glucose-1")
        opening = asyncio.create_task(link.open(GLUCOSE_LINE))
        await happens(lambda: link.fault == "bluetooth_pairing_failed")
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await link.close()
        answers.append(PASSKEY)
        bench.attach("glucose-1")
        await comes_through(bench)


async def test_a_meter_that_was_reset_is_paired_anew_after_forgetting(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.meters.glucose(5.8)
    await comes_through(bench)
    await bench.meters.unplug("glucose")
    await bench.meters.glucose_meter.forget_bonds()
    await bench.hub.forget(GLUCOSE_ADDRESS)
    await bench.meters.plug("glucose")
    await bench.meters.glucose(5.9)
    await comes_through(bench, 2)


async def test_without_an_operator_a_passkey_meter_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bluetooth_bench(tmp_path, monkeypatch, passkey=PASSKEY) as bench:
        await bench.meters.glucose(5.8)
        bench.attach("glucose-1", "cuff-1")
        await bench.until(lambda: bench.fault("glucose-1") is not None)
        await bench.meters.blood_pressure(144, 91, 72)
        await bench.until(lambda: bench.pressures())
        assert bench.glucose() == []


async def test_cancelled_in_every_moment_nothing_stays_claimed(bench: Bench) -> None:
    await bench.meters.glucose(5.8)
    for steps in range(0, 60, 3):
        link = bench.hub.link("glucose-1")
        opening = asyncio.create_task(link.open(GLUCOSE_LINE))
        for _ in range(steps):
            await asyncio.sleep(0.005)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await link.close()
    bench.attach("glucose-1")
    await comes_through(bench)


async def test_a_device_that_another_link_has_now_stays_claimed(bench: Bench) -> None:
    await bench.meters.glucose(5.8)
    former, present = bench.hub.link("glucose-1"), bench.hub.link("glucose-2")
    await former.open(GLUCOSE_LINE)
    await former.close()
    await bench.meters.glucose(5.9)
    await present.open(GLUCOSE_LINE)
    await former.close()
    assert present.place in bench.hub._claimed, "else the next scan takes it for a stale connection and ends it"
    await present.close()
    assert not bench.hub._claimed


async def test_overflow_ends_the_connection_instead_of_growing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.links.bluetooth_link.MAX_WAITING_VALUES", 3)
    for _ in range(5):
        await bench.meters.glucose_meter.measure(6.0, switched_on=False)
    link = bench.hub.link("glucose-1")
    await link.open(replace(GLUCOSE_LINE, read=()))
    await link.write(Write(bluetooth_glucose.ALL_RECORDS, bluetooth_glucose.RACP))
    await happens(lambda: link._ended is not None)
    taken = [await link.receive() for _ in range(3)]
    assert len(taken) == 3
    with pytest.raises(Exception, match="were not read") as refusal:
        await link.receive()
    assert not isinstance(refusal.value, SessionEnded)
    await link.close()


def test_addresses_of_the_simulated_devices_differ() -> None:
    assert device_path(GLUCOSE_ADDRESS) != device_path(CUFF_ADDRESS)

"""The production Bluetooth code against a real bluetoothd and kernel (tests/appliance); only the radio is simulated.

One file, so that one virtual machine serves all of it. ``make appliance`` runs it, with the long storms; ``make test``
does not, as the emulated machine loses connections where two cores are busy with other tests.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from sqlite3 import OperationalError

import pytest
import pytest_asyncio
from bluetooth_bench import all_values, happens, open_descriptors
from bluez_desk import CUFF_LINE, GLUCOSE_LINE, PATIENCE_S, RACP, Desk, air, ask, fill, laid_desk
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from dbus_fast.auth import AuthExternal

from benchmarks.replug_bluetooth import replug
from devices.drivers.bluetooth_glucose import ALL_RECORDS, decode_measurement
from devices.links.link import SessionEnded
from devices.readings import Link
from tests.appliance.air import DEVICE, Air

assert air  # the fixture of this module

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

DROPS = int(os.environ.get("APPLIANCE_DROPS", "15"))
PLUGS = int(os.environ.get("APPLIANCE_PLUGS", "5"))
PASSKEY = 482913
COUNT_RECORDS = b"\x04\x01"
ROOT = Path(__file__).parents[2]
VEHICLE = """
practice = true
data = "data"
[vehicle]
id = "van-07"
plate = "川A·演07"
origin = "van-07.example"
county_name = "青峪县"
[touchscreen]
port = 0
socket = "run/vehicle.sock"
[[devices]]
name = "glucose-1"
driver = "bluetooth_glucose"
link = "bluetooth"
"""


@pytest_asyncio.fixture(loop_scope="module")
async def desk(air: Air) -> AsyncIterator[Desk]:
    async with laid_desk(air) as desk:
        yield desk
    print("\n".join(air.appliance.told))  # shown with a test that fails


class Operator:
    """Types what stands in ``answers``, one after the other, the last one for ever."""

    def __init__(self, *answers: int | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, address: str) -> int | None:
        self.asked.append(address)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


# records


async def test_two_hundred_records_counted_and_fetched_twice_are_the_same(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await fill(meter, 200)
    await meter.switch_on()
    link = desk.hub.link("glucose-1")
    await link.open(GLUCOSE_LINE)
    counted = await ask(link, COUNT_RECORDS)
    first, second = await ask(link, ALL_RECORDS), await ask(link, ALL_RECORDS)
    await link.close()
    assert counted[-1] == (RACP, b"\x05\x00\xc8\x00")
    assert first == second
    measurements = [decode_measurement(value) for channel, value in first if channel == "2A18"]
    assert [measurement.sequence for measurement in measurements] == list(range(1, 201))


async def test_no_records_is_an_answer_and_no_fault(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await meter.switch_on()
    link = desk.hub.link("glucose-1")
    await link.open(GLUCOSE_LINE)
    answers = await ask(link, ALL_RECORDS)
    await link.close()
    assert answers[-1] == (RACP, b"\x06\x00\x01\x06")
    desk.bench.attach("glucose-1")
    await desk.until(lambda: desk.bench.link("glucose-1") is Link.CONNECTED)
    assert desk.bench.fault("glucose-1") is None


async def test_battery_and_records_through_a_session(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await fill(meter, 20)
    await meter.switch_on()
    desk.bench.attach("glucose-1")
    await desk.until(lambda: len(desk.bench.glucose()) == 20)
    assert [reading.sequence for reading in desk.bench.glucose()] == list(range(1, 21))
    assert [reading.meal for reading in desk.bench.glucose()] == [None, "fasting"] * 10
    await desk.until(lambda: desk.bench.states("glucose-1")[-1].battery_percent == 82)


async def test_drop_after_seven_of_twenty_then_the_rest_without_loss_or_double(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await fill(meter, 20)
    meter.drop_after = 7
    await meter.switch_on()
    desk.bench.attach("glucose-1")
    await happens(lambda: meter.connections and meter.connection is None, PATIENCE_S)
    await desk.until(lambda: desk.bench.link("glucose-1") is Link.ABSENT)
    stored = desk.bench.glucose()
    desk.bench.last_sequence = stored[-1].sequence if stored else None
    await desk.until(lambda: len(desk.bench.glucose()) == 20)
    assert [reading.sequence for reading in desk.bench.glucose()] == list(range(1, 21))


async def test_after_reconnecting_each_value_comes_once(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await fill(meter, 10)
    link = desk.hub.link("glucose-1")
    for _ in range(3):
        await meter.switch_on()
        await link.open(GLUCOSE_LINE)
        heard = await ask(link, ALL_RECORDS)
        assert sum(channel == "2A18" for channel, _ in heard) == 10
        await meter.hang_up()
        assert await all_values(link, PATIENCE_S) == []
    await link.close()


async def test_a_meter_that_was_switched_off_is_back_with_its_new_record(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await meter.measure(5.1)
    desk.bench.attach("glucose-1")
    await desk.until(lambda: len(desk.bench.glucose()) == 1)
    await meter.switch_off()
    await desk.until(lambda: desk.bench.link("glucose-1") is Link.ABSENT)
    await meter.measure(6.2)
    await desk.until(lambda: len(desk.bench.glucose()) == 2)
    assert [reading.glucose_mmol_l for reading in desk.bench.glucose()] == [5.1, 6.2]


# bonding


async def test_bonding_by_passkey_once_and_never_again(desk: Desk) -> None:
    operator = Operator(PASSKEY)
    desk.let_operator(operator)
    meter = desk.glucose_meter(passkey=PASSKEY)
    await meter.measure(5.8)
    desk.bench.attach("glucose-1")
    await desk.until(lambda: len(desk.bench.glucose()) == 1)
    assert meter.displayed_passkey == PASSKEY
    assert (await desk.air.device(meter.address))["Bonded"]
    await meter.measure(5.9)
    await desk.until(lambda: len(desk.bench.glucose()) == 2)
    assert meter.connections >= 2
    assert operator.asked == [meter.address]


async def test_wrong_passkey_is_said_and_the_next_right_one_works(desk: Desk) -> None:
    operator = Operator(111111, 222222, PASSKEY)
    desk.let_operator(operator)
    meter = desk.glucose_meter(passkey=PASSKEY)
    await meter.measure(5.8)
    desk.bench.attach("glucose-1")
    await desk.until(lambda: desk.bench.fault("glucose-1") == "bluetooth_pairing_failed")
    await desk.until(lambda: desk.bench.glucose())
    assert desk.bench.fault("glucose-1") is None
    assert len(operator.asked) == 3


async def test_what_is_told_only_to_bonded_hosts_is_read_though_nobody_asked_to_pair(desk: Desk) -> None:
    """bluetoothd raises security by itself at the device's refusal, and our agent gets the question."""
    operator = Operator(PASSKEY)
    desk.let_operator(operator)
    cuff = desk.cuff(passkey=PASSKEY)
    cuff.demand_bond()
    cuff.hold_s = PATIENCE_S
    link = desk.hub.link("cuff-1")
    await cuff.measure(141, 90, 70)
    async with asyncio.timeout(PATIENCE_S):
        await link.open(replace(CUFF_LINE, bond=False, read=("2A25",)))
        heard = dict([await link.receive(), await link.receive()])
    assert heard["2A25"] == cuff.address[-5:].encode()
    assert heard["2A35"][1] == 141
    assert (await desk.air.device(cuff.address))["Bonded"]
    assert operator.asked == [cuff.address]
    await link.close()


async def test_while_digits_are_looked_for_a_known_cuff_delivers(desk: Desk) -> None:
    """The first answer is late, so the question comes again without Pair(), during which bluetoothd does not scan."""
    typed = asyncio.Event()
    asked: list[str] = []

    async def operator(address: str) -> int | None:
        asked.append(address)
        if len(asked) == 1:
            return None
        await typed.wait()
        return PASSKEY

    desk.let_operator(operator)
    cuff, meter = desk.cuff(), desk.glucose_meter(passkey=PASSKEY)
    desk.bench.attach("cuff-1")
    await cuff.measure(141, 90, 70)
    await desk.until(lambda: len(desk.bench.pressures()) == 1)
    meter.demand_bond()
    await meter.measure(5.8)
    desk.bench.attach("glucose-1")
    await happens(lambda: len(asked) == 2, PATIENCE_S)
    await cuff.measure(142, 90, 70)
    await desk.until(lambda: len(desk.bench.pressures()) == 2)
    typed.set()
    await desk.until(lambda: desk.bench.glucose())


async def test_nobody_types_the_passkey_and_the_cuff_beside_it_works(desk: Desk) -> None:
    desk.let_operator(Operator(None))
    meter, cuff = desk.glucose_meter(passkey=PASSKEY), desk.cuff()
    await meter.measure(5.8)
    desk.bench.attach("glucose-1", "cuff-1")
    await desk.until(lambda: desk.bench.fault("glucose-1") == "bluetooth_pairing_failed")
    await cuff.measure(144, 91, 72)
    await desk.until(lambda: desk.bench.pressures())
    assert desk.bench.glucose() == []


async def test_meter_that_was_reset_by_its_user_pairs_again_after_forgetting(desk: Desk) -> None:
    """Forgotten before it is met again: a bonded device without its keys is an oops of kernel 6.1.192 (the note)."""
    operator = Operator(PASSKEY)
    desk.let_operator(operator)
    meter = desk.glucose_meter(passkey=PASSKEY)
    await meter.measure(5.8)
    desk.bench.attach("glucose-1")
    await desk.until(lambda: len(desk.bench.glucose()) == 1)
    await meter.switch_off()
    await meter.forget_bonds()
    await desk.until(lambda: desk.bench.link("glucose-1") is Link.ABSENT)
    await desk.hub.forget(meter.address)
    await meter.measure(5.9)
    await desk.until(lambda: len(desk.bench.glucose()) == 2)
    assert desk.bench.fault("glucose-1") is None
    assert operator.asked == [meter.address] * 2


# cuffs


@pytest.mark.parametrize(("delay_s", "hold_s"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.5)], ids=["at-once", "late", "held"])
async def test_cuff_indicates_on_the_subscription_and_hangs_up(desk: Desk, delay_s: float, hold_s: float) -> None:
    cuff = desk.cuff()
    cuff.delay_s, cuff.hold_s = delay_s, hold_s
    desk.bench.attach("cuff-1")
    for systolic_mmhg in (151, 152, 153):
        await cuff.measure(systolic_mmhg, 90, 70)
        await desk.until(lambda: desk.bench.pressures()[-1:] and desk.bench.link("cuff-1") is Link.ABSENT)
        await desk.until(lambda last=systolic_mmhg: desk.bench.pressures()[-1].systolic_mmhg == last)
    assert [reading.systolic_mmhg for reading in desk.bench.pressures()] == [151, 152, 153]


async def test_results_that_waited_in_the_cuff_come_in_order(desk: Desk) -> None:
    cuff = desk.cuff()
    cuff.hold_s = 0.0
    await cuff.switch_off()
    for systolic_mmhg in (131, 132, 133):
        await cuff.measure(systolic_mmhg, 90, 70)
    desk.bench.attach("cuff-1")
    await cuff.switch_on()
    await desk.until(lambda: len(desk.bench.pressures()) == 3)
    assert [reading.systolic_mmhg for reading in desk.bench.pressures()] == [131, 132, 133]


# several devices


async def test_four_meters_at_the_same_moment_all_deliver(desk: Desk) -> None:
    meters = [desk.glucose_meter(1), desk.glucose_meter(2)]
    cuffs = [desk.cuff(1), desk.cuff(2)]
    for meter in meters:
        await fill(meter, 15)
    desk.bench.attach("glucose-1", address=meters[0].address)
    desk.bench.attach("glucose-2", address=meters[1].address)
    desk.bench.attach("cuff-1", address=cuffs[0].address)
    desk.bench.attach("cuff-2", address=cuffs[1].address)
    await asyncio.gather(
        *(meter.switch_on() for meter in meters), cuffs[0].measure(141, 90, 70), cuffs[1].measure(142, 90, 70)
    )
    await desk.until(
        lambda: (
            len(desk.bench.glucose("glucose-1") + desk.bench.glucose("glucose-2")) == 30
            and len(desk.bench.pressures()) == 2
        )
    )
    for name in ("glucose-1", "glucose-2"):
        assert [reading.sequence for reading in desk.bench.glucose(name)] == list(range(1, 16))
    assert [reading.systolic_mmhg for name in ("cuff-1", "cuff-2") for reading in desk.bench.pressures(name)] == [
        141,
        142,
    ]


async def test_two_sessions_never_share_one_meter(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await fill(meter, 5)
    await meter.switch_on()
    desk.bench.attach("glucose-1", "glucose-2")
    await desk.until(lambda: len(desk.bench.glucose("glucose-1") + desk.bench.glucose("glucose-2")) == 5)
    assert {desk.bench.link("glucose-1"), desk.bench.link("glucose-2")} == {Link.CONNECTED, Link.ABSENT}


async def test_thirty_foreign_advertisers_do_not_hide_the_meter(desk: Desk) -> None:
    for number in range(30):
        await desk.foreigner(number).advertise()
    meter = desk.glucose_meter()
    desk.bench.attach("glucose-1")
    for glucose_mmol_l in (5.1, 5.2):
        await meter.measure(glucose_mmol_l)
        await desk.until(lambda last=glucose_mmol_l: [r.glucose_mmol_l for r in desk.bench.glucose()][-1:] == [last])
    assert desk.bench.fault("glucose-1") is None


async def test_a_device_that_advertises_for_two_seconds_only_is_caught(desk: Desk) -> None:
    """On a machine that is too busy for two seconds the cuff's user presses its button again, five times at most."""
    cuff = desk.cuff()
    desk.bench.attach("cuff-1")
    await desk.air.until_discovering()
    for systolic_mmhg in (121, 122):
        await cuff.measure(systolic_mmhg, 80, 70)
        for _ in range(5):
            await asyncio.sleep(2.0)
            await cuff.quiet()
            if cuff.connection is not None or not cuff.waiting:
                break
            await cuff.advertise()
        await desk.until(lambda last=systolic_mmhg: [p.systolic_mmhg for p in desk.bench.pressures()][-1:] == [last])


# the adapter, bluetoothd, the bus


async def test_adapter_off_and_on(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await meter.measure(5.1)
    desk.bench.attach("glucose-1")
    await desk.until(lambda: len(desk.bench.glucose()) == 1)
    await desk.air.power(False)
    await desk.until(lambda: desk.bench.fault("glucose-1") == "bluetooth_off")
    await meter.measure(5.2)
    await desk.air.power(True)
    await desk.until(lambda: len(desk.bench.glucose()) == 2)
    assert desk.bench.fault("glucose-1") is None


@pytest.mark.parametrize("program", ["bluetoothd", "dbus-daemon"])
async def test_daemon_killed_and_started_again(desk: Desk, program: str) -> None:
    meter = desk.glucose_meter()
    await meter.measure(5.1)
    desk.bench.attach("glucose-1")
    await desk.until(lambda: len(desk.bench.glucose()) == 1)
    await desk.air.appliance.command("kill", program)
    await desk.until(lambda: desk.bench.fault("glucose-1") == "bluetooth_off")
    if program == "dbus-daemon":
        await desk.air.appliance.command("kill", "bluetoothd")  # without its bus it ends by itself, sooner or later
    await desk.air.revive()
    await meter.measure(5.2)
    await desk.until(lambda: len(desk.bench.glucose()) == 2)
    assert desk.bench.fault("glucose-1") is None


async def test_a_connection_that_a_killed_daemon_left_is_ended(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await meter.measure(5.1)
    path = f"/org/bluez/hci0/dev_{meter.address.replace(':', '_')}"
    former = MessageBus(bus_type=BusType.SYSTEM, auth=AuthExternal(uid=0))
    await former.connect()

    async def call(object_path: str, interface: str, member: str) -> None:
        await former.call(Message(destination="org.bluez", path=object_path, interface=interface, member=member))

    await call("/org/bluez/hci0", "org.bluez.Adapter1", "StartDiscovery")
    await desk.air.until_known(meter.address)
    await call(path, DEVICE, "Connect")
    former.disconnect()
    assert (await desk.air.device(meter.address))["Connected"]
    desk.bench.attach("glucose-1")
    await desk.until(lambda: desk.bench.glucose())


async def test_the_whole_vehicle_stores_a_reading_and_its_death_leaves_no_meter_behind(
    desk: Desk, tmp_path: Path
) -> None:
    """As a process of its own, killed while the meter is connected: bluetoothd keeps that connection (bluez 89)."""
    meter = desk.glucose_meter()
    await meter.measure(6.4)
    (tmp_path / "vehicle.toml").write_text(VEHICLE, encoding="utf-8")
    with (tmp_path / "vehicle.log").open("wb") as log:
        vehicle = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vehicle", "--settings", str(tmp_path / "vehicle.toml")), cwd=ROOT, stderr=log
        )
    try:
        await happens(lambda: journal(tmp_path) == [("glucose", 640)], PATIENCE_S)
        assert (await desk.air.device(meter.address))["Connected"]
    finally:
        vehicle.kill()
        await vehicle.wait()
    desk.bench.attach("glucose-1")
    await desk.until(lambda: desk.bench.glucose())


def journal(folder: Path) -> list[tuple[str, int]]:
    """The readings in the record of a running vehicle: type and glucose in hundredths of mmol/L."""
    file = folder / "data/journal.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as tables, suppress(OperationalError):
        return tables.execute("SELECT type, json_extract(values_json, '$.glucose_mmol_l_e2') FROM readings").fetchall()
    return []


async def test_opening_cancelled_at_any_moment_leaves_nothing_claimed(desk: Desk) -> None:
    meter = desk.glucose_meter()
    await meter.measure(5.8)
    for steps in (0, 1, 2, 4, 8, 16):
        link = desk.hub.link("glucose-1")
        opening = asyncio.create_task(link.open(GLUCOSE_LINE))
        await asyncio.sleep(steps * 0.1)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await link.close()
        await meter.hang_up()  # what a radio's supervision timeout does; bumble's link has none
        await meter.switch_on()
    desk.bench.attach("glucose-1")
    await desk.until(lambda: desk.bench.glucose())


async def test_drops_leak_no_descriptor_no_task_and_no_bus_connection(desk: Desk) -> None:
    cuff = desk.cuff()
    cuff.hold_s = 0.0
    link = desk.hub.link("cuff-1")

    async def measured_once(systolic_mmhg: int) -> list[int]:
        await cuff.measure(systolic_mmhg, 60, 60)
        await link.open(CUFF_LINE)
        values = await all_values(link, PATIENCE_S)
        await link.close()
        return [value[1] for value in values if len(value) > 1]

    assert await measured_once(100) == [100]
    before = open_descriptors(), len(asyncio.all_tasks()), await desk.air.clients()
    for drop in range(DROPS):
        systolic_mmhg = 101 + drop % 100
        assert await measured_once(systolic_mmhg) == [systolic_mmhg]
    await happens(lambda: open_descriptors() <= before[0] and len(asyncio.all_tasks()) <= before[1], PATIENCE_S)
    assert await desk.air.clients() <= before[2]


async def test_plugged_and_pulled_in_a_storm_it_is_back_each_time(desk: Desk) -> None:
    storm = await replug(desk.glucose_meter(), desk.hub, PLUGS)
    print("back after, in s:", sorted(round(seconds, 2) for seconds in storm.back_s))
    assert storm.sequences == tuple(range(2, PLUGS + 2))
    assert not storm.after.more_than(storm.before), (storm.before, storm.after)


async def test_a_meter_that_says_nothing_more_hangs_up_in_good_order(desk: Desk) -> None:
    meter = desk.glucose_meter()
    meter.idle_limit_s = 0.2
    await meter.measure(5.8)
    link = desk.hub.link("glucose-1")
    await link.open(GLUCOSE_LINE)
    await ask(link, ALL_RECORDS)
    with pytest.raises(SessionEnded):
        async with asyncio.timeout(PATIENCE_S):
            await link.receive()
    await link.close()

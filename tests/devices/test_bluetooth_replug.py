"""A meter that is plugged and pulled many times over Bluetooth is back each time, and nothing is left behind."""

from __future__ import annotations

from bluetooth_bench import needs_dbus_daemon

from benchmarks.replug_bluetooth import replug_on_virtual_bus

pytestmark = needs_dbus_daemon

ROUNDS = 15
"""200 in ``make appliance`` and ``make bench-devices``, which prints the times."""


async def test_back_each_time_with_its_record_and_nothing_is_left() -> None:
    storm = await replug_on_virtual_bus(ROUNDS)
    assert len(storm.back_s) == ROUNDS
    assert storm.sequences == tuple(range(2, ROUNDS + 2))
    assert not storm.after.more_than(storm.before), (storm.before, storm.after)

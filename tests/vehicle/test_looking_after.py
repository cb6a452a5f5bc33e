"""Clock, devices, disk, services, commits from callbacks: what keeps an eye on the van."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.errors import AskPerson
from devices.readings import DeviceState, Link, Stamped
from sync.formats.records import Draft, read_entry
from sync.record.database import DiskFull
from sync.record.store import Store
from tests.vehicle.conftest import NEAR, at_place
from vehicle.commits import Commits
from vehicle.device_events import DeviceEvents, usb_serial
from vehicle.disk import Disk, Level, Space
from vehicle.supervisor import RESTARTS, Running, Supervisor
from vehicle.time_source import TimeSource


def entries(store: Store, kind: str) -> list:
    found = (read_entry(body) for body in store.entries(0, store.size()))
    return [entry for entry in found if entry.kind == kind]


# clock ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def time_source(store: Store, clock: SimulatedClock, tmp_path: Path) -> TimeSource:
    return TimeSource(clock, Commits(store, clock, at_once=True), store.set_time_source, tmp_path / "synchronized")


def fix(clock: SimulatedClock, gnss_ahead_s: float) -> Stamped:
    position = at_place(NEAR, gnss_at=clock.now() + timedelta(seconds=gnss_ahead_s))
    return Stamped("gnss-1", "nmea_gnss", clock.now(), clock.monotonic_s(), position)


def test_gnss_counts_while_it_agrees_and_is_heard(time_source: TimeSource, clock: SimulatedClock, store: Store) -> None:
    assert time_source.source == "rtc"
    time_source.on_stamped(fix(clock, -0.4))
    assert (time_source.source, time_source.offset_ms) == ("gnss", -400)
    store.commit_now(Draft("access/1", {"action": "x", "what": "y"}))
    assert entries(store, "access/1")[0].at_source == "gnss"
    clock.advance(61)
    time_source.tick()
    assert time_source.source == "rtc"
    time_source.on_stamped(fix(clock, 2.5))
    assert (time_source.source, time_source.offset_ms) == ("rtc", 2500)


def test_a_synchronised_system_clock_is_said_to_be(time_source: TimeSource, tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    assert time_source.source == "ntp"


@pytest.mark.parametrize("step_s", [-3600, 5, 86400])
def test_a_stepped_clock_is_an_entry(
    time_source: TimeSource, clock: SimulatedClock, store: Store, step_s: float
) -> None:
    clock.advance(100)
    time_source.tick()
    clock.set_wall(clock.now() + timedelta(seconds=step_s))
    time_source.tick()
    time_source.tick()
    [entry] = entries(store, "clock/1")
    assert entry.fields == {"seconds_ms": step_s * 1000, "source": "rtc"}


@pytest.mark.parametrize(("gnss_ahead_s", "source"), [(3600, "gnss"), (0, "rtc")], ids=["put right", "put wrong"])
def test_who_set_the_clock_is_told_by_the_time_of_gnss(
    time_source: TimeSource, clock: SimulatedClock, store: Store, gnss_ahead_s: float, source: str
) -> None:
    time_source.on_stamped(fix(clock, gnss_ahead_s))
    clock.set_wall(clock.now() + timedelta(hours=1))
    time_source.tick()
    assert entries(store, "clock/1")[0].fields["source"] == source


@pytest.mark.parametrize(("synchronised", "source"), [("now", "ntp"), ("before", "rtc")])
def test_that_ntp_was_right_an_hour_ago_does_not_make_a_step_by_hand_a_correction(
    time_source: TimeSource, clock: SimulatedClock, store: Store, tmp_path: Path, synchronised: str, source: str
) -> None:
    mark = tmp_path / "synchronized"
    mark.touch()
    before = clock.now().timestamp()
    clock.set_wall(clock.now() + timedelta(hours=1))
    at = clock.now().timestamp() if synchronised == "now" else before
    os.utime(mark, (at, at))
    time_source.tick()
    assert entries(store, "clock/1")[0].fields["source"] == source


def test_those_who_remember_times_hear_of_a_step(store: Store, clock: SimulatedClock, tmp_path: Path) -> None:
    heard: list[timedelta] = []
    commits = Commits(store, clock, at_once=True)
    time_source = TimeSource(clock, commits, ntp_mark=tmp_path / "none", stepped=heard.append)
    clock.set_wall(clock.now() - timedelta(minutes=7))
    time_source.on_stamped(fix(clock, 0.0))
    assert heard == [timedelta(minutes=-7)]


def test_a_drift_below_two_seconds_is_none(time_source: TimeSource, clock: SimulatedClock, store: Store) -> None:
    clock.set_wall(clock.now() + timedelta(seconds=1.5))
    time_source.tick()
    assert entries(store, "clock/1") == []


# devices --------------------------------------------------------------------------------------------------------------


class Plug:
    def __init__(self, store: Store, clock: SimulatedClock) -> None:
        self.clock = clock
        self.events = DeviceEvents(Commits(store, clock, at_once=True), clock)

    def say(self, link: Link, fault: str | None = None, for_s: float = 0.0) -> None:
        state = DeviceState(link, fault=fault, counters={"frames": 7})
        self.events.on_stamped(Stamped("ecg-1", "contec_8000g", self.clock.now(), self.clock.monotonic_s(), state))
        while for_s > 0:
            self.clock.advance(1)
            self.events.tick()
            for_s -= 1


def test_coming_going_and_failing_are_entries_once(store: Store, clock: SimulatedClock) -> None:
    plug = Plug(store, clock)
    for _ in range(5):
        plug.say(Link.CONNECTED, for_s=4)
    plug.say(Link.CONNECTED, fault="device_unreadable", for_s=4)
    plug.say(Link.LOST, for_s=4)
    plug.say(Link.CONNECTED, for_s=4)
    found = [entry.fields for entry in entries(store, "device_event/1")]
    assert [entry["event"] for entry in found] == ["attached", "fault", "lost", "attached"]
    assert found[1]["facts"]["code"] == "device_unreadable"
    assert all(entry["device"] == "ecg-1" for entry in found)


def test_what_the_hardware_says_it_is_stands_in_the_journal(store: Store, clock: SimulatedClock) -> None:
    plug = Plug(store, clock)
    plug.events.serial_of = {"ecg-1": "00:1A:7D:DA:71:13"}.get
    plug.say(Link.CONNECTED, for_s=4)
    plug.say(Link.LOST, for_s=4)
    attached, lost = (entry.fields["facts"] for entry in entries(store, "device_event/1"))
    assert attached["serial"] == "00:1A:7D:DA:71:13"
    assert "serial" not in lost


def test_a_port_without_usb_behind_it_has_no_serial_number(tmp_path: Path) -> None:
    assert usb_serial(str(tmp_path / "ecg")) is None


def test_a_loose_plug_does_not_fill_the_journal(store: Store, clock: SimulatedClock) -> None:
    plug = Plug(store, clock)
    for _ in range(50):
        plug.say(Link.CONNECTED, for_s=1)
        plug.say(Link.LOST, for_s=1)
    assert entries(store, "device_event/1") == []
    plug.say(Link.CONNECTED, for_s=4)
    assert len(entries(store, "device_event/1")) == 1


# disk -----------------------------------------------------------------------------------------------------------------


class NothingToEvict:
    async def make_room(self, wanted_bytes: int, reason: str) -> int:
        return 0


@pytest.mark.parametrize(
    ("used_percent", "level", "takes_clips"),
    [(0, Level.OK, True), (69, Level.OK, True), (70, Level.WARN, True), (85, Level.EVICT, True),
     (94, Level.EVICT, True), (95, Level.FULL, False), (100, Level.FULL, False)],
)  # fmt: skip
def test_disk_levels(clock: SimulatedClock, store: Store, used_percent: int, level: Level, takes_clips: bool) -> None:
    disk = Disk(Path("/"), clock, NothingToEvict(), store, look=lambda folder: Space(100 - used_percent, 100))
    disk.tick()
    assert disk.level is level
    assert disk.takes_clips is takes_clips


def test_the_real_volume_is_read(tmp_path: Path, clock: SimulatedClock, store: Store) -> None:
    space = Disk(tmp_path, clock, NothingToEvict(), store).space
    assert 0 < space.free_bytes <= space.total_bytes


# services -------------------------------------------------------------------------------------------------------------


async def test_a_failing_service_is_restarted_three_times_then_shown(clock: SimulatedClock) -> None:
    supervisor = Supervisor(clock)
    starts, healthy = [], asyncio.Event()

    async def failing() -> None:
        starts.append(clock.monotonic_s())
        raise RuntimeError("a bug")

    async def steady() -> None:
        await healthy.wait()

    supervisor.start([("failing", lambda: failing()), ("steady", lambda: steady())])
    while not supervisor.failed:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)
    assert len(starts) == 1 + RESTARTS
    [job] = supervisor.failed
    assert (job.name, job.reason) == ("failing", "RuntimeError: a bug")
    assert [other.state for other in supervisor.jobs if other is not job] == [Running.UP]
    await supervisor.stop()


async def test_a_service_that_waits_for_a_person_comes_back_however_long_it_takes(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full for an hour takes no service away for the rest of the day."""
    caplog.set_level("INFO", logger="xunzhen")
    supervisor, room, up = Supervisor(clock), clock.monotonic_s() + 3600.0, asyncio.Event()

    async def writing() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(write(room))

    async def write(room: float) -> None:
        if clock.monotonic_s() < room:
            raise DiskFull("the disk is full")
        up.set()
        await asyncio.Event().wait()

    supervisor.start([("writing", writing)])
    async with asyncio.timeout(30):
        await up.wait()
    assert supervisor.failed == []
    assert supervisor.jobs[0].state is Running.UP
    assert caplog.text.count("service_restarted") == 1
    await supervisor.stop()


async def test_failures_far_apart_are_forgiven(clock: SimulatedClock) -> None:
    supervisor = Supervisor(clock)
    done = asyncio.Event()
    runs = []

    async def sometimes() -> None:
        runs.append(1)
        clock.advance(400)
        if len(runs) == 20:
            done.set()
            return
        raise OSError("now and then")

    supervisor.start([("sometimes", lambda: sometimes())])
    await asyncio.wait_for(done.wait(), 10)
    await asyncio.sleep(0)
    assert supervisor.failed == []
    assert supervisor.jobs[0].state is Running.ENDED
    await supervisor.stop()


# commits from callbacks -----------------------------------------------------------------------------------------------


class Flaky:
    """A journal whose disk is full for the first tries."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.written: list[str] = []

    async def commit(self, *drafts: Draft) -> list:
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise AskPerson("disk full")
        self.written += [str(draft.fields["what"]) for draft in drafts]
        return []

    def commit_now(self, *drafts: Draft) -> list:
        raise AssertionError("not in a running service")


async def test_nothing_is_lost_or_overtaken_while_the_disk_is_full(clock: SimulatedClock) -> None:
    journal, durable = Flaky(refusals=3), []
    commits = Commits(journal, clock, at_once=False)
    for n in range(10):
        commits.soon(Draft("access/1", {"action": "a", "what": str(n)}), then=lambda n=n: durable.append(n))
    assert durable == []
    assert await commits.settle()
    assert journal.written == [str(n) for n in range(10)]
    assert durable == list(range(10))
    assert commits.fault is None


async def test_what_keeps_the_journal_from_writing_is_shown(clock: SimulatedClock) -> None:
    journal = Flaky(refusals=10**9)
    commits = Commits(journal, clock, at_once=False)
    commits.soon(Draft("access/1", {"action": "a", "what": "x"}))
    assert not await commits.settle(patience_s=0.05)
    assert commits.fault == "ask_person"
    assert commits.waiting == 1
    journal.refusals = 0
    assert await commits.settle()


async def test_an_entry_that_no_journal_takes_holds_up_nobody(clock: SimulatedClock, store: Store) -> None:
    """A serial number from a broken USB descriptor: its characters are no text."""
    commits, durable = Commits(store, clock, at_once=False), []
    commits.soon(Draft("access/1", {"action": "a", "what": "\udcff"}), then=lambda: durable.append("never"))
    commits.soon(Draft("access/1", {"action": "a", "what": "after it"}), then=lambda: durable.append("after it"))
    assert await commits.settle()
    assert durable == ["after it"]
    assert (commits.take_left_out(), commits.take_left_out()) == (True, False)
    assert json.loads(store.entries(store.size() - 1, 1)[0])["what"] == "after it"

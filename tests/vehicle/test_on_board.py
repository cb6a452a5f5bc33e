"""Devices added at the touchscreen: durable, journalled with who did it, attended at once, never under an old name."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from touch_bench import settings_in

from devices.clock import SystemClock
from devices.discovery import Candidate, Confidence, Evidence, Port, of_port
from devices.driver import SerialLine
from devices.identity import Identity
from devices.links.serial_link import SerialLink
from devices.readings import DeviceState, Glucose, Link, Samples, Sensor, Stamped
from devices.session import DeviceSettings
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.pty_port import PtyPort
from sync.formats.records import Draft, read_entry
from vehicle.assembly import Vehicle, assemble
from vehicle.device_book import CareRefused
from vehicle.on_board import DeviceInSettings, DeviceUnknown, OnBoard, PlaceTaken, TitleRefused
from vehicle.settings import VehicleSettings
from vehicle.supervisor import Supervisor

WITHIN_S = 30.0
WHO = "zhou.min"
EVIDENCE = (Evidence("usb", "10c4:ea60"), Evidence("frames", "4: 01 E0"))
TODAY = date(2026, 11, 22)


def candidate(path: str = "/dev/serial/by-path/a") -> Candidate:
    identity = Identity("Contec", "CMS50D+", "0420", "4.6")
    return Candidate("serial", path, ("contec_cms50_v7",), Confidence.IDENTIFIED, EVIDENCE, True, identity)


def settings(folder: Path, **other: Any) -> VehicleSettings:
    ports = {"labelled_ports": folder / "ports"}
    return settings_in(folder).model_copy(update={"devices": (), **ports, **other})


@pytest.fixture
async def vehicle(tmp_path: Path) -> AsyncIterator[Vehicle]:
    """A van without devices; none is opened."""
    made = assemble(settings(tmp_path), SystemClock(), sessions=False)
    yield made
    await made.stop()


def entries(vehicle: Vehicle, kind: str) -> list[Any]:
    read = map(read_entry, vehicle.store.entries(0, 10_000))
    return [entry for entry in read if entry.kind == kind]


async def test_what_is_added_stands_in_the_journal_with_its_evidence_and_who_did_it(vehicle: Vehicle) -> None:
    device = await vehicle.on_board.add(candidate(), "contec_cms50_v7", "  诊室  血氧 ", WHO)
    assert (device.name, device.title, device.port) == ("oximeter-1", "诊室 血氧", "/dev/serial/by-path/a")
    (entry,) = entries(vehicle, "device_added/1")
    assert entry.by == WHO
    assert entry.fields["identity"]["serial"] == "0420"
    assert entry.fields["evidence"] == [dataclasses.asdict(one) for one in EVIDENCE]
    assert entry.fields["source"] == "wizard"


async def test_it_is_there_again_after_a_restart_and_after_a_rebuild(tmp_path: Path) -> None:
    for _ in range(2):
        vehicle = assemble(settings(tmp_path), SystemClock(), sessions=False)
        if not len(vehicle.on_board):
            await vehicle.on_board.add(candidate(), "contec_cms50_v7", "血氧", WHO)
        assert [device.title for device in vehicle.on_board] == ["血氧"]
        vehicle.store.rebuild()
        rebuilt = OnBoard((), vehicle.store, Supervisor(vehicle.clock), lambda _: None)
        assert [device.name for device in rebuilt] == ["oximeter-1"]
        await vehicle.stop()


async def test_a_name_is_never_given_twice(vehicle: Vehicle) -> None:
    await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    await vehicle.on_board.remove("oximeter-1", WHO)
    assert len(vehicle.on_board) == 0
    again = await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    assert again.name == "oximeter-2"
    (removed,) = entries(vehicle, "device_removed/1")
    assert (removed.by, removed.fields["device"]) == (WHO, "oximeter-1")


async def test_a_device_that_is_no_more_on_board_is_no_fault(vehicle: Vehicle) -> None:
    """What was removed while it was sending falls silent, and nobody could do anything about it."""
    await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    now, mono_s = vehicle.clock.now(), vehicle.clock.monotonic_s() - 60.0
    pleth = Samples("pleth", ("pleth",), 60.0, 0, 0, np.zeros((6, 1), np.int16), 1.0, "1")
    for event in (DeviceState(Link.CONNECTED, Sensor.OK), pleth):
        vehicle.feed.publish(Stamped("oximeter-1", "contec_cms50_v7", now, mono_s, event))

    def silent() -> list[str]:
        faults = vehicle.health.status()["faults"]
        return [fault["subject"] for fault in faults if fault["code"] == "stream_silent"]

    assert silent() == ["oximeter-1"]
    await vehicle.on_board.remove("oximeter-1", WHO)
    assert silent() == []


async def test_a_new_title_keeps_the_name_and_where_it_came_from(vehicle: Vehicle) -> None:
    await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    await vehicle.on_board.rename("oximeter-1", "二号", "wu.qian")
    assert vehicle.on_board.named("oximeter-1").title == "二号"
    origin = vehicle.on_board.origin("oximeter-1")
    assert origin is not None
    assert origin.identity["model"] == "CMS50D+"
    assert len(origin.evidence) == 2


async def test_an_exchanged_device_gets_a_new_name_under_the_old_title(vehicle: Vehicle) -> None:
    await vehicle.on_board.add(candidate(), "contec_cms50_v7", "诊室血氧", WHO)
    new = await vehicle.on_board.replace("oximeter-1", candidate("/dev/b"), "contec_cms50_v7", WHO)
    assert (new.name, new.title, new.port) == ("oximeter-2", "诊室血氧", "/dev/b")
    with pytest.raises(DeviceUnknown):
        vehicle.on_board.named("oximeter-1")


@pytest.mark.parametrize("title", ["", "   ", "x" * 41, "a\x00b"])
async def test_a_title_that_cannot_be_read_is_refused_and_nothing_written(vehicle: Vehicle, title: str) -> None:
    with pytest.raises(TitleRefused):
        await vehicle.on_board.add(candidate(), "contec_cms50_v7", title, WHO)
    assert entries(vehicle, "device_added/1") == []


async def test_one_place_holds_one_device_and_one_title_one(vehicle: Vehicle) -> None:
    await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    with pytest.raises(PlaceTaken, match="oximeter-1"):
        await vehicle.on_board.add(candidate(), "contec_8000g", "心电", WHO)
    with pytest.raises(TitleRefused, match="already"):
        await vehicle.on_board.add(candidate("/dev/b"), "contec_8000g", "一号", WHO)
    assert len(vehicle.on_board) == 1


async def test_what_stands_in_the_settings_is_told_to_the_journal_once_and_stays_the_operators(tmp_path: Path) -> None:
    gnss = DeviceSettings(name="gnss-1", driver="nmea_gnss", link="serial", port=str(tmp_path / "none"))
    for _ in range(2):
        vehicle = assemble(settings(tmp_path, devices=(gnss,)), SystemClock(), sessions=False)
        await vehicle.on_board.start()
        with pytest.raises(DeviceInSettings):
            await vehicle.on_board.remove("gnss-1", WHO)
        await vehicle.stop()
    vehicle = assemble(settings(tmp_path), SystemClock(), sessions=False)
    await vehicle.on_board.start()
    (added,), (removed,) = entries(vehicle, "device_added/1"), entries(vehicle, "device_removed/1")
    assert (added.by, added.fields["source"], removed.by) == (None, "settings", None)
    await vehicle.stop()


async def test_a_driver_that_is_gone_in_this_version_is_left_out_and_named(vehicle: Vehicle) -> None:
    device = await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    gone = {"device": device.name, "driver": "contec_9000", "link": "serial", "place": "/dev/a", "title": "一号"}
    rest = {"source": "wizard", "identity": {}, "evidence": []}
    await vehicle.store.commit(Draft("device_added/1", {**gone, **rest}, by=WHO))
    later = OnBoard((), vehicle.store, Supervisor(vehicle.clock), lambda _: None)
    assert (len(later), later.unreadable) == (0, ["oximeter-1"])


async def test_an_added_device_is_attended_at_once_and_let_go_when_it_is_removed(tmp_path: Path) -> None:
    twin = Cms50Twin()
    twin.put_finger(Finger())
    port = PtyPort(tmp_path / "ports" / "oximeter", twin, SystemClock())
    port.attach()
    vehicle = assemble(settings(tmp_path), SystemClock())
    await vehicle.start()
    connected = asyncio.Event()
    vehicle.feed.on("device", lambda said: connected.set() if said.event.link is Link.CONNECTED else None)
    found = of_port(Port(str(port.path), str(port.path.resolve()), label="oximeter"))
    device = await vehicle.on_board.add(found, "contec_cms50_v7", "血氧", WHO)
    async with asyncio.timeout(WITHIN_S):
        await connected.wait()
    await vehicle.on_board.remove(device.name, WHO)
    assert vehicle.on_board.sessions == {}
    assert not any(job.name == f"device {device.name}" for job in vehicle.supervisor.jobs)
    free = SerialLink(str(port.path))
    await free.open(SerialLine(115200))
    await free.close()
    await vehicle.stop()
    port.detach()


async def test_care_is_due_soon_then_over_and_the_lot_is_marked(vehicle: Vehicle) -> None:
    device = await vehicle.on_board.add(candidate(), "contec_cms50_v7", "一号", WHO)
    book = vehicle.device_book
    await book.note(device.name, "strips", "2026-11-30", "", " L 42 ", "金稳", WHO)
    await book.note(device.name, "calibration", "2027-11-01", "2026-11-01", "", "", WHO)
    assert [(name, care.what, care.state(TODAY)) for name, care in book.due([device.name], TODAY)] == [
        (device.name, "strips", "soon")
    ]
    assert book.expired_lot(device.name, TODAY) is None
    assert book.expired_lot(device.name, date(2026, 12, 1)) == "L 42"
    assert book.due(["another"], TODAY + timedelta(days=900)) == []
    (care,) = [one for one in entries(vehicle, "device_care/1") if one.fields["what"] == "strips"]
    assert care.by == WHO


async def test_a_value_from_expired_strips_is_marked_for_ever(vehicle: Vehicle) -> None:
    meter = Candidate("bluetooth", "AA:01", ("bluetooth_glucose",))
    device = await vehicle.on_board.add(meter, "bluetooth_glucose", "血糖仪", WHO)
    now = vehicle.clock.now()
    for lot, due in (("GOOD", "2999-01-01"), ("OLD", "2020-01-01")):
        await vehicle.device_book.note(device.name, "strips", due, "", lot, "", WHO)
        reading = Glucose(6.4, sequence=len(lot), device_said_at="2026-11-22T08:00:00")
        vehicle.feed.publish(Stamped(device.name, device.driver, now, vehicle.clock.monotonic_s(), reading))
    good, old = entries(vehicle, "reading/1")
    assert ("expired_lot" in good.fields, old.fields["expired_lot"]) == (False, "OLD")
    stored = vehicle.store.read("SELECT expired_lot FROM readings ORDER BY reading")
    assert [row["expired_lot"] for row in stored] == [None, "OLD"]


@pytest.mark.parametrize(
    ("what", "due", "done", "lot"),
    [
        ("polish", "2026-12-01", "", ""),
        ("calibration", "soon", "", ""),
        ("calibration", "2026-12-01", "2026-12-02", ""),
        ("calibration", "2026-12-01", "yesterday", ""),
        ("strips", "2026-12-01", "", " "),
    ],
    ids=["what", "no day", "done after due", "done is no day", "no lot"],
)
async def test_care_that_makes_no_sense_is_refused(vehicle: Vehicle, what: str, due: str, done: str, lot: str) -> None:
    with pytest.raises(CareRefused):
        await vehicle.device_book.note("oximeter-1", what, due, done, lot, "", WHO)
    assert entries(vehicle, "device_care/1") == []

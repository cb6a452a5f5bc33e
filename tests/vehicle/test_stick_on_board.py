"""A stick at the van: found, chosen, written, answered; on the touchscreen and on the command line."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from touch_bench import PIN, Bench, settings_in

from devices.clock import SimulatedClock
from sync.county.app import County, open_county
from sync.county.settings import CountySettings
from sync.county.stick_import import StickImport
from sync.delivery.lanes import LANES, RightOfWay
from sync.formats import stick
from sync.formats.notes import VerifierKey
from sync.formats.records import read_entry
from sync.keys.vehicle_key import VehicleKey
from vehicle.mounts import find_sticks
from vehicle.stick_command import ExportFailed, run
from vehicle.sticks import ExportRunning, Phase, Sticks
from vehicle.touchscreen.app import create_touchscreen


def mounts(folder: Path, *lines: str) -> Path:
    file = folder / "mounts"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def test_sticks_are_what_is_mounted_below_the_folders(tmp_path: Path) -> None:
    media = tmp_path / "media"
    for name in ("KINGSTON", "巡诊 1", "locked", "auto"):
        (media / name).mkdir(parents=True)
    chinese = str(media / "巡诊 1").replace(" ", "\\040")
    table = mounts(
        tmp_path,
        "proc /proc proc rw 0 0",
        f"/dev/sda1 {tmp_path} ext4 rw 0 0",
        f"/dev/sdb1 {media}/KINGSTON vfat rw,nosuid 0 0",
        f"/dev/sdc1 {chinese} exfat rw 0 0",
        f"/dev/sdd1 {media}/locked vfat ro,nosuid 0 0",
        f"systemd-1 {media}/auto autofs rw 0 0",
        f"/dev/sde1 {media}/pulled-out vfat rw 0 0",
        "nonsense",
    )
    found = {one.name: one for one in find_sticks((media,), table)}
    assert set(found) == {"KINGSTON", "巡诊 1", "locked"}
    assert found["KINGSTON"].writable
    assert not found["locked"].writable
    assert found["KINGSTON"].total_bytes >= found["KINGSTON"].free_bytes > 0
    assert find_sticks((media,), tmp_path / "no-such-file") == []


@pytest.fixture
def county(tmp_path: Path, clock: SimulatedClock) -> County:
    return open_county(CountySettings(name="青峪县", data=tmp_path / "county", origin="county.qingyu.example"), clock)


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock, county: County) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    vehicle = made.vehicle
    plugged = tmp_path / "media" / "KINGSTON"
    plugged.mkdir(parents=True)
    vehicle.sticks = Sticks(
        vehicle.store,
        vehicle.recordings,
        VerifierKey.parse(str(county.verifier_key)),
        clock,
        vehicle.live.send,
        vehicle.uploader.nudge,
        (tmp_path / "media",),
        mounts(tmp_path, f"/dev/sdb1 {plugged} vfat rw 0 0"),
    )
    county.fleet.enrol(vehicle.store.origin, str(vehicle.key.verifier_key()), "van-07")
    yield made
    await vehicle.stop()
    county.close()


@pytest.fixture
def app(bench: Bench) -> FastAPI:
    return create_touchscreen(bench.vehicle)


@asynccontextmanager
async def signed_in(app: FastAPI, person: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van") as client:
        await client.post("/sign-in", data={"person": person, "pin": PIN[person]})
        yield client


async def test_one_tap_exports_and_the_next_brings_the_receipt(
    app: FastAPI, bench: Bench, county: County, tmp_path: Path
) -> None:
    plugged = tmp_path / "media" / "KINGSTON"
    async with signed_in(app, "zhou.min") as doctor:
        page = await doctor.get("/status/stick")
        assert "KINGSTON" in page.text
        assert "没有加密" in page.text
        await doctor.post("/status/stick", data={"path": str(plugged)})
        await bench.vehicle.sticks.finished()
        job = bench.vehicle.sticks.job
        assert job is not None
        assert job.phase is Phase.DONE
        assert job.exported is not None
        size = job.exported.entries
        assert 'data-testid="stick-done"' in (await doctor.get("/status/stick")).text
        (imported,) = StickImport(county, VehicleKey.load(county.settings.key_file)).run(plugged)
        assert imported.entries == size == bench.vehicle.store.size()
        await doctor.post("/status/stick", data={"path": str(plugged)})
        await bench.vehicle.sticks.finished()
        assert bench.vehicle.store.delivered_size() == size
        assert "县里已确认" in (await doctor.get("/status/stick")).text


async def test_who_exported_stands_in_the_journal_and_on_the_stick(
    app: FastAPI, bench: Bench, county: County, tmp_path: Path
) -> None:
    async with signed_in(app, "wu.qian") as nurse:
        await nurse.post("/status/stick", data={"path": str(tmp_path / "media" / "KINGSTON")})
        await bench.vehicle.sticks.finished()
    said = [read_entry(body, n) for n, body in enumerate(bench.vehicle.store.entries(0, 10**6))]
    exports = [entry for entry in said if entry.kind == "access/1" and entry.fields["action"] == "export"]
    assert [(entry.by, entry.fields["what"]) for entry in exports] == [("wu.qian", "stick KINGSTON")]
    StickImport(county, VehicleKey.load(county.settings.key_file)).run(tmp_path / "media" / "KINGSTON")
    assert county.mirror.log(bench.vehicle.store.origin).next_entry > exports[0].n


async def test_driver_may_not_export(app: FastAPI, bench: Bench, tmp_path: Path) -> None:
    async with signed_in(app, "zhao.hai") as driver:
        answer = await driver.post("/status/stick", data={"path": str(tmp_path / "media" / "KINGSTON")})
        assert answer.status_code == 403
        assert "/status/stick" not in (await driver.get("/status")).text
    assert bench.vehicle.sticks.job is None


async def test_only_a_mounted_stick_is_written(app: FastAPI, bench: Bench, tmp_path: Path) -> None:
    async with signed_in(app, "zhou.min") as doctor:
        answer = await doctor.post(
            "/status/stick", data={"path": str(tmp_path)}, headers={"accept": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "stick_gone")
    assert not (tmp_path / stick.TOP).exists()


async def test_one_export_at_a_time(bench: Bench, tmp_path: Path) -> None:
    sticks, plugged = bench.vehicle.sticks, tmp_path / "media" / "KINGSTON"
    await sticks.start(plugged, "zhou.min")
    with pytest.raises(ExportRunning):
        await sticks.start(plugged, "zhou.min")
    await sticks.finished()


async def test_a_forged_answer_on_the_stick_is_shown_and_believed_by_nobody(
    app: FastAPI, bench: Bench, tmp_path: Path
) -> None:
    plugged = tmp_path / "media" / "KINGSTON"
    folder = plugged / stick.folder_of(bench.vehicle.store.origin)
    folder.mkdir(parents=True)
    (folder / stick.RECEIPT).write_bytes(bytes(bench.vehicle.store.checkpoint_at(bench.vehicle.store.size())))
    async with signed_in(app, "zhou.min") as doctor:
        await doctor.post("/status/stick", data={"path": str(plugged)})
        await bench.vehicle.sticks.finished()
        assert 'data-testid="stick-failed"' in (await doctor.get("/status/stick")).text
    assert bench.vehicle.sticks.job.fault == "stick_refused"  # type: ignore[union-attr]
    assert bench.vehicle.store.delivered_size() == 0


async def test_a_fault_of_ours_ends_the_export_and_the_next_may_be_tried(bench: Bench, tmp_path: Path) -> None:
    sticks, plugged = bench.vehicle.sticks, tmp_path / "media" / "KINGSTON"
    odd = tmp_path / "media" / "\udcc9\udcfa"  # a label that is no UTF-8: the journal takes no such name
    job = await sticks.export(odd, "zhou.min")
    await sticks.finished()
    assert (job.phase, job.fault) == (Phase.FAILED, "unknown")
    job = await sticks.export(plugged, "zhou.min")
    await sticks.finished()
    assert job.phase is Phase.DONE


async def test_status_page_says_that_recordings_wait_for_the_consultation(app: FastAPI, bench: Bench) -> None:
    status = bench.vehicle.health.status()
    assert status["county"]["held"] is False
    async with signed_in(app, "zhou.min") as doctor:
        assert "等会诊结束再传" not in (await doctor.get("/status")).text
        told = bench.vehicle.health.delivery
        bench.vehicle.health.delivery = lambda: _held(told())
        assert "等会诊结束再传" in (await doctor.get("/status")).text


def _held(status):  # type: ignore[no-untyped-def]

    return dataclasses.replace(status, held=True)


def test_vehicle_is_live_while_a_specialist_watches(bench: Bench) -> None:
    vehicle, bulk = bench.vehicle, LANES[-1]
    way = RightOfWay(vehicle._is_live)
    vehicle.consultation_process.live = True
    assert not way.held(bulk), "a media process that is gone carries nothing"
    vehicle.consultation_process.up = True
    assert way.held(bulk)
    vehicle.consultation_process.live = False
    assert not way.held(bulk)


# the command line -----------------------------------------------------------------------------------------------------


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def chosen(folder: Path | None, whole: bool = False) -> Namespace:
    return Namespace(folder=folder, whole=whole)


def test_command_exports_while_no_vehicle_process_runs(tmp_path: Path, clock: SimulatedClock) -> None:
    settings = settings_in(tmp_path)
    plugged = tmp_path / "plugged"
    plugged.mkdir()
    said = run(settings, clock, chosen(plugged))
    assert "entries and 0 recordings" in said
    assert "not encrypted" in said
    assert (plugged / stick.folder_of(settings.vehicle.origin) / stick.CHECKPOINT).exists()
    with pytest.raises(ExportFailed, match="not there"):
        run(settings, clock, chosen(tmp_path / "nothing"))
    with pytest.raises(ExportFailed, match="name the folder"):
        run(settings, clock, chosen(None))


async def test_command_has_the_running_vehicle_export(app: FastAPI, bench: Bench, tmp_path: Path) -> None:
    settings = bench.vehicle.settings
    socket = settings.touchscreen.socket
    socket.parent.mkdir(parents=True, exist_ok=True)
    server = Server(uvicorn.Config(app, uds=str(socket), log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    plugged = tmp_path / "plugged"
    plugged.mkdir()
    try:
        async with asyncio.timeout(20):
            await server.listening.wait()
            said = await asyncio.to_thread(run, settings, bench.vehicle.clock, chosen(plugged))
            assert str(plugged) in said
            with pytest.raises(ExportFailed, match="stick"):
                await asyncio.to_thread(run, settings, bench.vehicle.clock, chosen(tmp_path / "nothing"))
    finally:
        server.should_exit = True
        await serving
    note = (plugged / stick.folder_of(settings.vehicle.origin) / stick.CHECKPOINT).read_text()
    assert note.splitlines()[1] == str(bench.vehicle.store.size() - 1), "the second export's own entry came later"
    assert json.dumps(settings.vehicle.origin).strip('"') in note

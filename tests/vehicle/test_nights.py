"""A night out of an oximeter's memory: kept once, given to its person, its numbers on their page and in the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from touch_bench import PIN, Bench, serve

from devices import cms50_memory
from devices.clock import SimulatedClock, SystemClock
from devices.drivers import contec_cms50_v7
from devices.readings import StoredOximetry
from devices.session import DeviceSettings, open_sessions
from devices.simulators.contec_cms50 import Cms50Twin, Recorded
from devices.simulators.pty_port import PtyPort
from sync.formats import oximetry_file
from vehicle.clinic.night_oximetry import summary
from vehicle.nights import NightPersonChanged, NightTaken
from vehicle.touchscreen.app import create_touchscreen

SAID = "2026-03-01T22:41:07"
WITHIN_S = 60.0


def night(hours: float = 5.0) -> StoredOximetry:
    """An hour's worth, again and again: a fall by 5 points each two minutes, a minute below 90 %."""
    hour: list[int | None] = []
    for _ in range(29):
        hour += [96] * 95 + [95, 95, 94, 94, 93, 93, 92, 92, 91, 91, 91, 91] + [92, 93, 94, 95] + [96] * 9
    hour += [96] * (3600 - len(hour) - 60) + [89] * 60
    spo2 = tuple((hour * 6)[: round(hours * 3600)])
    return StoredOximetry(spo2, tuple(58 for _ in spo2), 1.0, SAID)


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


async def came(bench: Bench, stored: StoredOximetry, device: str = "oximeter-1") -> None:
    bench.publish(device, stored)
    await bench.vehicle.commits.settle()


async def test_a_night_is_kept_once_as_nobodys_with_its_numbers(bench: Bench) -> None:
    await came(bench, night())
    await came(bench, night())
    await came(bench, night(), device="ecg-1")
    await came(bench, StoredOximetry((None, None), (None, None), 1.0, SAID))
    nights = bench.vehicle.nights
    (held,) = nights.held()
    assert (held.device, held.patient, held.device_said_at, held.count) == ("oximeter-1", None, SAID, 18_000)
    assert held.summary == summary(night())
    assert held.summary.desaturations_4 >= 140
    assert nights.read(held.sha256) == night()
    assert nights.known("oximeter-1") == {(SAID, 18_000)}
    assert nights.known("ecg-1") == set()
    (row,) = bench.vehicle.store.read("SELECT * FROM recordings WHERE sha256 = ?", (held.sha256,))
    assert (row["what"], row["media_type"], row["duration_ms"]) == ("oximetry", oximetry_file.MEDIA_TYPE, 18_000_000)
    assert json.loads(row["facts_json"])["summary"]["definition"] == "night-oximetry/1"


async def test_a_night_is_given_to_who_is_served_and_to_nobody_else_after(bench: Bench) -> None:
    await came(bench, night())
    nights = bench.vehicle.nights
    (held,) = nights.held()
    with pytest.raises(NightPersonChanged):
        await nights.assign(held.sha256, "somebody", "zhou.min")
    patient = await serve(bench)
    await nights.assign(held.sha256, patient.patient, "zhou.min")
    assert not nights.held()
    assert [one.sha256 for one in nights.of(patient.patient)] == [held.sha256]
    with pytest.raises(NightTaken):
        await nights.assign(held.sha256, patient.patient, "zhou.min")
    with pytest.raises(NightTaken):
        await nights.assign("0" * 64, patient.patient, "zhou.min")


async def test_from_the_oximeter_to_the_page_of_its_person(bench: Bench) -> None:
    await came(bench, night())
    patient = await serve(bench)
    transport = httpx.ASGITransport(app=create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as screen:
        await screen.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        (held,) = bench.vehicle.nights.held()
        assert f"/nights/{held.sha256}" in (await screen.get("/measure/held")).text
        assert (await screen.get("/measure?focus=pulse_oximetry")).text.count("/measure/held") == 1
        page = (await screen.get(f"/nights/{held.sha256}")).text
        assert 'class="night"' in page
        assert "assign-night" in page
        await screen.post(f"/nights/{held.sha256}/assign", data={"patient": patient.patient})
        assert f"/nights/{held.sha256}" in (await screen.get(f"/people/{patient.patient}")).text
        assert "assign-night" not in (await screen.get(f"/nights/{held.sha256}")).text
        assert f"/nights/{held.sha256}" not in (await screen.get("/measure/held")).text
        assert (await screen.get("/nights/" + "0" * 64)).status_code == 404


async def test_a_short_night_says_that_it_is_one_and_a_lost_file_leaves_its_numbers(bench: Bench) -> None:
    await came(bench, night(1.0))
    await serve(bench)
    (held,) = bench.vehicle.nights.held()
    transport = httpx.ASGITransport(app=create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as screen:
        await screen.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        assert "short-night" in (await screen.get(f"/nights/{held.sha256}")).text
        bench.vehicle.recordings.path(held.sha256).unlink()
        page = (await screen.get(f"/nights/{held.sha256}")).text
        assert "night-gone" in page
        assert 'data-testid="odi-3"' in page


class Reread(Cms50Twin):
    """Counts how often its memory was read, and tells when it begins to stream."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.streams = asyncio.Event()

    def receive(self, chunk: bytes) -> bytes:
        self.reads += chunk.count(cms50_memory.command(cms50_memory.VALUES, 0, 0))
        answer = super().receive(chunk)
        if chunk.endswith(contec_cms50_v7.START):
            self.streams.set()
        return answer


async def test_an_oximeter_plugged_in_again_has_its_night_read_once(bench: Bench, tmp_path: Path) -> None:
    short, twin, clock = night(0.05), Reread(), SystemClock()
    twin.memory = [Recorded(datetime.fromisoformat(SAID), list(short.spo2_percent), list(short.pulse_bpm))]
    port = PtyPort(tmp_path / "oximeter", twin, clock)
    settings = DeviceSettings(name="oximeter-1", driver="contec_cms50_v7", link="serial", port=str(port.path))
    vehicle = bench.vehicle
    (session,) = open_sessions([settings], vehicle.feed.publish, clock, None, known_recordings=vehicle.nights.known)
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(WITHIN_S):
            for _ in range(2):
                twin.streams.clear()
                port.attach()
                await twin.streams.wait()
                await vehicle.commits.settle()
                port.detach()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    (held,) = vehicle.nights.held()
    assert vehicle.nights.read(held.sha256) == short
    assert twin.reads == 2, "twice alike, at the first plug only"

"""From the modem's antenna to the county's page: a visit's cells are a witness, its link figures a row of the table."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from touch_bench import VILLAGE, settings_in

from devices.clock import SimulatedClock
from devices.readings import Cellular, Position, Stamped
from devices.simulators.at_modem import Scene
from sync.county.app import County, create_county
from sync.county.link_report import link_report
from sync.county.settings import CountySettings as CountyServerSettings
from sync.formats.link_figures import Verdict
from sync.proof.presence import local_day
from telemedicine.link_sample import LinkSample
from tests.vehicle.conftest import NEAR, counting_bytes
from vehicle.assembly import Vehicle, assemble
from vehicle.settings import CountySettings

CELL = Scene().cells[0]
ON_THE_AIR = Cellular("ready", "home", "nr_sa", "CHN-CT", (CELL,), 1)
STEP_S = 10


@pytest.fixture
async def county(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[tuple[County, httpx.ASGITransport]]:
    settings = CountyServerSettings(name="青峪县", data=tmp_path / "county", origin="county.qingxi.example")
    app = create_county(settings, clock)
    village = copy.deepcopy(VILLAGE)
    village["properties"]["cells"] = [CELL.identity]
    app.state.county.registry.import_villages({"type": "FeatureCollection", "features": [village]}, by="xu.jing")
    yield app.state.county, httpx.ASGITransport(app)
    app.state.county.close()


@pytest.fixture
async def vehicle(
    tmp_path: Path, clock: SimulatedClock, county: tuple[County, httpx.ASGITransport]
) -> AsyncIterator[Vehicle]:
    server, transport = county
    settings = settings_in(tmp_path).model_copy(
        update={"county": CountySettings(url="http://county.test", key=str(server.verifier_key))}
    )
    made = assemble(settings, clock, counting_bytes(), sessions=False, transport=transport)
    server.fleet.enrol(settings.vehicle.origin, str(made.key.verifier_key()), "van-07", "川A·演07")
    yield made
    await made.stop()


def stand(vehicle: Vehicle, clock: SimulatedClock, minutes: int) -> None:
    """In the village, with a fix and a word of the modem every 10 s and a delivery now and then."""
    for step in range(minutes * 60 // STEP_S):
        vehicle.patrol.on_position(Position(*NEAR, 3.0, 12, 0.0, None), clock.now())
        now_s = clock.monotonic_s()
        vehicle.feed.publish(Stamped("modem", "modem_manager", clock.now(), now_s, ON_THE_AIR))
        vehicle.link.monitor.take(LinkSample(clock.now(), "delivery", rtt_ms=38.0 + step % 5, up_bit_s=8e6))
        clock.advance(STEP_S)


def witnesses(server: County, clock: SimulatedClock) -> dict[str, bool | None]:
    """Of the one visit of today."""
    today = local_day(clock.now())
    (case,) = server.visits.cases(today, today, practice=False)
    return {one.name: one.agrees for one in case.proof.witnesses}


async def test_a_visit_from_the_modem_to_the_county(
    vehicle: Vehicle, clock: SimulatedClock, county: tuple[County, httpx.ASGITransport]
) -> None:
    server, _ = county
    stand(vehicle, clock, 2)
    await vehicle.visits.start(VILLAGE["properties"]["code"], ["zhou.min"], "zhou.min")
    stand(vehicle, clock, 20)
    probe = LinkSample(
        clock.now(), "probe", rtt_ms=61.0, jitter_ms=2.5, loss_percent=0.0, up_bit_s=72e6, down_bit_s=310e6
    )
    vehicle.link.monitor.take(probe)
    stand(vehicle, clock, 5)
    await vehicle.visits.end("zhou.min")
    assert (await vehicle.uploader.deliver_now()).complete

    (row,) = link_report(server.database, server.registry.villages(), clock.now(), practice=False).rows
    assert row.village is not None
    assert (row.code, row.visits, row.technology) == (VILLAGE["properties"]["code"], 1, "nr_sa")
    assert row.verdict is Verdict.MEETS
    assert (row.figure("up_kbit_s"), row.figure("down_kbit_s")) == (72_000, 310_000)
    assert row.figure("rsrp_dbm") == round(CELL.rsrp_dbm or 0)
    assert row.cells == (CELL.identity,)

    (tracks,) = vehicle.store.read("SELECT points_json FROM tracks ORDER BY n DESC LIMIT 1")
    assert json.loads(tracks["points_json"])["cells"] == [CELL.identity]
    said = witnesses(server, clock)
    assert said["gnss"] is True
    assert said["cells"] is True


async def test_another_cell_is_no_witness(
    vehicle: Vehicle, clock: SimulatedClock, county: tuple[County, httpx.ASGITransport]
) -> None:
    server, _ = county
    elsewhere = replace(ON_THE_AIR, cells=(replace(CELL, cell_id="ABCDEF"),))
    await vehicle.visits.start(VILLAGE["properties"]["code"], ["zhou.min"], "zhou.min")
    for _ in range(60):
        vehicle.patrol.on_position(Position(*NEAR, 3.0, 12, 0.0, None), clock.now())
        vehicle.feed.publish(Stamped("modem", "modem_manager", clock.now(), clock.monotonic_s(), elsewhere))
        clock.advance(STEP_S)
    await vehicle.visits.end("zhou.min")
    assert (await vehicle.uploader.deliver_now()).complete
    assert witnesses(server, clock)["cells"] is None

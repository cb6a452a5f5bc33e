"""One ECG through the whole chain: device -> live rate -> recording -> findings -> signature -> the county's page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from touch_bench import CARD, PIN, VILLAGE, settings_in

from devices import catalog
from devices.clock import SimulatedClock
from devices.readings import DeviceState, Link, Position, Stamped
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.ecg_source import SynthesisedEcg
from sync.county.app import County, create_county
from sync.county.schema import projected
from sync.county.settings import CountySettings as CountyServerSettings
from sync.county.visit_report import VisitReports
from tests.vehicle.conftest import NEAR, counting_bytes
from vehicle.assembly import Vehicle, assemble
from vehicle.settings import CountySettings

STEP_S = 0.05
RATE_BPM = 72


@pytest.fixture
async def county(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[tuple[County, httpx.ASGITransport]]:
    settings = CountyServerSettings(name="青峪县", data=tmp_path / "county", origin="county.qingxi.example")
    app = create_county(settings, clock)
    app.state.county.registry.import_villages({"type": "FeatureCollection", "features": [VILLAGE]}, by="xu.jing")
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
    services = [asyncio.create_task(made.ecg_analysis.run()), asyncio.create_task(made.ecg_findings.run())]
    yield made
    for service in services:
        service.cancel()
    await made.stop()


class Electrocardiograph:
    """The twin of a 12-lead box, its driver, and the van's feed, in simulated time."""

    def __init__(self, vehicle: Vehicle, clock: SimulatedClock) -> None:
        self.vehicle, self.clock = vehicle, clock
        self.twin = ContecEcgTwin(SynthesisedEcg(RATE_BPM, seed=3))
        self.driver = catalog.driver("contec_8000g")()
        self.told: list[dict[str, Any]] = []
        send = vehicle.live.send

        def hear(message: dict[str, Any]) -> None:
            if message["type"] == "ecg_analysis":
                self.told.append(message)
            send(message)

        vehicle.live.send = hear  # type: ignore[method-assign]
        self._publish(self.driver.open())

    async def play(self, seconds: float) -> None:
        """The analysis has heard each second before the next is sent."""
        for _ in range(round(seconds)):
            before = len(self.told)
            for _ in range(round(1 / STEP_S)):
                self.clock.advance(STEP_S)
                self._publish(self.driver.feed(self.twin.advance(STEP_S)))
                self._publish(self.driver.tick(STEP_S))
                await asyncio.sleep(0)
            await until(lambda before=before: len(self.told) > before)

    def _publish(self, output: Any) -> None:
        for write in output.writes:
            self._publish(self.driver.feed(self.twin.receive(write.payload)))
        for event in output.events:
            stamped = Stamped("ecg-1", "contec_8000g", self.clock.now(), self.clock.monotonic_s(), event)
            self.vehicle.feed.publish(stamped)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110 (the analysis works in a thread)
            await asyncio.sleep(0.005)


async def test_an_ecg_is_heard_live_recorded_analysed_signed_and_known_at_the_county(
    vehicle: Vehicle, clock: SimulatedClock, county: tuple[County, httpx.ASGITransport]
) -> None:
    await vehicle.staff.sign_in("zhou.min", PIN["zhou.min"])
    vehicle.patrol.on_position(Position(*NEAR, 3.0, 12, 0.0, None), clock.now())
    visit = await vehicle.visits.start(VILLAGE["properties"]["code"], ["zhou.min"], "zhou.min")
    vehicle.feed.publish(Stamped("card-1", "sam_id_card", clock.now(), clock.monotonic_s(), CARD))
    await vehicle.encounters.settle()

    box = Electrocardiograph(vehicle, clock)
    await box.play(12)
    heard = box.told[-1]
    assert heard["heart_rate_bpm"] == pytest.approx(RATE_BPM, abs=4)
    assert (heard["asystole"], heard["off"]) == (False, [])

    recording = asyncio.create_task(vehicle.ecg.record(30, by="zhou.min"))
    await asyncio.sleep(0)
    await box.play(32)
    made = await recording
    await until(lambda: vehicle.ecg_findings.of(made.sha256) is not None)
    view = vehicle.ecg_findings.of(made.sha256)
    assert view is not None
    assert view.findings["heart_rate_bpm"] == pytest.approx(RATE_BPM, abs=2)
    assert view.findings["beats"] == pytest.approx(36, abs=2)
    assert view.findings["rhythm"] == "none"
    assert view.review is None
    assert vehicle.ecg_findings.median_beat(made.sha256) is not None

    await vehicle.ecg_findings.review(made.sha256, True, "no", "", "zhou.min", PIN["zhou.min"])
    await vehicle.visits.end("zhou.min")
    assert (await vehicle.uploader.deliver_now()).complete

    server, _ = county
    (row,) = server.database.rows(projected["ecg_analyses"].select())
    assert (row["sha256"], row["rhythm"], row["af"], row["agrees"]) == (made.sha256, "none", "no", 1)
    assert json.loads(row["findings_json"]) == view.findings
    report = VisitReports(server.database, server.visits, server.coverage).find(visit.visit)
    assert report is not None
    assert dict(report.work)["recording_ecg"] == 1
    assert dict(report.work)["ecg_reviewed"] == 1


async def test_a_lead_that_comes_off_is_named_at_once_and_a_device_that_goes_is_silent(
    vehicle: Vehicle, clock: SimulatedClock
) -> None:
    box = Electrocardiograph(vehicle, clock)
    await box.play(5)
    box.twin.leads_off = frozenset({"V3"})
    await box.play(4)
    assert box.told[-1]["off"] == ["V3"]
    gone = DeviceState(Link.LOST)
    vehicle.feed.publish(Stamped("ecg-1", "contec_8000g", clock.now(), clock.monotonic_s(), gone))
    await until(lambda: box.told[-1]["rhythm"] is None)


async def test_another_person_begins_with_nothing_of_the_one_before(vehicle: Vehicle, clock: SimulatedClock) -> None:
    box = Electrocardiograph(vehicle, clock)
    await box.play(8)
    assert box.told[-1]["heart_rate_bpm"] is not None
    vehicle.ecg_analysis.somebody_else()
    await box.play(1)
    assert box.told[-1]["heart_rate_bpm"] is None

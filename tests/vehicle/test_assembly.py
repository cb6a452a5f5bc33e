"""The whole vehicle in simulated time: a morning without sockets, a crash in the middle, and how it says it is."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from devices.clock import SimulatedClock
from devices.readings import (
    BloodPressure,
    DeviceState,
    IdentityCard,
    Link,
    PulseOximetry,
    Samples,
    Sensor,
    Stamped,
)
from tests.vehicle.conftest import GEOJSON, NEAR, at_place, counting_bytes
from vehicle.assembly import Vehicle, assemble
from vehicle.services import SERVICES, rows
from vehicle.settings import VehicleSettings

PIN_0000 = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHRzb21l$kkZpCQBhFqLSFTxOZVOqVTNWEVEYxBgyCWPlq0Xf/YM"
CARD = IdentityCard(
    "李秀英", "female", "01", date(1955, 3, 1), "白果镇王家村", "510199195503010041", "某局", None, None
)


def settings(folder: Path, **changes: object) -> VehicleSettings:
    (folder / "villages.geojson").write_text(json.dumps(GEOJSON), encoding="utf-8")
    raw = {
        "practice": True,
        "data": folder / "data",
        "vehicle": {"id": "van-07", "plate": "川A·演07", "origin": "van-07.example", "county_name": "青峪县"},
        "patrol": {"villages": folder / "villages.geojson"},
        "touchscreen": {"port": 0, "socket": folder / "run/vehicle.sock"},
        "consultation": {"socket": folder / "run/consultation.sock"},
        "staff": [{"id": "zhou.min", "name": "周敏", "role": "village_doctor", "pin_hash": PIN_0000}],
        "devices": [
            {"name": "ecg-1", "driver": "contec_8000g", "link": "serial", "port": "/nowhere/ecg"},
            {"name": "cuff-1", "driver": "bluetooth_blood_pressure", "link": "bluetooth"},
        ],
    }
    return VehicleSettings.model_validate(raw | changes)


class Morning:
    """A vehicle and its simulated devices."""

    def __init__(self, vehicle: Vehicle, clock: SimulatedClock) -> None:
        self.vehicle, self.clock = vehicle, clock

    def say(self, device: str, driver: str, event: object) -> None:
        self.vehicle.feed.publish(Stamped(device, driver, self.clock.now(), self.clock.monotonic_s(), event))

    def stand(self, minutes: float) -> None:
        for _ in range(round(minutes * 6)):
            self.clock.advance(10)
            self.say("gnss-1", "nmea_gnss", at_place(NEAR, gnss_at=self.clock.now()))

    async def ecg(self, seconds: float, first_index: int = 0) -> np.ndarray:
        sent = []
        for start in range(first_index, first_index + round(seconds * 500), 25):
            self.clock.advance(0.05)
            counts = np.tile(np.arange(start, start + 25, dtype=np.int16)[:, None], (1, 8))
            samples = Samples(
                "ecg", ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), 500.0, 1, start, counts, 1.25, "uV"
            )
            self.say("ecg-1", "contec_8000g", samples)
            sent.append(counts)
            await asyncio.sleep(0)
        return np.concatenate(sent)


@pytest.fixture
async def morning(tmp_path: Path, clock: SimulatedClock):
    vehicle = assemble(settings(tmp_path), clock, counting_bytes(), sessions=False)
    yield Morning(vehicle, clock)
    await vehicle.stop()


async def test_a_morning(morning: Morning) -> None:
    vehicle = morning.vehicle
    morning.stand(10)
    visit = await vehicle.visits.start(vehicle.visits.proposed().code, ["zhou.min"], by="zhou.min")
    person = await vehicle.people.from_card(CARD, by="zhou.min")
    served = await vehicle.encounters.open(person.patient, by="zhou.min")
    morning.say("cuff-1", "bluetooth_blood_pressure", BloodPressure(162.0, 98.0, pulse_bpm=76.0))
    [reading] = vehicle.store.read("select * from readings where type = 'blood_pressure'")
    await vehicle.measurements.confirm(reading["reading"], by="zhou.min")
    await morning.ecg(0.5)
    recording = asyncio.create_task(vehicle.ecg.record(10, by="zhou.min"))
    await asyncio.sleep(0)
    await morning.ecg(11, first_index=250)
    view = await recording
    assert vehicle.recordings.intact(view.sha256)
    [row] = vehicle.store.read("select * from recordings")
    assert (row["patient"], row["encounter"], row["visit"]) == (person.patient, served.encounter, visit.visit)
    morning.stand(230)
    await vehicle.encounters.close(by="zhou.min")
    await vehicle.visits.end(by="zhou.min")
    [closed] = vehicle.store.read("select * from visits")
    assert closed["practice"] == 1
    assert closed["dwell_s"] == pytest.approx(240 * 60, abs=40)
    entry = json.loads(vehicle.store.entries(vehicle.store.size() - 1, 1)[0])
    assert entry["at_source"] == "gnss"


async def test_after_a_crash_the_visit_the_person_and_the_recording_are_there(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    chosen = settings(tmp_path)
    vehicle = assemble(chosen, clock, counting_bytes(), sessions=False)
    morning = Morning(vehicle, clock)
    morning.stand(20)
    visit = await vehicle.visits.start(vehicle.visits.proposed().code, ["zhou.min"], by="zhou.min")
    person = await vehicle.people.from_card(CARD, by="zhou.min")
    served = await vehicle.encounters.open(person.patient, by="zhou.min")
    await morning.ecg(0.5)
    recording = asyncio.create_task(vehicle.ecg.record(10, by="zhou.min"))
    await asyncio.sleep(0)
    sent = await morning.ecg(6, first_index=250)
    vehicle.store.close()  # nothing is flushed or closed in good order
    clock.advance(20)
    again = assemble(chosen, clock, counting_bytes(77), sessions=False)
    try:
        assert again.visits.current().visit == visit.visit
        assert again.encounters.current().encounter == served.encounter
        [view] = again.ecg.recordings_of(person.patient)
        assert view.interrupted
        assert view.duration_ms == len(sent) * 2
        assert again.recordings.intact(view.sha256)
    finally:
        recording.cancel()
        await again.stop()


async def test_how_it_is_can_be_sent_as_json_and_names_what_to_do(morning: Morning) -> None:
    vehicle, clock = morning.vehicle, morning.clock
    state = DeviceState(Link.CONNECTED, leads_off=("V3",), counters={"frames": 5})
    morning.say("ecg-1", "contec_8000g", state)
    morning.say("oximeter-1", "contec_cms50_v7", PulseOximetry(96, 74))
    status = json.loads(json.dumps(vehicle.health.status()))
    assert [device["name"] for device in status["devices"]] == ["ecg-1", "cuff-1"]
    assert status["devices"][0]["leads_off"] == ["V3"]
    assert status["devices"][1]["link"] == "absent"
    assert [fault["code"] for fault in status["faults"]] == ["county_not_set"]
    assert status["waiting"]["entries"] == vehicle.store.size()
    assert status["link"]["online"] is False
    assert status["versions"]["python"]
    morning.say("ecg-1", "contec_8000g", DeviceState(Link.LOST, fault="device_silent"))
    clock.advance(30)
    found = {fault["code"]: fault for fault in vehicle.health.status("en")["faults"]}
    assert found["device_silent"]["subject"] == "ecg-1"
    assert found["device_silent"]["title"] == "The device sends nothing"
    assert found["device_silent"]["next_step"]
    morning.say("ecg-1", "contec_8000g", DeviceState(Link.CONNECTED))
    await morning.ecg(0.1)
    clock.advance(6)
    assert "stream_silent" in [fault["code"] for fault in vehicle.health.status()["faults"]]
    for resting in (Sensor.OFF, Sensor.LEAD_OFF):
        morning.say("ecg-1", "contec_8000g", DeviceState(Link.CONNECTED, resting))
        assert "stream_silent" not in [fault["code"] for fault in vehicle.health.status()["faults"]]


async def test_since_when_a_fault_is_there_is_kept(morning: Morning) -> None:
    first = morning.vehicle.health.status()["faults"][0]["since"]
    morning.clock.advance(3600)
    assert morning.vehicle.health.status()["faults"][0]["since"] == first


async def test_the_strip_is_told_of_changes_and_only_of_changes(morning: Morning) -> None:
    vehicle = morning.vehicle
    vehicle.status_teller.tick()
    reader = vehicle.live.subscribe()
    while reader.take() is not None:
        pass
    vehicle.status_teller.tick()
    assert reader.take() is None
    morning.say("ecg-1", "contec_8000g", DeviceState(Link.CONNECTED))
    vehicle.status_teller.tick()
    told = [json.loads(item) for item in iter(reader.take, None)]
    assert [message["type"] for message in told] == ["device", "status"]
    assert told[1]["devices"]["ecg-1"] == "connected"


async def test_a_vehicle_without_villages_serves_people_and_says_so(tmp_path: Path, clock: SimulatedClock) -> None:
    chosen = settings(tmp_path)
    (tmp_path / "villages.geojson").unlink()
    vehicle = assemble(chosen, clock, counting_bytes(), sessions=False)
    try:
        assert vehicle.visits.villages() == []
        assert "no_villages" in [fault["code"] for fault in vehicle.health.status()["faults"]]
    finally:
        await vehicle.stop()


async def test_stopping_twice_is_harmless_and_frees_the_journal(tmp_path: Path, clock: SimulatedClock) -> None:
    chosen = settings(tmp_path)
    for _ in range(2):
        vehicle = assemble(chosen, clock, counting_bytes(), sessions=False)
        await vehicle.stop()
        await vehicle.stop()


def test_the_table_of_services_has_one_row_each(tmp_path: Path, clock: SimulatedClock) -> None:
    vehicle = assemble(settings(tmp_path), clock, counting_bytes(), sessions=False)
    try:
        names = [service.name for service in SERVICES]
        assert len(set(names)) == len(names)
        started = [name for name, _ in rows(vehicle)]
        unnamed = {"uploader", "enrolment", "link probe", "picture archive", "printer", "paper printer"}
        assert set(names) - set(started) == unnamed, "what no settings name"
    finally:
        vehicle.store.close()

"""A whole vehicle for the tests of its touchscreen: real services, no devices; readings are published to its feed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from argon2 import PasswordHasher

from devices.clock import Clock
from devices.readings import DeviceState, Event, IdentityCard, Link, Position, Samples, Sensor, Stamped
from vehicle.assembly import Vehicle, assemble
from vehicle.clinic.people import PatientForm, PatientView
from vehicle.settings import VehicleSettings

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
STAFF = (
    ("li.wen", "李文", "doctor", "8642"),
    ("zhou.min", "周敏", "village_doctor", "2580"),
    ("wu.qian", "吴倩", "nurse", "1357"),
    ("zhao.hai", "赵海", "driver", "2468"),
)
PIN = {person: pin for person, _, _, pin in STAFF}
DEVICES = (
    ("ecg-1", "contec_8000g", "serial"),
    ("oximeter-1", "contec_cms50_v7", "serial"),
    ("card-1", "sam_id_card", "serial"),
    ("gnss-1", "nmea_gnss", "serial"),
    ("glucose-1", "bluetooth_glucose", "bluetooth"),
    ("cuff-1", "bluetooth_blood_pressure", "bluetooth"),
)
VILLAGE_CODE = "510199201201"
VILLAGE = {
    "type": "Feature",
    "properties": {"code": VILLAGE_CODE, "name": "王家村", "township": "白果镇", "valid_from": "2020-01-01"},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[103.99, 30.59], [104.01, 30.59], [104.01, 30.61], [103.99, 30.61], [103.99, 30.59]]],
    },
}
YANG = PatientForm("杨桂芳", "female", date(1959, 3, 12))
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
CARD = IdentityCard(
    name="杨桂芳",
    sex="female",
    ethnicity_code="01",
    born_on=date(1959, 3, 12),
    address="青峪县白果镇王家村2组14号",
    id_number="510199195903120426",
    issuer="青峪县公安局",
    valid_from=date(2015, 1, 1),
    valid_until=None,
)


def settings_in(folder: Path, *, practice: bool = False, language: str = "zh") -> VehicleSettings:
    """Settings of a van with a crew of four and six devices, everything below ``folder``."""
    villages = folder / "villages.geojson"
    villages.write_text(json.dumps({"type": "FeatureCollection", "features": [VILLAGE]}), encoding="utf-8")
    return VehicleSettings.model_validate(
        {
            "language": language,
            "practice": practice,
            "data": str(folder / "data"),
            "vehicle": {
                "id": "van-07",
                "plate": "川A·演07",
                "origin": "van-07.qingxi.example",
                "county_name": "青峪县",
            },
            "patrol": {"villages": str(villages)},
            "consultation": {"socket": str(folder / "consultation.sock")},
            "staff": [{"id": i, "name": n, "role": r, "pin_hash": QUICK.hash(p)} for i, n, r, p in STAFF],
            "devices": [
                {"name": name, "driver": driver, "link": link} | ({"port": f"ports/{name}"} if link == "serial" else {})
                for name, driver, link in DEVICES
            ],
        }
    )


class Bench:
    """The far ends of the wires: what a device would have sent."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        practice: bool = False,
        language: str = "zh",
        settings: VehicleSettings | None = None,
    ) -> None:
        """:param settings: instead of those of ``settings_in``"""
        self.clock = clock
        self.settings = settings or settings_in(folder, practice=practice, language=language)
        self.vehicle: Vehicle = assemble(self.settings, clock, sessions=False)
        self.sent: list[list[int]] = []
        self.position: Position | None = None

    def publish(self, device: str, event: Event) -> None:
        if isinstance(event, Position):
            self.position = event
        driver = next(row.driver for row in self.vehicle.settings.devices if row.name == device)
        self.vehicle.feed.publish(Stamped(device, driver, self.clock.now(), self.clock.monotonic_s(), event))

    def all_connected(self) -> None:
        for name, _, _ in DEVICES:
            self.publish(name, DeviceState(Link.CONNECTED, Sensor.OK, counters={"frames": 1200, "bad_checksums": 1}))

    def stand_at(self, place: tuple[float, float]) -> None:
        self.publish("gnss-1", Position(place[0], place[1], 3.0, 12, 0.0, self.clock.now()))

    def send_position(self) -> None:
        """The last fix once more, as a receiver sends it: a fix of 15 s ago is none."""
        if self.position is not None:
            self.publish("gnss-1", replace(self.position, gnss_at=self.clock.now()))

    def send_ecg(self, n: int = 25) -> None:
        """One chunk of a wave that is different in every lead, kept in ``sent``."""
        first = len(self.sent)
        rows = [[_count(first + k, lead) for lead in range(len(LEADS))] for k in range(n)]
        self.sent += rows
        self.publish("ecg-1", Samples("ecg", LEADS, 500.0, 1, first, np.array(rows, np.int16), 1.25, "uV"))

    def send_pleth(self, index: int, n: int = 3) -> None:
        rows = np.array([[int(50 + 40 * math.sin((index + k) / 7))] for k in range(n)], np.int16)
        self.publish("oximeter-1", Samples("pleth", ("pleth",), 60.0, 1, index, rows, 1.0, "1"))


async def serve(bench: Bench, form: PatientForm = YANG) -> PatientView:
    """Somebody registered without a card and served now, in a visit that is begun where there is none."""
    vehicle = bench.vehicle
    if vehicle.visits.current() is None:
        await vehicle.visits.start(VILLAGE_CODE, ["zhou.min"], "zhou.min")
    patient = await vehicle.people.register(form, "zhou.min")
    await vehicle.encounters.open(patient.patient, by="zhou.min")
    return patient


def _count(index: int, lead: int) -> int:
    t = (index % 415) / 500 - 0.4

    def bell(at: float, width: float) -> float:
        return math.exp(-((t - at) ** 2) / (2 * width * width))

    height = 600 + 70 * lead
    return round(90 * bell(-0.16, 0.02) + height * bell(0, 0.009) - 150 * bell(0.027, 0.01) + 240 * bell(0.27, 0.05))

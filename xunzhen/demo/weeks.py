"""The past weeks, lived through in simulated time: each van with the county in one process, production code throughout.

``python -m xunzhen.demo.weeks HOME VEHICLE DAYS`` lives one van's weeks; the vans live side by side. Only the clock
is simulated and the far ends are played: positions as a receiver would tell them, readings as drivers would make them.
Journal, receipts, times and verdicts are what the same days would have left behind in life.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import httpx
import numpy as np

from devices.clock import SimulatedClock, SystemClock
from devices.readings import (
    BloodPressure,
    DeviceState,
    Event,
    Glucose,
    IdentityCard,
    Link,
    Position,
    PulseOximetry,
    Samples,
    Sensor,
    Stamped,
)
from devices.simulators.ecg_source import LEADS, SynthesisedEcg
from sync.county.app import create_county
from sync.county.settings import read_county_settings
from sync.proof.areas import Village, read_villages
from sync.proof.presence import LOCAL
from vehicle.assembly import Vehicle, assemble
from vehicle.clinic.critical import Answer
from vehicle.device_events import SETTLE_S
from vehicle.recorded_ecg import RecordingView
from vehicle.settings import read_vehicle_settings
from xunzhen.demo import chronic, radio
from xunzhen.demo.home import CREWS, Home, Ports
from xunzhen.demo.residents import Resident, residents
from xunzhen.demo.village_sign import painted_signature, sign_photo

FIX_EVERY_S = 10
REFERRED = Answer(frozenset({"told", "referred"}), receiver="县医院急诊科", read_back=True)
RADIO_EVERY = timedelta(minutes=5)
PROBE_EVERY = timedelta(hours=1)
DRIVE_S = 22 * 60
ECG_CHUNK = 25
ECG_RATE_HZ = 500.0
ECG_SECONDS = 30.0
SIGNED = 0.7
"""Share of the ECGs that the village doctor reviews; the others stay open."""
UV_PER_COUNT = 1.25
NOT_CONFIRMED = 2
"""Which outing, from 0."""
OFFICIALS = ("陈永福", "李桂英", "杨家顺", "马国庆")
"""Who signs for the villages; all invented."""
CUFF = "C8:4B:D6:00:00:2A"
Place = tuple[float, float]
"""Latitude and longitude in degrees."""
DEPOT: Place = (31.05, 103.99)
"""Where the vans sleep, outside every village: a night there is no stay."""
Action = Callable[[], Awaitable[None]]
Step = tuple[datetime, Action]


async def live(
    home: Home,
    vehicle: str,
    days: int,
    today: date | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> None:
    """:param today: the day after the last; by the calendar when None"""
    today = today or SystemClock().now().astimezone(LOCAL).date()
    first = today - timedelta(days=days)
    clock = SimulatedClock(_local(first, 6, 0))
    app = create_county(read_county_settings(home.county_settings), clock)
    settings = read_vehicle_settings(home.vehicle_settings(vehicle))
    villages = read_villages(json.loads(home.township.read_text(encoding="utf-8")))
    weeks = _Weeks(vehicle, villages, clock, list(CREWS).index(vehicle))
    for outing in weeks.plan(first, today):
        _pass_time(clock, _local(outing.day, 7, 20))
        van = assemble(settings, clock, random_bytes, sessions=False, transport=httpx.ASGITransport(app))  # ignition
        for at, action in weeks.outing(van, outing):
            _pass_time(clock, at)
            await action()
        await van.stop()
    app.state.county.close()


def _pass_time(clock: SimulatedClock, until: datetime) -> None:
    clock.advance(max(0.0, (until - clock.now()).total_seconds()))


def _centre(village: Village) -> Place:
    return village.centre_latitude_deg, village.centre_longitude_deg


def _local(day: date, hour: int, minute: int) -> datetime:
    return datetime.combine(day, time(hour, minute), LOCAL)


@dataclass(frozen=True, slots=True)
class _Outing:
    """One village in one morning.

    :ivar ends: local hour and minute of leaving
    :ivar confirmed: whether the village doctor confirms; else a reviewer has something to do
    """

    day: date
    village: Village
    people: int
    ends: tuple[int, int] = (12, 18)
    confirmed: bool = True


class _Weeks:
    """What one van does: where it drives, whom it serves, when it syncs."""

    _van: Vehicle

    def __init__(self, vehicle: str, villages: Sequence[Village], clock: SimulatedClock, number: int) -> None:
        self._clock = clock
        self._round = [village for place, village in enumerate(villages) if place % 2 == number]
        self._chance = random.Random(f"weeks of {vehicle}")
        self._hand = random.Random(f"pictures of {vehicle}")
        self._leader = CREWS[vehicle][0].id
        self._crew = [person.id for person in CREWS[vehicle]]
        self._doctor = next(person for person in CREWS[vehicle] if person.role == "village_doctor")
        self._ecg = SynthesisedEcg()
        self._segment = 0
        self._taken_over: set[str] = set()
        """Villages whose list of chronic patients the van has."""

    def plan(self, first: date, until: date) -> Iterator[_Outing]:
        """Four mornings out of five; once the rain ends the visit early, once the road is closed, once the village
        doctor does not confirm."""
        days = [first + timedelta(days=ahead) for ahead in range((until - first).days)]
        working = [day for day in days if day.weekday() < 5]
        out = [day for place, day in enumerate(working) if place % 5 != 4]
        for place, day in enumerate(out):
            village = self._round[(place + 1) % len(self._round)]
            if place == 7:
                continue
            ends = (10, 25) if place == 4 else (12, 12 + self._chance.randint(0, 25))
            people = self._chance.randint(7, 12) if place != 4 else 4
            yield _Outing(day, village, people, ends, confirmed=place != NOT_CONFIRMED)

    def outing(self, van: Vehicle, outing: _Outing) -> Iterator[Step]:
        """Everything of one morning in order of time, done with ``van`` as it was started that day."""
        self._van = van
        leaves, arrives = _local(outing.day, 7, 40), _local(outing.day, 7, 40) + timedelta(seconds=DRIVE_S)
        ends = _local(outing.day, *outing.ends)
        home_at = ends + timedelta(seconds=DRIVE_S)
        opened = arrives + timedelta(minutes=3)
        events = [
            self._drive(DEPOT, _centre(outing.village), leaves),
            self._stand(outing.village, arrives, ends),
            self._hear(radio.coverage_in(outing.village.code), opened + timedelta(minutes=2), ends),
            self._drive(_centre(outing.village), DEPOT, ends),
            iter([(_local(outing.day, 7, 25), self._plug), (_local(outing.day, 7, 26), self._deliver)]),
            iter([(opened, self._start(outing.village))]),
            iter([(opened + timedelta(minutes=1), self._photograph(outing.village))]),
            iter([(opened + timedelta(minutes=39), self._sign)] if outing.confirmed else []),
            iter([(opened + timedelta(minutes=40), self._confirm)] if outing.confirmed else []),
            self._serve(outing, opened + timedelta(minutes=6), ends - timedelta(minutes=4)),
            iter([(ends - timedelta(minutes=1), self._end), (home_at + timedelta(minutes=5), self._deliver)]),
        ]
        yield from heapq.merge(*events, key=lambda step: step[0])

    # where it is --------------------------------------------------------------------------------------------------

    def _drive(self, here: Place, there: Place, leaves: datetime) -> Iterator[Step]:
        for second in range(0, DRIVE_S, FIX_EVERY_S):
            part = (1 - math.cos(math.pi * second / DRIVE_S)) / 2
            bend = math.sin(math.pi * part) * 0.006
            latitude_deg = here[0] + part * (there[0] - here[0]) + bend
            longitude_deg = here[1] + part * (there[1] - here[1]) - bend / 2
            yield leaves + timedelta(seconds=second), self._at(latitude_deg, longitude_deg)

    def _stand(self, village: Village, arrives: datetime, ends: datetime) -> Iterator[Step]:
        for second in range(0, int((ends - arrives).total_seconds()), FIX_EVERY_S):
            yield (
                arrives + timedelta(seconds=second),
                self._at(village.centre_latitude_deg, village.centre_longitude_deg),
            )

    def _at(self, latitude_deg: float, longitude_deg: float) -> Action:
        async def tell() -> None:
            wander = self._chance.gauss
            position = Position(
                latitude_deg + wander(0, 1.6e-5),
                longitude_deg + wander(0, 1.6e-5),
                accuracy_m=round(abs(wander(4.2, 1.1)) + 1.0, 1),
                satellites=self._chance.randint(9, 16),
                gnss_at=self._clock.now(),
            )
            self._publish("gnss-1", "nmea_gnss", position)

        return tell

    def _hear(self, coverage: radio.Coverage, begins: datetime, ends: datetime) -> Iterator[Step]:
        """What the modem says, what deliveries show, and now and then a probe."""
        at, probe_at = begins, begins
        while at < ends - timedelta(minutes=1):
            yield at, self._on_the_air(coverage, probe=at >= probe_at)
            if at >= probe_at:
                probe_at += PROBE_EVERY
            at += RADIO_EVERY

    def _on_the_air(self, coverage: radio.Coverage, probe: bool) -> Action:
        async def hear() -> None:
            self._publish("modem-1", "quectel_5g", radio.heard(coverage, self._chance))
            sampled = radio.probed if probe else radio.passed
            self._van.link.monitor.take(sampled(coverage, self._clock.now(), self._chance))

        return hear

    # what is done -----------------------------------------------------------------------------------------------------

    def _start(self, village: Village) -> Action:
        async def start() -> None:
            await self._van.visits.start(village.code, self._crew, self._leader)

        return start

    async def _plug(self) -> None:
        """The cuff is switched on and found: its address is what it is known by."""
        self._van.device_events.serial_of = {"cuff-1": CUFF}.get
        self._publish("cuff-1", "bluetooth_blood_pressure", DeviceState(Link.CONNECTED, Sensor.OK))
        self._clock.advance(SETTLE_S)
        self._van.device_events.tick()

    async def _confirm(self) -> None:
        """The village doctor types the PIN and confirms."""
        await self._van.visits.confirm(await self._van.staff.check_pin(self._doctor.id, self._doctor.secret))

    def _photograph(self, village: Village) -> Action:
        """The van at the village sign, as the camera that looks out would show it; seen, and kept."""

        async def photograph() -> None:
            photo = self._van.visit_pictures.take(sign_photo(village, self._hand))
            await self._van.visit_pictures.keep(photo.sha256, self._leader)

        return photograph

    async def _sign(self) -> None:
        """Somebody of the village committee signs."""
        name = self._hand.choice(OFFICIALS)
        await self._van.visit_pictures.sign(painted_signature(self._hand), name, "head", self._leader)

    async def _end(self) -> None:
        await self._van.visits.end(self._leader)

    async def _deliver(self) -> None:
        await self._van.uploader.deliver_now()

    def _serve(self, outing: _Outing, begins: datetime, ends: datetime) -> Iterator[Step]:
        people = residents(outing.village.code, outing.village.name, 30)
        chosen = self._chance.sample(people, outing.people)
        each_s = (ends - begins).total_seconds() / len(chosen)
        if outing.village.code not in self._taken_over:
            self._taken_over.add(outing.village.code)
            yield (
                begins - timedelta(minutes=1),
                lambda: chronic.take_over(self._van, people, self._doctor, self._chance),
            )
        for place, person in enumerate(chosen):
            yield begins + timedelta(seconds=place * each_s), self._encounter(person, outing.day, place % 4 == 1)

    def _encounter(self, person: Resident, day: date, with_ecg: bool) -> Action:
        async def serve() -> None:
            patient = await self._van.people.from_card(_card(person), self._leader)
            await self._van.encounters.open(patient.patient, self._leader)
            now = person.on(day)
            self._publish(
                "cuff-1",
                "bluetooth_blood_pressure",
                BloodPressure(now.systolic_mmhg, now.diastolic_mmhg, pulse_bpm=now.pulse_bpm),
            )
            self._publish("glucose-1", "bluetooth_glucose", Glucose(now.glucose_mmol_l, meal="fasting"))
            for _ in range(12):
                self._clock.advance(1)
                self._publish("oximeter-1", "contec_cms50_v7", PulseOximetry(now.spo2_percent, now.pulse_bpm))
            self._publish("oximeter-1", "contec_cms50_v7", PulseOximetry(None, None))
            for tile in self._van.measurements.tiles():
                if tile.reading is not None and tile.state == "arrived":
                    await self._van.measurements.confirm(tile.reading, self._leader)
            for red in self._van.measurements.critical():
                await self._van.critical_values.acknowledge(red.reading, REFERRED, self._leader)
            await chronic.follow_up(self._van, patient.patient, person, self._doctor, self._chance)
            if with_ecg:
                await self._record_ecg(person)
            await self._van.encounters.close(self._leader)

        return serve

    async def _record_ecg(self, person: Resident) -> None:
        """Half a minute of 12 leads as the driver would send them, analysed; the village doctor signs most of them."""
        self._ecg.become(person.pulse_bpm, person.fibrillates)
        self._segment += 1
        counts = np.rint(self._ecg.next_uv(int((ECG_SECONDS + 1) * ECG_RATE_HZ)) / UV_PER_COUNT).astype(np.int16)
        task: asyncio.Task[RecordingView] | None = None
        for first in range(0, len(counts), ECG_CHUNK):
            self._clock.advance(ECG_CHUNK / ECG_RATE_HZ)
            chunk = counts[first : first + ECG_CHUNK]
            self._publish(
                "ecg-1",
                "contec_8000g",
                Samples("ecg", LEADS, ECG_RATE_HZ, self._segment, first, chunk, UV_PER_COUNT, "uV"),
            )
            if task is None:
                task = asyncio.create_task(self._van.ecg.record(ECG_SECONDS, self._leader))
            await asyncio.sleep(0)
        if task is not None:
            found = await self._van.ecg_findings.analyse((await task).sha256)
            if found is not None and self._chance.random() < SIGNED:
                af = "yes" if person.fibrillates else "no"
                agrees = (found.findings["rhythm"] in ("possible", "likely")) is person.fibrillates
                words = "" if agrees else "心房颤动，P波消失" if person.fibrillates else "窦性心律，可见P波"
                me, pin = self._doctor.id, self._doctor.secret
                await self._van.ecg_findings.review(found.sha256, agrees, af, words, me, pin)

    def _publish(self, device: str, driver: str, event: Event) -> None:
        self._van.feed.publish(Stamped(device, driver, self._clock.now(), self._clock.monotonic_s(), event))


def _card(person: Resident) -> IdentityCard:
    return IdentityCard(
        name=person.name,
        sex=person.sex,
        ethnicity_code="01",
        born_on=person.born_on,
        address=person.address,
        id_number=person.id_number,
        issuer="青峪县公安局",
        valid_from=date(2016, 5, 1),
        valid_until=None,
    )


if __name__ == "__main__":
    asyncio.run(live(Home(Path(sys.argv[1]), Ports(0, 0)), sys.argv[2], int(sys.argv[3])))

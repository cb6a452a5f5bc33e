"""What the tests of the vehicle share: a simulated morning, a real store in a scratch folder, two villages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.readings import Position
from sync.keys.vehicle_key import VehicleKey
from sync.proof.areas import Village, read_villages
from sync.record.store import Store

MORNING = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)
"""08:30 in China, a Monday."""


def counting_bytes(seed: int = 1):
    """Random bytes that are the same in every run."""
    state = [seed]

    def random_bytes(n: int) -> bytes:
        state[0] += 1
        return (state[0] * 2654435761).to_bytes(16, "big")[-16:].ljust(n, b"\x5a")[:n]

    return random_bytes


def square(code: str, name: str, longitude_deg: float, latitude_deg: float) -> dict:
    """A village of about 2 km by 2 km around a point."""
    west, east = longitude_deg - 0.01, longitude_deg + 0.01
    south, north = latitude_deg - 0.01, latitude_deg + 0.01
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "properties": {"code": code, "name": name, "township": "白果镇", "valid_from": "2020-01-01"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


NEAR = (30.60, 104.00)
FAR = (30.70, 104.00)
ROAD = (30.65, 104.00)
GEOJSON = {
    "type": "FeatureCollection",
    "features": [square("510199201201", "王家村", NEAR[1], NEAR[0]), square("510199201202", "李家村", FAR[1], FAR[0])],
}


def at_place(place: tuple[float, float], satellites: int = 12, gnss_at: datetime | None = None) -> Position:
    return Position(place[0], place[1], 3.0, satellites, 0.0, gnss_at)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(MORNING)


@pytest.fixture
def villages() -> tuple[Village, ...]:
    return read_villages(GEOJSON)


@pytest.fixture
def store(tmp_path: Path, clock: SimulatedClock) -> Iterator[Store]:
    opened = open_store(tmp_path / "data", clock)
    yield opened
    opened.close()


def open_store(folder: Path, clock: SimulatedClock, seed: int = 1) -> Store:
    key = VehicleKey.load_or_create(folder / "keys" / "journal.key", "van-07.example", counting_bytes(seed))
    return Store.open(folder, "van-07.example", key, clock, counting_bytes(seed + 1), vehicle="van-07")

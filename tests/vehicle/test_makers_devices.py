"""Devices of a maker's own protocol, from their bytes to the journal: the same entries as a standard device makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devices import catalog
from devices.capture import read_capture, run_through
from devices.clock import SimulatedClock
from devices.readings import DeviceState, Samples
from tests.vehicle.clinic_world import World
from tests.vehicle.conftest import MORNING

CAPTURES = Path(__file__).parents[1] / "captures"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


def written(world: World) -> list[tuple[str, dict[str, Any], list[str]]]:
    """Type, values and LOINC codes of the readings in the journal, in their order."""
    rows = world.store.read("SELECT body FROM entries WHERE kind = 'reading/1' ORDER BY n")
    bodies = [json.loads(row["body"]) for row in rows]
    return [
        (body["type"], body["values"], sorted(code["loinc"] for code in body["codes"].values() if "loinc" in code))
        for body in bodies
    ]


PRESSURE_CODES = ["8462-4", "8478-0", "8480-6", "8867-4"]


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        (
            "creative_pc300/one_person",
            [
                (
                    "blood_pressure",
                    {
                        "systolic_mmhg": 142,
                        "diastolic_mmhg": 88,
                        "mean_mmhg": 106,
                        "pulse_bpm": 76,
                        "irregular_pulse": True,
                    },
                    PRESSURE_CODES,
                ),
                ("temperature", {"temperature_c_e2": 3670}, ["8310-5"]),
                ("glucose", {"glucose_mmol_l_e2": 640}, ["14743-9"]),
            ],
        ),
        (
            "sinocare_meter/an_old_and_two_new_results",
            [
                ("glucose", {"glucose_mmol_l_e2": 720}, ["14743-9"]),
                ("glucose", {"glucose_mmol_l_e2": 610}, ["14743-9"]),
                ("uric_acid", {"uric_acid_umol_l": 412}, ["14933-6"]),
            ],
        ),
    ],
    ids=["PC-300", "Sinocare"],
)
async def test_what_the_bytes_say_is_in_the_journal_once_with_its_codes(
    world: World, capture: str, expected: list[tuple[str, dict[str, Any], list[str]]]
) -> None:
    """Twice over, as a meter that goes through its memory again: what has a number or a date is not written twice."""
    driver = capture.split("/")[0]
    await world.serve()
    for event in run_through(catalog.driver(driver)(), read_capture(CAPTURES / f"{capture}.capture.jsonl")):
        if not isinstance(event, DeviceState | Samples):
            world.publish(event, "device-1", driver)
    assert written(world) == expected
    if driver == "sinocare_meter":
        for event in run_through(catalog.driver(driver)(), read_capture(CAPTURES / f"{capture}.capture.jsonl")):
            if not isinstance(event, DeviceState | Samples):
                world.publish(event, "device-1", driver)
        assert written(world) == expected

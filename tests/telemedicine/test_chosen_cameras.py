"""Cameras that the crew chose go before the settings, and are followed while no specialist watches."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.settings_file import SettingsRefused
from telemedicine.chosen_cameras import (
    SETTLED_AFTER_S,
    chosen_in,
    outside_camera,
    until_others_are_chosen,
    with_cameras,
)
from telemedicine.settings import load_settings
from tests.vehicle.conftest import MORNING

ROOM, CARD = "/dev/v4l/by-path/room", "/dev/v4l/by-path/card"
TOML = """
socket = "consultation.sock"
vehicle_socket = "vehicle.sock"
chosen = "data/picture-sources.json"
feeds = [ { name = "room", source = "/dev/video0", width = 640 } ]
[exchange]
url = "wss://county.example/exchange/van"
[identity]
origin = "van-07.example"
key = "journal.key"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data/picture-sources.json"


def test_a_chosen_camera_takes_the_place_of_the_configured_one_and_a_new_picture_is_added(
    tmp_path: Path, file: Path
) -> None:
    (tmp_path / "consultation.toml").write_text(TOML)
    settings = load_settings(tmp_path / "consultation.toml")
    assert settings.chosen == file
    file.write_text(json.dumps({"room": ROOM, "ultrasound": CARD, "kitchen": "/dev/video9"}))
    feeds = {feed.name: feed for feed in with_cameras(settings, chosen_in(settings.chosen)).feeds}
    assert {name: feed.source for name, feed in feeds.items()} == {"room": ROOM, "ultrasound": CARD}
    assert feeds["room"].width == 640


@pytest.mark.parametrize("content", ["", "[]", '{"room": 7}', '{"room": ""}'], ids=["empty", "list", "number", "blank"])
def test_a_file_that_says_nothing_leaves_the_settings_as_they_are(file: Path, content: str) -> None:
    file.write_text(content)
    assert chosen_in(file) == {}
    assert chosen_in(file.with_name("none")) == {}
    assert chosen_in(None) == {}


def test_the_camera_that_looks_out_is_the_crew_s_choice_else_that_of_the_settings(tmp_path: Path, file: Path) -> None:
    """It is no picture of a consultation: choosing it starts nothing anew."""
    toml = tmp_path / "consultation.toml"
    toml.write_text(TOML)
    assert outside_camera(load_settings(toml)) is None
    toml.write_text('outside = "rtsp://192.168.1.21/stream"' + TOML)
    settings = load_settings(toml)
    assert outside_camera(settings) == "rtsp://192.168.1.21/stream"
    file.write_text(json.dumps({"outside": CARD}))
    assert outside_camera(settings) == CARD
    assert chosen_in(file) == {}


def test_the_room_s_camera_is_not_taken_for_one_that_looks_out(tmp_path: Path) -> None:
    (tmp_path / "consultation.toml").write_text('outside = "/dev/video0"' + TOML)
    with pytest.raises(SettingsRefused, match="outside"):
        load_settings(tmp_path / "consultation.toml")


class Day(SimulatedClock):
    """A clock on which things happen: seconds after its beginning -> what."""

    def __init__(self, deeds: dict[int, Callable[[], object]]) -> None:
        super().__init__(MORNING)
        self._began_s, self._deeds = self.monotonic_s(), deeds

    @property
    def passed_s(self) -> float:
        return self.monotonic_s() - self._began_s

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        for at_s in [at_s for at_s in self._deeds if at_s <= self.passed_s]:
            self._deeds.pop(at_s)()


async def test_another_camera_is_taken_once_the_choice_stands_still_and_no_specialist_watches(file: Path) -> None:
    watching = ["dr.li"]
    day = Day(
        {
            10: lambda: file.write_text(json.dumps({"room": ROOM})),
            100: lambda: file.write_text(json.dumps({"room": ROOM, "ultrasound": CARD})),
            101: watching.clear,
        }
    )
    await until_others_are_chosen(file, {}, lambda: bool(watching), day)
    assert day.passed_s == 100 + SETTLED_AFTER_S


async def test_a_choice_that_is_taken_back_at_once_starts_nothing(file: Path) -> None:
    chosen = {"room": ROOM}
    file.write_text(json.dumps(chosen))  # noqa: ASYNC240  a few bytes
    day = Day(
        {
            10: lambda: file.write_text(json.dumps({"room": CARD})),
            12: lambda: file.write_text(json.dumps(chosen)),
            500: lambda: file.write_text("{}"),
        }
    )
    await until_others_are_chosen(file, chosen, lambda: False, day)
    assert day.passed_s == 500 + SETTLED_AFTER_S


def test_other_cameras_are_no_restart_to_the_service_manager() -> None:
    """It allows three in ten minutes, and who sets up a van chooses more often than that."""
    again = """
import os, telemedicine.__main__ as process
async def serve(settings):
    print(os.getpid(), flush=True)
    first = "STARTED" not in os.environ
    os.environ["STARTED"] = "1"
    return first
process.serve = serve
raise SystemExit(process.main())
"""
    example = Path(__file__).parents[2] / "systemd" / "consultation.example.toml"
    run = subprocess.run([sys.executable, "-c", again, "--settings", str(example)], capture_output=True, text=True)
    first, second = run.stdout.split()
    assert (first, run.returncode) == (second, 0), run.stderr

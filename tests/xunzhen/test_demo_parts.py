"""The parts of the demo that are exact: villages, people, settings files, processes, the console script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import pytest

from devices.clock import SimulatedClock, SystemClock
from sync.proof.areas import read_villages
from vehicle.clinic.identity import IdNumber, check_id_number
from xunzhen.demo.before_start import DemoRunsAlready, NoRoom, PortIsTaken, forget, need_free_ports, need_room, only_one
from xunzhen.demo.founding import write_toml
from xunzhen.demo.home import TOWNSHIP, Home, Ports
from xunzhen.demo.morning import Morning, Simulators
from xunzhen.demo.processes import RESTARTS_AT_MOST, Process, ServiceDidNotStart
from xunzhen.demo.residents import residents
from xunzhen.demo.village_sign import RATE_HZ, painted_signature, render_sign, sign_photo
from xunzhen.demo.weeks import DEPOT

VILLAGES = read_villages(json.loads(TOWNSHIP.read_text(encoding="utf-8")))


def test_twelve_villages_that_do_not_overlap_at_their_centres() -> None:
    assert len(VILLAGES) == len({village.code for village in VILLAGES}) == 12
    for village in VILLAGES:
        holders = [
            other.name
            for other in VILLAGES
            if other.contains(village.centre_latitude_deg, village.centre_longitude_deg)
        ]
        assert holders == [village.name]
        assert village.metres_inside(village.centre_latitude_deg, village.centre_longitude_deg) > 500


def test_the_depot_is_in_no_village() -> None:
    assert min(village.metres_outside(*DEPOT) for village in VILLAGES) > 1000


def test_the_village_sign_is_another_picture_in_each_village_and_each_time(tmp_path: Path) -> None:
    chance = random.Random(7)
    photos = [sign_photo(village, chance) for village in (*VILLAGES[:2], VILLAGES[0])]
    assert len({*photos}) == 3
    assert {photo[:3] for photo in photos} == {b"\xff\xd8\xff"}
    assert painted_signature(chance).startswith(b"\x89PNG")
    clip = tmp_path / "clips" / "outside.mp4"
    render_sign(clip, VILLAGES[0])
    capture = cv2.VideoCapture(str(clip))
    assert (capture.get(cv2.CAP_PROP_FPS), capture.read()[0]) == (RATE_HZ, True)


def test_residents_are_the_same_at_every_call_and_have_valid_numbers() -> None:
    people = [person for village in VILLAGES for person in residents(village.code, village.name, 30)]
    assert people[:30] == residents(VILLAGES[0].code, VILLAGES[0].name, 30)
    assert len({person.id_number for person in people}) == len(people)
    for person in people:
        number = check_id_number(person.id_number, date(2026, 11, 21))
        assert isinstance(number, IdNumber)
        assert (number.born_on, number.sex) == (person.born_on, person.sex)
        assert person.diastolic_mmhg < person.systolic_mmhg


def test_whoever_comes_again_has_values_of_that_day() -> None:
    people = residents(VILLAGES[0].code, VILLAGES[0].name, 30)
    visits = [date(2026, 11, 1), date(2026, 11, 21)]
    for person in people:
        first, again = (person.on(day) for day in visits)
        assert person.on(visits[0]) == first
        assert (first.systolic_mmhg, first.diastolic_mmhg) != (again.systolic_mmhg, again.diastolic_mmhg)
        assert abs(first.systolic_mmhg - person.systolic_mmhg) < 30
        assert first.diastolic_mmhg < first.systolic_mmhg


def test_settings_files_read_back_as_written(tmp_path: Path) -> None:
    tables = {
        "language": "zh",
        "practice": True,
        "county": {"url": "http://127.0.0.1:1", "key": 'quoted "+" \\ 村'},
        "staff": [{"id": "a", "n": 1}, {"id": "b", "n": 2}],
    }
    write_toml(tmp_path / "x.toml", tables)
    assert tomllib.loads((tmp_path / "x.toml").read_text(encoding="utf-8")) == tables


READY = """
import os, socket, sys, time
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(60)
"""


async def test_a_process_that_fails_to_start_says_why(tmp_path: Path) -> None:
    """In the words of this start, not of one before."""
    (tmp_path / "broken.log").write_text("all was well\n")
    broken = Process("broken", [sys.executable, "-c", "raise SystemExit('no such port')"], tmp_path, SystemClock())
    with pytest.raises(ServiceDidNotStart, match=r"(?s)broken ended; .*no such port") as failed:
        await broken.start()
    assert "all was well" not in str(failed.value)
    silent = Process("silent", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, SystemClock())
    with pytest.raises(ServiceDidNotStart, match="silent did not get ready within 0 s"):
        await silent.start(within_s=0.1)
    await silent.stop()


async def test_a_killed_process_is_started_again_three_times_and_then_left(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    service = Process("service", [sys.executable, "-c", READY, str(starts)], tmp_path, SystemClock())
    await service.start()
    watch = asyncio.create_task(service.watch())
    for number in range(RESTARTS_AT_MOST + 1):
        while len(starts.read_text().split()) <= number:  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(0.02)
        os.kill(int(starts.read_text().split()[number]), signal.SIGKILL)
    await asyncio.wait_for(watch, 20)
    assert len(starts.read_text().split()) == RESTARTS_AT_MOST + 1
    assert service.pid is None


async def test_stopping_ends_it(tmp_path: Path) -> None:
    service = Process("service", [sys.executable, "-c", READY, str(tmp_path / "starts")], tmp_path, SystemClock())
    await service.start()
    pid = service.pid
    assert pid is not None
    await service.stop()
    assert service.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_the_demo_has_started_ends_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    demo = f"""
import asyncio, pathlib, sys
from devices.clock import SystemClock
from xunzhen.demo.processes import Process
async def main():
    service = [sys.executable, "-c", {READY!r}, {str(starts)!r}]
    await Process("service", service, pathlib.Path({str(tmp_path)!r}), SystemClock()).start()
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", demo], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.kill()
    stat = Path(f"/proc/{starts.read_text().strip()}/stat")
    until = time.monotonic() + 20
    while stat.exists() and ") Z " not in stat.read_text():
        assert time.monotonic() < until, "it goes on without the demo"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nonsense"], 2, "usage: xunzhen SERVICE"),
        ([], 2, "consultation"),
        (["--help"], 0, "county"),
        (["demo", "--ports", "8400"], 1, "two numbers with a comma"),
        (["vehicle", "--settings", "/nonexistent.toml"], 2, "no such settings file"),
    ],
)
def test_the_console_script_says_what_to_do(arguments: list[str], code: int, says: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "xunzhen.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert says in run.stdout + run.stderr
    assert run.returncode == code


class FarEnds(Simulators):
    """Without a socket: keeps what it is told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def do(self, command: str, **facts: Any) -> dict[str, Any]:
        self.told.append(command)
        return {"ok": True}


@pytest.mark.parametrize("meters", [True, False])
async def test_a_person_is_measured_with_the_devices_that_are_there(tmp_path: Path, meters: bool) -> None:
    far_ends, clock = FarEnds(), SimulatedClock(datetime(2026, 11, 21, 1, tzinfo=UTC))
    people = residents(VILLAGES[0].code, VILLAGES[0].name, 1)
    morning = Morning(far_ends, tmp_path / "journal.db", people, clock, meters=meters)
    measuring = asyncio.create_task(morning._measure(people[0]))
    while not measuring.done():
        clock.advance(1.0)
        await asyncio.sleep(0)
    await measuring
    cuff_and_meter = ["blood_pressure", "glucose"] if meters else []
    assert far_ends.told == ["heart", "finger", *cuff_and_meter, "finger", "urine"]


async def test_people_come_in_again_after_the_simulators_were_down(tmp_path: Path) -> None:
    class Dying(FarEnds):
        async def do(self, command: str, **facts: Any) -> dict[str, Any]:
            await super().do(command, **facts)
            return json.loads("" if len(self.told) == 1 else "{}")  # type: ignore[no-any-return]

    far_ends, clock = Dying(), SimulatedClock(datetime(2026, 11, 21, 1, tzinfo=UTC))
    people = residents(VILLAGES[0].code, VILLAGES[0].name, 2)
    playing = asyncio.create_task(Morning(far_ends, tmp_path / "journal.db", people, clock, meters=False).play())
    for _ in range(10):  # no journal yet
        clock.advance(1.0)
        await asyncio.sleep(0)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as journal:
        journal.execute("create table visits (closed_at)")
        journal.execute("create table encounters (encounter, closed_at, opened_at)")
        journal.execute("insert into visits values (null)")
        journal.commit()
    for _ in range(60):
        clock.advance(1.0)
        await asyncio.sleep(0)
    playing.cancel()
    assert far_ends.told[:3] == ["card", "card", "card_off"]


def test_specialist_and_administrator_are_signed_in_side_by_side() -> None:
    """Browsers keep one session for a host, whatever the port."""
    home = Home(Path("unused"), Ports(8400, 8500))
    assert urlsplit(home.county_url).hostname != urlsplit(home.specialist_url).hostname


def test_a_second_demo_in_the_same_folder_is_told_so_and_forgets_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "home" / "van-07" / "journal.db"
    with only_one(tmp_path / "home"):
        kept.parent.mkdir()
        kept.write_text("precious")
        with pytest.raises(DemoRunsAlready, match="runs already"), only_one(tmp_path / "home"):
            pytest.fail("two demos in one folder")
        second = subprocess.run(
            [sys.executable, "-m", "xunzhen.demo", "--home", str(tmp_path / "home"), "--fresh"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr.startswith("xunzhen demo: a demo runs already in")
        assert "Traceback" not in second.stderr
    assert kept.read_text() == "precious"
    with only_one(tmp_path / "home"):
        forget(tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortIsTaken, match=rf"port {port} for the county .*--ports"):
            need_free_ports(Home(Path("unused"), Ports(0, port)))


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    need_room(tmp_path)
    with pytest.raises(NoRoom, match=r"needs 1000000000000: make room, or choose another disk with .*--home"):
        need_room(tmp_path, 10**18)
    assert list(tmp_path.iterdir()) == []

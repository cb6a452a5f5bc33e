"""``xunzhen demo``: county, van, consultation and simulated devices, from nothing or where it stopped."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import socket
import sys
from pathlib import Path

from devices.clock import SystemClock
from devices.errors import AskPerson
from sync.proof.areas import Village, read_villages
from xunzhen.demo import founding, history
from xunzhen.demo.before_start import forget, need_free_ports, need_room, only_one
from xunzhen.demo.clips import render_clips
from xunzhen.demo.home import ADMINISTRATOR, CREWS, LIVE_VAN, SPECIALIST, Home, Ports
from xunzhen.demo.morning import Morning, Simulators
from xunzhen.demo.processes import Process
from xunzhen.demo.residents import Resident, residents
from xunzhen.demo.village_sign import render_sign


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="xunzhen demo", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("demo-data"), help="folder of the demo (default demo-data)")
    parser.add_argument("--fresh", action="store_true", help="start over: forget the folder")
    parser.add_argument("--ports", default="8400,8500", help="touchscreen and county port (default 8400,8500)")
    parser.add_argument("--ecg", type=Path, help="WFDB record (format 16 or 212) for the 12-lead device")
    parser.add_argument("--track", type=Path, help="NMEA 0183 file for the GNSS receiver")
    parser.add_argument("--ultrasound", default="", help="video source: device, file or URL")
    parser.add_argument("--room", default="", help="video source: device, file or URL")
    parser.add_argument("--history-days", type=int, default=21, help="days to live through first (default 21)")
    parser.add_argument("--no-morning", action="store_true", help="nobody comes in by themselves")
    parser.add_argument("--no-bluetooth", action="store_true", help="without the Bluetooth meters")
    parser.add_argument("--uplink-port", type=int, help="the van reaches the county on this port instead")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    try:
        touchscreen, county = (int(port) for port in chosen.ports.split(","))
    except ValueError:
        sys.exit("--ports takes two numbers with a comma between them, such as 8400,8500")
    try:
        ports = Ports(touchscreen, county, *(free_port(county + step) for step in (100, 200, 300)))
        home = Home(chosen.home.resolve(), ports)
        with only_one(home.folder):
            need_free_ports(home)
            if chosen.fresh or (home.county_data.exists() and not history.lived_through(home)):
                forget(home.folder)  # also what an interrupted first start has left
            need_room(home.folder)
            asyncio.run(run(home, chosen))
    except AskPerson as stop:
        sys.exit(f"xunzhen demo: {stop}")


async def run(home: Home, chosen: argparse.Namespace) -> None:
    """Live until Ctrl-C, SIGTERM or the end of the terminal, at whatever point that comes.

    :raises AskPerson: it cannot start
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    living = asyncio.create_task(live(home, chosen))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("\nstopping ...", flush=True)
    for task in (living, stopping):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living


async def live(home: Home, chosen: argparse.Namespace) -> None:
    """Set up what is missing, start everything, go on until cancelled, end everything.

    :raises AskPerson: it cannot start
    """
    villages = read_villages(json.loads(home.township.read_text(encoding="utf-8")))
    founding.prepare(home, chosen)
    if not history.lived_through(home):
        print(f"living through the past {chosen.history_days} days in simulated time, once ...", flush=True)
        await asyncio.gather(
            history.live_through(home, chosen.history_days), asyncio.to_thread(render_clips, home.clips)
        )
    render_clips(home.clips)
    render_sign(home.outside_clip, villages[0])
    bluetooth = has_bluetooth(chosen)
    processes = rows(home, chosen, villages, bluetooth)
    started: list[Process] = []
    tasks: list[asyncio.Task[None]] = []
    try:
        for together in processes:
            started += together
            await asyncio.gather(*(process.start() for process in together))
        tasks = [asyncio.create_task(process.watch()) for process in started]
        if not chosen.no_morning:
            people = in_order(residents(villages[0].code, villages[0].name, 30))
            journal = home.vehicle_data(LIVE_VAN) / "journal.db"
            morning = Morning(Simulators(home.control), journal, people, SystemClock(), meters=bluetooth)
            tasks.append(asyncio.create_task(morning.play()))
        announce(home)
        province = witness(home)
        started.append(province)
        await province.start()
        tasks.append(asyncio.create_task(province.watch()))
        await asyncio.Event().wait()
    finally:
        for task in tasks:
            task.cancel()
        for process in reversed(started):
            with contextlib.suppress(ProcessLookupError):
                await process.stop()


def in_order(people: list[Resident]) -> list[Resident]:
    """The third who comes in has atrial fibrillation: the ECG page has something to find early."""
    first = next(person for person in people if person.fibrillates)
    others = [person for person in people if person is not first]
    return [*others[:2], first, *others[2:]]


def rows(home: Home, chosen: argparse.Namespace, villages: tuple[Village, ...], bluetooth: bool) -> list[list[Process]]:
    """What runs; the inner lists start together."""
    clock, python = SystemClock(), sys.executable
    stands = villages[0]
    simulators = Process(
        "simulators",
        [
            *(python, "-m", "devices.simulators", "--ports", str(home.devices), "--control", str(home.control)),
            *("--position", f"{stands.centre_latitude_deg},{stands.centre_longitude_deg}"),
            *(["--ecg", str(chosen.ecg)] if chosen.ecg else []),
            *(["--track", str(chosen.track)] if chosen.track else []),
            *(["--analyser", f"127.0.0.1:{home.ports.analyser}"] if home.ports.analyser else []),
            *(["--printer", f"127.0.0.1:{home.ports.printer}"] if home.ports.printer else []),
            *("--paper", str(home.slips)),
            *(["--bluetooth"] if bluetooth else []),
        ],
        home.run,
        clock,
    )
    county = Process(
        "county", [python, "-m", "telemedicine.exchange", "--settings", str(home.county_settings)], home.run, clock
    )
    vehicle = Process(
        "vehicle",
        [python, "-m", "vehicle", "--settings", str(home.vehicle_settings(LIVE_VAN))],
        home.run,
        clock,
        {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={home.devices}/bluetooth/bus"} if bluetooth else {},
    )
    consultation = Process(
        "consultation",
        [python, "-m", "telemedicine", "--settings", str(home.consultation_settings)],
        home.run,
        clock,
    )
    return [[simulators, county], [vehicle, consultation]]


def witness(home: Home) -> Process:
    """The province's: what it has not cosigned yet is pushed when it is there."""
    arguments = [sys.executable, "-m", "sync.witness", "--settings", str(home.witness_settings)]
    return Process("witness", arguments, home.run, SystemClock())


def free_port(wanted: int) -> int:
    """``wanted``, or another when that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise AskPerson("no port is free on the loopback: end other programs")


def has_bluetooth(chosen: argparse.Namespace) -> bool:
    """Whether the virtual Bluetooth link can run here; says what is missing when it was not left out on purpose."""
    if chosen.no_bluetooth:
        return False
    if shutil.which("dbus-daemon") is None:
        print("without the Bluetooth meters: dbus-daemon is not installed (Debian package dbus)", flush=True)
        return False
    return True


def announce(home: Home) -> None:
    def person(staff: tuple[str, str]) -> str:
        return f"{staff[0]}  {staff[1]}"

    doctor = CREWS[LIVE_VAN][0]
    print(
        f"\n巡诊 Xunzhen 演练 (practice)\n"
        f"  village doctor  {home.touchscreen_url:34} {person((doctor.name, 'PIN ' + doctor.secret))}\n"
        f"  specialist      {home.specialist_url:34} {person((SPECIALIST.id, SPECIALIST.secret))}\n"
        f"  county          {home.county_url:34} {person((ADMINISTRATOR.id, ADMINISTRATOR.secret))}\n"
        f"Begin as the village doctor: start the visit, and people come in by themselves.\n"
        f"printed slips:  {home.slips}\n"
        f"data and logs: {home.folder}   Ctrl-C ends all of it\n",
        flush=True,
    )


if __name__ == "__main__":
    main()

"""The cost of reading devices, in a process of its own: ``python -m benchmarks.device_feed FOLDER SECONDS WHAT``.

WHAT is ``pyserial`` (the 12-lead port read and thrown away: the floor), ``twelve`` (the 12-lead ECG alone),
``analysed`` (the same with the ECG analysis beside it), ``eight``: links, sessions, drivers, the feed, and one reader
of the live hub that takes every frame, as a screen does. Prints one JSON line: share of one core after a warm-up, what
was read, and, but for ``eight``, how late the event loop came back to a task that sleeps 5 ms.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import serial

from devices.clock import SystemClock
from devices.drivers import contec_8000g
from devices.links.bluetooth_hub import BluetoothHub
from devices.readings import Samples, Stamped
from devices.session import DeviceSettings, open_sessions
from vehicle.ecg_analysis import EcgAnalysis
from vehicle.feed import Feed
from vehicle.live import LiveHub

WARM_UP_S = 3.0
LOOP_ASKED_S = 0.005
SERIAL = {
    "ecg-1": ("contec_8000g", "ecg"),
    "single-1": ("healthypi_v4", "single"),
    "oximeter-1": ("contec_cms50_v7", "oximeter-1"),
    "oximeter-2": ("berry_bci", "oximeter-2"),
}
BLUETOOTH = {
    "glucose-1": "bluetooth_glucose",
    "cuff-1": "bluetooth_blood_pressure",
    "thermometer-1": "bluetooth_thermometer",
    "scale-1": "bluetooth_scale",
}


def settings_of(folder: Path) -> list[DeviceSettings]:
    """The eight devices of ``device_desk``."""
    wired = [
        DeviceSettings(name=name, driver=driver, link="serial", port=str(folder / port))
        for name, (driver, port) in SERIAL.items()
    ]
    return wired + [DeviceSettings(name=name, driver=driver, link="bluetooth") for name, driver in BLUETOOTH.items()]


def read_only(folder: Path, seconds: float) -> dict[str, Any]:
    with serial.Serial(str(folder / "ecg"), 230400, timeout=0.1) as port:
        for command in (contec_8000g.HELLO, contec_8000g.CHANNELS_ON, contec_8000g.START):
            port.write(command)
            time.sleep(contec_8000g.PAUSE_S)
        _read_for(port, WARM_UP_S)
        began_s, cpu_s = time.monotonic(), time.process_time()
        n_bytes = _read_for(port, seconds)
        share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        port.write(contec_8000g.STOP)
    return {"core_share": share, "bytes": n_bytes}


def _read_for(port: serial.Serial, seconds: float) -> int:
    until_s, n_bytes = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        n_bytes += len(port.read(port.in_waiting or 1))
    return n_bytes


async def through_sessions(
    devices: list[DeviceSettings], seconds: float, analysed: bool, watched: bool
) -> dict[str, Any]:
    """:param watched: whether the loop is asked how late it is: 200 wake-ups a second, which have their own cost"""
    clock, feed, live = SystemClock(), Feed(), LiveHub()
    live.listen(feed)
    events: dict[str, int] = {}

    def publish(stamped: Stamped) -> None:
        kind = stamped.event.stream if isinstance(stamped.event, Samples) else type(stamped.event).__name__
        events[f"{stamped.device} {kind}"] = events.get(f"{stamped.device} {kind}", 0) + 1
        feed.publish(stamped)

    hub = BluetoothHub(clock) if any(one.link == "bluetooth" for one in devices) else None
    running = [asyncio.create_task(one.run()) for one in open_sessions(devices, publish, clock, hub)]
    running.append(asyncio.create_task(_take_all(live)))
    late_ms: list[float] = []
    if analysed:
        running.append(asyncio.create_task(EcgAnalysis(feed, live).run()))
    try:
        await asyncio.sleep(WARM_UP_S)
        began_s, cpu_s = time.monotonic(), time.process_time()
        if watched:
            running.append(asyncio.create_task(_watch_loop(late_ms)))
        await asyncio.sleep(seconds)
        share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if hub is not None:
            await hub.stop()
    return {"core_share": share, "events": events, "late_ms": sorted(late_ms)}


async def _watch_loop(late_ms: list[float]) -> None:
    while True:
        began_s = time.monotonic()
        await asyncio.sleep(LOOP_ASKED_S)
        late_ms.append(1000 * (time.monotonic() - began_s - LOOP_ASKED_S))


async def _take_all(live: LiveHub) -> None:
    with live.subscribe(("ecg", "pleth")) as reader:
        async for _ in reader:
            pass


def main() -> None:
    folder, seconds, what = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    if what == "pyserial":
        told = read_only(folder, seconds)
    else:
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = (folder / "bus").read_text()
        devices = settings_of(folder)
        chosen = devices if what == "eight" else devices[:1]
        told = asyncio.run(through_sessions(chosen, seconds, what == "analysed", what != "eight"))
    print(json.dumps(told))


if __name__ == "__main__":
    main()

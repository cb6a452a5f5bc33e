"""Eight devices at once, measured at the touchscreen: cost, latency, loss; and serial devices pulled out and put back.

``make bench-devices``, or ``python -m benchmarks.bench_devices --seconds 3600`` for the long run. The devices are
simulated byte for byte in a process of their own (``device_desk``); the van is the production process, and the client
of its touchscreen is signed in over TCP as the kiosk's browser is. Latency is told twice: from the write of the byte
that completed a frame, and from that of its first byte, which waited for the frame to fill (25 samples, 50 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import websockets
from argon2 import PasswordHasher

from benchmarks.bench_start import free_port
from benchmarks.device_feed import settings_of
from benchmarks.replug_serial import AT_ONCE, Replugged, replug
from devices.readings import INVALID_COUNT
from devices.wire import unpack_samples

PERSON, PIN = "doctor.one", "2580"
CPU_SECONDS = 8.0
READY_WITHIN_S = 60.0
SETTLE_S = 4.0
"""Devices attach; the first frames after it are not measured."""


@dataclass
class Heard:
    """What the client of the touchscreen got of the 12-lead ECG."""

    frames: list[tuple[float, int, int, int]] = field(default_factory=list)
    """(received by CLOCK_MONOTONIC, segment, first index, samples)"""
    invalid: int = 0
    gaps: int = 0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=30.0, help="of measuring latency and loss")
    options.add_argument("--plugs", type=int, default=200, help="of the storm on serial ports")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="xz-bench-") as folder:
        desk = Path(folder) / "desk"
        desk.mkdir()
        with running_desk(desk):
            tell_cost(desk)
            heard, core_share = asyncio.run(at_the_touchscreen(Path(folder), desk, asked.seconds))
        written = json.loads((desk / "written.json").read_text())
        tell_latency(heard, written, asked.seconds, core_share)
        storm = Path(folder) / "storm"
        storm.mkdir()
        tell_storm(asyncio.run(replug(storm, asked.plugs)))


# cost


def tell_cost(desk: Path) -> None:
    told = {what: feed_process(desk, what) for what in ("pyserial", "twelve", "analysed", "eight")}
    shares = {what: one["core_share"] for what, one in told.items()}
    print(f"CPU of one core over {CPU_SECONDS:.0f} s, reading to live frames, without the web server:")
    print(f"  eight devices                   {100 * shares['eight']:5.1f} %   (goal: at most 10 %)")
    print(f"  12-lead ECG alone               {100 * shares['twelve']:5.1f} %")
    print(f"    with its analysis beside it   {100 * shares['analysed']:5.1f} %")
    print(f"  the same port read by pyserial  {100 * shares['pyserial']:5.1f} %   and thrown away")
    for what, name in (("twelve", "without"), ("analysed", "with")):
        p50, p99, most = np.percentile(told[what]["late_ms"], [50, 99, 100])
        print(f"  event loop {name} analysis late by  p50 {p50:.1f}  p99 {p99:.1f}  most {most:.1f} ms")


def feed_process(desk: Path, what: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.device_feed", str(desk), str(CPU_SECONDS), what],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=CPU_SECONDS + READY_WITHIN_S,
    )
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


@contextmanager
def running_desk(desk: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.device_desk", str(desk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != b"READY":
            raise SystemExit("the simulated devices did not start")
        yield
    finally:
        process.communicate(timeout=READY_WITHIN_S)


# latency and loss


async def at_the_touchscreen(folder: Path, desk: Path, seconds: float) -> tuple[Heard, float]:
    """What a signed-in client of a whole van got, and the van's share of one core meanwhile."""
    port = free_port()
    settings = write_settings(folder, desk, port)
    environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": (desk / "bus").read_text()}
    with (folder / "van.log").open("wb") as log:
        command = (sys.executable, "-m", "vehicle", "--settings", str(settings))
        van = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environment)
        try:
            cookie = await signed_in(f"http://127.0.0.1:{port}")
            address = f"ws://127.0.0.1:{port}/live?streams=ecg,pleth"
            async with websockets.connect(address, additional_headers={"Cookie": cookie}) as screen:
                await listen(screen, SETTLE_S)
                began_s, cpu_s = time.monotonic(), cpu_seconds(van.pid)
                heard = await listen(screen, seconds)
                share = (cpu_seconds(van.pid) - cpu_s) / (time.monotonic() - began_s)
        finally:
            van.terminate()
            await van.wait()
    return heard, share


async def listen(screen: websockets.ClientConnection, seconds: float) -> Heard:
    heard = Heard()
    try:
        async with asyncio.timeout(seconds):
            async for message in screen:
                at_s = time.monotonic()
                if isinstance(message, str):
                    heard.gaps += json.loads(message).get("type") == "gap"
                    continue
                device, samples = unpack_samples(message)
                if device == "ecg-1":
                    heard.frames.append((at_s, samples.segment, samples.first_index, len(samples.counts)))
                    heard.invalid += int((samples.counts == INVALID_COUNT).any(axis=1).sum())
    except TimeoutError:
        pass
    return heard


async def signed_in(address: str) -> str:
    """The cookie of the person, once the van answers."""
    async with httpx.AsyncClient(base_url=address) as client, asyncio.timeout(READY_WITHIN_S):
        while True:
            try:
                answer = await client.post("/sign-in", data={"person": PERSON, "pin": PIN})
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        if answer.headers.get("location") != "/today":
            raise SystemExit(f"sign-in was refused: {answer.status_code}")
        return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def write_settings(folder: Path, desk: Path, port: int) -> Path:
    pin_hash = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PIN)
    (folder / "villages.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    lines = [
        f'data = "{folder}/data"',
        '[vehicle]\nid = "van-01"\nplate = "X"\norigin = "van-01.bench.example"\ncounty_name = "bench"',
        f'[touchscreen]\nport = {port}\nsocket = "{folder}/van.sock"',
        f'[consultation]\nsocket = "{folder}/consultation.sock"',
        '[link]\nmodem = "none"',
        f'[[staff]]\nid = "{PERSON}"\nname = "A"\nrole = "village_doctor"\npin_hash = "{pin_hash}"',
    ]
    for device in settings_of(desk):
        place = f'\nport = "{device.port}"' if device.port else ""
        lines.append(f'[[devices]]\nname = "{device.name}"\ndriver = "{device.driver}"\nlink = "{device.link}"{place}')
    path = folder / "vehicle.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tell_latency(heard: Heard, written: dict[str, Any], seconds: float, core_share: float) -> None:
    times, totals = zip(*written["writes"], strict=True)
    if not heard.frames:
        raise SystemExit("no frame of the 12-lead ECG came to the touchscreen")
    segment = heard.frames[-1][1]
    frames = [frame for frame in heard.frames if frame[1] == segment]
    last_ms, first_ms = [], []
    for at_s, _, first, n in frames:
        last_ms.append(1000 * (at_s - times[bisect_left(totals, first + n)]))
        first_ms.append(1000 * (at_s - times[bisect_left(totals, first + 1)]))
    expected = frames[-1][2] + frames[-1][3] - frames[0][2]
    lost = expected - sum(n for *_, n in frames) + heard.invalid
    print(f"\nByte to touchscreen, 12-lead ECG beside seven devices, {seconds:.0f} s, {len(frames)} frames:")
    for name, values in (("from the byte that completed it", last_ms), ("from its first byte", first_ms)):
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        print(f"  {name:32} p50 {p50:5.1f}  p95 {p95:5.1f}  p99 {p99:5.1f} ms")
    print("  (goal: p95 at most 60 ms, p99 at most 120 ms)")
    print(f"  samples lost {lost} of {expected}; gaps told {heard.gaps}; segments {len({f[1] for f in heard.frames})}")
    print(f"  the whole van process: {100 * core_share:.1f} % of one core")


# storm


def tell_storm(storm: Replugged) -> None:
    p50, p95, most = np.percentile(storm.back_s, [50, 95, 100])
    print(f"\nPulled out and put back, serial, {len(storm.back_s)} times, {AT_ONCE} ports at once:")
    print(f"  back after p50 {p50:.2f}  p95 {p95:.2f}  most {most:.2f} s   (goal: within 2 s)")
    left = {name: getattr(storm.after, name) - getattr(storm.before, name) for name in storm.before.__slots__}
    print("  left behind: " + ", ".join(f"{n} {name}" for name, n in left.items()))


if __name__ == "__main__":
    main()

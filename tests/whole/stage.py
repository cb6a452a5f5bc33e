"""Starts what ``make demo`` starts, in a folder and on ports of its own, and drives the simulated devices."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WFDB_RECORD = SHARED / "data/ecg/samples12/cinc2021/E07500"


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_until(what: str, holds: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Poll ``holds`` until it is truthy and return that; fails with ``what`` after ``within_s``."""
    end = time.monotonic() + within_s
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"did not come true within {within_s:.0f} s: {what}")
        time.sleep(0.1)


@dataclass
class Demo:
    """A running demo."""

    folder: Path
    touchscreen: str
    specialist: str
    county: str
    process: subprocess.Popen[str]

    def simulate(self, deed: str, **facts: Any) -> dict[str, Any]:
        """One command to the simulated devices."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(20)
            line.connect(str(self.folder / "run" / "simulators.sock"))
            line.sendall(json.dumps({"do": deed, **facts}).encode() + b"\n")
            answer = json.loads(line.makefile("rb").readline())
        assert "error" not in answer, answer
        return dict(answer)

    def van(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A question to the van's tables, read only."""
        return _ask(self.folder / "van-07" / "journal.db", sql, parameters)

    def county_tables(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return _ask(self.folder / "county" / "county.db", sql, parameters)

    def pid(self, module: str) -> int:
        """The process that runs ``python -m module`` for this demo."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                if module in words and any(str(self.folder) in word for word in words):
                    return int(entry.name)
        raise LookupError(f"no process runs {module}")

    def kill(self, module: str) -> int:
        """kill -9; returns the pid that is gone."""
        pid = self.pid(module)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, module: str, old: int) -> None:
        def another() -> bool:
            try:
                return self.pid(module) != old
            except LookupError:
                return False

        wait_until(f"{module} runs again", another)

    def log(self, name: str) -> str:
        return (self.folder / "run" / f"{name}.log").read_text(errors="replace")


def _ask(file: Path, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


def start_demo(*options: str, folder: Path | None = None, ports: tuple[int, int] | None = None) -> Demo:
    """Start ``xunzhen demo`` and return once it has printed its addresses."""
    home = folder or Path(tempfile.mkdtemp(prefix="xz-", dir="/tmp"))  # short: socket paths end at 107 bytes
    touchscreen, county = ports or free_ports(2)
    process = subprocess.Popen(
        [sys.executable, "-m", "xunzhen.demo", "--home", str(home), "--ports", f"{touchscreen},{county}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            break
    else:
        pytest.fail("the demo ended before it was up:\n" + "".join(said))
    base = f"http://127.0.0.1:{county}/"
    return Demo(home, f"http://127.0.0.1:{touchscreen}/", base + "specialist", base, process)


def stop_demo(demo: Demo, keep: bool = False) -> None:
    demo.process.send_signal(signal.SIGINT)
    try:
        demo.process.wait(30)
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
    if not keep:
        shutil.rmtree(demo.folder, ignore_errors=True)

"""The bench program of T3, with kill -9 in the place of the relay."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.powercut.relay import Controller

ROOT = Path(__file__).parents[2]


class Supply:
    """A van process that has power or not."""

    def __init__(self, folder: Path, port: int) -> None:
        self._command = [sys.executable, "-m", "tests.powercut.relay", "--port", str(port), "van", "127.0.0.1"]
        self._command += ["--folder", str(folder)]
        self._van: subprocess.Popen[bytes] | None = None

    def switch(self, on: bool) -> None:
        if on:
            self._van = subprocess.Popen(self._command, cwd=ROOT)
        elif self._van is not None:
            os.kill(self._van.pid, signal.SIGKILL)
            self._van.wait()
            self._van = None


def test_the_controller_remembers_what_the_van_promised(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supply = Supply(tmp_path / "van", listener.getsockname()[1])
        controller = Controller(listener, supply.switch, seed=2, life_s=0.5)
        try:
            for number in (1, 2):
                supply.switch(True)
                controller.cycle(number)
            (tmp_path / "van" / "journal.db").unlink()
            (tmp_path / "van" / "journal.db-wal").unlink()
            supply.switch(True)
            controller.cycle(3)
        finally:
            supply.switch(False)
    tally = controller.tally
    assert tally.cycles == 2
    assert tally.entries > 10
    assert tally.faults == ["cycle 2: the journal lost"], (
        "the first cut lost nothing; a disk that was swapped is noticed"
    )

"""T3, the bench: a relay in the supply of a real vehicle PC, and a second PC that switches it and remembers.

On the second PC: ``python -m tests.powercut.relay controller --off "usbrelay R_1=0" --on "usbrelay R_1=1"``.
On the vehicle PC, at every start: ``python -m tests.powercut.relay van --folder /var/lib/powercut HOST``.
What the van says is safe travels over TCP and is remembered by the controller, which does not lose its memory in the
cut. hardware/power-cuts.md has the wiring.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tests.powercut.audit import Found, audit
from tests.powercut.children import Child
from tests.powercut.cycles import LONGEST_AUDIT_S, Tally
from tests.powercut.promises import READY, Promises
from tests.powercut.writer import MIXES, Life, write_for_ever

PORT = 8577
LONGEST_START_S = 600.0
"""From relay on to the van's first word: firmware, boot, file system check."""
RETRY_S = 0.5


# the vehicle PC ------------------------------------------------------------------------------------------------------


def be_van(folder: Path, host: str, port: int) -> None:
    """Look at what the last cut left, then write until the power goes."""
    connection = _reach(host, port)
    lines = connection.makefile("r", encoding="utf-8")
    order = json.loads(lines.readline())
    promises = Promises()
    promises.hear(order["promised"].encode())
    looking = Child(lambda say: say(json.dumps(asdict(audit(folder, promises, order["number"])))))
    found, _ = looking.listen(LONGEST_AUDIT_S)
    connection.sendall((found or json.dumps(asdict(Found([looking.last_words()]))).encode()) + b"\n")
    looking.kill()
    life = Life(order["number"], order["seed"], MIXES[order["number"] % len(MIXES)])
    write_for_ever(folder, life, lambda said: connection.sendall(said.encode()))


def _reach(host: str, port: int) -> socket.socket:
    while True:
        with suppress(OSError):
            connection = socket.create_connection((host, port), timeout=RETRY_S)
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        time.sleep(RETRY_S)  # the network comes up later than we do


# the controller ------------------------------------------------------------------------------------------------------


class Controller:
    """Switches the relay and keeps the promises.

    :param switch: called with False to cut the power, with True to give it back
    """

    def __init__(self, listener: socket.socket, switch: Callable[[bool], None], seed: int, life_s: float) -> None:
        self._listener, self._switch, self._life_s = listener, switch, life_s
        self._chance = random.Random(seed)
        self._promised = b""
        self.tally = Tally("T3")

    def cycle(self, number: int) -> None:
        """Start the van, have it look, let it write, and cut. The last cycle's cut is looked at by the next."""
        self._listener.settimeout(LONGEST_START_S)
        connection, _ = self._listener.accept()
        with connection:
            order = {"promised": self._promised.decode(), "number": number, "seed": self._chance.randrange(1 << 30)}
            connection.sendall(json.dumps(order).encode() + b"\n")
            found, said = _read_line(connection)
            self._note(Found(**json.loads(found)), first=number == 1)
            said = _listen(connection, said, self._chance.random() * self._life_s)
            self._switch(False)
        self._promised += said[: said.rfind(b"\n") + 1]

    def _note(self, found: Found, first: bool) -> None:
        if not first:
            self.tally.add(found)
        self._promised += found.said.encode()
        promises = Promises()
        promises.hear(self._promised)
        self.tally.entries, self.tally.recordings, self.tally.confirmed = promises.counts
        # an ECG that was under way is a recording now, and was looked at
        kept = [line for line in self._promised.splitlines(keepends=True) if not line.startswith(b"ecg ")]
        self._promised = b"".join(kept)


def _read_line(connection: socket.socket) -> tuple[bytes, bytes]:
    """The first line, and what came behind it."""
    said = b""
    while b"\n" not in said:
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionError("the van went away while it looked at its disk")
        said += part
    line, _, rest = said.partition(b"\n")
    return line, rest


def _listen(connection: socket.socket, said: bytes, life_s: float) -> bytes:
    """What came until the moment of the cut, which is ``life_s`` after the store was open."""
    until_s: float | None = None
    while True:
        if until_s is None and READY.encode() in said:
            until_s = time.monotonic() + life_s
        left_s = LONGEST_START_S if until_s is None else max(0.0, until_s - time.monotonic())
        if not select.select([connection], [], [], left_s)[0]:
            return said
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionError("the van went away by itself")
        said += part
        if until_s is not None and time.monotonic() >= until_s:
            return said


def be_controller(chosen: argparse.Namespace) -> Tally:
    commands = {False: chosen.off, True: chosen.on}

    def switch(on: bool) -> None:
        subprocess.run(commands[on], shell=True, check=True)

    with socket.create_server(("", chosen.port)) as listener:
        controller = Controller(listener, switch, chosen.seed, chosen.life_seconds)
        for number in range(1, chosen.cycles + 2):
            switch(True)
            controller.cycle(number)
            time.sleep(chosen.off_seconds)  # until the capacitors of the supply are empty
            print(json.dumps(asdict(controller.tally)), flush=True)
    return controller.tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut.relay", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    sides = parser.add_subparsers(dest="side", required=True)
    van = sides.add_parser("van")
    van.add_argument("host")
    van.add_argument("--folder", type=Path, required=True, help="on the disk to be tried")
    controller = sides.add_parser("controller")
    controller.add_argument("--off", required=True, help="shell command that opens the relay")
    controller.add_argument("--on", required=True, help="shell command that closes it")
    controller.add_argument("--cycles", type=int, default=100)
    controller.add_argument("--life-seconds", type=float, default=20.0, help="longest time from open store to cut")
    controller.add_argument("--off-seconds", type=float, default=10.0)
    controller.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.side == "van":
        be_van(chosen.folder, chosen.host, chosen.port)
        return 0
    return 1 if be_controller(chosen).faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""Spoiled bytes for every driver, by the million: ``make fuzz``, ``make fuzz INPUTS=20000 DRIVERS=gpsd_gnss``.

An input is a chunk of a capture, cut, mixed, flipped, doubled or made of chance, on any channel; between them time
passes and links open and close. A driver must not raise, must not say anything that cannot be (``assert_sane``), and
must not send what it may not. The first one that does ends the run with what to run again. The same for the readers of
ECG files, as ``ecg_files``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

from device_captures import captures_of
from ecg_file_writers import Scp, contec, heartbeats
from test_every_driver import Watched, assert_allowed, made

from devices import catalog, ecg_files
from devices.capture import read_capture
from devices.driver import HidUse
from devices.ecg_files.document import EcgFileRefused

LONGEST_BYTES = 600
TICKS_S = (0.0, 0.1, 0.1, 0.1, 1.0, 7.0, 40.0)
FILES = "ecg_files"


def mutated(chunk: bytes, other: bytes, random: Random) -> bytes:
    """``chunk`` after some of the accidents of a wire."""
    spoiled = bytearray(chunk)
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        at = random.randrange(len(spoiled) + 1)
        match random.randrange(6):
            case 0 if spoiled:
                spoiled[min(at, len(spoiled) - 1)] ^= 1 << random.randrange(8)
            case 1:
                spoiled[at:at] = random.randbytes(random.choice((1, 1, 2, 8)))
            case 2:
                del spoiled[at : at + random.choice((1, 1, 2, 20))]
            case 3:
                del spoiled[at:]
            case 4:
                spoiled[at:at] = other[random.randrange(len(other) + 1) :]
            case _ if spoiled:
                spoiled[min(at, len(spoiled) - 1)] = random.choice((0x00, 0x7F, 0x80, 0xFF))
    return bytes(spoiled[:LONGEST_BYTES])


def driver_inputs(driver_id: str, random: Random) -> Callable[[], bytes]:
    """One call is one input to a driver that lives on; what it was fed is returned."""
    chunks = [chunk for path in captures_of(driver_id) for _, chunk in read_capture(path).received if chunk]
    watched: Watched = made(driver_id)
    watched.took(watched.driver.open())
    channels, reports = watched.channels(), watched.driver.about.lines(HidUse)

    def step() -> bytes:
        chance = random.random()
        if chance < 0.02:
            watched.took(watched.driver.close())
            watched.took(watched.driver.open())
        elif chance < 0.2:
            watched.took(watched.driver.tick(random.choice(TICKS_S)))
        chunk = random.choice(chunks) if random.random() < 0.9 else random.randbytes(random.randrange(100))
        fed = chunk if random.random() < 0.3 else mutated(chunk, random.choice(chunks), random)
        if reports:  # whatever is in it, the kernel hands out whole ones
            fed = fed[: reports[0].input_bytes].ljust(reports[0].input_bytes, b"\0")
        watched.took(watched.driver.feed(fed, random.choice(channels)))
        assert_allowed(watched)
        watched.writes.clear()
        return fed

    return step


def file_inputs(random: Random) -> Callable[[], bytes]:
    beats = heartbeats(0.4)
    good = [contec(beats, b"Li", 1, 40), Scp(beats).record(), Scp(beats, packed=True, differences=2).record()]

    def step() -> bytes:
        fed = bytearray(random.choice(good))
        for _ in range(random.choice((1, 1, 2, 5))):
            fed[random.randrange(len(fed))] = random.randrange(256)
        if random.random() < 0.2:
            del fed[random.randrange(len(fed)) :]
        with contextlib.suppress(EcgFileRefused):
            ecg_files.read(bytes(fed))
        return bytes(fed)

    return step


def run(name: str, inputs: int, seed: int) -> bool:
    """Whether nothing went wrong."""
    random = Random(f"{name} {seed}")
    step = file_inputs(random) if name == FILES else driver_inputs(name, random)
    began_s = time.monotonic()
    for number in range(inputs):
        try:
            step()
        except Exception:
            traceback.print_exc()
            print(f"{name}: input {number} of seed {seed}; again: --inputs {number + 1} --seed {seed} {name}")
            return False
    took_s = time.monotonic() - began_s
    print(f"{name:28} {inputs:>10,} inputs {took_s:>7.0f} s {1e6 * took_s / inputs:>6.0f} us each", flush=True)
    return True


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="DRIVER", help=f"or {FILES}; all when none is named")
    options.add_argument("--inputs", type=int, default=20_000, help="for each")
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    names = asked.names or [*catalog.drivers(), FILES]
    went = [run(name, asked.inputs, asked.seed) for name in names]
    return 0 if all(went) else 1


if __name__ == "__main__":
    sys.exit(main())

"""kill -9 of van and county in a loop, over real HTTP: ``python -m tests.sync.crash_loop --cycles 500``.

A van (store, recordings, ECG, uploader) delivers to a county (uvicorn, SQLite); at a random moment one of them or both
are killed. After every kill, nothing that the store or the county acknowledged may be missing or there twice; after
``CYCLES_OF_A_PAIR`` kills the van delivers the rest, and both must hold the same. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from sync.county.settings import CountySettings
from sync.formats.notes import VerifierKey
from tests.powercut.audit import Found, audit
from tests.powercut.children import Child, ChildEnded
from tests.powercut.cycles import Tally, in_child
from tests.powercut.promises import READY, Promises
from tests.powercut.writer import Life, Mix, write_for_ever
from tests.sync.crash_audit import compare_both, look_at_county
from tests.sync.crash_processes import (
    DELIVERED,
    deliver_the_rest,
    found_county,
    free_port,
    read_all,
    serve_county,
    uploader_to,
)

LONGEST_LIFE_S = 0.4
LONGEST_START_S = 60.0
LONGEST_DELIVERY_S = 120.0
CYCLES_OF_A_PAIR = 25
VICTIMS = (("van",), ("county",), ("van", "county"))
MIX = Mix("clinic", 0.1, ecg=True, delivery=True, pause_s=0.02)


class Pair:
    """A van and its county, each killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.van_folder = folder / "van"
        self.settings = CountySettings(name="青峪县", data=folder / "county", origin="county.example", port=free_port())
        founding = Child(lambda say: found_county(self.settings, say))
        key, _ = founding.listen(LONGEST_START_S)
        founding.kill()
        self.county_key = VerifierKey.parse(key.decode().strip())
        self.make_uploader = uploader_to(self.settings, self.county_key)
        self.promises = Promises()
        self._children: dict[str, Child] = {}
        self._said = b""

    def start(self, life: Life) -> None:
        """Bring up whoever is down, the county first."""
        if "county" not in self._children:
            self._up("county", Child(lambda say: serve_county(self.settings, say)))
        if "van" not in self._children:
            self._said = b""
            self._up("van", Child(lambda say: write_for_ever(self.van_folder, life, say, self.make_uploader)))

    def live(self, seconds: float) -> None:
        """:raises ChildEnded: the van ended by itself"""
        said, ended = self._children["van"].listen(seconds)
        self._said += said
        if ended:
            raise ChildEnded(f"the van ended: {self._children['van'].last_words()}")

    def kill(self, what: str) -> None:
        child = self._children.pop(what, None)
        said = child.kill() if child else b""
        if what == "van":
            self._said += said
            self.promises.hear(self._said)

    def deliver_the_rest(self) -> None:
        """:raises ChildEnded: it is not all delivered in time"""
        van = Child(lambda say: deliver_the_rest(self.van_folder, self.make_uploader, say))
        van.listen_until(DELIVERED, LONGEST_DELIVERY_S)
        van.kill()

    def read_all(self) -> None:
        """Both must be down."""
        county = Child(lambda say: read_all(self.settings, say))
        county.listen(LONGEST_DELIVERY_S)
        county.kill()

    def close(self) -> None:
        for what in tuple(self._children):
            self.kill(what)

    def _up(self, what: str, child: Child) -> None:
        self._said += child.listen_until(READY, LONGEST_START_S)
        self._children[what] = child


def cycle(pair: Pair, life: Life, chance: random.Random) -> Found:
    """One kill, and what is wrong afterwards."""
    pair.start(life)
    pair.live(chance.random() * LONGEST_LIFE_S)
    victims = chance.choice(VICTIMS)
    for what in victims:
        pair.kill(what)
    found = Found()
    if "van" in victims:
        found = in_child(lambda: audit(pair.van_folder, pair.promises, life.number, pair.county_key))
        pair.promises.hear(found.said.encode())
        pair.promises.ecg.clear()  # recordings now
    look_at_county(pair.settings.data, pair.van_folder, pair.promises, found)
    return found


def settle(pair: Pair, life: Life) -> Found:
    """The end of a pair: the rest is delivered and read, then both have the same."""
    pair.start(life)
    pair.kill("van")
    pair.deliver_the_rest()
    pair.kill("county")
    pair.read_all()
    found = Found()
    look_at_county(pair.settings.data, pair.van_folder, pair.promises, found)
    compare_both(pair.settings.data, pair.van_folder, found)
    return found


def run_pair(folder: Path, first: int, cycles: int, chance: random.Random, tally: Tally) -> None:
    pair = Pair(folder)
    try:
        for number in range(first, first + cycles):
            tally.add(cycle(pair, Life(number, chance.randrange(1 << 30), MIX), chance))
        found = settle(pair, Life(first + cycles, 0, MIX))
        tally.faults += found.faults
        tally.lost += found.lost
    except ChildEnded as fault:
        tally.faults.append(str(fault))
    finally:
        pair.close()
        tally.count(pair.promises)


def run_kills(cycles: int, seed: int, folder: Path | None = None) -> Tally:
    """
    :param folder: on the disk to be tried; a temporary one when None
    """
    tally, chance = Tally("T0"), random.Random(seed)
    began_s = time.monotonic()
    for first in range(1, cycles + 1, CYCLES_OF_A_PAIR):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            run_pair(Path(name), first, min(CYCLES_OF_A_PAIR, cycles + 1 - first), chance, tally)
        print(f"T0: {tally.cycles} of {cycles}, {len(tally.faults)} faults", file=sys.stderr, flush=True)
    tally.seconds = time.monotonic() - began_s
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the disk to be tried; a temporary one when left out")
    chosen = parser.parse_args()
    tally = run_kills(chosen.cycles, chosen.seed, chosen.folder)
    print(json.dumps(asdict(tally)))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""One cycle: a van lives for a moment, the power goes, the disk is mounted again, everything promised is looked for."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.powercut.audit import Found, audit
from tests.powercut.children import Child, ChildEnded, Say
from tests.powercut.controls import weaken
from tests.powercut.disks import Disk
from tests.powercut.promises import READY, Promises
from tests.powercut.writer import MIXES, Life, Mix, write_for_ever

LONGEST_LIFE_S = 0.15
SHARE_CUT_AT_START = 0.1
"""Cut while the store opens, or soon after."""
SHARE_CUT_AGAIN = 0.1
"""The next life begins without an audit in between, so that recovery itself is cut."""
LONGEST_START_S = 30.0
LONGEST_AUDIT_S = 120.0
CYCLES_OF_A_DISK = 8
"""Then the file system is made anew: the audit reads all of it."""
MOST_FAULTS_KEPT = 5
PROGRESS_EVERY = 100


@dataclass
class Tally:
    """
    :ivar confirmed: receipts and deliveries that the van noted
    :ivar caught: cycles with at least one fault
    """

    name: str
    cycles: int = 0
    entries: int = 0
    recordings: int = 0
    confirmed: int = 0
    lost: int = 0
    caught: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def count(self, promises: Promises) -> None:
        """Once, when no more will be promised on this disk."""
        entries, recordings, confirmed = promises.counts
        self.entries, self.recordings = self.entries + entries, self.recordings + recordings
        self.confirmed += confirmed

    def add(self, found: Found) -> None:
        self.cycles += 1
        self.lost += found.lost
        self.caught += bool(found.faults)
        self.faults += [f"cycle {self.cycles}: {fault}" for fault in found.faults]
        del self.faults[MOST_FAULTS_KEPT:]


def run_cycles(
    name: str, disk: Disk, cycles: int, seed: int, control: str | None = None, mixes: Sequence[Mix] = MIXES
) -> Tally:
    """Cut ``cycles`` times. Every cycle is fair: after a fault the disk is made anew.

    :param control: what the writer leaves out, see ``controls``
    """
    chance = random.Random(seed)
    tally, promises = Tally(name), Promises()
    began_s = time.monotonic()
    of_disk = 0
    for number in range(1, cycles + 1):
        if of_disk == 0:
            disk.renew()
            tally.count(promises)
            promises = Promises()
        of_disk = (of_disk + 1) % CYCLES_OF_A_DISK
        life = Life(number, chance.randrange(1 << 30), chance.choice(mixes))
        found = cycle(disk, life, promises, chance, control, last=of_disk == 0)
        tally.add(found)
        if found.faults:
            of_disk = 0
        for fault in found.faults if control is None else ():
            print(f"{name}: cycle {number} ({life.mix.name}): {fault}", file=sys.stderr, flush=True)
        if number % PROGRESS_EVERY == 0:
            print(f"{name}: {number} of {cycles}, {tally.caught} with faults", file=sys.stderr, flush=True)
    tally.count(promises)
    tally.seconds = time.monotonic() - began_s
    return tally


def cycle(disk: Disk, life: Life, promises: Promises, chance: random.Random, control: str | None, last: bool) -> Found:
    """:param last: of this disk

    A control is cut once it has promised a recording, and always looked at, or its cycles would say nothing.
    """
    at_start = control is None and chance.random() < SHARE_CUT_AT_START
    audited = control is not None or last or chance.random() >= SHARE_CUT_AGAIN
    said, fault = live_and_cut(disk, life, chance, control, at_start)
    promises.hear(said)
    try:
        disk.power_up()
    except OSError as refusal:
        return Found([f"not mounted: {refusal}"])
    if fault:
        return Found([fault])
    if not audited:
        return Found()
    found = in_child(lambda: audit(disk.folder / "van", promises, life.number))
    promises.hear(found.said.encode())
    promises.ecg.clear()  # recordings now
    return found


def live_and_cut(
    disk: Disk, life: Life, chance: random.Random, control: str | None, at_start: bool
) -> tuple[bytes, str | None]:
    """What the writer said before the cut, and what is wrong when it ended by itself."""
    writer = Child(lambda say: _write(disk.folder / "van", life, control, say))
    try:
        said = b"" if at_start else writer.listen_until("recording" if control else READY, LONGEST_START_S)
    except ChildEnded as fault:
        return b"", str(fault)
    more, ended = writer.listen(chance.random() * LONGEST_LIFE_S)
    said += more + writer.drain()  # what the world has heard up to this instant
    disk.cut(chance)
    writer.kill()
    return said, f"the writer ended: {writer.last_words()}" if ended else None


def _write(folder: Path, life: Life, control: str | None, say: Say) -> None:
    if control:
        weaken(control)
    write_for_ever(folder, life, say)


def in_child(work: Callable[[], Found]) -> Found:
    """In a process of its own, as after a start; it ends without tidying up, so that no file stays open."""
    child = Child(lambda say: say(json.dumps(asdict(work()))))
    said, ended = child.listen(LONGEST_AUDIT_S)
    child.kill()
    return Found(**json.loads(said)) if ended and said else Found([f"the audit hung or died: {child.last_words()}"])

"""``python -m tests.powercut``: power cuts of the real store, and stores that break their word, in one table.

T0 is kill -9 of van and county (``tests.sync.crash_loop``), T1 and T2 are power cuts (``disks``). Exit 0 when every
promise was kept and every control was caught often enough, 1 when not, 3 when this machine can't cut power.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.powercut.controls import CONTROLS
from tests.powercut.cycles import Tally, run_cycles
from tests.powercut.disks import CachingDisk, Disk, PlainDisk, scratch, what_is_lacking
from tests.powercut.writer import MIXES
from tests.sync.crash_loop import run_kills

CANNOT = 3
CAUGHT_AT_LEAST = 0.4
LEVELS: dict[str, Callable[[Path], Disk]] = {"T1": PlainDisk, "T2": CachingDisk}


def main() -> int:
    chosen = _arguments()
    lacking = what_is_lacking() if chosen.t1 or chosen.t2 else None
    tallies: list[Tally] = []
    for tally in run_all(chosen, can_cut=lacking is None):
        print(table([tally]), file=sys.stderr, flush=True)
        tallies.append(tally)
    print(table(tallies))
    for tally in filter(failed, tallies):
        print("\n".join(f"{tally.name}: {fault}" for fault in tally.faults))
    if lacking:
        print(f"skipped: needs root, loop devices and /dev/fuse ({lacking})")
    return 1 if any(map(failed, tallies)) else CANNOT if lacking else 0


def run_all(chosen: argparse.Namespace, can_cut: bool) -> Iterator[Tally]:
    if chosen.kills:
        yield run_kills(chosen.kills, chosen.seed)
    if not can_cut:
        return
    with scratch() as work:
        for level, cycles in (("T1", chosen.t1), ("T2", chosen.t2)):
            yield from run_level(level, work, cycles, chosen.controls, chosen.seed)


def run_level(level: str, work: Path, cycles: int, controls: int, seed: int) -> Iterator[Tally]:
    """The store itself, then each control on the same disk."""
    if not cycles:
        return
    folder = work / level
    folder.mkdir()
    disk = LEVELS[level](folder)
    try:
        yield run_cycles(level, disk, cycles, seed)
        for control in CONTROLS if controls else ():
            yield run_cycles(f"{level}, {control}", disk, controls, seed, control, MIXES[-1:])
    finally:
        disk.close()


def table(tallies: list[Tally]) -> str:
    """One line each, columns aligned."""
    head = ("", "cycles", "entries acknowledged", "recordings", "confirmed", "lost", "violations", "caught", "s/cycle")
    rows: list[tuple[str, ...]] = [head]
    for tally in tallies:
        each_s, caught = tally.seconds / max(1, tally.cycles), f"{tally.caught / max(1, tally.cycles):.0%}"
        counts = map(str, (tally.cycles, tally.entries, tally.recordings, tally.confirmed, tally.lost, tally.caught))
        rows.append((tally.name, *counts, caught if _is_control(tally) else "", f"{each_s:.2f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(_aligned, row, widths, [True] + [False] * (len(head) - 1))) for row in rows)


def _aligned(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def _is_control(tally: Tally) -> bool:
    return "," in tally.name


def failed(tally: Tally) -> bool:
    """A promise was broken, or a control got away too often."""
    if _is_control(tally):
        return tally.caught < CAUGHT_AT_LEAST * tally.cycles
    return bool(tally.faults)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of van and county")
    parser.add_argument("--t1", type=int, default=50, help="cycles on ext4 that is shut down")
    parser.add_argument("--t2", type=int, default=50, help="cycles on a disk with a volatile write cache")
    parser.add_argument("--controls", type=int, default=10, help="cycles of each control on each level")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Evidence: its size, the CPU that the stand-alone verifier takes, and the audit of a journal of a million entries.

Bundles come from a real county with its witness: half-day visits of 250 min, twelve people each, a point of the track
every ten seconds. The verifier runs as an inspector runs it: ``python3 -I -S``, an empty environment, nothing but the
file. CPU is user plus system time of the whole process as the kernel counts it. Peers in the same run: an interpreter
that does nothing, OpenSSL for the signatures, pymerkle for the tree over the same entries.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.generated_log import entries, policy, write_log
from devices.clock import SimulatedClock
from sync import standalone
from sync.county.evidence_maker import Evidence
from sync.formats import ed25519
from sync.verify.log_audit import audit_log, keys_from
from sync.verify.policy import Policy
from tests.sync.county_month import at
from tests.sync.evidence_county import DayOut, EvidenceCounty, begun

DAYS = (1, 8, 15, 22)
PEOPLE = 12
GOAL_BYTES, GOAL_CPU_MS, GOAL_AUDIT_S = 64 * 1024, 100, 40


async def village_month(folder: Path) -> tuple[list[Evidence], bytes]:
    """Evidence after the second, third and fourth visit, and the policy."""
    county = EvidenceCounty(folder, SimulatedClock(at(8, 31, 20)))
    (van,) = await begun(county, "van-07")
    found = []
    for visits, day in enumerate(DAYS, start=1):
        await DayOut(van, county.villages[0], at(9, day, 8, 20), people=PEOPLE).run()
        await county.witness()
        if visits > 1:
            found.append(county.of_village(county.villages[0]))
    trust = county.policy
    county.close()
    return found, trust


def cpu_ms(command: list[str], folder: Path) -> float:
    """User plus system time of one process."""
    process = os.posix_spawn(
        command[0], command, {}, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)], setsigmask=[]
    )
    _, status, used = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)} in {folder}")
    return (used.ru_utime + used.ru_stime) * 1000


def told(name: str, times_ms: list[float], more: str = "") -> None:
    print(f"  {name:<44} median {statistics.median(times_ms):6.1f} ms   best {min(times_ms):6.1f} ms  {more}")


def bundles(rounds: int) -> bool:
    good = True
    python = _python()
    with tempfile.TemporaryDirectory(dir=_memory()) as name:
        folder = Path(name)
        found, trust = asyncio.run(village_month(folder / "county"))
        verifier, written, trusted = folder / "verify.pyz", folder / "evidence.zip", folder / "policy.txt"
        subprocess.run([python, "-m", "sync.standalone", str(verifier)], cwd=standalone.ROOT, check=True)
        trusted.write_bytes(trust)
        print(f"village-month, {PEOPLE} people a visit; CPU of {python} -I -S in {rounds} runs each")
        nothing = [cpu_ms([python, "-I", "-S", "-c", "pass"], folder) for _ in range(rounds)]
        told("an interpreter that does nothing", nothing)
        for evidence in found:
            written.write_bytes(evidence.data)
            command = [python, "-I", "-S", str(verifier), str(written), "--policy", str(trusted)]
            times = [cpu_ms(command, folder) for _ in range(rounds)]
            hidden = sum(visit.proof.evidence.hidden for visit in evidence.report.visits)
            size = f"{len(evidence.data) / 1024:5.1f} KiB, {hidden} entries hidden"
            told(f"{len(evidence.report.visits)} visits", times, size)
            good &= len(evidence.data) <= GOAL_BYTES and min(times) <= GOAL_CPU_MS
    return good


def signatures(count: int = 200) -> None:
    """Ours in pure Python against OpenSSL, one key, messages of a checkpoint's length."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    raw = public.public_bytes_raw()
    signed = [(key.sign(message), message) for message in (os.urandom(200) for _ in range(count))]
    ed25519.verify(raw, signed[0][1], signed[0][0])
    ours = _each_us(lambda: [ed25519.verify(raw, message, signature) for signature, message in signed], count)
    theirs = _each_us(lambda: [public.verify(signature, message) for signature, message in signed], count)
    print(f"\nEd25519, each: pure Python {ours:.0f} us, OpenSSL {theirs:.0f} us, {ours / theirs:.1f} times")


def _each_us(work: Callable[[], object], count: int) -> float:
    begun_at = time.process_time()
    work()
    return (time.process_time() - begun_at) / count * 1e6


def audit(count: int) -> bool:
    """The whole journal, every entry read and judged; pymerkle only builds the tree over a part of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, entries(count))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

        def read(path: str) -> bytes | None:
            found = folder / path
            return found.read_bytes() if found.is_file() else None

        trust = Policy.parse(policy().encode())
        begun_at = time.process_time()
        report = audit_log(read, trust, keys_from(trust))
        took_s = time.process_time() - begun_at
        shutil.rmtree(folder / "tile")
    if report.faults or report.size != count:
        raise SystemExit(f"the audit found {report.faults}")
    print(
        f"\nlog audit: {count} entries, {size / 1e6:.0f} MB: {took_s:.1f} s of CPU, {took_s / count * 1e6:.1f} us each"
    )
    part = min(count, 50_000)
    theirs_s = _pymerkle(part)
    print(f"  pymerkle, tree alone over {part}: {theirs_s:.1f} s, {theirs_s / part * 1e6:.1f} us each")
    return took_s / count * 1_000_000 <= GOAL_AUDIT_S


def _pymerkle(count: int) -> float:
    from pymerkle import InmemoryTree

    bodies = list(entries(count))
    tree = InmemoryTree(algorithm="sha256")
    begun_at = time.process_time()
    for body in bodies:
        tree.append_entry(body)
    tree.get_root()
    return time.process_time() - begun_at


def _python() -> str:
    """The distribution's, as an inspector has it; else the one that runs this."""
    common = "/usr/bin/python3"
    asks = "import sys; sys.exit(sys.version_info < (3, 11))"
    if os.path.exists(common) and subprocess.run([common, "-I", "-S", "-c", asks]).returncode == 0:
        return common
    return os.path.realpath(sys.executable)


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the audited log")
    asked = parser.parse_args()
    reached = bundles(asked.rounds)
    signatures()
    reached &= audit(asked.entries)
    print(
        f"\ngoals: {GOAL_BYTES // 1024} KiB, {GOAL_CPU_MS} ms, {GOAL_AUDIT_S} s a million: "
        + ("reached" if reached else "NOT reached")
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())

"""Delivery over a slow link: the real uploader, the real county process, rsync beside it through the same link.

The link is ``benchmarks.link``: real TCP of the kernel between two network namespaces, 50 ms there and back, a queue of
half a second. "Attainable" is what TCP can carry as payload while the link is up: rate x share of time x 1448/1500.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TextIO

import httpx

from benchmarks.link import COUNTY, MTU, QUEUE_S, Counters, Link, possible
from devices.clock import SimulatedClock, SystemClock
from sync.county.app import open_county
from sync.county.settings import CountySettings
from sync.delivery.county_client import CountyClient
from sync.delivery.recording_delivery import RecordingDelivery
from sync.delivery.uploader import Uploader
from sync.formats.identifiers import Identifiers
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft, format_time
from sync.record.recordings import Recordings
from sync.record.store import Store

ORIGIN = "van-07.bench.example"
PORT = 8500
RSYNC_PORT = 8730
RECORDS = 12_800
BREAK_EVERY_S, BREAK_S = 20.0, 2.0
PAYLOAD = 1448 / MTU
_COUNTED = ("packets", "bytes", "payload", "dropped")


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    found: str
    goal: str = ""
    good: bool | None = None


class Van:
    """A store, its recordings and an uploader that speaks to the county through the link."""

    def __init__(self, folder: Path, county_key: str) -> None:
        self.clock = SystemClock()
        self.signer = SeedSigner(ORIGIN, b"b" * 32)
        self.store = Store.open(folder / "van", ORIGIN, self.signer, self.clock, vehicle="van-07")
        self.recordings = Recordings(folder / "van" / "recordings")
        self.client = CountyClient(f"http://{COUNTY}:{PORT}", county_key, self.signer, self.clock)
        self.hold = False
        self.uploader = Uploader(self.store, self.recordings, self.client, self.clock, live=lambda: self.hold)

    def clip(self, number: int, size: int) -> None:
        sha256, count = self.recordings.store(random.Random(number).randbytes(size), "video/mp4")
        fields = {"sha256": sha256, "bytes": count, "media_type": "video/mp4", "what": "clip", "duration_ms": 0}
        self.store.commit_now(Draft("recording/1", {**fields, "started_at": "2026-03-02T00:30:00.000Z", "facts": {}}))

    def count_heads(self) -> list[int]:
        """Bytes of the heads of HTTP requests from now on: what is not payload of a recording."""
        heads: list[int] = []

        async def count(request: httpx.Request) -> None:
            fields = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
            heads.append(len(request.method) + len(request.url.raw_path) + 14 + fields)

        for http in (self.client._urgent, self.client._bulk):
            http.event_hooks = {"request": [count], "response": []}
        return heads

    async def close(self) -> None:
        await self.client.aclose()
        self.store.close()


def readings(count: int) -> Iterator[Draft]:
    """Entries as a morning makes them, a minute apart: identifiers, values and places that differ."""
    chance, clock = random.Random(7), SimulatedClock(datetime(2026, 3, 2, 0, 30, tzinfo=UTC))
    ids = Identifiers(clock, chance.randbytes)
    for number in range(count // 5 + 1):
        clock.advance(chance.uniform(20, 90))
        visit = f"visit-{number // 200:026d}"
        reading, encounter, patient = (ids.new(what) for what in ("reading", "encounter", "patient"))
        common = {"by": "zhou.min", "visit": visit, "encounter": encounter, "at": clock.now()}
        values = {"systolic_mmhg": chance.randint(95, 190), "diastolic_mmhg": chance.randint(55, 110)}
        values["pulse_bpm"] = chance.randint(50, 110)
        measured = {"reading": reading, "device": "cuff-1", "driver": "bluetooth_blood_pressure", "by_hand": False}
        yield Draft("reading/1", {**measured, "type": "blood_pressure", "values": values}, **common)
        yield Draft("reading_confirmed/1", {"reading": reading, "patient": patient}, **common)
        screened = {"result": ids.new("result"), "patient": patient, "rule": "hypertension", "rule_version": "2024-1"}
        yield Draft("screening_result/1", {**screened, "inputs": values, "code": "raised", "level": "ask"}, **common)
        glucose = {"reading": ids.new("reading"), "device": "glucose-1", "driver": "bluetooth_glucose"}
        sugar = {"glucose_mmol_l_e2": chance.randint(400, 1500), "meal": "fasting"}
        yield Draft("reading/1", {**glucose, "by_hand": False, "type": "glucose", "values": sugar}, **common)
        steps = [[10, chance.randint(-90, 90), chance.randint(-90, 90), chance.randint(2, 9), 12] for _ in range(30)]
        track = {"started_at": format_time(clock.now()), "lat_e7": 310512345, "lon_e7": 1039912345, "accuracy_m": 4}
        yield Draft("track/1", {**track, "satellites": 12, "steps": steps}, at=clock.now())


# measured -------------------------------------------------------------------------------------------------------------


async def records(link: Link, van: Van) -> list[Row]:
    await van.uploader.deliver_now()  # connections, what opens a boot
    drafts = list(islice(readings(RECORDS), RECORDS))
    for first in range(0, RECORDS, 200):
        van.store.commit_now(*drafts[first : first + 200])
    payload, before = van.store.waiting().bytes, link.tell("count")
    began = time.perf_counter()
    delivered = await van.uploader.deliver_now()
    took_s = time.perf_counter() - began
    assert delivered.entries == RECORDS, delivered
    carried = _between(before, link.tell("count"))
    up, both = carried["up"].bytes / payload, (carried["up"].bytes + carried["down"].bytes) / payload
    mbit_s = link.rate_bit_s / 1e6
    rows = [Row(f"{RECORDS} records, {mbit_s:.0f} Mbit/s", f"{took_s:.2f} s", "5 s", took_s <= 5)]
    said = f"{up:.3f} up, {both:.3f} both ways, IP and TCP headers included"
    rows.append(Row("  wire bytes per payload byte", said, "0.25", both <= 0.25))
    return rows if link.rate_bit_s >= 20e6 else [Row(rows[0].what, rows[0].found)]


async def clips(link: Link, van: Van, county: Path, seconds: float) -> list[Row]:
    size = int(max(1e6, link.rate_bit_s / 8 * 4))
    for number in range(int(link.rate_bit_s / 8 * seconds / size) + 3):
        van.clip(number, size)
    before, heads = link.tell("count"), van.count_heads()
    began_s = time.monotonic()
    async with _running(van):
        await _with_breaks(link, seconds)
        await _finish_parts(van)
    seconds = time.monotonic() - began_s
    arrived = _stored(county)
    carried = _between(before, link.tell("count"))["up"].payload - sum(heads)
    goal = 0.9 if link.rate_bit_s >= 20e6 else 0.75
    share, resent = _shares(link, arrived, carried, seconds)
    name = f"clips with a break every {BREAK_EVERY_S:.0f} s, {link.rate_bit_s / 1e6:.0f} Mbit/s"
    return [
        Row(name, f"{share:.1%} of attainable", f"{goal:.0%}", share >= goal),
        Row("  sent more than once", f"{resent:.1%}", "2 %", resent <= 0.02),
    ]


async def rsync(link: Link, folder: Path, seconds: float) -> list[Row]:
    """``rsync --append-verify``, started again as soon as it fails."""
    source, target = folder / "rsync-from", folder / "rsync-to"
    source.mkdir()
    target.mkdir()
    size = int(max(1e6, link.rate_bit_s / 8 * 4))
    for number in range(int(link.rate_bit_s / 8 * seconds / size) + 3):
        (source / f"{number:04d}.mp4").write_bytes(random.Random(number).randbytes(size))
    settings = folder / "rsyncd.conf"
    settings.write_text(
        f"uid = root\ngid = root\nuse chroot = no\nport = {RSYNC_PORT}\n[clips]\npath = {target}\nread only = no\n"
    )
    before, stop = link.tell("count"), asyncio.Event()

    async def again() -> None:
        words = ["rsync", "-r", "--append-verify", "--inplace", "--timeout=10", "--contimeout=5", f"{source}/"]
        while not stop.is_set():
            process = await asyncio.create_subprocess_exec(
                *words, f"rsync://{COUNTY}:{RSYNC_PORT}/clips/", stderr=subprocess.DEVNULL
            )
            try:
                await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await asyncio.sleep(0.1)

    with _program([*link.inside(), "rsync", "--daemon", "--no-detach", f"--config={settings}"]):
        task = asyncio.create_task(again())
        try:
            await _with_breaks(link, seconds)
        finally:
            stop.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    arrived = sum(path.stat().st_size for path in target.iterdir())
    share, resent = _shares(link, arrived, _between(before, link.tell("count"))["up"].payload, seconds)
    return [Row("  rsync --append-verify beside it", f"{share:.1%} of attainable, {resent:.1%} sent more than once")]


async def urgent(link: Link, van: Van, count: int) -> list[Row]:
    """A reading is committed while clips saturate the link: until the receipt is stored."""
    size = int(max(1e6, link.rate_bit_s / 8 * 4))
    for number in range(int(link.rate_bit_s / 8 * (6 + 2.2 * count) / size) + 3):
        van.clip(10_000 + number, size)
    moved = asyncio.Event()
    van.uploader.on_change = moved.set
    took = []
    async with _running(van):
        await _until(lambda: van.store.delivered_size() == van.store.size(), moved)
        await asyncio.sleep(4)  # the link fills
        before = link.tell("count")
        began_s = time.perf_counter()
        for draft in islice(readings(5 * count), 0, None, 5):
            committed = await van.store.commit(draft)
            started = time.perf_counter()
            await _until(lambda n=committed[0].n: van.store.delivered_size() > n, moved)  # type: ignore[misc]
            took.append(time.perf_counter() - started)
            await asyncio.sleep(random.Random(count).uniform(1.0, 2.0))
        carried = _between(before, link.tell("count"))["up"].bytes * 8 / (time.perf_counter() - began_s)
    took.sort()
    said = f"worst {took[-1]:.2f} s, median {took[len(took) // 2]:.2f} s of {count}"
    said += f"; the link carries {carried / link.rate_bit_s:.0%}"
    return [Row(f"urgent record beside clips, {link.rate_bit_s / 1e6:.0f} Mbit/s", said, "1 s", took[-1] < 1)]


# how ------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _running(van: Van) -> AsyncIterator[None]:
    """The uploader as the vehicle runs it; a fault of its own ends the measurement."""
    task = asyncio.create_task(van.uploader.run())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _finish_parts(van: Van) -> None:
    """Start no new part, and wait for those under way."""
    van.hold = True
    for lane in van.uploader._lanes:
        if isinstance(lane.delivery, RecordingDelivery):
            async with lane.lock:
                continue


async def _with_breaks(link: Link, seconds: float) -> None:
    """Nobody is told of a break: what is sent into it finds out."""
    ends_s = time.monotonic() + seconds
    while (left_s := ends_s - time.monotonic()) > 0:
        await asyncio.sleep(min(left_s, BREAK_EVERY_S - BREAK_S))
        if ends_s - time.monotonic() > BREAK_S:
            link.tell("down")
            await asyncio.sleep(BREAK_S)
            link.tell("up")


def _shares(link: Link, arrived: int, carried: int, seconds: float) -> tuple[float, float]:
    """Of attainable, and sent more than once."""
    breaks = int(seconds // BREAK_EVERY_S)
    up_s = seconds - breaks * BREAK_S
    return arrived / (link.rate_bit_s / 8 * up_s * PAYLOAD), carried / max(1, arrived) - 1


def _between(before: dict[str, Counters], after: dict[str, Counters]) -> dict[str, Counters]:
    return {
        name: Counters(*(getattr(after[name], field) - getattr(before[name], field) for field in _COUNTED))
        for name in after
    }


def _stored(county: Path) -> int:
    """Bytes of recordings at the county, begun ones included."""
    return sum(path.stat().st_size for path in (county / "recordings").rglob("*") if path.is_file())


async def _until(reached: Callable[[], bool], moved: asyncio.Event) -> None:
    while not reached():
        moved.clear()
        if not reached():
            await moved.wait()


@contextmanager
def county_process(link: Link, folder: Path) -> Iterator[str]:
    """The county as it is shipped, in the link's namespace; its verifier key."""
    data = folder / "county"
    settings = CountySettings(name="bench", data=data, origin="county.bench.example", host=COUNTY, port=PORT)
    county = open_county(settings)
    county.fleet.enrol(ORIGIN, str(SeedSigner(ORIGIN, b"b" * 32).verifier_key()), "van-07")
    key = str(county.verifier_key)
    county.close()
    file = folder / "county.toml"
    file.write_text(
        f'name = "bench"\ndata = "{data}"\norigin = "county.bench.example"\nhost = "{COUNTY}"\nport = {PORT}\n'
    )
    with (folder / "county.log").open("w") as log:
        words = [sys.executable, "-m", "telemedicine.exchange", "--settings", str(file)]
        with _program([*link.inside(), *words], log):
            _wait_until_it_answers()
            yield key


@contextmanager
def _program(words: list[str], log: TextIO | None = None) -> Iterator[None]:
    """Running while inside."""
    process = subprocess.Popen(words, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers() -> None:
    for _ in range(200):
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://{COUNTY}:{PORT}/sign-in", timeout=2, trust_env=False)
            return
        time.sleep(0.1)
    raise SystemExit("the county does not answer; see county.log")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


@asynccontextmanager
async def fresh(link: Link, folder: Path) -> AsyncIterator[tuple[Van, Path]]:
    """A van and a county that have never met."""
    _empty(folder)
    with county_process(link, folder) as key:
        van = Van(folder, key)
        try:
            yield van, folder / "county"
        finally:
            await van.close()


async def measure(folder: Path, seconds: float, urgents: int) -> list[Row]:
    rows: list[Row] = []

    def done(more: list[Row]) -> None:
        rows.extend(more)
        for row in more:
            print(f"... {row.what}: {row.found}", file=sys.stderr, flush=True)

    for rate_bit_s in (20e6, 2e6):
        with Link(rate_bit_s) as link:
            async with fresh(link, folder / "records") as (van, _):
                done(await records(link, van))
            async with fresh(link, folder / "clips") as (van, county):
                done(await clips(link, van, county, seconds))
            shutil.rmtree(folder / "clips")
            done(await rsync(link, folder, seconds))
            for name in ("rsync-from", "rsync-to"):
                shutil.rmtree(folder / name)
            async with fresh(link, folder / "urgent") as (van, _):
                done(await urgent(link, van, urgents))
            shutil.rmtree(folder / "urgent")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=64.0, help="of each run with clips")
    parser.add_argument("--urgent", type=int, default=15, help="urgent records at each rate")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to be used")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # namespaces and programs are taken down as ever
    if not possible():
        raise SystemExit("this needs root and /dev/net/tun, for two network namespaces with a slow link between them")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        rows = asyncio.run(measure(Path(name), chosen.seconds, chosen.urgent))
    print(f"link: two network namespaces, TUN, 50 ms, queue {QUEUE_S} s, breaks of {BREAK_S:.0f} s with a new address")
    wide = max(len(row.what) for row in rows)
    for row in rows:
        verdict = "" if row.good is None else f"  (goal {row.goal}: {'reached' if row.good else 'NOT REACHED'})"
        print(f"{row.what:{wide}}  {row.found}{verdict}")


if __name__ == "__main__":
    main()

"""A vehicle's journal of any length as C2SP tlog-tiles, for audits: entries like those of a working month."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sync.formats import canonical
from sync.formats.merkle import Frontier, leaf_hash
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, SeedSigner, cosign
from sync.formats.records import format_time
from sync.proof.presence import Fix
from sync.proof.tracks import track_fields
from sync.verify.log_audit import TILE, tile_path

ORIGIN = "van-07.bench.example"
START = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
VEHICLE = SeedSigner(ORIGIN, b"v" * 32)
COUNTY = SeedSigner("county.bench.example", b"c" * 32, ED25519_COSIGNATURE)
A_BOOT = 900
"""Entries from one start of the vehicle to the next: a long day."""
EVERY_S = 12
_ULID = "01J8ZQ4W3Y2V5T7N9K0M1P2R3S"


def entries(count: int, seed: int = 1) -> Iterator[bytes]:
    """Bodies in order: of 100 entries 16 are tracks, the others what clinic, devices and network leave behind."""
    chance = random.Random(seed)
    patterns = [_pattern(chance, place) for place in range(100)]
    for n in range(count):
        boot, within = divmod(n, A_BOOT)
        begins = within == 0
        fields = {"kind": "boot/1", "software": "0.1.0"} if begins else patterns[n % 100]
        at = START + timedelta(seconds=n * EVERY_S)
        said = {**fields, "n": n, "at": format_time(at), "at_source": "gnss", "boot": boot + 1, "vehicle": "van-07"}
        said["mono_ms"] = within * EVERY_S * 1000
        yield canonical.encode(said)


def _pattern(chance: random.Random, place: int) -> dict[str, Any]:
    where = {"by": "zhou.min", "visit": _ULID, "encounter": _ULID}
    if place % 6 == 1 and place < 96:
        return {"kind": "track/1", "visit": _ULID, **_track(chance)}
    match place % 5:
        case 0:
            return {"kind": "network/1", "facts": {"rtt_ms": 48, "rsrp_dbm": -97, "cell": "460-00-1234-5678"}}
        case 1:
            return {"kind": "access/1", "action": "read", "what": _ULID, "by": "zhou.min"}
        case 2:
            return {"kind": "reading_confirmed/1", "reading": _ULID, "patient": _ULID, **where, **_salt(chance)}
        case 3:
            return {"kind": "encounter_closed/1", "encounter_id": _ULID, **where}
    values = {"systolic_mmhg": chance.randint(105, 180), "diastolic_mmhg": 82, "pulse_bpm": 74}
    measured = {"device": "bp-1", "driver": "bluetooth_blood_pressure", "type": "blood_pressure", "by_hand": False}
    return {
        "kind": "reading/1",
        "reading": _ULID,
        "patient": _ULID,
        "values": values,
        **measured,
        **where,
        **_salt(chance),
    }


def _salt(chance: random.Random) -> dict[str, str]:
    return {"salt": chance.randbytes(16).hex()}


def _track(chance: random.Random) -> dict[str, Any]:
    def noise() -> float:
        return chance.gauss(0, 1.5e-5)

    points = [
        Fix(START + timedelta(seconds=10 * step), 30.1 + noise(), 103.2 + noise(), 6.0, chance.randint(11, 15))
        for step in range(30)
    ]
    return track_fields(points)


def write_log(folder: Path, bodies: Iterable[bytes], vehicle: SeedSigner = VEHICLE) -> None:
    """Checkpoint, entry bundles and hash tiles of a log with these entries."""
    frontier = Frontier()
    levels: dict[int, list[bytes]] = {}
    bundle = bytearray()
    for n, body in enumerate(bodies):
        bundle += len(body).to_bytes(2, "big") + body
        leaf = leaf_hash(body)
        for level, index, hashed in [(0, n, leaf), *frontier.append(leaf)]:
            if level % 8 == 0:
                _collect(folder, levels, level // 8, index, hashed)
        if n % TILE == TILE - 1:
            _write(folder, "entries", n // TILE, TILE, bytes(bundle))
            bundle.clear()
    count = frontier.size
    if bundle:
        _write(folder, "entries", count // TILE, count % TILE, bytes(bundle))
    for level, hashes in levels.items():
        if hashes:
            size = count >> 8 * level
            _write(folder, str(level), size // TILE, len(hashes), b"".join(hashes))
    checkpoint = Checkpoint(ORIGIN, count, frontier.root())
    note = checkpoint.signed(vehicle)
    at = START + timedelta(seconds=count * EVERY_S + 60)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_bytes(bytes(note.signed_also([cosign(note.text, COUNTY, at)])))


def _collect(folder: Path, levels: dict[int, list[bytes]], level: int, index: int, hashed: bytes) -> None:
    hashes = levels.setdefault(level, [])
    hashes.append(hashed)
    if len(hashes) == TILE:
        _write(folder, str(level), index // TILE, TILE, b"".join(hashes))
        hashes.clear()


def _write(folder: Path, kind: str, tile: int, width: int, content: bytes) -> None:
    name = tile_path(tile) if width == TILE else f"{tile_path(tile)}.p/{width}"
    path = folder / "tile" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def policy() -> str:
    return f"log {VEHICLE.verifier_key()}\nwitness county {COUNTY.verifier_key()}\nquorum county\n"

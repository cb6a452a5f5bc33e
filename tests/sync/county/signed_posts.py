"""Requests of a vehicle, signed, with a journal of its own in them; what the county has stored of it."""

from __future__ import annotations

from typing import Any

import httpx
from county_month import Founded, Van
from sqlalchemy import func, select

from sync.county.schema import entries
from sync.formats import wire
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import Checkpoint, SeedSigner
from sync.formats.records import Draft
from sync.formats.request_signature import signature_headers


class Post:
    """Signed requests of a vehicle, as bytes of our own making."""

    def __init__(self, founded: Founded, signer: SeedSigner) -> None:
        self.founded, self.signer, self.origin = founded, signer, signer.name

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        signed = signature_headers(self.signer, method, path, body, self.founded.clock.now())
        async with self.founded.client() as client:
            return await client.request(method, path, content=body, headers={**signed, **headers})

    async def checkpoint(self, asked: wire.AddCheckpoint) -> httpx.Response:
        return await self.send("POST", wire.log_path(self.origin, "add-checkpoint"), bytes(asked))

    async def entries(self, body: bytes, **headers: str) -> httpx.Response:
        return await self.send("POST", wire.log_path(self.origin, "add-entries"), body, **headers)


def fill(van: Van, count: int) -> None:
    van.store.commit_now(*(Draft("clock/1", {"seconds_ms": number, "source": "gnss"}) for number in range(count)))


def upload(van: Van, start: int = 0, end: int | None = None, packages: slice = slice(None)) -> bytes:
    """An add-entries body of the van's own journal."""
    size = van.store.size() if end is None else end
    made = [
        wire.build_package(first, last, size, van.store.read_subtree, lambda n, k: van.store.entries(n, k))
        for first, last in wire.package_ranges(start, size)
    ]
    return wire.add_entries_body(wire.AddEntriesHead(van.store.origin, start, size), made[packages])


def asking(van: Van, old: int = 0) -> wire.AddCheckpoint:
    size = van.store.size()
    return wire.AddCheckpoint(old, tuple(van.store.consistency_proof(old, size)), van.store.checkpoint_at(size))


def stored(founded: Founded, table: Any = entries) -> int:
    """Rows of vehicles; the county's own registry is a log in the same tables."""
    of_vehicles = table.c.origin != founded.county.registry.origin
    row = founded.county.database.row(select(func.count().label("n")).where(of_vehicles))
    assert row is not None
    return int(row["n"])


async def deliver_by_hand(signer: SeedSigner, post: Post, bodies: list[bytes]) -> None:
    """A log of arbitrary entries, rightly signed and proven."""
    leaves = [leaf_hash(body) for body in bodies]
    note = Checkpoint(signer.name, len(bodies), root_of(leaves)).signed(signer)
    assert (await post.checkpoint(wire.AddCheckpoint(0, (), note))).status_code == 200

    def read(level: int, place: int) -> bytes:
        return root_of(leaves[place << level : (place + 1) << level])

    package = wire.build_package(0, len(bodies), len(bodies), read, lambda first, count: bodies[first : first + count])
    head = wire.AddEntriesHead(signer.name, 0, len(bodies))
    assert (await post.entries(wire.add_entries_body(head, [package]))).status_code == 200

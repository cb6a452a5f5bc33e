"""A file of sealed months: entries of a registry with their proofs, and the checkpoint that they lie under. Pure.

JSON: ``kind`` is "sealed-months/1"; ``about`` says what for; ``checkpoint`` is a signed note as text; ``entries`` are
``{"n": place, "body": base64, "proof": [hash as hex, ...]}`` in order of their places. A proof is RFC 6962, 2.1.1, in
the tree of the checkpoint. The last entry is that tree's last one: the index that names the verdicts in force.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

KIND = "sealed-months/1"
LARGEST_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 10_000
_HASH_BYTES = 32

Shown = tuple[int, bytes, Sequence[bytes]]
"""Place, bytes and proof of an entry."""


class SealedFileUnreadable(ValueError):
    """Not such a file; the message says where."""


@dataclass(frozen=True, slots=True)
class SealedFile:
    about: dict[str, Any]
    checkpoint: bytes
    entries: tuple[Shown, ...]


def write_sealed_file(about: dict[str, Any], checkpoint: bytes, entries: Iterable[Shown]) -> bytes:
    shown = [
        {"n": n, "body": b64encode(body).decode(), "proof": [part.hex() for part in proof]}
        for n, body, proof in entries
    ]
    said = {"kind": KIND, "about": about, "checkpoint": checkpoint.decode(), "entries": shown}
    return json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n"


def read_sealed_file(data: bytes) -> SealedFile:
    """:raises SealedFileUnreadable: not such a file"""
    if len(data) > LARGEST_BYTES:
        raise SealedFileUnreadable(f"larger than {LARGEST_BYTES} bytes")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise SealedFileUnreadable(f"no JSON: {fault}") from None
    if not isinstance(said, dict) or said.get("kind") != KIND:
        raise SealedFileUnreadable(f"no file of the kind {KIND}")
    about, checkpoint, listed = said.get("about"), said.get("checkpoint"), said.get("entries")
    if not isinstance(about, dict) or not isinstance(checkpoint, str) or not isinstance(listed, list):
        raise SealedFileUnreadable("about, checkpoint or entries are missing")
    if not 0 < len(listed) <= MOST_ENTRIES:
        raise SealedFileUnreadable(f"1 to {MOST_ENTRIES} entries are expected, {len(listed)} are there")
    entries = tuple(_entry(one, place) for place, one in enumerate(listed))
    places = [n for n, _, _ in entries]
    if places != sorted(set(places)):
        raise SealedFileUnreadable("the entries are not in order")
    try:
        return SealedFile(about, checkpoint.encode(), entries)
    except UnicodeEncodeError:
        raise SealedFileUnreadable("the checkpoint is no text") from None


def _entry(said: Any, place: int) -> Shown:
    try:
        n, body, proof = said["n"], said["body"], said["proof"]
        if type(n) is not int or n < 0 or not isinstance(proof, list):
            raise ValueError("place or proof")
        hashes = [bytes.fromhex(part) for part in proof]
        if any(len(part) != _HASH_BYTES for part in hashes):
            raise ValueError("a hash has 32 bytes")
        return n, b64decode(body, validate=True), hashes
    except (TypeError, KeyError, ValueError, binascii.Error) as fault:
        raise SealedFileUnreadable(f"entry {place} of the list: {fault}") from None

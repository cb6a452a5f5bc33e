"""A stick that carries a journal where no network does: how its folder is laid out. Pure, both sides.

Below the stick's root, a folder for each vehicle, so that one stick serves several::

    xunzhen/<origin>/
        README.txt           what this is, that it holds patient data, and for whom
        county               verifier key of the county that it is for (C2SP signed-note, one line)
        checkpoint           signed note over all entries: written last, so that what it covers is there
        tile/...             C2SP tlog-tiles: hash tiles and entry bundles
        recordings/ab/<sha256>
        receipt              the county's answer: the checkpoint with its cosignature
        received/<n>         signed notes: recordings that the county holds

The tiles are those of the whole log with two gaps at its old end, where the county has given a receipt already: entry
bundles and level-0 tiles before the last receipt are left out. What is there proves every later size. The first bundle
may reach back behind the last receipt: an entry of it whose body was pruned after retention has the length 0 there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sync.formats.merkle import HASH_BYTES, ReadSubtree, node_hash
from sync.formats.notes import Note, NoteRefused, Signer, VerifierKey, cosign
from sync.formats.wire import MOST_HASHES, PACKAGE_ENTRIES, Malformed, Tile, is_sha256, tiles_of

TOP = "xunzhen"
CHECKPOINT, COUNTY, README, RECEIPT, RECEIVED = "checkpoint", "county", "README.txt", "receipt", "received"
_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_RECEIVED_LINE = "xunzhen recordings received"


def folder_of(origin: str) -> str:
    """Path of a vehicle's folder below the stick's root. :raises ValueError: an origin that is no folder's name."""
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{origin[:100]!r} cannot name a folder")
    return f"{TOP}/{origin}"


def recording_path(sha256: str) -> str:
    """:raises ValueError: not a SHA-256 in lowercase hex."""
    if not is_sha256(sha256):
        raise ValueError(f"{sha256[:70]!r} is not a SHA-256 in lowercase hex")
    return f"recordings/{sha256[:2]}/{sha256}"


def carried_tiles(delivered: int, size: int) -> Iterator[Tile]:
    """The tiles that prove a tree of ``size`` entries to one who has ``delivered`` of them, and bring the rest."""
    first = delivered // PACKAGE_ENTRIES
    return (tile for tile in tiles_of(size) if tile.level > 0 or tile.index >= first)


class TileReader:
    """``sync.formats.merkle.ReadSubtree`` over hash tiles.

    :param tiles: hash tiles of the tree, as read; a missing one is a LookupError.
    """

    def __init__(self, tiles: Mapping[tuple[int, int], bytes]) -> None:
        self._tiles = tiles

    def __call__(self, level: int, index: int) -> bytes:
        """:raises LookupError: the tiles do not have it."""
        row, above = divmod(level, 8)
        first = index << above
        tile = self._tiles.get((row, first // PACKAGE_ENTRIES), b"")
        place = first % PACKAGE_ENTRIES * HASH_BYTES
        hashes = tile[place : place + (HASH_BYTES << above)]
        if len(hashes) < HASH_BYTES << above:
            raise LookupError(f"no hash {level}/{index} in these tiles")
        return _root([hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)])


def read_tiles(bodies: Mapping[Tile, bytes]) -> ReadSubtree:
    """Hash tiles as ``ReadSubtree``; of one place the widest counts.

    :raises Malformed: a tile has not as many hashes as its name says.
    """
    widest: dict[tuple[int, int], bytes] = {}
    for tile, body in bodies.items():
        if len(body) != tile.width * HASH_BYTES:
            raise Malformed(f"{tile.path()} has {len(body)} bytes, not {tile.width * HASH_BYTES}")
        if len(body) > len(widest.get((tile.level, tile.index), b"")):
            widest[tile.level, tile.index] = body
    return TileReader(widest)


def received_notes(origin: str, hashes: Sequence[str], county: Signer, at: datetime) -> list[Note]:
    """Signed notes that say that the county holds the recordings ``hashes`` of ``origin``.

    Their text is no checkpoint, whose second line is a number; so no signature of one kind passes for the other.
    """
    notes = []
    for first in range(0, len(hashes), MOST_HASHES):
        part = hashes[first : first + MOST_HASHES]
        text = "".join(f"{line}\n" for line in (_RECEIVED_LINE, origin, *part))
        notes.append(Note(text, (cosign(text, county, at),)))
    return notes


def read_received(note: bytes, origin: str, county: VerifierKey) -> list[str]:
    """The recordings of ``origin`` that the county says it holds.

    :raises Malformed: another note. :raises NoteRefused: not signed by ``county``.
    """
    signed = Note.parse(note)
    signed.verified_by([county])
    first, said_origin, *hashes = signed.text.removesuffix("\n").split("\n")
    if first != _RECEIVED_LINE or said_origin != origin or not all(map(is_sha256, hashes)):
        raise Malformed(f"this is no list of the recordings of {origin} that the county holds")
    return hashes


def read_county(line: bytes) -> VerifierKey:
    """:raises Malformed: no verifier key."""
    try:
        return VerifierKey.parse(line.decode("utf-8").strip())
    except (UnicodeDecodeError, NoteRefused) as fault:
        raise Malformed(f"the file {COUNTY!r} names no county: {fault}") from None


def _root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]

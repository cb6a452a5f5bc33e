"""What van and county say to each other, as bytes: C2SP tlog-witness, tlog-mirror and tlog-tiles. Pure, both sides.

The submission prefix and the tile prefix of a log are both ``/log/<origin>``. A delivery is

1. ``POST /log/<origin>/add-checkpoint``: ``AddCheckpoint``; 200, or 409 with the size that the county has;
2. ``POST /log/<origin>/add-entries``: ``AddEntries``, whole entry packages; 202 or 409 with ``MirrorInfo``, or 200 with
   the county's cosignature lines: the receipt.

Recordings go to ``/recordings/<sha256>`` by the fields of the IETF resumable-upload draft. Every request is signed
(``sync.formats.request_signature``), bodies are packed by ``sync.formats.content_coding``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sync.formats.merkle import (
    HASH_BYTES,
    LONGEST_PROOF,
    ReadSubtree,
    leaf_hash,
    root_of,
    subtree_proof,
    verify_subtree,
)
from sync.formats.notes import Note, NoteRefused, Signature, b64, unb64

PACKAGE_ENTRIES = 256
"""Entry packages and tiles are aligned to multiples of this."""
LARGEST_ENTRY_BYTES = 65_535

OCTETS = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"
MIRROR_INFO_TYPE = "text/x.tlog.mirror-info"
PARTIAL_UPLOAD_TYPE = "application/partial-upload"
MISSING_RECORDINGS_PATH = "/recordings/missing"
MOST_HASHES = 1000
"""Lines in one question after missing recordings."""

KEEP_ALIVE_S = 75
"""The county keeps an idle connection for so long; a van gives its own up earlier, so that no request meets a close."""

UPLOAD_OFFSET = "Upload-Offset"
UPLOAD_LENGTH = "Upload-Length"
UPLOAD_COMPLETE = "Upload-Complete"
"""Resumable uploads: ``?1`` or ``?0`` (RFC 8941 booleans)."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Malformed(ValueError):
    """The bytes are not what the route takes: 400."""


# --- paths ---


def log_path(origin: str, what: str) -> str:
    """``what``: "add-checkpoint", "add-entries", "checkpoint" or a tile path. ``origin`` has no slash."""
    return f"/log/{origin}/{what}"


def recording_path(sha256: str) -> str:
    if not is_sha256(sha256):
        raise Malformed(f"{sha256!r} is not a SHA-256 in lowercase hex")
    return f"/recordings/{sha256}"


def is_sha256(text: str) -> bool:
    return bool(_SHA256.fullmatch(text))


def boolean(value: bool) -> str:
    return "?1" if value else "?0"


def hash_lines(hashes: Sequence[str]) -> bytes:
    """Question and answer of ``MISSING_RECORDINGS_PATH``: a SHA-256 in hex on each line."""
    return "".join(f"{sha256}\n" for sha256 in hashes).encode()


def parse_hash_lines(body: bytes) -> list[str]:
    """:raises Malformed: not lines of SHA-256 in lowercase hex, or more than ``MOST_HASHES``."""
    if len(body) > MOST_HASHES * (2 * HASH_BYTES + 1):
        raise Malformed(f"more than {MOST_HASHES} lines: ask in parts")
    lines = body.decode("latin-1").split("\n")
    if lines.pop() or not all(is_sha256(line) for line in lines):
        raise Malformed("each line is a SHA-256 in lowercase hex")
    return lines


# --- add-checkpoint (tlog-witness) ---


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """``checkpoint`` with the proof that it extends the tree of ``old_size`` entries."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: Note

    def __bytes__(self) -> bytes:
        lines = [f"old {self.old_size}\n", *(f"{b64(part)}\n" for part in self.proof), "\n"]
        return "".join(lines).encode() + bytes(self.checkpoint)

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """:raises Malformed: see ``Malformed``."""
        head, blank, note = body.partition(b"\n\n")
        try:
            first, *proof = head.decode("ascii").split("\n")
            if not blank or not first.startswith("old "):
                raise Malformed("add-checkpoint begins with 'old <size>', proof lines and a blank line")
            if len(proof) > LONGEST_PROOF:
                raise Malformed(f"more than {LONGEST_PROOF} proof lines")
            return cls(decimal(first[4:]), tuple(_hash(line) for line in proof), Note.parse(note))
        except (UnicodeDecodeError, NoteRefused) as fault:
            raise Malformed(f"add-checkpoint: {fault}") from None


def size_body(size: int) -> bytes:
    """Body of a 409 to add-checkpoint, type ``SIZE_TYPE``."""
    return f"{size}\n".encode()


def parse_size_body(body: bytes) -> int:
    """:raises Malformed: not one decimal line."""
    return decimal(_line(body))


def signature_lines(signatures: Sequence[Signature]) -> bytes:
    """Body of a 200: cosignature lines."""
    return "".join(signature.line() for signature in signatures).encode()


def parse_signature_lines(body: bytes) -> tuple[Signature, ...]:
    """:raises Malformed: not signature lines."""
    try:
        text = body.decode("utf-8")
        if not text.endswith("\n"):
            raise Malformed("signature lines end with a newline")
        return tuple(Signature.parse(line) for line in text.removesuffix("\n").split("\n"))
    except (UnicodeDecodeError, NoteRefused) as fault:
        raise Malformed(f"signature lines: {fault}") from None


# --- add-entries (tlog-mirror) ---


@dataclass(frozen=True, slots=True)
class Package:
    """Entries ``first`` to ``first + len(entries)`` with the proof of the subtree that they complete.

    The subtree is ``[first rounded down to 256, first + len(entries))``; entries of it before ``first`` the county has.
    """

    first: int
    entries: tuple[bytes, ...]
    proof: tuple[bytes, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.entries)

    @property
    def rounded_start(self) -> int:
        return self.first - self.first % PACKAGE_ENTRIES

    def proves(self, earlier_leaves: Sequence[bytes], size: int, root: bytes) -> bool:
        """Whether the package belongs to the checkpoint ``size``, ``root``.

        :param earlier_leaves: leaf hashes of ``[rounded_start, first)``, which the county has already.
        """
        if len(earlier_leaves) != self.first - self.rounded_start or not self.entries:
            return False
        subtree = root_of([*earlier_leaves, *(leaf_hash(entry) for entry in self.entries)])
        return verify_subtree(self.rounded_start, self.end, subtree, size, root, self.proof)

    def __bytes__(self) -> bytes:
        return pack_entries(self.entries) + bytes([len(self.proof)]) + b"".join(self.proof)


@dataclass(frozen=True, slots=True)
class AddEntriesHead:
    origin: str
    upload_start: int
    upload_end: int
    ticket: bytes = b""

    def __bytes__(self) -> bytes:
        origin = self.origin.encode()
        return b"".join(
            (
                len(origin).to_bytes(2, "big") + origin,
                self.upload_start.to_bytes(8, "big") + self.upload_end.to_bytes(8, "big"),
                len(self.ticket).to_bytes(2, "big") + self.ticket,
            )
        )


def package_ranges(upload_start: int, upload_end: int) -> Iterator[tuple[int, int]]:
    """The canonical sequence of packages: [start, end) of each."""
    start = upload_start
    while start < upload_end:
        end = min(upload_end, start - start % PACKAGE_ENTRIES + PACKAGE_ENTRIES)
        yield start, end
        start = end


def build_package(
    start: int, end: int, size: int, read: ReadSubtree, entries: Callable[[int, int], Sequence[bytes]]
) -> Package:
    """:param entries: (first, count) -> entry bytes. :param size: of the checkpoint that is being uploaded."""
    rounded = start - start % PACKAGE_ENTRIES
    return Package(start, tuple(entries(start, end - start)), tuple(subtree_proof(rounded, end, size, read)))


def add_entries_body(head: AddEntriesHead, packages: Sequence[Package]) -> bytes:
    return bytes(head) + b"".join(bytes(package) for package in packages)


@dataclass(frozen=True, slots=True)
class AddEntries:
    """A parsed add-entries body: all whole packages that arrived, in order.

    ``truncated``: bytes after the last whole package were cut off and are dropped; what is whole counts.
    """

    head: AddEntriesHead
    packages: tuple[Package, ...]
    truncated: bool

    @classmethod
    def parse(cls, body: bytes) -> AddEntries:
        """:raises Malformed: the head itself is cut off or senseless, or there are bytes after the last package."""
        reader = _Reader(body)
        try:
            head = _read_head(reader)
        except EOFError:
            raise Malformed("add-entries: the head is cut off") from None
        if head.upload_start > head.upload_end:
            raise Malformed("add-entries: upload_start is after upload_end")
        packages: list[Package] = []
        for start, end in package_ranges(head.upload_start, head.upload_end):
            if reader.at_end():
                break
            try:
                packages.append(_read_package(reader, start, end))
            except EOFError:
                return cls(head, tuple(packages), True)
        if not reader.at_end():
            raise Malformed("add-entries: bytes after the last package")
        return cls(head, tuple(packages), False)


@dataclass(frozen=True, slots=True)
class MirrorInfo:
    """Body of 202 and 409 to add-entries: where to go on."""

    size: int
    """Of a pending checkpoint that ``upload_end`` may name."""
    next_entry: int
    ticket: bytes = b""

    def __bytes__(self) -> bytes:
        return f"{self.size}\n{self.next_entry}\n{b64(self.ticket)}\n".encode()

    @classmethod
    def parse(cls, body: bytes) -> MirrorInfo:
        """:raises Malformed: not three lines."""
        try:
            lines = body.decode("ascii").split("\n")
            if len(lines) != 4 or lines[3]:
                raise Malformed("mirror-info has three lines")
            return cls(decimal(lines[0]), decimal(lines[1]), unb64(lines[2]))
        except (UnicodeDecodeError, NoteRefused) as fault:
            raise Malformed(f"mirror-info: {fault}") from None


def _read_head(reader: _Reader) -> AddEntriesHead:
    try:
        origin = reader.take(reader.number(2)).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("add-entries: the origin is not UTF-8") from None
    return AddEntriesHead(origin, reader.number(8), reader.number(8), reader.take(reader.number(2)))


def _read_package(reader: _Reader, start: int, end: int) -> Package:
    entries = tuple(reader.take(reader.number(2)) for _ in range(end - start))
    hashes = reader.number(1)
    if hashes > LONGEST_PROOF:
        raise Malformed(f"add-entries: more than {LONGEST_PROOF} proof hashes")
    return Package(start, entries, tuple(reader.take(HASH_BYTES) for _ in range(hashes)))


class _Reader:
    """Reads a body from the front; EOFError where it ends too early."""

    def __init__(self, body: bytes) -> None:
        self._body, self._place = body, 0

    def take(self, count: int) -> bytes:
        part = self._body[self._place : self._place + count]
        if len(part) < count:
            raise EOFError
        self._place += count
        return part

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def at_end(self) -> bool:
        return self._place == len(self._body)


# --- tiles (tlog-tiles) ---


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """Entry bundle: each entry with a big-endian uint16 length before it.

    :raises ValueError: an entry is longer than ``LARGEST_ENTRY_BYTES``.
    """
    if any(len(entry) > LARGEST_ENTRY_BYTES for entry in entries):
        raise ValueError(f"an entry is longer than {LARGEST_ENTRY_BYTES} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack_entries(bundle: bytes) -> list[bytes]:
    """:raises Malformed: the bundle is cut off."""
    reader, entries = _Reader(bundle), []
    try:
        while not reader.at_end():
            entries.append(reader.take(reader.number(2)))
    except EOFError:
        raise Malformed("entry bundle is cut off") from None
    return entries


@dataclass(frozen=True, slots=True)
class Tile:
    """``level`` -1 is an entry bundle; ``width`` 256 is a full tile."""

    level: int
    index: int
    width: int = PACKAGE_ENTRIES

    def path(self) -> str:
        """Below the log's prefix: ``tile/<L>/<N>[.p/<W>]``, N in groups of three digits: 1234067 is x001/x234/067."""
        digits = f"{self.index:d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
        index = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        level = "entries" if self.level < 0 else str(self.level)
        return f"tile/{level}/{index}" + ("" if self.width == PACKAGE_ENTRIES else f".p/{self.width}")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """:raises Malformed: not the one right way to write a tile's path."""
        found = re.fullmatch(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?", path)
        if not found:
            raise Malformed(f"not a tile path: {path[:100]!r}")
        level = -1 if found[1] == "entries" else int(found[1])
        index = int(found[2].replace("x", "").replace("/", ""))
        tile = cls(level, index, int(found[3]) if found[3] else PACKAGE_ENTRIES)
        if level > 63 or not 1 <= tile.width <= PACKAGE_ENTRIES or tile.path() != path:
            raise Malformed(f"not a tile path: {path[:100]!r}")
        return tile

    def within(self, size: int) -> bool:
        """Whether a tree of ``size`` entries has this tile: all its hashes are complete subtrees."""
        level = max(self.level, 0)
        return (self.index * PACKAGE_ENTRIES + self.width) << (8 * level) <= size

    def hashes(self, read: ReadSubtree) -> bytes:
        """The tile's bytes, for ``level`` >= 0."""
        first = self.index * PACKAGE_ENTRIES
        return b"".join(read(8 * self.level, first + place) for place in range(self.width))


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree, entry bundles included."""
    for level in range(-1, 64):
        count = size >> (8 * max(level, 0))
        if count == 0:
            return
        full, rest = divmod(count, PACKAGE_ENTRIES)
        yield from (Tile(level, index) for index in range(full))
        if rest:
            yield Tile(level, full, rest)


# --- numbers and lines ---


def decimal(text: str) -> int:
    """:raises Malformed: not a decimal number without leading zeroes, below 2**63."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**63:
        raise Malformed(f"{text[:30]!r} is not a decimal number")
    return int(text)


def _line(body: bytes) -> str:
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("not ASCII") from None
    if text.count("\n") != 1 or not text.endswith("\n"):
        raise Malformed("expected one line")
    return text[:-1]


def _hash(line: str) -> bytes:
    hashed = unb64(line)
    if len(hashed) != HASH_BYTES:
        raise Malformed("a proof line is not a SHA-256 hash")
    return hashed

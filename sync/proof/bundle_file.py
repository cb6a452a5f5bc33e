"""The zip file of an evidence bundle: PKWARE APPNOTE 6.3, the plain part of it, read strictly. Pure.

One content is one file, byte for byte, so that its SHA-256 can be printed. Reading takes no archive with a gap, an
overlap, something behind it, two members of one name, a data descriptor, encryption or ZIP64, and unpacks never more
than the limits: docs/evidence.md, section 1.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from struct import Struct

LARGEST_FILE_BYTES = 2 * 1024 * 1024
LARGEST_MEMBER_BYTES = 8 * 1024 * 1024
LARGEST_CONTENT_BYTES = 16 * 1024 * 1024
MOST_MEMBERS = 200

_LOCAL = Struct("<4s5H3I2H")
_CENTRAL = Struct("<4s6H3I5H2I")
_END = Struct("<4s4H2IH")
_STORED, _DEFLATED = 0, 8
_UTF8 = 0x0800
_VERSION, _UNIX = 20, 3 << 8
_DATE = 1 << 5 | 1
"""1 January 1980, the first day that a zip file can say."""
_MODE = 0o100644 << 16
_MEMORY = 9
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED)
"""Lists of small numbers, which tracks are, pack better with the second."""


class BundleUnreadable(ValueError):
    """The file is no evidence bundle, or damaged, or beyond a limit: nothing in it can be judged.

    :ivar code: a word of docs/evidence.md
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def write_members(members: Mapping[str, bytes]) -> bytes:
    """A zip file with ``members`` in the order of their names.

    :raises BundleUnreadable: beyond a limit, so that nobody could read it
    """
    local, central = bytearray(), bytearray()
    if len(members) > MOST_MEMBERS or sum(map(len, members.values())) > LARGEST_CONTENT_BYTES:
        raise BundleUnreadable("bundle_too_large", "more members or bytes than a bundle may have")
    for name in sorted(members):
        content, written = members[name], name.encode("ascii")
        packed, method = min((_packed(content, strategy) for strategy in _STRATEGIES), key=len), _DEFLATED
        if len(packed) >= len(content):
            packed, method = content, _STORED
        sizes = (zlib.crc32(content), len(packed), len(content))
        both = (_VERSION, 0, method, 0, _DATE, *sizes, len(written), 0)
        central += _CENTRAL.pack(b"PK\1\2", _UNIX | _VERSION, *both, 0, 0, 0, _MODE, len(local)) + written
        local += _LOCAL.pack(b"PK\3\4", *both) + written + packed
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(central), len(local), 0)
    if len(local) + len(central) + len(end) > LARGEST_FILE_BYTES:
        raise BundleUnreadable("bundle_too_large", f"{len(local)} bytes are more than a bundle may have")
    return bytes(local + central + end)


def _packed(content: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, _MEMORY, strategy)
    return packer.compress(content) + packer.flush()


def read_members(data: bytes) -> dict[str, bytes]:
    """Name and content of every member.

    :raises BundleUnreadable: beyond a limit, or not exactly what ``write_members`` may write
    """
    if len(data) > LARGEST_FILE_BYTES:
        raise BundleUnreadable("bundle_too_large", f"the file has {len(data)} bytes, more than {LARGEST_FILE_BYTES}")
    if len(data) < _END.size or data[-_END.size :][:4] != b"PK\5\6":
        raise _broken("no end record in the last 22 bytes: not a zip file, cut off, or something follows it")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack(data[-_END.size :])
    if (disk, first_disk, comment) != (0, 0, 0) or here != count or start + length + _END.size != len(data):
        raise _broken("the end record does not fit the file")
    if count > MOST_MEMBERS:
        raise BundleUnreadable("bundle_too_large", f"{count} members, more than {MOST_MEMBERS}")
    members: dict[str, bytes] = {}
    at, local_at, total = start, 0, 0
    for _ in range(count):
        at, fields, name = _central_header(data, at, len(data) - _END.size)
        _, method, crc, packed, size, offset = fields
        if offset != local_at:
            raise _broken(f"{name}: members overlap or leave a gap")
        total += size
        if size > LARGEST_MEMBER_BYTES or total > LARGEST_CONTENT_BYTES:
            raise BundleUnreadable("bundle_too_large", f"{name}: unpacks to more than a bundle may have")
        content_at = _local_header(data, local_at, start, fields, name)
        local_at = content_at + packed
        if local_at > start:
            raise _broken(f"{name}: reaches into the directory")
        if name in members:
            raise _broken(f"{name} is there twice")
        members[name] = _unpacked(data[content_at:local_at], method, size, crc, name)
    if local_at != start or at != len(data) - _END.size:
        raise _broken("bytes that belong to no member")
    return members


_Fields = tuple[int, int, int, int, int, int]
"""Flags, method, CRC-32, packed size, size, offset of the local header."""


def _central_header(data: bytes, at: int, end: int) -> tuple[int, _Fields, str]:
    """Where the next one begins, what it says, and the member's name."""
    if at + _CENTRAL.size > end:
        raise _broken("the directory is cut off")
    magic, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, disk, _, _, offset = _CENTRAL.unpack(
        data[at : at + _CENTRAL.size]
    )
    if magic != b"PK\1\2" or extra or comment or disk or at + _CENTRAL.size + named > end:
        raise _broken("the directory is damaged, or has extra fields or comments")
    if flags not in (0, _UTF8) or method not in (_STORED, _DEFLATED):
        raise _broken(f"flags {flags:#x} and method {method} are not those of a bundle")
    try:
        name = data[at + _CENTRAL.size : at + _CENTRAL.size + named].decode("ascii")
    except UnicodeDecodeError:
        raise _broken("a member's name is not ASCII") from None
    return at + _CENTRAL.size + named, (flags, method, crc, packed, size, offset), name


def _local_header(data: bytes, at: int, end: int, fields: _Fields, name: str) -> int:
    """Where the content begins."""
    if at + _LOCAL.size > end:
        raise _broken(f"{name}: cut off")
    magic, _, flags, method, _, _, crc, packed, size, named, extra = _LOCAL.unpack(data[at : at + _LOCAL.size])
    begins: int = at + _LOCAL.size + named
    said = (flags, method, crc, packed, size, at)
    if magic != b"PK\3\4" or extra or said != fields or data[at + _LOCAL.size : begins] != name.encode("ascii"):
        raise _broken(f"{name}: its header is not the one of the directory")
    return begins


def _unpacked(packed: bytes, method: int, size: int, crc: int, name: str) -> bytes:
    if method == _STORED:
        content = packed
    else:
        unpacker = zlib.decompressobj(-15)
        try:
            content = unpacker.decompress(packed, size + 1)
        except zlib.error as fault:
            raise _broken(f"{name}: {fault}") from None
        if not unpacker.eof or unpacker.unused_data or unpacker.unconsumed_tail:
            raise _broken(f"{name}: its packed bytes do not end where they should")
    if len(content) != size or zlib.crc32(content) != crc:
        raise _broken(f"{name}: damaged (size or CRC-32)")
    return content


def _broken(detail: str) -> BundleUnreadable:
    return BundleUnreadable("bundle_unreadable", detail)

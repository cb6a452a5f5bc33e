"""Fragmented MP4 (ISO/IEC 14496-12, 8.8): where its whole pieces end. Pure.

``ftyp moov (moof mdat)*``: whatever ends behind an ``mdat`` can be played. What a power cut leaves is cut back to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

FRAGMENT_S = 1.0
"""Length of every fragment of a clip but the last."""
_HEAD = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")


def whole(clip: bytes | bytearray | memoryview) -> tuple[int, int]:
    """(whole fragments, bytes up to the end of the last one); zeros when there is none."""
    count, end_of_last, playable = 0, 0, False
    for kind, end in _boxes(clip):
        playable = playable or kind == b"moov"
        if kind == b"mdat" and playable:
            count, end_of_last = count + 1, end
    return count, end_of_last


def _boxes(clip: bytes | bytearray | memoryview) -> Iterator[tuple[bytes, int]]:
    """(kind, where it ends) of every box that is here in full."""
    at = 0
    while at + _HEAD.size <= len(clip):
        size, kind = _HEAD.unpack_from(clip, at)
        if size == 1 and at + _HEAD.size + _LARGE.size <= len(clip):
            size = _LARGE.unpack_from(clip, at + _HEAD.size)[0]
        if size < _HEAD.size or at + size > len(clip):
            return
        at += size
        yield kind, at

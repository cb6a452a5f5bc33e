"""How bodies are packed on the wire: ``dcz``, ``zstd``, ``gzip``. Pure but for reading the shipped dictionaries.

``dcz`` is Dictionary-Compressed Zstandard (RFC 9842 section 5): a skippable frame with the SHA-256 of a raw dictionary,
then a zstd stream. The dictionary ``entries.zdict`` (made by ``scripts/train-dictionary``) knows how entries look, so a
single record packs as well as a whole batch. A county says what it takes in ``Accept-Encoding`` of its answers
(RFC 9110 section 12.5.3) and refuses anything else with 415; gzip is the one that every C2SP mirror takes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection
from functools import cache
from hashlib import sha256
from importlib import resources

import zstandard

from sync.formats.wire import Malformed

CODINGS = ("dcz", "zstd", "gzip")
"""Best first."""
ACCEPTED = ", ".join(CODINGS)
LEVEL = 9
_DCZ_MAGIC = bytes.fromhex("5e2a4d1820000000")
"""A zstd skippable frame of 32 bytes."""
_DCZ_HEAD_BYTES = len(_DCZ_MAGIC) + 32
_LARGEST_WINDOW_BYTES = 8 * 1024 * 1024
"""RFC 9659: what every decoder of zstd on the web must take, and what no encoder may exceed."""


class CodingUnknown(Malformed):
    """A content coding or a dictionary that is not known here: 415."""


def best(accepted: str, refused: Collection[str] = ()) -> str:
    """The best coding of ``accepted`` (an ``Accept-Encoding`` field, empty when unheard) that was not refused.

    Codings with ``q=0`` are not accepted. "gzip" while nothing was said, "identity" when nothing else is left.
    """
    said = [_said(part) for part in accepted.lower().split(",") if part.strip()] or ["gzip"]
    return next((coding for coding in CODINGS if coding in said and coding not in refused), "identity")


def encode(body: bytes, coding: str) -> bytes:
    """``body`` packed. :raises CodingUnknown: a coding that is not ours."""
    match coding:
        case "dcz":
            return _DCZ_MAGIC + _newest() + _pack(body, _dictionary(_newest()))
        case "zstd":
            return _pack(body, None)
        case "gzip":
            return gzip.compress(body, 6, mtime=0)
        case "" | "identity":
            return body
    raise CodingUnknown(f"content coding {coding[:30]!r} is not known; use {ACCEPTED} or identity")


def decode(body: bytes, coding: str, at_most_bytes: int) -> bytes:
    """``body`` unpacked; of one that is cut off what was whole, so that an interrupted upload still counts.

    :raises CodingUnknown: unknown coding or dictionary.
    :raises Malformed: not decodable, or larger than ``at_most_bytes`` when unpacked.
    """
    named = coding.strip().lower()
    try:
        match named:
            case "" | "identity":
                unpacked = body
            case "gzip" | "x-gzip":
                unpacked = zlib.decompressobj(31).decompress(body, at_most_bytes + 1)
            case "zstd":
                unpacked = _unpack(body, None, at_most_bytes)
            case "dcz":
                unpacked = _unpack(body[_DCZ_HEAD_BYTES:], _dictionary_of(body), at_most_bytes)
            case other:
                raise CodingUnknown(f"content coding {other[:30]!r} is not known; use {ACCEPTED} or identity")
    except (zlib.error, zstandard.ZstdError) as fault:
        raise Malformed(f"body is not {named}: {fault}") from None
    if len(unpacked) > at_most_bytes:
        raise Malformed(f"body is larger than {at_most_bytes} bytes")
    return unpacked


def _said(part: str) -> str:
    coding, _, parameters = part.partition(";")
    weight = parameters.replace(" ", "").partition("q=")[2]
    return "" if weight and not weight.strip("0.") else coding.strip()


def _unpack(stream: bytes, dictionary: zstandard.ZstdCompressionDict | None, at_most_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=_LARGEST_WINDOW_BYTES)
    return decompressor.stream_reader(stream).read(at_most_bytes + 1)


def _dictionary_of(body: bytes) -> zstandard.ZstdCompressionDict:
    if not body.startswith(_DCZ_MAGIC) or len(body) < _DCZ_HEAD_BYTES:
        raise Malformed("body is not dcz: its head is not that of RFC 9842 section 5")
    named = body[len(_DCZ_MAGIC) : _DCZ_HEAD_BYTES]
    if named not in _shipped():
        raise CodingUnknown(f"dictionary {named.hex()} is not known; use zstd or gzip")
    return _dictionary(named)


@cache
def _shipped() -> dict[bytes, bytes]:
    """All dictionaries that ever were in use, by SHA-256: a county takes those of older vans."""
    folder = resources.files("sync.formats")
    found = (file.read_bytes() for file in folder.iterdir() if file.name.endswith(".zdict"))
    return {sha256(content).digest(): content for content in found}


@cache
def _newest() -> bytes:
    """SHA-256 of the dictionary that we pack with."""
    return sha256((resources.files("sync.formats") / "entries.zdict").read_bytes()).digest()


@cache
def _dictionary(named: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(_shipped()[named], dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _pack(body: bytes, dictionary: zstandard.ZstdCompressionDict | None) -> bytes:
    """With a compressor of its own: one serves one thread, and its tables are of the body's size."""
    known = len(dictionary) if dictionary is not None else 0
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, source_size=len(body), dict_size=known, write_content_size=0, write_checksum=0, write_dict_id=0
    )
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(body)

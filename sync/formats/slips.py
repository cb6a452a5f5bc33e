"""What stands on a slip, as data: kept in the entry of the print, so that it can be printed later and checked for ever.

A slip is a title, a place and blocks; how they stand on paper says the van (``vehicle.printing.slip_paper``). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from sync.formats.canonical import Json, encode

RESULT, REFERRAL, APPOINTMENT = "result_slip", "referral_slip", "appointment_slip"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
REFERENCE_CHARACTERS = 8
"""40 bits of a hash: nobody writes a slip to a reference that is in the record."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line: what it is, what it says."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """A measured value, large, with what the rules say of it in one word."""

    label: str
    text: str
    unit: str
    grade: str
    """green, yellow, orange, red or none."""
    word: str
    """The grade in words; empty: nothing was graded."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A heading, and text that takes as many lines as it needs."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Emphasis:
    """What the person must remember, large: a date, a place."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


Block = Fact | Value | Passage | Emphasis | Rule
_BLOCKS: dict[str, type[Block]] = {
    "fact": Fact,
    "value": Value,
    "passage": Passage,
    "emphasis": Emphasis,
    "rule": Rule,
}
_NAMES = {kind: name for name, kind in _BLOCKS.items()}


class SlipUnreadable(ValueError):
    """Not a slip as this version knows it."""


@dataclass(frozen=True, slots=True)
class Slip:
    language: str
    """ "zh" or "en"."""
    title: str
    place: str
    """Who gives it: clinic or village, and the vehicle."""
    blocks: tuple[Block, ...]
    foot: tuple[str, ...]
    """Small lines at the end; the last one says that the result is no diagnosis."""

    def as_json(self) -> dict[str, Json]:
        """For the entry; ``slip_of`` reads it back."""
        return {
            "language": self.language,
            "title": self.title,
            "place": self.place,
            "blocks": [[_NAMES[type(block)], *astuple(block)] for block in self.blocks],
            "foot": list(self.foot),
        }


def slip_of(said: Mapping[str, Any]) -> Slip:
    """:raises SlipUnreadable: not what ``as_json`` writes"""
    try:
        blocks = tuple(_BLOCKS[name](*parts) for name, *parts in said["blocks"])
        return Slip(said["language"], said["title"], said["place"], blocks, tuple(said["foot"]))
    except (KeyError, TypeError, ValueError) as fault:
        raise SlipUnreadable(f"this slip cannot be read: {fault!r}") from None


def reference(print_id: str, content: Mapping[str, Json]) -> str:
    """``7F3K2M9Q``: stands on the paper and in the entry.

    Whoever has the entry can calculate it again from its content, so paper with another text does not fit it.
    """
    digest = hashlib.sha256(encode({"content": dict(content), "print": print_id})).digest()
    number = int.from_bytes(digest[:5], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def qr_text(origin: str, slip_reference: str) -> str:
    """What the QR code says: which journal holds the entry, and under which reference."""
    return f"XZ1:{origin}:{slip_reference}"

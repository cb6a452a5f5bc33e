"""Twin of an identity card reader: status, find, select, read, as a SAM module answers. The photo is all zeros."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from devices.driver import Counters
from devices.drivers import sam_id_card as wire
from devices.framing import xor8
from devices.sized_frames import XorFramer

SEX_CODES = {word: code for code, word in wire.SEXES.items()}
PHOTO_BYTES = 1024
"""WLT-coded on real cards; ours is zeroed."""


@dataclass(frozen=True, slots=True)
class Card:
    """A made-up resident; ``id_number`` must carry its check digit."""

    name: str
    sex: str
    born_on: date
    id_number: str
    address: str
    ethnicity_code: str = "01"
    issuer: str = "青峪县公安局"
    valid_from: date = date(2020, 1, 1)
    valid_until: date | None = date(2040, 1, 1)

    def __post_init__(self) -> None:
        if not wire.id_number_valid(self.id_number):
            raise ValueError(f"id_number {self.id_number!r}: the check digit (GB 11643) does not fit")
        if self.sex not in SEX_CODES:
            raise ValueError(f"sex {self.sex!r}: use one of {', '.join(SEX_CODES)}")

    def text(self) -> bytes:
        """The 256 bytes on the chip."""
        return b"".join(
            _padded(words, n_bytes)
            for words, n_bytes in (
                (self.name, 30),
                (SEX_CODES[self.sex], 2),
                (self.ethnicity_code, 4),
                (_digits(self.born_on), 16),
                (self.address, 70),
                (self.id_number, 36),
                (self.issuer, 30),
                (_digits(self.valid_from), 16),
                ("长期" if self.valid_until is None else _digits(self.valid_until), 16),
                ("", 36),
            )
        )


class SamCardTwin:
    def __init__(self) -> None:
        self._requests = XorFramer(wire.PREAMBLE, 16, Counters())
        self.card: Card | None = None
        self._read = False
        self._selected = False

    @property
    def streaming(self) -> bool:
        return False

    def put_card(self, card: Card | None) -> None:
        """Lay a card on the reader, or lift it (None)."""
        self.card = card
        self._read = self._selected = False

    def power_on(self) -> None:
        self._requests.reset()
        self._read = self._selected = False

    def receive(self, chunk: bytes) -> bytes:
        return b"".join(self._answer(body) for body in self._requests.feed(chunk))

    def advance(self, elapsed_s: float) -> bytes:
        return b""

    def _answer(self, body: bytes) -> bytes:
        if body == b"\x11\xff":
            return reply(wire.SAM_OK)
        if body == b"\x20\x01":
            if self.card is None or self._read:
                return reply(wire.NO_CARD)
            return reply(wire.FOUND, bytes(4))
        if body == b"\x20\x02":
            self._selected = self.card is not None and not self._read
            return reply(wire.SAM_OK, bytes(8)) if self._selected else reply(b"\x00\x00\x81")
        if body == b"\x30\x01":
            if self.card is None or not self._selected:
                return reply(b"\x00\x00\x41")
            self._read, self._selected = True, False
            text = self.card.text()
            lengths = len(text).to_bytes(2, "big") + PHOTO_BYTES.to_bytes(2, "big")
            return reply(wire.SAM_OK, lengths + text + bytes(PHOTO_BYTES))
        return reply(b"\x00\x00\x21")


def reply(status: bytes, rest: bytes = b"") -> bytes:
    body = status + rest
    checked = (len(body) + 1).to_bytes(2, "big") + body
    return wire.PREAMBLE + checked + bytes((xor8(checked),))


def _padded(words: str, n_bytes: int) -> bytes:
    encoded = words.encode("utf-16-le")
    if len(encoded) > n_bytes:
        raise ValueError(f"{words!r} is longer than the {n_bytes // 2} characters a card has for it")
    return encoded + " ".encode("utf-16-le") * ((n_bytes - len(encoded)) // 2)


def _digits(day: date) -> str:
    return day.strftime("%Y%m%d")

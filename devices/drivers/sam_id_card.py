"""Resident identity card readers with a SAM module (新中新, 华视, 精伦, 神思, 普天 ...), serial 115200 8N1.

Request ``AA AA AA 96 69 | length u16 BE | command, parameter | xor``; reply the same with three status bytes first. The
length counts everything after itself, the xor runs from the length to the last byte before it.

=========  =======  ==================================================================================================
request    command  good reply
=========  =======  ==================================================================================================
status     11 FF    00 00 90
find       20 01    00 00 9F; 80 in its place: no card, or one that was read already and has not been lifted since
select     20 02    00 00 90 and eight bytes; 81: failed
read       30 01    00 00 90, text length and photo length u16 BE each, text, photo; 41: failed
=========  =======  ==================================================================================================

Text (256 bytes, UTF-16LE, padded with spaces): name 0+30, sex 30+2, ethnicity 32+4, born 36+16, address 52+70,
number 122+36, issuer 158+30, valid from 188+16, until 204+16. The photo is WLT-coded: it is dropped here, never kept.

The protocol cannot tell that a card was lifted; it shows only when the next card is found. CardRemoved is published
then, just before the new card. Cards of foreign residents (letter I at 248, Y on those since 2023) and of residents of
Hong Kong, Macao and Taiwan (J) have another layout that we could not verify: they are refused, not guessed. Never sent:
reset, RF power.

Source: hevz/hev-idcard-reader, Qt ReadIdentifierCardInfoUtil (facts); GB 11643 (number), GB/T 2261.1 (sex),
GB/T 3304 (ethnicity). Not tried on hardware by us.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from devices.driver import About, Counters, Metric, Output, SerialLine, Write
from devices.framing import xor8
from devices.readings import CardRemoved, DeviceState, IdentityCard, Link, Sensor
from devices.sized_frames import XorFramer

PREAMBLE = b"\xaa\xaa\xaa\x96\x69"
LONGEST_REPLY = 2400
"""With a fingerprint a reply is 2321 bytes."""


def request(command: int, parameter: int) -> bytes:
    checked = bytes((0, 3, command, parameter))
    return PREAMBLE + checked + bytes((xor8(checked),))


STATUS, FIND, SELECT, READ = request(0x11, 0xFF), request(0x20, 0x01), request(0x20, 0x02), request(0x30, 0x01)
SAM_OK, FOUND, NO_CARD = b"\x00\x00\x90", b"\x00\x00\x9f", b"\x00\x00\x80"

POLL_S = 0.4
ANSWER_WITHIN_S = {STATUS: 3.0, FIND: 1.0, SELECT: 1.0, READ: 5.0}
FAILURES_TO_TELL = 3

SEXES = {"0": "unknown", "1": "male", "2": "female", "9": "unspecified"}
OTHER_LAYOUTS = ("I", "J", "Y")


class Driver:
    about: ClassVar[About] = About(
        title_zh="居民身份证阅读器",
        title_en="Resident identity card reader",
        models=("SAM/SDT serial readers",),
        metrics=(Metric("identity_card", mdc=None, loinc=None, ucum="1"),),
        line=SerialLine(115200),
        usb_ids=("0400:c35a",),
        source="public SAM command set (facts); hardware/protocols/sam_id_card.md",
        lost_after_s=6.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (STATUS, FIND, SELECT, READ)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = XorFramer(PREAMBLE, LONGEST_REPLY, self.counters)
        self._asked: bytes | None = None
        self._since_asked_s = 0.0
        self._failures = 0
        self._card_read = False
        self._told: DeviceState | None = None

    def open(self) -> Output:
        self._framer.reset()
        self._failures = 0
        self._told = None
        return Output(writes=[self._ask(STATUS)])

    def close(self) -> Output:
        self._framer.reset()
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for body in self._framer.feed(chunk):
            if len(body) >= 3:
                self._reply(body[:3], body[3:], output)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._since_asked_s += elapsed_s
        if self._asked is None:
            if self._since_asked_s >= POLL_S:
                output.writes.append(self._ask(FIND))
        elif self._since_asked_s >= ANSWER_WITHIN_S[self._asked]:
            self._framer.reset()
            output.writes.append(self._ask(FIND))
        return output

    def _ask(self, what: bytes) -> Write:
        self._asked = what
        self._since_asked_s = 0.0
        return Write(what)

    def _reply(self, status: bytes, rest: bytes, output: Output) -> None:
        asked, self._asked = self._asked, None
        if is_card_text(status, rest):
            self._card(rest, output)
        elif asked == FIND and status == FOUND:
            output.writes.append(self._ask(SELECT))
        elif asked == SELECT and status == SAM_OK:
            output.writes.append(self._ask(READ))
        elif asked in (SELECT, READ):
            self._failures += 1
            if self._failures >= FAILURES_TO_TELL:
                self._tell(Sensor.ERROR, "card_unreadable", output)
        elif status in (SAM_OK, NO_CARD):
            self._failures = 0
            self._tell(Sensor.OK, None, output)

    def _card(self, rest: bytes, output: Output) -> None:
        if self._card_read:
            output.events.append(CardRemoved())
            self._card_read = False
        try:
            card = card_of(rest)
        except CardRefused as refusal:
            self._tell(Sensor.ERROR, str(refusal), output)
            return
        self._failures = 0
        self._card_read = True
        self._tell(Sensor.OK, None, output)
        output.events.append(card)

    def _tell(self, sensor: Sensor, fault: str | None, output: Output) -> None:
        state = DeviceState(Link.CONNECTED, sensor, fault=fault)
        if state != self._told:
            self._told = state
            output.events.append(state)


class CardRefused(ValueError):
    """A well-formed reply whose card we do not take; the message is the fault code."""


def is_card_text(status: bytes, rest: bytes) -> bool:
    """Whether this is a good reply to "read": its two (or, with fingerprint, three) lengths add up."""
    if status != SAM_OK or len(rest) < 4 + 256:
        return False
    text, photo = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
    return text == 256 and len(rest) >= 4 + text + photo


def card_of(rest: bytes) -> IdentityCard:
    """The card in a reply to "read", after its status bytes.

    :raises CardRefused: another layout ("card_kind_unsupported"), or name or number do not read as such
        ("card_data_invalid"): the check digit of GB 11643 must fit.
    """
    lengths = 4 if len(rest) == 4 + sum(int.from_bytes(rest[i : i + 2], "big") for i in (0, 2)) else 6
    text = rest[lengths : lengths + 256]

    def field(offset: int, n_bytes: int) -> str:
        """Cut before it is decoded: a rare character of a name takes four bytes."""
        return text[offset : offset + n_bytes].decode("utf-16-le", errors="replace").replace("\x00", " ").strip()

    if field(248, 2) in OTHER_LAYOUTS:
        raise CardRefused("card_kind_unsupported")
    name, id_number, sex = field(0, 30), field(122, 36).upper(), SEXES.get(field(30, 2))
    if not name or "\ufffd" in name or sex is None or not id_number_valid(id_number):
        raise CardRefused("card_data_invalid")
    return IdentityCard(
        name=name,
        sex=sex,
        ethnicity_code=field(32, 4),
        born_on=_date_of(field(36, 16)),
        address=field(52, 70),
        id_number=id_number,
        issuer=field(158, 30),
        valid_from=_date_of(field(188, 16)),
        valid_until=_date_of(field(204, 16)),
    )


def id_number_valid(id_number: str) -> bool:
    """18 characters whose last is the check character of ISO 7064 MOD 11-2, as GB 11643 asks."""
    if len(id_number) != 18 or not (id_number[:17].isascii() and id_number[:17].isdigit()):
        return False
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(id_number[:17]))
    return "10X98765432"[total % 11] == id_number[17]


def _date_of(digits: str) -> date | None:
    """``YYYYMMDD``; None for "长期" and for anything that is no date."""
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None

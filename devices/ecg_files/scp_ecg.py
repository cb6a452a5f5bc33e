"""SCP-ECG (EN 1064, ISO 11073-91064): the exchange file of many electrocardiographs.

Read are the sections 0 (pointers), 1 (person, device, time), 2 (coding), 3 (leads) and 6 (rhythm): as plain numbers, as
first or second differences, and packed with the standard's default code. Refused in words: other codes, bimodal
compression and rhythm from which a reference beat was taken away (section 4 and 5).

Every checksum is looked at: that of the record and those of the sections used. Two traps of real files are minded:
lengths of leads are u16, so a writer with more than 32,767 samples overflows or cuts off; and the first sample is 0
with some writers, 1 with others, so only differences between leads count.

Source: EN 1064 as described in public readers (RigacciOrg/ecg-contec), and public files; no code of theirs.
"""

from __future__ import annotations

import re
import struct
from binascii import crc_hqx
from dataclasses import dataclass
from datetime import date, time

import numpy as np
import numpy.typing as npt

from devices.ecg_files.document import (
    LARGEST_COUNTS,
    EcgDocument,
    EcgFileDamaged,
    EcgFileUnsupported,
    PersonSaid,
    text_of,
)
from devices.readings import INVALID_COUNT, Samples

RECORD_HEADER, SECTION_HEADER = struct.Struct("<HI"), struct.Struct("<HHIBB6s")
POINTER, LEAD, RHYTHM = struct.Struct("<HII"), struct.Struct("<IIB"), struct.Struct("<HHBB")
LAST_NAME, FIRST_NAME, PATIENT_ID, AGE, BORN_ON, SEX, DEVICE, DATE, TIME, NO_MORE = 0, 1, 2, 4, 5, 8, 14, 25, 26, 255
YEARS = 1
DEFAULT_CODE = 19999
REFERENCE_BEAT_TAKEN_AWAY = 0x01
LEADS = {
    **dict(
        enumerate(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V2R", "V3R", "V4R", "V5R", "V6R"), start=1)
    ),
    **dict(enumerate(("III", "aVR", "aVL", "aVF"), start=61)),
    66: "V8",
    67: "V9",
}
"""The numbers are those of the lead codes of IEEE 11073-10101."""
_CODE = re.compile(b"0|1{1,8}0[01]|1{9}0([01]{8})|1{10}([01]{16})")

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Lead:
    name: str
    first: int
    last: int

    @property
    def span(self) -> int:
        """Samples it should have: ``last`` is counted from 1 also by writers whose ``first`` is 0."""
        return self.last - self.first + (self.first > 0)


def recognises(content: bytes) -> bool:
    """The record's own length fits, and it begins with section 0."""
    if len(content) < RECORD_HEADER.size + SECTION_HEADER.size:
        return False
    _, length = RECORD_HEADER.unpack_from(content)
    _, section, section_length, *_ = SECTION_HEADER.unpack_from(content, RECORD_HEADER.size)
    return bool(section == 0 and length == len(content) and section_length < length)


def read(content: bytes) -> EcgDocument:
    """
    :raises EcgFileDamaged: a checksum, a length or a value that cannot be.
    :raises EcgFileUnsupported: see above.
    """
    crc, _ = RECORD_HEADER.unpack_from(content)
    if crc_hqx(content[2:], 0xFFFF) != crc:
        raise EcgFileDamaged("the checksum of the file is wrong: copy it again")
    sections = _sections(content)
    try:
        tags = _tags(sections.get(1, b""))
        leads = _leads(sections[3])
        samples, missing = _rhythm(sections[6], leads, _coded(sections.get(2, b"")))
    except KeyError as absent:
        raise EcgFileUnsupported(f"the file has no section {absent}: no rhythm to show") from None
    except struct.error:
        raise EcgFileDamaged("a section is shorter than what it says: copy the file again") from None
    return EcgDocument("scp-ecg", samples, _person(tags), _device(tags), _recorded_at(tags), missing)


def _sections(content: bytes) -> dict[int, bytes]:
    """Id -> what stands behind its header, of the sections that are used here."""
    found = {0: _section(content, 0, _section_length(content), RECORD_HEADER.size)}
    for at in range(0, len(found[0]) - POINTER.size + 1, POINTER.size):
        section, length, index = POINTER.unpack_from(found[0], at)
        if section in (1, 2, 3, 6) and length:
            found[section] = _section(content, section, length, index - 1)
    return found


def _section_length(content: bytes) -> int:
    return int(SECTION_HEADER.unpack_from(content, RECORD_HEADER.size)[2])


def _section(content: bytes, section: int, length: int, start: int) -> bytes:
    if length < SECTION_HEADER.size or start < RECORD_HEADER.size or start + length > len(content):
        raise EcgFileDamaged(f"section {section} lies outside of the file: copy it again")
    crc, said, said_length, *_ = SECTION_HEADER.unpack_from(content, start)
    if (said, said_length) != (section, length) or crc_hqx(content[start + 2 : start + length], 0xFFFF) != crc:
        raise EcgFileDamaged(f"the checksum of section {section} is wrong: copy the file again")
    return content[start + SECTION_HEADER.size : start + length]


# who, when, with what


def _tags(section: bytes) -> dict[int, bytes]:
    """The first of each tag."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 3 <= len(section) and section[at] != NO_MORE:
        tag, length = struct.unpack_from("<BH", section, at)
        found.setdefault(tag, section[at + 3 : at + 3 + length])
        at += 3 + length
    return found


def _person(tags: dict[int, bytes]) -> PersonSaid:
    names = [name for tag in (LAST_NAME, FIRST_NAME) if (name := text_of(tags.get(tag, b"")))]
    age, unit = struct.unpack("<HB", tags[AGE]) if len(tags.get(AGE, b"")) == 3 else (0, 0)
    return PersonSaid(
        name=("" if all(not name.isascii() for name in names) else " ").join(names) or None,
        id_number=text_of(tags.get(PATIENT_ID, b"")),
        sex={b"\x01": "male", b"\x02": "female"}.get(tags.get(SEX, b"")),
        born_on=_date(tags.get(BORN_ON, b"")),
        age_years=age if unit == YEARS and age else None,
    )


def _device(tags: dict[int, bytes]) -> str:
    return text_of(tags.get(DEVICE, b"")[8:14]) or ""


def _date(field: bytes) -> date | None:
    if len(field) != 4:
        return None
    try:
        return date(*struct.unpack("<HBB", field))
    except ValueError:
        return None


def _recorded_at(tags: dict[int, bytes]) -> str | None:
    day, clock = _date(tags.get(DATE, b"")), tags.get(TIME, b"")
    if day is None or len(clock) != 3:
        return None
    try:
        return f"{day}T{time(*clock)}"
    except ValueError:
        return None


# leads and rhythm


def _coded(section: bytes) -> bool:
    """Whether the rhythm is packed with the default code.

    :raises EcgFileUnsupported: it is packed with another one.
    """
    if not section:
        return False
    if struct.unpack_from("<H", section)[0] != DEFAULT_CODE:
        raise EcgFileUnsupported("the file is packed with a code of its own: export it uncompressed")
    return True


def _leads(section: bytes) -> list[_Lead]:
    n_leads, flags = struct.unpack_from("<BB", section)
    if flags & REFERENCE_BEAT_TAKEN_AWAY:
        raise EcgFileUnsupported("a reference beat was taken away from the rhythm: export the file uncompressed")
    leads = []
    for i in range(n_leads):
        first, last, code = LEAD.unpack_from(section, 2 + i * LEAD.size)
        if code not in LEADS:
            raise EcgFileUnsupported(f"a lead of code {code} is not known here")
        leads.append(_Lead(LEADS[code], first, last))
    names = {lead.name for lead in leads}
    if not leads or len(names) != len(leads) or any(lead.last < lead.first for lead in leads):
        raise EcgFileDamaged("the list of leads is empty or contradicts itself: copy the file again")
    return leads


def _rhythm(section: bytes, leads: list[_Lead], coded: bool) -> tuple[Samples, int]:
    """The samples of all leads, those outside of a lead's own range without a value; and how many are missing."""
    nanovolt, interval_us, differences, bimodal = RHYTHM.unpack_from(section)
    if bimodal:
        raise EcgFileUnsupported("the rhythm is thinned out between the beats: export the file uncompressed")
    if not nanovolt or not interval_us or differences > 2:
        raise EcgFileDamaged("no resolution, no rate or an unknown coding of the rhythm: copy the file again")
    lengths = struct.unpack_from(f"<{len(leads)}H", section, RHYTHM.size)
    packed = _cut(section[RHYTHM.size + 2 * len(leads) :], lengths, leads, coded)
    if sum(lead.span for lead in leads) > LARGEST_COUNTS:
        raise EcgFileUnsupported(f"the file announces more than {LARGEST_COUNTS} samples")
    waves = [
        undo(unpacked(part, lead.span) if coded else _plain(part), differences)
        for part, lead in zip(packed, leads, strict=True)
    ]
    counts = _side_by_side(leads, waves)
    missing = max(0, *(lead.span - len(wave) for lead, wave in zip(leads, waves, strict=True)))
    names = tuple(lead.name for lead in leads)
    return Samples("ecg", names, 1e6 / interval_us, 0, 0, counts, nanovolt / 1000, "uV"), missing


def _cut(packed: bytes, lengths: tuple[int, ...], leads: list[_Lead], coded: bool) -> list[bytes]:
    """The bytes of each lead. A u16 that overflowed is put right where the leads' own ranges say how, and fit."""
    for more in (0, 1):  # a first sample of 0 may also be meant so
        whole = tuple(2 * (lead.span + more * (lead.first == 0)) for lead in leads)
        if not coded and sum(whole) <= len(packed) and all(w % 65536 == n for w, n in zip(whole, lengths, strict=True)):
            lengths = whole
            break
    if sum(lengths) > len(packed):
        raise EcgFileDamaged("the rhythm is shorter than what it says: copy the file again")
    ends = np.cumsum(lengths)
    return [packed[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _plain(packed: bytes) -> Counts:
    return np.frombuffer(packed, "<i2", len(packed) // 2).astype(np.int64)


def unpacked(packed: bytes, n: int) -> Counts:
    """``n`` numbers of the default code: m ones, a zero and a sign bit for +-m up to 8; nine ones and a zero before a
    number of 8 bits, ten ones before one of 16. What is left of the last byte is padding.
    """
    bits = (np.unpackbits(np.frombuffer(packed, np.uint8)) + ord("0")).tobytes()
    numbers = np.zeros(min(n, len(bits)), np.int64)
    found = 0
    end = 0
    for symbol in _CODE.finditer(bits):
        if found == n or symbol.start() != end:
            break
        numbers[found] = _number(symbol)
        found, end = found + 1, symbol.end()
    if found < n:
        raise EcgFileDamaged("the packed rhythm ends early: copy the file again")
    return numbers


def _number(symbol: re.Match[bytes]) -> int:
    byte, word = symbol.groups()
    if byte is not None:
        return (int(byte, 2) ^ 0x80) - 0x80
    if word is not None:
        return (int(word, 2) ^ 0x8000) - 0x8000
    size = len(symbol.group()) - 2
    return 0 if size < 0 else size if symbol.group().endswith(b"0") else -size


def undo(numbers: Counts, differences: int) -> Counts:
    """First differences follow one plain number, second differences two."""
    if differences == 2 and len(numbers) > 1:
        numbers = numbers.copy()
        numbers[1] -= numbers[0]
        numbers[1:] = np.cumsum(numbers[1:])
    return np.cumsum(numbers) if differences else numbers


def _side_by_side(leads: list[_Lead], waves: list[Counts]) -> npt.NDArray[np.int16]:
    begin = min(lead.first for lead in leads)
    n = max(lead.first - begin + len(wave) for lead, wave in zip(leads, waves, strict=True))
    if n * len(leads) > LARGEST_COUNTS:
        raise EcgFileUnsupported(f"the leads lie too far apart: more than {LARGEST_COUNTS} samples")
    if not any(len(wave) for wave in waves):
        raise EcgFileDamaged("no sample in the file")
    counts = np.full((n, len(leads)), INVALID_COUNT, np.int16)
    for i, (lead, wave) in enumerate(zip(leads, waves, strict=True)):
        if (np.abs(wave) > -INVALID_COUNT).any():
            raise EcgFileDamaged("a sample out of 16 bits: copy the file again")
        counts[lead.first - begin : lead.first - begin + len(wave), i] = wave
    return counts

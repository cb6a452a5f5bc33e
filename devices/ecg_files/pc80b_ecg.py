"""The files of Creative's hand-held ECGs (PC-80B and relatives): 30 s of one lead in the shape of an SCP-ECG record.

They look like SCP-ECG and are not: samples are plain 12-bit numbers around 2048 where the standard has differences from
zero, and the amplitude they announce (805 nV) is that of the converter's input. Read as the standard says, an R wave is
a quarter of its height and lies 1.6 mV above the line. So they are told by their shape and read here:

=====  ==========================================================================================================
0      CRC and length u32 of the record
6      sections 0 (76 bytes), 1 (32), 2 (30), 3 (28), 6 and 9, one behind the other
82+19  the device's clock: year u16 LE, month, day; +26 hour, minute, second
172    section 6: header 16 bytes, amplitude u16, interval u16 (6666 us: 150 Hz), two bytes, bytes of the lead u16
196    samples u16 LE, 12 bits, 1/330 mV each; 0 and 4095 are the ends of the converter
=====  ==========================================================================================================

The checksums are not looked at: no source says how they are reckoned, and relatives of this device write others than
the standard's. Source: viatomEcho/LepuBle (layout as facts). Not held against a file of a real device.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import datetime

import numpy as np

from devices.ecg_files.document import EcgDocument, EcgFileDamaged, PersonSaid
from devices.readings import INVALID_COUNT, Samples

FORMAT = "pc80b-ecg"
CHANNELS = ("ECG",)
SAMPLE_RATE_HZ = 150.0
RESOLUTION_UV = 1000 / 330
MID_SCALE, FULL_SCALE = 2048, 4095
INTERVAL_US = 6666
SECTIONS = ((0, 6, 76), (1, 82, 32), (2, 114, 30), (3, 144, 28))
"""Id, where it begins, its length: always the same."""
RHYTHM_AT, RHYTHM_HEADER = 172, 24
SHOWN_DATE, SHOWN_TIME = struct.Struct("<HBB"), struct.Struct("<BBB")
DATE_AT, TIME_AT = 82 + 19, 82 + 26


def recognises(content: bytes) -> bool:
    """Its sections are where they always are, and it has their sample interval."""
    if len(content) < RHYTHM_AT + RHYTHM_HEADER:
        return False
    stands = [struct.unpack_from("<HI", content, at + 2) for _, at, _ in SECTIONS]
    wanted = [(section, length) for section, _, length in SECTIONS]
    (interval_us,) = struct.unpack_from("<H", content, RHYTHM_AT + 18)
    return stands == wanted and content[RHYTHM_AT + 2 : RHYTHM_AT + 4] == b"\x06\x00" and interval_us == INTERVAL_US


def read(content: bytes) -> EcgDocument:
    """:raises EcgFileDamaged: it ends before its samples do, or holds none."""
    (n_bytes,) = struct.unpack_from("<H", content, RHYTHM_AT + 22)
    raw = content[RHYTHM_AT + RHYTHM_HEADER :][:n_bytes]
    if not n_bytes or len(raw) < n_bytes or n_bytes % 2:
        raise EcgFileDamaged("the file ends before its samples do: let the device send it again")
    samples = np.frombuffer(raw, "<u2").astype(np.int16) & 0x0FFF
    counts = (samples - MID_SCALE).astype(np.int16)
    counts[(samples == 0) | (samples == FULL_SCALE)] = INVALID_COUNT
    wave = Samples("ecg", CHANNELS, SAMPLE_RATE_HZ, 0, 0, counts.reshape(-1, 1), RESOLUTION_UV, "uV")
    return EcgDocument(FORMAT, wave, PersonSaid(), "PC-80B", _recorded_at(content))


def _recorded_at(content: bytes) -> str | None:
    date, time = SHOWN_DATE.unpack_from(content, DATE_AT), SHOWN_TIME.unpack_from(content, TIME_AT)
    with suppress(ValueError):
        return datetime(*date, *time).isoformat()  # noqa: DTZ001  a device's clock has no zone
    return None

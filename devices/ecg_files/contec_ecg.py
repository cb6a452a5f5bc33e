"""Contec ``.ECG``: the files of the ECG90A and its relatives on their memory, 12 leads at 800 Hz. No checksum.

======  =======  ==================================================================================================
offset  bytes    what it is
======  =======  ==================================================================================================
0       10       number of the case, NUL-terminated
10      22       beginning by the device's clock, ``YYYY-MM-DD HH:MM:SS``, NUL-terminated
32      8        name, NUL-terminated
40      1        sex: 0 female, 1 male, 255 not entered
41      2        age in years, weight in kg; 0: not entered
43      16 each  one scan: eight u16 little-endian, II, III, V1..V6; 5 uV each around 2048; 6800 hex: electrode off
last    37       meaning not known
======  =======  ==================================================================================================

A scan of zeros ends the recording early. I is II - III: it is worked out here, in whole counts and so without loss, for
III, aVR, aVL and aVF follow from I and II on every screen. One public reader takes the first two values for I and II;
the other one was held against the maker's own printout, and is followed here.

Source: RigacciOrg/ecg-contec (layout as facts); not tried on hardware by us.
"""

from __future__ import annotations

import re
from datetime import date, time

import numpy as np
import numpy.typing as npt

from devices.ecg_files.document import EcgDocument, EcgFileDamaged, PersonSaid, text_of
from devices.readings import INVALID_COUNT, Samples

HEADER_BYTES, FOOTER_BYTES, SCAN_BYTES = 43, 37, 16
CHANNELS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLE_RATE_HZ, RESOLUTION_UV, MID_SCALE, FULL_SCALE = 800.0, 5.0, 2048, 4095
ELECTRODE_OFF = 0x6800
FEMALE, MALE = 0, 1
DEVICE = "Contec ECG90A"
_TIME = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\0")


def recognises(content: bytes) -> bool:
    return len(content) > HEADER_BYTES and _TIME.match(content, 10) is not None


def read(content: bytes) -> EcgDocument:
    """
    :raises EcgFileDamaged: cut off, no scan in it, a time that is none or a value that the converter cannot give.
    """
    scans_bytes = len(content) - HEADER_BYTES - FOOTER_BYTES
    if scans_bytes <= 0 or scans_bytes % SCAN_BYTES:
        raise EcgFileDamaged(f"{len(content)} bytes are no whole number of scans: copy the file again")
    values = np.frombuffer(content, "<u2", scans_bytes // 2, HEADER_BYTES).reshape(-1, len(CHANNELS))
    return EcgDocument(
        format="contec-ecg",
        samples=_samples(_before_the_end(values)),
        person=_person(content),
        device_said=DEVICE,
        recorded_said_at=_time(content[10:29]),
    )


def _before_the_end(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    ends = np.flatnonzero((values == 0).all(axis=1))
    return values[: ends[0]] if len(ends) else values


def _samples(values: npt.NDArray[np.uint16]) -> Samples:
    off = values == ELECTRODE_OFF
    if not len(values):
        raise EcgFileDamaged("no scan in the file")
    if ((values > FULL_SCALE) & ~off).any():
        raise EcgFileDamaged("a value that the device's converter cannot give: copy the file again")
    centred = values.astype(np.int16) - np.int16(MID_SCALE)
    ii, iii = centred[:, 0], centred[:, 1]
    counts = np.column_stack([ii - iii, ii, centred[:, 2:]])
    off = np.column_stack([off[:, 0] | off[:, 1], off[:, 0], off[:, 2:]])
    counts[off] = INVALID_COUNT
    return Samples("ecg", CHANNELS, SAMPLE_RATE_HZ, 0, 0, counts, RESOLUTION_UV, "uV")


def _person(content: bytes) -> PersonSaid:
    sex, age = content[40], content[41]
    return PersonSaid(
        name=text_of(content[32:40]),
        sex={FEMALE: "female", MALE: "male"}.get(sex),
        age_years=age or None,
    )


def _time(field: bytes) -> str:
    day, _, clock = field.decode("ascii").partition(" ")
    try:
        return f"{date.fromisoformat(day)}T{time.fromisoformat(clock)}"
    except ValueError:
        raise EcgFileDamaged("the time in the file is none: copy the file again") from None

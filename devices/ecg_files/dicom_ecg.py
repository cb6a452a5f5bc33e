"""DICOM ECG waveforms (PS3.3, A.34 and C.10.9): 12-lead, general and ambulatory ECG of other makers' machines.

Read is the longest group of recorded samples; averaged beats, measurements and the writer's interpretation are not. A
lead is known by its code: MDC (CID 3001), the older SCPECG codes, whose last number is the same, or by its meaning. A
value is raw * sensitivity * correction + baseline (C.10.9.1.4); leads of different sensitivity are brought to the
finest of them, which loses nothing where that divides the others.

Refused in words: mu-law and A-law samples, deflated files, leads without a name we know.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from datetime import date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from devices.ecg_files.document import (
    LARGEST_COUNTS,
    EcgDocument,
    EcgFileDamaged,
    EcgFileRefused,
    EcgFileUnsupported,
    PersonSaid,
    counts_of,
)
from devices.ecg_files.scp_ecg import LEADS
from devices.readings import Samples

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PREAMBLE_BYTES, MAGIC = 128, b"DICM"
DEFLATED = b"1.2.840.10008.1.2.1.99"
UNITS_UV = {"uv": 1, "microvolt": 1, "mv": 1000, "millivolt": 1000, "v": 1_000_000, "volt": 1_000_000}
SAMPLE_TYPES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
NAMES = {name.lower(): name for name in LEADS.values()}
ANYWHERE = "ECG"
_CODED = {"MDC": re.compile(r"2:(\d{1,3})"), "SCPECG": re.compile(r"5\.6\.3-9-(\d{1,3})")}
_MEANING = re.compile(r"(?:lead\s+)?([iv]{1,3}|av[rlf]|v\d{1,2}r?)\b", re.IGNORECASE)
_YEARS = re.compile(r"(\d{3})Y")

Physical = npt.NDArray[np.float64]


def recognises(content: bytes) -> bool:
    return content[PREAMBLE_BYTES : PREAMBLE_BYTES + len(MAGIC)] == MAGIC


def read(content: bytes) -> EcgDocument:
    """
    :raises EcgFileDamaged: cut off, or a value that cannot be.
    :raises EcgFileUnsupported: a good file of something else, or see above.
    """
    if DEFLATED in content[:4096]:
        raise EcgFileUnsupported("the file is packed (deflated): export it unpacked")
    import pydicom  # heavy, and most vans never meet such a file

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its complaints quote what the file says of the person
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _document(pydicom.dcmread(io.BytesIO(content)))
    except EcgFileRefused:
        raise
    except Exception as fault:  # bytes of any shape may stand here, and pydicom trips over them in as many ways
        raise EcgFileDamaged(f"the DICOM file cannot be read ({type(fault).__name__}): copy it again") from None


def _document(data: Dataset) -> EcgDocument:
    groups = [group for group in data.get("WaveformSequence", ()) if group.get("WaveformOriginality") != "DERIVED"]
    if not groups:
        raise EcgFileUnsupported("a DICOM file without a waveform: no ECG to show")
    group = max(groups, key=lambda one: int(one.NumberOfWaveformSamples))
    maker = [str(data.get(name, "")).strip() for name in ("Manufacturer", "ManufacturerModelName")]
    return EcgDocument(
        "dicom-ecg", _samples(group), _person(data), " ".join(part for part in maker if part), _recorded_at(data)
    )


def _samples(group: Dataset) -> Samples:
    channels, rate_hz = list(group.ChannelDefinitionSequence), float(group.SamplingFrequency)
    names = tuple(_name(channel, len(channels)) for channel in channels)
    if len(set(names)) < len(names):
        raise EcgFileUnsupported(f"a lead stands twice in the file: {', '.join(names)}")
    raw, there = _raw(group, len(channels))
    if not 0 < rate_hz < 100_000 or not len(raw):
        raise EcgFileDamaged("no samples, or a rate that cannot be: copy the file again")
    scales = [_scale(channel) for channel in channels]
    counts, resolution_uv = _counts(raw, there, scales)
    return Samples("ecg", names, rate_hz, 0, 0, counts, resolution_uv, "uV")


def _name(channel: Dataset, of: int) -> str:
    """:raises EcgFileUnsupported: no lead that has a name in IEEE 11073-10101"""
    source = channel.ChannelSourceSequence[0]
    coded = _CODED.get(str(source.get("CodingSchemeDesignator", "")))
    found = coded.fullmatch(str(source.get("CodeValue", ""))) if coded else None
    if found and int(found[1]) in LEADS:
        return LEADS[int(found[1])]
    meaning = _MEANING.match(str(source.get("CodeMeaning", "")).strip())
    if meaning and meaning[1].lower() in NAMES:
        return NAMES[meaning[1].lower()]
    if of == 1:
        return ANYWHERE
    raise EcgFileUnsupported(f"a lead we do not know: {source.get('CodeMeaning', '')} {source.get('CodeValue', '')}")


def _raw(group: Dataset, channels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Raw values of shape (n, channels), and where there is one."""
    kind = str(group.WaveformSampleInterpretation)
    if kind not in SAMPLE_TYPES:
        raise EcgFileUnsupported(f"samples written as {kind} are not read here: export as 16-bit")
    samples = int(group.NumberOfWaveformSamples)
    if not 0 < samples * channels <= LARGEST_COUNTS:
        raise EcgFileDamaged(f"{samples} samples of {channels} leads cannot be: copy the file again")
    dtype = np.dtype(f"<{SAMPLE_TYPES[kind]}")
    data = bytes(group.WaveformData)
    size = samples * channels * dtype.itemsize
    if len(data) < size:
        raise EcgFileDamaged(f"{len(data)} bytes of samples, {size} announced: copy the file again")
    raw = np.frombuffer(data[:size], dtype).reshape(samples, channels)
    padding = group.get("WaveformPaddingValue")
    there = np.ones(raw.shape, bool)
    if isinstance(padding, bytes) and len(padding) >= dtype.itemsize:
        there = raw != np.frombuffer(padding[: dtype.itemsize], dtype)[0]
    return raw.astype(np.int64), there


def _scale(channel: Dataset) -> tuple[Fraction, Fraction]:
    """(microvolts of one raw step, microvolts of raw 0), as exact as the decimals in the file."""
    if "ChannelSensitivity" not in channel:
        raise EcgFileUnsupported("the file does not say how large a step of its samples is")
    unit = channel.ChannelSensitivityUnitsSequence[0]
    said = [str(unit.get(name, "")).strip().lower() for name in ("CodeValue", "CodeMeaning")]
    factor = next((UNITS_UV[word] for word in said if word in UNITS_UV), None)
    if factor is None:
        raise EcgFileUnsupported(f"samples in {' '.join(said)}: an ECG is in volts")
    step = _decimal(channel.ChannelSensitivity) * _decimal(channel.get("ChannelSensitivityCorrectionFactor") or 1)
    if step <= 0:
        raise EcgFileDamaged("a step of the samples is not above 0: copy the file again")
    return step * factor, _decimal(channel.get("ChannelBaseline") or 0) * factor


def _counts(
    raw: npt.NDArray[np.int64], there: npt.NDArray[np.bool_], scales: list[tuple[Fraction, Fraction]]
) -> tuple[npt.NDArray[np.int16], float]:
    """(counts, microvolts of one count)"""
    resolution = min(step for step, _ in scales)
    physical: Physical = np.column_stack(
        [raw[:, at] * float(step / resolution) + float(zero / resolution) for at, (step, zero) in enumerate(scales)]
    )
    return counts_of(physical, there, float(resolution))


def _decimal(said: Any) -> Fraction:
    return Fraction(str(said))


# who, when


def _person(data: Dataset) -> PersonSaid:
    name = data.get("PatientName")
    written = [str(name.ideographic).replace("^", ""), str(name.alphabetic).replace("^", " ")] if name else []
    years = _YEARS.fullmatch(str(data.get("PatientAge", "")))
    return PersonSaid(
        name=next((part.strip() for part in written if part.strip()), None),
        id_number=str(data.get("PatientID", "")).strip() or None,
        sex={"M": "male", "F": "female"}.get(str(data.get("PatientSex", ""))),
        born_on=_date(str(data.get("PatientBirthDate", ""))),
        age_years=int(years[1]) if years else None,
    )


def _recorded_at(data: Dataset) -> str | None:
    """As the device's clock stood: the zone, where one is written, is left out."""
    candidates = [str(data.get("AcquisitionDateTime", ""))]
    candidates += [str(data.get(f"{of}Date", "")) + str(data.get(f"{of}Time", "")) for of in ("Content", "Study")]
    for said in candidates:
        if re.match(r"\d{14}", said):
            try:
                return datetime.strptime(said[:14], "%Y%m%d%H%M%S").isoformat()  # noqa: DTZ007 - a device's clock
            except ValueError:
                raise EcgFileDamaged("the time in the file is none: copy the file again") from None
    return None


def _date(said: str) -> date | None:
    if not said:
        return None
    try:
        return date(int(said[:4]), int(said[4:6]), int(said[6:8]))
    except ValueError:
        raise EcgFileDamaged("the date of birth in the file is none: copy the file again") from None

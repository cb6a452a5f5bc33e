"""What an ECG file says: the samples, and beside them what the file claims about person, time and device. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import isfinite

import numpy as np
import numpy.typing as npt

from devices.errors import AskPerson
from devices.readings import INVALID_COUNT, Samples

LARGEST_FILE_BYTES = 16 * 1024 * 1024
"""Half an hour of eight leads at 500 Hz, twice over."""
LARGEST_COUNTS = 8_400_000
"""Samples times leads of one document."""


LARGEST_COUNT = 32_767


class EcgFileRefused(AskPerson):
    """Not an ECG file that is known here."""

    code = "ecg_file_unknown"


class EcgFileDamaged(EcgFileRefused):
    """A checksum, a length or a value is wrong: nothing of it is used."""

    code = "ecg_file_damaged"


class EcgFileUnsupported(EcgFileRefused):
    """A good file of a kind that is not read here."""

    code = "ecg_file_unsupported"


@dataclass(frozen=True, slots=True)
class PersonSaid:
    """Whom the file names; every field is None where it says nothing. Sensitive: never logged."""

    name: str | None = None
    id_number: str | None = None
    sex: str | None = None
    """"male" or "female"."""
    born_on: date | None = None
    age_years: int | None = None

    def __repr__(self) -> str:
        return "PersonSaid(…)"


@dataclass(frozen=True, slots=True)
class EcgDocument:
    """One ECG: ``samples`` is segment 0 from index 0, in uV, of one rate and resolution for all leads."""

    format: str
    """"contec-ecg", "pc80b-ecg", "scp-ecg", "dicom-ecg" or "wfdb"."""
    samples: Samples
    person: PersonSaid
    device_said: str
    """What the file calls the device; empty where it says nothing."""
    recorded_said_at: str | None
    """ISO 8601 without zone, as the device's clock stood."""
    missing_samples: int = 0
    """That the file announces and does not hold: some writers cut off at 65,535 bytes a lead."""

    @property
    def duration_s(self) -> float:
        return len(self.samples.counts) / self.samples.sample_rate_hz


def counts_of(
    steps: npt.NDArray[np.float64], there: npt.NDArray[np.bool_], resolution_uv: float
) -> tuple[npt.NDArray[np.int16], float]:
    """(counts, microvolts of one count) of values given in steps of ``resolution_uv``; made coarser by doubling until
    they fit 16 bits, never cut off.

    :param there: where there is a value; elsewhere the count is ``INVALID_COUNT``
    :raises EcgFileDamaged: a value without end
    """
    largest = float(np.abs(steps[there]).max(initial=0.0))
    if not isfinite(largest) or not isfinite(resolution_uv):
        raise EcgFileDamaged("a value that cannot be: copy the file again")
    while largest > LARGEST_COUNT:
        steps, largest, resolution_uv = steps / 2, largest / 2, resolution_uv * 2
    counts = np.round(np.where(there, steps, 0)).astype(np.int16)
    counts[~there] = INVALID_COUNT
    return counts, resolution_uv


def text_of(field: bytes) -> str | None:
    """Text up to the first NUL: UTF-8, else GB 18030; without control characters, None when nothing is left."""
    raw = field.split(b"\0", 1)[0]
    for encoding in ("utf-8", "gb18030", "latin-1"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    return "".join(letter for letter in text if letter.isprintable()).strip() or None

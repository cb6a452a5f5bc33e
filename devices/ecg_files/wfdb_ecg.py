"""WFDB records as research and some recorders hand them out: a text header (.hea) and signal files beside it.

Formats 16 and 212, one segment, one rate (``wfdb_record``). Leads keep their names where IEEE 11073-10101 has them; a
single lead of any other name is an ECG whose electrodes may be anywhere. Age and sex are read from comments in the form
of the PhysioNet challenges ("# Age: 63").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np

from devices.ecg_files.document import (
    LARGEST_COUNTS,
    EcgDocument,
    EcgFileDamaged,
    EcgFileUnsupported,
    PersonSaid,
    counts_of,
)
from devices.ecg_files.scp_ecg import LEADS
from devices.ecg_files.wfdb_record import RecordRefused, WfdbRecord, parse
from devices.readings import Samples

ANYWHERE = "ECG"
FINEST_UV, COARSEST_UV = 0.001, 10_000.0
"""Steps that a converter for an ECG can have, generously."""
NAMES = {name.lower(): name for name in LEADS.values()}
_HEADER = re.compile(
    rb"(?:\s*#[^\n]*\n)*[A-Za-z0-9_-]+(?:/\d+)?[ \t]+\d+[ \t]+[\d.]+[^\n]*\n(?:\s*#[^\n]*\n)*\S+[ \t]+\d+"
)
_AGE = re.compile(r"#\s*<?age>?\s*:\s*(\d{1,3})\b", re.IGNORECASE)
_SEX = re.compile(r"#\s*<?sex>?\s*:\s*(f|m)(?:emale|ale)?\b", re.IGNORECASE)


def recognises(content: bytes) -> bool:
    """A record line and a signal line, in plain text."""
    return b"\0" not in content[:4096] and _HEADER.match(content[:4096]) is not None


def read(content: bytes, beside: Callable[[str], bytes]) -> EcgDocument:
    """:param beside: the bytes of a file that the header names; raises OSError where there is none

    :raises EcgFileUnsupported: a form or a lead that is not read here, or a file beside it is missing.
    :raises EcgFileDamaged: nothing in it, or a rate that cannot be.
    """
    try:
        record = parse("the header", content.decode("utf-8", errors="replace"), beside)
    except RecordRefused as refused:
        raise EcgFileUnsupported(str(refused)) from None
    except (ValueError, OverflowError):
        raise EcgFileDamaged("a number in the header is none: copy the files again") from None
    return EcgDocument("wfdb", _samples(record), _person(record), "", _begun(record))


def _samples(record: WfdbRecord) -> Samples:
    uv = record.signals_uv
    possible = all(FINEST_UV <= step_uv <= COARSEST_UV for step_uv in record.steps_uv)
    if not 0 < record.sample_rate_hz < 100_000 or uv.size > LARGEST_COUNTS or not possible:
        raise EcgFileDamaged("a rate, a size or a gain that cannot be: copy the files again")
    resolution_uv = min(record.steps_uv)
    counts, resolution_uv = counts_of(uv / resolution_uv, ~np.isnan(uv), resolution_uv)
    return Samples("ecg", _leads(record), record.sample_rate_hz, 0, 0, counts, resolution_uv, "uV")


def _leads(record: WfdbRecord) -> tuple[str, ...]:
    """:raises EcgFileUnsupported: a lead without a name of IEEE 11073-10101, or one that stands twice"""
    named = [NAMES.get(name.strip().lower()) for name in record.names]
    if len(named) == 1:
        return (named[0] or ANYWHERE,)
    if None in named or len(set(named)) < len(named):
        raise EcgFileUnsupported(f"leads that are not known here: {', '.join(record.names)}")
    return tuple(name for name in named if name)


def _person(record: WfdbRecord) -> PersonSaid:
    ages = [found[1] for line in record.comments if (found := _AGE.search(line))]
    sexes = [found[1].lower() for line in record.comments if (found := _SEX.search(line))]
    return PersonSaid(
        sex={"f": "female", "m": "male"}.get(sexes[0]) if sexes else None,
        age_years=int(ages[0]) or None if ages else None,
    )


def _begun(record: WfdbRecord) -> str | None:
    """Where both time and day are written: HH:MM:SS DD/MM/YYYY."""
    if len(record.base) < 2:
        return None
    try:
        begun = datetime.strptime(" ".join(record.base).split(".")[0], "%H:%M:%S %d/%m/%Y")  # noqa: DTZ007
    except ValueError:
        return None
    return begun.isoformat()

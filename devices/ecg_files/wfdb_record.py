"""A WFDB record: header (.hea) and signals of format 16 or 212, also behind a byte offset as in .mat files. Pure.

Source: WFDB header(5) and signal(5). Only what a single-segment record with one rate needs; anything else is refused
with words, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.errors import AskPerson

MICROVOLTS = {"mv": 1000.0, "uv": 1.0, "µv": 1.0, "v": 1e6}
DEFAULT_GAIN_PER_MV = 200.0
_FORMAT = re.compile(r"(?P<format>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?$")
_GAIN = re.compile(r"(?P<gain>[-+.\deE]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?$")


class RecordRefused(AskPerson):
    code = "record_refused"


@dataclass(frozen=True, slots=True)
class WfdbRecord:
    name: str
    sample_rate_hz: float
    names: tuple[str, ...]
    signals_uv: npt.NDArray[np.float64]
    """Shape (n, signals); NaN where the record has no value."""
    steps_uv: tuple[float, ...]
    """Microvolts of one count, of each signal."""
    base: tuple[str, ...] = ()
    """Time and date of the beginning, as the header writes them, where it does."""
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Signal:
    file: str
    format: int
    offset: int
    counts_per_uv: float
    baseline: int
    name: str


def parse(header: str, text: str, beside: Callable[[str], bytes]) -> WfdbRecord:
    """The record of a header.

    :param header: what to call it in messages
    :param beside: the bytes of a file that the header names; raises OSError where there is none
    :raises RecordRefused: missing or short file, a form this reader does not know; the message says which.
    """
    comments = tuple(line.strip() for line in text.splitlines() if line.startswith("#"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise RecordRefused(f"{header}: empty header")
    first = lines[0].split()
    try:
        n_signals = int(first[1])
        sample_rate_hz = float(first[2].split("/")[0]) if len(first) > 2 else 250.0
    except (IndexError, ValueError):
        raise RecordRefused(f"{header}: first line is no WFDB record line: {lines[0]!r}") from None
    if "/" in first[0]:
        raise RecordRefused(f"{header}: records of several segments are not read here; give one of its segments")
    if n_signals < 1 or len(lines) <= n_signals or sample_rate_hz <= 0:
        raise RecordRefused(f"{header}: {n_signals} signals promised, {len(lines) - 1} described")
    signals = [_signal(header, line) for line in lines[1 : n_signals + 1]]
    columns = _columns(header, beside, signals)
    steps_uv = tuple(1 / signal.counts_per_uv for signal in signals)
    named = tuple(signal.name for signal in signals)
    return WfdbRecord(first[0], sample_rate_hz, named, columns, steps_uv, tuple(first[4:6]), comments)


def _signal(header: str, line: str) -> _Signal:
    fields = line.split(maxsplit=8)
    form = _FORMAT.match(fields[1]) if len(fields) > 1 else None
    gain = _GAIN.match(fields[2]) if len(fields) > 2 else None
    if form is None or (len(fields) > 2 and gain is None):
        raise RecordRefused(f"{header}: signal line not understood: {line!r}")
    if int(form["format"]) not in _READERS:
        known = ", ".join(map(str, _READERS))
        raise RecordRefused(f"{header}: signal format {form['format']} is not read here, only {known}")
    if int(form["per_frame"] or 1) != 1 or int(form["skew"] or 0) != 0:
        raise RecordRefused(f"{header}: several samples per frame or skew are not read here")
    unit = (gain["unit"] if gain and gain["unit"] else "mV").lower()
    if unit not in MICROVOLTS:
        raise RecordRefused(f"{header}: unit {unit!r} of {fields[-1]!r} is no voltage")
    counts_per_unit = (float(gain["gain"]) if gain else 0.0) or DEFAULT_GAIN_PER_MV
    adc_zero = int(fields[4]) if len(fields) > 4 else 0
    return _Signal(
        file=fields[0],
        format=int(form["format"]),
        offset=int(form["offset"] or 0),
        counts_per_uv=counts_per_unit / MICROVOLTS[unit],
        baseline=int(gain["baseline"]) if gain and gain["baseline"] else adc_zero,
        name=fields[8] if len(fields) > 8 else f"signal {fields[0]}",
    )


def _columns(header: str, beside: Callable[[str], bytes], signals: list[_Signal]) -> npt.NDArray[np.float64]:
    """All signals in uV side by side; a file holds its signals interleaved, in the order of the header."""
    groups: dict[str, list[_Signal]] = {}
    for signal in signals:
        groups.setdefault(signal.file, []).append(signal)
    of_signal: dict[int, npt.NDArray[np.float64]] = {}
    for file, group in groups.items():
        try:
            stored = beside(file)[group[0].offset :]
        except OSError as fault:
            raise RecordRefused(f"{file}: {fault.strerror}; {header} names it") from None
        values, invalid = _READERS[group[0].format](stored)
        n = len(values) // len(group)
        if n == 0:
            raise RecordRefused(f"{file}: no samples in it")
        table = values[: n * len(group)].reshape(n, len(group)).astype(np.float64)
        table[table == invalid] = np.nan
        for column, signal in enumerate(group):
            of_signal[id(signal)] = (table[:, column] - signal.baseline) / signal.counts_per_uv
    shortest = min(len(column) for column in of_signal.values())
    return np.stack([of_signal[id(signal)][:shortest] for signal in signals], axis=1)


def _format_16(stored: bytes) -> tuple[npt.NDArray[np.int16], int]:
    return np.frombuffer(stored[: len(stored) // 2 * 2], "<i2").astype(np.int16), -32768


def _format_212(stored: bytes) -> tuple[npt.NDArray[np.int16], int]:
    """Two 12-bit two's complement values in three bytes."""
    triples = np.frombuffer(stored[: len(stored) // 3 * 3], np.uint8).reshape(-1, 3).astype(np.int16)
    first = triples[:, 0] | (triples[:, 1] & 0x0F) << 8
    second = triples[:, 2] | (triples[:, 1] & 0xF0) << 4
    values = np.stack([first, second], axis=1).reshape(-1)
    return np.where(values > 2047, values - 4096, values).astype(np.int16), -2048


_READERS: dict[int, Callable[[bytes], tuple[npt.NDArray[np.int16], int]]] = {16: _format_16, 212: _format_212}

"""Where a simulated electrocardiograph gets its eight leads: synthesised, or a WFDB record played in a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from devices.simulators.wfdb_record import RecordRefused, WfdbRecord, read_record

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLE_RATE_HZ = 500

Microvolts = npt.NDArray[np.float64]


class EcgSource(Protocol):
    def next_uv(self, n: int) -> Microvolts:
        """The next n samples of LEADS at SAMPLE_RATE_HZ in uV, shape (n, 8); NaN where no electrode is."""
        ...


# A resting sinus rhythm of an adult: peak of P, Q, R, S, T in uV for each lead (textbook-like proportions).
_PEAKS_UV = np.array(
    [
        [70, -50, 700, -120, 200],
        [130, -80, 1100, -180, 300],
        [60, 0, 250, -950, -80],
        [70, 0, 450, -1400, 450],
        [70, -30, 850, -950, 500],
        [80, -60, 1500, -500, 450],
        [80, -80, 1400, -250, 350],
        [80, -80, 1050, -120, 280],
    ],
    dtype=np.float64,
)
_CENTRES_S = np.array([-0.165, -0.028, 0.0, 0.030, 0.290])
"""From the R peak; T moves with the square root of the beat's length."""
_WIDTHS_S = np.array([0.022, 0.009, 0.011, 0.011, 0.050])
_FIBRILLATION_UV = np.array([25, 40, 85, 50, 30, 20, 20, 20], dtype=np.float64)
_BLOCK = 10 * SAMPLE_RATE_HZ


class SynthesisedEcg:
    """Sinus rhythm with breathing in rate and amplitude, slow baseline wander, a little mains and muscle."""

    def __init__(self, heart_rate_bpm: float = 72.0, seed: int = 8000) -> None:
        self._random = np.random.default_rng(seed)
        self._usual_s = 60.0 / heart_rate_bpm
        self._fibrillating = False
        self._made = 0
        self._beats_s = [0.4]
        self._block = np.empty((0, len(LEADS)))

    def become(self, heart_rate_bpm: float, fibrillating: bool = False) -> None:
        """Another heart from the next sample on; fibrillating atria have no P wave and no beat follows a rhythm."""
        self._usual_s, self._fibrillating = 60.0 / heart_rate_bpm, fibrillating
        self._made -= len(self._block)
        self._beats_s = [beat for beat in self._beats_s if beat <= self._made / SAMPLE_RATE_HZ] or self._beats_s[:1]
        self._block = self._block[:0]

    def next_uv(self, n: int) -> Microvolts:
        while len(self._block) < n:
            self._block = np.concatenate([self._block, self._make(_BLOCK)])
        taken, self._block = self._block[:n], self._block[n:]
        return taken

    def _make(self, n: int) -> Microvolts:
        at_s = (self._made + np.arange(n)) / SAMPLE_RATE_HZ
        self._made += n
        while self._beats_s[-1] < at_s[-1] + 1.0:
            self._beats_s.append(self._beats_s[-1] + self._beat_length_s(self._beats_s[-1]))
        self._beats_s = [beat for beat in self._beats_s if beat > at_s[0] - 2.0]
        wave_uv = self._fibrillation(at_s) if self._fibrillating else np.zeros((n, len(LEADS)))
        peaks_uv = _PEAKS_UV * [0, 1, 1, 1, 1] if self._fibrillating else _PEAKS_UV
        for beat, following in zip(self._beats_s, self._beats_s[1:], strict=False):
            stretch = np.array([1, 1, 1, 1, np.sqrt(following - beat)])
            offsets_s = at_s[:, None] - beat - _CENTRES_S * stretch
            wave_uv += np.exp(-0.5 * (offsets_s / _WIDTHS_S) ** 2) @ peaks_uv.T
        breath = np.sin(2 * np.pi * 0.25 * at_s)[:, None]
        wander_uv = 35 * np.sin(2 * np.pi * 0.13 * at_s[:, None] + np.arange(len(LEADS)))
        mains_uv = 2 * np.sin(2 * np.pi * 50 * at_s)[:, None]
        muscle_uv = self._random.normal(0, 5, (n, len(LEADS)))
        leads_uv: Microvolts = wave_uv * (1 + 0.03 * breath) + wander_uv + mains_uv + muscle_uv
        return leads_uv

    @staticmethod
    def _fibrillation(at_s: npt.NDArray[np.float64]) -> Microvolts:
        """Waves of 5 to 7 a second, largest in V1 beside the right atrium."""
        turns = 6.0 * at_s + 0.4 * np.sin(2 * np.pi * 0.31 * at_s) + 0.2 * np.sin(2 * np.pi * 0.83 * at_s)
        waves_uv: Microvolts = np.sin(2 * np.pi * turns)[:, None] * _FIBRILLATION_UV
        return waves_uv

    def _beat_length_s(self, at_s: float) -> float:
        if self._fibrillating:
            return float(max(0.36, self._usual_s * (1 + self._random.normal(0, 0.22))))
        breathing = 0.035 * np.sin(2 * np.pi * 0.25 * at_s)
        return float(self._usual_s * (1 + breathing + self._random.normal(0, 0.008)))


class RecordedEcg:
    """A WFDB record, resampled to 500 Hz, from its beginning again when it ends. Leads it lacks have no electrode."""

    def __init__(self, record: WfdbRecord) -> None:
        """
        :raises RecordRefused: none of the eight leads is in the record.
        """
        self._leads_uv = _eight_leads(record)
        if np.isnan(self._leads_uv).all():
            names = ", ".join(record.names)
            raise RecordRefused(f"{record.name}: none of the leads {', '.join(LEADS)} in it (it has {names})")
        self._at = 0

    def next_uv(self, n: int) -> Microvolts:
        index = (self._at + np.arange(n)) % len(self._leads_uv)
        self._at = (self._at + n) % len(self._leads_uv)
        return self._leads_uv[index]

    def heart_rate_bpm(self) -> int | None:
        """Of the ten seconds played last, for whatever else shows this heart's pulse; None: no beats are to be seen."""
        window = min(10 * SAMPLE_RATE_HZ, len(self._leads_uv))
        return _rate_bpm(self._leads_uv[(self._at - window + np.arange(window)) % len(self._leads_uv)])


def ecg_source(record: Path | None) -> EcgSource:
    """
    :raises RecordRefused: the record cannot be read or has none of the leads.
    """
    return SynthesisedEcg() if record is None else RecordedEcg(read_record(record))


def _rate_bpm(leads_uv: Microvolts) -> int | None:
    """Mean rate of what is steep in all leads together, to show a pulse that fits; None with fewer than three beats."""
    lag = SAMPLE_RATE_HZ * 12 // 1000
    sums_uv = np.cumsum(np.nan_to_num(leads_uv), axis=0)
    smooth_uv = (sums_uv[lag:] - sums_uv[:-lag]) / lag
    slope = ((smooth_uv[lag:] - smooth_uv[:-lag]) ** 2).sum(axis=1)
    width = SAMPLE_RATE_HZ * 120 // 1000
    steep = np.convolve(slope, np.full(width, 1 / width), "same")
    above = steep > 0.35 * np.percentile(steep, 97)
    beats: list[int] = []
    for at in np.flatnonzero(above[1:] & ~above[:-1]):
        if not beats or at - beats[-1] > SAMPLE_RATE_HZ // 4:
            beats.append(int(at))
    if len(beats) < 3:
        return None
    return round(60 * SAMPLE_RATE_HZ * (len(beats) - 1) / (beats[-1] - beats[0]))


def _eight_leads(record: WfdbRecord) -> Microvolts:
    by_name = {name.upper(): record.signals_uv[:, i] for i, name in enumerate(record.names)}
    if "I" not in by_name and {"II", "III"} <= by_name.keys():
        by_name["I"] = by_name["II"] - by_name["III"]
    missing = np.full(len(record.signals_uv), np.nan)
    leads = [by_name.get(name.upper(), missing) for name in LEADS]
    return np.stack([_resampled(lead, record.sample_rate_hz) for lead in leads], axis=1)


def _resampled(lead_uv: Microvolts, sample_rate_hz: float) -> Microvolts:
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return lead_uv
    n = max(1, int(len(lead_uv) / sample_rate_hz * SAMPLE_RATE_HZ))
    at = np.arange(n) * (sample_rate_hz / SAMPLE_RATE_HZ)
    resampled_uv: Microvolts = np.interp(at, np.arange(len(lead_uv)), lead_uv)
    return resampled_uv

"""ECG recordings made harder, for training and for checks: what hearts, pacemakers, machines and roads do to a trace,
in random measure. The beats of what comes out are still known.

Sources of the bounds: P up to the height of a small QRS (P pulmonale, small QRS of 108); ISO/IEC 60601-2-27 for tall T
waves (1.2 mV beside 1 mV) and pace pulses (2 to 700 mV, 0.1 to 2 ms, here after a monitor's bandwidth); flutter 220 to
340 a minute; 50 and 60 Hz mains; 5 to 40 uV a step. Noise is that of the MIT-BIH Noise Stress Test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import resample_poly

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Record:
    """One lead: ``mv`` float64[n], ``beats`` in samples, stretches of fibrillation that are not judged."""

    name: str
    mv: Floats
    fs_hz: float
    beats: Samples
    fibrillation: tuple[tuple[int, int], ...] = ()
    weight: float = 1.0

    @property
    def qrs_mv(self) -> float:
        """Usual height of its QRS, peak to peak."""
        near = int(0.05 * self.fs_hz)
        return float(np.median([np.ptp(self.mv[max(0, b - near) : b + near]) for b in self.beats[:400]]))

    def piece(self, begin_s: float, seconds: float) -> Record:
        begin, end = round(begin_s * self.fs_hz), round((begin_s + seconds) * self.fs_hz)
        inside = self.beats[(self.beats >= begin) & (self.beats < min(end, len(self.mv)))]
        cut = tuple((a - begin, b - begin) for a, b in self.fibrillation)
        return replace(self, mv=self.mv[begin:end].copy(), beats=inside - begin, fibrillation=cut)


Change = Callable[[Record, np.random.Generator], Record]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Even in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _near_beats(record: Record, core_s: float, edge_s: float) -> Floats:
    """1 around each beat, falling to 0 over ``edge_s``."""
    over, n = np.zeros(len(record.mv)), round((core_s + edge_s) * record.fs_hz)
    t = np.abs(np.arange(-n, n + 1)) / record.fs_hz
    bell = 0.5 + 0.5 * np.cos(np.pi * np.clip((t - core_s) / edge_s, 0, 1))
    for beat in record.beats:
        a, b = max(0, beat - n), min(len(over), beat + n + 1)
        over[a:b] = np.maximum(over[a:b], bell[a - beat + n : b - beat + n])
    return over


def _add(mv: Floats, at: int, wave: Floats) -> None:
    """``wave`` (odd length) added with its middle at ``at``."""
    reach = len(wave) // 2
    if reach < at < len(mv) - reach - 1:
        mv[at - reach : at + reach + 1] += wave


def _bell(record: Record, width_s: float) -> Floats:
    reach = max(2, int(3.5 * width_s * record.fs_hz))
    return np.asarray(np.exp(-((np.arange(-reach, reach + 1) / record.fs_hz / width_s) ** 2) / 2))


def _rr(record: Record) -> Samples:
    return np.diff(record.beats, append=record.beats[-1:] + round(0.8 * record.fs_hz))


def _drift(n: int, low: float, high: float, rng: np.random.Generator) -> Floats:
    """Between two bounds, slowly, beat after beat."""
    return low + (high - low) * (0.5 + 0.5 * np.sin(np.arange(n) / rng.uniform(40, 200) + rng.uniform(0, 6)))


def smaller_qrs(record: Record, rng: np.random.Generator) -> Record:
    """QRS lower and wider beside the person's own P and T."""
    base = gaussian_filter1d(record.mv, 0.4 * record.fs_hz)
    over = _near_beats(record, 0.05, 0.03)
    smooth = gaussian_filter1d(record.mv, rng.uniform(0.004, 0.018) * record.fs_hz)
    mv = record.mv + over * (smooth - record.mv)
    return replace(record, mv=base + (mv - base) * (1 - over * rng.uniform(0.0, 0.65)))


def p_waves(record: Record, rng: np.random.Generator) -> Record:
    """A P wave before each beat, upright, inverted or of two parts, at a distance that drifts."""
    mv, size = record.mv.copy(), between(rng, 0.08, 0.8) * record.qrs_mv * rng.choice([1, 1, -1])
    wave = _bell(record, rng.uniform(0.012, 0.03))
    if rng.random() < 0.25:
        wave = np.gradient(wave) / np.abs(np.gradient(wave)).max()
    first, second = rng.uniform(0.12, 0.3, 2)
    before = np.minimum(_drift(len(record.beats), first, second, rng) * record.fs_hz, 0.45 * np.roll(_rr(record), 1))
    for beat, lead in zip(record.beats, before, strict=True):
        _add(mv, int(beat - lead), size * rng.normal(1, 0.1) * wave)
    return replace(record, mv=mv)


def loose_p_waves(record: Record, rng: np.random.Generator) -> Record:
    """P waves at a rhythm of their own, as in complete heart block."""
    mv, size = record.mv.copy(), between(rng, 0.05, 0.4) * record.qrs_mv
    wave, step = _bell(record, rng.uniform(0.015, 0.03)), rng.uniform(0.5, 0.9) * record.fs_hz
    for at in np.arange(0, len(mv), step):
        _add(mv, int(at + rng.normal(0, 0.01) * record.fs_hz), size * wave)
    return replace(record, mv=mv)


def t_waves(record: Record, rng: np.random.Generator) -> Record:
    mv, size = record.mv.copy(), rng.uniform(0.2, 1.1) * record.qrs_mv * rng.choice([1, 1, -1])
    wave, offset = _bell(record, rng.uniform(0.03, 0.06)), rng.uniform(0.24, 0.38)
    for beat, rr in zip(record.beats, _rr(record) / record.fs_hz, strict=True):
        late = offset * np.sqrt(np.clip(rr, 0.3, 1.2))
        _add(mv, int(beat + late * record.fs_hz), size * rng.normal(1, 0.08) * wave)
    return replace(record, mv=mv)


def pace_pulses(record: Record, rng: np.random.Generator) -> Record:
    """A spike before most beats, one before the P wave where the atrium is paced too; each with its decay."""
    mv, height = record.mv.copy(), between(rng, 0.05, 2.5) * record.qrs_mv * rng.choice([-1, 1])
    sharp = _bell(record, rng.uniform(0.0015, 0.003))
    n = round(0.06 * record.fs_hz)
    decay = np.zeros(2 * n + 1)
    decay[n:] = -rng.uniform(0, 0.2) * np.exp(-np.arange(n + 1) / record.fs_hz / rng.uniform(0.005, 0.02))
    before, atrial = rng.uniform(0.02, 0.07), rng.uniform(0.14, 0.24)
    both, share = rng.random() < 0.4, rng.uniform(0.6, 1)
    for beat in record.beats[rng.random(len(record.beats)) < share]:
        for ahead, size in ((before, height), (before + atrial, 0.5 * height * both)):
            _add(mv, int(beat - ahead * record.fs_hz), size * sharp)
            _add(mv, int(beat - ahead * record.fs_hz), size * decay)
    return replace(record, mv=mv)


def flutter_waves(record: Record, rng: np.random.Generator) -> Record:
    """Atrial waves that never stop: saw teeth of flutter, or the unsteady line of fibrillation."""
    t, size = np.arange(len(record.mv)) / record.fs_hz, between(rng, 0.04, 0.25) * record.qrs_mv
    per_s = rng.uniform(3.7, 5.7) if rng.random() < 0.5 else rng.uniform(5, 8)
    unsteady = np.cumsum(rng.normal(0, 0.02 if per_s < 5 else 0.15, len(t))) / np.sqrt(record.fs_hz) * 6
    phase = 2 * np.pi * per_s * t + unsteady
    return replace(record, mv=record.mv + size / 2 * (np.sin(phase) + 0.4 * np.sin(2 * phase + 1)))


def _blanked(mv: Floats, begin: int, end: int) -> None:
    if 0 < begin < end < len(mv):
        mv[begin:end] = np.linspace(mv[begin - 1], mv[end], end - begin)


def dropped_beats(record: Record, rng: np.random.Generator) -> Record:
    """QRS and T of some beats taken out, P left: each so many, or a few together."""
    mv, every, run = record.mv.copy(), int(rng.integers(2, 12)), int(rng.choice([1, 1, 1, 2, 4]))
    kept = np.ones(len(record.beats), np.bool_)
    for first in range(every, len(record.beats) - run - 1, every * run):
        for index in range(first, first + run):
            beat, following = record.beats[index], record.beats[index + 1]
            end = min(beat + 0.42 * record.fs_hz, following - 0.2 * record.fs_hz)
            _blanked(mv, int(beat - 0.06 * record.fs_hz), int(end))
            kept[index] = False
    return replace(record, mv=mv, beats=record.beats[kept])


def ventricular_beats(record: Record, rng: np.random.Generator) -> Record:
    """Early wide beats of one or two shapes, each in place of the usual beat that would have followed."""
    mv, fs, beats = record.mv.copy(), record.fs_hz, record.beats.copy()
    share = float(rng.choice([0.03, 0.1, 0.45]))
    shapes = []
    for _ in range(int(rng.integers(1, 3))):
        size = between(rng, 0.4, 2.0) * record.qrs_mv * rng.choice([-1, 1])
        shapes.append((size, rng.uniform(0.022, 0.045), rng.uniform(0, 0.6), rng.uniform(0.04, 0.08)))
    previous = -1
    for index in range(1, len(beats) - 1):
        rr = beats[index] - beats[index - 1]
        if index - previous < 2 or rr < 0.45 * fs or rng.random() > share:
            continue
        at = int(beats[index - 1] + max(rng.uniform(0.45, 0.75) * rr, 0.33 * fs))
        _blanked(mv, int(beats[index] - 0.25 * fs), int(beats[index] + 0.3 * fs))
        size, width, second, gap = shapes[int(rng.integers(len(shapes)))]
        _add(mv, at, size * _bell(record, width))
        _add(mv, int(at + (gap + width) * fs), -second * size * _bell(record, width))
        _add(mv, int(at + 0.3 * fs), -0.35 * size * _bell(record, 0.05))
        beats[index], previous = at, index
    return replace(record, mv=mv, beats=beats)


def noisy(noise: Floats, low_db: float, high_db: float) -> Change:
    """Noise at a signal-to-noise ratio by the rule of the Noise Stress Test, in stretches of 20 s to 2 minutes."""
    seconds = noise[: len(noise) // 360 * 360].reshape(-1, 360)
    power = np.sort(seconds.var(1))[len(seconds) // 20 : -(len(seconds) // 20)].mean()

    def change(record: Record, rng: np.random.Generator) -> Record:
        gain = np.sqrt(record.qrs_mv**2 / 8 / (10 ** (rng.uniform(low_db, high_db) / 10) * power))
        on = (np.arange(len(record.mv)) / record.fs_hz // rng.uniform(20, 120)) % 2 == 1
        begin = int(rng.integers(len(noise)))
        return replace(record, mv=record.mv + on * gain * np.resize(np.roll(noise, -begin), len(record.mv)))

    return change


def mains(record: Record, rng: np.random.Generator) -> Record:
    t = np.arange(len(record.mv)) / record.fs_hz
    size = between(rng, 0.02, 0.3) * record.qrs_mv
    return replace(record, mv=record.mv + size * np.sin(2 * np.pi * rng.choice([50, 60]) * t))


def steps(record: Record, rng: np.random.Generator) -> Record:
    """Electrodes that are pulled: a step that decays, every few seconds to minutes."""
    mv, fs = record.mv.copy(), record.fs_hz
    for at in np.cumsum(rng.exponential(between(rng, 6, 60) * fs, 60)).astype(int):
        if at < len(mv):
            t = np.arange(min(len(mv) - at, round(3 * fs))) / fs
            mv[at : at + len(t)] += record.qrs_mv * rng.normal(0, 1.5) * np.exp(-t / between(rng, 0.1, 1.5))
    return replace(record, mv=mv)


def breathing_height(record: Record, rng: np.random.Generator) -> Record:
    """Height that follows breath and posture, and jumps once."""
    t = np.arange(len(record.mv)) / record.fs_hz
    gain = 1 + rng.uniform(0.05, 0.35) * np.sin(2 * np.pi * rng.uniform(0.15, 0.4) * t)
    gain[int(rng.uniform(0.2, 0.8) * len(t)) :] *= between(rng, 0.35, 2.8)
    return replace(record, mv=record.mv * gain)


def upside_down(record: Record, rng: np.random.Generator) -> Record:
    return replace(record, mv=-record.mv)


def coarse(record: Record, rng: np.random.Generator) -> Record:
    """A small signal in large steps."""
    gain, step = between(rng, 0.15, 1) / record.qrs_mv, float(rng.choice([0.005, 0.01, 0.02, 0.04]))
    return replace(record, mv=np.round(record.mv * gain / step) * step)


def other_length(record: Record, rng: np.random.Generator) -> Record:
    """The same beats faster or slower: a child, an athlete."""
    return replace(record, fs_hz=record.fs_hz * between(rng, 0.75, 1.35))


def racing(record: Record, rng: np.random.Generator) -> Record:
    """The same beats half as long: supraventricular tachycardia, a small child."""
    return replace(record, fs_hz=record.fs_hz * between(rng, 1.5, 2.6))


def beatless(fs_hz: float, seconds: float, noises: Mapping[str, Floats], rng: np.random.Generator) -> Record:
    """A line without any beat: a heart that stands still, breath, hum, muscles, at any height."""
    t, mv = np.arange(round(seconds * fs_hz)) / fs_hz, np.zeros(round(seconds * fs_hz))
    for share, wave in (
        (0.9, rng.normal(0, 1, len(t))),
        (0.6, 12 * np.sin(2 * np.pi * rng.uniform(0.15, 0.5) * t)),
        (0.2, np.sin(2 * np.pi * rng.choice([50, 60]) * t)),
        *(
            (0.25, np.resize(np.roll(noise, -int(rng.integers(len(noise)))), len(t)) / noise.std())
            for noise in noises.values()
        ),
    ):
        mv += (rng.random() < share) * between(rng, 0.002, 0.05) * wave
    return Record("beatless", mv, fs_hz, np.array([], np.int64))


def other_rate(record: Record, rng: np.random.Generator) -> Record:
    """Sampled anew at about a rate that devices have."""
    ratio = Fraction(float(rng.choice([125, 200, 250, 500])) / record.fs_hz).limit_denominator(60)
    mv = resample_poly(record.mv, ratio.numerator, ratio.denominator)
    beats = np.round(record.beats * float(ratio)).astype(np.int64)
    cut = tuple((int(a * ratio), int(b * ratio)) for a, b in record.fibrillation)
    return replace(record, mv=mv, fs_hz=record.fs_hz * float(ratio), beats=beats, fibrillation=cut)


def changes(noises: Mapping[str, Floats]) -> tuple[tuple[float, Change], ...]:
    """Each with how often it is taken, in the order in which they are made."""
    return (
        (0.12, dropped_beats),
        (0.15, ventricular_beats),
        (0.35, smaller_qrs),
        (0.45, p_waves),
        (0.08, loose_p_waves),
        (0.25, t_waves),
        (0.2, pace_pulses),
        (0.12, flutter_waves),
        (0.2, breathing_height),
        (0.3, upside_down),
        (0.2, noisy(noises["ma"], 3, 15)),
        (0.15, noisy(noises["bw"], -3, 9)),
        (0.12, steps),
        (0.15, mains),
        (0.15, coarse),
        (0.4, other_length),
        (0.4, other_rate),
    )


def made_harder(record: Record, noises: Mapping[str, Floats], rng: np.random.Generator) -> Record:
    """``record`` with what chance picks of all changes."""
    for share, change in changes(noises):
        if rng.random() < share and len(record.beats) > 8:
            record = change(record, rng)
    return record

"""Synthetic ECGs whose beats are known exactly: sums of Gaussians, P, QRS and T, as in McSharry et al., IEEE Trans
Biomed Eng 2003, but beat by beat. All random numbers from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BeatWave:
    """(offset from R in s, width sigma in s, height in mV) of each wave."""

    waves: tuple[tuple[float, float, float], ...]


NORMAL = BeatWave(
    ((-0.16, 0.022, 0.12), (-0.028, 0.009, -0.12), (0.0, 0.012, 1.0), (0.03, 0.010, -0.22), (0.26, 0.045, 0.28))
)
VENTRICULAR = BeatWave(((-0.02, 0.034, -1.3), (0.07, 0.030, 0.7), (0.30, 0.06, -0.4)))
PACED = BeatWave(((-0.075, 0.0012, 0.3), (0.0, 0.038, -1.1), (0.08, 0.028, 0.35), (0.32, 0.055, 0.5)))
"""A small spike, then a wide left bundle branch beat."""
P_PULMONALE = BeatWave(((-0.18, 0.020, 0.5), (0.0, 0.013, -0.9), (0.04, 0.012, 0.25), (0.28, 0.05, 0.2)))


def regular(bpm: float, seconds: float, first_s: float = 0.5) -> Floats:
    """Times of beats in s."""
    return np.arange(first_s, seconds - 0.6, 60 / bpm)


def trace(
    times_s: Sequence[float] | Floats,
    seconds: float,
    fs_hz: float,
    wave: BeatWave | Sequence[BeatWave] = NORMAL,
    noise_mv: float = 0.005,
    gain: float = 1.0,
    seed: int = 1,
) -> Floats:
    """float64[n] in mV: a beat at each time, a little white noise and breathing."""
    t = np.arange(round(seconds * fs_hz)) / fs_hz
    rng = np.random.default_rng(seed)
    mv = 0.08 * np.sin(2 * np.pi * 0.25 * t) + rng.normal(0, noise_mv, len(t))
    kinds = [wave] * len(times_s) if isinstance(wave, BeatWave) else wave
    for at, kind in zip(times_s, kinds, strict=True):
        for offset, width, height in kind.waves:
            middle = at + offset
            a, b = (max(0, int((middle + k * width) * fs_hz)) for k in (-5, 5))
            mv[a:b] += gain * height * np.exp(-(((t[a:b] - middle) / width) ** 2) / 2)
    return mv


def ventricular_fibrillation(seconds: float, fs_hz: float, mv: float = 0.6, seed: int = 1) -> Floats:
    """float64[n] in mV: one wave of 4 to 6 a second whose rate and height wander, ``mv`` from peak to peak at most, and
    a little noise. Made: no heart was asked."""
    t = np.arange(round(seconds * fs_hz)) / fs_hz
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(0, 2 * np.pi, 3)
    turns = 5.0 * t + 0.9 * np.sin(0.9 * t + a) + 0.3 * np.sin(2.3 * t + b)
    height = 0.5 * mv * (0.75 + 0.25 * np.sin(1.7 * t + c))
    return height * np.sin(2 * np.pi * turns) + rng.normal(0, 0.01, len(t))


TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_SHARES = {"I": 0.75, "II": 1.0, "V1": -0.5, "V2": 0.4, "V3": 0.8, "V4": 1.2, "V5": 1.1, "V6": 0.8}


def twelve_leads(one: Floats, seed: int = 2, noise_mv: float = 0.004) -> Floats:
    """float64[n, 12]: one trace seen by twelve leads that obey Einthoven and Goldberger."""
    rng = np.random.default_rng(seed)
    seen = {name: share * one + rng.normal(0, noise_mv, len(one)) for name, share in _SHARES.items()}
    one_, two = seen["I"], seen["II"]
    seen |= {"III": two - one_, "aVR": -(one_ + two) / 2, "aVL": one_ - two / 2, "aVF": two - one_ / 2}
    return np.stack([seen[name] for name in TWELVE], axis=1)

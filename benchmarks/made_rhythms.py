"""Rhythms made by rule that are irregular and not AF, for learning (`train_ecg_af.py`): float64[n] of RR intervals in
seconds each, from a generator of random numbers."""

from collections.abc import Callable

import numpy as np

Rhythm = Callable[[np.random.Generator, int], np.ndarray]


def breathing(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sinus arrhythmia as of children: a breath every three to seven beats, not quite even, up to a fifth deep."""
    depth, period, skew = rng.uniform(0.03, 0.2), rng.uniform(3, 7), rng.uniform(0, 0.5)
    phase = np.cumsum(2 * np.pi / period * np.exp(rng.normal(0, 0.12, n))) + rng.uniform(0, 2 * np.pi)
    swell = np.exp(np.convolve(rng.normal(0, 0.35, n + 6), np.ones(7) / 7**0.5, "valid"))
    wave = depth * swell * (np.sin(phase) + skew * np.sin(2 * phase))
    return rng.uniform(0.45, 1.1) * (1 + wave + rng.normal(0, rng.uniform(0.005, 0.02), n))


def ectopic(rng: np.random.Generator, n: int) -> np.ndarray:
    """Bi-, tri-, quadri- and quintigeminy, and scattered premature beats, most of them with a pause behind."""
    drift = 0.02 * np.sin(np.arange(n) / rng.uniform(3, 20))
    rr = rng.uniform(0.5, 1.1) * (1 + rng.normal(0, rng.uniform(0.005, 0.03), n) + drift)
    every, early = int(rng.integers(2, 6)), rng.uniform(0.5, 0.85)
    pause = rng.uniform(0.9, 1.0) * (2 - early) if rng.random() < 0.7 else 1.0
    if rng.random() < 0.5:
        at = np.arange(int(rng.integers(0, every)), n - 1, every)
    else:
        at = np.flatnonzero(rng.random(n - 1) < rng.uniform(0.05, 0.25))
    last = -2
    for i in at:
        if i - last >= 2:
            usual = rr[i]
            rr[i], rr[i + 1] = usual * early * rng.normal(1, 0.03), usual * pause * rng.normal(1, 0.02)
            last = i
    return rr


def dropped(rng: np.random.Generator, n: int) -> np.ndarray:
    """Wenckebach (intervals shorten until a beat fails, 3:2 to 6:5), or a regular rhythm with beats missed."""
    rr = rng.uniform(0.5, 1.0) * (1 + rng.normal(0, 0.012, n))
    if rng.random() < 0.5:
        rr[rng.random(n) < rng.uniform(0.01, 0.06)] *= 2
        return rr
    size, i = int(rng.integers(3, 7)), 0
    while i < n:
        group = max(2, size + int(rng.integers(-1, 2)))
        shorter = (1.08 - 0.03 * np.arange(group - 1))[: n - i]
        rr[i : i + len(shorter)] *= shorter
        rr[i + group - 1 : i + group] *= 1.75
        i += group
    return rr


KINDS: tuple[Rhythm, ...] = (breathing, breathing, ectopic, dropped)
"""In the share they are learnt with."""

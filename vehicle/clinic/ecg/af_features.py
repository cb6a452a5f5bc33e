"""Irregularity of windows of RR intervals, as numbers for the heads of ``rhythm.py``. Pure; row i of the answer depends
on row i of the input only, bit for bit, however many rows are asked at once.

Sources of the measures (re-expressed for a window of any length; differences relative to the median RR unless said):
median filter against ectopic beats and pairwise irregularity: Petrenas, Marozas, Sornmo, Comput Biol Med 2015; turning
points and RMSSD/mean: Dash et al., Ann Biomed Eng 2009; cells of the RR/dRR map: Lian et al., Am J Cardiol 2011; sample
entropy of short records: Lake and Moorman, Am J Physiol 2011 (counts only, the trees see their ratio); autocorrelation
over lags of a breath tells sinus arrhythmia from AF: Task Force of ESC/NASPE, Circulation 1996 (HF band).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RR_SHORTEST_S, RR_LONGEST_S = 0.2, 3.0
"""Intervals are clipped to these before anything is measured: 300 and 20 beats a minute."""
FEWEST_RR = 6
"""A window needs as many intervals."""
_PAIR_S = (0.015, 0.03, 0.06)
_LOCAL_LAGS = 7
_BREATH_LAGS = range(1, 9)


def clipped_rr_s(beat_times_s: Floats) -> Floats:
    """The intervals between n beats, n - 1 of them."""
    return np.clip(np.diff(beat_times_s), RR_SHORTEST_S, RR_LONGEST_S)


def median3(rr_s: Floats) -> Floats:
    """Causal median of three: value i from intervals i - 2 .. i; the first one stands for those before it."""
    p = np.concatenate((rr_s[:1], rr_s[:1], rr_s))
    a, b, c = p[:-2], p[1:-1], p[2:]
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _share(mask: npt.NDArray[np.bool_]) -> Floats:
    return np.asarray(mask.sum(1) / mask.shape[1], np.float64)


def _middle(x: Floats) -> Floats:
    return np.asarray(np.sort(x, 1)[:, x.shape[1] // 2], np.float64)


def _distinct(cells: npt.NDArray[np.int64]) -> Floats:
    s = np.sort(cells, 1)
    return np.asarray(((s[:, 1:] != s[:, :-1]).sum(1) + 1) / cells.shape[1], np.float64)


def window_features(rr_s: Floats, smooth_s: Floats) -> dict[str, Floats]:
    """``rr_s``, ``smooth_s``: float64[n, N], windows of N >= ``FEWEST_RR`` clipped intervals and of their ``median3``.
    Returns name -> float64[n], the same names in the same order for every N."""
    r, m = np.ascontiguousarray(rr_s), np.ascontiguousarray(smooth_s)
    if r.shape != m.shape or r.ndim != 2 or r.shape[1] < FEWEST_RR:
        raise ValueError(f"windows of shape {r.shape}: expected (n, {FEWEST_RR} or more) and the same for both")
    s = np.sort(r, 1)
    median = s[:, r.shape[1] // 2]
    rel = r / median[:, None]
    out = _distribution(s, median)
    out |= _differences(r, m, median)
    out |= _pairs(rel, m, median)
    out |= _correlations(rel)
    out |= _maps(r)
    out |= _ectopy(rel)
    return out


def feature_matrix(rr_s: Floats, smooth_s: Floats) -> npt.NDArray[np.float32]:
    """The same as float32[n, features], in the order of ``FEATURES``."""
    f = window_features(rr_s, smooth_s)
    return np.stack([f[name] for name in FEATURES], 1).astype(np.float32)


def _distribution(s: Floats, median: Floats) -> dict[str, Floats]:
    last = s.shape[1] - 1
    out = {"median_s": median}
    for name, share in (("min", 0.0), ("q10", 0.1), ("q25", 0.25), ("q75", 0.75), ("q90", 0.9), ("max", 1.0)):
        out[name] = s[:, int(share * last + 0.5)] / median
    out["gap"] = np.diff(s, axis=1)[:, 1:-1].max(1) / median
    return out


def _differences(r: Floats, m: Floats, median: Floats) -> dict[str, Floats]:
    d, dm = np.diff(r, axis=1), np.abs(np.diff(m, axis=1))
    a = np.abs(d)
    s, n = np.sort(a, 1), a.shape[1]
    mean = r.sum(1) / r.shape[1]
    out = {
        "rmssd": np.sqrt((d * d).sum(1) / n) / mean,
        "rmssd_smooth": np.sqrt((dm * dm).sum(1) / n) / mean,
        "d25": s[:, n // 4] / median,
        "d50": s[:, n // 2] / median,
        "d75": s[:, 3 * n // 4] / median,
        "d90": s[:, int(0.9 * (n - 1))] / median,
        "dm50": _middle(dm) / median,
        "still": _share(a <= 0.01),
        "pnn50": _share(a >= 0.05),
        "bigeminy": (m.sum(1) / r.sum(1) - 1) ** 2,
    }
    for g in (0.02, 0.05, 0.1):
        out[f"d_over_{g:g}"] = _share(a >= g * median[:, None])
    for lag in (2, 3, 4):
        out[f"lag{lag}"] = _middle(np.abs(r[:, lag:] - r[:, :-lag])) / median
    jerk = _middle(np.abs(r[:, 1:-1] - 0.5 * (r[:, :-2] + r[:, 2:])))
    spread = _middle(np.abs(r - median[:, None]))
    out |= {"spread": spread / median, "jerk": jerk / median, "jerk_of_spread": jerk / (spread + 0.004)}
    out["turns"] = _share(d[:, 1:] * d[:, :-1] < 0)
    return out


def _pairs(rel: Floats, m: Floats, median: Floats) -> dict[str, Floats]:
    """Shares of pairs that differ, and of pairs that stay alike at the next beat."""
    n, size = rel.shape
    mrel = m / median[:, None]
    counts = {f"pairs_{g:g}s": np.zeros(n) for g in _PAIR_S}
    counts |= {k: np.zeros(n) for k in ("pairs_rel_0.04", "pairs_rel_0.1", "pairs_smooth_0.05", "local", "local_rel")}
    alike = {g: (np.zeros(n), np.zeros(n)) for g in (0.03, 0.05)}
    local = 0
    for k in range(1, size):
        dm, dr = np.abs(m[:, k:] - m[:, :-k]), np.abs(rel[:, k:] - rel[:, :-k])
        dmr = np.abs(mrel[:, k:] - mrel[:, :-k])
        for g in _PAIR_S:
            counts[f"pairs_{g:g}s"] += (dm >= g).sum(1)
        counts["pairs_rel_0.04"] += (dr >= 0.04).sum(1)
        counts["pairs_rel_0.1"] += (dr >= 0.1).sum(1)
        counts["pairs_smooth_0.05"] += (dmr >= 0.05).sum(1)
        if k <= min(_LOCAL_LAGS, size - 1):
            counts["local"] += (dm >= 0.03).sum(1)
            counts["local_rel"] += (dmr >= 0.04).sum(1)
            local += size - k
        for g, (near, stays) in alike.items():
            e = dr <= g
            near += e[:, :-1].sum(1)
            stays += (e[:, :-1] & e[:, 1:]).sum(1)
    pairs = size * (size - 1) / 2
    out = {k: v / (local if k.startswith("local") else pairs) for k, v in counts.items()}
    for g, (near, stays) in alike.items():
        out[f"alike_{g:g}"] = stays / ((size - 1) * (size - 2) / 2)
        out[f"stays_{g:g}"] = (stays + 0.5) / (near + 1)
    return out


def _correlations(rel: Floats) -> dict[str, Floats]:
    """Autocorrelation, plain and with outliers (ectopic beats, missed beats) held at a fifth from the median."""
    size = rel.shape[1]
    c = rel - rel.sum(1)[:, None] / size
    v = (c * c).sum(1) + 1e-9
    out = {"cv": np.sqrt(v / size)}
    for k in (1, 2, 3):
        out[f"ac{k}"] = (c[:, k:] * c[:, :-k]).sum(1) / v
    h = np.clip(rel - 1, -0.2, 0.2)
    h = h - h.sum(1)[:, None] / size
    w = (h * h).sum(1) + 1e-9
    lags = [k for k in _BREATH_LAGS if k < size - 1]
    held = np.stack([(h[:, k:] * h[:, :-k]).sum(1) / w * (size / (size - k)) for k in lags], 1)
    out |= {"held_ac1": held[:, 0], "held_ac2": held[:, 1]}
    out |= {"held_ac_max": held[:, 1:].max(1), "held_ac_min": held.min(1)}
    out["held_ac_swing"] = np.abs(np.diff(held, axis=1)).sum(1) / held.shape[1]
    return out


def _maps(r: Floats) -> dict[str, Floats]:
    d = np.diff(r, axis=1)
    cells = np.floor(r[:, 1:] / 0.025).astype(np.int64) * 4096 + np.floor(d / 0.025).astype(np.int64)
    return {"cells": _distinct(cells), "bins": _distinct(np.floor(r / 0.05).astype(np.int64))}


def _ectopy(rel: Floats) -> dict[str, Floats]:
    """Early beats with a pause behind them, long and very long intervals (block, a beat missed)."""
    a, b = rel[:, :-1], rel[:, 1:]
    return {
        "early_then_late": _share((a < 0.88) & (b > 1.06)),
        "compensated": _share((a < 0.9) & (np.abs(a + b - 2) < 0.1)),
        "short": _share(rel < 0.85),
        "long": _share(rel > 1.2),
        "very_long": _share(rel > 1.6),
    }


FEATURES = tuple(window_features(np.ones((1, FEWEST_RR)), np.ones((1, FEWEST_RR))))
"""Names in the order of ``feature_matrix``."""

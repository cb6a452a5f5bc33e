"""Is there a P wave before each QRS, or fibrillation in its place? Numbers from beats cut out of one lead, as
``SHAPES`` for the record head (``rhythm.strip_log_odds``). Pure.

Beats are laid over each other at their R peak; the P wave stays in the median of many beats, noise and fibrillatory
waves (4-9 Hz, not locked to the QRS) do not: Slocum et al., Am J Cardiol 1992; Petrenas et al., Physiol Meas 2015.
Said is how big and how steady the wave is before the QRS, against the QRS and T wave of the same beats; nothing here is
a measurement to report. Amplitudes are relative to the QRS and signs do not count, so a lead put on the wrong way round
changes nothing.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRID_HZ = 200
BEFORE_S, AFTER_S = 0.4, 0.45
"""What is cut out around an R peak, on a grid of ``GRID_HZ``."""
POINTS = round((BEFORE_S + AFTER_S) * GRID_HZ) + 1
FEWEST_BEATS = 5
_SMALLEST_QRS_MV = 0.05
_TIME_S = np.arange(POINTS) / GRID_HZ - BEFORE_S


def _between(begin_s: float, end_s: float) -> slice:
    return slice(*np.searchsorted(_TIME_S, (begin_s - 1e-9, end_s + 1e-9)).tolist())


P_WINDOW, T_WINDOW, QRS_WINDOW = _between(-0.28, -0.06), _between(0.12, 0.42), _between(-0.07, 0.07)
WIDE_WINDOW = _between(-0.4, -0.06)
_SHIFTS = range(-12, 13, 2)


def on_grid(fs_hz: float, r_index: float, mv: Floats) -> Floats | None:
    """``mv``: float64[n] of one lead, R peak at ``r_index``. The beat as float64[``POINTS``] by linear interpolation,
    None where ``mv`` does not reach from ``BEFORE_S`` to ``AFTER_S`` or has holes."""
    at = r_index + _TIME_S * fs_hz
    if at[0] < 0 or at[-1] > len(mv) - 1:
        return None
    beat = np.interp(at, np.arange(len(mv)), mv)
    return beat if np.isfinite(beat).all() else None


def _level(x: Floats) -> Floats:
    """Without its straight line, row by row."""
    n = x.shape[1]
    t = np.arange(n) - (n - 1) / 2
    slope = (x * t).sum(1) / (t * t).sum()
    return np.asarray(x - x.mean(1)[:, None] - slope[:, None] * t, np.float64)


def _likeness(rows: Floats, one: Floats) -> Floats:
    """Correlation of each row with ``one``."""
    a, b = rows - rows.mean(1)[:, None], one - one.mean()
    return np.asarray((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum() + 1e-12), np.float64)


def _halves(x: Floats) -> float:
    """Likeness of the medians of every other beat."""
    return float(_likeness(np.median(x[::2], 0)[None], np.median(x[1::2], 0))[0])


def _wave(name: str, x: Floats, qrs_mv: float) -> dict[str, float]:
    """Size and steadiness of what stands in a window, ``x`` float64[beats, points] already levelled."""
    usual = np.median(x, 0)
    alike = np.sort(_likeness(x, usual))
    rest = np.sqrt(((x - usual) ** 2).mean(1))
    size = float(np.sqrt((usual**2).mean()))
    return {
        f"{name}_size": float(np.ptp(usual)) / qrs_mv,
        f"{name}_alike": float(np.median(alike)),
        f"{name}_alike_q25": float(alike[len(alike) // 4]),
        f"{name}_alike_share": float((alike > 0.5).mean()),
        f"{name}_halves": _halves(x),
        f"{name}_rest": float(np.median(rest)) / qrs_mv,
        f"{name}_steady": size / (float(np.median(rest)) + 1e-3 * qrs_mv),
    }


def _jitter_s(x: Floats) -> float:
    """How far the wave before the QRS wanders against its median from beat to beat."""
    usual = np.median(x, 0)
    edge = -_SHIFTS[0]
    core = usual[edge:-edge]
    fits = np.stack([_likeness(x[:, edge + k : x.shape[1] - edge + k], core) for k in _SHIFTS], 1)
    best = np.array(_SHIFTS)[fits.argmax(1)] / GRID_HZ
    return float(np.abs(best - np.median(best)).mean())


def _spectrum(x: Floats) -> dict[str, float]:
    """Where the power is of what differs from beat to beat before the QRS: bins of 3 Hz."""
    rest = _level(x - np.median(x, 0)) * np.hanning(x.shape[1])
    power = np.median(np.abs(np.fft.rfft(rest, axis=1)) ** 2, 0)
    total = float(power[1:14].sum()) + 1e-9
    return {
        "rest_low": float(power[1] / total),
        "rest_fibrillatory": float(power[2:4].sum() / total),
        "rest_high": float(power[6:14].sum() / total),
    }


def shape_features(beats_mv: Floats) -> Floats | None:
    """``beats_mv``: float64[beats, ``POINTS``]. float64[len(``SHAPES``)], None with fewer than ``FEWEST_BEATS``."""
    f = _features(beats_mv)
    return None if f is None else np.array([f[name] for name in SHAPES])


def _features(beats_mv: Floats) -> dict[str, float] | None:
    if len(beats_mv) < FEWEST_BEATS:
        return None
    qrs = beats_mv[:, QRS_WINDOW]
    heights = np.ptp(qrs, axis=1)
    qrs_mv = max(float(np.median(heights)), _SMALLEST_QRS_MV)
    usual = np.median(qrs, 0)
    alike = np.sort(_likeness(qrs, usual))
    p, wide = _level(beats_mv[:, P_WINDOW]), _level(beats_mv[:, WIDE_WINDOW])
    out = _wave("p", p, qrs_mv) | _wave("t", _level(beats_mv[:, T_WINDOW]), qrs_mv)
    out |= _spectrum(wide)
    rest_wide = np.sqrt(((wide - np.median(wide, 0)) ** 2).mean(1))
    usual_p = np.median(p, 0)
    out |= {
        "p_at_s": float(_TIME_S[P_WINDOW][np.abs(usual_p).argmax()]),
        "p_jitter_s": _jitter_s(p),
        "wide_halves": _halves(wide),
        "wide_rest": float(np.median(rest_wide)) / qrs_mv,
        "qrs_alike": float(np.median(alike)),
        "qrs_alike_q10": float(alike[len(alike) // 10]),
        "qrs_unlike": float((alike < 0.8).mean()),
        "qrs_heights": float(np.median(np.abs(heights - np.median(heights)))) / qrs_mv,
        "qrs_mv": qrs_mv,
        "noise": float(np.median(np.abs(np.diff(beats_mv[:, WIDE_WINDOW], n=2, axis=1)))) / qrs_mv,
    }
    out["p_over_t_rest"] = out["p_rest"] / (out["t_rest"] + 1e-3)
    return out


SHAPES = tuple(_features(np.zeros((FEWEST_BEATS, POINTS))) or ())
"""Names in the order of ``shape_features``."""

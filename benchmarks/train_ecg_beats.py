"""Fits the network that judges QRS peaks (``vehicle/clinic/ecg/qrs_judge.json``) to the development records.

    python -m benchmarks.train_ecg_beats ../shared/data/ecg OUT.json [--leave-out 100,101]

Each record is run through the production detector, first with a judge that knows the annotations, then with the network
fitted so far, so that it also learns from the states its own errors lead to. Beside the records as they are: the second
lead, muscle noise and baseline wander, P waves as tall as in P pulmonale and tall T waves (ISO/IEC 60601-2-27 asks for
1.2 mV) added as Gaussians, and the same beats at 0.75 and 1.3 times their length.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import wfdb
from scipy.optimize import minimize

from vehicle.clinic.ecg.intake import Intake
from vehicle.clinic.ecg.qrs import Peak, QrsDetector
from vehicle.clinic.ecg.qrs_judge import Network, features
from vehicle.clinic.ecg.signals import Signals

Floats = npt.NDArray[np.float64]

BEATS = set("NLRBAaJSVrFejnE/fQ?")
HIDDEN, PENALTY, STEPS = 10, 1e-4, 150
PIECE_S, SHORT_S = 0.5, 600
EASY_LOG_ODDS, EASY_SHARE = 5.0, 0.1


@dataclass
class Record:
    name: str
    mv: Floats
    fs_hz: float
    beats: npt.NDArray[np.int64]
    fibrillation: list[tuple[int, int]]
    weight: float = 1.0


def load(folder: Path, name: str, lead: int) -> Record:
    path = str(folder / "mitdb" / name)
    signal = wfdb.rdrecord(path, channels=[lead])
    notes = wfdb.rdann(path, "atr")
    begin, stretches = 0, []
    for sample, symbol in zip(notes.sample, notes.symbol, strict=True):
        if symbol == "[":
            begin = int(sample)
        elif symbol == "]":
            stretches.append((begin, int(sample)))
    beats = notes.sample[[symbol in BEATS for symbol in notes.symbol]]
    return Record(name, np.nan_to_num(signal.p_signal[:, 0]), float(signal.fs), beats, stretches)


def cut(record: Record, mv: Floats, fs_hz: float | None = None, weight: float = 0.4) -> Record:
    n = int(SHORT_S * record.fs_hz)
    return Record(
        record.name, mv[:n], fs_hz or record.fs_hz, record.beats[record.beats < n], record.fibrillation, weight
    )


def qrs_size_mv(record: Record) -> float:
    near = int(0.05 * record.fs_hz)
    return float(np.median([np.ptp(record.mv[max(0, b - near) : b + near]) for b in record.beats[:400]]))


def noisy(record: Record, noise: Floats, ratio_db: float) -> Record:
    """Noise of the MIT-BIH Noise Stress Test at a signal-to-noise ratio by its rule, two minutes on, two off."""
    seconds = noise[: len(noise) // 360 * 360].reshape(-1, 360)
    power = np.sort(seconds.var(1))[len(seconds) // 20 : -(len(seconds) // 20)].mean()
    gain = np.sqrt(qrs_size_mv(record) ** 2 / 8 / (10 ** (ratio_db / 10) * power))
    on = (np.arange(len(record.mv)) / record.fs_hz // 120) % 2 == 1
    return cut(record, record.mv + on * gain * np.resize(noise - noise.mean(), len(record.mv)))


def with_wave(record: Record, offset_s: tuple[float, float], width_s: float, size: float, seed: int) -> Record:
    """A wave of ``size`` times the QRS beside each beat, at a distance that drifts between two bounds."""
    rng = np.random.default_rng(seed)
    mv, fs = record.mv.copy(), record.fs_hz
    reach = int(3 * width_s * fs)
    t = np.arange(-reach, reach + 1) / fs
    wave = size * qrs_size_mv(record) * np.exp(-((t / width_s) ** 2) / 2)
    for index, beat in enumerate(record.beats):
        share = 0.5 + 0.5 * np.sin(index / 150 + seed)
        at = int(beat + (offset_s[0] + share * (offset_s[1] - offset_s[0])) * fs)
        if reach < at < len(mv) - reach:
            mv[at - reach : at + reach + 1] += wave * rng.normal(1, 0.1)
    return cut(record, mv)


def material(folder: Path, names: Sequence[str]) -> list[Record]:
    noises = {k: wfdb.rdrecord(str(folder / "nstdb" / k), physical=False).d_signal[:, 1] * 1.0 for k in ("ma", "bw")}
    out: list[Record] = []
    for index, name in enumerate(names):
        record, second = load(folder, name, 0), load(folder, name, 1)
        out += [record, cut(second, second.mv)]
        kind = index % 4
        if kind == 0:
            out.append(noisy(record, noises["ma"], 6.0))
            out.append(with_wave(record, (-0.24, -0.16), 0.022, 0.3, index))
        elif kind == 1:
            out.append(noisy(record, noises["bw"], 0.0))
            out.append(cut(record, record.mv, record.fs_hz * 0.75))
        elif kind == 2:
            out.append(noisy(second, noises["ma"], 3.0))
            out.append(with_wave(record, (0.24, 0.32), 0.045, 0.6, index))
        else:
            out.append(with_wave(record, (-0.22, -0.14), 0.018, 0.25, index))
            out.append(cut(record, record.mv, record.fs_hz * 1.3))
    return out


class Asked(QrsDetector):
    """A detector that notes what it was asked, and is told the truth when it has no network."""

    def __init__(self, signals: Signals, network: Network | None, true_columns: set[int]) -> None:
        super().__init__(signals, network or (lambda measures: 0.0))
        self.network, self.true_columns = network, true_columns
        self.rows: list[Floats] = []
        self.columns: list[int] = []

    def judged(self, peak: Peak, level: float, now: int) -> float:
        measures = features(self, peak, level, now)
        self.rows.append(measures)
        self.columns.append(peak.column)
        if self.network is not None:
            return self.network(measures)
        return 3.0 if peak.column in self.true_columns else -3.0


def true_columns(record: Record) -> set[int]:
    """The peak of the envelope that stands for each beat."""
    signals = Signals(1, record.fs_hz)
    out: set[int] = set()
    piece, pending = int(PIECE_S * record.fs_hz), list(record.beats // signals.step)
    filled, _ = Intake(1).push(record.mv[:, None], None)
    near, sigma = signals.columns(0.12), 0.06 * signals.rate_hz
    for begin in range(0, filled.shape[1], piece):
        signals.push(filled[:, begin : begin + piece])
        while pending and pending[0] + near + 1 < signals.known_envelope:
            beat = int(pending.pop(0))
            first = max(1, beat - near)
            e = signals.envelope(first - 1, beat + near + 2)
            peaks = np.flatnonzero((e[1:-1] > e[:-2]) & (e[1:-1] >= e[2:])) + 1
            if len(peaks):
                close = np.exp(-(((peaks + first - 1 - beat) / sigma) ** 2) / 2)
                out.add(int(peaks[np.argmax(e[peaks] * close)]) + first - 1)
    return out


def questions(record: Record, network: Network | None) -> tuple[Floats, Floats]:
    """What the detector asked on this record, and the true answers."""
    signals = Signals(1, record.fs_hz)
    truth = true_columns(record)
    detector = Asked(signals, network, truth)
    filled, _ = Intake(1).push(record.mv[:, None], None)
    piece = int(PIECE_S * record.fs_hz)
    for begin in range(0, filled.shape[1], piece):
        signals.push(filled[:, begin : begin + piece])
        detector.advance()
    columns = np.array(detector.columns)
    keep = np.ones(len(columns), np.bool_)
    for begin, end in record.fibrillation:
        keep &= (columns * signals.step < begin - 100) | (columns * signals.step > end + 360)
    answers = np.array([float(column in truth) for column in detector.columns])
    return np.array(detector.rows)[keep], answers[keep]


def fit(x: Floats, y: Floats, w: Floats, seed: int = 0) -> dict[str, object]:
    """Weighted logistic loss by L-BFGS; the parts of a ``Network``."""
    mean, scale = x.mean(0), 1 / (x.std(0) + 1e-6)
    z, n, w = np.clip((x - mean) * scale, -5, 5), x.shape[1], w / w.sum()
    rng = np.random.default_rng(seed)

    def parts(theta: Floats) -> tuple[Floats, Floats, Floats, float]:
        first = HIDDEN * n
        return theta[:first].reshape(HIDDEN, n), theta[first : first + HIDDEN], theta[first + HIDDEN : -1], theta[-1]

    def loss(theta: Floats) -> tuple[float, Floats]:
        hidden, bias, out, offset = parts(theta)
        units = np.tanh(z @ hidden.T + bias)
        odds = units @ out + offset
        value = (w * (np.logaddexp(0, odds) - y * odds)).sum() + PENALTY * ((hidden**2).sum() + (out**2).sum())
        by_odds = w * (1 / (1 + np.exp(-odds)) - y)
        by_units = (by_odds[:, None] * out) * (1 - units * units)
        slopes = [(by_units.T @ z + 2 * PENALTY * hidden).ravel(), by_units.sum(0)]
        return float(value), np.concatenate([*slopes, units.T @ by_odds + 2 * PENALTY * out, [by_odds.sum()]])

    first = np.concatenate([rng.normal(0, 0.2, HIDDEN * n), np.zeros(HIDDEN), rng.normal(0, 0.3, HIDDEN), [0.0]])
    best = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    hidden, bias, out, offset = parts(best.x)
    named = {"mean": mean, "scale": scale, "hidden": hidden, "bias": bias, "out": out}
    return {name: np.round(value, 5).tolist() for name, value in named.items()} | {"offset": round(float(offset), 5)}


def network_of(said: dict[str, object]) -> Network:
    mean, scale, hidden, bias, out = (np.array(said[k], float) for k in ("mean", "scale", "hidden", "bias", "out"))
    return Network(mean, scale, hidden, bias, out, float(said["offset"]))  # type: ignore[arg-type]


def thinned(x: Floats, y: Floats, weight: float, network: Network | None, rng: np.random.Generator) -> list[Floats]:
    """Easy questions are asked once in ten times, with ten times the weight."""
    if network is None:
        easy = (x[:, 0] < -2.2) & (y == 0)
    else:
        odds = np.array([network(row) for row in x])
        easy = ((odds > EASY_LOG_ODDS) & (y == 1)) | ((odds < -EASY_LOG_ODDS) & (y == 0))
    keep = ~easy | (rng.random(len(y)) < EASY_SHARE)
    return [x[keep], y[keep], (np.where(easy, 1 / EASY_SHARE, 1.0) * weight)[keep]]


def train(records: Sequence[Record], rounds: int = 2) -> dict[str, object]:
    rng = np.random.default_rng(0)
    network: Network | None = None
    said: dict[str, object] = {}
    asked: list[list[Floats]] = []
    for turn in range(rounds):
        asked += [thinned(*questions(record, network), record.weight, network, rng) for record in records]
        x, y, w = (np.concatenate(column) for column in zip(*asked, strict=True))
        said = fit(x, y, w)
        network = network_of(said)
        print(f"round {turn + 1}: {len(y)} questions", flush=True)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--leave-out", default="")
    said = parser.parse_args()
    left_out = set(said.leave_out.split(","))
    names = [name for name in (said.data / "mitdb" / "RECORDS").read_text().split() if name not in left_out]
    said.out.write_text(json.dumps(train(material(said.data, names))) + "\n")


if __name__ == "__main__":
    main()

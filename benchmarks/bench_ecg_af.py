"""AF screening against the goals, by the scorer of ../shared/tools/ecg and with its peers in the same run.

    python -m benchmarks.bench_ecg_af [--short | --full]

The rows of the scorer are those of `eval_af.py` on the development records. Two rows are our own, because that scorer
hands over times only: mitdb through the whole chain (beat shapes, P wave; each 30 s is AF where a score of 0.5
or more stood for most of it) and `af_record` on cinc2017. All four sets were also learnt from: figures of people
left out come from `python -m benchmarks.train_ecg_af --check` and `train_ecg_af_stream --check`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from benchmarks.train_ecg_af import CINC_HZ, SHARED, annotated, cinc2017, tool
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import Beat, RhythmAssessment
from vehicle.clinic.ecg.rhythm_summary import AF_FROM, summarise
from vehicle.clinic.ecg.scoring import af_score

OURS = "vehicle.clinic.ecg.scoring:af_score"
PEERS = ("af_peers:petrenas2015_causal", "af_peers:petrenas2015", "af_peers:lian64", "af_peers:rmssd_cv")
PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Size:
    """How much is run: records of the three sets of long recordings, every how many-th record of cinc2017."""

    afdb: str
    nsrdb: str
    mitdb: str
    cinc_every: int


SHORT = Size("04015,08215", "16265", "106,119,201,210", 40)
USUAL = Size("dev", "16265,16420,16539,16786", "dev", 8)
FULL = Size("dev", "dev", "dev", 1)


def scored(callable_: str, db: str, *more: str) -> dict[str, Any]:
    """What `eval_af.py` says of one detector on one set."""
    with tempfile.TemporaryDirectory(prefix="xz-af-") as folder:
        out = Path(folder) / "said.json"
        command = [sys.executable, "eval_af.py", callable_, "--db", db, *more, "--json", str(out)]
        subprocess.run(
            command,
            check=True,
            cwd=SHARED / "tools/ecg",
            env={"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        return dict(json.loads(out.read_text()))


def percent(row: dict[str, float]) -> str:
    return f"Se {row['Se']:6.2f}  Sp {row['Sp']:6.2f}"


def long_recordings(size: Size) -> None:
    print(
        "\nafdb, continuous and causal (goal: win30 Se 97.5, Sp 98.2, <= 0.25 false episodes/h); a lone strip (95/97)"
    )
    for one in (OURS, *PEERS):
        said = scored(one, "afdb", "--records", size.afdb)
        alone = f"lone 30 s {percent(said['spot30'])}"
        print(f"  {one.split(':')[1]:20} {percent(said['win30'])}  {said['fe_per_h']:5.2f}/h  {alone}", flush=True)
    print("\nnsrdb, healthy people (goal: Sp 99.9, <= 0.4 false episodes in 24 h)")
    for one in (OURS, *PEERS):
        said = scored(one, "nsrdb", "--records", size.nsrdb, "--no-spot")
        print(
            f"  {one.split(':')[1]:20} Sp {said['time']['Sp']:6.2f}  {24 * said['fe_per_h']:6.2f} in 24 h", flush=True
        )
    print("\nmitdb, from the times of beats alone")
    for one in (OURS, *PEERS):
        said = scored(one, "mitdb", "--records", size.mitdb, "--no-spot")
        print(f"  {one.split(':')[1]:20} win30 {percent(said['win30'])}", flush=True)


def with_shapes(size: Size) -> None:
    """mitdb, channel 0 in chunks of a second through the chain."""
    import wfdb

    wanted = None if size.mitdb == "dev" else size.mitdb.split(",")
    truth, flagged = [], []
    for db, record, beats, af in annotated():
        if db != "mitdb" or (wanted and record not in wanted):
            continue
        one = wfdb.rdrecord(str(SHARED / "data/ecg/mitdb" / record), channels=[0])
        chain, fs = EcgChain(("II",), one.fs), round(one.fs)
        told = [e for i in range(0, one.sig_len, fs) for e in chain.push(one.p_signal[i : i + fs])] + chain.flush()
        said = [(e.sample / fs, e.score) for e in told if isinstance(e, RhythmAssessment)]
        at, score = np.array(said).T
        for begin in np.arange(beats[0], beats[-1] - 30, 30.0):
            i, j = np.searchsorted(beats, (begin, begin + 30))
            rr = np.diff(beats[i:j])
            stood = np.searchsorted(at, begin + np.arange(30)) - 1
            if len(rr) >= 4 and stood[0] >= 0:
                truth.append((rr * af[i + 1 : j]).sum() >= rr.sum() / 2)
                flagged.append((score[stood] >= AF_FROM).mean() >= 0.5)
    print(f"\nmitdb, with beat shape (goal: Se 95, Sp 93)\n  chain                win30 {rates(truth, flagged)}")


def rates(truth: npt.ArrayLike, flagged: npt.ArrayLike) -> str:
    t, p = np.asarray(truth, bool), np.asarray(flagged, bool)
    return percent({"Se": 100 * p[t].mean() if t.any() else float("nan"), "Sp": 100 * (~p[~t]).mean()})


def per_record(size: Size) -> None:
    """cinc2017, AF against every other rhythm. Each record goes through the chain once; its beats, as times alone, are
    then scored as `eval_af.py` scores them: the mean over time."""
    print("\ncinc2017, per record, AF against normal and other (goal: AUC .95, F1 75)")
    peers = tool("af_peers")
    by_times = {"af_score": af_score, "petrenas2015_causal": peers.petrenas2015_causal}
    scores: dict[str, list[float]] = {name: [] for name in ("af_record", *by_times)}
    labels = []
    for name, label, mv in cinc2017():
        if int(name[1:]) % size.cinc_every == 0:
            labels.append(label == "A")
            chain = EcgChain(("ECG",), CINC_HZ)
            told = chain.push(mv[:, None]) + chain.flush()
            scores["af_record"].append(summarise([e for e in told if isinstance(e, RhythmAssessment)], CINC_HZ).score)
            beats_s = np.array([e.time_s for e in told if isinstance(e, Beat)])
            for one, by in by_times.items():
                scores[one].append(mean_over_time(by, beats_s))
    for one, score in scores.items():
        print(f"  {one:20} {per_person(np.array(labels), np.array(score))}  {len(labels)} records", flush=True)


def mean_over_time(by: Callable[[np.ndarray], np.ndarray], beats_s: np.ndarray) -> float:
    if len(beats_s) < 5:
        return 0.0
    rr = np.diff(beats_s)
    return float((rr * by(beats_s)[1:]).sum() / rr.sum())


def per_person(af: np.ndarray, score: np.ndarray) -> str:
    flagged = score >= AF_FROM
    auc = (rankdata(score)[af].sum() - af.sum() * (af.sum() + 1) / 2) / (af.sum() * (~af).sum())
    return f"AUC {auc:.3f}  F1 {200 * (af & flagged).sum() / (flagged.sum() + af.sum()):5.1f}  {rates(af, flagged)}"


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    ask.add_argument("--short", action="store_true", help="a few records of each set")
    ask.add_argument("--full", action="store_true", help="every record")
    said = ask.parse_args()
    if not (SHARED / "tools/ecg").is_dir():
        print("skipped: no ../shared")
        return
    size = SHORT if said.short else FULL if said.full else USUAL
    long_recordings(size)
    with_shapes(size)
    per_record(size)


if __name__ == "__main__":
    main()

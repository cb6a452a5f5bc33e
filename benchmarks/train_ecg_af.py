"""Where `vehicle/clinic/ecg/af_coefficients.json` comes from: learns the heads of lone strips anew and writes them; the
continuous score is learnt by `train_ecg_af_stream.py`.

    python -m benchmarks.train_ecg_af --cache /tmp/af [--check]

Data: the development half in ../shared/data/ecg (afdb, nsrdb, mitdb by their annotated beats, cinc2017 by the detector
named with --qrs) and made rhythms (`made_rhythms.py`). LightGBM 4.6 does the learning and sleepecg the beats of
cinc2017; both only here: pip install lightgbm sleepecg. --check prints figures of six parts, each learnt on the other
five, never with the same patient on both sides, and writes nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import lzma
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, sosfilt

from benchmarks.made_rhythms import KINDS
from vehicle.clinic.ecg.af_features import FEATURES, clipped_rr_s, feature_matrix, median3
from vehicle.clinic.ecg.p_wave import FEWEST_BEATS, SHAPES, on_grid, shape_features

SHARED = Path(__file__).resolve().parents[2] / "shared"
OUT = Path(__file__).resolve().parents[1] / "vehicle/clinic/ecg/af_coefficients.json"
CINC_HZ = 300.0
PARTS = 6
STRIP_OFFSET = 0.4
"""Added to the strip head: sensitivity 95 % before specificity."""
Qrs = Callable[[np.ndarray, float], np.ndarray]


@dataclass
class Table:
    """Rows to learn from. `patient` keeps one person's rows in one part."""

    x: np.ndarray
    af: np.ndarray
    weight: np.ndarray
    patient: np.ndarray

    def __add__(self, other: Table) -> Table:
        pairs = ((getattr(self, k), getattr(other, k)) for k in ("x", "af", "weight", "patient"))
        return Table(*(np.concatenate(pair) for pair in pairs))


def patient(db: str, record: str) -> str:
    return f"{db}/201" if (db, record) == ("mitdb", "202") else f"{db}/{record}"  # one man


def tool(name: str) -> Any:
    """A module of ../shared/tools/ecg."""
    sys.path.insert(0, str(SHARED / "tools/ecg"))
    return importlib.import_module(name)


def annotated() -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Set, record, beat times in seconds, AF per beat: as the scorer reads them."""
    scorer, splits = tool("eval_af"), tool("splits")
    for db, records in (("afdb", splits.AFDB_DEV), ("nsrdb", splits.NSRDB_DEV), ("mitdb", splits.MITDB_DEV)):
        for record in records:
            beats, af = scorer.load(db, record)
            yield db, record, beats, af


def cinc2017() -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, label and signal in mV of each record that is not noise."""
    folder = SHARED / "data/ecg/cinc2017"
    raw = np.frombuffer(lzma.decompress((folder / "cinc2017.d16.xz").read_bytes()), np.uint8)
    steps = np.empty(len(raw), np.uint8)
    steps[0::2], steps[1::2] = raw[: len(raw) // 2], raw[len(raw) // 2 :]
    for line in (folder / "index.csv").read_text().splitlines()[1:]:
        name, label, offset, n = line.split(",")
        if label != "~":
            part = steps.view("<i2")[int(offset) : int(offset) + int(n)].astype(np.int64)
            yield name, label, np.cumsum(part).astype(np.int16) / 1000.0


def features_of(rr_s: np.ndarray) -> np.ndarray:
    return feature_matrix(rr_s[None], median3(rr_s)[None])[0]


def weighted(parts: dict[str, list[tuple[np.ndarray, np.ndarray, str]]], share: dict[str, float], af: float) -> Table:
    """One table of all sets, each with its share of the weight, AF counted `af` times."""
    tables = []
    for db, rows in parts.items():
        n = sum(len(y) for _, y, _ in rows)
        for x, y, who in rows:
            w = np.full(len(y), share[db] / n) * np.where(y, af, 1.0)
            tables.append(Table(x, y.astype(bool), w, np.full(len(y), who)))
    table = sum(tables[1:], tables[0])
    table.weight /= table.weight.mean()
    return table


def with_made(table: Table, fewest: int, most: int, count: int = 1600, share: float = 0.08, seed: int = 7) -> Table:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        n = int(rng.integers(fewest, most + 1))
        rr = KINDS[i % len(KINDS)](rng, n + 20)[20:]
        rows.append(features_of(np.clip(np.round(rr * 250) / 250, 0.2, 3.0)))
    weight = np.full(count, share * table.weight.sum() / count)
    return table + Table(np.array(rows), np.zeros(count, bool), weight, np.array([f"made/{i}" for i in range(count)]))


def strip_table(beats_of: dict[str, tuple[str, np.ndarray]]) -> Table:
    """30 s strips of the annotated sets (nsrdb: every third) and the records of cinc2017."""
    parts: dict[str, list[tuple[np.ndarray, np.ndarray, str]]] = {"afdb": [], "nsrdb": [], "mitdb": [], "cinc2017": []}
    for db, record, beats, af in annotated():
        xs, ys = [], []
        for begin in np.arange(beats[0], beats[-1] - 30, 90.0 if db == "nsrdb" else 30.0):
            i, j = np.searchsorted(beats, (begin, begin + 30))
            if j - i >= 7:
                rr = np.diff(beats[i:j])
                xs.append(features_of(clipped_rr_s(beats[i:j])))
                ys.append((rr * af[i + 1 : j]).sum() >= rr.sum() / 2)
        parts[db].append((np.array(xs), np.array(ys), patient(db, record)))
    for name, (label, beats) in beats_of.items():
        parts["cinc2017"].append((features_of(clipped_rr_s(beats))[None], np.array([label == "A"]), f"cinc/{name}"))
    table = weighted(parts, {"afdb": 6000, "nsrdb": 2500, "mitdb": 2000, "cinc2017": 10000}, 1.3)
    return with_made(table, 22, 60)


def cut_beats(mv: np.ndarray, beats: np.ndarray, fs_hz: float) -> list[np.ndarray]:
    """Beats around the largest deflection within 80 ms, from the signal at 0.5-40 Hz."""
    clean = sosfilt(butter(2, (0.5, 40), "band", fs=fs_hz, output="sos"), mv - mv[0])
    near, reach = round(0.08 * fs_hz), round(0.7 * fs_hz)
    cut = []
    for at in beats.astype(int):
        part = clean[max(0, at - near) : at + near]
        if len(part) > 5:
            peak = max(0, at - near) + int(np.abs(part - np.median(part)).argmax())
            begin = max(0, peak - reach)
            cut.append(on_grid(fs_hz, peak - begin, clean[begin : peak + reach]))
    return [beat for beat in cut if beat is not None]


def record_table(signals: Iterator[tuple[str, str, np.ndarray]], beats_of: dict[str, tuple[str, np.ndarray]]) -> Table:
    """Records of cinc2017 and 30 s strips of mitdb, channel 0: intervals and shapes."""
    import wfdb

    parts: dict[str, list[tuple[np.ndarray, np.ndarray, str]]] = {"cinc2017": [], "mitdb": []}

    def add(db: str, who: str, beats_s: np.ndarray, cut: list[np.ndarray], af: bool) -> None:
        if len(cut) >= FEWEST_BEATS and len(beats_s) >= 8:
            shapes = shape_features(np.array(cut))
            assert shapes is not None
            row = np.concatenate((features_of(clipped_rr_s(beats_s)), shapes.astype(np.float32)))
            parts[db].append((row[None], np.array([af]), who))

    for name, label, mv in signals:
        if name in beats_of:
            beats = beats_of[name][1]
            add("cinc2017", f"cinc/{name}", beats, cut_beats(mv, beats * CINC_HZ, CINC_HZ), label == "A")
    for db, record, beats, af in annotated():
        if db != "mitdb":
            continue
        one = wfdb.rdrecord(str(SHARED / "data/ecg/mitdb" / record), channels=[0])
        mv, fs = one.p_signal[:, 0], float(one.fs)
        for begin in np.arange(beats[0], beats[-1] - 30, 30.0):
            i, j = np.searchsorted(beats, (begin, begin + 30))
            rr = np.diff(beats[i:j])
            lo, hi = max(0, int((begin - 2) * fs)), int((begin + 32) * fs)
            cut = cut_beats(mv[lo:hi], beats[i:j] * fs - lo, fs)
            add(db, patient(db, record), beats[i:j], cut, bool((rr * af[i + 1 : j]).sum() >= rr.sum() / 2))
    n, m = len(parts["cinc2017"]), len(parts["mitdb"])
    return weighted(parts, {"cinc2017": n, "mitdb": 0.6 * m}, 2.0)


SETTINGS: dict[str, dict[str, Any]] = {
    "strip": {"n_estimators": 260, "min_child_samples": 50, "subsample": 0.6},
    "record": {"n_estimators": 220, "min_child_samples": 40, "subsample": 0.6},
}


def learnt(name: str, table: Table) -> Any:
    import lightgbm

    common = {"learning_rate": 0.06, "num_leaves": 8, "subsample_freq": 1, "colsample_bytree": 0.4, "reg_lambda": 10}
    model = lightgbm.LGBMClassifier(**common, **SETTINGS[name], verbose=-1, n_jobs=1, random_state=1)
    return model.fit(table.x, table.af, sample_weight=table.weight)


def nodes(tree: dict[str, Any]) -> list[list[float]]:
    """A tree as `af_trees.trees_from` reads it."""
    rows: list[list[float]] = []

    def walk(node: dict[str, Any]) -> int:
        at = len(rows)
        rows.append([])
        if "split_feature" not in node:
            rows[at] = [round(node["leaf_value"], 5)]
        else:
            left, right = walk(node["left_child"]), walk(node["right_child"])
            rows[at] = [node["split_feature"], float(f"{node['threshold']:.6g}"), left, right]
        return at

    walk(tree)
    return rows


def head(features: tuple[str, ...], offset: float, model: Any) -> dict[str, Any]:
    """As `af_trees.trees_from` reads it."""
    trees = [nodes(t["tree_structure"]) for t in model.booster_.dump_model()["tree_info"]]
    return {"features": features, "offset": offset, "trees": trees}


def write(version: str, heads: dict[str, dict[str, Any]], stream: dict[str, Any] | None = None) -> None:
    """Puts these into the coefficients, leaves the others as they are. JSON with a line for each tree."""

    def line(value: object) -> str:
        return json.dumps(value, separators=(",", ":"))

    known = json.loads(OUT.read_text("utf-8"))
    parts = []
    for name, one in {**known["heads"], **heads}.items():
        trees = ",\n".join("  " + line(tree) for tree in one["trees"])
        begin = f' "{name}":{{"features":{line(one["features"])},"offset":{one["offset"]},"trees":['
        parts.append(f"{begin}\n{trees}\n ]}}")
    text = f'{{"version":"{version}",\n"stream":{json.dumps(stream or known["stream"])},\n"heads":{{\n'
    OUT.write_text(text + ",\n".join(parts) + "\n}}\n", "utf-8")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


def check(name: str, table: Table, offset: float) -> None:
    """Figures of parts left out."""
    people = np.unique(table.patient)
    part_of = dict(zip(people, np.random.default_rng(5).permutation(len(people)) % PARTS, strict=True))
    part = np.array([part_of[p] for p in table.patient])
    said = np.zeros(len(part))
    for k in range(PARTS):
        rows = part != k
        model = learnt(name, Table(table.x[rows], table.af[rows], table.weight[rows], table.patient[rows]))
        said[~rows] = model.predict(table.x[~rows], raw_score=True) + offset
    sets = np.array([p.split("/")[0] for p in table.patient])
    for db in np.unique(sets):
        af, flagged = table.af[sets == db], said[sets == db] >= 0
        se, sp = 100 * flagged[af].mean() if af.any() else float("nan"), 100 * (~flagged[~af]).mean()
        f1 = 200 * (flagged & af).sum() / max(1, flagged.sum() + af.sum())
        print(f"{name:6} {db:6} {len(af):6} rows  Se {se:6.2f}  Sp {sp:6.2f}  F1 {f1:5.1f}", flush=True)


def cached(folder: Path, name: str, make: Callable[[], Table]) -> Table:
    path = folder / f"{name}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Table(*(kept[k] for k in ("x", "af", "weight", "patient")))
    table = make()
    np.savez(path, x=table.x, af=table.af, weight=table.weight, patient=table.patient)
    return table


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    ask.add_argument("--cache", type=Path, required=True, help="tables are kept here")
    ask.add_argument("--qrs", default="sleepecg:detect_heartbeats", help="module:function(signal_mv, fs) -> samples")
    ask.add_argument("--version", default="2026-11-22")
    ask.add_argument("--check", action="store_true")
    said = ask.parse_args()
    module, function = said.qrs.split(":")
    qrs: Qrs = getattr(importlib.import_module(module), function)
    said.cache.mkdir(parents=True, exist_ok=True)
    signals = list(cinc2017())
    beats_of = {name: (label, np.sort(np.asarray(qrs(mv, CINC_HZ))) / CINC_HZ) for name, label, mv in signals}
    beats_of = {name: (label, beats) for name, (label, beats) in beats_of.items() if len(beats) >= 8}
    tables = {
        "strip": cached(said.cache, "strip", lambda: strip_table(beats_of)),
        "record": cached(said.cache, "record", lambda: record_table(iter(signals), beats_of)),
    }
    offsets = {"strip": STRIP_OFFSET, "record": 0.0}
    names = {"strip": FEATURES, "record": FEATURES + SHAPES}
    if said.check:
        for name, table in tables.items():
            check(name, table, offsets[name])
    else:
        write(said.version, {name: head(names[name], offsets[name], learnt(name, tables[name])) for name in tables})


if __name__ == "__main__":
    main()

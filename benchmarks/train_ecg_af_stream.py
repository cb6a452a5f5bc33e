"""Learns the continuous AF score: `evidence` and `stream` of `vehicle/clinic/ecg/af_coefficients.json`.

    python -m benchmarks.train_ecg_af_stream --cache /tmp/af [--check] [--split 5]

Data as in `train_ecg_af.py`, and a second copy of the annotated recordings with beats missed, beats marked twice and
times on a grid of 125 Hz. The evidence is the mean of the models of `MEMBERS`: each alone is wrong about other people.
More freedom in how it is weighed was tried and is worse on people left out (trees instead of a weighted sum: Se of afdb
lower by 1 to 3 points at the same Sp); separate thresholds for on and off bring nothing.

--check prints, for people left out of everything, what `eval_af.py` would say of scores at every beat, and the weights
found on the way; without it everybody is learnt from and `STREAM` is written, the weights of such a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_rhythms import KINDS
from benchmarks.train_ecg_af import CINC_HZ, PARTS, Table, annotated, cached, cinc2017, nodes, patient, tool, write
from vehicle.clinic.ecg.af_context import SUMS, Context
from vehicle.clinic.ecg.af_features import FEWEST_RR, clipped_rr_s
from vehicle.clinic.ecg.rhythm import EVIDENCE, SPANS_RR, TURNS, evidence_features

HELD_AT = 6.0
STREAM = {
    "now": 0.956,
    "over_8": -0.316,
    "over_40": -0.632,
    "over_300": 0.709,
    "believed": 0.463,
    "few_turns_30": -2.31,
    "few_turns_100": -2.76,
}
"""Logistic regression on the parts left out; few turning points count `TURNS_COUNT` times: afdb and mitdb hardly hold
deep breathing to learn it from, and AF has none of it."""
CONSTANT = 1.54
"""That of the regression, raised by `RAISED`: sensitivity."""
TURNS_COUNT, RAISED = 4.0, 0.4
EVERY = {"afdb": 12, "nsrdb": 40, "mitdb": 2}
"""Every how many-th beat is learnt from."""
SHARE = {"afdb": 8000, "nsrdb": 3500, "mitdb": 2500, "afdb misread": 2500, "nsrdb misread": 1200, "mitdb misread": 800}
AF_COUNTS = 1.2
IN_STACK = {"afdb": 8000, "nsrdb": 3000, "mitdb": 2000}
"""Weight of each set while the sums are weighed."""


@dataclass(frozen=True)
class Member:
    """One model of the evidence: the spans it sees, how much the 4,000 people of cinc2017 weigh, its size."""

    spans: tuple[int, ...]
    cinc2017: float
    leaves: int
    trees: int
    rate: float

    @property
    def columns(self) -> np.ndarray:
        return np.flatnonzero([int(name.rsplit("_", 1)[1]) in self.spans for name in EVIDENCE])


MEMBERS = (
    Member(SPANS_RR, 10000, 3, 200, 0.12),
    Member((20,), 5000, 8, 100, 0.1),
    Member((36,), 5000, 8, 110, 0.1),
)


@dataclass
class Recording:
    """Of a person, at every beat: the truth; from the seventh on evidence and share of turning points."""

    db: str
    record: str
    beats_s: np.ndarray
    af: np.ndarray
    evidence: np.ndarray
    turns: np.ndarray

    def sums(self) -> np.ndarray:
        return Context().push(np.clip(self.evidence, -HELD_AT, HELD_AT), self.turns)


def once(beats_s: np.ndarray, af: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A beat marked twice is one."""
    keep = np.diff(beats_s, prepend=-np.inf) > 0
    return beats_s[keep], af[keep]


def misread(beats_s: np.ndarray, af: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As a worse detector sees it: in stretches of 150 beats up to 5 % missed and 5 % doubled; at 125 Hz."""
    n = len(beats_s)
    stretch, rates = np.arange(n) // 150, np.array([0, 0, 0.01, 0.02, 0.05])
    missed, doubled = (rng.choice(rates, stretch[-1] + 1)[stretch] for _ in range(2))
    keep, rr = rng.random(n) >= missed, np.diff(beats_s, append=beats_s[-1] + 1)
    twice = np.flatnonzero((rng.random(n) < doubled) & (rr > 0.45))
    t = np.concatenate((beats_s[keep], beats_s[twice] + rr[twice] * rng.uniform(0.3, 0.6, len(twice))))
    order = np.argsort(t, kind="stable")
    t, truth = t[order], np.concatenate((af[keep], af[twice]))[order]
    return once(np.sort(np.round((t + rng.normal(0, 0.003, len(t))) * 125) / 125), truth)


def evidence_table(qrs: Callable[[np.ndarray, float], np.ndarray]) -> Table:
    """`weight` without that of cinc2017, which each member sets."""
    rng = np.random.default_rng(11)
    x, af, who, kind = [], [], [], []

    def add(db: str, person: str, beats_s: np.ndarray, truth: np.ndarray, at: np.ndarray) -> None:
        if len(at):
            x.append(evidence_features(clipped_rr_s(beats_s), at - 1))
            af.append(truth[at].astype(bool))
            who.extend([person] * len(at))
            kind.extend([db] * len(at))

    for db, record, beats_s, truth in annotated():
        every = EVERY[db]
        for name, (t, y), step in (
            (db, once(beats_s, truth), every),
            (f"{db} misread", misread(*once(beats_s, truth), rng), 5 * every // 2),
        ):
            add(name, patient(db, record), t, y, np.arange(8 + rng.integers(step), len(t), step))
    for name, label, mv in cinc2017():
        t = np.unique(np.asarray(qrs(mv, CINC_HZ))) / CINC_HZ
        add("cinc2017", f"cinc/{name}", t, np.full(len(t), label == "A"), np.arange(13, len(t), 6))
    for i in range(1600):
        rr = np.clip(np.round(KINDS[i % len(KINDS)](rng, 70) * 250) / 250, 0.2, 3.0)
        add("made", f"made/{i}", np.cumsum(rr), np.zeros(70, bool), np.array([60]))
    sets, weight = np.array(kind), np.zeros(len(kind))
    for db, share in {**SHARE, "cinc2017": 1.0, "made": 1600}.items():
        weight[sets == db] = share / (sets == db).sum()
    return Table(np.concatenate(x), np.concatenate(af), weight, np.array(who))


def learnt(member: Member, table: Table, rows: np.ndarray) -> Any:
    import lightgbm

    weight = table.weight * np.where(table.af, AF_COUNTS, 1.0)
    weight *= np.where(np.char.startswith(table.patient, "cinc/"), member.cinc2017, 1.0)
    size = {"n_estimators": member.trees, "num_leaves": member.leaves, "min_child_samples": 150}
    rest = {
        "learning_rate": member.rate,
        "subsample": 0.4,
        "subsample_freq": 1,
        "colsample_bytree": 0.3,
        "reg_lambda": 10,
    }
    model = lightgbm.LGBMClassifier(**size, **rest, verbose=-1, n_jobs=1, random_state=1)
    x = table.x[rows][:, member.columns]
    return model.fit(x, table.af[rows], sample_weight=weight[rows] / weight[rows].mean())


def as_head(models: list[Any]) -> dict[str, Any]:
    """All members as one set of trees over `EVIDENCE`, each with its part of the mean."""
    trees = []
    for member, model in zip(MEMBERS, models, strict=True):
        for tree in model.booster_.dump_model()["tree_info"]:
            trees.append([moved(node, member.columns) for node in nodes(tree["tree_structure"])])
    return {"features": EVIDENCE, "offset": 0.0, "trees": trees}


def moved(node: list[float], columns: np.ndarray) -> list[float]:
    if len(node) == 1:
        return [round(node[0] / len(MEMBERS), 6)]
    return [int(columns[int(node[0])]), *node[1:]]


def recordings(parts: dict[str, int], models: dict[int, list[Any]]) -> Iterator[Recording]:
    """Each person by the models that did not learn from them, at every beat."""
    for db, record, beats_s, truth in annotated():
        t, af = once(beats_s, truth)
        rr = clipped_rr_s(t)
        ends = np.arange(FEWEST_RR - 1, len(rr))
        x = np.concatenate([evidence_features(rr, part) for part in np.array_split(ends, len(ends) // 4096 + 1)])
        heads = zip(MEMBERS, models[parts[patient(db, record)]], strict=True)
        said = np.mean([model.predict(x[:, member.columns], raw_score=True) for member, model in heads], 0)
        yield Recording(db, record, t, af, said, x[:, TURNS].astype(float))


def weighed(sums: np.ndarray, af: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.01, max_iter=300)
    model.fit(sums, af, sample_weight=weight * np.where(af, AF_COUNTS, 1.0) / weight.mean())
    turns = [name.startswith("few_turns") for name in SUMS]
    return model.coef_[0] * np.where(turns, TURNS_COUNT, 1.0), float(model.intercept_[0])


def stack(people: list[Recording]) -> tuple[np.ndarray, float]:
    """Weights of `SUMS` and the constant, from every fifth beat."""
    sums, af, weight = [], [], []
    for one in people:
        seconds = np.minimum(np.diff(one.beats_s)[FEWEST_RR - 1 :], 5)
        total = sum(np.minimum(np.diff(p.beats_s), 5).sum() for p in people if p.db == one.db)
        sums.append(one.sums()[::5])
        af.append(one.af[FEWEST_RR:][::5].astype(bool))
        weight.append(seconds[::5] * IN_STACK[one.db] / total)
    return weighed(np.concatenate(sums), np.concatenate(af), np.concatenate(weight))


def check(table: Table, split: int) -> None:
    rng = np.random.default_rng(split)
    people = np.unique(table.patient)
    parts: dict[str, int] = {}
    for db in ("afdb", "nsrdb", "mitdb", "cinc", "made"):
        of = [p for p in people if p.startswith(db + "/")]
        parts.update({str(p): i % PARTS for i, p in enumerate(rng.permutation(of))})
    part = np.array([parts[str(p)] for p in table.patient])
    models = {k: [learnt(member, table, part != k) for member in MEMBERS] for k in range(PARTS)}
    found = list(recordings(parts, models))
    scores: dict[str, np.ndarray] = {}
    for k in range(PARTS):
        weights, constant = stack([one for one in found if parts[patient(one.db, one.record)] != k])
        for one in found:
            if parts[patient(one.db, one.record)] == k:
                scores[one.record] = np.concatenate((np.full(FEWEST_RR, -9.0), one.sums() @ weights + constant))
    weights, constant = stack(found)
    print({name: round(float(w), 2) for name, w in zip(SUMS, weights, strict=True)}, round(constant, 2))
    for raised in (0.0, RAISED):
        for db in ("afdb", "nsrdb", "mitdb"):
            print(f"raised {raised}  {db:6} {left_out([o for o in found if o.db == db], scores, -raised)}", flush=True)


def left_out(people: list[Recording], scores: dict[str, np.ndarray], limit: float) -> str:
    """As `eval_af.py` counts: seconds, and flagged stretches of 30 s or more that are mostly not AF."""
    scorer = tool("eval_af")
    seconds, false, hours, each = np.zeros(4), 0, 0.0, []
    for one in people:
        rr, flagged = np.minimum(np.diff(one.beats_s, prepend=one.beats_s[0]), 5), scores[one.record] >= limit
        counted = scorer.conf(one.af, flagged, rr)
        for i, j in scorer.runs(flagged):
            long = one.beats_s[j - 1] - one.beats_s[i] >= 30
            false += bool(long and rr[i:j][one.af[i:j] == 1].sum() < 0.5 * rr[i:j].sum())
        hours += rr[one.af == 0].sum() / 3600
        seconds += counted
        each.append(f"{one.record} {rates(counted)}")
    return f"{rates(seconds)}  {false} false in {hours:.1f} h, {false / hours:.3f}/h\n    " + "  ".join(each)


def rates(seconds: np.ndarray) -> str:
    hit, missed, false, left = seconds
    return f"Se {100 * hit / max(hit + missed, 1e-9):.2f} Sp {100 * left / max(left + false, 1e-9):.2f}"


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    ask.add_argument("--cache", type=Path, required=True, help="the table is kept here")
    ask.add_argument("--version", default="2026-11-22.2")
    ask.add_argument("--check", action="store_true")
    ask.add_argument("--split", type=int, default=5, help="another number, other parts")
    said = ask.parse_args()
    import sleepecg

    said.cache.mkdir(parents=True, exist_ok=True)
    table = cached(said.cache, "evidence", lambda: evidence_table(sleepecg.detect_heartbeats))
    if said.check:
        check(table, said.split)
    else:
        models = [learnt(member, table, np.ones(len(table.af), bool)) for member in MEMBERS]
        stream = {"weights": STREAM, "constant": CONSTANT, "held_at": HELD_AT}
        write(said.version, {"evidence": as_head(models)}, stream)


if __name__ == "__main__":
    main()

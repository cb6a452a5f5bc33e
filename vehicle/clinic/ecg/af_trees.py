"""Gradient-boosted trees as arrays, and the coefficients of the AF heads (``af_coefficients.json``, written by
``benchmarks/train_ecg_af.py``). Evaluation is a table walk: no library, the same bits for one row as for many.
"""

import functools
import json
import math
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.af_context import SUMS

Floats = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Trees:
    """A head: the sum over its trees of the leaf a row of features ends in, plus ``offset``: log odds of AF."""

    features: tuple[str, ...]
    offset: float
    feature: npt.NDArray[np.intp]
    """[trees, nodes]: which column a node asks."""
    limit: Floats
    """[trees, nodes]: a row goes left where its feature is <= limit. A leaf holds +inf and points at itself."""
    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    value: Floats
    depth: int

    def log_odds(self, x: npt.NDArray[np.float32]) -> Floats:
        """``x``: float32[n, features] -> float64[n]."""
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise ValueError(f"features of shape {x.shape}: expected (n, {len(self.features)})")
        parts = [self._walk(x[i : i + _ROWS_AT_ONCE]) for i in range(0, len(x), _ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _walk(self, x: npt.NDArray[np.float32]) -> Floats:
        rows, trees = np.arange(len(x))[:, None], np.arange(len(self.value))[None, :]
        node = np.zeros((len(x), len(self.value)), np.intp)
        for _ in range(self.depth):
            goes_left = x[rows, self.feature[trees, node]] <= self.limit[trees, node]
            node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
        total = np.full(len(x), self.offset)
        leaves = self.value[trees, node]
        for k in range(leaves.shape[1]):  # one order of adding, whatever the number of rows
            total += leaves[:, k]
        return total


@dataclass(frozen=True)
class StreamHead:
    """Weights of the continuous score over ``af_context.SUMS``, in their order."""

    weights: Floats
    constant: float
    held_at: float
    """Log odds of the evidence are held at this before they are summed up."""


@dataclass(frozen=True)
class Coefficients:
    """Everything learnt, with ``version``: it goes into every finding."""

    version: str
    evidence: Trees
    strip: Trees
    record: Trees
    stream: StreamHead


def probability(log_odds: float) -> float:
    """0..1, without overflow for any finite input."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    e = math.exp(log_odds)
    return e / (1 + e)


def trees_from(head: dict[str, Any]) -> Trees:
    """``head``: {"features", "offset", "trees"}; a tree is a list of nodes [feature, limit, left, right] or [value]."""
    trees = head["trees"]
    size = max(len(t) for t in trees)
    shape = (len(trees), size)
    feature, left, right = (np.zeros(shape, np.intp) for _ in range(3))
    limit, value = np.full(shape, np.inf), np.zeros(shape)
    for i, tree in enumerate(trees):
        for j, node in enumerate(tree):
            if len(node) == 1:
                value[i, j], left[i, j], right[i, j] = node[0], j, j
            else:
                feature[i, j], limit[i, j], left[i, j], right[i, j] = node
    depth = max(_depth(tree, 0) for tree in trees)
    return Trees(tuple(head["features"]), float(head["offset"]), feature, limit, left, right, value, depth)


def _depth(tree: list[list[float]], node: int) -> int:
    if len(tree[node]) == 1:
        return 0
    return 1 + max(_depth(tree, int(tree[node][2])), _depth(tree, int(tree[node][3])))


@functools.cache
def coefficients() -> Coefficients:
    """What ships with the program; read once."""
    text = resources.files("vehicle.clinic.ecg").joinpath("af_coefficients.json").read_text("utf-8")
    table = json.loads(text)
    stream = table["stream"]
    weighed = StreamHead(np.array([stream["weights"][name] for name in SUMS]), stream["constant"], stream["held_at"])
    evidence, strip, record = (trees_from(table["heads"][k]) for k in ("evidence", "strip", "record"))
    return Coefficients(table["version"], evidence, strip, record, weighed)

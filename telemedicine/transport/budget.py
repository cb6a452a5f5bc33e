"""One budget for all that leaves the van, divided by rank and weight (the idea of RFC 8699: flows that share a
bottleneck share one congestion state, and the sender says which of them matters more)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BARE_BIT_S = 50_000.0
"""With less than this there is no picture at all: a still now and then is sent by other means."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One stream. ``copies`` viewers get it, each copy costs the same. Rank 0 is served before rank 1.

    ``least_bit_s``: rather than get less than this it is paused, unless it is the only one left. Rates per copy, on
    the wire.
    """

    name: str
    copies: int
    rank: int
    weight: float
    least_bit_s: float
    most_bit_s: float


def divide(budget_bit_s: float, demands: Sequence[Demand]) -> dict[str, float]:
    """Rate per copy in bit/s for each stream, 0 for one that is paused.

    The least rates are given first, by rank; what is left goes by weight among those that run, up to their most. The
    sum over all copies never exceeds the budget.
    """
    given = {demand.name: 0.0 for demand in demands}
    left = max(0.0, budget_bit_s)
    running: list[Demand] = []
    for demand in sorted(demands, key=lambda demand: demand.rank):
        cost = demand.least_bit_s * demand.copies
        if demand.copies <= 0 or demand.most_bit_s <= 0:
            continue
        if cost > left:
            if not running and left >= BARE_BIT_S * demand.copies:
                given[demand.name] = left / demand.copies
                return given
            continue
        given[demand.name] = demand.least_bit_s
        left -= cost
        running.append(demand)
    while running and left > 1.0:
        total = sum(demand.weight for demand in running)
        if total <= 0:
            break
        shared, spent = left, 0.0
        for demand in tuple(running):
            share = shared * demand.weight / total
            wanted = (demand.most_bit_s - given[demand.name]) * demand.copies
            taken = min(share, wanted)
            given[demand.name] += taken / demand.copies
            spent += taken
            if taken >= wanted:
                running.remove(demand)
        left -= spent
        if spent < 1.0:
            break
    return given

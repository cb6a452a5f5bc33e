"""The live consultation over a bad radio: the project against plain aiortc, in the same run, through an emulated link.

``python -m benchmarks.bench_media [scenario ...] [--times N] [--only project]``. The receiver is a headless Chromium in
another network namespace, which reads the clock that is painted into each picture: latency is from the paint to the
screen. As root; needs chromium. Plots of latency over time are written to docs/media/.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.latency_plot import plot
from benchmarks.link import possible
from benchmarks.media_run import CHROMIUM, Scenario, Seen, Stage, run

PLOTS = Path(__file__).resolve().parent.parent / "docs" / "media"
OUTER, OTHER_OUTER, OTHER_OWN = "100.64.0.10", "100.64.9.20", "10.213.77.9"
LOW_FROM_S, LOW_UNTIL_S, DROP_S = 3.0, 23.0, 38.0
EVENT_S, OUTAGE_S = 5.0, 3.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a scenario's table; ``goal`` is the most (or with ``at_least`` the least) that is good."""

    what: str
    of: Callable[[Seen], float]
    unit: str
    goal: float | None = None
    at_least: bool = False


def middle(values: Sequence[float]) -> float:
    return values[len(values) // 2] if values else float("inf")


def part(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


def _rate(bit_s: float) -> Callable[[Stage], None]:
    return lambda stage: stage.link.set("up", rate_bit_s=bit_s)


def _tell(command: str) -> Callable[[Stage], None]:
    def told(stage: Stage) -> None:
        stage.link.tell(command)

    return told


def _base_ms(seen: Seen) -> float:
    return middle(seen.ages_ms(-3.0, LOW_FROM_S))


def drop(low_bit_s: float, most_ms: float) -> tuple[Scenario, list[Figure]]:
    words = f"{low_bit_s / 1e6:g}"
    scenario = Scenario(
        f"drop{words}", f"20 → {words} → 20 Mbit/s", DROP_S,
        [(LOW_FROM_S, f"{words} Mbit/s", _rate(low_bit_s)), (LOW_UNTIL_S, "20 Mbit/s", _rate(20e6))],
    )  # fmt: skip
    low, high = LOW_FROM_S, LOW_UNTIL_S
    return scenario, [
        Figure("entered with", lambda seen: seen.picture_bit_s(0, low) / 1e6, "Mbit/s", 4.0, at_least=True),
        Figure("oldest picture", lambda seen: part(seen.ages_ms(low, high), 1.0), "ms", most_ms),
        Figure("above base + 100 ms", lambda seen: seen.late_s(low, high, _base_ms(seen) + 100), "s", 1.5),
        Figure("the same after", lambda seen: seen.late_s(high + 0.5, DROP_S, _base_ms(seen) + 100), "s", 0.0),
        Figure(
            "rate while low",
            lambda seen: 100 * seen.picture_bit_s(low + 3, high) / low_bit_s,
            "% of the link",
            60,
            True,
        ),
        Figure("rate 10 s after", lambda seen: seen.picture_bit_s(high + 9, high + 11) / 1e6, "Mbit/s", 4.0, True),
        Figure("ECG p95 while low", lambda seen: part(seen.ecg_ms(low, high), 0.95), "ms", 200),
        Figure("longest gap", lambda seen: 1000 * seen.longest_gap_s(low, DROP_S), "ms"),
    ]


def steady() -> tuple[Scenario, list[Figure]]:
    scenario = Scenario("steady", "50 Mbit/s, 0.1 % lost", 20.0, rate_bit_s=50e6, share_lost=0.001)
    return scenario, [
        Figure("latency, median", lambda seen: middle(seen.ages_ms(0, 20)), "ms", 60),
        Figure("latency, p95", lambda seen: part(seen.ages_ms(0, 20), 0.95), "ms", 85),
        Figure("longest gap", lambda seen: 1000 * seen.longest_gap_s(0, 20), "ms"),
        Figure("pictures", lambda seen: len(seen.ages_ms(0, 20)) / 20, "per s"),
        Figure("rate", lambda seen: seen.picture_bit_s(0, 20) / 1e6, "Mbit/s"),
        Figure("ECG p95", lambda seen: part(seen.ecg_ms(0, 20), 0.95), "ms"),
        Figure("CPU of the van", lambda seen: seen.cpu, "cores"),
    ]


def loss() -> tuple[Scenario, list[Figure]]:
    def bursts(stage: Stage) -> None:
        stage.link.set("up", share=0.0, burst_share=0.04 / 8, burst=8)

    def random_loss(stage: Stage) -> None:
        stage.link.set("up", share=0.05)

    scenario = Scenario(
        "loss", "5 % lost at random, then bursts of 8", 36.0,
        [(6.0, "5 % at random", random_loss), (21.0, "bursts of 8, 4 %", bursts)],
    )  # fmt: skip
    return scenario, [
        Figure("latency, median (random)", lambda seen: middle(seen.ages_ms(7, 21)), "ms", 90),
        Figure("latency, p95 (random)", lambda seen: part(seen.ages_ms(7, 21), 0.95), "ms", 180),
        Figure("latency, median (bursts)", lambda seen: middle(seen.ages_ms(22, 36)), "ms", 90),
        Figure("latency, p95 (bursts)", lambda seen: part(seen.ages_ms(22, 36), 0.95), "ms", 180),
        Figure("longest gap", lambda seen: 1000 * seen.longest_gap_s(6, 36), "ms", 250),
        Figure(
            "rate kept",
            lambda seen: 100 * seen.picture_bit_s(8, 36) / max(1.0, seen.picture_bit_s(0, 6)), "%", 60, at_least=True,
        ),
        Figure("ECG p95", lambda seen: part(seen.ecg_ms(7, 36), 0.95), "ms"),
    ]  # fmt: skip


def outage() -> tuple[Scenario, list[Figure]]:
    back_s = EVENT_S + OUTAGE_S
    scenario = Scenario(
        "outage", "3 s without link", 22.0, [(EVENT_S, "gone", _tell("down")), (back_s, "back", _tell("up"))]
    )
    return scenario, [
        Figure("picture live again", lambda seen: seen.first_after_s(back_s), "s", 0.3),
        Figure("ECG live again", lambda seen: seen.ecg_live_after_s(back_s), "s", 0.5),
        Figure("latency after, p95", lambda seen: part(seen.ages_ms(back_s + 0.5, 22), 0.95), "ms"),
        Figure("rate 5 s after", lambda seen: seen.picture_bit_s(back_s + 4, back_s + 6) / 1e6, "Mbit/s"),
    ]


def change(name: str, title: str, what: Callable[[Stage], None]) -> tuple[Scenario, list[Figure]]:
    scenario = Scenario(name, title, 25.0, [(EVENT_S, title, what)])
    return scenario, [
        Figure("longest gap of pictures", lambda seen: seen.longest_gap_s(EVENT_S - 1, 24), "s", 0.5),
        Figure("ECG live again", lambda seen: seen.ecg_live_after_s(EVENT_S + 0.1), "s", 1.0),
        Figure("ECG p95, 5 s after", lambda seen: part(seen.ecg_ms(EVENT_S + 1, EVENT_S + 6), 0.95), "ms"),
        Figure("latency after, p95", lambda seen: part(seen.ages_ms(EVENT_S + 1, 25), 0.95), "ms"),
    ]


def rebind() -> tuple[Scenario, list[Figure]]:
    return change("rebind", "NAT rebinding", lambda stage: stage.link.rebind(OTHER_OUTER))


def address() -> tuple[Scenario, list[Figure]]:
    return change("address", "the van's address changes", lambda stage: stage.link.move_van(OTHER_OWN))


def starve() -> tuple[Scenario, list[Figure]]:
    loops = 2 * (os.cpu_count() or 1) // 2
    scenario = Scenario(
        "starve", "busy loops beside it", 25.0,
        [(5.0, "busy", lambda stage: stage.burn(loops)), (18.0, "quiet", lambda stage: stage.cool())],
    )  # fmt: skip
    return scenario, [
        Figure("oldest picture", lambda seen: part(seen.ages_ms(5, 18), 1.0), "ms", 400),
        Figure("latency, median", lambda seen: middle(seen.ages_ms(6, 18)), "ms"),
        Figure("memory grown by", lambda seen: (seen.rss_bytes[-1] - seen.rss_bytes[0]) / 1e6, "MB", 20),
    ]


SCENARIOS: dict[str, Callable[[], tuple[Scenario, list[Figure]]]] = {
    "steady": steady,
    "drop2": lambda: drop(2e6, 400),
    "drop1": lambda: drop(1e6, 900),
    "loss": loss,
    "outage": outage,
    "rebind": rebind,
    "address": address,
    "starve": starve,
}


def measure(name: str, kinds: Sequence[str], times: int) -> bool:
    """Run, print the table, write the plot; whether the project reached every goal."""
    scenario, figures = SCENARIOS[name]()
    runs = {kind: [run(kind, scenario) for _ in range(times)] for kind in kinds}
    print(f"\n{scenario.title}   (median of {times})" if times > 1 else f"\n{scenario.title}")
    print(f"  {'':28}" + "".join(f"{kind:>12}" for kind in kinds) + f"{'goal':>16}")
    good = True
    for figure in figures:
        found = [statistics.median(figure.of(seen) for seen in runs[kind]) for kind in kinds]
        goal = "" if figure.goal is None else f"{'≥' if figure.at_least else '≤'} {figure.goal:g} {figure.unit}"
        reached = figure.goal is None or (found[0] >= figure.goal if figure.at_least else found[0] <= figure.goal)
        good &= reached or kinds[0] != "project"
        shown = "".join(f"{value:12.4g}" for value in found)
        print(f"  {figure.what:28}{shown}  {goal or figure.unit:>16}{'' if reached else '  missed'}", flush=True)
    lines = {
        kind: [(at, age * 1000) for at, age in seen[0].pictures if age is not None and 0 <= at < scenario.seconds]
        for kind, seen in runs.items()
    }
    PLOTS.mkdir(parents=True, exist_ok=True)
    marks = [(at_s, words) for at_s, words, _ in scenario.changes]
    (PLOTS / f"{name}.svg").write_text(plot(scenario.title, lines, marks, scenario.seconds))
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the project reached every goal of every scenario that was run, else 1; 2 when it cannot be run here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_media", description=__doc__)
    parser.add_argument("scenario", nargs="*", help="all when none is named")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", choices=["project", "plain"])
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.scenario if name not in SCENARIOS]:
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    if not possible() or not Path(CHROMIUM).exists():
        print("needs root, /dev/net/tun and chromium; run it as root on Linux after: apt-get install chromium iproute2")
        return 2
    kinds = [options.only] if options.only else ["project", "plain"]
    good = [measure(name, kinds, options.times) for name in options.scenario or SCENARIOS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())

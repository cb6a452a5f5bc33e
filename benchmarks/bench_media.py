"""The live consultation over a bad radio: the project against plain aiortc, in the same run, through an emulated link.

``python -m benchmarks.bench_media [scenario ...] [--times N] [--only project]``. The receiver is a headless Chromium in
another network namespace, which reads the clock that is painted into each picture: latency is from the paint to the
screen. As root; needs chromium. With ``--times 3`` the medians and plots of latency over time become docs/media/. The
scenario "cellular" plays a link that is made up, or ``--trace link.up link.down`` (mahimahi's format) for 10 minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.cellular import DeliveryTrace, drive, longest_freeze_s
from benchmarks.link import possible
from benchmarks.media_report import Figure, Result, for_people, write
from benchmarks.media_run import CHROMIUM, Scenario, Seen, Stage, run
from benchmarks.media_van import ECG_EVERY_S, MOST_BPS

MEDIAN_OF = 3
LONG_S = 300.0
FREEZE_ABOVE_BIT_S = 300_000.0
DRIVE_SEED = 1
OUTER, OTHER_OUTER, OTHER_OWN = "100.64.0.10", "100.64.9.20", "10.213.77.9"
LOW_FROM_S, LOW_UNTIL_S, DROP_S = 3.0, 23.0, 38.0
EVENT_S, OUTAGE_S = 5.0, 3.0

Make = Callable[[], tuple[Scenario, list[Figure]]]


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


def _ecg_p95_ms(seen: Seen) -> float:
    return part(seen.ecg_ms(0, 20), 0.95) + 1000 * ECG_EVERY_S


def _ecg_after_picture_ms(seen: Seen) -> float:
    return _ecg_p95_ms(seen) - middle(seen.ages_ms(0, 20))


def steady() -> tuple[Scenario, list[Figure]]:
    scenario = Scenario("steady", "50 Mbit/s, 0.1 % lost", 20.0, rate_bit_s=50e6, share_lost=0.001)
    return scenario, [
        Figure("latency, median", lambda seen: middle(seen.ages_ms(0, 20)), "ms", 60),
        Figure("latency, p95", lambda seen: part(seen.ages_ms(0, 20), 0.95), "ms", 85),
        Figure("longest gap", lambda seen: 1000 * seen.longest_gap_s(0, 20), "ms"),
        Figure("pictures", lambda seen: len(seen.ages_ms(0, 20)) / 20, "per s"),
        Figure("rate", lambda seen: seen.picture_bit_s(0, 20) / 1e6, "Mbit/s"),
        Figure("ECG p95, its first sample", _ecg_p95_ms, "ms"),
        Figure("ECG p95 later than the median picture", _ecg_after_picture_ms, "ms", 100),
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
    loops = max(2, os.cpu_count() or 1)
    scenario = Scenario(
        "starve", "busy loops beside it", 25.0,
        [(5.0, "busy", lambda stage: stage.burn(loops)), (18.0, "quiet", lambda stage: stage.cool())],
    )  # fmt: skip
    return scenario, [
        Figure("oldest picture", lambda seen: part(seen.ages_ms(5, 18), 1.0), "ms", 400),
        Figure("latency, median", lambda seen: middle(seen.ages_ms(6, 18)), "ms"),
        Figure("memory grown by", lambda seen: (seen.rss_bytes[-1] - seen.rss_bytes[0]) / 1e6, "MB", 20),
    ]


def mobile(name: str, up: Path, down: Path, seconds: float) -> tuple[Scenario, list[Figure]]:
    """A recorded or made-up cellular link; judged by the uplink's capacity, as that carries the pictures."""
    trace = DeliveryTrace.read(up)
    DeliveryTrace.read(down)
    scenario = Scenario(name, f"{name}, {seconds / 60:g} min", seconds, traces=(up, down))

    def usable_bit_s() -> float:
        windows = [trace.capacity_bit_s(at_s, at_s + 1) for at_s in range(int(seconds))]
        return sum(min(MOST_BPS, window) for window in windows) / len(windows)

    def freeze(seen: Seen) -> float:
        return longest_freeze_s(seen.shown_s(), trace, FREEZE_ABOVE_BIT_S, 0.0, seconds)

    def ecg_p95(seen: Seen) -> float:
        return part(sorted(1000 * age for at, age in seen.ecg if 0 <= at < seconds and able(at - age)), 0.95)

    def able(at_s: float) -> bool:
        return trace.around_bit_s(at_s) >= FREEZE_ABOVE_BIT_S

    return scenario, [
        Figure("longest freeze above 300 kbit/s", freeze, "s", 1.0),
        Figure("longest gap", lambda seen: seen.longest_gap_s(0, seconds), "s"),
        Figure("latency, median", lambda seen: middle(seen.ages_ms(0, seconds)), "ms"),
        Figure("latency, p95", lambda seen: part(seen.ages_ms(0, seconds), 0.95), "ms"),
        Figure("oldest picture", lambda seen: part(seen.ages_ms(0, seconds), 1.0), "ms"),
        Figure("rate", lambda seen: 100 * seen.picture_bit_s(0, seconds) / usable_bit_s(), "% of what is usable"),
        Figure("ECG p95 above 300 kbit/s", ecg_p95, "ms"),
    ]


def cellular(traces: Sequence[tuple[Path, Path]], seconds: float, folder: Path) -> list[Make]:
    """A scenario for each pair of traces (up, down); without any, a drive that is made up."""
    if not traces:
        traces = [(folder / "cellular.up", folder / "cellular.down")]
        for trace, path in zip(drive(DRIVE_SEED, seconds), traces[0], strict=True):
            trace.write(path)
    return [partial(mobile, up.stem, up.resolve(), down.resolve(), seconds) for up, down in traces]


SCENARIOS: dict[str, Make] = {
    "steady": steady,
    "drop2": lambda: drop(2e6, 400),
    "drop1": lambda: drop(1e6, 900),
    "loss": loss,
    "outage": outage,
    "rebind": rebind,
    "address": address,
    "starve": starve,
}
CELLULAR = "cellular"


def measure(make: Make, kinds: Sequence[str], times: int) -> Result:
    """Run and print the table; a long scenario is run once."""
    scenario, figures = make()
    often = times if scenario.seconds < LONG_S else 1
    result = Result(scenario, figures, {kind: [run(kind, scenario) for _ in range(often)] for kind in kinds})
    print(for_people(result), flush=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the project reached every goal of every scenario that was run, else 1; 2 when it cannot be run here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_media", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join([*SCENARIOS, CELLULAR])}; all when none is named")
    parser.add_argument("--times", type=int, default=1, help="with 3 or more the medians are written into docs/media")
    parser.add_argument("--only", choices=["project", "plain"])
    parser.add_argument(
        "--trace", nargs=2, type=Path, action="append", default=[], metavar=("UP", "DOWN"),
        help="a recorded cellular link in mahimahi's format, for the scenario cellular; may be repeated",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=600.0, help="of the cellular link")
    options = parser.parse_args(arguments)
    names = options.scenario or [*SCENARIOS, CELLULAR]
    if unknown := [name for name in names if name not in (*SCENARIOS, CELLULAR)]:
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join([*SCENARIOS, CELLULAR])}")
    if not possible() or not Path(CHROMIUM).exists():
        print("needs root, /dev/net/tun and chromium; run it as root on Linux after: apt-get install chromium iproute2")
        return 2
    kinds = [options.only] if options.only else ["project", "plain"]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        makes: list[Make] = []
        for name in names:
            links = cellular(options.trace, options.seconds, Path(folder)) if name == CELLULAR else [SCENARIOS[name]]
            makes.extend(links)
        for make in makes:
            result = measure(make, kinds, options.times)
            good &= result.good
            if options.times >= MEDIAN_OF and len(kinds) == 2:
                write(result, datetime.now(UTC).date())
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

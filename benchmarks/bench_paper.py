"""An ECG on paper: how long the A4 PDF of ten seconds takes, in each layout; the first one loads WeasyPrint.

    python -m benchmarks.bench_paper

Budget: 2 s of CPU for the first, 1 s for the next ones; the clock beside it says how busy the machine is.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from devices.readings import Samples
from sync.formats import ecg_file
from sync.interop import ecg_leads, ecg_paper
from sync.interop.ecg_pdf import Words, pdf

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SECONDS, RATE_HZ = 10, 500.0
FIRST_BUDGET_S, NEXT_BUDGET_S = 2.0, 1.0
WORDS = Words(
    "zh",
    "心电图（12 导联）",
    "杨桂芳 女 67 岁",
    ("证件 **************0426",),
    ("2026-03-02 09:05", "白果镇 王家村"),
    "未审核",
    "筛查提示，不作为诊断依据",
    ("自动：心率 72 次/分，未提示房颤",),
    ("25 mm/s", "10 mm/mV"),
)


def recording() -> bytes:
    """Beats with noise, so that nothing packs better than a real ECG."""
    at = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    beat = np.exp(-(((at % 0.83) - 0.4) ** 2) / (2 * 0.009**2)) * 1000
    noise = np.random.default_rng(7).normal(0, 8, (len(at), len(LEADS)))
    counts = np.round((beat[:, None] * np.linspace(0.6, 1.4, len(LEADS)) + noise) / 2.5).astype(np.int16)
    return ecg_file.write([Samples("ecg", LEADS, RATE_HZ, 0, 0, counts, 2.5, "uV")])


def main() -> int:
    """0 when every layout is within its budget."""
    ecg, missed = ecg_leads.read(recording()), 0
    for number, layout in enumerate(("3x4+1", *ecg_paper.LAYOUTS)):
        began_s, clock_s = time.process_time(), time.perf_counter()
        printed = pdf(ecg, layout, WORDS)
        took_s, clock_s = time.process_time() - began_s, time.perf_counter() - clock_s
        budget_s = NEXT_BUDGET_S if number else FIRST_BUDGET_S
        missed += took_s > budget_s
        name = f"{layout}{'' if number else ', the first'}"
        size = f"{len(printed) / 1000:.0f} kB"
        print(f"{name:18} {took_s:5.2f} s CPU (budget {budget_s:.0f} s), {clock_s:5.2f} s by the clock, {size}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())

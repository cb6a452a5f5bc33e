"""All benchmarks, one after the other."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("bench_start", "bench_record", "bench_paper")

for name in BENCHMARKS:
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)

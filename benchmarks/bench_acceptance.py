"""The acceptance report of a year: 600 villages, 20 vans, as tables, workbook, file to check and A4.

The year is that of ``bench_county``, kept under ``build/``. CPU is this process's own; memory is its largest resident
size so far, which only grows: each line holds what came before it. Goal: A4, the largest, within ten seconds of CPU.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from benchmarks.bench_county import QUICK, after, kept_year
from benchmarks.county_year import Size
from sync.county.acceptance_paper import AcceptancePaper, acceptance_pdf, acceptance_xlsx
from sync.county.acceptance_period import Period
from sync.county.acceptance_report import acceptance_report
from sync.county.acceptance_seals import sealed_file
from sync.county.acceptance_tables import report_tables
from sync.county.app import open_county
from sync.service import collect_rarely
from sync.web.catalog import texts

GOAL_S = 10
_Made = TypeVar("_Made")


def timed(what: str, make: Callable[[], _Made]) -> tuple[_Made, float]:
    """Prints one line; what was made, and its CPU in seconds."""
    began = time.process_time()
    made = make()
    took_s = time.process_time() - began
    largest_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = f"{len(made) / 1024:7.0f} KiB" if isinstance(made, bytes) else ""
    print(f"  {what:<18} CPU {took_s:6.2f} s, memory {largest_mb:5.0f} MB {size}", flush=True)
    return made, took_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("vans", 20), ("villages", 600), ("months", 12)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    size = Size(asked.vans, asked.villages, asked.months, every_s=60, entry_s=1800)
    settings, period, t = kept_year(size), Period.parse(str(size.year)), texts("zh")
    collect_rarely()  # as the county's processes do
    with closing(open_county(settings, after(size), hasher=QUICK)) as county:
        report, _ = timed("report", lambda: acceptance_report(county, period, practice=False))
        tables, _ = timed("tables", lambda: report_tables(report, t))
        timed("workbook", lambda: acceptance_xlsx(report, tables, settings.name, t))
        about = {"county": settings.name, "period": period.name, "practice": False}
        proof, _ = timed("file to check", lambda: sealed_file(county.registry, county.mirror, period, about))
        checkpoint = county.mirror.checkpoint(county.registry.origin)
        inside = ("sealed-months.json", proof), "acceptance.xlsx"
        paper = AcceptancePaper(settings.name, report, tables, checkpoint, *inside, county.clock.now())
        _, paper_s = timed("A4", lambda: acceptance_pdf(paper, t))
    print(f"\ngoal: A4 within {GOAL_S} s of CPU: {'reached' if paper_s <= GOAL_S else 'NOT reached'}")
    return 0 if paper_s <= GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())

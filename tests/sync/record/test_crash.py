"""Killed with -9 at any moment, van and county have every entry and recording that was acknowledged, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nothing_acknowledged_is_lost_or_doubled_in_twenty_kills(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sync.crash_loop", "--cycles", "20", "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["faults"] == []
    assert said["entries"] > 100, "killed before it wrote anything, the loop proves nothing"

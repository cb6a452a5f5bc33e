"""Start of the vehicle process to its first page, and memory of the van's two processes, in a running demo home.

Peer for the start: a FastAPI application with one route under uvicorn, started the same way in the same run.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PEER = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def root(): return "ok"
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seconds_to_first_page(arguments: list[str], url: str) -> tuple[float, float]:
    """Start ``arguments``, fetch ``url`` until it answers 200; (seconds, resident MiB then). The process is ended."""
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < 30:
            try:
                with urllib.request.urlopen(url, timeout=1) as page:
                    if page.status == 200:
                        return time.perf_counter() - began, resident_mib(process.pid)
            except (urllib.error.URLError, OSError):
                pass
            if process.poll() is not None:
                raise SystemExit(f"{arguments} ended with {process.returncode}")
            time.sleep(0.01)
        raise SystemExit(f"{url} did not answer within 30 s")
    finally:
        process.terminate()
        process.wait(10)


def resident_mib(pid: int) -> float:
    """Resident set size from /proc, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no VmRSS for {pid}")


def processes_of(home: Path) -> dict[str, int]:
    """Pids of the demo's processes by the settings file on their command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(word.startswith(str(home)) for word in words) and "-m" in words:
            found[words[words.index("-m") + 1]] = int(entry.name)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    runs = options.parse_args().runs
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "demo"
        ports = (free_port(), free_port())
        demo = subprocess.Popen(
            [sys.executable, "-m", "xunzhen.demo", "--home", str(home), "--ports", f"{ports[0]},{ports[1]}",
             "--history-days", "2", "--no-morning", "--no-bluetooth"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "Ctrl-C" in line:
                    break
            time.sleep(5)
            memory = {name: resident_mib(pid) for name, pid in processes_of(home).items()}
        finally:
            demo.terminate()
            demo.wait(30)
        van, peer = [], []
        settings = home / "van-07.toml"
        peer_port = free_port()
        for _ in range(runs):
            van.append(
                seconds_to_first_page(
                    [sys.executable, "-m", "vehicle", "--settings", str(settings)],
                    f"http://127.0.0.1:{ports[0]}/sign-in",
                )[0]
            )
            peer.append(
                seconds_to_first_page([sys.executable, "-c", PEER, str(peer_port)], f"http://127.0.0.1:{peer_port}/")[0]
            )
    print("start to first page, s           min    median max")
    for name, seconds in (("vehicle", van), ("bare FastAPI + uvicorn", peer)):
        print(f"  {name:28} {min(seconds):6.2f} {statistics.median(seconds):6.2f} {max(seconds):6.2f}")
    print(f"  ratio of medians             {statistics.median(van) / statistics.median(peer):6.2f}   (goal: < 2 s)")
    print("resident memory in the demo, MiB")
    for name, mib in sorted(memory.items()):
        print(f"  {name:28} {mib:6.0f}")
    both = memory.get("vehicle", 0) + memory.get("telemedicine", 0)
    print(f"  vehicle + telemedicine       {both:6.0f}   (goal: < 400)")


if __name__ == "__main__":
    main()

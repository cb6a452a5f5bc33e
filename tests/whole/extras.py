"""What a picture needs beside the running demo: a second van that no county knows yet, a USB stick that is put in."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.whole.stage import ROOT, Demo, free_ports, wait_until
from xunzhen.demo.founding import write_toml

NEW_VAN = "van-11"
NEW_PLATE = "川A·演11"
STICK = Path("/media/xunzhen/KINGSTON")


@contextlib.contextmanager
def new_van(demo: Demo) -> Iterator[str]:
    """A van with a key of its own and no devices that the demo's county does not know; gives its address."""
    settings = tomllib.loads((demo.folder / "van-07.toml").read_text(encoding="utf-8"))
    (port,) = free_ports(1)
    folder = demo.folder / NEW_VAN
    folder.mkdir()
    settings["data"], settings["devices"] = str(folder), []
    settings["vehicle"] |= {"id": NEW_VAN, "plate": NEW_PLATE, "origin": f"{NEW_VAN}.qingyu.example"}
    settings["touchscreen"] = {"port": port, "socket": str(demo.folder / "run" / f"{NEW_VAN}.sock")}
    file = demo.folder / f"{NEW_VAN}.toml"
    write_toml(file, settings)
    with (demo.folder / "run" / f"{NEW_VAN}.log").open("wb") as log:
        van = subprocess.Popen([sys.executable, "-m", "vehicle", "--settings", str(file)], stderr=log, cwd=ROOT)
        try:
            address = f"http://127.0.0.1:{port}/"
            wait_until(f"{NEW_VAN} answers", lambda: _answers(address), 120)
            yield address
        finally:
            van.terminate()
            van.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address + "health", timeout=5).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def stick_put_in() -> Iterator[None]:
    """A file system where sticks are mounted; needs root, without it the van says that there is no stick."""
    if os.geteuid() != 0:
        yield
        return
    STICK.mkdir(parents=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "stick", str(STICK)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(STICK)], check=True)
    finally:
        STICK.rmdir()
        STICK.parent.rmdir()

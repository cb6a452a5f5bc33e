"""A real Orthanc (Debian package orthanc) on free ports of the loopback, with its own folder; started by the tests."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from sync.interop.archive import Archive

PROGRAM = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
CALLED, CALLING = "HOSPITAL", "VAN07"
STARTS_WITHIN_S = 60.0


def installed() -> bool:
    return Path(PROGRAM).exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Orthanc:
    """``stop`` and ``start`` again: the same ports, the same images."""

    folder: Path
    more: dict[str, Any] = field(default_factory=dict)
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def archive(self) -> Archive:
        return Archive("127.0.0.1", self.dicom_port, CALLED, CALLING, timeout_s=5.0)

    def start(self) -> None:
        settings = {
            "Name": "tests",
            "StorageDirectory": str(self.folder / "images"),
            "IndexDirectory": str(self.folder / "index"),
            "Plugins": [],
            "DicomAet": CALLED,
            "DicomCheckCalledAet": True,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"van": [CALLING, "127.0.0.1", 4242]},
        } | self.more
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, str(file)], stdout=log, stderr=log)
        until_s = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def get(self, path: str) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=20)
        answer.raise_for_status()
        return answer.json()

    def bytes(self, path: str) -> bytes:
        answer = httpx.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=20)
        answer.raise_for_status()
        return answer.content

    def instances(self) -> list[str]:
        return list(self.get("/instances"))

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return bool(self.get("/system"))
        return False


@contextlib.contextmanager
def orthanc(folder: Path, **more: Any) -> Iterator[Orthanc]:
    server = Orthanc(folder, more)
    server.start()
    try:
        yield server
    finally:
        server.stop()

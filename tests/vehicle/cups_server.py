"""A real CUPS (Debian package cups) on a free port with its own folder, and a queue to a network printer of ours."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CUPSD = shutil.which("cupsd") or "/usr/sbin/cupsd"
STARTS_WITHIN_S = 60.0
CONFIGURATION = """Listen 127.0.0.1:{port}
Browsing Off
WebInterface No
DefaultAuthType None
JobRetryInterval 1
JobRetryLimit 1000
<Location />
  Order allow,deny
  Allow all
</Location>
<Policy default>
  <Limit All>
    Order deny,allow
    Allow all
  </Limit>
</Policy>
"""
FILES = """ServerRoot {folder}/root
StateDir {folder}/state
CacheDir {folder}/cache
RequestRoot {folder}/spool
TempDir {folder}/tmp
ErrorLog {folder}/error.log
AccessLog {folder}/access.log
PageLog {folder}/page.log
DataDir /usr/share/cups
ServerBin /usr/lib/cups
"""


def installed() -> bool:
    return Path(CUPSD).exists() and shutil.which("lpadmin") is not None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def cups(folder: Path, printer_port: int) -> Iterator[str]:
    """The IPP address of a queue "a4" that sends to an AppSocket printer on ``printer_port``."""
    port = free_port()
    for name in ("root", "state", "cache", "spool", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "cupsd.conf").write_text(CONFIGURATION.format(port=port))
    (folder / "files.conf").write_text(FILES.format(folder=folder))
    for above in (folder, *folder.parents):  # its backends work as another user
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(above.stat().st_mode | 0o055)
    running = subprocess.Popen(
        [CUPSD, "-f", "-c", folder / "cupsd.conf", "-s", folder / "files.conf"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port, running)
        device = f"socket://127.0.0.1:{printer_port}/?waiteof=false&contimeout=1"  # not ever longer pauses of its own
        asked = [
            "lpadmin",
            "-h",
            f"127.0.0.1:{port}",
            "-p",
            "a4",
            "-E",
            "-v",
            device,
            "-m",
            "raw",
            "-o",
            "printer-error-policy=retry-job",
        ]
        subprocess.run(asked, check=True, capture_output=True, timeout=STARTS_WITHIN_S)
        yield f"ipp://127.0.0.1:{port}/printers/a4"
    finally:
        running.terminate()
        running.wait(STARTS_WITHIN_S)


def _wait(port: int, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            assert running.poll() is None, "cupsd ended"
            assert time.monotonic() < end, "cupsd did not start"
            time.sleep(0.05)
        else:
            return

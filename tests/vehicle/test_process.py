"""``python -m vehicle`` as a process: ready, two doors, clean stop, refusals in words, kill -9 and back."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sync.formats.notes import VerifierKey
from tests.vehicle.conftest import GEOJSON

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
SETTINGS = """
practice = true
data = "data"
[vehicle]
id = "van-07"
plate = "川A·演07"
origin = "van-07.example"
county_name = "青峪县"
[touchscreen]
port = {port}
socket = "run/vehicle.sock"
[[staff]]
id = "zhou.min"
name = "周敏"
role = "village_doctor"
pin_hash = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHRzb21l$kkZpCQBhFqLSFTxOZVOqVTNWEVEYxBgyCWPlq0Xf/YM"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One run of the vehicle process in a scratch folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        (folder / "villages.geojson").write_text(json.dumps(GEOJSON), encoding="utf-8")
        (folder / "vehicle.toml").write_text(SETTINGS.format(port=port), encoding="utf-8")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify_path = folder / "notify"
        notify_path.unlink(missing_ok=True)
        self.notify.bind(str(notify_path))
        self.notify.settimeout(PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vehicle", "--settings", str(folder / "vehicle.toml")],
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": str(notify_path), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def heard(self) -> str:
        return self.notify.recv(100).decode()

    def get(self, path: str, local: bool = False) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        if local:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.folder / "run/vehicle.sock"))
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, log = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, log

    def close(self) -> None:
        self.notify.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@contextlib.contextmanager
def running(folder: Path, port: int) -> Iterator[Process]:
    process = Process(folder, port)
    try:
        yield process
    finally:
        process.close()


def test_ready_two_doors_and_a_clean_stop(tmp_path: Path) -> None:
    with running(tmp_path, free_port()) as process:
        assert process.heard() == "READY=1"
        assert process.get("/health")[0] == 200
        assert process.get("/api/status")[0] in (401, 403)
        status, body = process.get("/api/status", local=True)
        assert status == 200
        told = json.loads(body)
        assert set(told["services"].values()) == {"up"}
        assert told["consultation"] == {"process": "down"}
        mode = (tmp_path / "run/vehicle.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
        keys = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data/keys").iterdir()}
        assert keys == {"journal.key": 0o600, "field.key": 0o600, "session-secret": 0o600}
        assert process.heard() == "WATCHDOG=1"
        code, out, log = process.end()
        assert (code, out) == (0, "")
        events = [json.loads(line).get("event") for line in log.splitlines()]
        assert events[0] == "journal_opened"
        assert "service_started" in events
        assert events[-1] == "service_stopping"
        assert not (tmp_path / "run/vehicle.sock").exists()


def test_an_open_page_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    with running(tmp_path, free_port()) as process:
        assert process.heard() == "READY=1"
        with socket.create_connection(("127.0.0.1", process.port)) as idle:
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            idle.recv(1000)
            assert process.end()[0] == 0


def test_killed_and_started_again_it_goes_on_with_the_same_journal(tmp_path: Path) -> None:
    port = free_port()
    sizes = []
    for _ in range(3):
        with running(tmp_path, port) as process:
            assert process.heard() == "READY=1"
            sizes.append(json.loads(process.get("/api/status", local=True)[1])["waiting"]["entries"])
            assert process.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert sizes == sorted(set(sizes))


def test_a_second_one_is_refused_in_words(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port) as first:
        assert first.heard() == "READY=1"
        second = subprocess.run(
            [sys.executable, "-m", "vehicle", "--settings", str(tmp_path / "vehicle.toml")],
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert second.returncode == 2
        refusal = json.loads(second.stderr.splitlines()[-1])
        assert (refusal["event"], refusal["code"]) == ("service_refused", "port_taken")
        assert first.get("/api/status", local=True)[0] == 200


def test_what_cannot_start_ends_with_its_reason(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from vehicle import assembly, process\n"
        "async def start(self): raise RuntimeError('the engine is missing')\n"
        "assembly.Vehicle.start = start\n"
        f"sys.argv = ['vehicle', '--settings', {str(tmp_path / 'vehicle.toml')!r}]\n"
        "process.main()\n"
    )
    with running(tmp_path, free_port()) as first:
        first.end()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert "the engine is missing" in done.stderr


def test_wrong_settings_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "vehicle.toml").write_text("practise = true\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "vehicle", "--settings", str(tmp_path / "vehicle.toml")],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    refusal = json.loads(done.stderr.splitlines()[-1])
    assert refusal["code"] == "settings_refused"
    assert "practise" in refusal["reason"]


def test_the_process_does_without_the_heavy_libraries() -> None:
    """Video codecs may crash or bloat and belong to the other process; bleak and zeroconf come when they are needed."""
    heavy = ("cv2", "av", "aiortc", "bleak", "zeroconf", "bumble", "rich", "sqlalchemy", "openpyxl")
    code = (
        "import sys; sys.modules['httpx._main'] = None; import vehicle.process; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout.strip() == "[]"


def test_show_key_prints_what_the_county_enrols(tmp_path: Path) -> None:
    settings = tmp_path / "vehicle.toml"
    settings.write_text(
        f'data = "{tmp_path / "data"}"\n'
        '[vehicle]\nid = "van-1"\nplate = "川A·试01"\norigin = "van-1.example"\ncounty_name = "县"\n'
    )
    asked = [sys.executable, "-m", "vehicle", "--settings", str(settings), "--show-key"]
    first, second = (subprocess.run(asked, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second
    key, fingerprint, kept = first.splitlines()
    assert kept.startswith("kept in a file")
    assert VerifierKey.parse(key).name == "van-1.example"
    assert re.fullmatch(r"fingerprint( [0-9a-f]{4}){8}", fingerprint)

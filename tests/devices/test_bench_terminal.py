"""``python -m devices`` as a technician runs it: a process of its own, at a terminal and piped."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from device_captures import CAPTURES

from devices import catalog
from devices.__main__ import main
from devices.bench.live_view import LiveView, wave
from devices.capture import read_capture
from devices.clock import SystemClock
from devices.readings import INVALID_COUNT, DeviceState, IdentityCard, Link, PulseOximetry, Samples, Sensor, Stamped
from devices.simulators.shelf import SHELF, CaptureTwin, NoTwin, twin_of

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0
AT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


@contextlib.contextmanager
def tool(*arguments: str, terminal: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, and a descriptor from which its standard output is read."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "devices", *arguments],
        cwd=ROOT,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait(WITHIN_S)
        os.close(ours)


def heard(descriptor: int, word: str) -> str:
    """Everything up to ``word``."""
    said, until = b"", time.monotonic() + WITHIN_S
    while word.encode() not in said:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"no {word!r} in {said.decode(errors='replace')!r}"
        chunk = os.read(descriptor, 65536)
        assert chunk, f"it ended: {said.decode(errors='replace')!r}"
        said += chunk
    return said.decode(errors="replace")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("identify", "watch --port", "simulate contec_cms50_v7", "--display")),
        (["identify"], ("--as", "left as it was")),
        (["simulate"], ("capture", "--listen")),
    ],
    ids=["all", "identify", "simulate"],
)
def test_help_teaches_the_steps(
    arguments: list[str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(word in told for word in words), told


def test_simulate_identify_and_watch_in_three_terminals(tmp_path: Path) -> None:
    port = str(tmp_path / "oximeter")
    with tool("simulate", "contec_cms50_v7", "--port", port) as (_, said):
        assert f"watch contec_cms50_v7 --port {port}" in heard(said, "Ctrl-C")
        with tool("identify", port, "--as", "contec_cms50_v7", terminal=True) as (identifying, told):
            assert "contec_cms50_v7" in heard(told, "next:")
            assert identifying.wait(WITHIN_S) == 0
        with tool("watch", "contec_cms50_v7", "--port", port, terminal=True) as (watching, screen):
            picture = heard(screen, "spo2_percent 97")
            assert "\x1b[H" in picture, "redrawn in place"
            heard(screen, "Hz of 60")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(WITHIN_S) == 0
        with tool("watch", "contec_cms50_v7", "--port", port) as (_, lines):
            said_first = heard(lines, '"pulse_oximetry"').splitlines()[0]
            assert json.loads(said_first)["type"] == "device"


def test_gpsd_is_simulated_behind_a_tcp_port() -> None:
    with tool("simulate", "gpsd_gnss", "--json") as (_, said):
        address = json.loads(heard(said, "}"))["address"]
        with tool("watch", "--address", address) as (_, lines):
            assert '"latitude_deg": 32.36' in heard(lines, '"speed_m_s"')


def test_a_capture_is_played_as_a_device(tmp_path: Path) -> None:
    port = str(tmp_path / "gnss")
    capture = str(CAPTURES / "nmea_gnss" / "sky_opens_then_standing.capture.jsonl")
    with tool("simulate", capture, "--port", port) as (_, said):
        heard(said, "Ctrl-C")
        with tool("watch", "nmea_gnss", "--port", port) as (_, lines):
            heard(lines, '"position"')


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["identify", "/dev/nowhere"], "list"),
        (["identify", "/dev/null", "--as", "contec_9000"], "known"),
        (["watch"], "--port"),
        (["watch", "gpsd_gnss"], "--address"),
        (["simulate", "contec_9000"], "known"),
        (["simulate", "bluetooth_glucose", "--port", "x"], "capture"),
        (["simulate", "contec_8000g"], "--port"),
        (["simulate", "nmea_gnss", "--port", "/dev/null/x"], "folder"),
    ],
    ids=["gone", "no driver", "nothing named", "no address", "no device", "no twin", "no port", "no folder"],
)
def test_mistakes_say_what_to_do_next(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    assert word in json.loads(capsys.readouterr().err.splitlines()[-1])["message"]


def test_every_twin_on_the_shelf_has_a_driver_and_speaks() -> None:
    assert set(SHELF) <= set(catalog.drivers())
    for driver in SHELF:
        twin = twin_of(driver, SystemClock())
        twin.power_on()
        written = catalog.driver(driver)().open().writes
        said = b"".join(twin.receive(write.payload) for write in written) + twin.advance(2.0)
        assert said, driver


def test_a_bluetooth_capture_is_no_port() -> None:
    capture = next((CAPTURES / "bluetooth_glucose").glob("*.capture.jsonl"))
    with pytest.raises(NoTwin):
        CaptureTwin(read_capture(capture))


def test_a_wave_in_blocks_keeps_its_gaps() -> None:
    assert wave([0, 50, 100], 3) == "▁▅█"
    assert wave([0, INVALID_COUNT, 100], 3) == "▁·█"
    assert wave([INVALID_COUNT], 5) == "·"
    assert wave([], 5) == ""
    assert wave([7, 7, 7, 7], 2) == "▁▁"


def shown(view: LiveView, now_s: float) -> str:
    return "\n".join(view.lines(now_s, "/dev/x"))


def test_the_screen_has_values_rates_counters_and_age() -> None:
    view = LiveView("contec_cms50_v7", "Oximeter")
    view.take(Stamped("bench", "d", AT, 0.0, DeviceState(Link.CONNECTED, Sensor.OK, counters={"frames": 9, "gaps": 1})))
    view.take(Stamped("bench", "d", AT, 0.0, PulseOximetry(97, 72)))
    for n in range(5):
        counts = np.full((6, 1), n * 10, np.int16)
        view.take(Stamped("bench", "d", AT, n * 0.1, Samples("pleth", ("pleth",), 60.0, 1, n * 6, counts, 1.0, "1")))
    told = shown(view, 0.5)
    assert "spo2_percent 97  pulse_bpm 72" in told
    assert "60.0 Hz of 60" in told
    assert "frames 9  gaps 1" in told
    assert "sensor ok" in told
    assert "(9 s ago)" in shown(view, 9.0)
    view.take(Stamped("bench", "d", AT, 9.0, DeviceState(Link.ABSENT, fault="port_busy")))
    assert "port_busy" in shown(view, 9.0)
    assert "Hz" not in shown(view, 9.0)


def test_an_identity_card_is_hidden_at_a_terminal_too() -> None:
    card = IdentityCard("杨桂芳", "female", "01", None, "王家村", "510199195903120426", "公安局", None, None)
    for personal, visible in ((False, False), (True, True)):
        view = LiveView("sam_id_card", "Reader", personal)
        view.take(Stamped("bench", "d", AT, 0.0, card))
        assert ("杨桂芳" in shown(view, 0.0)) is visible

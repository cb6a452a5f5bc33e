"""Programs that take ports away from medical devices are named, with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.clock import SystemClock
from devices.port_holders import holders, running
from devices.readings import DeviceState, Link
from devices.session import DeviceSettings
from vehicle.device_events import Device
from vehicle.hints import hint
from vehicle.port_traps import PortTraps

ECG = DeviceSettings(name="ecg-1", driver="contec_8000g", link="serial", port="/dev/ttyUSB0")
GNSS = DeviceSettings(name="gnss-1", driver="nmea_gnss", link="serial", port="/dev/ttyACM0")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def proc(tmp_path: Path) -> Callable[..., Path]:
    """/proc with programs in it: name, and the port that it is seen to have open."""

    def made(*programs: tuple[str, str]) -> Path:
        for pid, (name, port) in enumerate(programs, start=100):
            (tmp_path / str(pid) / "fd").mkdir(parents=True)
            (tmp_path / str(pid) / "comm").write_text(name + "\n")
            if port:
                (tmp_path / str(pid) / "fd" / "3").symlink_to(port)
        (tmp_path / "uptime").write_text("1")
        return tmp_path

    return made


def busy(device: DeviceSettings) -> dict[str, Device]:
    state = DeviceState(Link.ABSENT, fault="port_busy")
    return {device.name: Device(device.driver, state, NOW, 0.0)}


def look(proc: Path, *devices: DeviceSettings) -> tuple[tuple[str, str], ...]:
    states = {name: device for one in devices for name, device in busy(one).items()}
    return PortTraps(devices, lambda: states, SystemClock(), proc).look(devices)


def test_brltty_is_a_trap_by_merely_running(proc: Callable[..., Path]) -> None:
    assert look(proc(("brltty", ""), ("bash", ""))) == (("brltty_running", ""),)


def test_who_is_seen_to_hold_the_port_is_named(proc: Callable[..., Path]) -> None:
    folder = proc(("gpsd", "/dev/ttyACM0"), ("ModemManager", "/dev/ttyUSB0"))
    assert look(folder, ECG, GNSS) == (("modem_manager_holds_port", "ecg-1"), ("gpsd_holds_port", "gnss-1"))


def test_a_program_that_is_none_of_the_three_is_not_blamed_on_them(proc: Callable[..., Path]) -> None:
    assert look(proc(("minicom", "/dev/ttyUSB0"), ("ModemManager", "")), ECG) == ()


def test_without_rights_to_look_it_is_told_by_who_runs(proc: Callable[..., Path]) -> None:
    folder = proc(("gpsd", ""), ("ModemManager", ""))
    assert look(folder, GNSS, ECG) == (("gpsd_holds_port", "gnss-1"), ("modem_manager_holds_port", "ecg-1"))


def test_a_quiet_machine_has_no_traps(proc: Callable[..., Path]) -> None:
    assert look(proc(("bash", "")), ECG) == ()


def test_this_program_is_found_with_a_port_that_it_holds() -> None:
    master, slave = os.openpty()
    assert os.getpid() in holders(os.ttyname(slave))
    assert os.getpid() in running()
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("code", ["brltty_running", "modem_manager_holds_port", "gpsd_holds_port"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_says_what_to_type(code: str, language: str) -> None:
    words = hint(code, language)
    assert "systemctl mask" in words.next_step or "60-xunzhen.rules" in words.next_step

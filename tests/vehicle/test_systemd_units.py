"""The units: accepted by systemd, hardened to the figures we promise, and their example settings are valid."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"
MOST_EXPOSURE = {
    "vehicle.service": 2.0,
    "vehicle-consultation.service": 2.0,
    "county.service": 2.0,
    "county-workers.service": 2.0,
    "province-witness.service": 2.0,
    "vehicle-screen.service": 5.0,
}
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="skipped: no systemd-analyze on this machine")


class Unit(ConfigParser):
    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment, method-assign]
        self.read(path, encoding="utf-8")


def test_every_unit_is_promised_a_figure() -> None:
    assert {path.name for path in FOLDER.glob("*.service")} == set(MOST_EXPOSURE)


@needs_systemd
@pytest.mark.parametrize("name", MOST_EXPOSURE)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    """With a program that exists in place of the installed one; everything else as shipped."""
    for path in FOLDER.glob("*.service"):
        text = path.read_text(encoding="utf-8").replace("/opt/xunzhen/.venv/bin/python", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(("name", "most"), MOST_EXPOSURE.items())
def test_exposure_is_at_most_what_we_promise(name: str, most: float) -> None:
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(FOLDER / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= most


@pytest.mark.parametrize("name", MOST_EXPOSURE)
def test_readiness_watchdog_and_bounded_restarts(name: str) -> None:
    unit = Unit(FOLDER / name)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 10
    assert service["Restart"] == "on-failure"
    assert (unit["Unit"]["StartLimitBurst"], unit["Unit"]["StartLimitIntervalSec"]) == ("3", "600")
    assert service["User"] not in ("", "root")


@pytest.mark.parametrize("name", MOST_EXPOSURE)
def test_what_is_installed_runs(name: str) -> None:
    """``python -m`` takes the modules of its working directory first: a checkout's, compiled anew at every start."""
    service = Unit(FOLDER / name)["Service"]
    assert "WorkingDirectory" not in service
    if "ConfigurationDirectory" in service:
        assert service["ConfigurationDirectoryMode"] == "0750", "as the README makes it, or systemd warns at each start"


def test_the_media_process_cannot_starve_the_recorder() -> None:
    consultation, vehicle = (
        Unit(FOLDER / f"{name}.service")["Service"] for name in ("vehicle-consultation", "vehicle")
    )
    assert int(consultation["OOMScoreAdjust"]) > int(vehicle["OOMScoreAdjust"])
    assert consultation["MemoryMax"]


def test_the_self_test_of_the_ports_may_see_who_runs() -> None:
    """systemd.exec(5): "invisible" and "noaccess" hide the names of other users' programs from it."""
    assert Unit(FOLDER / "vehicle.service")["Service"]["ProtectProc"] == "default"


def test_what_the_units_start_exists() -> None:
    from importlib.util import find_spec

    for name in MOST_EXPOSURE:
        module = re.search(r"-m (\S+)", Unit(FOLDER / name)["Service"]["ExecStart"])
        assert module
        spec = find_spec(module[1])
        assert spec is not None
        if spec.submodule_search_locations is not None:
            assert find_spec(f"{module[1]}.__main__") is not None


def test_the_vehicle_example_is_valid_and_fits_the_unit() -> None:
    from devices import catalog
    from vehicle.settings import read_vehicle_settings

    settings = read_vehicle_settings(FOLDER / "vehicle.example.toml")
    assert {device.driver for device in settings.devices} <= set(catalog.drivers())
    service = Unit(FOLDER / "vehicle.service")["Service"]
    assert settings.data == Path("/var/lib") / service["StateDirectory"]
    assert settings.touchscreen.socket.parent == Path("/run") / service["RuntimeDirectory"]
    consultation = Unit(FOLDER / "vehicle-consultation.service")["Service"]
    assert settings.consultation.socket.parent == Path("/run") / consultation["RuntimeDirectory"]


def test_the_consultation_example_is_valid_and_fits_the_vehicle() -> None:
    from telemedicine.settings import load_settings
    from vehicle.settings import read_vehicle_settings

    vehicle = read_vehicle_settings(FOLDER / "vehicle.example.toml")
    settings = load_settings(FOLDER / "consultation.example.toml")
    assert settings.socket == vehicle.consultation.socket
    assert settings.vehicle_socket == vehicle.touchscreen.socket
    assert settings.identity.origin == vehicle.vehicle.origin
    assert settings.identity.key == vehicle.data / "keys" / "journal.key"


def test_the_witness_example_is_valid_and_fits_the_unit() -> None:
    from sync.witness.settings import read_witness_settings

    settings = read_witness_settings(FOLDER / "witness.example.toml")
    assert settings.data == Path("/var/lib") / Unit(FOLDER / "province-witness.service")["Service"]["StateDirectory"]
    assert [county.county_key.name for county in settings.county] == ["county.example"]


def test_the_county_example_is_valid_and_fits_the_unit() -> None:
    from sync.county.settings import read_county_settings

    settings = read_county_settings(FOLDER / "county.example.toml")
    assert settings.secure_cookies
    assert settings.data == Path("/var/lib") / Unit(FOLDER / "county.service")["Service"]["StateDirectory"]

"""Settings: what is wrong is refused with key and remedy; paths belong to the file's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.settings_file import SettingsRefused
from vehicle.settings import read_vehicle_settings

GOOD = """
data = "data"
[vehicle]
id = "van-01"
plate = "川A·00001"
origin = "van-01.county.example"
county_name = "某县"
[touchscreen]
socket = "run/vehicle.sock"
[[staff]]
id = "doctor.one"
name = "医生甲"
role = "village_doctor"
pin_hash = "$argon2id$v=19$x"
[[devices]]
name = "ecg-1"
driver = "contec_8000g"
link = "serial"
port = "ports/ecg"
[[devices]]
name = "cuff-1"
driver = "bluetooth_blood_pressure"
link = "bluetooth"
"""


def test_the_address_of_a_listening_device_is_no_path(tmp_path: Path) -> None:
    file = tmp_path / "vehicle.toml"
    analyser = '[[devices]]\nname = "lab-1"\ndriver = "hl7_analyser"\nlink = "listen"\nport = "127.0.0.1:9100"\n'
    file.write_text(GOOD + analyser, encoding="utf-8")
    assert read_vehicle_settings(file).devices[-1].port == "127.0.0.1:9100"
    file.write_text(GOOD + analyser.replace("127.0.0.1:9100", "9100"), encoding="utf-8")
    with pytest.raises(SettingsRefused, match=r"192\.168\.10\.1:9100"):
        read_vehicle_settings(file)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vehicle.toml"
    file.write_text(GOOD, encoding="utf-8")
    settings = read_vehicle_settings(file)
    assert settings.data == tmp_path / "data"
    assert settings.touchscreen.socket == tmp_path / "run/vehicle.sock"
    assert settings.patrol.villages == tmp_path / "villages.geojson"
    assert settings.devices[0].port == str(tmp_path / "ports/ecg")
    assert settings.devices[1].port == ""
    assert settings.touchscreen.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("good", "bad", "names"),
    [
        ("plate =", "platte =", "vehicle.platte"),
        ('id = "van-01"', 'id = "Van 01"', "vehicle.id"),
        ('role = "village_doctor"', 'role = "boss"', "staff.0.role"),
        ('pin_hash = "$argon2id$v=19$x"', 'pin_hash = "2580"', "staff.0.pin_hash"),
        ('name = "cuff-1"', 'name = "ecg-1"', "ecg-1"),
        ('port = "ports/ecg"', "", "ecg-1"),
        ("[touchscreen]", "[touchscreen]\nport = 70000", "touchscreen.port"),
        ("[touchscreen]", '[touchscreen]\nhost = "van.local"', "an address of this computer"),
        ("[touchscreen]", '[county]\nurl = "http://c.example"\n[touchscreen]', "county"),
        ("[touchscreen]", "[patrol]\nrequired_dwell_minutes = 0\n[touchscreen]", "required_dwell_minutes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, good: str, bad: str, names: str) -> None:
    assert good in GOOD
    file = tmp_path / "vehicle.toml"
    file.write_text(GOOD.replace(good, bad, 1), encoding="utf-8")
    with pytest.raises(SettingsRefused, match=names):
        read_vehicle_settings(file)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="copy the example"):
        read_vehicle_settings(tmp_path / "nothing.toml")

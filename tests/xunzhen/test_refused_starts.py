"""What spoils a start ends in one sentence that says what to do: settings, folders and files of each service."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.errors import AskPerson
from sync.county.app import open_county
from sync.county.database import DatabaseRefused
from sync.county.settings import read_county_settings
from sync.data_folder import FolderRefused
from sync.settings_file import SettingsRefused
from sync.witness.__main__ import open_ledger
from sync.witness.ledger import LedgerUnreadable
from sync.witness.settings import read_witness_settings
from telemedicine.__main__ import listen
from vehicle.open_record import open_record
from vehicle.process import _bind_local
from vehicle.settings import read_vehicle_settings

Start = Callable[[Path], None]
Service = tuple[Start, Path]
COUNTY = 'name = "青峪县"\norigin = "county.example"\ndata = "data"\n'
WITNESS = 'origin = "witness.example"\ndata = "data"\nport = 8600\n'
VAN = 'data = "data"\n[vehicle]\nid = "v-1"\nplate = "川A·试01"\norigin = "v-1.example"\ncounty_name = "县"\n'
OUT_OF_THE_BOX = SimulatedClock(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
"""A computer whose clock's battery is empty."""


def start_vehicle(settings: Path) -> None:
    open_record(read_vehicle_settings(settings), OUT_OF_THE_BOX, os.urandom).store.close()


def start_county(settings: Path) -> None:
    open_county(read_county_settings(settings), OUT_OF_THE_BOX).close()


def start_witness(settings: Path) -> None:
    open_ledger(read_witness_settings(settings)).close()


SERVICES = {"vehicle": (start_vehicle, VAN), "county": (start_county, COUNTY), "witness": (start_witness, WITNESS)}


@pytest.fixture(params=list(SERVICES))
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    start, text = SERVICES[request.param]
    settings = tmp_path / "settings.toml"
    settings.write_text(text, encoding="utf-8")
    return start, settings


def refusal(kind: type[AskPerson], service: Service) -> str:
    start, settings = service
    with pytest.raises(kind) as refused:
        start(settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_clock_in_1970_is_no_reason_not_to_start(service: Service) -> None:
    start, settings = service
    for _ in range(2):
        start(settings)
    assert (settings.parent / "data").is_dir()


def test_settings_that_cannot_be_read(service: Service) -> None:
    _, settings = service
    settings.unlink()
    assert "no such settings file" in refusal(SettingsRefused, service)
    settings.mkdir()
    assert "cannot be read (Is a directory); name a file" in refusal(SettingsRefused, service)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.encode("gb18030"), "save the file as UTF-8"),
        (lambda text: b"a = " + b"[" * 5000, "too many brackets"),
        (lambda text: text.encode() + b"#" * 2**20, "name the settings file"),
        (lambda text: text.replace('"data"', r'"da\u0000ta"').encode(), "remove it"),
        (lambda text: text.replace('"data"', "true").encode(), "key 'data': Input should be a valid"),
    ],
    ids=["gb18030", "deep", "huge", "nul", "true"],
)
def test_settings_that_cannot_be_meant(service: Service, spoil: Callable[[str], bytes], says: str) -> None:
    _, settings = service
    settings.write_bytes(spoil("# 县\n" + settings.read_text(encoding="utf-8")))
    assert says in refusal(SettingsRefused, service)


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_listens_on_every_network_by_leaving_the_host_empty(tmp_path: Path, name: str) -> None:
    start, text = SERVICES[name]
    settings = tmp_path / "settings.toml"
    host = 'touchscreen.host = ""\n' if name == "vehicle" else 'host = ""\n'
    settings.write_text(host + text, encoding="utf-8")
    assert "127.0.0.1" in refusal(SettingsRefused, (start, settings))


def test_settings_with_a_byte_order_mark_are_read(service: Service) -> None:
    start, settings = service
    settings.write_bytes(b"\xef\xbb\xbf" + settings.read_bytes())
    start(settings)


def test_a_refused_table_is_not_printed(tmp_path: Path) -> None:
    """It holds keys and hashes of PINs."""
    person = '[[staff]]\nid = "a"\nname = "甲"\nrole = "nurse"\npin_hash = "$argon2id$secret"\n'
    settings = tmp_path / "settings.toml"
    settings.write_text(VAN + person * 2, encoding="utf-8")
    said = refusal(SettingsRefused, (start_vehicle, settings))
    assert said.endswith("staff id 'a' stands twice: give each its own")
    assert "argon2" not in said


def test_a_data_folder_that_is_none(service: Service) -> None:
    _, settings = service
    (settings.parent / "data").write_text("")
    said = refusal(FolderRefused, service)
    assert str(settings.parent / "data") in said
    assert "correct the path" in said


def test_a_data_folder_that_may_not_be_written(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "give the folder to the user" in refusal(FolderRefused, service)


@pytest.mark.parametrize(
    ("start", "text", "name", "kind"),
    [
        (start_county, COUNTY, "county.db", DatabaseRefused),
        (start_witness, WITNESS, "witness.db", LedgerUnreadable),
    ],
    ids=["county", "witness"],
)
def test_a_damaged_database(tmp_path: Path, start: Start, text: str, name: str, kind: type[AskPerson]) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(text, encoding="utf-8")
    start(settings)
    damaged = b"not what it was" * 1000
    (tmp_path / "data" / name).write_bytes(damaged)
    assert "backup" in refusal(kind, (start, settings))
    assert (tmp_path / "data" / name).read_bytes() == damaged, "nobody writes over what may still be saved"


def test_a_socket_that_cannot_be(tmp_path: Path) -> None:
    too_long = tmp_path / ("s" * 120)
    with socket.socket(socket.AF_UNIX) as local, pytest.raises(SettingsRefused, match="shorter"):
        _bind_local(local, too_long)
    with pytest.raises(SettingsRefused, match="shorter"):
        listen(too_long)
    (tmp_path / "run").write_text("")
    with pytest.raises(FolderRefused):
        listen(tmp_path / "run" / "consultation.sock")

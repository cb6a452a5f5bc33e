"""The county's books and its command line: accounts, enrolment, villages, rules, settings."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from county_month import QUICK, TOWNSHIP, at

from devices.clock import SimulatedClock
from sync.county.__main__ import main
from sync.county.accounts import AccountRefused
from sync.county.app import County, open_county
from sync.county.fleet import EnrolmentRefused
from sync.county.registry import RegistryRefused
from sync.county.settings import CountySettings, read_county_settings
from sync.formats.notes import ED25519_COSIGNATURE, SeedSigner
from sync.settings_file import SettingsRefused

VAN = SeedSigner("van-07.qingyu.example", b"k" * 32)
VKEY = str(VAN.verifier_key())


@pytest.fixture
def county(tmp_path: Path, database_url: str) -> Iterator[County]:
    settings = CountySettings(
        name="青峪县", data=tmp_path / "data", origin="county.qingyu.example", database=database_url
    )
    opened = open_county(settings, SimulatedClock(at(9, 1, 8)), hasher=QUICK)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("id", "name", "role", "password", "said"),
    [
        ("Xu Jing", "许静", "administrator", "long-enough", "account id"),
        ("xu.jing", "", "administrator", "long-enough", "name"),
        ("xu.jing", "许静", "root", "long-enough", "administrator, specialist, auditor"),
        ("xu.jing", "许静", "auditor", "short", "8 to 200"),
    ],
)
def test_a_senseless_account_is_refused(
    county: County, id: str, name: str, role: str, password: str, said: str
) -> None:
    with pytest.raises(AccountRefused, match=said):
        county.accounts.add(id, name, role, password)
    assert county.accounts.all() == []


def test_an_account_is_made_once(county: County) -> None:
    county.accounts.add("xu.jing", "许静", "administrator", "long-enough")
    with pytest.raises(AccountRefused, match="there already"):
        county.accounts.add("xu.jing", "别人", "auditor", "long-enough")
    county.accounts.set_public_key("xu.jing", "a2V5")
    account = county.accounts.get("xu.jing")
    assert account is not None
    assert (account.name, account.role, account.public_key) == ("许静", "administrator", "a2V5")
    with pytest.raises(AccountRefused, match="no account"):
        county.accounts.set_public_key("nobody", "a2V5")


@pytest.mark.parametrize(
    ("origin", "vkey", "said"),
    [
        ("van-07.qingyu.example", "rubbish", "copy the whole line"),
        ("van-08.qingyu.example", VKEY, "not of van-08"),
        ("a/b", VKEY, "host name"),
        (
            "van-07.qingyu.example",
            str(SeedSigner("van-07.qingyu.example", b"k" * 32, ED25519_COSIGNATURE).verifier_key()),
            "not a journal's",
        ),
    ],
)
def test_a_wrong_enrolment_is_refused(county: County, origin: str, vkey: str, said: str) -> None:
    with pytest.raises(EnrolmentRefused, match=said):
        county.fleet.enrol(origin, vkey)
    assert county.fleet.all() == []


def test_a_key_is_never_replaced(county: County) -> None:
    first = county.fleet.enrol(VAN.name, VKEY, plate="川A·演07")
    assert county.fleet.enrol(VAN.name, VKEY) == first
    assert county.fleet.verifier(VAN.name) == VAN.verifier_key()
    other = str(SeedSigner(VAN.name, b"o" * 32).verifier_key())
    with pytest.raises(EnrolmentRefused, match="new origin"):
        county.fleet.enrol(VAN.name, other)
    county.fleet.revoke(VAN.name)
    assert county.fleet.verifier(VAN.name) is None
    with pytest.raises(EnrolmentRefused, match="new origin"):
        county.fleet.enrol(VAN.name, VKEY)


def test_every_version_of_the_registry_is_kept(county: County) -> None:
    township = json.loads(TOWNSHIP.read_text(encoding="utf-8"))
    county.registry.import_villages(township, by="xu.jing")
    version = county.registry.villages_version
    county.registry.import_villages({**township, "features": township["features"][:3]}, by="xu.jing")
    in_force = [village for village in county.registry.villages() if village.in_force(date(2026, 9, 1))]
    assert len(in_force) == 3
    assert county.registry.villages_version > version
    with pytest.raises(RegistryRefused, match="unknown rule"):
        county.registry.set_rules({"dwel": 1}, by="xu.jing")
    assert county.registry.rules().version == 1
    for village, month, reason in (
        ("0", "2026-09", "大雪"),
        ("999901101201", "9", "大雪"),
        ("999901101201", "2026-09", " "),
    ):
        with pytest.raises(RegistryRefused):
            county.registry.waive(village, month, reason, by="xu.jing")


SETTINGS = 'name = "青峪县"\ndata = "county-data"\norigin = "county.qingyu.example"\n'


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "county.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


def test_relative_paths_belong_to_the_settings_file(settings_file: Path) -> None:
    settings = read_county_settings(settings_file)
    assert settings.data == settings_file.parent / "county-data"
    assert settings.secret_file == settings.data / "keys" / "session.secret"


@pytest.mark.parametrize(
    ("more", "said"),
    [("prot = 1\n", "unknown key 'prot'"), ("port = 70000\n", "port"), ('language = "fr"\n', "language")],
)
def test_a_typo_in_the_settings_is_refused(settings_file: Path, more: str, said: str) -> None:
    settings_file.write_text(SETTINGS + more, encoding="utf-8")
    with pytest.raises(SettingsRefused, match=said):
        read_county_settings(settings_file)


def test_the_command_line_sets_a_county_up(
    settings_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("long-enough\n"))
        code = main(["--settings", str(settings_file), *arguments])
        said = capsys.readouterr()
        return code, said.out.strip(), said.err.strip()

    assert run("add-account", "xu.jing", "许静", "administrator", "--password-stdin")[0] == 0
    assert run("add-account", "xu.jing", "许静", "administrator", "--password-stdin")[0] == 1
    assert run("enrol", VAN.name, VKEY)[1].startswith("van-07.qingyu.example is enrolled; compare")
    assert run("import-villages", str(TOWNSHIP)) == (0, "12 villages", "")
    assert run("set-rules", '{"days_apart": 7}') == (0, "rules version 2", "")
    assert run("waive", "999901101201", "2026-09", "大雪封路")[0] == 0
    assert run("waive", "999901101201", "2026-9", "大雪封路")[2].endswith("2025-11")
    assert run("rebuild") == (0, "0 entries read again", "")
    assert run("import-villages", str(settings_file))[0] == 1
    assert run("import-villages", "/nowhere.geojson")[0] == 1
    key = run("show-key")[1]
    assert key.startswith("county.qingyu.example+")
    assert run("show-key")[1] == key
    assert run("disable-account", "xu.jing")[0] == 0


def test_a_missing_settings_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--settings", str(tmp_path / "none.toml"), "show-key"]) == 1
    assert "no such settings file" in capsys.readouterr().err

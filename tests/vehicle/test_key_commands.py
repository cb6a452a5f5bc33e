"""``python -m vehicle --settings FILE rotate-key`` and its sisters, as a technician runs them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sync.formats.records import Draft
from sync.keys.journal_keys import JournalKeys, KeyChangeRefused
from sync.keys.tpm import TpmUnavailable
from sync.keys.vehicle_key import VehicleKey, fingerprint
from sync.record.database import FolderLock, JournalInUse
from sync.record.store import Store
from vehicle import key_commands
from vehicle.key_commands import NewOriginRefused, next_origin, run
from vehicle.process import main
from vehicle.settings import read_vehicle_settings

SETTINGS = """\
# our van
data = "data"
[vehicle]
id = "van-07"
plate = "川A·演07"
origin = "van-07.qingxi.example"   # never again for another
county_name = "青峪县"
[county]
url = ""
"""
OLD, NEW = "van-07.qingxi.example", "van-07-2.qingxi.example"


class Cut(Exception):
    """The power goes off."""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "vehicle.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    path.chmod(0o640)
    return path


@pytest.fixture
def lived(settings: Path, clock) -> Path:
    """A van with a journal and a recording."""
    data = settings.parent / "data"
    keys = JournalKeys.load_or_create(data / "keys", OLD)
    store = Store.open(data, OLD, keys, clock, vehicle="van-07")
    store.commit_now(Draft("access/1", {"action": "x", "what": "y"}))
    store.close()
    (data / "recordings" / "ab").mkdir(parents=True)
    (data / "recordings" / "ab" / "ab12").write_bytes(b"ecg")
    (data / "keys" / "field.key").write_text("stays")
    return settings


def test_the_key_is_shown_with_its_fingerprint(settings: Path) -> None:
    said = run("show-key", settings)
    key = VehicleKey.load(settings.parent / "data" / "keys" / "journal.key").verifier_key()
    assert said.startswith(f"{key}\nfingerprint {fingerprint(key)}\nkept in a file")


def test_as_a_program(settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--show-key"], 0), (["show-key"], 0), (["rotate-key"], 0), (["rotate-key"], 2)):
        monkeypatch.setattr("sys.argv", ["vehicle", "--settings", str(settings), *arguments])
        assert main() == code
    said = capsys.readouterr()
    assert said.out.count("fingerprint") == 3
    assert "key_change_refused" in said.err


def test_a_new_key_takes_over_at_the_next_start(lived: Path, clock) -> None:
    data = lived.parent / "data"
    before = VehicleKey.load(data / "keys" / "journal.key").verifier_key()
    said = run("rotate-key", lived)
    assert VehicleKey.load(data / "keys" / "journal.key").verifier_key() == before
    keys = JournalKeys.load_or_create(data / "keys", OLD)
    new = keys.files()[-1][1].verifier_key()
    assert fingerprint(new) in said
    store = Store.open(data, OLD, keys, clock, vehicle="van-07")
    keys.resume(store)
    assert keys.at_size(store.size()).verifier_key() == new
    assert keys.at_size(store.size() - 1).verifier_key() == before
    store.close()
    with pytest.raises(KeyChangeRefused):
        run("rotate-key", lived)


def test_sealing_says_first_what_it_means(settings: Path) -> None:
    assert "no recovery copy" in run("seal-key", settings)
    text = (settings.parent / "data" / "keys" / "journal.key").read_text()
    changed = SETTINGS.replace("[county]", f'tpm_tcti = "swtpm:path={settings.parent}/none"\n[county]')
    settings.write_text(changed, encoding="utf-8")
    with pytest.raises(TpmUnavailable):
        run("seal-key", settings, yes=True)
    assert (settings.parent / "data" / "keys" / "journal.key").read_text() == text


@pytest.mark.parametrize(
    ("origin", "following"),
    [
        ("van-07.qingxi.example", "van-07-2.qingxi.example"),
        ("van-07-2.qingxi.example", "van-07-3.qingxi.example"),
        ("van-07-9.qingxi.example", "van-07-10.qingxi.example"),
        ("van", "van-2"),
        ("van-01.county.example", "van-01-2.county.example"),
    ],
)
def test_the_origin_after_an_origin(origin: str, following: str) -> None:
    assert next_origin(origin) == following


def began_anew(settings: Path) -> None:
    data = settings.parent / "data"
    identity = read_vehicle_settings(settings).vehicle
    assert (identity.origin, identity.succeeds) == (NEW, OLD)
    assert "# our van" in settings.read_text(encoding="utf-8")
    assert settings.stat().st_mode & 0o777 == 0o640
    aside = data / "before" / OLD
    assert sorted(path.name for path in aside.iterdir() if not path.name.startswith("journal.db-")) == [
        "journal.db",
        "keys",
        "recordings",
    ]
    assert VehicleKey.load(aside / "keys" / "journal.key").name == OLD
    assert (aside / "recordings" / "ab" / "ab12").read_bytes() == b"ecg"
    assert sorted(path.name for path in (data / "keys").iterdir()) == ["field.key"]
    assert not (data / "journal.db").exists()


def test_a_new_origin_puts_everything_aside_and_deletes_nothing(lived: Path) -> None:
    said = run("new-origin", lived)
    assert "2 entries" in said
    assert "--yes" in said
    assert lived.read_text(encoding="utf-8") == SETTINGS
    said = run("new-origin", lived, yes=True)
    assert NEW in said
    assert "consultation.toml" in said
    began_anew(lived)
    assert run("show-key", lived).startswith(NEW)


@pytest.mark.parametrize("step", range(6))
def test_cut_off_at_any_place_the_same_command_goes_on(lived: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renaming is a place where the power may go off; what starts in between refuses to start."""
    left = [step]
    replace: Callable[..., None] = key_commands.os.replace

    def replace_or_cut(source: Path, target: Path) -> None:
        if left[0] == 0:
            raise Cut
        left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("vehicle.key_commands.os.replace", replace_or_cut)
        with contextlib.suppress(Cut):
            run("new-origin", lived, yes=True)
    run("new-origin", lived, yes=True)
    began_anew(lived)
    run("new-origin", lived, yes=True)
    began_anew(lived)


def test_what_runs_is_left_alone(lived: Path) -> None:
    lock = FolderLock(lived.parent / "data")
    with pytest.raises(JournalInUse):
        run("new-origin", lived, yes=True)
    lock.release()
    assert lived.read_text(encoding="utf-8") == SETTINGS


def test_settings_that_cannot_be_read_by_us_are_changed_by_hand(lived: Path) -> None:
    odd = SETTINGS.replace(f'origin = "{OLD}"', f'"origin" = "{OLD}"')
    lived.write_text(odd, encoding="utf-8")
    with pytest.raises(NewOriginRefused, match='write origin = "van-07-2'):
        run("new-origin", lived, yes=True)
    assert lived.read_text(encoding="utf-8") == odd
    assert (lived.parent / "data" / "journal.db").exists()
    lived.write_text(odd.replace(f'"origin" = "{OLD}"', f'"origin" = "{NEW}"\nsucceeds = "{OLD}"'), encoding="utf-8")
    run("new-origin", lived, yes=True)
    assert (lived.parent / "data" / "before" / OLD / "journal.db").exists()

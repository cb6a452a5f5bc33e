"""``python -m vehicle --settings F prune`` and ``rebuild``: done beside no running vehicle, told in words."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.formats.notes import ED25519_COSIGNATURE, SeedSigner, cosign
from sync.formats.records import Draft, format_time
from sync.record.database import JournalInUse
from sync.record.recordings import Recordings
from sync.record.retention import PruneRefused
from tests.vehicle.conftest import MORNING
from tests.vehicle.touch_bench import settings_in
from vehicle.open_record import open_record
from vehicle.record_commands import add_options, run
from vehicle.settings import VehicleSettings

ROOT = Path(__file__).parents[2]
PERSON = {"patient": "p-1", "name": "杨桂芳", "sex": "female", "source": "manual"}
GOOD = ("--before", "2026-03-03", "--reason", "15 years are over", "--by", "zhang.admin")


def say(command: str, settings: VehicleSettings, *options: str) -> str:
    parser = ArgumentParser()
    add_options(parser)
    return run(command, settings, SimulatedClock(MORNING + timedelta(days=6000)), parser.parse_args(options))


@pytest.fixture
def settings(tmp_path: Path, clock: SimulatedClock) -> VehicleSettings:
    """A van whose only patient the county has confirmed."""
    settings = settings_in(tmp_path)
    store = open_record(settings, clock, lambda n: b"r" * n).store
    store.commit_now(Draft("patient/1", PERSON))
    checkpoint = store.checkpoint_at(store.size())
    county = SeedSigner("county.example", b"c" * 32, ED25519_COSIGNATURE)
    receipt = checkpoint.signed_also([cosign(checkpoint.text, county, clock.now())])
    row = (store.size(), bytes(receipt), format_time(clock.now()))
    store.transact(lambda db: db.execute("INSERT INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row))
    store.close()
    return settings


def names(settings: VehicleSettings) -> list[str]:
    store = open_record(settings, SimulatedClock(MORNING), lambda n: b"r" * n).store
    found = [row["name"] for row in store.read("SELECT name FROM patients")]
    store.close()
    return found


def test_prune_first_says_what_it_would_do(settings: VehicleSettings) -> None:
    assert "bodies of 1 entries in 1 ranges" in say("prune", settings, *GOOD, "--dry-run")
    assert names(settings) == ["杨桂芳"]
    assert "bodies of 1 entries and 0 recordings" in say("prune", settings, *GOOD)
    assert names(settings) == []
    assert "bodies of 0 entries" in say("prune", settings, *GOOD)


@pytest.mark.parametrize("covered", [True, False])
def test_prune_reaches_the_journals_that_ended(settings: VehicleSettings, covered: bool) -> None:
    ended = settings.data / "before" / settings.vehicle.origin
    ended.mkdir(parents=True)
    for path in settings.data.glob("journal.db*"):
        path.rename(ended / path.name)
    (settings.data / "recordings").rename(ended / "recordings")
    recordings = Recordings(ended / "recordings")
    recordings.store(b"of a person who was pruned when the power went", "x/y")
    if not covered:
        with closing(sqlite3.connect(ended / "journal.db")) as database, database:
            database.execute("DELETE FROM receipts")
    said = say("prune", settings, *GOOD).splitlines()
    assert said[0] == "removed the bodies of 0 entries and 0 recordings"
    assert said[1].startswith(f"{settings.vehicle.origin}: removed the bodies of {1 if covered else 0} entries")
    assert ("1 of that time stay" in said[1]) is not covered
    assert list(recordings.names()) == []
    with closing(sqlite3.connect(ended / "journal.db")) as database:
        [(told,)] = database.execute("SELECT count(*) FROM entries WHERE kind = 'pruned/1'")
        [(kept,)] = database.execute("SELECT count(body) FROM entries WHERE kind = 'patient/1'")
    assert (told, kept) == ((1, 0) if covered else (0, 1))
    assert not (ended / "reserve").exists()


def test_prune_without_reason_or_name_is_refused(settings: VehicleSettings) -> None:
    with pytest.raises(PruneRefused, match="--by"):
        say("prune", settings, *GOOD[:4])
    assert names(settings) == ["杨桂芳"]


def test_rebuild_makes_the_tables_again(settings: VehicleSettings) -> None:
    store = open_record(settings, SimulatedClock(MORNING), lambda n: b"r" * n).store
    store.transact(lambda db: db.execute("DELETE FROM patients"))
    with pytest.raises(JournalInUse):
        say("rebuild", settings)
    store.close()
    assert "made again" in say("rebuild", settings)
    assert names(settings) == ["杨桂芳"]


def test_refused_in_words_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "vehicle.toml"
    path.write_text(
        '[vehicle]\nid = "van-1"\nplate = "川A·试01"\norigin = "van-1.example"\ncounty_name = "县"\n', encoding="utf-8"
    )
    asked = [sys.executable, "-m", "vehicle", "--settings", str(path), "prune", "--before", "2999-01-01"]
    (tmp_path / "vehicle.toml").write_text(f'data = "{tmp_path / "data"}"\n' + path.read_text(encoding="utf-8"))
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert json.loads(done.stderr.splitlines()[-1])["code"] == "prune_refused"

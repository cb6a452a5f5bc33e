"""What a person does about the record at the command line, while the vehicle process is stopped.

``prune``: remove what persons' records of before a day said, after retention under law (``sync.record.retention``),
also in the journals that ended and lie below ``data/before``.
``rebuild``: make the searchable tables again from the journal alone.
``replay``: ask every stored screening result again under the rule version that it names; refused when one differs.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import NoReturn

from devices.clock import Clock
from devices.errors import AskPerson
from sync.record.recordings import Recordings
from sync.record.retention import PruneRefused, Retention
from sync.record.store import Store
from sync.screening.replay import summary
from vehicle.key_commands import BEFORE
from vehicle.open_record import open_record
from vehicle.rule_book import replay
from vehicle.settings import VehicleSettings

COMMANDS = ("prune", "rebuild", "replay")


class ReplayDiffers(AskPerson):
    """A stored result is not what its rule version answers, or that version is not in the journal."""

    code = "replay_differs"


def add_options(parser: ArgumentParser) -> None:
    of_prune = parser.add_argument_group("with prune")
    of_prune.add_argument("--before", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the first day that stays")
    of_prune.add_argument("--reason", help="the law or rule, as it shall stand in the journal")
    of_prune.add_argument("--by", help="who decided it")
    of_prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def run(command: str, settings: VehicleSettings, clock: Clock, chosen: Namespace) -> str:
    """Do ``command``; what to print.

    :raises PruneRefused: an option is missing, or the day is not over.
    :raises ReplayDiffers: names the results
    :raises AskPerson: the journal is in use or unreadable, the disk full ...
    """
    record = open_record(settings, clock, os.urandom)
    with closing(record.store):
        if command == "rebuild":
            record.store.rebuild()
            return f"searchable tables made again from {record.store.size()} entries"
        if command == "replay":
            told, same = summary(replay(record.store))
            if not same:
                raise ReplayDiffers(told)
            return told
        said = [_prune(Retention(record.store, record.recordings), clock, chosen)]
    for folder in _ended(settings.data):
        with closing(_open_ended(folder, settings, clock)) as store:
            retention = Retention(store, Recordings(folder / "recordings"))
            said.append(f"{folder.name}: {_prune(retention, clock, chosen)}")
    return "\n".join(said)


def _prune(retention: Retention, clock: Clock, chosen: Namespace) -> str:
    if not (chosen.before and chosen.reason and chosen.by):
        raise PruneRefused("prune needs --before, --reason and --by: all three stand in the journal for good")
    plan = retention.plan(chosen.before, clock.now())
    kept = f"; {plan.unconfirmed} of that time stay, as the county has not confirmed them" if plan.unconfirmed else ""
    if chosen.dry_run:
        return f"would remove the bodies of {len(plan.places)} entries in {len(plan.ranges)} ranges{kept}"
    pruned = retention.prune(plan, chosen.reason, chosen.by)
    return f"removed the bodies of {pruned.entries} entries and {pruned.recordings} recordings{kept}"


# journals that ended --------------------------------------------------------------------------------------------------


class _NoKey:
    """In the place of a key that is lost or revoked: what is written to an ended journal is never signed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def verifier_key(self) -> NoReturn:
        raise LookupError(f"{self.name} has ended")

    def sign(self, message: bytes) -> NoReturn:
        raise LookupError(f"{self.name} has ended")


def _ended(data: Path) -> Iterator[Path]:
    """Folders of the journals that ``new-origin`` has put aside, each named by its origin."""
    return (path.parent for path in sorted((data / BEFORE).glob("*/journal.db")))


def _open_ended(folder: Path, settings: VehicleSettings, clock: Clock) -> Store:
    return Store.open(
        folder,
        folder.name,
        _NoKey(folder.name),
        clock,
        vehicle=settings.vehicle.id,
        practice=settings.practice,
        reserve_bytes=0,
    )

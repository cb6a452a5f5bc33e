"""What a person does about the record at the command line, while the vehicle process is stopped.

``prune``: remove what persons' records of before a day said, after retention under law (``sync.record.retention``).
``rebuild``: make the searchable tables again from the journal alone.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from datetime import date

from devices.clock import Clock
from sync.record.retention import PruneRefused, Retention
from vehicle.assembly import open_record
from vehicle.settings import VehicleSettings

COMMANDS = ("prune", "rebuild")


def add_options(parser: ArgumentParser) -> None:
    of_prune = parser.add_argument_group("with prune")
    of_prune.add_argument("--before", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the first day that stays")
    of_prune.add_argument("--reason", help="the law or rule, as it shall stand in the journal")
    of_prune.add_argument("--by", help="who decided it")
    of_prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def run(command: str, settings: VehicleSettings, clock: Clock, chosen: Namespace) -> str:
    """Do ``command``; what to print.

    :raises PruneRefused: an option is missing, or the day is not over.
    :raises AskPerson: the journal is in use or unreadable, the disk full ...
    """
    record = open_record(settings, clock, os.urandom)
    try:
        if command == "rebuild":
            record.store.rebuild()
            return f"searchable tables made again from {record.store.size()} entries"
        return _prune(Retention(record.store, record.recordings), clock, chosen)
    finally:
        record.store.close()


def _prune(retention: Retention, clock: Clock, chosen: Namespace) -> str:
    if not (chosen.before and chosen.reason and chosen.by):
        raise PruneRefused("prune needs --before, --reason and --by: all three stand in the journal for good")
    plan = retention.plan(chosen.before, clock.now())
    if chosen.dry_run:
        return f"would remove the bodies of {len(plan.places)} entries in {len(plan.ranges)} ranges"
    pruned = retention.prune(plan, chosen.reason, chosen.by)
    return f"removed the bodies of {pruned.entries} entries and {pruned.recordings} recordings"

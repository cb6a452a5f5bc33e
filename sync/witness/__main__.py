"""``python -m sync.witness --settings witness.toml``: the province's witness; ``show-key``, ``logs``, ``refused``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from devices.clock import SystemClock
from devices.errors import AskPerson
from devices.events import emit
from sync.data_folder import usable_folder
from sync.formats.notes import ED25519_COSIGNATURE
from sync.formats.records import format_time
from sync.keys.vehicle_key import VehicleKey
from sync.service import log_to_stderr
from sync.web.server import listening, serve
from sync.witness.app import create_witness
from sync.witness.ledger import Ledger
from sync.witness.settings import WitnessSettings, read_witness_settings

SERVICE = "witness"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, or after SIGTERM or SIGINT; 2 when settings or keys need a person."""
    parser = argparse.ArgumentParser(prog="python -m sync.witness", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="witness.toml")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("show-key", help="the witness's key, for the counties' settings and everybody's policy")
    commands.add_parser("logs", help="what was cosigned last, of which log")
    commands.add_parser("refused", help="what contradicted an earlier checkpoint").add_argument("origin")
    kept = commands.add_parser(
        "checkpoints", help="every checkpoint of a registry, for sync.verify --log ... --earlier"
    )
    kept.add_argument("origin")
    kept.add_argument("folder", type=Path, help="a file for each, named by its size")
    chosen = parser.parse_args(arguments)
    try:
        settings = read_witness_settings(chosen.settings)
        ledger = open_ledger(settings)
        try:
            if chosen.command is None:
                log_to_stderr(SERVICE)
                asyncio.run(_run(ledger, settings))
            else:
                print("\n".join(_said(ledger, chosen)))
        finally:
            ledger.close()
    except AskPerson as refusal:
        emit("service_refused", service=SERVICE, code=refusal.code, reason=str(refusal))
        print(refusal, file=sys.stderr)
        return 2
    return 0


def open_ledger(settings: WitnessSettings) -> Ledger:
    """Makes folder and key when missing.

    :raises AskPerson: the folder cannot be used, the key or the ledger cannot be read, a key is in two roles
    """
    usable_folder(settings.database_file.parent)
    key = VehicleKey.load_or_create(settings.key_file, settings.origin, algorithm=ED25519_COSIGNATURE)
    return Ledger(settings.database_file, settings.county, key, SystemClock())


async def _run(ledger: Ledger, settings: WitnessSettings) -> None:
    with listening(settings.host, settings.port, "witness.toml") as listener:
        await serve(create_witness(ledger), listener, SERVICE, SystemClock())


def _said(ledger: Ledger, chosen: argparse.Namespace) -> list[str]:
    match chosen.command:
        case "logs":
            return [
                f"{log.origin} {log.size} {format_time(log.cosigned_at)}"
                + (f" refused {log.refused}" * bool(log.refused))
                for log in ledger.logs()
            ]
        case "refused":
            kept = ledger.refused(chosen.origin)
            return [f"{format_time(at)} {reason}\n{note.decode()}" for at, reason, note in kept]
        case "checkpoints":
            chosen.folder.mkdir(parents=True, exist_ok=True)
            notes = ledger.registry_checkpoints(chosen.origin)
            for size, note in notes:
                (chosen.folder / str(size)).write_bytes(note)
            return [f"{len(notes)} checkpoints of {chosen.origin} in {chosen.folder}"]
        case _:
            return [str(ledger.verifier_key)]


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m vehicle --settings FILE export FOLDER``: to a stick, whether or not the vehicle process runs.

While it runs it does the work itself, asked over its Unix socket: only one process writes the journal.
"""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import httpx

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.notes import VerifierKey
from vehicle.open_record import open_record
from vehicle.settings import VehicleSettings
from vehicle.sticks import Sticks
from vehicle.touchscreen.stick import told

COMMANDS = ("export",)


class ExportFailed(AskPerson):
    """The message says why and what to do."""

    code = "export_failed"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, help="with export: where the stick is mounted")
    of_export = parser.add_argument_group("with export")
    of_export.add_argument("--whole", action="store_true", help="all entries, for a county that has lost its own")


def run(settings: VehicleSettings, clock: Clock, chosen: Namespace) -> str:
    """Export, and take in the county's answer to an earlier export; what to print.

    :raises ExportFailed: it did not end well, or no folder was named.
    :raises AskPerson: the journal is in use or unreadable ...
    """
    if chosen.folder is None:
        raise ExportFailed("name the folder where the stick is mounted: export /media/stick")
    folder = chosen.folder.resolve()
    answer = _ask_running(settings.touchscreen.socket, folder, chosen.whole)
    if answer is None:
        answer = asyncio.run(_export_here(settings, clock, folder, chosen.whole))
    if answer["phase"] != "done":
        raise ExportFailed(answer["detail"] or f"the export was {answer['phase']}")
    return _said(answer)


def _ask_running(socket: Path, folder: Path, whole: bool) -> dict[str, Any] | None:
    """What the running vehicle process says; None when there is none."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), trust_env=False, timeout=None) as vehicle:
            answer = vehicle.post("http://vehicle/api/stick", json={"folder": str(folder), "whole": whole})
    except httpx.ConnectError:
        return None
    said: dict[str, Any] = answer.json()
    if answer.status_code != 200:
        raise ExportFailed(f"{said.get('title', '')} {said.get('next_step', said)}".strip())
    return said


async def _export_here(settings: VehicleSettings, clock: Clock, folder: Path, whole: bool) -> dict[str, Any]:
    record = open_record(settings, clock, os.urandom)
    try:
        key = VerifierKey.typed(settings.county.key) if settings.county.key else None
        sticks = Sticks(record.store, record.recordings, key, clock, lambda _: None, lambda: None, ())
        job = await sticks.export(folder, None, whole)
        await sticks.finished()
        return told(job)
    finally:
        record.store.close()


def _said(answer: dict[str, Any]) -> str:
    lines = [f"{answer['folder']}: {answer['entries']} entries and {answer['recordings']} recordings"]
    if answer["returned_entries"] or answer["returned_recordings"]:
        confirmed = f"{answer['returned_entries']} entries and {answer['returned_recordings']} recordings"
        lines.append(f"the county has confirmed {confirmed}")
    if answer["left"]:
        lines.append(f"{answer['left']} recordings did not fit: take a larger stick, or a second one")
    if answer["damaged"]:
        lines.append(f"{answer['damaged']} recordings are damaged on this PC and were left out")
    lines.append("The stick holds patient data, signed but not encrypted: hand it to the county and to nobody else.")
    return "\n".join(lines)

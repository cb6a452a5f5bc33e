"""What this van has of a person as a FHIR R4 file on a stick: without names, or with them for a reason; noted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.delivery.stick_export import StickGone
from sync.formats.records import Draft
from sync.interop import fhir
from sync.interop.fhir_record import ReadRows, Row, of_person
from sync.record.durable_file import write_durably
from vehicle.clinic.people import REASONS, NobodyFound
from vehicle.clinic.ports import Journal
from vehicle.clinic.views import CHINA
from vehicle.mounts import Stick

FOLDER = "xunzhen-fhir"


class FhirReasonUnknown(AskPerson):
    """Names go along for a reason of ``vehicle.clinic.people.REASONS`` only."""

    code = "reveal_reason_missing"


class FhirExport:
    """:param sticks: what is put in just now"""

    def __init__(
        self, store: Journal, sticks: Callable[[], list[Stick]], clock: Clock, origin: str, county: str
    ) -> None:
        self._store, self._sticks, self._clock = store, sticks, clock
        self._origin, self._county = origin, county

    async def to_stick(self, patient: str, stick: Path, reason: str, by: str, by_name: str) -> Path:
        """Write the person's bundle; where it is.

        :param reason: why with names; empty: without
        :raises FhirReasonUnknown, NobodyFound: nothing is written
        :raises StickGone: no stick is mounted there, or it does not take the file
        """
        if reason and reason not in REASONS:
            raise FhirReasonUnknown("say why names are needed: " + ", ".join(REASONS))
        there = await asyncio.to_thread(self._sticks)
        if not any(found.path == stick and found.writable for found in there):
            raise StickGone(f"no stick that can be written is mounted at {stick}: put it in again")
        record = of_person(self._rows(), self._origin, patient)
        if record is None:
            raise NobodyFound(f"no person {patient}")
        at = self._clock.now()
        software = f"xunzhen {version('xunzhen')}"
        made = fhir.bundle(record, fhir.Export(at, by_name, self._county, software, reason))
        said = {"action": "fhir_export", "what": patient} | ({"reason": reason} if reason else {})
        await self._store.commit(Draft("access/1", said, by))
        path = stick / FOLDER / name_of(patient, at, bool(reason))
        try:
            await asyncio.to_thread(write_durably, path, fhir.written(made))
        except OSError as fault:
            raise StickGone(f"the stick does not take the file: {fault.strerror}") from fault
        return path

    def _rows(self) -> ReadRows:
        def read(table: str, column: str, value: str) -> Sequence[Row]:
            found: list[dict[str, Any]] = self._store.read(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
            return found

        return read


def name_of(patient: str, at: datetime, named: bool) -> str:
    """Of a file: no name of a person in it."""
    return f"{at.astimezone(CHINA):%Y%m%d-%H%M%S}-{patient[-10:]}{'' if named else '-pseudonymous'}.fhir.json"

"""ECG files from a stick, or out of a device's memory: kept as recordings of the person at hand or of nobody yet.

What a file claims about its person is shown beside the person at hand, and where the two differ it is said; whose it
is, a person decides. An ECG that belongs to nobody yet waits in ``held`` until it is assigned (``recording_assigned``).
The time in the file is that of the device's clock, without zone: it is kept beside the time of the import.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from devices import ecg_files
from devices.clock import Clock
from devices.ecg_files.document import LARGEST_FILE_BYTES, EcgDocument, EcgFileRefused
from devices.errors import AskPerson
from devices.events import emit
from devices.readings import Stamped, StoredEcg
from sync.formats import ecg_file
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time
from sync.record.recordings import Recordings
from vehicle.clinic.people import PatientView
from vehicle.clinic.ports import Journal, Listenable, Soon
from vehicle.clinic.said_person import Compared, compared
from vehicle.clinic.views import CHINA
from vehicle.mounts import Stick
from vehicle.recorded_ecg import Served

MOST_FILES = 200
MOST_LOOKED_AT = 5_000
UNREAD = "ecg_file"
"""``what`` of a recording that is a device's file as it came."""
DEEPEST = 4
"""Folders below the stick's own."""


class EcgFileGone(AskPerson):
    """The stick was pulled out, or the file is not the one that was looked at."""

    code = "ecg_file_gone"


class EcgImportedAlready(AskPerson):
    """This very ECG is a recording already; ``facts["sha256"]`` says which."""

    code = "ecg_imported_already"


class EcgTaken(AskPerson):
    """The ECG belongs to somebody already."""

    code = "ecg_taken"


class EcgPersonChanged(AskPerson):
    """The person whose ECG it was to be is not the one being served now."""

    code = "ecg_person_changed"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """``path`` is absolute; ``place`` is where it lies on the stick."""

    path: str
    stick: str
    place: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class LookedAt:
    path: str
    name: str
    file_sha256: str
    document: EcgDocument


@dataclass(frozen=True, slots=True)
class Held:
    """An ECG that belongs to nobody yet."""

    sha256: str
    name: str
    """Of the file it came from; empty where it was recorded here."""
    device: str
    device_said_at: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A file out of a device's memory that is not read here, kept as it came: the device may forget it."""

    sha256: str
    device: str
    received_at: datetime
    refused: str
    """Code of the refusal."""


class EcgImport:
    """
    :param sticks: what is put in just now
    :param served: the visit that goes on, and who is served in it
    """

    def __init__(
        self,
        sticks: Callable[[], list[Stick]],
        recordings: Recordings,
        journal: Journal,
        clock: Clock,
        served: Callable[[], Served],
    ) -> None:
        self._sticks, self._recordings, self._journal = sticks, recordings, journal
        self._clock, self._served = clock, served
        self._storing = asyncio.Lock()
        """Two taps on one file are one recording."""
        self._on_the_way: set[str] = set()
        """Hashes of recordings out of devices whose entries are not durable yet."""

    def listen(self, feed: Listenable, commits: Soon) -> None:
        """What devices send out of their memory is kept, once, for somebody to say whose it is."""
        feed.on("stored_ecg", partial(self._on_stored, commits), "ecg import")

    def _on_stored(self, commits: Soon, stamped: Stamped) -> None:
        """In the feed's turn: a device may forget only what is durable, so nothing is left for later. A file that is
        not read here is kept as it came.
        """
        if not isinstance(stamped.event, StoredEcg):
            return
        content = stamped.event.content
        looked: LookedAt | None = None
        try:
            looked = LookedAt("", "", hashlib.sha256(content).hexdigest(), ecg_files.read(content))
            blob, media_type = ecg_file.write([looked.document.samples]), ecg_file.MEDIA_TYPE
        except EcgFileRefused as refused:
            refusal, blob, media_type = refused, content, "application/octet-stream"
        sha256 = hashlib.sha256(blob).hexdigest()
        if sha256 in self._on_the_way or self._journal.read("SELECT 1 FROM recordings WHERE sha256 = ?", (sha256,)):
            return
        self._recordings.store(blob, media_type)
        self._on_the_way.add(sha256)
        if looked is None:
            fields = _unread_fields(refusal, sha256, len(blob), stamped)
            emit("stored_ecg_refused", logging.WARNING, device=stamped.device, code=refusal.code, reason=str(refusal))
        else:
            fields = _fields(looked, sha256, len(blob), stamped.received_at, []) | {"device": stamped.device}
            emit("ecg_imported", sha256=sha256, format=looked.document.format, held=True)
        commits.soon(Draft("recording/1", fields), then=partial(self._on_the_way.discard, sha256))

    def files(self) -> list[FoundFile]:
        """What may be ECG files on the sticks, the newest first. Reads the sticks: not for the event loop."""
        found = [(when, file) for stick in self._sticks() for when, file in _files_on(stick)]
        return [file for _, file in sorted(found, key=lambda one: one[0], reverse=True)[:MOST_FILES]]

    def look(self, path: str) -> LookedAt:
        """Read a file on a stick. Not for the event loop.

        :raises EcgFileGone: it lies on no stick that is put in, or cannot be read.
        :raises EcgFileRefused: it is no ECG file that is read here.
        """
        place = Path(path)
        try:
            real = place.resolve(strict=True)
            if not any(real.is_relative_to(stick.path.resolve()) for stick in self._sticks()):
                raise EcgFileGone(f"{place.name} lies on no stick that is put in")
            content = _read(real)
        except (OSError, ValueError) as fault:
            raise EcgFileGone(f"{place.name} cannot be read: {fault}") from fault
        whole = hashlib.sha256(content)

        def beside(name: str) -> bytes:
            """Another file of the record, from the same folder only; it counts for the hash."""
            other = (real.parent / name).resolve(strict=True)
            if other.parent != real.parent:
                raise FileNotFoundError(2, "not beside the header", name)
            more = _read(other)
            whole.update(more)
            return more

        document = ecg_files.read(content, beside)
        return LookedAt(path, place.name, whole.hexdigest(), document)

    def claims(self, document: EcgDocument, known: PatientView | None) -> list[Compared]:
        """What the file says of its person, beside a person who is known here, or nobody."""
        said_at = document.recorded_said_at
        said_on = datetime.fromisoformat(said_at).date() if said_at else None
        return compared(document.person, known, said_on, self._clock.now().astimezone(CHINA).date())

    async def store(self, path: str, file_sha256: str, known: PatientView | None, by: str) -> str:
        """Keep the file that was looked at as a recording: its SHA-256. In what it and the person differ is noted.

        :param known: whose it is: the person being served; None: of nobody yet
        :raises EcgFileGone: see ``look``; also when the file changed since.
        :raises EcgPersonChanged: somebody else is served by now.
        :raises EcgImportedAlready, EcgFileRefused, DiskFull, DiskFault: nothing is kept.
        """
        looked = await asyncio.to_thread(self.look, path)
        if looked.file_sha256 != file_sha256:
            raise EcgFileGone(f"{looked.name} is not the file that was looked at")
        async with self._storing:
            return await self._store(looked, known, by)

    async def _store(self, looked: LookedAt, known: PatientView | None, by: str) -> str:
        patient = known.patient if known is not None else None
        served = self._served_is(patient)
        blob = await asyncio.to_thread(ecg_file.write, [looked.document.samples])
        sha256 = hashlib.sha256(blob).hexdigest()
        if self._rows("sha256 = ?", sha256):
            raise EcgImportedAlready(f"{looked.name} is recording {sha256[:16]} already", sha256=sha256)
        await asyncio.to_thread(self._recordings.store, blob, ecg_file.MEDIA_TYPE)
        document = looked.document
        differs = [row.what for row in self.claims(document, known) if row.same is False]
        fields = _fields(looked, sha256, len(blob), self._clock.now(), differs)
        if patient is not None:
            fields["patient"] = patient
        encounter = served.encounter if patient is not None else None
        await self._journal.commit(Draft("recording/1", fields, by, served.visit, encounter))
        emit("ecg_imported", sha256=sha256, format=document.format, held=patient is None)
        return sha256

    def held(self) -> list[Held]:
        """ECGs that belong to nobody yet, newest first."""
        found = []
        for row in self._rows("patient IS NULL"):
            imported = json.loads(row["facts_json"]).get("imported", {})
            name, said_at = imported.get("file_name", ""), imported.get("device_said_at")
            found.append(Held(row["sha256"], name, row["device"] or "", said_at, row["duration_ms"]))
        return found

    def unread(self) -> list[Unread]:
        """What came out of devices and could not be read, newest first."""
        rows = self._journal.read("SELECT * FROM recordings WHERE what = ? ORDER BY started_at DESC", (UNREAD,))
        return [
            Unread(
                row["sha256"], row["device"], parse_time(row["started_at"]), json.loads(row["facts_json"])["refused"]
            )
            for row in rows
        ]

    async def assign(self, sha256: str, patient: str, by: str) -> None:
        """Say that a held ECG is that of the person being served.

        :raises EcgPersonChanged: somebody else is served by now.
        :raises EcgTaken: it is somebody's already, or there is none.
        """
        async with self._storing:
            served = self._served_is(patient)
            if not self._rows("sha256 = ? AND patient IS NULL", sha256):
                raise EcgTaken(f"recording {sha256[:16]} waits for nobody")
            fields: dict[str, Json] = {"sha256": sha256, "patient": patient}
            await self._journal.commit(Draft("recording_assigned/1", fields, by, served.visit, served.encounter))

    def _served_is(self, patient: str | None) -> Served:
        served = self._served()
        if patient is not None and served.patient != patient:
            raise EcgPersonChanged("somebody else is served by now")
        return served

    def _rows(self, which: str, *values: str) -> list[dict[str, Any]]:
        return self._journal.read(
            f"SELECT * FROM recordings WHERE what = 'ecg' AND {which} ORDER BY started_at DESC", values
        )


def _read(path: Path) -> bytes:
    """A little more than may be read at most, so that whoever looks at it can refuse what is larger."""
    with path.open("rb") as file:
        return file.read(LARGEST_FILE_BYTES + 1)


def _fields(looked: LookedAt, sha256: str, n_bytes: int, at: datetime, differs: list[str]) -> dict[str, Json]:
    """Of a ``recording/1`` that is nobody's.

    :param at: of the import; the device's own time is among the facts
    """
    document = looked.document
    return {
        "sha256": sha256,
        "bytes": n_bytes,
        "media_type": ecg_file.MEDIA_TYPE,
        "what": "ecg",
        "device": document.device_said or document.format,
        "started_at": format_time(at),
        "duration_ms": round(document.duration_s * 1000),
        "facts": _facts(looked, differs),
    }


def _unread_fields(refusal: EcgFileRefused, sha256: str, n_bytes: int, stamped: Stamped) -> dict[str, Json]:
    return {
        "sha256": sha256,
        "bytes": n_bytes,
        "media_type": "application/octet-stream",
        "what": UNREAD,
        "device": stamped.device,
        "started_at": format_time(stamped.received_at),
        "duration_ms": 0,
        "facts": {"driver": stamped.driver, "refused": refusal.code, "reason": str(refusal)},
    }


def _facts(looked: LookedAt, differs: list[str]) -> dict[str, Json]:
    document = looked.document
    imported: dict[str, Json] = {
        "format": document.format,
        "file_name": looked.name,
        "file_sha256": looked.file_sha256,
        "missing_samples": document.missing_samples,
        "differs": [*differs],
    }
    if document.recorded_said_at is not None:
        imported["device_said_at"] = document.recorded_said_at
    return {
        "interrupted": document.missing_samples > 0,
        "channels": list(document.samples.channels),
        "gaps": [],
        "imported": imported,
    }


def _files_on(stick: Stick) -> Iterator[tuple[float, FoundFile]]:
    looked_at = 0
    root = stick.path
    for folder, folders, names in os.walk(root):
        at = Path(folder)
        folders[:] = [] if len(at.relative_to(root).parts) >= DEEPEST else [one for one in folders if one[0] != "."]
        for name in names:
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                return
            if name.lower().endswith(ecg_files.SUFFIXES) and name[0] != "." and _utf8(name):
                path = at / name
                try:
                    said = path.stat()
                except OSError:
                    continue
                place = str(path.relative_to(root))
                yield said.st_mtime, FoundFile(str(path), stick.name, place, said.st_size)


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

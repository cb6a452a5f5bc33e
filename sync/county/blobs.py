"""Recordings as files named by their SHA-256; uploads may break off and go on (IETF resumable-upload semantics)."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path

from sqlalchemy import insert, select

from devices.clock import Clock
from devices.events import emit
from sync.county.database import Database
from sync.county.mirror import Refused
from sync.county.schema import uploads
from sync.secret_file import sync_folder

_NAME = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class UploadState:
    """:ivar offset: bytes that are safely stored"""

    offset: int
    complete: bool


class Blobs:
    """Complete files in ``folder/ab/<sha256>``, begun ones in ``folder/partial/<origin>/<sha256>``.

    A begun upload belongs to the vehicle that sends it, so that none can spoil another's.
    """

    def __init__(self, folder: Path, database: Database, clock: Clock, largest_bytes: int) -> None:
        self._folder = folder
        self._database = database
        self._clock = clock
        self._largest_bytes = largest_bytes
        self._lock = threading.Lock()

    def path(self, sha256: str) -> Path:
        if not _NAME.fullmatch(sha256):
            raise ValueError(f"{sha256[:70]!r} is not a SHA-256 in lowercase hex")
        return self._folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def state(self, origin: str, sha256: str) -> UploadState | None:
        """How far an upload is; None when nothing of it is here."""
        complete = self.path(sha256)
        if complete.exists():
            return UploadState(complete.stat().st_size, True)
        begun = self._partial(origin, sha256)
        return UploadState(begun.stat().st_size, False) if begun.exists() else None

    def append(
        self, origin: str, sha256: str, offset: int, body: bytes, complete: bool, length: int | None
    ) -> UploadState:
        """Add ``body`` at ``offset``; durable when it returns. With ``complete`` the hash is checked.

        :param length: the whole size if the sender said it
        :raises Refused: 409 wrong offset (the message has the right one), 413 too large, 422 another hash: then what
            was begun is removed, so that the next try starts over
        """
        with self._lock:
            state = self.state(origin, sha256) or UploadState(0, False)
            if state.complete:
                return state
            if offset != state.offset:
                raise Refused(409, f"the upload stands at {state.offset}, not {offset}", size=state.offset)
            end = offset + len(body)
            if max(end, length or 0) > self._largest_bytes:
                raise Refused(413, f"a recording may have at most {self._largest_bytes} bytes")
            if length is not None and (end > length or (complete and end != length)):
                raise Refused(400, f"{end} bytes do not fit the length {length} that was said")
            begun = self._partial(origin, sha256)
            begun.parent.mkdir(parents=True, exist_ok=True)
            with begun.open("ab") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            if not complete:
                return UploadState(end, False)
            self._finish(origin, sha256, begun)
            return UploadState(end, True)

    def _finish(self, origin: str, sha256: str, begun: Path) -> None:
        hashed = new_sha256()
        with begun.open("rb") as file:
            while part := file.read(_READ_BYTES):
                hashed.update(part)
        if hashed.hexdigest() != sha256:
            begun.unlink()
            raise Refused(422, "what arrived has another SHA-256: send it again from the start")
        size = begun.stat().st_size
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        begun.replace(target)
        sync_folder(target.parent)
        row = {"sha256": sha256, "origin": origin, "bytes": size, "stored_at": self._clock.now()}
        with self._database.write() as connection:
            if connection.execute(select(uploads.c.sha256).where(uploads.c.sha256 == sha256)).first() is None:
                connection.execute(insert(uploads).values(row))
        emit("recording_stored", sha256=sha256, bytes=size)

    def _partial(self, origin: str, sha256: str) -> Path:
        self.path(sha256)
        return self._folder / "partial" / origin / sha256

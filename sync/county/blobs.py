"""Recordings at the county, named by their SHA-256: uploads may break off and go on (IETF resumable-upload semantics).

``Blobs`` is what the routes use. Where the bytes lie is a ``BlobStore``: a folder (here) or an S3-compatible object
store (``object_store.py``). No state of an upload is kept in the process, so any worker may take the next part.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import Protocol

from devices.clock import Clock
from devices.errors import Retry
from devices.events import emit
from sync.county.database import Database
from sync.county.mirror import Refused
from sync.county.schema import uploads
from sync.record.secret_file import sync_folder

READ_BYTES = 1 << 20
_NAME = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class StoreAway(Retry):
    """The store cannot be used now: disk full, server away, bucket missing, wrong key. Nothing was lost."""

    code = "blob_store_away"


class BlobMissing(KeyError):
    """There is no complete recording of this name."""


class PartTaken(Exception):
    """Another request has put bytes at this offset, or the upload is elsewhere by now."""


class BlobStore(Protocol):
    """Bytes by name. Every method may raise ``StoreAway``; names were checked by the caller.

    Several processes may call it for the same upload at once; each part is taken once.
    """

    def size(self, sha256: str) -> int | None:
        """Of the complete recording; None when there is none."""

    def read(self, sha256: str) -> Iterator[bytes]:
        """:raises BlobMissing: see there"""

    def begun(self, origin: str, sha256: str) -> int | None:
        """Bytes of a begun upload that are safely stored, from the start without a hole; None when there are none."""

    def add(self, origin: str, sha256: str, offset: int, body: bytes) -> None:
        """Durable when it returns. ``body`` is not empty.

        :raises PartTaken: the upload does not stand at ``offset`` any more
        """

    def finish(self, origin: str, sha256: str) -> int | None:
        """Make the begun upload the complete recording if its hash is right; its size.

        None when the hash is wrong: then nothing of the upload is left. Repeating it gives the same.
        """

    def remove(self, sha256: str) -> None:
        """The complete recording is gone, durably; nothing when there is none."""


@dataclass(frozen=True, slots=True)
class UploadState:
    """:ivar offset: bytes that are safely stored"""

    offset: int
    complete: bool


class Blobs:
    """A begun upload belongs to the vehicle that sends it, so that none can spoil another's."""

    def __init__(self, store: BlobStore, database: Database, clock: Clock, largest_bytes: int) -> None:
        self._store = store
        self._database = database
        self._clock = clock
        self._largest_bytes = largest_bytes

    def has(self, sha256: str) -> bool:
        return self._store.size(_checked(sha256)) is not None

    def read(self, sha256: str) -> Iterator[bytes]:
        """The complete recording in pieces.

        :raises BlobMissing, StoreAway: see there
        """
        return self._store.read(_checked(sha256))

    def state(self, origin: str, sha256: str) -> UploadState | None:
        """How far an upload is; None when nothing of it is here. :raises StoreAway: see there"""
        complete = self._store.size(_checked(sha256))
        if complete is not None:
            return UploadState(complete, True)
        begun = self._store.begun(_checked_origin(origin), sha256)
        return UploadState(begun, False) if begun is not None else None

    def append(
        self, origin: str, sha256: str, offset: int, body: bytes, complete: bool, length: int | None
    ) -> UploadState:
        """Add ``body`` at ``offset``; durable when it returns. With ``complete`` the hash is checked.

        :param length: the whole size if the sender said it
        :raises Refused: 409 wrong offset (the message has the right one), 413 too large, 422 another hash: then what
            was begun is removed, so that the next try starts over
        :raises StoreAway: see there; what was stored before stays
        """
        state = self.state(origin, sha256) or UploadState(0, False)
        if state.complete:
            self._note(origin, sha256, state.offset)
            return state
        if offset != state.offset:
            raise _elsewhere(state.offset, offset)
        end = offset + len(body)
        if max(end, length or 0) > self._largest_bytes:
            raise Refused(413, f"a recording may have at most {self._largest_bytes} bytes")
        if length is not None and (end > length or (complete and end != length)):
            raise Refused(400, f"{end} bytes do not fit the length {length} that was said")
        if body:
            try:
                self._store.add(origin, sha256, offset, body)
            except PartTaken:
                now = self.state(origin, sha256) or UploadState(0, False)
                if now.complete:
                    return now
                raise _elsewhere(now.offset, offset) from None
        if not complete:
            return UploadState(end, False)
        size = self._store.finish(origin, sha256)
        if size is None:
            raise Refused(422, "what arrived has another SHA-256: send it again from the start")
        self._note(origin, sha256, size)
        return UploadState(size, True)

    def remove(self, sha256: str) -> None:
        """Remove the complete recording after retention; nothing when there is none. :raises StoreAway: see there"""
        self._store.remove(_checked(sha256))

    def _note(self, origin: str, sha256: str, size: int) -> None:
        """Once: also when the process ended between the bytes and their row."""
        row = {"sha256": sha256, "origin": origin, "bytes": size, "stored_at": self._clock.now()}
        if self._database.insert_new(uploads, row):
            emit("recording_stored", sha256=sha256, bytes=size)


class FolderStore:
    """Complete files in ``folder/ab/<sha256>``, begun ones in ``folder/partial/<origin>/<sha256>``.

    Who adds locks the begun file (flock), so that several processes may share the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def size(self, sha256: str) -> int | None:
        with _disk():
            return _size(self._complete(sha256))

    def read(self, sha256: str) -> Iterator[bytes]:
        with _disk():
            try:
                file = self._complete(sha256).open("rb")
            except FileNotFoundError:
                raise BlobMissing(sha256) from None
            with file:
                while piece := file.read(READ_BYTES):
                    yield piece

    def begun(self, origin: str, sha256: str) -> int | None:
        with _disk():
            return _size(self._partial(origin, sha256))

    def add(self, origin: str, sha256: str, offset: int, body: bytes) -> None:
        with _disk(), self._held(origin, sha256) as file:
            if os.fstat(file).st_size != offset:
                raise PartTaken
            rest = memoryview(body)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
            if offset == 0:
                sync_folder(self._partial(origin, sha256).parent)

    def finish(self, origin: str, sha256: str) -> int | None:
        begun, complete = self._partial(origin, sha256), self._complete(sha256)
        with suppress(PartTaken), _disk(), self._held(origin, sha256) as file:
            size, hashed = os.fstat(file).st_size, new_sha256()
            for offset in range(0, size, READ_BYTES):
                hashed.update(os.pread(file, READ_BYTES, offset))
            if hashed.hexdigest() != sha256:
                begun.unlink()
                return None
            _make_folder(complete.parent)
            begun.replace(complete)
            sync_folder(complete.parent)
            return size
        return self.size(sha256)  # another request has finished it

    def remove(self, sha256: str) -> None:
        complete = self._complete(sha256)
        with _disk():
            complete.unlink(missing_ok=True)
            if complete.parent.is_dir():
                sync_folder(complete.parent)

    @contextmanager
    def _held(self, origin: str, sha256: str) -> Iterator[int]:
        """The begun file, opened for appending, alone among all processes; made when missing."""
        path = self._partial(origin, sha256)
        _make_folder(path.parent)
        while True:
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _size(self._complete(sha256)) is not None:
                    raise PartTaken
                if _is(path, file):
                    yield file
                    return
            finally:
                os.close(file)

    def _complete(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _partial(self, origin: str, sha256: str) -> Path:
        return self._folder / "partial" / origin / sha256


def _checked(sha256: str) -> str:
    if not _NAME.fullmatch(sha256):
        raise ValueError(f"{sha256[:70]!r} is not a SHA-256 in lowercase hex")
    return sha256


def _checked_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise Refused(403, f"the origin {origin[:100]!r} cannot name a folder")
    return origin


def _elsewhere(right: int, said: int) -> Refused:
    return Refused(409, f"the upload stands at {right}, not {said}", size=right)


@contextmanager
def _disk() -> Iterator[None]:
    """A full or broken disk is told as such; the vehicle comes again."""
    try:
        yield
    except OSError as fault:
        raise StoreAway(f"the recordings' folder cannot be used: {fault.strerror}") from fault


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _is(path: Path, file: int) -> bool:
    """Whether ``path`` still names the opened ``file``."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    """With its parents, each durable before something is put into it."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)

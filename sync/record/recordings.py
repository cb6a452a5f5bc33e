"""Recordings: files named by the SHA-256 of their bytes, whole and durable before anyone hears of them.

``recordings/tmp/<name>.part`` while it grows, ``recordings/ab/<sha256>`` once finished. What a power cut leaves in
``tmp`` is found again by ``partials()``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.errors import AskPerson
from devices.events import emit
from sync.record.database import disk_trouble
from sync.record.secret_file import sync_folder

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class RecordingMissing(AskPerson):
    code = "recording_missing"


@contextmanager
def _in_our_words() -> Iterator[None]:
    """:raises DiskFull, DiskFault: instead of an OSError while writing."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as fault:
        raise disk_trouble(fault) from fault


class RecordingWriter:
    """One recording under way. ``append`` keeps order; ``sync`` makes what was appended survive a power cut."""

    def __init__(self, recordings: Recordings, path: Path) -> None:
        self._recordings = recordings
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0

    def append(self, data: bytes) -> None:
        """Append ``data``, all or nothing. :raises DiskFull, DiskFault: what was appended before stays."""
        view = memoryview(data)
        with _in_our_words():
            try:
                while view:
                    view = view[self._file.write(view) :]
            except OSError:
                self._file.truncate(self.size)
                self._file.seek(self.size)
                raise
        self._hash.update(data)
        self.size += len(data)

    def sync(self) -> None:
        """:raises DiskFull, DiskFault: what was appended may be lost in a power cut."""
        with _in_our_words():
            os.fdatasync(self._file.fileno())

    def keep(self) -> tuple[str, int]:
        """(sha256, bytes); the recording is durable under its name when this returns. What ``partials`` tells of it
        stays until ``abandon``, called when the entry is written. :raises DiskFull, DiskFault:"""
        self.sync()
        sha256 = self._hash.hexdigest()
        with _in_our_words():
            self._recordings.adopt(self.path, sha256)
        return sha256, self.size

    def finish(self) -> tuple[str, int]:
        """``keep``, and nothing stays in ``tmp``. :raises DiskFull, DiskFault:"""
        kept = self.keep()
        self.abandon()
        return kept

    def abandon(self) -> None:
        """Throw away what is in ``tmp``."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Partial:
    """What an interrupted recording left behind, with the facts that its writer noted at the start."""

    path: Path
    facts: dict[str, Any]

    def read(self) -> bytes:
        return self.path.read_bytes()

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)


class Recordings:
    """``admit``: asked with the media type before a recording begins; raises when it may not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.admit: Callable[[str], None] = lambda media_type: None
        self._tmp = folder / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)
        sync_folder(folder)
        self._numbers = itertools.count(1)

    def begin(self, media_type: str, name: str | None = None, facts: dict[str, Any] | None = None) -> RecordingWriter:
        """Start a recording.

        :param name: of the file in ``tmp``; letters, digits, hyphen. Made up when None.
        :param facts: kept beside the growing file, for ``partials`` after a power cut.
        :raises FileExistsError: a recording of that name is under way.
        :raises AskPerson: it may not begin, as the disk is full or broken.
        """
        self.admit(media_type)
        with _in_our_words():
            return self._begin(media_type, name, facts)

    def store(self, data: bytes, media_type: str) -> tuple[str, int]:
        """Write, sync and name ``data`` in one go: (sha256, bytes). What is there already is always admitted.

        :raises DiskFull, DiskFault: nothing of it is kept.
        """
        with _in_our_words():
            writer = self._begin(media_type)
        try:
            writer.append(data)
            return writer.finish()
        except AskPerson:
            writer.abandon()
            raise

    def _begin(self, media_type: str, name: str | None = None, facts: dict[str, Any] | None = None) -> RecordingWriter:
        chosen = name or self._free_name()
        if not _NAME.fullmatch(chosen):
            raise ValueError(f"{chosen!r} is no name for a recording")
        path = self._tmp / f"{chosen}.part"
        writer = RecordingWriter(self, path)
        try:
            if facts is not None:
                self._note(path.with_suffix(".json"), {"media_type": media_type, **facts})
            sync_folder(self._tmp)
        except OSError:
            writer.abandon()
            raise
        return writer

    def adopt(self, path: Path, sha256: str) -> None:
        """Give a finished, synced file its name; ``path`` is there too."""
        target = self.path(sha256)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)  # another thread may be there first
            sync_folder(self.folder)
        named = path.with_name(f"{path.stem}-named.part")
        named.hardlink_to(path)
        named.replace(target)
        named.unlink(missing_ok=True)  # it stays where the target is the same file already
        sync_folder(target.parent)
        emit("recording_stored", sha256=sha256, bytes=target.stat().st_size)

    def path(self, sha256: str) -> Path:
        """:raises ValueError: not a SHA-256 in lowercase hex."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not a SHA-256 in lowercase hex")
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """:raises RecordingMissing: there is none."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            raise RecordingMissing(f"recording {sha256} is in the journal but its file is not on this PC") from None

    def read(self, sha256: str, first: int = 0, count: int | None = None) -> bytes:
        """``count`` bytes from ``first``, all that follow when None.

        :raises RecordingMissing: there is none.
        """
        try:
            with self.path(sha256).open("rb") as file:
                file.seek(first)
                return file.read(-1 if count is None else count)
        except FileNotFoundError:
            raise RecordingMissing(f"recording {sha256} is in the journal but its file is not on this PC") from None

    def intact(self, sha256: str) -> bool:
        """Whether the file is there and still has the bytes that its name says."""
        try:
            with self.path(sha256).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False

    def names(self) -> Iterator[str]:
        """SHA-256 of every finished recording here."""
        for path in sorted(self.folder.glob("??/*")):
            if _SHA256.fullmatch(path.name):
                yield path.name

    def remove(self, sha256: str) -> int:
        """Delete a recording for good; the bytes that this freed, 0 when there was none.

        The caller has first written an entry that says so.

        :raises DiskFault: it is still there
        """
        path = self.path(sha256)
        try:
            freed = path.stat().st_size
        except FileNotFoundError:
            return 0
        with _in_our_words():
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        return freed

    def partials(self) -> Iterator[Partial]:
        """Recordings that were under way when the power went; ask before a new one is begun.

        ``facts`` is empty where none were given.
        """
        for path in sorted(self._tmp.glob("*.part")):
            yield Partial(path, self._facts(path.with_suffix(".json")))

    def discard_unclaimed(self) -> int:
        """Remove what an earlier process left in ``tmp`` and nobody can bring back, as no facts were noted of it; how
        many files. At start only, before a recording is begun."""
        left = {path.stem: path for path in self._tmp.glob("*.part")}
        noted = {path.stem: path for path in self._tmp.glob("*.json")}
        unclaimed = left.keys() ^ noted.keys()
        for name in unclaimed:
            (left | noted)[name].unlink()
        return len(unclaimed)

    def free_bytes(self) -> int:
        space = os.statvfs(self.folder)
        return space.f_bavail * space.f_frsize

    def _free_name(self) -> str:
        """A name that no leftover of an earlier process has."""
        while True:
            name = f"{os.getpid()}-{next(self._numbers)}"
            if not (self._tmp / f"{name}.part").exists():
                return name

    def _note(self, path: Path, facts: dict[str, Any]) -> None:
        with path.open("x", encoding="utf-8") as file:
            json.dump(facts, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())

    def _facts(self, path: Path) -> dict[str, Any]:
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

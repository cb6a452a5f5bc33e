"""Export to a USB stick: what the county has no receipt for, as ``sync.formats.stick`` lays it out, written durably.

Each file is written under another name, synced and renamed; the checkpoint comes last. So a stick that is pulled out
in the middle holds what it held before, and the next export goes on where this one ended. Nothing on the van changes:
only the county's receipt, brought back on the stick, means "delivered" (``sync.delivery.stick_receipt``).
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from devices.errors import AskPerson
from devices.events import emit
from sync.delivery.lanes import LANES
from sync.formats import stick
from sync.formats.merkle import HASH_BYTES
from sync.formats.notes import VerifierKey
from sync.formats.wire import PACKAGE_ENTRIES, Tile, pack_entries
from sync.record.database import disk_trouble
from sync.record.durable_file import growing_file, settle, write_durably
from sync.record.recordings import RecordingMissing, Recordings
from sync.record.store import Store

READ_BYTES = 1 << 20
MARGIN_BYTES = 1 << 20
"""Left free for the file system's own books."""
_README = """\
巡诊车 {origin} 的记录 / Records of the patrol vehicle {origin}

这里有病人的资料，没有加密，只有签名。请直接交给 {county} 的管理员，不要给别人，不要复制。
县里导入：python -m sync.county --settings county.toml import-stick 这个U盘
县里会写回一张回执。把U盘带回车上，再点一次“导出到U盘”，已送达的记录就不再等待。

These files hold patient data. They are signed, not encrypted. Hand the stick to the administrator of {county} and to
nobody else; make no copies. The county imports it with the command above and writes a receipt back. Bring the stick
back to the vehicle and export once more: what the county has then no longer waits.
"""


class StickFull(AskPerson):
    code = "stick_full"


class StickReadOnly(AskPerson):
    code = "stick_read_only"


class StickGone(AskPerson):
    """Pulled out, or it fails."""

    code = "stick_gone"


class ExportStopped(AskPerson):
    """A person stopped it; what was written stays and is not written again."""

    code = "export_stopped"


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of all that is carried; what the stick had already counts as done."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Exported:
    """``left``: recordings that did not fit; ``damaged``: recordings that are no longer whole on this PC."""

    folder: str
    entries: int
    recordings: int
    bytes: int
    left: int
    damaged: int


@dataclass(frozen=True, slots=True)
class _Recording:
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class _Carried:
    tile: Tile
    bytes: int


class StickExport:
    """One export; make a new one for the next.

    :param county: for whom it is; None while the van knows no county
    :param tell: called with the progress, from the exporting thread
    """

    def __init__(
        self,
        store: Store,
        recordings: Recordings,
        county: VerifierKey | None,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._store, self._recordings, self._county, self._tell = store, recordings, county, tell
        self._stop = threading.Event()
        self._done = self._total = 0

    def stop(self) -> None:
        """End soon, from another thread."""
        self._stop.set()

    def run(self, root: Path, whole: bool = False) -> Exported:
        """Write everything to the stick mounted at ``root``; blocks, so call it in a thread.

        :param whole: all entries that there are, for a county that has lost its own
        :raises StickFull: not even the entries fit. :raises StickReadOnly, StickGone, ExportStopped: see there.
        """
        size = self._store.size()
        first = self._first_unpruned() if whole else min(self._store.delivered_size(), size)
        tiles, waiting = self._tiles(first, size), self._waiting()
        folder = root / stick.folder_of(self._store.origin)
        with _in_words():
            if not root.is_dir():
                raise StickGone(f"{root} is not there: put the stick in again")
            folder.mkdir(parents=True, exist_ok=True)
            fitting = _fitting(folder, tiles, waiting)
        self._total = sum(tile.bytes for tile in tiles) + sum(recording.bytes for recording in fitting)
        self._write(folder / stick.README, self._readme())
        if self._county is not None:
            self._write(folder / stick.COUNTY, f"{self._county}\n".encode())
        damaged = sum(not self._carry_recording(folder, recording) for recording in fitting)
        for carried in tiles:
            self._carry_tile(folder, carried)
        self._write(folder / stick.CHECKPOINT, bytes(self._store.checkpoint_at(size)))
        with _in_words():
            _forget_other_tiles(folder, {carried.tile.path() for carried in tiles})
        brought = len(fitting) - damaged
        emit("stick_exported", size=size, entries=size - first, recordings=brought)
        return Exported(str(folder), size - first, brought, self._done, len(waiting) - len(fitting), damaged)

    # what is carried ------------------------------------------------------------------------------------------------

    def _first_unpruned(self) -> int:
        """The first entry behind the last one that was pruned after retention."""
        return int(self._store.read("SELECT coalesce(max(n) + 1, 0) AS n FROM entries WHERE body IS NULL")[0]["n"])

    def _tiles(self, first: int, size: int) -> list[_Carried]:
        found = self._store.read(
            "SELECT n / :package AS bundle, sum(coalesce(length(body), 0) + 2) AS bytes FROM entries"
            " WHERE n >= :first AND n < :size GROUP BY bundle",
            {"package": PACKAGE_ENTRIES, "first": first - first % PACKAGE_ENTRIES, "size": size},
        )
        bundles = {row["bundle"]: row["bytes"] for row in found}
        return [
            _Carried(tile, bundles[tile.index] if tile.level < 0 else tile.width * HASH_BYTES)
            for tile in stick.carried_tiles(first, size)
        ]

    def _waiting(self) -> list[_Recording]:
        """Recordings without a receipt, most urgent first."""
        urgent = [what for lane in LANES for what in lane.what or ()]
        found = self._store.read(
            "SELECT sha256, what FROM recordings_waiting JOIN recordings USING (sha256) ORDER BY n"
        )
        found.sort(key=lambda row: urgent.index(row["what"]) if row["what"] in urgent else len(urgent))
        waiting = []
        for row in found:
            with suppress(RecordingMissing):  # parked by the lane that wanted to send it
                waiting.append(_Recording(row["sha256"], self._recordings.size(row["sha256"])))
        return waiting

    def _readme(self) -> bytes:
        county = self._county.name if self._county is not None else "县级平台 / the county"
        return _README.format(origin=self._store.origin, county=county).encode()

    # writing --------------------------------------------------------------------------------------------------------

    def _carry_tile(self, folder: Path, carried: _Carried) -> None:
        tile, path = carried.tile, folder / carried.tile.path()
        first = tile.index * PACKAGE_ENTRIES
        if tile.level < 0:
            body = pack_entries(self._of_entries("coalesce(body, x'')", first, tile.width))
        elif tile.level == 0:
            body = b"".join(self._of_entries("leaf_hash", first, tile.width))
        else:
            body = tile.hashes(self._store.read_subtree)
        with _in_words():
            known = path.read_bytes() if path.exists() else None
        if known != body:
            self._write(path, body)
        self._went(carried.bytes)

    def _of_entries(self, what: str, first: int, count: int) -> list[bytes]:
        rows = self._store.read(
            f"SELECT {what} AS found FROM entries WHERE n >= ? AND n < ? ORDER BY n", (first, first + count)
        )
        return [row["found"] for row in rows]

    def _carry_recording(self, folder: Path, recording: _Recording) -> bool:
        """False when the file on this PC no longer has the bytes of its name."""
        path = folder / stick.recording_path(recording.sha256)
        with _in_words():
            there = path.is_file() and path.stat().st_size == recording.bytes
        if there:
            self._went(recording.bytes)
            return True
        hashed = hashlib.sha256()
        with _in_words(), growing_file(path) as file:
            for place in range(0, recording.bytes, READ_BYTES):
                with _van():
                    part = self._recordings.read(recording.sha256, place, READ_BYTES)
                hashed.update(part)
                file.write(part)
                self._went(len(part))
            if hashed.hexdigest() != recording.sha256:
                return False
            settle(file, path)
        return True

    def _write(self, path: Path, body: bytes) -> None:
        with _in_words():
            write_durably(path, body)

    def _went(self, count: int) -> None:
        self._done += count
        self._tell(Progress(self._done, self._total))
        if self._stop.is_set():
            raise ExportStopped("the export was stopped; export again to go on")


def _fitting(folder: Path, tiles: list[_Carried], waiting: list[_Recording]) -> list[_Recording]:
    """The recordings that fit on the stick beside the tiles.

    :raises StickFull: the tiles themselves do not.
    """
    space = os.statvfs(folder)
    room = space.f_bavail * space.f_frsize - MARGIN_BYTES

    def needs(path: Path, count: int) -> int:
        there = path.is_file() and path.stat().st_size == count
        return 0 if there else -(-count // space.f_frsize) * space.f_frsize

    room -= sum(needs(folder / carried.tile.path(), carried.bytes) for carried in tiles)
    if room < 0:
        raise StickFull(f"the stick lacks {-room} bytes for the records alone: take an empty or a larger one")
    fitting = []
    for recording in waiting:
        need = needs(folder / stick.recording_path(recording.sha256), recording.bytes)
        if need <= room:
            room -= need
            fitting.append(recording)
    return fitting


def _forget_other_tiles(folder: Path, carried: Collection[str]) -> None:
    """Remove what an earlier export left: partial tiles that are full now, entries that the county has."""
    for path in sorted((folder / "tile").rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder).as_posix() not in carried:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


class _VanFault(Exception):
    """An OSError of this PC's own disk, which must not be blamed on the stick."""

    def __init__(self, fault: OSError) -> None:
        super().__init__(str(fault))
        self.fault = fault


@contextmanager
def _van() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise _VanFault(fault) from fault


@contextmanager
def _in_words() -> Iterator[None]:
    """Faults of the stick as what a person can do about them.

    :raises StickFull, StickReadOnly, StickGone: what the system said means.
    """
    try:
        yield
    except _VanFault as fault:
        raise disk_trouble(fault.fault) from fault
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StickFull("the stick is full: take an empty or a larger one and export again") from fault
        if fault.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StickReadOnly(f"the stick cannot be written ({fault.strerror}): unlock it or take another") from fault
        raise StickGone(
            f"the stick was pulled out or fails ({fault.strerror}): put it in again and export again, or take another"
        ) from fault

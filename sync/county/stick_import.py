"""Import of a stick (``sync.formats.stick``): the same mirror, the same verification as over the network.

Nothing on the stick is trusted: the checkpoint must be signed by the key of an enrolled vehicle and extend what the
county has, every entry must be proven to belong to it, every recording must have the bytes of its name. Then a receipt
is written back. Imported again, nothing changes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from devices.errors import AskPerson
from devices.events import emit
from sync.county.blobs import StoreAway
from sync.county.fleet import EnrolmentRefused, KeyNotValid
from sync.county.mirror import Refused
from sync.formats import stick
from sync.formats.merkle import HASH_BYTES, ReadSubtree, consistency_proof, subtree_root, verify_consistency
from sync.formats.notes import LARGEST_NOTE_BYTES, Checkpoint, Note, NoteRefused, Signer, VerifierKey
from sync.formats.records import EntryUnreadable, read_entry
from sync.formats.wire import (
    PACKAGE_ENTRIES,
    AddCheckpoint,
    AddEntries,
    AddEntriesHead,
    Malformed,
    Package,
    Tile,
    build_package,
    is_sha256,
    package_ranges,
    unpack_entries,
)
from sync.keys.key_statements import KeyChange, StatementRefused
from sync.record.durable_file import write_durably
from sync.record.secret_file import sync_folder

if TYPE_CHECKING:
    from sync.county.app import County

PART_BYTES = 4 << 20
PACKAGES_AT_ONCE = 8
"""2048 entries in one transaction."""
LARGEST_TILE_BYTES = PACKAGE_ENTRIES * 65_537
_MARK = b'"kind":"key_changed/1"'


class StickRefused(AskPerson):
    """The stick is not taken; the message says why and what to do. What was proven before stays stored."""

    code = "stick_refused"


@dataclass(frozen=True, slots=True)
class Imported:
    """What one vehicle's folder brought. ``damaged``: recordings whose bytes do not fit their name."""

    origin: str
    size: int
    entries: int
    recordings: int
    known_recordings: int
    damaged: int

    def __str__(self) -> str:
        said = f"{self.origin}: {self.entries} new entries, {self.size} in all"
        said += f"; {self.recordings} new recordings, {self.known_recordings} were here"
        return said + (f"; {self.damaged} recordings are damaged and not taken" if self.damaged else "")


class StickImport:
    """:param cosigner: the county's key, for the list of recordings that it holds"""

    def __init__(self, county: County, cosigner: Signer) -> None:
        self._county, self._cosigner = county, cosigner

    def run(self, root: Path) -> list[Imported]:
        """Take in every vehicle's folder of the stick mounted at ``root``.

        :param root: the stick, its folder ``xunzhen``, or the folder of one vehicle
        :raises StickRefused: nothing to import, another county's, an unknown vehicle, changed on the way ...
        :raises OSError: the stick cannot be read or written
        """
        folders = sorted(_folders(root))
        if not folders:
            raise StickRefused(f"{root} holds no records: export them on the vehicle first, or name another folder")
        return [self._import(folder) for folder in folders]

    def _import(self, folder: Path) -> Imported:
        origin = folder.name
        self._check_county(folder)
        self._take_key_changes(folder)
        note, size, key = self._checkpoint(folder)
        before = self._county.mirror.log(origin).next_entry
        try:
            receipt = self._take_entries(folder, key, note, size)
        except Refused as refusal:
            raise StickRefused(f"{origin}: {refusal.reason}") from refusal
        except (LookupError, ValueError) as fault:
            raise StickRefused(f"{origin}: the stick is damaged or was changed ({fault}); export again") from fault
        finally:
            self._county.interpreter.catch_up(origin)
        recordings = self._take_recordings(folder)
        self._answer(folder, receipt, [*recordings.known, *recordings.taken])
        stored = self._county.mirror.log(origin).next_entry - before
        emit("stick_imported", origin=origin, size=size, entries=stored, recordings=len(recordings.taken))
        return Imported(origin, size, stored, len(recordings.taken), len(recordings.known), len(recordings.damaged))

    def _check_county(self, folder: Path) -> None:
        path = folder / stick.COUNTY
        if not path.exists():
            return
        ours = self._county.verifier_key
        try:
            meant = stick.read_county(_read(path, 1000))
        except Malformed as fault:
            raise StickRefused(f"{folder.name}: {fault}") from fault
        if meant != ours:
            raise StickRefused(f"{folder.name}: this stick is for {meant.name}, not for {ours.name}: hand it in there")

    def _take_key_changes(self, folder: Path) -> None:
        """A key that was changed far from any network: its entry is on the stick, and both keys have signed it."""
        fleet = self._county.fleet
        with suppress(ValueError, OSError):  # who reads the entries next says what is damaged
            for n, body in _key_changes(folder):
                known = fleet.get(folder.name)
                with suppress(StatementRefused, EntryUnreadable, EnrolmentRefused):
                    if known is not None:
                        fleet.rotate(KeyChange.of_entry(read_entry(body, n).fields, n, known.key))

    def _checkpoint(self, folder: Path) -> tuple[Note, int, VerifierKey]:
        """The signed checkpoint with its size and the key that signed it."""
        origin = folder.name
        try:
            note = Note.parse(_read(folder / stick.CHECKPOINT, LARGEST_NOTE_BYTES))
            checkpoint = Checkpoint.parse(note.text)
            key = self._county.fleet.key_at(origin, checkpoint.size)
            if checkpoint.origin != origin:
                raise StickRefused(f"{origin}: the checkpoint is of {checkpoint.origin[:100]}; export again")
            note.verified_by([key])
        except FileNotFoundError as fault:
            raise StickRefused(f"{origin}: the export was not finished; export again on the vehicle") from fault
        except KeyNotValid as fault:
            raise StickRefused(f"{origin}: {fault}") from fault
        except NoteRefused as fault:
            raise StickRefused(f"{origin}: the checkpoint is not the vehicle's ({fault}); export again") from fault
        return note, checkpoint.size, key

    # entries ----------------------------------------------------------------------------------------------------------

    def _take_entries(self, folder: Path, key: VerifierKey, note: Note, size: int) -> Note:
        """Store what the county lacks of the checkpoint; the cosigned checkpoint that covers it."""
        mirror, origin = self._county.mirror, folder.name
        log = mirror.log(origin)
        if size < log.pending_size:
            return self._covering(key, note, size)
        first = _first_carried(folder)
        if first is not None and first > log.next_entry:
            raise StickRefused(
                f"{origin}: the stick begins with entry {first}, the county has {log.next_entry} entries only:"
                " export the whole journal (python -m vehicle export --whole)"
            )
        read = _hash_tiles(folder)
        proof = _proof(log.pending_size, note, read)
        mirror.add_checkpoint(key, AddCheckpoint(log.pending_size, proof, note))
        while True:
            first = mirror.log(origin).next_entry
            packages = tuple(_packages(folder, first, size, read))
            taken = mirror.add_entries(origin, AddEntries(AddEntriesHead(origin, first, size), packages, False))
            if taken.receipt is not None:
                return note.signed_also(taken.receipt)
            if taken.info.next_entry <= first:
                raise StickRefused(f"{origin}: entry {first} is not taken; export again")

    def _covering(self, key: VerifierKey, note: Note, size: int) -> Note:
        """The receipt of a stick that is older than what came over the network.

        :raises StickRefused: it is not covered by a receipt yet, or is not of the log that the county has
        """
        mirror, origin = self._county.mirror, key.name
        try:
            mirror.add_checkpoint(key, AddCheckpoint(size, (), note))
        except Refused as refusal:
            if refusal.status != 409:
                raise
        newest = mirror.checkpoint(origin)
        if newest is None or mirror.log(origin).mirror_size < size:
            raise StickRefused(f"{origin}: the county knows a newer checkpoint, whose entries it lacks; export again")
        return Note.parse(newest)

    # recordings -------------------------------------------------------------------------------------------------------

    def _take_recordings(self, folder: Path) -> _Recordings:
        found = _Recordings([], [], [])
        for path in _recordings(folder):
            if self._county.blobs.has(path.name):
                found.known.append(path.name)
            elif self._take_recording(folder.name, path):
                found.taken.append(path.name)
            else:
                found.damaged.append(path.name)
        return found

    def _take_recording(self, origin: str, path: Path) -> bool:
        """False when its bytes are not those of its name, or are more than the county takes."""
        blobs = self._county.blobs
        try:
            with _opened(path) as file:
                size = os.fstat(file.fileno()).st_size
                if _hash(file) != path.name:
                    return False
                state = blobs.state(origin, path.name)
                place = state.offset if state is not None else 0
                file.seek(place)
                while not (state is not None and state.complete):
                    part = file.read(PART_BYTES)
                    state = blobs.append(origin, path.name, place, part, place + len(part) == size, size)
                    place = state.offset
        except Refused as refusal:
            emit("request_refused", path=f"stick/{path.name}", reason=refusal.reason[:300])
            return False
        except StoreAway as fault:
            raise StickRefused(f"{origin}: {fault}; import the stick again later, nothing is lost") from fault
        return True

    # the answer -------------------------------------------------------------------------------------------------------

    def _answer(self, folder: Path, receipt: Note, hashes: list[str]) -> None:
        if (folder / stick.RECEIVED).is_symlink():
            raise StickRefused(f"{folder / stick.RECEIVED} leads elsewhere: the stick was changed; export again")
        write_durably(folder / stick.RECEIPT, bytes(receipt))
        notes = stick.received_notes(folder.name, hashes, self._cosigner, self._county.clock.now())
        for number, note in enumerate(notes, 1):
            write_durably(folder / stick.RECEIVED / f"{number:04d}", bytes(note))


@dataclass(frozen=True, slots=True)
class _Recordings:
    """Hashes: stored now, here already, not as named."""

    taken: list[str]
    known: list[str]
    damaged: list[str]


def clear(root: Path, imported: list[Imported]) -> None:
    """Remove from the stick what the county holds now, so that it no longer carries patient data; receipts stay."""
    for folder in _folders(root):
        if folder.name in {one.origin for one in imported if not one.damaged}:
            for name in ("tile", "recordings"):
                shutil.rmtree(folder / name, ignore_errors=True)
            (folder / stick.CHECKPOINT).unlink(missing_ok=True)
            sync_folder(folder)


def _folders(root: Path) -> Iterator[Path]:
    """The vehicles' folders; never one that leads elsewhere."""
    if (root / stick.CHECKPOINT).exists():
        yield root.resolve()
        return
    top = root if root.name == stick.TOP else root / stick.TOP
    for folder in top.iterdir() if top.is_dir() else ():
        if folder.is_dir() and not folder.is_symlink():
            yield folder


def _first_carried(folder: Path) -> int | None:
    """The first entry on the stick; None when it carries none."""
    indexes = [tile.index for tile in _tiles(folder) if tile.level < 0]
    return min(indexes) * PACKAGE_ENTRIES if indexes else None


def _tiles(folder: Path) -> Iterator[Tile]:
    for path in (folder / "tile").rglob("*"):
        if path.is_file() and not path.name.endswith(".tmp"):
            yield Tile.parse(path.relative_to(folder).as_posix())


def _key_changes(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Entries that say so of themselves, with their places; nothing of them is proven."""
    for tile in sorted(_tiles(folder), key=lambda tile: tile.index):
        if tile.level < 0:
            bundle = unpack_entries(_read(folder / tile.path(), LARGEST_TILE_BYTES))
            yield from ((tile.index * PACKAGE_ENTRIES + n, body) for n, body in enumerate(bundle) if _MARK in body)


def _hash_tiles(folder: Path) -> ReadSubtree:
    """:raises ValueError: a tile that is none"""
    return stick.read_tiles(
        {tile: _read(folder / tile.path(), 256 * HASH_BYTES) for tile in _tiles(folder) if tile.level >= 0}
    )


def _proof(old: int, note: Note, read: ReadSubtree) -> tuple[bytes, ...]:
    """What shows that the tree of the signed checkpoint goes on from its own first ``old`` entries.

    The tiles are nobody's word: the vehicle has signed the checkpoint alone. So of tiles that do not fit it nothing is
    concluded about the vehicle; the mirror, which may freeze its log, is not asked.

    :raises ValueError: they do not fit. :raises LookupError: some are missing
    """
    checkpoint = Checkpoint.parse(note.text)
    proof = tuple(consistency_proof(old, checkpoint.size, read))
    if old and not verify_consistency(old, subtree_root(0, old, read), checkpoint.size, checkpoint.root, proof):
        raise ValueError("its hashes do not lead to the checkpoint")
    return proof


def _packages(folder: Path, first: int, size: int, read: ReadSubtree) -> Iterator[Package]:
    """Entry packages from ``first`` on, as many as go into one transaction.

    :raises ValueError: a bundle is damaged. :raises LookupError: the tiles do not prove it.
    :raises StickRefused: the vehicle itself no longer has an entry that is asked for
    """

    def entries(start: int, count: int) -> list[bytes]:
        index = start // PACKAGE_ENTRIES
        width = min(PACKAGE_ENTRIES, size - index * PACKAGE_ENTRIES)
        tile = Tile(-1, index, width)
        try:
            bundle = unpack_entries(_read(folder / tile.path(), LARGEST_TILE_BYTES))
        except FileNotFoundError:
            raise LookupError(f"{tile.path()} is missing") from None
        if len(bundle) != width:
            raise Malformed(f"{tile.path()} has {len(bundle)} entries, not {width}")
        asked = bundle[start % PACKAGE_ENTRIES : start % PACKAGE_ENTRIES + count]
        if not all(asked):
            raise StickRefused(
                f"{folder.name}: entry {start + asked.index(b'')} was removed on the vehicle after retention, and the"
                " county that had it has lost it: restore the county's newest backup, then import the stick again"
            )
        return asked

    for start, end in islice(package_ranges(first, size), PACKAGES_AT_ONCE):
        yield build_package(start, end, size, read, entries)


def _recordings(folder: Path) -> Iterator[Path]:
    for path in sorted((folder / "recordings").glob("??/*")):
        if is_sha256(path.name) and path.parent.name == path.name[:2]:
            yield path


def _hash(file: BufferedReader) -> str:
    return file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    """A regular file of the stick, never where a link leads.

    :raises OSError: it cannot be read. :raises StickRefused: it is no file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StickRefused(f"{path} is no file: the stick was changed; export again")
    return os.fdopen(handle, "rb")


def _read(path: Path, at_most_bytes: int) -> bytes:
    """:raises StickRefused: larger than anything that belongs there."""
    with _opened(path) as file:
        content = file.read(at_most_bytes + 1)
    if len(content) > at_most_bytes:
        raise StickRefused(f"{path} is larger than {at_most_bytes} bytes: the stick was changed; export again")
    return content

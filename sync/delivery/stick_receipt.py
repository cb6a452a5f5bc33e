"""What the county wrote back onto the stick, taken in on the van: only then is "delivered" said.

A receipt is the county's cosignature over a checkpoint of this very journal; recordings are named in notes that the
county has signed. Both are verified with the county's key of the settings, so nobody between can say "delivered".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devices.clock import Clock
from devices.errors import AskPerson
from sync.delivery.county_client import RecordRefused
from sync.delivery.receipts import Receipts
from sync.formats import stick
from sync.formats.notes import Checkpoint, Note, NoteRefused, VerifierKey
from sync.formats.records import format_time
from sync.formats.wire import Malformed
from sync.record.store import Store

LARGEST_FILE_BYTES = 200_000


class StickRefused(AskPerson):
    """What is on the stick is not what it should be; nothing was taken."""

    code = "stick_refused"


@dataclass(frozen=True, slots=True)
class Returned:
    """What the county has confirmed; 0 and 0 when it wrote nothing new."""

    entries: int
    recordings: int


def take_receipts(root: Path, store: Store, county: VerifierKey, clock: Clock) -> Returned:
    """Read the county's answer from the stick mounted at ``root``; durable when it returns. Blocks.

    Taken again, it changes nothing.

    :raises StickRefused: the answer is for another journal, or not signed by ``county``.
    :raises OSError: the stick cannot be read.
    """
    folder = root / stick.folder_of(store.origin)
    before = store.delivered_size()
    try:
        _take_receipt(folder / stick.RECEIPT, store, county)
        hashes = _received(folder / stick.RECEIVED, store.origin, county)
    except (NoteRefused, Malformed, RecordRefused) as fault:
        raise StickRefused(
            f"the county's answer on the stick is not valid ({fault}); have the county write it again"
        ) from fault
    taken = _take_recordings(hashes, store, clock)
    return Returned(store.delivered_size() - before, taken)


def _take_receipt(path: Path, store: Store, county: VerifierKey) -> None:
    if not path.exists():
        return
    note = Note.parse(_read(path))
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.size <= store.delivered_size():
        return
    if checkpoint.size > store.size():
        raise Malformed(f"it covers {checkpoint.size} entries, this journal has {store.size()}")
    ours = store.checkpoint_at(checkpoint.size)
    if ours.text != note.text:
        raise Malformed("it is for another journal than this one")
    Receipts(store, county).accept(ours, note.signatures)


def _received(folder: Path, origin: str, county: VerifierKey) -> list[str]:
    paths = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return [sha256 for path in paths for sha256 in stick.read_received(_read(path), origin, county)]


def _take_recordings(hashes: list[str], store: Store, clock: Clock) -> int:
    waiting = {str(row["sha256"]) for row in store.read("SELECT sha256 FROM recordings_waiting")}
    rows = [(sha256, format_time(clock.now())) for sha256 in hashes if sha256 in waiting]
    if rows:
        insert = "INSERT OR IGNORE INTO recordings_delivered (sha256, at) VALUES (?, ?)"
        store.transact(lambda db: db.conn.executemany(insert, rows))
    return len(rows)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise Malformed(f"{path.name} is larger than {LARGEST_FILE_BYTES} bytes")
    return content

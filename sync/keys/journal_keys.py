"""The keys of one journal on its van: the present one, those before it, and one that the county does not know yet.

Files in the folder ``keys``::

    journal.key               the present key: the one that the county knows; signs requests, answers the exchange
    journal.key.next          made by a change of key that the county has not taken yet
    journal.key.until-<size>  an earlier key; signed checkpoints of up to <size> entries

A change of key goes through four durable steps, and a power cut between any two of them is made good at the next start:

1. ``journal.key.next`` is written (``prepare``). Nothing else has changed.
2. The entry ``key_changed/1`` with both signatures is appended (``resume``, at the start of the vehicle process). From
   that size on the new key signs checkpoints, the old one all smaller ones. Requests are still signed by the old key.
3. The county takes the change (``sync.delivery.key_rotation``): it proves itself and may be sent any number of times.
4. The files change places (``take_over``): requests are signed by the new key.

Between 2 and 3 may lie days without a network: entries go on and nothing is lost. Earlier keys stay: what they could
sign, the county has fixed already, and a county that was set back to a backup may ask for a smaller size again. Such a
county may also know an earlier key only: it is told of the changes again (``taken``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from devices.errors import AskPerson
from devices.events import emit
from sync.formats.notes import VerifierKey
from sync.formats.records import Draft, read_entry
from sync.keys.key_statements import KeyChange, StatementRefused
from sync.keys.tpm import IN_A_FILE, KeyProtection
from sync.keys.vehicle_key import VehicleKey, is_sealed
from sync.record.secret_file import sync_folder
from sync.record.store import Store

KEY_FILE = "journal.key"
_NEXT, _UNTIL = ".next", ".until-"


class KeyChangeRefused(AskPerson):
    """The key cannot be changed now; the message says why."""

    code = "key_change_refused"


class JournalKeys:
    """Itself a ``sync.formats.notes.Signer``: with the present key. Thread-safe."""

    def __init__(self, folder: Path, present: VehicleKey, earlier: dict[int, VehicleKey], next: VehicleKey | None):
        """:param earlier: by the last size that each signed"""
        self._path = folder / KEY_FILE
        self._present, self._earlier, self._next = present, dict(sorted(earlier.items())), next
        self._change: KeyChange | None = None
        self._taken: tuple[KeyChange, ...] = ()
        self._lock = threading.Lock()

    @classmethod
    def load_or_create(
        cls,
        folder: Path,
        origin: str,
        random_bytes: Callable[[int], bytes] = os.urandom,
        protection: KeyProtection = IN_A_FILE,
    ) -> JournalKeys:
        """:raises KeyMissing: see ``VehicleKey.load_or_create``"""
        path = folder / KEY_FILE
        present = VehicleKey.load_or_create(path, origin, random_bytes, protection=protection)
        earlier = {size: VehicleKey.load(found, protection.tpm) for size, found in _earlier_files(path)}
        next_path = path.with_name(path.name + _NEXT)
        next = VehicleKey.load(next_path, protection.tpm) if next_path.exists() else None
        if next is not None and next.verifier_key() == present.verifier_key():
            next = None  # cut off within step 4: the present key is the new one already
            next_path.unlink()
        return cls(folder, present, earlier, next)

    # as a signer ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._present.name

    def verifier_key(self) -> VerifierKey:
        return self._present.verifier_key()

    def sign(self, message: bytes) -> bytes:
        return self._present.sign(message)

    def sign_for(self, purpose: str, message: bytes) -> bytes:
        return self._present.sign_for(purpose, message)

    @property
    def present(self) -> VehicleKey:
        return self._present

    def at_size(self, size: int) -> VehicleKey:
        """The key that signs the checkpoint over ``size`` entries."""
        with self._lock:
            if self._next is not None and self._change is not None and size >= self._change.from_size:
                return self._next
            return next((key for until, key in self._earlier.items() if size <= until), self._present)

    # a change of key ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> KeyChange | None:
        """The change that the county has not taken yet."""
        return self._change

    @property
    def taken(self) -> tuple[KeyChange, ...]:
        """The changes that the county has taken, the oldest first. A county that was set back may lack some of them."""
        return self._taken

    def prepare(self, random_bytes: Callable[[int], bytes] = os.urandom, protection: KeyProtection = IN_A_FILE) -> None:
        """Step 1. The change takes effect with ``resume``.

        :raises KeyChangeRefused: the change before this one has not been taken by the county
        """
        if self._next is not None:
            raise KeyChangeRefused("the last change of key has not reached the county yet: connect the vehicle first")
        key = VehicleKey(self.name, random_bytes(32))
        try:
            key.create(self._beside(_NEXT), protection)
        except FileExistsError:
            raise KeyChangeRefused("a change of key is being made at this moment: start the vehicle again") from None
        self._next = key

    def resume(self, store: Store) -> None:
        """Step 2, when it is due: find the entry of the change under way, or append it. Call it before others write.

        The changes before are read from the journal (``taken``).

        :raises KeyChangeRefused: somebody else wrote meanwhile; the next start tries again
        """
        self._taken = _taken_changes(store, [*self._earlier.values(), self._present])
        if self._next is None:
            return
        self._change = _written_change(store, self._present.verifier_key(), self._next.verifier_key())
        if self._change is not None:
            return
        change = KeyChange.signed(self._present, self._next, store.size() + 1)
        (entry,) = store.commit_now(Draft("key_changed/1", change.entry_fields()))
        if entry.n + 1 != change.from_size:  # a void entry: its signatures are for another place
            raise KeyChangeRefused("another entry came between: start the vehicle again")
        with self._lock:
            self._change = change
        emit("key_changed", origin=self.name, size=change.from_size)

    def take_over(self, change: KeyChange) -> None:
        """Step 4: the county has taken ``change``. Does nothing when it was done before."""
        with self._lock:
            if self._next is None or change != self._change:
                return
            until = change.from_size - 1
            with suppress(FileExistsError):
                os.link(self._path, self._beside(f"{_UNTIL}{until}"))
            sync_folder(self._path.parent)
            os.replace(self._beside(_NEXT), self._path)
            sync_folder(self._path.parent)
            self._earlier = dict(sorted({**self._earlier, until: self._present}.items()))
            self._present, self._next, self._change = self._next, None, None
            self._taken = (*self._taken, change)
        emit("key_change_taken", origin=self.name, size=change.from_size)

    # where they are kept --------------------------------------------------------------------------------------------

    def files(self) -> list[tuple[Path, VehicleKey]]:
        """Every key with its file."""
        found = [(self._path, self._present)]
        found += [(self._beside(f"{_UNTIL}{until}"), key) for until, key in self._earlier.items()]
        return found if self._next is None else [*found, (self._beside(_NEXT), self._next)]

    @property
    def sealed(self) -> bool:
        """Whether the present key is sealed to the TPM."""
        return is_sealed(self._path)

    def seal(self, protection: KeyProtection) -> int:
        """Seal every key that lies open to the TPM; returns how many. :raises KeyMissing: see ``sync.keys.tpm``"""
        open_ones = self.open_files()
        for path, key in open_ones:
            key.seal(path, protection.tpm)
        return len(open_ones)

    def open_files(self) -> list[tuple[Path, VehicleKey]]:
        """Keys that lie in their file as they are."""
        return [(path, key) for path, key in self.files() if not is_sealed(path)]

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


def _earlier_files(path: Path) -> Iterable[tuple[int, Path]]:
    for found in path.parent.glob(f"{path.name}{_UNTIL}*"):
        size = found.name.removeprefix(path.name + _UNTIL)
        if size.isdecimal():
            yield int(size), found


def _taken_changes(store: Store, keys: Sequence[VehicleKey]) -> tuple[KeyChange, ...]:
    """:param keys: in the order in which they signed, the present one last"""
    found = (_written_change(store, old.verifier_key(), new.verifier_key()) for old, new in pairwise(keys))
    return tuple(change for change in found if change is not None)


def _written_change(store: Store, old: VerifierKey, new: VerifierKey) -> KeyChange | None:
    """The change from ``old`` to ``new`` that the journal has."""
    found = store.read("SELECT n, body FROM entries WHERE kind = 'key_changed/1' ORDER BY n DESC")
    for row in found:
        entry = read_entry(row["body"], row["n"])
        if entry.fields["key"] != str(new):
            continue
        with suppress(StatementRefused):
            return KeyChange.of_entry(entry.fields, entry.n, old)
    return None

"""What the witness remembers: the newest checkpoint of each log, who signs it, and what it had to refuse.

State is one SQLite file. A checkpoint is compared and stored in one transaction that is durable before the cosignature
leaves (C2SP tlog-witness): otherwise two requests at once, or a power cut, could take entries back unseen.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from devices.clock import Clock
from devices.errors import AskPerson, XunzhenError
from sync.formats.merkle import EMPTY_ROOT, verify_consistency
from sync.formats.notes import ED25519, Checkpoint, Note, NoteRefused, Signature, Signer, VerifierKey, cosign
from sync.formats.records import format_time, parse_time
from sync.formats.wire import AddCheckpoint, Malformed
from sync.keys.introduction import Introduction
from sync.keys.key_roles import KeyInTwoRoles, refuse_shared_keys
from sync.proof.registry_entries import read_registry_entry
from sync.proof.registry_state import RegisteredVehicle, registered_vehicle
from sync.witness.settings import WitnessedCounty

MOST_REFUSED_KEPT = 1000
"""Of one log."""
_TABLES = """
CREATE TABLE IF NOT EXISTS logs (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, cosigned_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS vehicles (
    origin TEXT PRIMARY KEY, registry TEXT NOT NULL, place INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS refused (
    digest TEXT PRIMARY KEY, origin TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL, old_size INTEGER NOT NULL,
    proof TEXT NOT NULL, note BLOB NOT NULL, known BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS registry_checkpoints (
    origin TEXT NOT NULL, size INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY (origin, size)
) STRICT;
CREATE INDEX IF NOT EXISTS refused_by_origin ON refused (origin);
"""


class Refused(XunzhenError):
    """Not cosigned; the state is as before.

    :ivar status: HTTP status as in C2SP tlog-witness
    :ivar size: of the last cosigned checkpoint, with 409
    """

    code = "refused"

    def __init__(self, status: int, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.size = status, reason, size


class LedgerUnreadable(AskPerson):
    code = "ledger_unreadable"


@dataclass(frozen=True, slots=True)
class WitnessedLog:
    origin: str
    size: int
    cosigned_at: datetime
    refused: int


class Ledger:
    """:param signer: the witness's key, of type 0x04
    :raises KeyInTwoRoles: the witness's key, a county's or a registry's is the same as another
    :raises LedgerUnreadable: the file is damaged, or its disk full
    """

    def __init__(self, file: Path, counties: Sequence[WitnessedCounty], signer: Signer, clock: Clock) -> None:
        roles = [("the witness", signer.verifier_key())]
        for county in counties:
            roles += [(county.county_key.name, county.county_key), (county.registry_key.name, county.registry_key)]
        refuse_shared_keys(roles)
        self._roles = roles
        self._registries = {county.registry_key.name: county.registry_key for county in counties}
        self._signer = signer
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.executescript(_TABLES)
        except sqlite3.DatabaseError as fault:
            self._connection.close()
            raise LedgerUnreadable(
                f"{file}: the ledger cannot be opened ({fault}): make room on its disk, or bring the file back from "
                "the newest backup; a witness that forgot what it signed would sign a rewritten log"
            ) from None

    @property
    def verifier_key(self) -> VerifierKey:
        return self._signer.verifier_key()

    def close(self) -> None:
        with self._one_at_a_time:
            self._connection.close()

    # add-checkpoint ---------------------------------------------------------------------------------------------------

    def add_checkpoint(self, request: AddCheckpoint) -> Signature:
        """Cosign a checkpoint that extends the last one; the same again gives the same line again.

        :raises Refused: 400, 403, 404, 409 or 422 as in tlog-witness; one that is signed and yet contradicts the last
            is kept as evidence
        """
        try:
            checkpoint = Checkpoint.parse(request.checkpoint.text)
        except NoteRefused as fault:
            raise Refused(400, str(fault)) from None
        with self._writing():
            keys = self._keys(checkpoint)
            try:
                by_log = request.checkpoint.verified_by(keys)
            except NoteRefused as fault:
                raise Refused(403, str(fault)) from None
            if request.old_size > checkpoint.size:
                raise Refused(400, f"old size {request.old_size} is above the checkpoint's {checkpoint.size}")
            known = self._note(checkpoint.origin)
            fault_found = self._contradiction(checkpoint, known, request)
            if fault_found is None:
                return self._cosign(checkpoint, known, by_log)
            signed = Note(request.checkpoint.text, by_log[:1])
            self._keep(checkpoint.origin, fault_found, replace(request, checkpoint=signed), known)
        raise Refused(422, fault_found)

    def _keys(self, checkpoint: Checkpoint) -> list[VerifierKey]:
        """Those that may sign this checkpoint."""
        registry = self._registries.get(checkpoint.origin)
        if registry is not None:
            return [registry]
        vehicle = self._vehicle(checkpoint.origin)
        if vehicle is None:
            raise Refused(404, f"{checkpoint.origin[:100]} is not known here: its county introduces it by add-log")
        if vehicle.revoked is not None and checkpoint.size > vehicle.revoked.size:
            raise Refused(403, f"the key of {vehicle.origin} is revoked from size {vehicle.revoked.size} on")
        return [VerifierKey.parse(key.key) for key in vehicle.keys if key.signs(checkpoint.size)]

    def _contradiction(self, checkpoint: Checkpoint, known: Note | None, request: AddCheckpoint) -> str | None:
        """Why a signed checkpoint is no extension of the last one; None when it is one."""
        last = Checkpoint.parse(known.text) if known is not None else Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
        if request.old_size != last.size:
            raise Refused(409, f"the last checkpoint cosigned has size {last.size}, not {request.old_size}", last.size)
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            return "an empty log has the root of the empty tree"
        if checkpoint.size == last.size and checkpoint.root != last.root:
            return f"another root for the same size {last.size}: the log was rewritten"
        if not verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, request.proof):
            return f"size {checkpoint.size} is not proven to extend size {last.size}"
        return None

    def _cosign(self, checkpoint: Checkpoint, known: Note | None, by_log: Sequence[Signature]) -> Signature:
        ours = self.verifier_key
        if known is not None and Checkpoint.parse(known.text).size == checkpoint.size:
            text = known.text
            again = [signature for signature in known.signatures if ours.verifies(text, signature)]
            if again and text == checkpoint.text():
                return again[0]
        now = self._clock.now()
        text = checkpoint.text()
        line = cosign(text, self._signer, now)
        note = bytes(Note(text, (by_log[0], line)))
        row = (checkpoint.origin, checkpoint.size, checkpoint.root, note)
        self._connection.execute("REPLACE INTO logs VALUES (?, ?, ?, ?, ?)", (*row, format_time(now)))
        if checkpoint.origin in self._registries:
            kept = (checkpoint.origin, checkpoint.size, note)
            self._connection.execute("INSERT OR IGNORE INTO registry_checkpoints VALUES (?, ?, ?)", kept)
        return line

    def _keep(self, origin: str, reason: str, request: AddCheckpoint, known: Note | None) -> None:
        """Once each; bounded, so that a log that repeats itself does not fill the disk.

        :param request: with the log's own line alone: everybody may send it again with others, and is not to take the
            room of another checkpoint
        """
        kept = self._connection.execute("SELECT count(*) FROM refused WHERE origin = ?", (origin,)).fetchone()[0]
        if kept >= MOST_REFUSED_KEPT:
            return
        note, proof = bytes(request.checkpoint), json.dumps([part.hex() for part in request.proof])
        row = (sha256(note).hexdigest(), origin, format_time(self._clock.now()), reason, request.old_size, proof, note)
        ours = bytes(known) if known is not None else None
        self._connection.execute("INSERT OR IGNORE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, ours))

    # add-log ----------------------------------------------------------------------------------------------------------

    def add_log(self, introduction: Introduction) -> RegisteredVehicle:
        """Know a vehicle's log by its entry in a registry; a newer entry replaces an older one.

        :raises Refused: 400 malformed, 404 no such registry, 403 not cosigned by this witness, or a key in two roles or
            a log of another registry, 409 a newer entry is known, 422 not proven
        """
        try:
            vehicle, registry = registered_vehicle(introduction.entry().fields), introduction.registry()
        except Malformed as fault:
            raise Refused(400, str(fault)) from None
        if registry.origin not in self._registries:
            raise Refused(404, f"{registry.origin[:100]} is not a registry of this witness")
        try:
            introduction.checkpoint.verified_by([self.verifier_key])
        except NoteRefused:
            raise Refused(403, "the registry's checkpoint is not cosigned by this witness: push it first") from None
        if not introduction.is_proven():
            raise Refused(422, f"entry {introduction.place} is not proven to belong to {registry.origin}")
        with self._writing():
            self._refuse_doubtful(vehicle, registry.origin, introduction.place)
            row = (vehicle.origin, registry.origin, introduction.place, introduction.body)
            self._connection.execute("REPLACE INTO vehicles VALUES (?, ?, ?, ?)", row)
        return vehicle

    def _refuse_doubtful(self, vehicle: RegisteredVehicle, registry: str, place: int) -> None:
        row = self._connection.execute(
            "SELECT registry, place FROM vehicles WHERE origin = ?", (vehicle.origin,)
        ).fetchone()
        if vehicle.origin in self._registries or (row is not None and row[0] != registry):
            raise Refused(403, f"{vehicle.origin} is the log of another registry")
        if row is not None and row[1] > place:
            raise Refused(409, f"entry {row[1]} of the registry says something newer about {vehicle.origin}", row[1])
        try:
            keys = [VerifierKey.parse(key.key) for key in vehicle.keys]
            others = [
                (other.origin, VerifierKey.parse(key.key))
                for other in self._vehicles()
                if other.origin != vehicle.origin
                for key in other.keys
            ]
            refuse_shared_keys([*self._roles, *others, *((vehicle.origin, key) for key in keys)])
        except NoteRefused as fault:
            raise Refused(400, str(fault)) from None
        except KeyInTwoRoles as fault:
            raise Refused(403, str(fault)) from None
        if any(key.algorithm != ED25519 or key.name != vehicle.origin for key in keys):
            raise Refused(403, f"a key of {vehicle.origin} is not a journal's key of that name")

    # reading ----------------------------------------------------------------------------------------------------------

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The last cosigned checkpoint of the log whose origin has this SHA-256 in lowercase hex."""
        with self._one_at_a_time:
            for origin, note in self._connection.execute("SELECT origin, note FROM logs"):
                if sha256(origin.encode()).hexdigest() == origin_hash:
                    return bytes(note)
        return None

    def logs(self) -> list[WitnessedLog]:
        query = (
            "SELECT origin, size, cosigned_at, (SELECT count(*) FROM refused WHERE refused.origin = logs.origin)"
            " FROM logs ORDER BY origin"
        )
        with self._one_at_a_time:
            rows = self._connection.execute(query).fetchall()
        return [WitnessedLog(origin, size, parse_time(at), refused) for origin, size, at, refused in rows]

    def registry_checkpoints(self, origin: str) -> list[tuple[int, bytes]]:
        """(size, note) of every checkpoint of a registry that was cosigned here: what was said when."""
        query = "SELECT size, note FROM registry_checkpoints WHERE origin = ? ORDER BY size"
        with self._one_at_a_time:
            rows = self._connection.execute(query, (origin,)).fetchall()
        return [(size, bytes(note)) for size, note in rows]

    def refused(self, origin: str) -> list[tuple[datetime, str, bytes]]:
        """(when, why, the signed note) of what contradicted an earlier checkpoint."""
        query = "SELECT at, reason, note FROM refused WHERE origin = ? ORDER BY at"
        with self._one_at_a_time:
            rows = self._connection.execute(query, (origin,)).fetchall()
        return [(parse_time(at), reason, bytes(note)) for at, reason, note in rows]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction; durable when the block ends without an exception, undone otherwise."""
        with self._one_at_a_time:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _note(self, origin: str) -> Note | None:
        row = self._connection.execute("SELECT note FROM logs WHERE origin = ?", (origin,)).fetchone()
        return Note.parse(row[0]) if row is not None else None

    def _vehicle(self, origin: str) -> RegisteredVehicle | None:
        row = self._connection.execute("SELECT place, body FROM vehicles WHERE origin = ?", (origin,)).fetchone()
        return _read_vehicle(*row) if row is not None else None

    def _vehicles(self) -> list[RegisteredVehicle]:
        return [_read_vehicle(*row) for row in self._connection.execute("SELECT place, body FROM vehicles")]


def _read_vehicle(place: int, body: bytes) -> RegisteredVehicle:
    return registered_vehicle(read_registry_entry(body, place).fields)

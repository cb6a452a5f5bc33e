"""Copies of the vehicles' journals: C2SP tlog-mirror over the database.

A checkpoint is taken when it extends the last one; entries are taken when they are proven to belong to it; the county
cosigns only after the entries are durable. Nothing here reads what an entry says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from devices.clock import Clock
from devices.errors import XunzhenError
from devices.events import emit
from sync.county.database import Database
from sync.county.freezing import Evidence, another_root, freeze, keep_refused, not_extended
from sync.county.schema import checkpoints, entries, logs, subtrees
from sync.formats.merkle import (
    EMPTY_ROOT,
    Frontier,
    ReadSubtree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
)
from sync.formats.notes import Checkpoint, Note, NoteRefused, Signature, Signer, VerifierKey, cosign
from sync.formats.wire import AddCheckpoint, AddEntries, MirrorInfo, Package, Tile, pack_entries

MOST_EXCESS_ENTRIES = 8192
ExtraLines = Callable[[str], Sequence[Signature]]


class Refused(XunzhenError):
    """A delivery that is not taken; the state is as before.

    :ivar status: HTTP status as in C2SP tlog-witness and tlog-mirror
    :ivar size: of the last checkpoint, with a 409 to add-checkpoint
    :ivar info: where to go on, with a 409 to add-entries
    """

    code = "refused"

    def __init__(self, status: int, reason: str, size: int | None = None, info: MirrorInfo | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.size, self.info = status, reason, size, info


@dataclass(frozen=True, slots=True)
class Taken:
    """Outcome of add-entries.

    :ivar receipt: cosignature lines once everything up to the checkpoint is stored; None when entries are still missing
    """

    stored: int
    info: MirrorInfo
    receipt: tuple[Signature, ...] | None


@dataclass(frozen=True, slots=True)
class _Log:
    pending_size: int = 0
    next_entry: int = 0
    mirror_size: int = 0
    frozen_at: datetime | None = None
    frozen_reason: str | None = None


class Mirror:
    """:param cosigner: the county's key, of type 0x04
    :param extra: further signature lines over a checkpoint's text, that nobody needs to know (``sm2.py``)
    """

    def __init__(self, database: Database, cosigner: Signer, clock: Clock, extra: ExtraLines = lambda text: ()) -> None:
        self._database = database
        self._cosigner = cosigner
        self._extra = extra
        self._clock = clock

    # add-checkpoint ------------------------------------------------------------------------------------------------

    def add_checkpoint(self, key: VerifierKey, request: AddCheckpoint) -> int:
        """Take a newer checkpoint of the log ``key.name``; returns its size. Not cosigned yet.

        Of its signature lines the vehicle's own is kept: others would stand beside the county's as if it had seen to
        them, and many of them leave no room for it.

        :raises Refused: 400, 403, 409 or 422 as in tlog-witness; one that shows a rewritten log freezes it (403 since)
        """
        try:
            checkpoint = Checkpoint.parse(request.checkpoint.text)
            if checkpoint.origin != key.name:
                raise Refused(400, f"the checkpoint is of {checkpoint.origin[:100]!r}, sent to {key.name}")
        except NoteRefused as fault:
            raise Refused(400, str(fault)) from None
        try:
            (signature, *_) = request.checkpoint.verified_by([key])
        except NoteRefused as fault:
            raise Refused(403, str(fault)) from None
        request = replace(request, checkpoint=Note(request.checkpoint.text, (signature,)))
        if request.old_size > checkpoint.size:
            raise Refused(400, f"old size {request.old_size} is above the checkpoint's {checkpoint.size}")
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise Refused(422, "an empty log has the root of the empty tree")
        refusal = self._extend(checkpoint, request)
        if refusal is not None:
            raise refusal
        emit("checkpoint_accepted", origin=key.name, size=checkpoint.size)
        return checkpoint.size

    def _extend(self, checkpoint: Checkpoint, request: AddCheckpoint) -> Refused | None:
        """Take the checkpoint, or say why not; what speaks against the vehicle is kept."""
        origin, now = checkpoint.origin, self._clock.now()
        with self._database.write(_lock(origin)) as connection:
            log = _log(connection, origin)
            root = self._root(connection, origin, log.pending_size)
            refusal, evidence = self._judged(connection, log, root, checkpoint, request)
            if evidence is not None:
                freeze(connection, origin, evidence, now)
            elif refusal is not None and refusal.status == 422:
                keep_refused(connection, origin, request.checkpoint, refusal.reason, now)
            elif refusal is None:
                self._take(connection, log.pending_size, checkpoint, request.checkpoint)
        if evidence is not None:
            emit("log_frozen", level=logging.WARNING, origin=origin, reason=evidence.reason)
        return refusal

    def _judged(
        self, connection: Connection, log: _Log, root: bytes, checkpoint: Checkpoint, request: AddCheckpoint
    ) -> tuple[Refused | None, Evidence | None]:
        """Why it is not taken, and what shows that the log was rewritten. ``root``: of the size that the county has."""
        if log.frozen_at is not None:
            return _frozen(log), None
        size, read = log.pending_size, self._reader(connection, checkpoint.origin)
        evidence = another_root(connection, checkpoint, request.checkpoint, log.mirror_size, read)
        if evidence is not None:
            return Refused(422, evidence.reason), evidence
        if request.old_size != size:
            return Refused(409, f"the county has size {size}, not {request.old_size}", size=size), None
        if verify_consistency(size, root, checkpoint.size, checkpoint.root, request.proof):
            return None, None
        evidence = not_extended(connection, checkpoint, request, root)
        reason = f"size {checkpoint.size} is not proven to extend size {size}"
        return Refused(422, evidence.reason if evidence else reason), evidence

    def _take(self, connection: Connection, size: int, checkpoint: Checkpoint, note: Note) -> None:
        origin, now = checkpoint.origin, self._clock.now()
        row = {"origin": origin, "size": checkpoint.size, "root": checkpoint.root}
        row |= {"note": bytes(note), "accepted_at": now}
        if size < checkpoint.size or connection.execute(_checkpoint(origin, size)).first() is None:
            connection.execute(insert(checkpoints).values(row))
        log = {"origin": origin, "pending_size": checkpoint.size, "last_seen_at": now}
        if connection.execute(update(logs).where(logs.c.origin == origin).values(log)).rowcount == 0:
            connection.execute(insert(logs).values({**log, "next_entry": 0, "mirror_size": 0}))

    def _root(self, connection: Connection, origin: str, size: int) -> bytes:
        row = connection.execute(_checkpoint(origin, size)).first()
        return row.root if row is not None else EMPTY_ROOT

    # add-entries ---------------------------------------------------------------------------------------------------

    def add_entries(self, origin: str, request: AddEntries) -> Taken:
        """Store the entries that are proven to belong to the checkpoint ``upload_end``, then cosign it when complete.

        :raises Refused: 400, 409 or 422 as in tlog-mirror, 403 when the log is frozen; what was proven before a bad
            package stays stored
        """
        head = request.head
        log, root = self._checked(origin, request)
        if not request.packages and head.upload_start < head.upload_end:
            raise Refused(400, "no whole entry package arrived")
        good = self._proven(origin, request.packages, head.upload_end, root)
        stored = self._store(origin, good, log.next_entry)
        log = self.log(origin)
        if len(good) < len(request.packages):
            raise Refused(422, f"entries from {request.packages[len(good)].first} on are not proven")
        info = MirrorInfo(head.upload_end, log.next_entry)
        if log.next_entry < head.upload_end:
            return Taken(stored, info, None)
        return Taken(stored, info, self._cosign(origin, head.upload_end))

    def _checked(self, origin: str, request: AddEntries) -> tuple[_Log, bytes]:
        head = request.head
        if head.origin != origin:
            raise Refused(404, f"the entries are of {head.origin[:100]!r}, sent to {origin}")
        with self._database.read() as connection:
            log = _log(connection, origin)
            found = connection.execute(_checkpoint(origin, head.upload_end)).first()
        if log.frozen_at is not None:
            raise _frozen(log)
        if log.pending_size == 0 and found is None:
            raise Refused(422, "no checkpoint was added yet: send add-checkpoint first")
        info = MirrorInfo(log.pending_size, log.next_entry)
        if found is None:
            raise Refused(409, f"no checkpoint of size {head.upload_end} is known", info=info)
        if head.upload_end < log.mirror_size:
            raise Refused(409, f"{log.mirror_size} entries are stored and cosigned already", info=info)
        if head.upload_start > log.next_entry:
            raise Refused(409, f"entries from {log.next_entry} on are missing", info=info)
        if min(head.upload_end, log.next_entry) - head.upload_start > MOST_EXCESS_ENTRIES:
            raise Refused(409, "far too many of these entries are stored already", info=info)
        return log, found.root

    def _proven(self, origin: str, packages: Sequence[Package], size: int, root: bytes) -> list[Package]:
        """The packages up to the first that is not proven."""
        good: list[Package] = []
        for package in packages:
            earlier = [] if good else self.leaves(origin, package.rounded_start, package.first)
            if not package.proves(earlier, size, root):
                break
            good.append(package)
        return good

    def _store(self, origin: str, packages: Sequence[Package], next_entry: int) -> int:
        """Durable when it returns; entries that are there already are skipped."""
        bodies = [(package.first + place, body) for package in packages for place, body in enumerate(package.entries)]
        if not bodies or bodies[-1][0] < next_entry:
            return 0
        with self._database.write(_lock(origin)) as connection:
            next_entry = _log(connection, origin).next_entry
            fresh = [body for _, body in bodies[max(0, next_entry - bodies[0][0]) :]]
            if not fresh:
                return 0
            self._append(connection, origin, next_entry, fresh)
            stored = {"next_entry": next_entry + len(fresh), "last_seen_at": self._clock.now()}
            connection.execute(update(logs).where(logs.c.origin == origin).values(stored))
        emit("entries_stored", origin=origin, first=next_entry, count=len(fresh))
        return len(fresh)

    def _append(self, connection: Connection, origin: str, size: int, bodies: Sequence[bytes]) -> Frontier:
        """Rows of entries from ``size`` on and of the subtrees that they complete; the frontier behind them."""
        frontier = Frontier.read(size, self._reader(connection, origin))
        rows, above = [], []
        for n, body in enumerate(bodies, start=size):
            leaf = leaf_hash(body)
            rows.append({"origin": origin, "n": n, "leaf": leaf, "body": body})
            above += [
                {"origin": origin, "level": level, "place": place, "hash": hashed}
                for level, place, hashed in frontier.append(leaf)
            ]
        connection.execute(insert(entries), rows)
        if above:
            connection.execute(insert(subtrees), above)
        return frontier

    def _cosign(self, origin: str, size: int) -> tuple[Signature, ...]:
        """Cosign the checkpoint of ``size``, whose entries are all stored; asked again, the same line again."""
        with self._database.write(_lock(origin)) as connection:
            row = connection.execute(_checkpoint(origin, size)).one()
            note = Note.parse(row.note)
            if row.cosigned_at is None:
                now = self._clock.now()
                note = note.signed_also([cosign(note.text, self._cosigner, now), *self._extra(note.text)])
                at = (checkpoints.c.origin == origin) & (checkpoints.c.size == size)
                connection.execute(update(checkpoints).where(at).values(note=bytes(note), cosigned_at=now))
                newer = (logs.c.origin == origin) & (logs.c.mirror_size <= size)
                connection.execute(update(logs).where(newer).values(mirror_size=size, cosigned_at=now))
        key = self._cosigner.verifier_key()
        return tuple(signature for signature in note.signatures if key.verifies(note.text, signature))

    # the county's own log ------------------------------------------------------------------------------------------

    def append_own(self, signer: Signer, make: Callable[[Connection, int], Sequence[bytes]]) -> int:
        """Append to the county's own log ``signer.name``, its registry, and sign and cosign the checkpoint; its size.

        :param make: (connection, size so far) -> bodies of the further entries, alone among all processes; none of them
            changes nothing
        """
        origin = signer.name
        with self._database.write(_lock(origin)) as connection:
            size = _log(connection, origin).next_entry
            bodies = make(connection, size)
            if not bodies:
                return size
            frontier = self._append(connection, origin, size, bodies)
            now = self._clock.now()
            note = Checkpoint(origin, frontier.size, frontier.root()).signed(signer)
            note = note.signed_also([cosign(note.text, self._cosigner, now), *self._extra(note.text)])
            row = {"origin": origin, "size": frontier.size, "root": frontier.root(), "note": bytes(note)}
            connection.execute(insert(checkpoints).values({**row, "accepted_at": now, "cosigned_at": now}))
            log = dict.fromkeys(("pending_size", "next_entry", "mirror_size", "interpreted"), frontier.size)
            whole = {"origin": origin, **log, "last_seen_at": now, "cosigned_at": now}
            if connection.execute(update(logs).where(logs.c.origin == origin).values(whole)).rowcount == 0:
                connection.execute(insert(logs).values(whole))
        emit("registry_appended", origin=origin, first=size, count=len(bodies))
        return frontier.size

    # reading -------------------------------------------------------------------------------------------------------

    def log(self, origin: str) -> _Log:
        with self._database.read() as connection:
            return _log(connection, origin)

    def checkpoint(self, origin: str) -> bytes | None:
        """The newest cosigned checkpoint as a signed note."""
        newest = (
            select(checkpoints.c.note)
            .where(checkpoints.c.origin == origin, checkpoints.c.cosigned_at.is_not(None))
            .order_by(checkpoints.c.size.desc())
            .limit(1)
        )
        row = self._database.row(newest)
        return row["note"] if row else None

    def leaves(self, origin: str, first: int, end: int) -> list[bytes]:
        if first >= end:
            return []
        found = select(entries.c.leaf).where(*_range(origin, first, end)).order_by(entries.c.n)
        return [row["leaf"] for row in self._database.rows(found)]

    def bodies(self, origin: str, first: int, end: int) -> list[tuple[int, bytes]]:
        """(place, bytes) of entries in [first, end), in order."""
        found = select(entries.c.n, entries.c.body).where(*_range(origin, first, end)).order_by(entries.c.n)
        return [(row["n"], row["body"]) for row in self._database.rows(found)]

    def removed(self, origin: str, first: int, end: int) -> set[int]:
        """Places in [first, end) whose body was removed after retention: it is empty, and what was signed is not."""
        empty = select(entries.c.n).where(*_range(origin, first, end), func.length(entries.c.body) == 0)
        return {row["n"] for row in self._database.rows(empty.where(entries.c.leaf != leaf_hash(b"")))}

    def tile(self, origin: str, tile: Tile) -> bytes | None:
        """The bytes of a tile of the cosigned tree; None when the tree has no such tile.

        :raises Refused: 404, entries of it were removed after retention; its hashes stay
        """
        if not tile.within(self.log(origin).mirror_size):
            return None
        if tile.level < 0:
            first = tile.index * 256
            bodies = [body for _, body in self.bodies(origin, first, first + tile.width)]
            if self.removed(origin, first, first + tile.width):
                raise Refused(404, "entries of this bundle were removed after retention: their hashes are in tile/0")
            return pack_entries(bodies)
        if tile.level == 0:
            return b"".join(self.leaves(origin, tile.index * 256, tile.index * 256 + tile.width))
        with self._database.read() as connection:
            return tile.hashes(self._reader(connection, origin))

    def consistency(self, origin: str, old_size: int, size: int) -> list[bytes]:
        """Proof that the cosigned tree of ``size`` entries extends the one of ``old_size`` (RFC 6962 section 2.1.2)."""
        with self._database.read() as connection:
            return consistency_proof(old_size, size, self._reader(connection, origin))

    def inclusion(self, origin: str, place: int, size: int) -> list[bytes]:
        """Proof that the entry at ``place`` belongs to the cosigned tree of ``size`` (RFC 6962 section 2.1.1)."""
        with self._database.read() as connection:
            return inclusion_proof(place, size, self._reader(connection, origin))

    def keep_cosignature(self, origin: str, size: int, line: Signature) -> None:
        """Add a witness's verified line to the checkpoint of ``size``."""
        with self._database.write(_lock(origin)) as connection:
            note = Note.parse(connection.execute(_checkpoint(origin, size)).one().note).signed_also([line])
            at = (checkpoints.c.origin == origin) & (checkpoints.c.size == size)
            witnessed = {"note": bytes(note), "witnessed_at": self._clock.now()}
            connection.execute(update(checkpoints).where(at).values(witnessed))

    def _reader(self, connection: Connection, origin: str) -> ReadSubtree:
        def read(level: int, place: int) -> bytes:
            if level == 0:
                query: Any = select(entries.c.leaf).where(entries.c.origin == origin, entries.c.n == place)
            else:
                at = (subtrees.c.origin == origin) & (subtrees.c.level == level) & (subtrees.c.place == place)
                query = select(subtrees.c.hash).where(at)
            hashed: bytes = connection.execute(query).scalar_one()
            return hashed

        return read


def _lock(origin: str) -> str:
    """Under which a log changes: one request at a time, of all workers."""
    return f"log {origin}"


def _log(connection: Connection, origin: str) -> _Log:
    columns = (logs.c.pending_size, logs.c.next_entry, logs.c.mirror_size, logs.c.frozen_at, logs.c.frozen_reason)
    row = connection.execute(select(*columns).where(logs.c.origin == origin)).first()
    return _Log(*row) if row is not None else _Log()


def _frozen(log: _Log) -> Refused:
    return Refused(
        403, f"this log is frozen since {log.frozen_at:%Y-%m-%d %H:%M} UTC: {log.frozen_reason}. Keep the disk as it is"
    )


def _checkpoint(origin: str, size: int) -> Any:
    return select(checkpoints).where(checkpoints.c.origin == origin, checkpoints.c.size == size)


def _range(origin: str, first: int, end: int) -> tuple[Any, ...]:
    return entries.c.origin == origin, entries.c.n >= first, entries.c.n < end

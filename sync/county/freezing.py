"""When a vehicle's log is frozen, and what is kept to show why.

A log is frozen by a checkpoint that the vehicle has signed and that cannot be an extension of what it signed before
(a restored image, a cloned disk, an edited database):

- ``SAME_SIZE``: the county has a tree of that size, with another root. It does not matter which old size was said.
- ``THEIR_PREFIX``: the vehicle said the county's size, and its proof is a path of the newly signed tree: it leads to
  the signed root, and to another root than the county's for the entries before.
- ``NOT_LINKED``: the vehicle said the county's size, that size is a power of two (then RFC 6962 leaves the old root out
  of the proof), and the proof has all its hashes but does not lead from the county's root to the signed one. The county
  knows that the vehicle sent this proof, as its request was signed; a third party sees a proof that fails, which
  anybody can write beside two good checkpoints. So it freezes the log, and is no evidence for others
  (``Evidence.holds``).

What may come from an innocent fault is refused and freezes nothing: a wrong old size (409), a checkpoint of an earlier
size with the right root (409), a proof that lacks hashes, has too many, or is no path of the signed tree (422: kept as
a refused checkpoint, but it shows a broken proof, not a rewritten log). Bytes changed on the way never come here: the
whole request is signed.

A power cut that takes entries back which the county has already is no fraud, but the log is forked all the same: a
person decides. Lifting changes no state, so a log that is really forked is frozen again by its next checkpoint; such a
vehicle goes on under a new origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, insert, select, update

from devices.errors import AskPerson
from devices.events import emit
from sync.county.database import Database
from sync.county.schema import checkpoints, logs, refused_checkpoints
from sync.formats.merkle import (
    EMPTY_ROOT,
    ReadSubtree,
    consistency_proof,
    shown_prefix,
    subtree_root,
    verify_consistency,
)
from sync.formats.notes import Checkpoint, Note, NoteRefused, VerifierKey, b64, unb64
from sync.formats.wire import AddCheckpoint

SAME_SIZE, THEIR_PREFIX, NOT_LINKED = "same_size", "their_prefix", "not_linked"
MOST_REFUSED_KEPT = 1000


class UnfreezingRefused(AskPerson):
    """The log cannot be taken up again as asked; the message says why."""

    code = "unfreezing_refused"


@dataclass(frozen=True, slots=True)
class Frozen:
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two checkpoints that the vehicle signed, of logs that are not one.

    :ivar shows: ``SAME_SIZE``: ``proof`` is the root that the county has for the refused size and the path from it to
        ``ours``; else it is the vehicle's own, from ``ours`` to the refused one
    """

    shows: str
    refused: Note
    ours: Note
    proof: tuple[bytes, ...]
    reason: str

    def holds(self, key: VerifierKey) -> bool:
        """Whether it shows what it says, to somebody who has nothing but the vehicle's key; never ``NOT_LINKED``."""
        if self.shows == NOT_LINKED:
            return False
        try:
            for note in (self.refused, self.ours):
                note.verified_by([key])
            refused, ours = Checkpoint.parse(self.refused.text), Checkpoint.parse(self.ours.text)
        except NoteRefused:
            return False
        if self.shows == SAME_SIZE:
            root, *path = self.proof or (b"",)
            extends = verify_consistency(refused.size, root, ours.size, ours.root, path)
            return extends and root != refused.root
        return fork_shown(ours.size, ours.root, refused.size, refused.root, self.proof) == self.shows


def fork_shown(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> str | None:
    """What a proof that fails shows about the tree ``size``, ``root``: ``THEIR_PREFIX``, ``NOT_LINKED`` or nothing."""
    if not 0 < old_size < size or verify_consistency(old_size, old_root, size, root, proof):
        return None
    shown = shown_prefix(old_size, size, root, proof)
    if shown is not None:
        return THEIR_PREFIX if shown != old_root else None
    power_of_two = old_size & (old_size - 1) == 0
    return NOT_LINKED if power_of_two and _all_hashes(old_size, size, proof) else None


def another_root(
    connection: Connection, checkpoint: Checkpoint, refused: Note, stored: int, read: ReadSubtree
) -> Evidence | None:
    """That the county has the tree of this size with another root.

    :param stored: entries that are stored and cosigned. :param read: their subtrees
    """
    of_size = select(checkpoints).where(checkpoints.c.origin == checkpoint.origin)
    known = connection.execute(of_size.where(checkpoints.c.size == checkpoint.size)).first()
    path: list[bytes] = []
    if known is not None:
        root = known.root
    elif 0 < checkpoint.size < stored:
        root = subtree_root(0, checkpoint.size, read)
        above = checkpoints.c.size.between(checkpoint.size, stored)
        known = connection.execute(of_size.where(above).order_by(checkpoints.c.size).limit(1)).one()
        path = consistency_proof(checkpoint.size, known.size, read)
    else:
        return None
    if root == checkpoint.root:
        return None
    reason = f"another root for size {checkpoint.size} than the vehicle signed before: the journal was rewritten"
    return Evidence(SAME_SIZE, refused, Note.parse(known.note), (root, *path), reason)


def not_extended(
    connection: Connection, checkpoint: Checkpoint, request: AddCheckpoint, root: bytes
) -> Evidence | None:
    """That the signed tree has other entries than the county's ``request.old_size``, of ``root``, at its beginning."""
    shows = fork_shown(request.old_size, root, checkpoint.size, checkpoint.root, request.proof)
    if shows is None:
        return None
    at = (checkpoints.c.origin == checkpoint.origin) & (checkpoints.c.size == request.old_size)
    ours = Note.parse(connection.execute(select(checkpoints.c.note).where(at)).scalar_one())
    reason = f"size {checkpoint.size} does not extend the {request.old_size} entries that the county has"
    if shows == NOT_LINKED:
        reason += "; the county saw it, but two checkpoints and a proof that fails convince nobody else: keep the disk"
    return Evidence(shows, request.checkpoint, ours, request.proof, reason)


def keep_refused(
    connection: Connection, origin: str, note: Note, reason: str, at: datetime, evidence: Evidence | None = None
) -> None:
    """Once each; bounded, so that a vehicle that repeats itself does not fill the disk.

    Evidence is always kept, or who sends enough broken proofs first could rewrite a log and leave no trace. It needs no
    bound: a frozen log sends no more until a person has lifted it.
    """
    table, body = refused_checkpoints, bytes(note)
    digest = sha256(body).hexdigest()
    kept = connection.execute(select(table.c.digest).where(table.c.origin == origin)).scalars().all()
    row: dict[str, Any] = {"origin": origin, "at": at, "reason": reason[:200], "digest": digest, "note": body}
    if evidence is not None:
        proof = "".join(f"{b64(part)}\n" for part in evidence.proof)
        row |= {"ours": bytes(evidence.ours), "proof": proof, "shows": evidence.shows}
        bare = (table.c.digest == digest) & table.c.shows.is_(None)
        connection.execute(update(table).where(bare).values(row))
    if digest not in kept and (evidence is not None or len(kept) < MOST_REFUSED_KEPT):
        connection.execute(insert(table).values(row))


def freeze(connection: Connection, origin: str, evidence: Evidence, at: datetime) -> None:
    """Take nothing more of the log; what is stored stays as it is."""
    keep_refused(connection, origin, evidence.refused, evidence.reason, at, evidence)
    frozen = {"frozen_at": at, "frozen_reason": evidence.reason[:300]}
    connection.execute(update(logs).where(logs.c.origin == origin).values(frozen))


def frozen(database: Database, origin: str) -> Frozen | None:
    row = database.row(select(logs.c.frozen_at, logs.c.frozen_reason).where(logs.c.origin == origin))
    return Frozen(row["frozen_at"], row["frozen_reason"] or "") if row and row["frozen_at"] is not None else None


def unfreeze(database: Database, origin: str, reason: str) -> Frozen:
    """Take the log again, by decision of a person; returns what it was frozen for. The caller notes it in the audit.

    :raises UnfreezingRefused: not frozen, or no reason of 2 to 200 characters
    """
    if not 2 <= len(reason.strip()) <= 200:
        raise UnfreezingRefused("say in 2 to 200 characters why the log may go on")
    with database.write(f"log {origin}") as connection:
        found = connection.execute(
            select(logs.c.frozen_at, logs.c.frozen_reason).where(logs.c.origin == origin)
        ).first()
        if found is None or found.frozen_at is None:
            raise UnfreezingRefused(f"the log {origin[:100]} is not frozen")
        lifted = {"frozen_at": None, "frozen_reason": None}
        connection.execute(update(logs).where(logs.c.origin == origin).values(lifted))
    emit("log_unfrozen", origin=origin, reason=reason.strip())
    return Frozen(found.frozen_at, found.frozen_reason or "")


def evidence_of(database: Database, origin: str) -> list[Evidence]:
    """Oldest first."""
    wanted = select(refused_checkpoints).where(
        refused_checkpoints.c.origin == origin, refused_checkpoints.c.shows.is_not(None)
    )
    return [
        Evidence(
            row["shows"],
            Note.parse(row["note"]),
            Note.parse(row["ours"]),
            tuple(unb64(line) for line in row["proof"].splitlines()),
            row["reason"],
        )
        for row in database.rows(wanted.order_by(refused_checkpoints.c.id))
    ]


def _all_hashes(old_size: int, size: int, proof: Sequence[bytes]) -> bool:
    """Whether a proof has as many hashes as one from ``old_size`` to ``size`` has."""
    return len(proof) == len(consistency_proof(old_size, size, lambda level, place: EMPTY_ROOT))

"""Who signed a checkpoint, and when: its signature lines against the keys that are trusted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, NoteRefused, Signature, VerifierKey, cosigned_at
from sync.proof.evidence import NotProven
from sync.verify.policy import Policy


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint of which every line by a known key verifies.

    :ivar own: lines of the log's own key
    :ivar cosigned: lines of each witness, by the name of its key
    """

    checkpoint: Checkpoint
    note: Note
    own: tuple[Signature, ...]
    cosigned: Mapping[str, tuple[Signature, ...]]
    quorum: bool

    def seen_at(self, witness: str) -> datetime | None:
        """The earliest time at which the witness with this key name cosigned it."""
        return min((cosigned_at(line) for line in self.cosigned.get(witness, ())), default=None)

    @property
    def witnesses(self) -> dict[str, datetime]:
        """Earliest time by key name."""
        return {name: min(map(cosigned_at, lines)) for name, lines in self.cosigned.items()}


def read_checkpoint(data: bytes, where: str) -> tuple[Note, Checkpoint]:
    """:raises NotProven: note_unreadable"""
    try:
        note = Note.parse(data)
        return note, Checkpoint.parse(note.text)
    except NoteRefused as fault:
        raise NotProven("note_unreadable", f"{where}: {fault}") from None


def check_signatures(
    note: Note, checkpoint: Checkpoint, log_keys: Sequence[VerifierKey], policy: Policy, where: str
) -> SignedCheckpoint:
    """Verify every line that claims to be of a known key; all others are ignored.

    :param log_keys: of which one must have signed
    :raises NotProven: signature_invalid, signature_missing
    """
    own: list[Signature] = []
    cosigned: dict[str, list[Signature]] = {}
    names: set[str] = set()
    for line in note.signatures:
        for key in log_keys:
            if key.fits(line):
                own.append(_verified(key, note, line, where))
        for name, key in policy.witnesses.items():
            if key.fits(line):
                cosigned.setdefault(key.name, []).append(_verified(key, note, line, where))
                names.add(name)
    if not own:
        raise NotProven("signature_missing", f"{where} is not signed by the log {checkpoint.origin}")
    lines = {name: tuple(found) for name, found in cosigned.items()}
    return SignedCheckpoint(checkpoint, note, tuple(own), lines, policy.satisfied_by(names))


def _verified(key: VerifierKey, note: Note, line: Signature, where: str) -> Signature:
    if not key.verifies(note.text, line):
        raise NotProven("signature_invalid", f"{where}: the signature of {key.name} does not verify")
    if key.algorithm == ED25519_COSIGNATURE:
        try:
            cosigned_at(line)
        except (ValueError, OverflowError, OSError):
            raise NotProven("signature_invalid", f"{where}: {key.name} signed at a time beyond the calendar") from None
    return line

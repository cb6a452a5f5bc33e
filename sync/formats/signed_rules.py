"""How a county shows a van its edition of the screening rules: the entry, the index that names it, and their proofs.

``GET /screening-rules?have=<sha256>`` answers 204 when the van has it already or there is none, else one JSON object:
``checkpoint``, the registry's newest as a cosigned note, and ``entries``, the index that closes it and the edition,
each with its place ``n``, its ``body`` as text and its inclusion ``proof`` (RFC 6962 section 2.1.1, base64). Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync.formats.canonical import NotCanonical, loads
from sync.formats.merkle import leaf_hash, verify_inclusion
from sync.formats.notes import Checkpoint, Note, NoteRefused, VerifierKey, b64, unb64

PATH = "/screening-rules"
KIND = "screening_rules/1"


class RulesNotProven(ValueError):
    """An answer that does not prove what it says; the message says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry of the registry with the proof that it stands there."""

    n: int
    body: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignedRules:
    """An edition whose proof holds."""

    edition: int
    sha256: str
    file: str
    """Packed (``sync.screening.rule_file.unpack``)."""
    name: str
    reason: str
    place: int
    """Of its entry in the registry."""
    size: int
    """Of the registry that was shown: a later one is never smaller."""
    checkpoint: str


def written(checkpoint: bytes, entries: Sequence[Shown]) -> bytes:
    said = {
        "checkpoint": checkpoint.decode(),
        "entries": [
            {"n": one.n, "body": one.body.decode(), "proof": [b64(part) for part in one.proof]} for one in entries
        ],
    }
    return json.dumps(said, ensure_ascii=False).encode()


def proven(body: bytes, registry: str, county: VerifierKey) -> SignedRules:
    """The edition that ``body`` proves to be in force.

    :param registry: the name of the registry's log
    :param county: whose cosignature counts
    :raises RulesNotProven: another log, no cosignature of the county, a proof that does not hold, or no edition
    """
    try:
        said = json.loads(body)
        note = Note.parse(said["checkpoint"].encode())
        shown = [Shown(int(row["n"]), row["body"].encode(), tuple(map(unb64, row["proof"]))) for row in said["entries"]]
        checkpoint = Checkpoint.parse(note.text)
        note.verified_by([county])
    except (ValueError, KeyError, TypeError, AttributeError, NoteRefused, RecursionError) as fault:
        raise RulesNotProven(f"the county's answer about its rules cannot be read: {fault}") from None
    if checkpoint.origin != registry:
        raise RulesNotProven(f"the rules are of the log {checkpoint.origin[:60]!r}, not of {registry!r}")
    entries = {one.n: _read(one, checkpoint) for one in shown}
    index = entries.get(checkpoint.size - 1, {})
    place = index.get("screening_rules") if index.get("kind") == "index/1" else None
    edition = entries.get(place, {}) if isinstance(place, int) else {}
    if edition.get("kind") != KIND:
        raise RulesNotProven("the registry's index names no edition of the rules that was shown")
    try:
        return SignedRules(
            edition=int(edition["edition"]),
            sha256=str(edition["sha256"]),
            file=str(edition["file"]),
            name=str(edition["name"]),
            reason=str(edition["reason"]),
            place=int(place or 0),
            size=checkpoint.size,
            checkpoint=said["checkpoint"],
        )
    except (KeyError, ValueError, TypeError) as fault:
        raise RulesNotProven(f"the edition of the rules cannot be read: {fault}") from None


def _read(one: Shown, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """:raises RulesNotProven: it does not stand there, or is no entry"""
    if not verify_inclusion(one.n, leaf_hash(one.body), checkpoint.size, checkpoint.root, one.proof):
        raise RulesNotProven(f"entry {one.n} does not belong to the registry that the county cosigned")
    try:
        said: Mapping[str, Any] = loads(one.body)
    except NotCanonical as fault:
        raise RulesNotProven(f"entry {one.n} of the registry cannot be read: {fault}") from None
    return said

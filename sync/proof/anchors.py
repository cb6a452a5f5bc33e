"""Anchors: a journal names the county's last receipt, so that what follows is younger than the receipt.

Every boot begins with one, and every visit, when a newer receipt has come since: between two receipts a visit cannot be
back-dated, and the closer together they are the better (``sync.proof.visit_proof.Bracket``).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from sync.formats.canonical import loads
from sync.formats.notes import Checkpoint, Note
from sync.formats.records import Draft

Read = Callable[[str], list[dict[str, Any]]]
"""``sync.record.store.Store.read``."""


def anchor_of(receipt: bytes) -> Draft:
    """The ``anchor/1`` that names ``receipt``, a checkpoint as a note with the county's cosignature."""
    checkpoint = Checkpoint.parse(Note.parse(receipt).text)
    return Draft(
        "anchor/1",
        {"size": checkpoint.size, "root": checkpoint.root.hex(), "receipt_sha256": sha256(receipt).hexdigest()},
    )


def newer_anchor(read: Read) -> Draft | None:
    """The anchor to write now; None when there is no receipt, or the journal's last anchor names it already."""
    receipts = read("SELECT note FROM receipts ORDER BY size DESC LIMIT 1")
    if not receipts:
        return None
    anchor = anchor_of(receipts[0]["note"])
    last = read("SELECT body FROM entries WHERE kind = 'anchor/1' ORDER BY n DESC LIMIT 1")
    known = loads(last[0]["body"])["receipt_sha256"] if last and last[0]["body"] is not None else None
    return None if known == anchor.fields["receipt_sha256"] else anchor

"""Receipts: the county's cosignature over a checkpoint of this journal. Only a receipt means "delivered"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from devices.events import emit
from sync.delivery.county_client import RecordRefused
from sync.formats.notes import Checkpoint, Note, NoteRefused, Signature, VerifierKey, cosigned_at
from sync.formats.records import format_time, parse_time
from sync.record.store import Store


class ReceiptInvalid(RecordRefused):
    """The county said "stored" but did not sign for it with the key that this van knows."""

    code = "receipt_invalid"


@dataclass(frozen=True, slots=True)
class Receipt:
    size: int
    note: Note
    cosigned_at: datetime


class Receipts:
    def __init__(self, store: Store, county: VerifierKey) -> None:
        self._store, self._county = store, county

    def accept(self, checkpoint: Note, cosignatures: Sequence[Signature]) -> Receipt:
        """Verify the county's cosignature over our own ``checkpoint`` and keep both; durable when it returns.

        Signatures of unknown keys are kept out, as anyone may add them on the way.

        :raises ReceiptInvalid: none of the county's key, or one that does not verify.
        """
        receipt = read_receipt(checkpoint, cosignatures, self._county)
        row = (receipt.size, bytes(receipt.note), format_time(receipt.cosigned_at))
        self._store.transact(
            lambda db: db.execute("INSERT OR REPLACE INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row)
        )
        emit("receipt_verified", size=receipt.size)
        return receipt

    def last(self) -> Receipt | None:
        """The newest. It was verified when it came: by a key that may have been replaced in the settings since."""
        found = self._store.read("SELECT size, note, cosigned_at FROM receipts ORDER BY size DESC LIMIT 1")
        if not found:
            return None
        return Receipt(found[0]["size"], Note.parse(found[0]["note"]), parse_time(found[0]["cosigned_at"]))


def read_receipt(checkpoint: Note, cosignatures: Sequence[Signature], county: VerifierKey) -> Receipt:
    """:raises ReceiptInvalid: see ``Receipts.accept``."""
    try:
        good = Note(checkpoint.text, tuple(cosignatures)).verified_by([county])
    except NoteRefused as fault:
        raise ReceiptInvalid(
            f"the county's answer carries no valid receipt ({fault}); compare the county's key in the settings"
        ) from fault
    newest = max(good, key=cosigned_at)
    size = Checkpoint.parse(checkpoint.text).size
    return Receipt(size, checkpoint.signed_also([newest]), cosigned_at(newest))

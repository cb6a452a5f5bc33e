"""How a witness comes to know a vehicle's log: the vehicle's entry in its county's registry, proven. Pure.

Body of ``POST /add-log``, in the manner of C2SP tlog-witness::

    entry <place>
    <inclusion proof of the entry for the checkpoint, one base64 hash a line (RFC 6962 section 2.1.1)>
    <empty line>
    <the vehicle/1 entry as it stands in the registry, one line of canonical JSON>
    <checkpoint of the registry, with the cosignature of the witness that is asked>

The witness needs no list of vehicles and no way to the county: what it has cosigned of the registry says who signs.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.formats.merkle import LONGEST_PROOF, leaf_hash, verify_inclusion
from sync.formats.notes import Checkpoint, Note, NoteRefused, b64, unb64
from sync.formats.records import LARGEST_BODY_BYTES
from sync.formats.wire import Malformed, decimal
from sync.proof.registry_entries import RegistryEntry, RegistryUnreadable, read_registry_entry


@dataclass(frozen=True, slots=True)
class Introduction:
    """:ivar place: of the entry in the registry"""

    place: int
    proof: tuple[bytes, ...]
    body: bytes
    checkpoint: Note

    def __bytes__(self) -> bytes:
        lines = [f"entry {self.place}\n", *(f"{b64(part)}\n" for part in self.proof), "\n"]
        return "".join(lines).encode() + self.body + b"\n" + bytes(self.checkpoint)

    @classmethod
    def parse(cls, data: bytes) -> Introduction:
        """:raises Malformed: not of the form above"""
        head, blank, rest = data.partition(b"\n\n")
        body, line_end, note = rest.partition(b"\n")
        try:
            first, *proof = head.decode("ascii").split("\n")
            if not blank or not line_end or not first.startswith("entry "):
                raise Malformed("add-log begins with 'entry <place>', proof lines, a blank line and the entry's line")
            if len(proof) > LONGEST_PROOF or len(body) > LARGEST_BODY_BYTES:
                raise Malformed("too many proof lines, or the entry is too large")
            return cls(decimal(first[6:]), tuple(unb64(line) for line in proof), body, Note.parse(note))
        except (UnicodeDecodeError, NoteRefused) as fault:
            raise Malformed(f"add-log: {fault}") from None

    def entry(self) -> RegistryEntry:
        """The vehicle's entry; whether it belongs to the registry says ``is_proven``.

        :raises Malformed: not a ``vehicle/1`` entry
        """
        try:
            entry = read_registry_entry(self.body, self.place)
        except RegistryUnreadable as fault:
            raise Malformed(f"add-log: {fault}") from None
        if entry.kind != "vehicle/1":
            raise Malformed(f"add-log takes a vehicle/1 entry, not {entry.kind[:40]}")
        return entry

    def registry(self) -> Checkpoint:
        """:raises Malformed: not a checkpoint"""
        try:
            return Checkpoint.parse(self.checkpoint.text)
        except NoteRefused as fault:
            raise Malformed(f"add-log: {fault}") from None

    def is_proven(self) -> bool:
        registry = self.registry()
        return verify_inclusion(self.place, leaf_hash(self.body), registry.size, registry.root, self.proof)

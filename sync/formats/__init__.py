"""What the record is written in: kinds of entries, canonical JSON, Merkle tree, notes, bodies on the wire."""

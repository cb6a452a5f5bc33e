"""The vehicle's signing key: one Ed25519 key per journal, kept in a file outside the database.

The file holds one line in the form of golang.org/x/mod/sumdb/note: ``PRIVATE+KEY+<origin>+<id>+<base64>``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from sync.notes import ED25519, ED25519_COSIGNATURE, NoteRefused, SeedSigner, VerifierKey, b64, unb64
from sync.secret_file import KeyMissing, create_secret, read_secret

_PREFIX = "PRIVATE+KEY+"


class VehicleKey(SeedSigner):
    """Signs checkpoints, requests to the county and challenges of the exchange. ``name`` is the journal's origin."""

    @classmethod
    def load_or_create(
        cls, path: Path, origin: str, random_bytes: Callable[[int], bytes] = os.urandom, algorithm: int = ED25519
    ) -> VehicleKey:
        """:param algorithm: ``ED25519`` for a vehicle, ``ED25519_COSIGNATURE`` for a county or a witness.

        :raises KeyMissing: the file is damaged, or holds the key of another origin or of another use.
        """
        if not path.exists():
            seed = random_bytes(32)
            identifier = cls(origin, seed, algorithm).verifier_key().key_id.hex()
            with suppress(FileExistsError):  # another process was first: its key it is
                create_secret(path, f"{_PREFIX}{origin}+{identifier}+{b64(bytes([algorithm]) + seed)}\n")
        key = cls._parse(read_secret(path), path)
        if key.name != origin or key.verifier_key().algorithm != algorithm:
            raise KeyMissing(
                f"{path}: holds the key of {key.name}, not of {origin}; bring the right file or correct the settings",
                path=path,
            )
        return key

    @classmethod
    def _parse(cls, text: str, path: Path) -> VehicleKey:
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        identifier, _, encoded = rest.partition("+")
        try:
            data = unb64(encoded)
            key = cls(name, data[1:], data[0])
        except (NoteRefused, ValueError, IndexError):
            key = None
        if key is None or not text.startswith(_PREFIX) or key.verifier_key().key_id.hex() != identifier:
            raise KeyMissing(f"{path}: not a signing key; bring the file back from its backup", path=path)
        return key

    def sign_for(self, purpose: str, message: bytes) -> bytes:
        """A signature that is good for one ``purpose`` only, such as "exchange-challenge"."""
        return self.sign(purpose_text(purpose, message))


def verify_for(key: VerifierKey, purpose: str, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` was made by ``VehicleKey.sign_for`` with the same purpose."""
    return key.verifies_message(purpose_text(purpose, message), signature)


def purpose_text(purpose: str, message: bytes) -> bytes:
    return b"xunzhen " + purpose.encode() + b"\n\n" + message


def fingerprint(key: VerifierKey) -> str:
    """What people compare at enrolment: 32 hex digits in groups of four."""
    digits = sha256(str(key).encode()).hexdigest()[:32]
    return " ".join(digits[place : place + 4] for place in range(0, 32, 4))


__all__ = [
    "ED25519",
    "ED25519_COSIGNATURE",
    "KeyMissing",
    "VehicleKey",
    "VerifierKey",
    "fingerprint",
    "purpose_text",
    "verify_for",
]

"""The vehicle's signing key: one Ed25519 key per journal, kept in a file outside the database.

The file holds one line. In the open, as golang.org/x/mod/sumdb/note has it: ``PRIVATE+KEY+<origin>+<id>+<base64>``.
Sealed to this PC's TPM (``sync.keys.tpm``): ``SEALED+KEY <verifier key> tpm2 <public> <private>``; such a file is worth
nothing on another PC. The file itself says which of the two it is, whatever the settings ask for new keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sync.formats.notes import ED25519, ED25519_COSIGNATURE, NoteRefused, SeedSigner, VerifierKey, b64, unb64
from sync.keys.key_statements import fingerprint, purpose_text, verify_for
from sync.keys.tpm import IN_A_FILE, KeyProtection, SealedSecret, Tpm
from sync.record.secret_file import KeyMissing, create_secret, read_secret, replace_secret

_PREFIX = "PRIVATE+KEY+"
_SEALED = "SEALED+KEY "


class VehicleKey(SeedSigner):
    """Signs checkpoints, requests to the county and challenges of the exchange. ``name`` is the journal's origin."""

    def __init__(self, name: str, seed: bytes, algorithm: int = ED25519) -> None:
        super().__init__(name, seed, algorithm)
        self._seed = seed

    @classmethod
    def load_or_create(
        cls,
        path: Path,
        origin: str,
        random_bytes: Callable[[int], bytes] = os.urandom,
        algorithm: int = ED25519,
        protection: KeyProtection = IN_A_FILE,
    ) -> VehicleKey:
        """
        :param algorithm: ``ED25519`` for a vehicle, ``ED25519_COSIGNATURE`` for a county or a witness.
        :param protection: how a new key is kept, and how to reach the TPM.
        :raises KeyMissing: the file is damaged, holds the key of another origin or of another use, or is sealed and the
            TPM does not open it (``sync.keys.tpm`` has an error for each reason).
        """
        if not path.exists():
            key = cls(origin, random_bytes(32), algorithm)
            with suppress(FileExistsError):  # another process was first: its key it is
                create_secret(path, key._written(protection))
        key = cls.load(path, protection.tpm)
        if key.name != origin or key.verifier_key().algorithm != algorithm:
            raise KeyMissing(
                f"{path}: holds the key of {key.name}, not of {origin}; bring the right file or correct the settings",
                path=path,
            )
        return key

    @classmethod
    def load(cls, path: Path, tpm: Tpm = IN_A_FILE.tpm) -> VehicleKey:
        """The key in ``path``, of whatever origin. :raises KeyMissing: see ``load_or_create``"""
        text = read_secret(path)
        key = cls._unsealed(text, tpm) if text.startswith(_SEALED) else cls._parse(text)
        if key is None:
            raise KeyMissing(f"{path}: not a signing key; bring the file back from its backup", path=path)
        return key

    @classmethod
    def _unsealed(cls, text: str, tpm: Tpm) -> VehicleKey | None:
        vkey, _, sealed = text.removeprefix(_SEALED).partition(" ")
        try:
            said = VerifierKey.parse(vkey)
            secret = SealedSecret.parse(sealed)
        except ValueError:  # also NoteRefused
            return None
        seed = tpm.unseal(secret)
        key = cls(said.name, seed, said.algorithm) if len(seed) == 32 else None
        return key if key is not None and key.verifier_key() == said else None

    @classmethod
    def _parse(cls, text: str) -> VehicleKey | None:
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        identifier, _, encoded = rest.partition("+")
        try:
            data = unb64(encoded)
            key = cls(name, data[1:], data[0])
        except (NoteRefused, ValueError, IndexError):
            return None
        return key if text.startswith(_PREFIX) and key.verifier_key().key_id.hex() == identifier else None

    def create(self, path: Path, protection: KeyProtection = IN_A_FILE) -> None:
        """Keep this key as ``path``, durable. :raises FileExistsError: there is one already"""
        create_secret(path, self._written(protection))

    def seal(self, path: Path, tpm: Tpm) -> None:
        """Replace ``path``, which holds this key, by the same key sealed to the TPM.

        The sealed form is opened once before anything is replaced. :raises KeyMissing: see ``sync.keys.tpm``
        """
        text = self._written(KeyProtection("tpm", tpm))
        opened = self._unsealed(text.strip(), tpm)
        if opened is None or opened.verifier_key() != self.verifier_key():
            raise KeyMissing(f"{path}: the TPM does not give back what it sealed; the key stays as it is", path=path)
        replace_secret(path, text)

    def _written(self, protection: KeyProtection) -> str:
        seed, key = self._seed, self.verifier_key()
        if protection.kind == "tpm":
            return f"{_SEALED}{key} {protection.tpm.seal(seed)}\n"
        return f"{_PREFIX}{key.name}+{key.key_id.hex()}+{b64(bytes([key.algorithm]) + seed)}\n"

    def sign_for(self, purpose: str, message: bytes) -> bytes:
        """A signature that is good for one ``purpose`` only, such as "exchange-challenge"."""
        return self.sign(purpose_text(purpose, message))


class PurposeSigner(Protocol):
    """What proves to others, at the exchange, that it is this vehicle."""

    @property
    def name(self) -> str: ...

    def sign_for(self, purpose: str, message: bytes) -> bytes: ...


class FollowedKey:
    """The key in a file that another process may exchange for a new one while we run: always the present one."""

    def __init__(self, path: Path, origin: str, tpm: Tpm = IN_A_FILE.tpm) -> None:
        """:raises KeyMissing: see ``VehicleKey.load_or_create``"""
        self._path, self._origin, self._tpm = path, origin, tpm
        self._read_from: tuple[int, int] | None = None
        self._key = self._present()

    @property
    def name(self) -> str:
        return self._origin

    def sign_for(self, purpose: str, message: bytes) -> bytes:
        """:raises KeyMissing: the file is not readable any more"""
        return self._present().sign_for(purpose, message)

    def _present(self) -> VehicleKey:
        try:
            there = self._path.stat()
        except OSError as fault:
            raise KeyMissing(f"{self._path}: key not readable ({fault})", path=self._path) from fault
        if (there.st_ino, there.st_mtime_ns) != self._read_from:
            key = VehicleKey.load(self._path, self._tpm)
            if key.name != self._origin:
                raise KeyMissing(
                    f"{self._path}: holds the key of {key.name}, not of {self._origin}; correct the settings",
                    path=self._path,
                )
            self._key, self._read_from = key, (there.st_ino, there.st_mtime_ns)
        return self._key


def is_sealed(path: Path) -> bool:
    """Whether the key in ``path`` is sealed to a TPM. :raises KeyMissing: not readable"""
    return read_secret(path).startswith(_SEALED)


__all__ = [
    "ED25519",
    "ED25519_COSIGNATURE",
    "FollowedKey",
    "KeyMissing",
    "PurposeSigner",
    "VehicleKey",
    "VerifierKey",
    "fingerprint",
    "is_sealed",
    "purpose_text",
    "verify_for",
]

"""Identity numbers and phones at rest: AES-256-GCM per field, and a keyed hash to find a person again.

Both keys come from one secret file that lies outside the database, so a copied database or a copied journal shows
neither the number nor, since a bare hash of 18 digits is guessed in minutes, a way to search for one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.formats.notes import NoteRefused, b64, unb64
from sync.record.secret_file import KeyMissing, create_secret, read_secret

_VERSION = "s1."
_NONCE_BYTES = 12


class SealBroken(KeyMissing):
    """A sealed field does not open with this key."""

    code = "seal_broken"


class Sealer:
    """``field`` is bound to the sealed text, so that a sealed phone can't be shown as an identity number."""

    def __init__(self, secret: bytes, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        if len(secret) != 32:
            raise ValueError("the secret has 32 bytes")
        self._cipher = AESGCM(_derive(secret, b"xunzhen field encryption"))
        self._hash_key = _derive(secret, b"xunzhen keyed hash")
        self._random_bytes = random_bytes

    @classmethod
    def load_or_create(cls, path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> Sealer:
        """:raises KeyMissing: the file is there but damaged."""
        if not path.exists():
            with suppress(FileExistsError):  # another process was first: its key it is
                create_secret(path, b64(random_bytes(32)) + "\n")
        try:
            return cls(unb64(read_secret(path)), random_bytes)
        except (NoteRefused, ValueError) as fault:
            raise KeyMissing(f"{path}: not a field key; bring the file back from its backup", path=path) from fault

    def seal(self, text: str, field: str = "id_number") -> str:
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), field.encode())
        return _VERSION + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def unseal(self, sealed: str, field: str = "id_number") -> str:
        """:raises SealBroken: another key, another field, or changed."""
        encoded = sealed.removeprefix(_VERSION)
        try:
            data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], field.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise SealBroken("a sealed field does not open with this key; bring back the key file") from None

    def keyed_hash(self, text: str) -> str:
        """64 hex digits; the same text gives the same hash under the same key."""
        return hmac.new(self._hash_key, text.encode(), sha256).hexdigest()


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)

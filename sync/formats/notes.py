"""Signed notes, checkpoints and cosignatures as in C2SP signed-note, tlog-checkpoint and tlog-cosignature. Pure.

A vehicle's journal signs its checkpoints with signature type 0x01 (Ed25519 over the note's text). The county and the
province cosign with type 0x04 (timestamped Ed25519). Unknown signature lines are ignored, as the specification asks, so
that other algorithms may stand beside ours.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol

from sync.formats import ed25519
from sync.formats.merkle import HASH_BYTES

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError:  # an inspector's machine: it verifies with the standard library alone, and never signs
    _HAS_CRYPTOGRAPHY = False
else:
    _HAS_CRYPTOGRAPHY = True

ED25519 = 0x01
ED25519_COSIGNATURE = 0x04
LARGEST_NOTE_BYTES = 100_000
MOST_SIGNATURES = 64
_DASH = "— "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteRefused(ValueError):
    """Not a note, not signed by a key that we know, or a known key's signature does not fit."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """:raises NoteRefused: not standard base64 in its one canonical form."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as fault:
        raise NoteRefused(f"not base64: {fault}") from None
    if b64(data) != text:
        raise NoteRefused("base64 with stray bits")
    return data


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """Four bytes: SHA-256(name LF algorithm public key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:4]


def is_key_name(name: str) -> bool:
    """Not what JSON can say and UTF-8 cannot, a lone surrogate, either."""
    taken = "+" in name or any(one.isspace() or one < " " or "\ud800" <= one <= "\udfff" for one in name)
    return bool(name) and not taken


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: ``— name base64(key id || signature)``."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_DASH}{self.name} {b64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """:raises NoteRefused: not a signature line (given with or without its final newline)."""
        body = line.removesuffix("\n")
        name, _, encoded = body.removeprefix(_DASH).partition(" ")
        if not body.startswith(_DASH) or not is_key_name(name):
            raise NoteRefused(f"not a signature line: {body[:80]!r}")
        data = unb64(encoded)
        if len(data) < 5:
            raise NoteRefused(f"signature of {name} is too short")
        return cls(name, data[:4], data[4:])


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name and algorithm, written as ``name+keyid+base64(algorithm || key)``."""

    name: str
    algorithm: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.algorithm, self.public_key)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.algorithm]) + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key that is written exactly so, with nothing around it.

        :raises NoteRefused: malformed, unknown algorithm, or the id does not fit name and key.
        """
        name, _, rest = text.partition("+")
        identifier, _, encoded = rest.partition("+")
        data = unb64(encoded)
        if not is_key_name(name) or len(data) != 33 or data[0] not in (ED25519, ED25519_COSIGNATURE):
            raise NoteRefused("not a verifier key of type Ed25519 (name+id+key)")
        key = cls(name, data[0], data[1:])
        if key.key_id.hex() != identifier:
            raise NoteRefused(f"verifier key of {name}: its id does not fit; copy the whole line again")
        return key

    @classmethod
    def typed(cls, text: str) -> VerifierKey:
        """As a person copies it into settings or a command: white space around it is passed over.

        :raises NoteRefused: see ``parse``
        """
        return cls.parse(text.strip())

    def fits(self, signature: Signature) -> bool:
        """Whether ``signature`` claims to be made by this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, text: str, signature: Signature) -> bool:
        """Whether ``signature`` over the note text ``text`` was made by this key."""
        if not self.fits(signature):
            return False
        if self.algorithm == ED25519:
            return self.verifies_message(text.encode(), signature.signature)
        if len(signature.signature) != 72:
            return False
        seconds = int.from_bytes(signature.signature[:8], "big")
        return seconds < 2**63 and self.verifies_message(_cosigned_message(text, seconds), signature.signature[8:])

    def verifies_message(self, message: bytes, signature: bytes) -> bool:
        """Plain Ed25519 over ``message``. Keys and signatures about which libraries differ verify nothing."""
        if len(signature) != 64 or ed25519.is_small_order(signature[:32]) or not ed25519.is_sound_key(self.public_key):
            return False
        if not _HAS_CRYPTOGRAPHY:
            return ed25519.verify(self.public_key, message, signature)
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """What signs the journal's checkpoints: a name (the log's origin) and an Ed25519 key."""

    @property
    def name(self) -> str: ...

    def verifier_key(self) -> VerifierKey: ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 over ``message``."""


class SeedSigner:
    """A signer whose key is a 32-byte seed in memory."""

    def __init__(self, name: str, seed: bytes, algorithm: int = ED25519) -> None:
        if not is_key_name(name):
            raise ValueError(f"{name!r} can't be a key name: no spaces, no plus sign")
        self._name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._verifier = VerifierKey(name, algorithm, self._key.public_key().public_bytes_raw())

    @property
    def name(self) -> str:
        return self._name

    def verifier_key(self) -> VerifierKey:
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def sign_text(text: str, signer: Signer) -> Signature:
    """A type 0x01 signature over a note's text."""
    return Signature(signer.name, signer.verifier_key().key_id, signer.sign(text.encode()))


def cosign(text: str, cosigner: Signer, at: datetime) -> Signature:
    """A type 0x04 cosignature over a checkpoint's text, made at ``at`` (whole seconds).

    :raises ValueError: the cosigner's key is not of type 0x04.
    """
    key = cosigner.verifier_key()
    if key.algorithm != ED25519_COSIGNATURE:
        raise ValueError(f"{key.name} has no cosigner key")
    seconds = int(at.timestamp())
    signed = cosigner.sign(_cosigned_message(text, seconds))
    return Signature(key.name, key.key_id, seconds.to_bytes(8, "big") + signed)


def cosigned_at(signature: Signature) -> datetime:
    """The time inside a type 0x04 cosignature; verify it first."""
    return datetime.fromtimestamp(int.from_bytes(signature.signature[:8], "big"), UTC)


def _cosigned_message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Note:
    """A text ending in a newline, with its signature lines."""

    text: str
    signatures: tuple[Signature, ...]

    def __bytes__(self) -> bytes:
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()

    def signed_also(self, more: Iterable[Signature]) -> Note:
        """The same note with further signature lines; a line that is already there is not repeated."""
        added = [signature for signature in more if signature not in self.signatures]
        return Note(self.text, (*self.signatures, *added))

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """:raises NoteRefused: too long, not UTF-8, control characters, no blank line, no signature line."""
        if len(data) > LARGEST_NOTE_BYTES:
            raise NoteRefused("note is too long")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise NoteRefused("note is not UTF-8") from None
        if any(ord(letter) < 0x20 and letter != "\n" for letter in whole):
            raise NoteRefused("note has control characters")
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise NoteRefused("note has no signatures")
        signed = lines.removesuffix("\n").split("\n")
        if len(signed) > MOST_SIGNATURES:
            raise NoteRefused("note has too many signatures")
        return cls(text + "\n", tuple(Signature.parse(line) for line in signed))

    def verified_by(self, keys: Iterable[VerifierKey]) -> tuple[Signature, ...]:
        """The signatures made by ``keys``; those of unknown keys are ignored.

        :raises NoteRefused: a line claims to be of a known key but does not verify, or there is none of a known key.
        """
        known = tuple(keys)
        good = []
        for signature in self.signatures:
            for key in known:
                if not key.fits(signature):
                    continue
                if not key.verifies(self.text, signature):
                    raise NoteRefused(f"signature of {key.name} does not verify")
                good.append(signature)
        if not good:
            raise NoteRefused("note is not signed by a known key")
        return tuple(good)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root hash of a log, with the log's name: the text of a note."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), b64(self.root), *self.extensions))

    def signed(self, signer: Signer) -> Note:
        text = self.text()
        return Note(text, (sign_text(text, signer),))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """:raises NoteRefused: not the text of a checkpoint."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteRefused("a checkpoint has at least three lines and none is empty")
        origin, size, root, *extensions = lines[:-1]
        if not _SIZE.fullmatch(size):
            raise NoteRefused(f"checkpoint size {size[:30]!r} is not a decimal number")
        hashed = unb64(root)
        if len(hashed) != HASH_BYTES:
            raise NoteRefused("checkpoint root is not a SHA-256 hash")
        return cls(origin, int(size), hashed, tuple(extensions))

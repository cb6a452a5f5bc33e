"""What keys say about themselves: that one follows another, and that one asks to be enrolled. Pure.

A signature made for a purpose (``purpose_text``) is good for nothing else: it can be no checkpoint and no request.

- ``KeyChange``: "from ``from_size`` entries on, checkpoints of ``origin`` are signed by ``new``", signed by the old and
  by the new key. The van writes it into its journal as ``key_changed/1`` (at the place ``from_size - 1``) and sends it
  to the county. It proves itself, so it may come again and again, from anybody: it changes something once.
- ``EnrolmentAsk``: "this key asks to be trusted for ``origin``", sent in a request signed with that key. Of the code on
  the touchscreen it holds a salted hash only (``code_hash``), bound to the key, so that whoever sits on the line can
  neither read the code nor put a key of his own in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import scrypt, sha256
from typing import Any

from sync.formats.canonical import NotCanonical, dumps, loads
from sync.formats.notes import ED25519, NoteRefused, Signer, VerifierKey, b64, unb64

ROTATE_KEY = "rotate-key"
"""Last part of the path ``/log/<origin>/rotate-key``: a ``KeyChange`` as its body."""
ENROL_PATH = "/enrol"
"""Takes an ``EnrolmentAsk``; answers ``ENROLMENT_STATES``."""
STATEMENT_TYPE = "application/json"
ENROLMENT_STATES = ("waiting", "locked", "expired", "enrolled", "other_key", "revoked")
"""``waiting`` for a person at the county; ``locked`` by wrong codes or ``expired``: make a new code; ``enrolled``: the
key is trusted; ``other_key``: the origin belongs to another key; ``revoked``: the key is trusted no more."""
KEY_CHANGE = "key-change"
CODE_DIGITS = 8
SALT_BYTES = 16
LONGEST_VALID_S = 1800
"""A code is good for half an hour."""
LARGEST_STATEMENT_BYTES = 4096

_CHANGE_FORMAT = "xunzhen-key-change/1"
_ASK_FORMAT = "xunzhen-enrolment/1"
_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,98}[A-Za-z0-9]")


class StatementRefused(ValueError):
    """Malformed, or a signature does not fit."""


def purpose_text(purpose: str, message: bytes) -> bytes:
    return b"xunzhen " + purpose.encode() + b"\n\n" + message


def verify_for(key: VerifierKey, purpose: str, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` was made by ``VehicleKey.sign_for`` with the same purpose."""
    return key.verifies_message(purpose_text(purpose, message), signature)


def fingerprint(key: VerifierKey) -> str:
    """What people compare at enrolment: 32 hex digits in groups of four."""
    digits = sha256(str(key).encode()).hexdigest()[:32]
    return " ".join(digits[place : place + 4] for place in range(0, 32, 4))


def is_origin(text: str) -> bool:
    """Whether ``text`` can name a journal: a host name."""
    return bool(_ORIGIN.fullmatch(text))


# one key follows another ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyChange:
    """:ivar from_size: the first size that ``new`` signs; ``old`` signs all smaller ones"""

    old: VerifierKey
    new: VerifierKey
    from_size: int
    old_signature: bytes
    new_signature: bytes

    @property
    def origin(self) -> str:
        return self.old.name

    @classmethod
    def signed(cls, old: Signer, new: Signer, from_size: int) -> KeyChange:
        keys = old.verifier_key(), new.verifier_key()
        text = purpose_text(KEY_CHANGE, _change_message(*keys, from_size))
        return cls(*keys, from_size, old.sign(text), new.sign(text))

    def verify(self) -> None:
        """:raises StatementRefused: keys of two logs, the same key twice, no journal's, or a signature does not fit"""
        if self.old.name != self.new.name or self.old.public_key == self.new.public_key:
            raise StatementRefused("a key is followed by another key of the same log")
        if {self.old.algorithm, self.new.algorithm} != {ED25519}:
            raise StatementRefused("a journal is signed by keys of type Ed25519")
        message = _change_message(self.old, self.new, self.from_size)
        for key, signature in ((self.old, self.old_signature), (self.new, self.new_signature)):
            if not verify_for(key, KEY_CHANGE, message, signature):
                raise StatementRefused(f"the change of key is not signed by {key}")

    def entry_fields(self) -> dict[str, Any]:
        """Fields of the ``key_changed/1`` entry."""
        signatures = {"old_signature": b64(self.old_signature), "new_signature": b64(self.new_signature)}
        return {"key": str(self.new), **signatures}

    @classmethod
    def of_entry(cls, fields: Mapping[str, Any], n: int, old: VerifierKey) -> KeyChange:
        """The change that the ``key_changed/1`` entry at the place ``n`` says, when ``old`` signed until then.

        :raises StatementRefused: see ``verify``
        """
        try:
            signatures = unb64(fields["old_signature"]), unb64(fields["new_signature"])
            change = cls(old, VerifierKey.parse(fields["key"]), n + 1, *signatures)
        except NoteRefused as fault:
            raise StatementRefused(str(fault)) from None
        change.verify()
        return change

    def __bytes__(self) -> bytes:
        said: dict[str, Any] = {"format": _CHANGE_FORMAT, "old": str(self.old), "from_size": self.from_size}
        return dumps({**said, **self.entry_fields()})

    @classmethod
    def parse(cls, body: bytes) -> KeyChange:
        """:raises StatementRefused: malformed, or see ``verify``"""
        said = _read(body, _CHANGE_FORMAT)
        texts = ("old", "key", "old_signature", "new_signature")
        from_size = said.get("from_size")
        if type(from_size) is not int or not 0 < from_size < 2**53 or not all(_is_text(said.get(n)) for n in texts):
            raise StatementRefused("a change of key has old, key, from_size, old_signature and new_signature")
        try:
            return cls.of_entry(said, from_size - 1, VerifierKey.parse(said["old"]))
        except NoteRefused as fault:
            raise StatementRefused(str(fault)) from None


def _change_message(old: VerifierKey, new: VerifierKey, from_size: int) -> bytes:
    return f"{old.name}\n{old}\n{new}\n{from_size}\n".encode()


# a key asks to be enrolled --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EnrolmentAsk:
    """
    :ivar vehicle: short id for people; ``plate`` its number plate
    :ivar hashed: ``code_hash`` of the code on the touchscreen
    :ivar valid_s: how long the code will be good, in seconds
    :ivar succeeds: the log that this one goes on from, after its key was lost
    """

    key: VerifierKey
    vehicle: str
    plate: str
    salt: bytes
    hashed: bytes
    valid_s: int
    succeeds: str | None = None

    @property
    def origin(self) -> str:
        return self.key.name

    def __bytes__(self) -> bytes:
        said: dict[str, Any] = {"format": _ASK_FORMAT, "key": str(self.key), "vehicle": self.vehicle}
        said |= {"plate": self.plate, "salt": self.salt.hex(), "code_hash": self.hashed.hex(), "valid_s": self.valid_s}
        return dumps(said if self.succeeds is None else {**said, "succeeds": self.succeeds})

    @classmethod
    def parse(cls, body: bytes) -> EnrolmentAsk:
        """:raises StatementRefused: malformed, or out of bounds"""
        said = _read(body, _ASK_FORMAT)
        vehicle, plate, succeeds, valid_s = (said.get(n) for n in ("vehicle", "plate", "succeeds", "valid_s"))
        if not (_is_text(vehicle, 62) and _is_text(plate, 20)) or not (succeeds is None or is_origin(str(succeeds))):
            raise StatementRefused(
                "a vehicle that asks says its id and its plate, and at most which log it goes on from"
            )
        if type(valid_s) is not int or not 0 < valid_s <= LONGEST_VALID_S:
            raise StatementRefused(f"a code is good for 1 to {LONGEST_VALID_S} s")
        try:
            key = VerifierKey.parse(str(said.get("key")))
            salt, hashed = bytes.fromhex(str(said.get("salt"))), bytes.fromhex(str(said.get("code_hash")))
        except ValueError as fault:  # also NoteRefused
            raise StatementRefused(str(fault)) from None
        if key.algorithm != ED25519 or not is_origin(key.name) or succeeds == key.name:
            raise StatementRefused(
                "the key that asks is a journal's, named by its origin such as van-07.qingxi.example"
            )
        if (len(salt), len(hashed)) != (SALT_BYTES, 32):
            raise StatementRefused(f"the salt has {SALT_BYTES} bytes and the hash 32")
        return cls(key, str(vehicle), str(plate), salt, hashed, valid_s, succeeds)


def enrolment_answer(state: str) -> bytes:
    """The county's answer to an ``EnrolmentAsk``."""
    return dumps({"state": state})


def parse_enrolment_answer(body: bytes) -> str:
    """One of ``ENROLMENT_STATES``. :raises StatementRefused: something else"""
    try:
        state = loads(body).get("state") if len(body) <= LARGEST_STATEMENT_BYTES else None
    except NotCanonical:
        state = None
    if state not in ENROLMENT_STATES:
        raise StatementRefused("not an answer to a request for enrolment")
    return str(state)


def code_hash(code: str, salt: bytes, key: VerifierKey) -> bytes:
    """scrypt (RFC 7914) of the digits of ``code``: some 40 ms each, so that 10**8 codes outlast the half hour.

    :param code: as read aloud; only its digits count
    """
    digits = "".join(letter for letter in code if letter in "0123456789")
    return scrypt(digits.encode(), salt=salt + str(key).encode(), n=2**14, r=8, p=1, dklen=32)


def _read(body: bytes, wanted: str) -> dict[str, Any]:
    if len(body) > LARGEST_STATEMENT_BYTES:
        raise StatementRefused(f"a statement has at most {LARGEST_STATEMENT_BYTES} bytes")
    try:
        said = loads(body)
    except NotCanonical as fault:
        raise StatementRefused(str(fault)) from None
    if said.get("format") != wanted:
        raise StatementRefused(f"not a statement of the format {wanted}")
    return said


def _is_text(value: object, at_most: int = 400) -> bool:
    return isinstance(value, str) and 0 < len(value) <= at_most and value.isprintable()

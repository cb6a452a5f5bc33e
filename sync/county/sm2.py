"""An extra signature line by SM2 with SM3 (GB/T 32918.2, GB/T 32905) beside the county's cosignature, made by OpenSSL.

For counties whose rules ask for commercial cryptography. The line is one more witness to the same text: who does not
know its type ignores it (C2SP signed-note: "Verifiers MUST ignore signatures from unknown keys"), so receipts and
evidence verify as before, and it vouches for nothing that the cosignature does not.

Type: 0xff, "signature types without an identifier byte assigned by this specification", followed by ``IDENTIFIER``. The
public key is encoded as SubjectPublicKeyInfo (RFC 5480, DER), the signature as DER SEQUENCE of r and s (GM/T 0009, with
its default user id). The ``cryptography`` package has no SM2; ``openssl`` 1.1.1 or newer has.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from devices.errors import AskPerson
from devices.events import emit
from sync.formats.notes import Signature, b64

TYPE = 0xFF
IDENTIFIER = b"oid/1.2.156.10197.1.501"
"""SM2 signature with SM3, as GM/T 0006 numbers it."""
USER_ID = "1234567812345678"
"""GM/T 0009 section 10: the default user id of a signer."""
WITHIN_S = 10


class Sm2Unavailable(AskPerson):
    """The extra signature cannot be made; the message says why."""

    code = "sm2_unavailable"


@dataclass(frozen=True, slots=True)
class Sm2Key:
    """The public half, as an extra verifier key.

    :ivar spki: SubjectPublicKeyInfo, DER
    """

    name: str
    spki: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + self._material).digest()[:4]

    @property
    def _material(self) -> bytes:
        return bytes([TYPE]) + IDENTIFIER + self.spki

    def __str__(self) -> str:
        """A C2SP verifier key: ``name+id+base64(0xff || identifier || public key)``."""
        return f"{self.name}+{self.key_id.hex()}+{b64(self._material)}"


class Sm2Signer:
    """:param key_file: PEM, as ``openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:SM2`` writes it"""

    def __init__(self, name: str, key_file: Path) -> None:
        """:raises Sm2Unavailable: no openssl, no such file, or no SM2 key in it"""
        if shutil.which("openssl") is None:
            raise Sm2Unavailable("openssl is not installed: install it, or leave [sm2] out of the settings")
        self._key_file = key_file
        if b"ASN1 OID: SM2" not in self._openssl("pkey", "-in", str(key_file), "-noout", "-text_pub"):
            raise Sm2Unavailable(f"{key_file}: not an SM2 key; make one as sync/county/README.md says")
        self.key = Sm2Key(name, self._openssl("pkey", "-in", str(key_file), "-pubout", "-outform", "DER"))

    def sign(self, text: str) -> Signature:
        """The signature line over a note's text. :raises Sm2Unavailable: see there"""
        command = ("pkeyutl", "-sign", "-rawin", "-digest", "sm3", "-inkey", str(self._key_file))
        made = self._openssl(*command, "-pkeyopt", f"distid:{USER_ID}", given=text.encode())
        return Signature(self.key.name, self.key.key_id, made)

    def lines(self, text: str) -> tuple[Signature, ...]:
        """The line, or none when it cannot be made now: a receipt never waits for it."""
        try:
            return (self.sign(text),)
        except Sm2Unavailable as fault:
            emit("extra_signature_failed", level=logging.WARNING, reason=str(fault))
            return ()

    def _openssl(self, *arguments: str, given: bytes = b"") -> bytes:
        try:
            done = subprocess.run(
                ("openssl", *arguments), input=given, capture_output=True, timeout=WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise Sm2Unavailable(f"openssl does not answer: {fault}") from fault
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise Sm2Unavailable(f"{self._key_file}: openssl {arguments[0]} failed: {said[-1][:200]}")
        return done.stdout

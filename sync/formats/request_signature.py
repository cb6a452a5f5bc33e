"""Who sends a request: HTTP Message Signatures (RFC 9421) with Ed25519 and a Content-Digest (RFC 9530). Pure.

A vehicle signs each request to the county with its journal key over method, path with query, body digest and time::

    Content-Digest: sha-256=:<base64>:
    Signature-Input: van=("@method" "@path" "@query" "content-digest");created=<s>;keyid="<origin>";alg="ed25519"
    Signature: van=:<base64>:

The county finds the key by ``keyid`` in its fleet, so a copied request works for at most ``LARGEST_SKEW_S``. There is
no nonce, because a repeated request changes nothing: entries are proven to belong to the log, recordings are named by
their hash, statements about keys are taken once (``tests/sync/delivery/test_replay.py`` sends a whole day again).
Headers that say how a body is packed or where a part belongs are not covered: who can change them can as well swallow
the request or forge its answer, which only TLS prevents, and what is stored is proven by its own hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlsplit

from sync.formats.notes import NoteRefused, Signer, VerifierKey, b64, unb64

LARGEST_SKEW_S = 300
"""How far ``created`` may be from the county's clock. The county sends ``Date`` with its 401, so a van whose clock is
wrong corrects the stamp of its requests, never its journal."""

_COMPONENTS = '("@method" "@path" "@query" "content-digest")'
_INPUT = re.compile(
    r'van=(?P<parameters>\("@method" "@path" "@query" "content-digest"\);created=(?P<created>[0-9]{1,11});'
    r'keyid="(?P<keyid>[^"\\]{1,200})";alg="ed25519")'
)
_SIGNATURE = re.compile(r"van=:(?P<signature>[A-Za-z0-9+/=]{1,200}):")


class SignatureRefused(ValueError):
    """The request is not signed, or the signature does not fit: 401. ``clock``: the stamp alone is out of range."""

    def __init__(self, message: str, clock: bool = False) -> None:
        super().__init__(message)
        self.clock = clock


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request's signature headers say; not yet verified."""

    origin: str
    created_at: datetime
    parameters: str
    signature: bytes

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Claim:
        """:param headers: names in lowercase. :raises SignatureRefused: absent or malformed."""
        said = _INPUT.fullmatch(headers.get("signature-input", ""))
        signed = _SIGNATURE.fullmatch(headers.get("signature", ""))
        if not said or not signed:
            raise SignatureRefused("the request is not signed by a vehicle")
        try:
            signature = unb64(signed["signature"])
        except NoteRefused as fault:
            raise SignatureRefused(str(fault)) from None
        created_at = datetime.fromtimestamp(int(said["created"]), UTC)
        return cls(said["keyid"], created_at, said["parameters"], signature)

    def verify(
        self, key: VerifierKey, method: str, target: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> None:
        """:param target: path with query as in the request line. :param body: as received, still compressed.

        :raises SignatureRefused: signed by another key, for another request, or too long ago.
        """
        digest = headers.get("content-digest", "")
        if digest != content_digest(body):
            raise SignatureRefused("the body does not fit its Content-Digest")
        if key.name != self.origin:
            raise SignatureRefused("the key belongs to another vehicle")
        if not key.verifies_message(_signature_base(method, target, digest, self.parameters), self.signature):
            raise SignatureRefused("the signature does not fit the request")
        if abs((now - self.created_at).total_seconds()) > LARGEST_SKEW_S:
            raise SignatureRefused(f"the request's time is more than {LARGEST_SKEW_S} s off", clock=True)


def signature_headers(signer: Signer, method: str, target: str, body: bytes, now: datetime) -> dict[str, str]:
    """The three headers that sign a request. ``target``: path with query."""
    digest = content_digest(body)
    parameters = f'{_COMPONENTS};created={int(now.timestamp())};keyid="{signer.name}";alg="ed25519"'
    signature = signer.sign(_signature_base(method, target, digest, parameters))
    return {
        "Content-Digest": digest,
        "Signature-Input": f"van={parameters}",
        "Signature": f"van=:{b64(signature)}:",
    }


def content_digest(body: bytes) -> str:
    return f"sha-256=:{b64(sha256(body).digest())}:"


def _signature_base(method: str, target: str, digest: str, parameters: str) -> bytes:
    """RFC 9421 section 2.5."""
    parts = urlsplit(target)
    lines = (
        f'"@method": {method.upper()}',
        f'"@path": {parts.path}',
        f'"@query": ?{parts.query}',
        f'"content-digest": {digest}',
        f'"@signature-params": {parameters}',
    )
    return "\n".join(lines).encode()

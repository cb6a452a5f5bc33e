"""The specialist's signed opinion: what is signed, and how anybody checks it.

What is signed is one text: canonical JSON (keys sorted, no spaces, UTF-8) with ``format`` "xunzhen-opinion/1". The
signature is plain Ed25519 (RFC 8032) over the UTF-8 bytes of exactly that text, made in the specialist's browser by
WebCrypto with a key that cannot be exported. The text travels as it was signed; nobody re-writes it.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from devices.errors import Park

FORMAT = "xunzhen-opinion/1"

Identifier = Annotated[str, Field(min_length=1, max_length=80)]
Line = Annotated[str, Field(max_length=200)]


class OpinionRefused(Park):
    """The signature or the text does not hold; kept apart, never taken for an opinion.

    :param word: names it for a page (``refused_<word>`` of the specialist's texts)
    """

    code = "opinion_refused"

    def __init__(self, message: str, word: str = "not_signed_well") -> None:
        super().__init__(message)
        self.word = word


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Opinion(_Strict):
    """What the specialist says. ``diagnosis`` is words, ``icd10`` the code as typed, possibly empty."""

    template: Line = ""
    findings: Annotated[str, Field(min_length=1, max_length=4000)]
    classification: Line = ""
    """WHO-IWGE stage of a cystic echinococcosis ("CE1".."CE5", "CL") where the template asks for it, else empty."""
    diagnosis: Annotated[str, Field(min_length=1, max_length=200)]
    icd10: Line = ""
    action: Literal["observe", "adjust", "recheck", "refer"]
    advice: Annotated[str, Field(min_length=1, max_length=4000)]


class OpinionText(_Strict):
    """The content of ``signed_text``."""

    format: Literal["xunzhen-opinion/1"]
    consultation: Identifier
    origin: Identifier
    """The journal the opinion goes to, e.g. "van-07.qingxi.example": an opinion cannot be moved to another van."""
    specialist: Identifier
    specialist_name: Line
    title: Line = ""
    institution: Line = ""
    opinion: Opinion
    signed_at: AwareDatetime


class SignedOpinion(_Strict):
    """As it travels from the browser through the exchange to the van's journal (kind ``opinion/1``)."""

    consultation: Identifier
    signed_text: Annotated[str, Field(max_length=24_000)]
    signature: Annotated[str, Field(max_length=100)]
    """Base64 of the 64-byte Ed25519 signature."""
    public_key: Annotated[str, Field(max_length=60)]
    """Base64 of the 32-byte raw Ed25519 public key."""

    @classmethod
    def from_json(cls, document: object) -> SignedOpinion:
        """:raises ValueError: a field is missing, unknown, too long or of the wrong kind"""
        return cls.model_validate(document)


def canonical_text(document: dict[str, object]) -> str:
    """``document`` in its one written form: keys sorted, no spaces, characters as they are."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def verify_opinion(signed: SignedOpinion, consultation: str, origin: str | None = None) -> OpinionText:
    """The opinion, when its signature holds and it is about ``consultation`` (and for the journal ``origin``).

    :raises OpinionRefused: says which of signature, form, consultation or origin is wrong
    """
    key = Ed25519PublicKey.from_public_bytes(_bytes(signed.public_key, 32, "public key"))
    try:
        key.verify(_bytes(signed.signature, 64, "signature"), signed.signed_text.encode())
    except InvalidSignature:
        raise OpinionRefused("the signature does not fit the text; ask the specialist to sign again") from None
    try:
        document = json.loads(signed.signed_text)
        text = OpinionText.model_validate(document)
    except (ValueError, ValidationError) as fault:
        raise OpinionRefused(f"the signed text is not a {FORMAT} document: {_short(fault)}") from None
    if canonical_text(document) != signed.signed_text:
        raise OpinionRefused("the signed text is not in canonical form")
    if not text.consultation == signed.consultation == consultation:
        raise OpinionRefused(f"the opinion is about {text.consultation}, not {consultation}")
    if origin is not None and text.origin != origin:
        raise OpinionRefused(f"the opinion is addressed to {text.origin}, not {origin}")
    return text


def check_signing_time(text: OpinionText, now: datetime, tolerance_s: float = 600.0) -> None:
    """Refuse a text whose ``signed_at`` is far from ``now``: the signer's clock is wrong, or the text is old.

    :raises OpinionRefused: names both times
    """
    if abs((text.signed_at - now).total_seconds()) > tolerance_s:
        raise OpinionRefused(
            f"signed at {text.signed_at:%Y-%m-%d %H:%M} by the signer's clock, now it is {now:%Y-%m-%d %H:%M} UTC; "
            "set the computer's clock and sign again",
            "clock",
        )


def _bytes(text: str, length: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise OpinionRefused(f"the {what} is not base64") from None
    if len(raw) != length:
        raise OpinionRefused(f"the {what} has {len(raw)} bytes, not {length}")
    return raw


def _short(fault: Exception) -> str:
    if isinstance(fault, ValidationError):
        first = fault.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(fault)[:120]

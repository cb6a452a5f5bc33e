"""What has to be said to ask a specialist, and who may agree to it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from devices.errors import AskPerson
from sync.formats.canonical import Json
from vehicle.clinic.guardians import GUARDIAN_BELOW_AGE, SIGNER_RELATIONS

FIELDS = ("chief_complaint", "history", "findings", "preliminary", "question")
"""What the invitation must say, all five."""
LONGEST_FIELD = 2000
LONGEST_NAME = 40
URGENCIES = ("routine", "urgent")
EMERGENCY = "emergency"
"""Urgency and signer of a request that emergency mode makes: nobody chooses it on the form."""
SIGNERS = ("patient", "guardian")
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_SIGNATURE_BYTES = 400_000


class RequestIncomplete(AskPerson):
    """Fields are empty, too long, or the urgency is none; ``facts["fields"]`` names them."""

    code = "consultation_incomplete"


class ConsentMissing(AskPerson):
    """No signature, not a signature, or not by whom it must be; ``facts["reason"]`` says which."""

    code = "consent_missing"


@dataclass(frozen=True, slots=True)
class Consent:
    """The patient's agreement: a finger signature under the text of the catalog, ``clinic.consent.text``."""

    signature_png: bytes
    read_aloud: bool
    signed_by: str
    """"patient" or "guardian": a child's, or whoever signs for somebody who cannot."""
    guardian_name: str = ""
    guardian_relation: str = ""
    """Of ``SIGNER_RELATIONS``; both are said where a guardian signs, and only there."""

    def who(self) -> dict[str, Json]:
        """Who signed, as the entry has it."""
        told: dict[str, Json] = {"signed_by": self.signed_by}
        if self.signed_by == "guardian":
            told |= {"guardian_name": self.guardian_name.strip(), "guardian_relation": self.guardian_relation}
        return told


def consent_version(text: str) -> str:
    """Name of a consent text: ``consent/`` and the first 12 hex digits of its SHA-256."""
    return f"consent/{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def complete(fields: Mapping[str, str], urgency: str) -> dict[str, str]:
    asked = {name: str(fields.get(name, "")).strip() for name in FIELDS}
    wrong = [name for name, words in asked.items() if not 1 <= len(words) <= LONGEST_FIELD]
    if urgency not in URGENCIES:
        wrong.append("urgency")
    if wrong:
        raise RequestIncomplete(f"fill in: {', '.join(wrong)}", fields=tuple(wrong))
    return asked


def check_consent(consent: Consent, age: int | None) -> None:
    if consent.signed_by not in SIGNERS:
        raise ConsentMissing("say who signs: the person or a guardian", reason="signed_by")
    if consent.signed_by == "patient" and age is not None and age < GUARDIAN_BELOW_AGE:
        raise ConsentMissing("a guardian signs for a child below 14", reason="guardian")
    if consent.signed_by == "guardian":
        if not 1 <= len(consent.guardian_name.strip()) <= LONGEST_NAME:
            raise ConsentMissing("say the name of whoever signs for the person", reason="guardian_name")
        if consent.guardian_relation not in SIGNER_RELATIONS:
            raise ConsentMissing("say who that is to the person", reason="guardian_relation")
    if not consent.signature_png.startswith(PNG) or len(consent.signature_png) > LARGEST_SIGNATURE_BYTES:
        raise ConsentMissing("sign with a finger in the field", reason="signature")

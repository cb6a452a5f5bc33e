"""Who speaks for a child, and the entry that says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft
from vehicle.clinic.identity import is_phone

GUARDIAN_BELOW_AGE = 14
"""The guardian consents for a child below 14 (Personal Information Protection Law, art. 31)."""
GUARDIAN_RELATIONS = ("mother", "father", "grandparent", "sibling", "other")
SIGNER_RELATIONS = ("spouse", "child", *GUARDIAN_RELATIONS)
"""Who somebody that signs for another is to that person."""


class GuardianRefused(AskPerson):
    """``facts["fields"]`` names what is missing or cannot be right."""

    code = "guardian_refused"


@dataclass(frozen=True, slots=True)
class Guardian:
    name: str
    relation: str
    """Of ``GUARDIAN_RELATIONS``: who the guardian is to the child."""
    phone: str = ""

    def faults(self) -> tuple[str, ...]:
        """The fields that are empty or cannot be right."""
        name, phone = self.name.strip(), self.phone.strip()
        wrong = {
            "guardian_name": not 1 <= len(name) <= 40,
            "guardian_relation": self.relation not in GUARDIAN_RELATIONS,
            "guardian_phone": bool(phone) and not is_phone(phone),
        }
        return tuple(field for field, is_wrong in wrong.items() if is_wrong)


def guardian_draft(patient: str, guardian: Guardian, by: str) -> Draft:
    """:raises GuardianRefused: names the fields that cannot be right"""
    if faults := guardian.faults():
        raise GuardianRefused(f"correct the guardian's {', '.join(faults)}", fields=faults)
    fields: dict[str, Json] = {
        "patient": patient,
        "name": guardian.name.strip(),
        "relation": guardian.relation,
        "phone": guardian.phone.strip(),
    }
    return Draft("guardian/1", fields, by=by)

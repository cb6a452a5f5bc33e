"""What somebody says about themselves when they are registered, and whether that can be right. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from devices.errors import AskPerson
from sync.formats.canonical import Json
from vehicle.clinic.guardians import GUARDIAN_BELOW_AGE, Guardian
from vehicle.clinic.identity import (
    ID_KINDS,
    Document,
    age_years,
    check_record_number,
    is_phone,
    pinyin_initials,
    read_document,
)

SEXES = ("male", "female", "unknown", "unspecified")
"""GB/T 2261.1 codes 1, 2, 0, 9."""
PHONE_OF = ("", "spouse", "child", "parent", "sibling", "neighbour", "village")
"""Whose phone it is: the person's own, or that of a relative, a neighbour, the village committee."""
EARLIEST_BIRTH = date(1880, 1, 1)


class FormRefused(AskPerson):
    """A field of the registration form is empty or cannot be right; ``facts["fields"]`` names them."""

    code = "registration_incomplete"


@dataclass(frozen=True, slots=True)
class PatientForm:
    """What a person says about themselves. With an identity number, sex and date of birth come from it."""

    name: str
    sex: str = "unknown"
    born_on: date | None = None
    id_number: str = ""
    address: str = ""
    phone: str = ""
    ethnicity_code: str = ""
    id_kind: str = "resident"
    """Of ``ID_KINDS``; ``id_number`` is then that document's number, of a newborn the mother's."""
    phone_of: str = ""
    """Of ``PHONE_OF``; empty: their own."""
    record_number: str = ""
    """The 17 digits of the health record."""
    guardian: Guardian | None = None
    """Asked of everybody below 14 who is registered by hand."""


def checked(form: PatientForm, today: date) -> tuple[PatientForm, Document | None]:
    """The form as it is kept, and the document it names.

    :raises FormRefused: names the fields to correct
    :raises WrongIdNumber: the number cannot be one
    :raises WrongRecordNumber: the health record number cannot be one
    """
    document = read_document(form.id_kind, form.id_number, today)
    kept = replace(
        form,
        name=form.name.strip(),
        sex=document.sex if document and document.sex else form.sex,
        born_on=document.born_on if document and document.born_on else form.born_on,
        id_number="",
        address=form.address.strip(),
        phone=form.phone.strip(),
        record_number=check_record_number(form.record_number).number if form.record_number.strip() else "",
        id_kind=document.kind if document else form.id_kind,
    )
    if faults := _faults(kept, document, today):
        raise FormRefused(f"to register, correct: {', '.join(faults)}", fields=faults)
    return kept, document


def _faults(form: PatientForm, document: Document | None, today: date) -> tuple[str, ...]:
    born = form.born_on is not None and EARLIEST_BIRTH <= form.born_on <= today
    wrong = {
        "name": not 1 <= len(form.name) <= 40,
        "sex": form.sex not in SEXES,
        "born_on": not born,
        "phone": bool(form.phone) and not is_phone(form.phone),
        "phone_of": form.phone_of not in PHONE_OF,
        "id_kind": form.id_kind not in ID_KINDS,
        "id_number": document is None and form.id_kind in ("passport", "newborn", "residence_permit"),
    }
    faults = [field for field, is_wrong in wrong.items() if is_wrong]
    if born and form.born_on is not None and age_years(form.born_on, today) < GUARDIAN_BELOW_AGE:
        faults += (form.guardian or Guardian("", "")).faults()
    return tuple(faults)


def patient_fields(patient: str, form: PatientForm, source: str) -> dict[str, Json]:
    """The fields of a ``patient/1`` entry that need no key."""
    fields: dict[str, Json] = {"patient": patient, "name": form.name, "sex": form.sex, "source": source}
    if form.born_on is not None:
        fields["born_on"] = form.born_on.isoformat()
    optional: Mapping[str, str] = {
        "ethnicity_code": form.ethnicity_code,
        "address": form.address,
        "phone": form.phone,
        "phone_of": form.phone_of if form.phone else "",
        "pinyin": pinyin_initials(form.name),
        "id_kind": form.id_kind,
        "record_number": form.record_number,
    }
    return fields | {name: text for name, text in optional.items() if text}

"""What a file claims about its person, held against the person at hand. Pure: it compares, it decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from devices.ecg_files.document import PersonSaid
from vehicle.clinic.identity import WrongIdNumber, age_years, check_id_number
from vehicle.clinic.people import PatientView

AGE_WITHIN = 1
"""Years; an age is typed into a device, often that of the coming birthday."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One claim. ``same`` is None where one of the two sides says nothing that could be held against the other."""

    what: str
    """"name", "id_number", "sex", "born_on" or "age"."""
    said: str
    known: str
    same: bool | None


def compared(said: PersonSaid, known: PatientView | None, said_on: date | None, today: date) -> list[Compared]:
    """The claims of the file in the order of a form; those it does not make are left out.

    :param known: None: nobody is at hand
    :param said_on: the day of the recording by the device's clock; the age is that of this day
    """
    born_on = known.born_on if known else None
    age = age_years(born_on, said_on or today) if born_on else None
    sex = known.sex if known and known.sex in ("male", "female") else ""
    rows = []
    if said.name:
        name = known.name if known else ""
        rows.append(Compared("name", said.name, name, _plain(said.name) == _plain(name) if name else None))
    if said.id_number:
        masked = known.masked_id if known else ""
        rows.append(Compared("id_number", said.id_number, masked, _same_number(said.id_number, known, today)))
    if said.sex:
        rows.append(Compared("sex", said.sex, sex, said.sex == sex if sex else None))
    if said.born_on:
        known_on = born_on.isoformat() if born_on else ""
        rows.append(
            Compared("born_on", said.born_on.isoformat(), known_on, said.born_on == born_on if born_on else None)
        )
    if said.age_years is not None:
        same = abs(age - said.age_years) <= AGE_WITHIN if age is not None else None
        rows.append(Compared("age", str(said.age_years), "" if age is None else str(age), same))
    return rows


def _same_number(said: str, known: PatientView | None, today: date) -> bool | None:
    """Only an identity number can be held against ours, of which the last four characters are known here; a hospital's
    own number cannot.
    """
    if known is None or not known.id_last4:
        return None
    try:
        number = check_id_number(said, today)
    except WrongIdNumber:
        return None
    return number.last4 == known.id_last4


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()

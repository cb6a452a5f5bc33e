"""Chronic patients of the demo's villages: on the township's list before, followed up when they come, some overdue."""

from __future__ import annotations

import random
from datetime import timedelta

from sync.formats.canonical import Json
from vehicle.assembly import Vehicle
from vehicle.clinic.forms.form import Field, shipped_forms
from vehicle.clinic.people import PatientForm
from vehicle.clinic.staff import Person
from xunzhen.demo.home import Staff
from xunzhen.demo.residents import Resident

KNOWN_TO_THE_TOWNSHIP = 0.6
FOLLOWED_UP = 0.75
"""Share of the chronic patients who come and for whom there is time; the others stay due."""
DRUGS: dict[str, list[Json]] = {
    "hypertension": [{"name": "氨氯地平片", "use": "每日1次，每次5 mg"}],
    "diabetes": [{"name": "二甲双胍片", "use": "每日2次，每次500 mg"}],
}


def programmes_of(person: Resident) -> list[str]:
    """What somebody has, by the values that the demo gives them."""
    found = ["hypertension"] if person.systolic_mmhg >= 140 else []
    return found + (["diabetes"] if person.glucose_mmol_l >= 7.0 else [])


async def take_over(van: Vehicle, people: list[Resident], doctor: Staff, chance: random.Random) -> None:
    """The township's list is entered: its chronic patients are members, last followed up on paper months ago."""
    by, today = _person(van, doctor), van.programmes.today()
    for number, person in enumerate(people):
        for programme in programmes_of(person):
            if chance.random() >= KNOWN_TO_THE_TOWNSHIP:
                continue
            form = PatientForm(
                name=person.name,
                id_number=person.id_number,
                address=person.address,
                phone=f"0610-5{number:02}{chance.randint(0, 9999):04}",  # no place has this area code
            )
            patient = (await van.people.register(form, by.id)).patient
            if programme not in {row.programme for row in van.programmes.of(patient, by)}:
                since = today - timedelta(days=chance.randint(5, 120))
                await van.programmes.join(patient, programme, since, by)


async def follow_up(van: Vehicle, patient: str, person: Resident, doctor: Staff, chance: random.Random) -> None:
    """The forms of whoever is being served, filled in by taps and signed; now and then there is no time for it."""
    by = _person(van, doctor)
    for programme in programmes_of(person):
        if chance.random() >= FOLLOWED_UP:
            continue
        draft = await van.follow_ups.begin(programme, patient, by)
        for name, answer in {
            "drugs": DRUGS[programme],
            "cigarettes_per_day": 0 if person.sex == "female" else 10,
        }.items():
            await van.follow_ups.answer(draft, name, answer, by)
        while missing := van.follow_ups.look(draft, by).filled.missing:
            one = shipped_forms()[programme].fields[missing[0]]
            await van.follow_ups.answer(draft, one.name, _calm(one), by)
        await van.follow_ups.sign(draft, doctor.id, doctor.secret)


def _calm(one: Field) -> Json:
    """The answer of somebody who has nothing to complain of: the first choice."""
    return [one.alone] if one.type == "codes" else one.choices[0].code


def _person(van: Vehicle, doctor: Staff) -> Person:
    return van.staff.get(doctor.id)

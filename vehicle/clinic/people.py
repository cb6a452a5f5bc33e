"""The people served: registered by card or by hand, found again, shown masked.

Identity numbers are sealed before they enter an entry; the journal and the tables hold the sealed text, a keyed hash to
find the person again, and the last four characters. A person registered twice is linked, never overwritten.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from devices.readings import IdentityCard
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from sync.keys.sealing import Sealer
from vehicle.clinic.identity import (
    IdNumber,
    age_years,
    check_id_number,
    is_phone,
    mask_last4,
    mask_name,
    pinyin_initials,
)
from vehicle.clinic.ports import Ids, Journal
from vehicle.clinic.units import shown_values
from vehicle.clinic.views import CHINA

SEXES = ("male", "female", "unknown", "unspecified")
"""GB/T 2261.1 codes 1, 2, 0, 9."""
_COLUMNS = "patient, name, sex, born_on, id_last4, address, phone, source, registered_at, id_number_sealed, pinyin"


class FormRefused(AskPerson):
    """A field of the registration form is empty or cannot be right; ``facts["fields"]`` names them."""

    code = "registration_incomplete"


class NobodyFound(AskPerson):
    """No person of that id: the page is old, or the id was typed."""

    code = "person_not_found"


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


@dataclass(frozen=True, slots=True)
class PatientView:
    patient: str
    name: str
    masked_name: str
    """For lists that others can see."""
    sex: str
    born_on: date | None
    age: int | None
    """Completed years today, by Chinese legal time."""
    id_last4: str
    masked_id: str
    """Empty for a person without a number."""
    address: str
    phone: str
    source: str
    """"id_card" or "manual"."""
    registered_at: datetime
    linked: tuple[str, ...] = ()
    """Other registrations of the same person."""


@dataclass(frozen=True, slots=True)
class PastReading:
    reading: str
    type: str
    values: dict[str, object]
    at: datetime
    encounter: str
    by_hand: bool


@dataclass(frozen=True, slots=True)
class PastEncounter:
    encounter: str
    opened_at: datetime
    closed_at: datetime | None
    purpose: str
    village_name: str


@dataclass(frozen=True, slots=True)
class PastResult:
    rule: str
    code: str
    level: str
    at: datetime
    encounter: str


@dataclass(frozen=True, slots=True)
class History:
    """Everything confirmed of a person, newest first, over all their registrations."""

    patient: PatientView
    encounters: tuple[PastEncounter, ...]
    readings: tuple[PastReading, ...]
    results: tuple[PastResult, ...]
    consultations: tuple[str, ...]
    recordings: tuple[str, ...]


class People:
    def __init__(self, store: Journal, ids: Ids, clock: Clock, sealer: Sealer) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._sealer = sealer
        self._links = self._read_links()
        self._registering = asyncio.Lock()
        """A card on the reader and a tap on the screen must not register one person twice."""

    def search(self, query: str, limit: int = 50) -> list[PatientView]:
        """By part of the name, pinyin initials, part of the phone number, or the last 4 of the identity number.

        An empty query gives the last people served or registered.
        """
        text = query.strip()
        if not text:
            return self._recent(limit)
        if text.isascii() and any(character.isdigit() for character in text):
            where, params = "id_last4 = ? OR instr(phone, ?) > 0", (text.upper(), text)
        elif text.isascii():
            where, params = "instr(pinyin, ?) = 1 OR instr(lower(name), ?) > 0", (text.lower(), text.lower())
        else:
            where, params = "instr(name, ?) > 0 OR name = ?", (text, text)
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM patients WHERE {where} ORDER BY pinyin, patient LIMIT ?", (*params, limit)
        )
        return [self._view(row) for row in rows]

    def get(self, patient: str) -> PatientView:
        """:raises NobodyFound: no such person"""
        return self._view(self._row(patient))

    async def open(self, patient: str, by: str) -> PatientView:
        """The same, for a person's own page: that it was opened is noted in the access log."""
        view = self.get(patient)
        await self._store.commit(Draft("access/1", {"action": "patient_opened", "what": patient}, by=by))
        return view

    async def reveal_id_number(self, patient: str, by: str) -> str:
        """The full number, empty when there is none; noted in the access log before it is returned.

        :raises SealBroken: the key file is not the one the number was sealed with
        """
        sealed = self._row(patient)["id_number_sealed"]
        await self._store.commit(Draft("access/1", {"action": "id_number_shown", "what": patient}, by=by))
        return self._sealer.unseal(sealed) if sealed else ""

    async def register(self, form: PatientForm, by: str) -> PatientView:
        """Register by hand; whose identity number is known already is found again instead.

        :raises FormRefused: names the fields to correct
        :raises WrongIdNumber: the number cannot be one
        """
        form, number = self._checked(form)
        return await self._find_or_register(form, number, "manual", by)

    async def from_card(self, card: IdentityCard, by: str) -> PatientView:
        """The person of a card: found again by the keyed hash of the number, else registered from the card."""
        number = check_id_number(card.id_number, self._today())
        form = PatientForm(
            name=card.name.strip(),
            sex=card.sex if card.sex in ("male", "female") else number.sex,
            born_on=card.born_on or number.born_on,
            address=card.address.strip(),
            ethnicity_code=card.ethnicity_code,
        )
        return await self._find_or_register(form, number, "id_card", by)

    def possible_duplicates(self, patient: str) -> list[PatientView]:
        """Other people of the same name, sex and date of birth, not both with a number of their own."""
        me = self._row(patient)
        rows = self._same_person(me["name"], me["sex"], me["born_on"])
        return [
            self._view(row) for row in rows if row["patient"] != patient and not (row["id_last4"] and me["id_last4"])
        ]

    async def link(self, one: str, other: str, by: str) -> PatientView:
        """Say that two registrations are one person: both stay as they are, their histories are shown together.

        :raises NobodyFound: one of them does not exist
        """
        self._row(other)
        self._row(one)
        await self._store.commit(_link(one, other, by))
        self._join(one, other)
        return self.get(one)

    def history(self, patient: str, limit: int = 200) -> History:
        """:raises NobodyFound: no such person"""
        view = self.get(patient)
        who = [patient, *view.linked]
        marks = ",".join("?" * len(who))

        def rows(sql: str) -> list[dict[str, Any]]:
            return self._store.read(f"{sql.format(who=f'({marks})')} LIMIT {int(limit)}", who)

        return History(
            patient=view,
            encounters=tuple(
                _past_encounter(row)
                for row in rows(
                    "SELECT e.*, v.village_name FROM encounters e LEFT JOIN visits v ON v.visit = e.visit "
                    "WHERE e.patient IN {who} ORDER BY e.opened_at DESC"
                )
            ),
            readings=tuple(
                _past_reading(row)
                for row in rows(
                    "SELECT * FROM readings WHERE patient IN {who} AND confirmed_at IS NOT NULL "
                    "AND rejected_at IS NULL AND type != 'answers' ORDER BY taken_at DESC, reading DESC"
                )
            ),
            results=tuple(
                PastResult(row["rule"], row["code"], row["level"], parse_time(row["at"]), row["encounter"] or "")
                for row in rows("SELECT * FROM screening_results WHERE patient IN {who} ORDER BY at DESC, result DESC")
            ),
            consultations=tuple(
                row["consultation"]
                for row in rows(
                    "SELECT consultation FROM consultations WHERE patient IN {who} ORDER BY requested_at DESC"
                )
            ),
            recordings=tuple(
                row["sha256"]
                for row in rows(
                    "SELECT sha256 FROM recordings WHERE patient IN {who} AND what = 'ecg' ORDER BY started_at DESC"
                )
            ),
        )

    def _today(self) -> date:
        return self._clock.now().astimezone(CHINA).date()

    def _checked(self, form: PatientForm) -> tuple[PatientForm, IdNumber | None]:
        number = check_id_number(form.id_number, self._today()) if form.id_number.strip() else None
        sex = number.sex if number else form.sex
        born_on = number.born_on if number else form.born_on
        faults = []
        if not 1 <= len(form.name.strip()) <= 40:
            faults.append("name")
        if sex not in SEXES:
            faults.append("sex")
        if born_on is None or not date(1880, 1, 1) <= born_on <= self._today():
            faults.append("born_on")
        if form.phone.strip() and not is_phone(form.phone.strip()):
            faults.append("phone")
        if faults:
            raise FormRefused(f"to register, correct: {', '.join(faults)}", fields=tuple(faults))
        checked = PatientForm(
            form.name.strip(), sex, born_on, "", form.address.strip(), form.phone.strip(), form.ethnicity_code
        )
        return checked, number

    async def _find_or_register(self, form: PatientForm, number: IdNumber | None, source: str, by: str) -> PatientView:
        async with self._registering:
            known = self._by_number(number) if number else None
            if known is not None:
                await self._store.commit(Draft("access/1", {"action": "patient_opened", "what": known.patient}, by=by))
                return known
            patient = self._ids.new("patient")
            drafts = [Draft("patient/1", self._fields(patient, form, number, source), by=by)]
            twin = self._unnumbered_twin(form) if number else None
            if twin is not None:
                drafts.append(_link(patient, twin, by))
            await self._store.commit(*drafts)
            if twin is not None:
                self._join(patient, twin)
            return self.get(patient)

    def _fields(self, patient: str, form: PatientForm, number: IdNumber | None, source: str) -> Mapping[str, Json]:
        fields: dict[str, Json] = {"patient": patient, "name": form.name, "sex": form.sex, "source": source}
        if form.born_on is not None:
            fields["born_on"] = form.born_on.isoformat()
        if number is not None:
            fields["id_number_sealed"] = self._sealer.seal(number.number)
            fields["id_hash"] = self._sealer.keyed_hash(number.number)
            fields["id_last4"] = number.last4
        optional = {
            "ethnicity_code": form.ethnicity_code,
            "address": form.address,
            "phone": form.phone,
            "pinyin": pinyin_initials(form.name),
        }
        return fields | {name: text for name, text in optional.items() if text}

    def _by_number(self, number: IdNumber) -> PatientView | None:
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM patients WHERE id_hash = ? ORDER BY patient LIMIT 1",
            (self._sealer.keyed_hash(number.number),),
        )
        return self._view(rows[0]) if rows else None

    def _unnumbered_twin(self, form: PatientForm) -> str | None:
        """The one person registered by hand without a number whom this card surely is; None when there are several."""
        born_on = form.born_on.isoformat() if form.born_on else None
        twins = [row for row in self._same_person(form.name, form.sex, born_on) if not row["id_last4"]]
        return str(twins[0]["patient"]) if len(twins) == 1 else None

    def _same_person(self, name: str, sex: str, born_on: str | None) -> list[dict[str, Any]]:
        return self._store.read(
            f"SELECT {_COLUMNS} FROM patients WHERE name = ? AND sex = ? AND born_on = ? ORDER BY patient LIMIT 20",
            (name, sex, born_on),
        )

    def _recent(self, limit: int) -> list[PatientView]:
        # A registration bears the time of its ULID, an encounter likewise: the newest of both leads the list.
        rows = self._store.read(
            f"SELECT {_COLUMNS}, max(registered_at, coalesce((SELECT max(opened_at) FROM encounters e "
            "WHERE e.patient = patients.patient), '')) AS seen_at FROM patients "
            "ORDER BY seen_at DESC, patient DESC LIMIT ?",
            (limit,),
        )
        return [self._view(row) for row in rows]

    def _row(self, patient: str) -> dict[str, Any]:
        rows = self._store.read(f"SELECT {_COLUMNS} FROM patients WHERE patient = ?", (patient,))
        if not rows:
            raise NobodyFound("no such person here: search again", patient=patient)
        return rows[0]

    def _view(self, row: Mapping[str, Any]) -> PatientView:
        born_on = date.fromisoformat(row["born_on"]) if row["born_on"] else None
        return PatientView(
            patient=row["patient"],
            name=row["name"],
            masked_name=mask_name(row["name"]),
            sex=row["sex"],
            born_on=born_on,
            age=age_years(born_on, self._today()) if born_on else None,
            id_last4=row["id_last4"] or "",
            masked_id=mask_last4(row["id_last4"] or ""),
            address=row["address"] or "",
            phone=row["phone"] or "",
            source=row["source"],
            registered_at=parse_time(row["registered_at"]),
            linked=tuple(sorted(self._links.get(row["patient"], frozenset()) - {row["patient"]})),
        )

    def _read_links(self) -> dict[str, frozenset[str]]:
        self._links = {}
        for row in self._store.read("SELECT what FROM access_log WHERE action = 'patients_linked' ORDER BY n"):
            self._join(*row["what"].split(" "))
        return self._links

    def _join(self, one: str, other: str) -> None:
        group = self._links.get(one, frozenset({one})) | self._links.get(other, frozenset({other}))
        for member in group:
            self._links[member] = group


def _link(one: str, other: str, by: str) -> Draft:
    return Draft("access/1", {"action": "patients_linked", "what": f"{one} {other}"}, by=by)


def _past_reading(row: Mapping[str, Any]) -> PastReading:
    return PastReading(
        reading=row["reading"],
        type=row["type"],
        values=shown_values(json.loads(row["values_json"])),
        at=parse_time(row["taken_at"]),
        encounter=row["encounter"] or "",
        by_hand=bool(row["by_hand"]),
    )


def _past_encounter(row: Mapping[str, Any]) -> PastEncounter:
    return PastEncounter(
        encounter=row["encounter"],
        opened_at=parse_time(row["opened_at"]),
        closed_at=parse_time(row["closed_at"]) if row["closed_at"] else None,
        purpose=row["purpose"],
        village_name=row["village_name"] or "",
    )

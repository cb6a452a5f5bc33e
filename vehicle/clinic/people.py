"""The people served: registered by card or by hand, found again, shown masked.

Identity numbers are sealed before they enter an entry; the journal and the tables hold the sealed text, a keyed hash to
find the person again, and the last four characters. A person registered twice is linked, never overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from devices.readings import IdentityCard
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from sync.keys.sealing import Sealer
from sync.record.person_links import LINKED, UNLINKED, PersonLinks
from vehicle.clinic import history
from vehicle.clinic.guardians import guardian_draft
from vehicle.clinic.identity import (
    Document,
    age_years,
    check_id_number,
    check_record_number,
    is_phone,
    mask_last4,
    mask_name,
    mask_phone,
    read_document,
    temporary_end,
    temporary_number,
)
from vehicle.clinic.ports import Ids, Journal
from vehicle.clinic.registration import PHONE_OF, FormRefused, PatientForm, checked, patient_fields
from vehicle.clinic.views import CHINA

__all__ = ["FormRefused", "NobodyFound", "PatientForm", "PatientView", "People", "ReasonMissing"]

REASONS = ("identify", "contact", "form", "asked", "emergency")
"""Why somebody looks at what is masked: who it is, to reach them, for a form, because they asked, in danger."""
AMENDED = ("phone", "phone_of", "address", "record_number")
"""What changes in a life and is corrected; a wrong name or number is a new registration, linked."""
_COLUMNS = (
    "patient, name, sex, born_on, id_last4, id_kind, address, phone, phone_of, record_number, source, registered_at, "
    "id_number_sealed, pinyin"
)
_LINKS = f"SELECT action, what FROM access_log WHERE action IN ('{LINKED}', '{UNLINKED}') ORDER BY n"
_WHOLE_NUMBER = 15
"""Characters from which a search is for the whole number of a document."""


class NobodyFound(AskPerson):
    """No person of that id: the page is old, or the id was typed."""

    code = "person_not_found"


class ReasonMissing(AskPerson):
    """What is masked is shown for a reason of ``REASONS`` only."""

    code = "reveal_reason_missing"


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
    """Of a newborn that of the mother."""
    masked_id: str
    """Empty for a person without a number."""
    address: str
    phone: str
    source: str
    """"id_card" or "manual"."""
    registered_at: datetime
    linked: tuple[str, ...] = ()
    """Other registrations of the same person."""
    id_kind: str = "resident"
    temporary: str = ""
    """The number of somebody without any document; empty for others."""
    masked_phone: str = ""
    phone_of: str = ""
    """Whose phone it is; empty: their own."""
    record_number: str = ""
    """17 digits of the health record; empty when it is not known."""


class People:
    def __init__(self, store: Journal, ids: Ids, clock: Clock, sealer: Sealer) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._sealer = sealer
        self._links = PersonLinks((row["action"], row["what"]) for row in store.read(_LINKS))
        self._registering = asyncio.Lock()
        """A card on the reader and a tap on the screen must not register one person twice."""

    # found again

    def search(self, query: str, limit: int = 50) -> list[PatientView]:
        """By part of the name, pinyin initials, part of the phone number, the last 4 of the identity number, a whole
        number of any document, the health record number or a temporary number.

        An empty query gives the last people served or registered.
        """
        text = query.strip()
        if not text:
            return self._recent(limit)
        where, params = self._condition(text)
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM patients WHERE {where} ORDER BY pinyin, patient LIMIT ?", (*params, limit)
        )
        return [self._view(row) for row in rows]

    def _condition(self, text: str) -> tuple[str, Sequence[object]]:
        typed = "".join(text.split()).upper()
        if not text.isascii():
            return "instr(name, ?) > 0", (text,)
        if end := temporary_end(typed):
            return "substr(patient, -6) = ?", (end,)
        if not any(character.isdigit() for character in typed):
            # between is the index's way to say: begins with
            initials = text.lower()
            return "pinyin >= ? AND pinyin < ? OR instr(lower(name), ?) > 0", (initials, initials + "{", initials)
        keys = [self._sealer.keyed_hash(key) for key in (typed, f"passport:{typed}", f"{typed}-1")]
        if len(typed) >= _WHOLE_NUMBER:
            return "id_hash IN (?, ?, ?) OR record_number = ?", (*keys, typed)
        return "id_last4 = ? OR instr(phone, ?) > 0 OR id_hash = ?", (typed, text, keys[1])

    def get(self, patient: str) -> PatientView:
        """:raises NobodyFound: no such person"""
        return self._view(self._row(patient))

    def registrations(self, patient: str) -> tuple[str, ...]:
        """All of the same person, this one first."""
        return (patient, *self._links.beside(patient))

    def possible_duplicates(self, patient: str) -> list[PatientView]:
        """Other registrations that may be the same person, not both with a number of their own.

        The same name with sex and date of birth or with the phone; not those that somebody said are different people.
        """
        me = self._row(patient)
        rows = self._same_person(me["name"], me["sex"], me["born_on"])
        if me["phone"]:
            rows += self._store.read(
                f"SELECT {_COLUMNS} FROM patients WHERE name = ? AND phone = ? LIMIT 20", (me["name"], me["phone"])
            )
        known = set(self.registrations(patient))
        found = {row["patient"]: row for row in rows if row["patient"] not in known}
        return [
            self._view(row)
            for other, row in found.items()
            if not (row["id_last4"] and me["id_last4"]) and not self._links.different(patient, other)
        ]

    def history(self, patient: str, limit: int = 200) -> history.History:
        """:raises NobodyFound: no such person"""
        self._row(patient)
        return history.history(self._store, self.registrations(patient), limit)

    # looked at

    async def open(self, patient: str, by: str) -> PatientView:
        """The same, for a person's own page: that it was opened is noted in the access log."""
        view = self.get(patient)
        await self._store.commit(Draft("access/1", {"action": "patient_opened", "what": patient}, by=by))
        return view

    async def reveal_id_number(self, patient: str, by: str, reason: str = "identify") -> str:
        """The full number, empty when there is none; noted with its reason before it is returned.

        :raises ReasonMissing: not one of ``REASONS``
        :raises SealBroken: the key file is not the one the number was sealed with
        """
        sealed = self._row(patient)["id_number_sealed"]
        await self._note("id_number_shown", patient, reason, by)
        return self._sealer.unseal(sealed) if sealed else ""

    async def reveal_names(self, patients: Iterable[str], reason: str, by: str) -> None:
        """Note that a list was shown with full names, and whose.

        :raises ReasonMissing: not one of ``REASONS``
        """
        await self._note("names_shown", " ".join(patients), reason, by)

    async def _note(self, action: str, what: str, reason: str, by: str) -> None:
        if reason not in REASONS:
            raise ReasonMissing("say why it is needed: " + ", ".join(REASONS))
        await self._store.commit(Draft("access/1", {"action": action, "what": what, "reason": reason}, by=by))

    # registered

    async def register(self, form: PatientForm, by: str) -> PatientView:
        """Register by hand; whose document is known already is found again instead.

        :raises FormRefused: names the fields to correct
        :raises WrongIdNumber: the number cannot be one
        :raises WrongRecordNumber: the health record number cannot be one
        """
        form, document = checked(form, self._today())
        return await self._find_or_register(form, document, "manual", by)

    async def register_unknown(self, name: str, by: str | None) -> PatientView:
        """Somebody who cannot say who they are: a temporary number, nothing else is asked."""
        form = PatientForm(name, id_kind="temporary")
        patient = self._ids.new("patient")
        await self._store.commit(Draft("patient/1", patient_fields(patient, form, "manual"), by=by))
        return self.get(patient)

    async def from_card(self, card: IdentityCard, by: str) -> PatientView:
        """The person of a card: found again by the keyed hash of the number, else registered from the card."""
        number = check_id_number(card.id_number, self._today())
        form = PatientForm(
            name=card.name.strip(),
            sex=card.sex if card.sex in ("male", "female") else number.sex,
            born_on=card.born_on or number.born_on,
            address=card.address.strip(),
            ethnicity_code=card.ethnicity_code,
            id_kind=number.kind,
        )
        return await self._find_or_register(
            form, read_document(number.kind, number.number, self._today()), "id_card", by
        )

    async def amend(self, patient: str, changes: Mapping[str, str], by: str) -> PatientView:
        """Correct phone, whose phone it is, address or health record number: an entry beside the one of before.

        :raises FormRefused: names the fields that cannot be right
        :raises WrongRecordNumber: the health record number cannot be one
        :raises NobodyFound: no such person
        """
        row = self._row(patient)
        told = {name: changes[name].strip() for name in AMENDED if name in changes}
        if told.get("record_number"):
            told["record_number"] = check_record_number(told["record_number"]).number
        faults = ["phone"] if told.get("phone") and not is_phone(told["phone"]) else []
        faults += ["phone_of"] if told.get("phone_of", "") not in PHONE_OF else []
        if faults:
            raise FormRefused(f"correct: {', '.join(faults)}", fields=tuple(faults))
        changed = {name: text for name, text in told.items() if text != (row[name] or "")}
        if changed:
            fields: dict[str, Json] = {
                "corrects": self._entry_of(patient),
                "corrects_kind": "patient/1",
                "reason": "told",
                "fields": {"patient": patient, **changed},
            }
            await self._store.commit(Draft("correction/1", fields, by=by))
        return self.get(patient)

    # linked

    async def link(self, one: str, other: str, by: str) -> PatientView:
        """Say that two registrations are one person: both stay as they are, their histories are shown together.

        :raises NobodyFound: one of them does not exist
        """
        self._row(other)
        self._row(one)
        await self._store.commit(_pair(LINKED, one, other, by))
        self._links.join(one, other)
        return self.get(one)

    async def unlink(self, one: str, other: str, by: str) -> PatientView:
        """Say that two registrations are different people: ``one`` stands alone again, and is not offered ``other``.

        :raises NobodyFound: one of them does not exist
        """
        self._row(other)
        self._row(one)
        await self._store.commit(_pair(UNLINKED, one, other, by))
        self._links.part(one, other)
        return self.get(one)

    # how

    def _today(self) -> date:
        return self._clock.now().astimezone(CHINA).date()

    async def _find_or_register(
        self, form: PatientForm, document: Document | None, source: str, by: str
    ) -> PatientView:
        async with self._registering:
            known = self._by_document(document) if document else None
            if known is not None:
                await self._store.commit(Draft("access/1", {"action": "patient_opened", "what": known.patient}, by=by))
                return known
            patient = self._ids.new("patient")
            fields = patient_fields(patient, form, source)
            if document is not None:
                fields["id_number_sealed"] = self._sealer.seal(document.number)
                fields["id_hash"] = self._sealer.keyed_hash(document.key)
                fields["id_last4"] = document.last4
            drafts = [Draft("patient/1", fields, by=by)]
            if form.guardian is not None and not form.guardian.faults():
                drafts.append(guardian_draft(patient, form.guardian, by))
            twin = self._unnumbered_twin(form) if document else None
            if twin is not None:
                drafts.append(_pair(LINKED, patient, twin, by))
            await self._store.commit(*drafts)
            if twin is not None:
                self._links.join(patient, twin)
            return self.get(patient)

    def _by_document(self, document: Document) -> PatientView | None:
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM patients WHERE id_hash = ? ORDER BY patient LIMIT 1",
            (self._sealer.keyed_hash(document.key),),
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
        seen: dict[str, str] = {}
        for sql in (
            "SELECT patient, opened_at AS seen_at FROM encounters ORDER BY encounter DESC LIMIT ?",
            "SELECT patient, registered_at AS seen_at FROM patients ORDER BY patient DESC LIMIT ?",
        ):
            for row in self._store.read(sql, (4 * limit,)):
                seen[row["patient"]] = max(seen.get(row["patient"], ""), row["seen_at"] or "")
        newest = sorted(seen, key=lambda patient: (seen[patient], patient), reverse=True)[:limit]
        return [self._view(self._row(patient)) for patient in newest]

    def _entry_of(self, patient: str) -> int:
        """The place of a registration in the journal."""
        rows = self._store.read(
            "SELECT n FROM entries WHERE kind = 'patient/1' AND instr(body, CAST(? AS BLOB)) > 0 ORDER BY n LIMIT 1",
            (patient,),
        )
        return int(rows[0]["n"])

    def _row(self, patient: str) -> dict[str, Any]:
        rows = self._store.read(f"SELECT {_COLUMNS} FROM patients WHERE patient = ?", (patient,))
        if not rows:
            raise NobodyFound("no such person here: search again", patient=patient)
        return rows[0]

    def _view(self, row: Mapping[str, Any]) -> PatientView:
        born_on = date.fromisoformat(row["born_on"]) if row["born_on"] else None
        registered_at, id_kind = parse_time(row["registered_at"]), row["id_kind"] or "resident"
        temporary = id_kind == "temporary" and not row["id_last4"]
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
            registered_at=registered_at,
            linked=self._links.beside(row["patient"]),
            id_kind=id_kind,
            temporary=temporary_number(row["patient"], registered_at.astimezone(CHINA).date()) if temporary else "",
            masked_phone=mask_phone(row["phone"] or ""),
            phone_of=row["phone_of"] or "",
            record_number=row["record_number"] or "",
        )


def _pair(action: str, one: str, other: str, by: str) -> Draft:
    return Draft("access/1", {"action": action, "what": f"{one} {other}"}, by=by)

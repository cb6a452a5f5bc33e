"""Whom to call in a village: a book of the county's own, in no journal and no evidence.

Lines as they come out of a spreadsheet: code, name, phone, with tabs, commas or blanks between them. A line with the
code alone takes the contact away.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select

from devices.clock import Clock
from devices.errors import AskPerson
from sync.county.database import Database
from sync.county.schema import village_contacts

LONGEST_NAME = 30
_LINE = re.compile(r"(?P<code>\d{12})(?:[\s,，]+(?P<name>\S.*?)[\s,，]+(?P<phone>\+?\d[\d-]{4,18}\d))?")


class ContactsRefused(AskPerson):
    """A line is not understood, or names a village that is not registered; nothing was changed.

    :ivar facts: ``line`` (from 1) and ``text``
    """

    code = "contacts_refused"

    def __init__(self, problem: str, line: int, text: str) -> None:
        super().__init__(f"line {line}: {problem}", line=line, text=text[:60])
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Contact:
    """:ivar code: of the village, 12 digits; :ivar name: empty where there is none any more"""

    code: str
    name: str
    phone: str


class VillageContacts:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def all(self) -> dict[str, Contact]:
        """By the code of the village."""
        columns = village_contacts.c
        rows = self._database.rows(select(columns.code, columns.name, columns.phone))
        return {row["code"]: Contact(row["code"], row["name"], row["phone"]) for row in rows}

    def keep(self, contacts: Sequence[Contact], by: str) -> None:
        """In one transaction; those without a name are taken away."""
        now = self._clock.now()
        there = [
            {"code": one.code, "name": one.name, "phone": one.phone, "by": by, "at": now}
            for one in contacts
            if one.name
        ]
        gone = [one.code for one in contacts if not one.name]
        with self._database.write("village contacts") as connection:
            self._database.upsert(connection, village_contacts, there)
            if gone:
                connection.execute(delete(village_contacts).where(village_contacts.c.code.in_(gone)))


def read_contacts(text: str, known: Collection[str]) -> list[Contact]:
    """The last line of a village holds.

    :param known: codes of the registered villages
    :raises ContactsRefused: a line is no contact, or no line is there
    """
    found: dict[str, Contact] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.strip()
        if not said:
            continue
        match = _LINE.fullmatch(said)
        if match is None or len(match["name"] or "") > LONGEST_NAME:
            raise ContactsRefused("not_understood", number, said)
        if match["code"] not in known:
            raise ContactsRefused("unknown_village", number, said)
        found[match["code"]] = Contact(match["code"], match["name"] or "", match["phone"] or "")
    if not found:
        raise ContactsRefused("nothing", 1, "")
    return list(found.values())

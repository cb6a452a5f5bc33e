"""Who of the specialists was and is in a session: each access is an entry, and the touchscreen names who is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sync.formats.canonical import Json
from sync.formats.records import Draft
from telemedicine.consultation import read_who
from vehicle.clinic.ports import Journal, Live

JOINED, LEFT = "session_joined", "session_left"
BY = "; "
"""Before the name of who made the link."""


@dataclass(frozen=True, slots=True)
class Present:
    """A specialist in the session, as people call them."""

    account: str
    name: str
    title: str
    role: str


class ConsultationPeople:
    def __init__(self, store: Journal, live: Live) -> None:
        self._store = store
        self._live = live

    async def take(self, consultation: str, who: str, role: str, invited_by: str, here: bool) -> None:
        """A specialist has come into the session or left it; the same again changes nothing.

        :param who: as ``telemedicine.consultation.write_who`` says it
        """
        account, name, _ = read_who(who)
        if any(present.account == account for present in self.present(consultation)) == here:
            return
        what = f"{consultation} {role} {who}" + (f"{BY}{invited_by}" if invited_by else "")
        said: dict[str, Json] = {"action": JOINED if here else LEFT, "what": what[:300]}
        await self._store.commit(Draft("access/1", said))
        self._live.send({"type": "session_people", "consultation": consultation, "name": name, "here": here})

    def present(self, consultation: str) -> list[Present]:
        """In the order they came."""
        there: dict[str, Present] = {}
        for row in self._store.read(
            "SELECT action, what FROM access_log WHERE action IN (?, ?) AND substr(what, 1, ?) = ? ORDER BY n",
            (JOINED, LEFT, len(consultation) + 1, f"{consultation} "),
        ):
            present = _read(row)
            if row["action"] == JOINED:
                there[present.account] = present
            else:
                there.pop(present.account, None)
        return list(there.values())


def _read(row: dict[str, Any]) -> Present:
    _, role, who = str(row["what"]).split(" ", 2)
    account, name, title = read_who(who.partition(BY)[0])
    return Present(account, name, title, role)

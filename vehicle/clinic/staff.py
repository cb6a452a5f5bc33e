"""The staff on the van: who may sign in, and the PIN check that guards every signature of theirs.

PINs are argon2id hashes in the settings. Five wrong ones in a row lock the person for five minutes; the count is read
from the journal's access log, so that a restart does not forget it. Names are never logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.formats.records import Draft, parse_time
from vehicle.clinic.ports import Journal

FAILURES_TO_LOCK = 5
LOCK_S = 300.0
_OUTCOMES = ("sign_in", "sign_in_refused", "pin_accepted", "pin_refused")
_REFUSED = ("sign_in_refused", "pin_refused")


class WrongPin(AskPerson):
    """The PIN does not fit, or nobody of that id is on this van: the answer does not tell which."""

    code = "wrong_pin"


class LockedOut(AskPerson):
    """Too many wrong PINs; ``facts["until"]`` says when the next try is allowed."""

    code = "locked_out"


class NotOnStaff(AskPerson):
    """The id is not in this van's settings."""

    code = "not_on_staff"


class Account(Protocol):
    """One ``[[staff]]`` row of the settings."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str: ...

    @property
    def pin_hash(self) -> str: ...

    @property
    def further_roles(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str
    role: str
    """doctor, village_doctor, nurse or driver."""
    further_roles: tuple[str, ...] = ()
    """"smi": may open what concerns severe mental illness."""


class Staff:
    """
    :param hasher: verifies; its own parameters do not matter, those of each hash stand in the hash
    """

    def __init__(
        self, accounts: Iterable[Account], store: Journal, clock: Clock, hasher: PasswordHasher | None = None
    ) -> None:
        self._people = {row.id: Person(row.id, row.name, row.role, tuple(row.further_roles)) for row in accounts}
        self._hashes = {row.id: row.pin_hash for row in accounts}
        self._store = store
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        self._signed_in = self._last_signed_in()
        self._checking = asyncio.Lock()
        """One PIN at a time: a thousand tries at once must not all be let through before the first is counted."""
        self.listeners: list[Callable[[Person], None]] = []
        """Told who signed in."""

    def all(self) -> list[Person]:
        """Everybody in the settings, in their order."""
        return list(self._people.values())

    def get(self, person_id: str) -> Person:
        """:raises NotOnStaff: nobody of that id"""
        try:
            return self._people[person_id]
        except KeyError:
            raise NotOnStaff("nobody of that id is on this van's staff list: add them in the settings") from None

    def signed_in(self) -> Person | None:
        """Who signed in last and did not sign out: the person whose hand a device's reading or card comes to."""
        return self._signed_in

    async def sign_in(self, person_id: str, pin: str) -> Person:
        """Check the PIN (argon2, about 50 ms, in a thread of its own) and note the sign-in.

        :raises WrongPin: says how many tries are left
        :raises LockedOut: five failures in a row, less than five minutes ago
        """
        person = await self._check(person_id, pin, "sign_in", "sign_in_refused")
        self._signed_in = person
        emit("signed_in", person=person.id)
        for listener in self.listeners:
            listener(person)
        return person

    async def sign_out(self, person_id: str) -> None:
        if self._signed_in is not None and self._signed_in.id == person_id:
            self._signed_in = None
        await self._note("sign_out", person_id, by=person_id)

    async def check_pin(self, person_id: str, pin: str) -> Person:
        """The same check before a signature: who is already signed in proves again that it is them.

        :raises WrongPin, LockedOut: as ``sign_in``; failures count together
        """
        return await self._check(person_id, pin, "pin_accepted", "pin_refused")

    def locked_until(self, person_id: str) -> datetime | None:
        """When the lock of this person ends; None when there is none."""
        last = self._outcomes(person_id)
        if len(last) < FAILURES_TO_LOCK or any(row["action"] not in _REFUSED for row in last):
            return None
        failed_at = parse_time(str(last[0]["at"]))
        until = failed_at + timedelta(seconds=LOCK_S)
        # A clock that was set back must not lengthen the lock for ever.
        return until if abs(self._clock.now() - failed_at) < timedelta(seconds=LOCK_S) else None

    async def _check(self, person_id: str, pin: str, accepted: str, refused: str) -> Person:
        async with self._checking:
            return await self._check_next(person_id, pin, accepted, refused)

    async def _check_next(self, person_id: str, pin: str, accepted: str, refused: str) -> Person:
        until = self.locked_until(person_id)
        if until is not None:
            emit("sign_in_refused", level=logging.WARNING, person=person_id, reason="locked")
            raise LockedOut("too many wrong PINs in a row: wait, or let another person sign in", until=until)
        person = self._people.get(person_id)
        if person is None or not await asyncio.to_thread(self._fits, self._hashes[person_id], pin):
            await self._note(refused, person_id if person else "unknown")
            emit("sign_in_refused", level=logging.WARNING, person=person_id if person else "unknown", reason="pin")
            raise WrongPin("the PIN does not fit", tries_left=self._tries_left(person_id))
        await self._note(accepted, person_id, by=person_id)
        return person

    def _fits(self, pin_hash: str, pin: str) -> bool:
        try:
            return self._hasher.verify(pin_hash, pin)
        except (VerificationError, InvalidHashError):
            return False

    def _tries_left(self, person_id: str) -> int:
        failures = 0
        for row in self._outcomes(person_id):
            if row["action"] not in _REFUSED:
                break
            failures += 1
        return FAILURES_TO_LOCK - failures

    def _outcomes(self, person_id: str) -> list[dict[str, object]]:
        """The last checks of this person, newest first."""
        marks = ",".join("?" * len(_OUTCOMES))
        return self._store.read(
            f"SELECT action, at FROM access_log WHERE what = ? AND action IN ({marks}) ORDER BY n DESC LIMIT ?",
            (person_id, *_OUTCOMES, FAILURES_TO_LOCK),
        )

    def _last_signed_in(self) -> Person | None:
        rows = self._store.read(
            "SELECT action, what FROM access_log WHERE action IN ('sign_in', 'sign_out') ORDER BY n DESC LIMIT 1"
        )
        return self._people.get(rows[0]["what"]) if rows and rows[0]["action"] == "sign_in" else None

    async def _note(self, action: str, person_id: str, by: str | None = None) -> None:
        await self._store.commit(Draft("access/1", {"action": action, "what": person_id}, by=by))

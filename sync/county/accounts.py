"""People who may sign in at the county: argon2 hashes, four roles, no default account, locked after five failures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import insert, select, update

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.county.database import Database
from sync.county.schema import accounts

ROLES = ("administrator", "specialist", "auditor", "reviewer")
"""A reviewer looks at numbers only (``pages.NUMBER_READERS``)."""
MOST_FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 200
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")


class AccountRefused(AskPerson):
    """The account cannot be made or changed as asked; the message says why."""

    code = "account_refused"


@dataclass(frozen=True, slots=True)
class Account:
    """:ivar public_key: the specialist's signing key as registered, base64 of 32 bytes Ed25519; None without one
    :ivar stamp: changes when sessions must end; a session with another stamp is over
    """

    id: str
    name: str
    role: str
    stamp: str
    public_key: str | None
    locked_until: datetime | None
    disabled: bool


class Accounts:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._random_bytes = random_bytes
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash(random_bytes(16).hex())

    def add(self, id: str, name: str, role: str, password: str) -> Account:
        """Make an account.

        :raises AccountRefused: id taken or ill-formed, unknown role, weak password
        """
        if not _ID.fullmatch(id):
            raise AccountRefused(f"account id {id[:40]!r}: use 2 to 40 of a-z, 0-9, dot, dash, underscore")
        if role not in ROLES:
            raise AccountRefused(f"role {role[:40]!r} is not known: use one of {', '.join(ROLES)}")
        if not name.strip() or len(name) > 60:
            raise AccountRefused("the name must have 1 to 60 characters")
        if self._row(id) is not None:
            raise AccountRefused(f"account {id} is there already: choose another id")
        row = {
            "id": id,
            "name": name.strip(),
            "role": role,
            "password_hash": self._hash(password),
            "stamp": self._random_bytes(12).hex(),
            "created_at": self._clock.now(),
            "failures": 0,
            "disabled": False,
        }
        with self._database.write() as connection:
            connection.execute(insert(accounts).values(row))
        return self._account({**row, "public_key": None, "locked_until": None})

    def get(self, id: str) -> Account | None:
        row = self._row(id)
        return self._account(row) if row is not None else None

    def all(self) -> list[Account]:
        return [self._account(row) for row in self._database.rows(select(accounts).order_by(accounts.c.id))]

    def verify(self, id: str, password: str) -> Account | None:
        """The account when the password is right; None for a wrong one, an unknown, disabled or locked account.

        The fifth failure in a row locks the account for ``LOCKED_FOR``; ``get(id).locked_until`` says so. An unknown
        account costs the same time as a known one.
        """
        row = self._row(id)
        right = self._matches(row["password_hash"] if row else self._nobody, password[:LONGEST_PASSWORD])
        if row is None or row["disabled"] or self._locked(row):
            return None
        if not right:
            self._count_failure(row)
            return None
        if row["failures"]:
            self._change(id, failures=0, locked_until=None)
        return self._account(row)

    def set_password(self, id: str, password: str) -> None:
        """Also ends all sessions and lifts a lock."""
        self._known(id)
        stamp = self._random_bytes(12).hex()
        self._change(id, password_hash=self._hash(password), stamp=stamp, failures=0, locked_until=None)

    def set_public_key(self, id: str, key: str) -> None:
        """Register the key with which the account signs opinions, as base64 text of at most 200 characters."""
        self._known(id)
        if not key or len(key) > 200:
            raise AccountRefused("the public key must be a text of 1 to 200 characters")
        self._change(id, public_key=key)

    def end_sessions(self, id: str) -> None:
        """A session cookie kept from before is worth nothing any more, in whichever browser."""
        self._change(id, stamp=self._random_bytes(12).hex())

    def disable(self, id: str) -> None:
        """The person has left: no more sign-in, all sessions end. Nothing is deleted."""
        self._known(id)
        self._change(id, disabled=True, stamp=self._random_bytes(12).hex())

    def _known(self, id: str) -> None:
        if self._row(id) is None:
            raise AccountRefused(f"there is no account {id[:40]!r}")

    def _hash(self, password: str) -> str:
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise AccountRefused(f"a password needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
        return self._hasher.hash(password)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    def _locked(self, row: dict[str, Any]) -> bool:
        return row["locked_until"] is not None and self._clock.now() < row["locked_until"]

    def _count_failure(self, row: dict[str, Any]) -> None:
        """In one statement, so that guesses at the same moment all count."""
        with self._database.write() as connection:
            counted = update(accounts).where(accounts.c.id == row["id"]).values(failures=accounts.c.failures + 1)
            failures = connection.execute(counted.returning(accounts.c.failures)).scalar_one()
            if failures >= MOST_FAILURES:
                locked = {"failures": 0, "locked_until": self._clock.now() + LOCKED_FOR}
                connection.execute(update(accounts).where(accounts.c.id == row["id"]).values(**locked))
        if failures >= MOST_FAILURES:
            emit("account_locked", account=row["id"])

    def _change(self, id: str, **columns: Any) -> None:
        with self._database.write() as connection:
            connection.execute(update(accounts).where(accounts.c.id == id).values(**columns))

    def _row(self, id: str) -> dict[str, Any] | None:
        return self._database.row(select(accounts).where(accounts.c.id == id[:40]))

    def _account(self, row: dict[str, Any]) -> Account:
        return Account(
            id=row["id"],
            name=row["name"],
            role=row["role"],
            stamp=row["stamp"],
            public_key=row["public_key"],
            locked_until=row["locked_until"] if self._locked(row) else None,
            disabled=row["disabled"],
        )

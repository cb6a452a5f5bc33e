"""Vehicles that ask to be enrolled, until a person at the county types the code that stands on their touchscreen.

Anybody may ask, so what is kept is bounded in number and in time, and a request changes nothing but its own line. Who
asks has proven by signature that he holds the key; the code, read out over the phone, says that this key is the one of
the van in front of the doctor, and the fingerprint says so once more.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from devices.clock import Clock
from devices.events import emit
from sync.county.database import Database
from sync.county.fleet import EnrolmentRefused, Fleet
from sync.county.schema import enrolments
from sync.formats.notes import VerifierKey
from sync.keys.key_statements import CODE_DIGITS, EnrolmentAsk, code_hash, fingerprint

MOST_WAITING = 200
MOST_OF_ADDRESS = 20
MOST_WRONG_CODES = 5
KEPT_AFTER = timedelta(hours=2)
"""A code that has run out is shown so much longer, so that nobody wonders where the van has gone."""
_MOST_COMPARED = 10
"""A wrong code is compared with those of so many other vans, to say whose it is."""


class TooManyAsk(Exception):
    """Too soon; ask again in ``retry_after_s``."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many vehicles ask at once: ask again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class CodeProblem(StrEnum):
    """Why a code is not taken; the words are in the texts of the fleet page."""

    GONE = "gone"
    EXPIRED = "expired"
    LOCKED = "locked"
    NOT_DIGITS = "not_digits"
    WRONG = "wrong"
    OTHER_VAN = "other_van"
    NOT_COMPARED = "not_compared"


class CodeRefused(EnrolmentRefused):
    """
    :param left: tries before it is locked
    :param other: the vehicle that the code belongs to
    """

    def __init__(self, problem: CodeProblem, left: int = 0, other: str = "") -> None:
        super().__init__(
            f"the code is not taken: {problem.value} {other}".strip(), problem.value, left=left, what=other
        )


@dataclass(frozen=True, slots=True)
class WaitingVehicle:
    """One that asks.

    :ivar id: 64 hex digits that name its key
    :ivar state: "waiting", "locked" or "expired"
    :ivar twin: another key asks for the same origin
    """

    id: str
    origin: str
    vkey: str
    vehicle: str
    plate: str
    succeeds: str | None
    address: str
    asked_at: datetime
    seen_at: datetime
    expires_at: datetime
    state: str
    wrong_codes: int
    twin: bool

    @property
    def fingerprint(self) -> str:
        return fingerprint(VerifierKey.parse(self.vkey))


class Enrolments:
    def __init__(self, database: Database, fleet: Fleet, clock: Clock) -> None:
        self._database = database
        self._fleet = fleet
        self._clock = clock

    # a vehicle asks -------------------------------------------------------------------------------------------------

    def ask(self, asked: EnrolmentAsk, signed_at: datetime, address: str) -> str:
        """Keep a request that was signed by its key; returns one of ``sync.keys.key_statements.ENROLMENT_STATES``.

        The same code again changes nothing. Another code takes the place of the one before when it was signed later, so
        that a request that somebody sends again, from an hour or a second ago, changes nothing either.

        When there is no room, the stalest of another one goes (``_make_room``).
        """
        known = self._fleet.get(asked.origin)
        if known is not None:
            if known.vkey != str(asked.key):
                return "other_key"
            return "enrolled" if known.revoked is None else "revoked"
        now = self._clock.now()
        id = _id(str(asked.key))
        with self._database.write("enrolments") as connection:
            connection.execute(delete(enrolments).where(enrolments.c.expires_at < now - KEPT_AFTER))
            row = connection.execute(select(enrolments).where(enrolments.c.id == id)).mappings().first()
            if row is None:
                self._make_room(connection, address)
                connection.execute(insert(enrolments).values(self._row(id, asked, signed_at, address, now)))
            elif row["code_hash"] != asked.hashed and signed_at > row["signed_at"]:
                fresh = self._row(id, asked, signed_at, address, now)
                connection.execute(update(enrolments).where(enrolments.c.id == id).values(**fresh))
            else:
                connection.execute(update(enrolments).where(enrolments.c.id == id).values(seen_at=now))
                return _state(dict(row), now)
        emit("enrolment_asked", origin=asked.origin)
        return "waiting"

    def _make_room(self, connection: Connection, address: str) -> None:
        """Drop the stalest request where most stand: of this address when it has ``MOST_OF_ADDRESS``, else, when there
        are ``MOST_WAITING``, of the address that has most. So whoever floods the list drops his own, and a van that
        shows its code, and asks every few seconds, stays.
        """
        columns = (enrolments.c.id, enrolments.c.address, enrolments.c.seen_at)
        rows = connection.execute(select(*columns)).all()
        of_address = Counter(row.address for row in rows)
        if of_address[address] >= MOST_OF_ADDRESS:
            crowded = [row for row in rows if row.address == address]
        elif len(rows) >= MOST_WAITING:
            most = max(of_address.values())
            crowded = [row for row in rows if of_address[row.address] == most]
        else:
            return
        stalest = min(crowded, key=lambda row: (row.seen_at, row.id))
        connection.execute(delete(enrolments).where(enrolments.c.id == stalest.id))
        emit("enrolment_dropped", address=stalest.address)

    def _row(self, id: str, asked: EnrolmentAsk, signed_at: datetime, address: str, now: datetime) -> dict[str, Any]:
        said: dict[str, Any] = {"id": id, "origin": asked.origin, "vkey": str(asked.key), "vehicle": asked.vehicle}
        said |= {"plate": asked.plate, "salt": asked.salt, "code_hash": asked.hashed, "succeeds": asked.succeeds}
        times = {"signed_at": signed_at, "asked_at": now, "seen_at": now}
        until = now + timedelta(seconds=asked.valid_s)
        return {**said, **times, "expires_at": until, "failures": 0, "address": address}

    # a person answers -----------------------------------------------------------------------------------------------

    def waiting(self) -> list[WaitingVehicle]:
        """Who asks, those that can still be enrolled first, the newest first."""
        now = self._clock.now()
        rows = self._database.rows(select(enrolments).order_by(enrolments.c.asked_at.desc()))
        keys: dict[str, set[str]] = {}
        for row in rows:
            keys.setdefault(row["origin"], set()).add(row["id"])
        found = [_waiting(row, now, len(keys[row["origin"]]) > 1) for row in rows]
        return sorted(found, key=lambda vehicle: vehicle.state != "waiting")

    def confirm(self, id: str, code: str, compared: bool, by: str) -> str:
        """Enrol the vehicle whose touchscreen shows ``code``; returns its origin.

        :param compared: the person says that the fingerprints are the same
        :raises CodeRefused: and a wrong code is counted
        :raises EnrolmentRefused: the fleet does not take it
        """
        now = self._clock.now()
        row = self._database.row(select(enrolments).where(enrolments.c.id == id[:64]))
        if row is None:
            raise CodeRefused(CodeProblem.GONE)
        state = _state(row, now)
        if state != "waiting":
            raise CodeRefused(CodeProblem(state))
        digits = "".join(letter for letter in code if not letter.isspace() and letter not in "-‐‑–·")
        if len(digits) != CODE_DIGITS or not digits.isascii() or not digits.isdecimal():
            raise CodeRefused(CodeProblem.NOT_DIGITS)
        if not compared:
            raise CodeRefused(CodeProblem.NOT_COMPARED)
        if not self._count_try(row):
            raise CodeRefused(CodeProblem.LOCKED)
        if not _fits(row, digits):
            raise self._wrong(row, digits)
        self._fleet.enrol(row["origin"], row["vkey"], row["vehicle"], row["plate"], row["succeeds"], by)
        with self._database.write() as connection:
            connection.execute(delete(enrolments).where(enrolments.c.id == row["id"]))
        return str(row["origin"])

    def dismiss(self, id: str) -> str:
        """Take a request off the page; the vehicle may ask again. Returns its origin.

        :raises CodeRefused: it is gone already
        """
        with self._database.write() as connection:
            gone = delete(enrolments).where(enrolments.c.id == id[:64]).returning(enrolments.c.origin)
            origin = connection.execute(gone).scalar_one_or_none()
        if origin is None:
            raise CodeRefused(CodeProblem.GONE)
        return str(origin)

    def _count_try(self, row: dict[str, Any]) -> bool:
        """Count before comparing and in one statement, so that tries at the same moment all count."""
        same: ColumnElement[bool] = (enrolments.c.id == row["id"]) & (enrolments.c.code_hash == row["code_hash"])
        free = same & (enrolments.c.failures < MOST_WRONG_CODES)
        with self._database.write() as connection:
            counted = update(enrolments).where(free).values(failures=enrolments.c.failures + 1)
            return bool(connection.execute(counted).rowcount == 1)

    def _wrong(self, row: dict[str, Any], digits: str) -> CodeRefused:
        others = select(enrolments).where(enrolments.c.id != row["id"]).order_by(enrolments.c.asked_at.desc())
        owner = next((o for o in self._database.rows(others.limit(_MOST_COMPARED)) if _fits(o, digits)), None)
        left = max(0, MOST_WRONG_CODES - row["failures"] - 1)
        emit("enrolment_code_refused", origin=row["origin"], reason="wrong" if owner is None else "other_van")
        if owner is not None:
            return CodeRefused(CodeProblem.OTHER_VAN, left, owner["vehicle"])
        return CodeRefused(CodeProblem.WRONG if left else CodeProblem.LOCKED, left)


class AskingRate:
    """At most ``per_minute`` requests of an address, by a leaking bucket; bounded in addresses."""

    MOST_ADDRESSES = 1000

    def __init__(self, clock: Clock, per_minute: int = 120) -> None:
        self._clock, self._per_minute = clock, per_minute
        self._full: dict[str, tuple[float, float]] = {}

    def take(self, address: str) -> None:
        """:raises TooManyAsk: too soon"""
        now_s = self._clock.monotonic_s()
        level, at_s = self._full.pop(address, (0.0, now_s))
        level = max(0.0, level - (now_s - at_s) * self._per_minute / 60)
        full = level + 1 > self._per_minute
        self._full[address] = (level if full else level + 1, now_s)
        while len(self._full) > self.MOST_ADDRESSES:
            self._full.pop(next(iter(self._full)))
        if full:
            raise TooManyAsk(30)


def _id(vkey: str) -> str:
    return sha256(vkey.encode()).hexdigest()


def _fits(row: dict[str, Any], digits: str) -> bool:
    return hmac.compare_digest(code_hash(digits, row["salt"], VerifierKey.parse(row["vkey"])), row["code_hash"])


def _state(row: dict[str, Any], now: datetime) -> str:
    if row["failures"] >= MOST_WRONG_CODES:
        return "locked"
    return "expired" if now >= row["expires_at"] else "waiting"


def _waiting(row: dict[str, Any], now: datetime, twin: bool) -> WaitingVehicle:
    same: Iterable[str] = ("id", "origin", "vkey", "vehicle", "plate", "succeeds", "address")
    times: Iterable[str] = ("asked_at", "seen_at", "expires_at")
    return WaitingVehicle(
        **{name: row[name] for name in (*same, *times)},
        state=_state(row, now),
        wrong_codes=row["failures"],
        twin=twin,
    )

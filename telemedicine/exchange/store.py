"""What the exchange must not forget when it is restarted: cases, opinions on their way, who the specialists are.

The van's journal is the record; this is the exchange's memory of it, so that a specialist can read a case and sign an
opinion while the van is in a tunnel.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, DateTime, MetaData, String, Table, Text, delete, select, update

from sync.county.database import Database
from telemedicine.consultation import State
from telemedicine.opinion import SignedOpinion
from telemedicine.wire import Case, GuestRole, Specialist

TABLES = MetaData()

cases = Table(
    "exchange_cases",
    TABLES,
    Column("consultation", String(80), primary_key=True),
    Column("origin", String(80), nullable=False),
    Column("case_json", Text, nullable=False),
)
opinions = Table(
    "exchange_opinions",
    TABLES,
    Column("consultation", String(80), primary_key=True),
    Column("origin", String(80), nullable=False),
    Column("specialist_json", Text, nullable=False),
    Column("signed_json", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("stored_at", DateTime(timezone=True)),
)
links = Table(
    "exchange_links",
    TABLES,
    Column("token_sha256", String(64), primary_key=True),
    Column("consultation", String(80), nullable=False),
    Column("role", String(20), nullable=False),
    Column("made_by", String(80), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
guests = Table(
    "exchange_guests",
    TABLES,
    Column("consultation", String(80), primary_key=True),
    Column("account", String(80), primary_key=True),
    Column("guest_json", Text, nullable=False),
)
profiles = Table(
    "exchange_specialists",
    TABLES,
    Column("account", String(40), primary_key=True),
    Column("title", String(80), nullable=False),
    Column("institution", String(120), nullable=False),
)


class KeptCase(Case):
    """A case as it is remembered here. A van of an older release, or one that is away, does not say that the session is
    over: ``hung_up`` does, since the specialist said so or the van was heard to."""

    hung_up: bool = False

    @property
    def session_over(self) -> bool:
        return self.hung_up or super().session_over


@dataclass(frozen=True)
class Guest:
    """A specialist who came by a link."""

    specialist: Specialist
    role: GuestRole
    invited_by: str


@dataclass(frozen=True)
class JoinLink:
    consultation: str
    role: GuestRole
    made_by: str
    expires_at: datetime


class ExchangeStore:
    def __init__(self, url: str) -> None:
        self._database = Database(url, TABLES)

    def close(self) -> None:
        self._database.close()

    def put_case(self, case: KeptCase) -> None:
        row = {
            "consultation": case.invitation.consultation,
            "origin": case.invitation.origin,
            "case_json": case.model_dump_json(),
        }
        with self._database.write() as connection:
            self._database.upsert(connection, cases, [row])

    def open_cases(self) -> list[KeptCase]:
        """Cases that were not over when they were last told."""
        known = [KeptCase.model_validate_json(row["case_json"]) for row in self._database.rows(select(cases))]
        return [case for case in known if case.state not in (State.CLOSED, State.CANCELLED)]

    def drop_case(self, consultation: str) -> None:
        with self._database.write() as connection:
            for table in (cases, links, guests):
                connection.execute(delete(table).where(table.c.consultation == consultation))

    def put_link(self, token: str, link: JoinLink, now: datetime) -> None:
        """Keep ``link``, of whose token only the hash is kept; expired ones go."""
        row = {
            "token_sha256": _hash(token),
            "consultation": link.consultation,
            "role": link.role,
            "made_by": link.made_by,
            "expires_at": link.expires_at,
        }
        with self._database.write() as connection:
            connection.execute(delete(links).where(links.c.expires_at < now))
            self._database.upsert(connection, links, [row])

    def link(self, token: str) -> JoinLink | None:
        """The link, expired or not; None when it was never made here or has long been forgotten."""
        row = self._database.row(select(links).where(links.c.token_sha256 == _hash(token)))
        if row is None:
            return None
        expires_at = row["expires_at"]
        if expires_at.tzinfo is None:  # SQLite forgets it
            expires_at = expires_at.replace(tzinfo=UTC)
        return JoinLink(row["consultation"], row["role"], row["made_by"], expires_at)

    def put_guest(self, consultation: str, guest: Guest) -> None:
        told = {"specialist": guest.specialist.model_dump(), "role": guest.role, "invited_by": guest.invited_by}
        row = {
            "consultation": consultation,
            "account": guest.specialist.id,
            "guest_json": json.dumps(told, ensure_ascii=False),
        }
        with self._database.write() as connection:
            self._database.upsert(connection, guests, [row])

    def guests(self, consultation: str) -> dict[str, Guest]:
        """Account -> guest."""
        found = {}
        for row in self._database.rows(select(guests).where(guests.c.consultation == consultation)):
            told = json.loads(row["guest_json"])
            found[row["account"]] = Guest(
                Specialist.model_validate(told["specialist"]), told["role"], told["invited_by"]
            )
        return found

    def put_opinion(self, origin: str, specialist: Specialist, signed: SignedOpinion, at: datetime) -> None:
        """Keep ``signed`` until the van says that it is in its journal; a corrected one replaces it until then."""
        row = {
            "consultation": signed.consultation,
            "origin": origin,
            "specialist_json": specialist.model_dump_json(),
            "signed_json": signed.model_dump_json(),
            "received_at": at,
            "stored_at": None,
        }
        with self._database.write() as connection:
            self._database.upsert(connection, opinions, [row])

    def opinions_for(self, origin: str) -> list[tuple[Specialist, SignedOpinion]]:
        """Opinions that this van has not yet confirmed, oldest first."""
        waiting = select(opinions).where(opinions.c.origin == origin, opinions.c.stored_at.is_(None))
        return [
            (
                Specialist.model_validate_json(row["specialist_json"]),
                SignedOpinion.model_validate_json(row["signed_json"]),
            )
            for row in self._database.rows(waiting.order_by(opinions.c.received_at))
        ]

    def opinion(self, consultation: str) -> tuple[SignedOpinion, bool] | None:
        """The opinion that was signed here and whether the van has it."""
        row = self._database.row(select(opinions).where(opinions.c.consultation == consultation))
        if row is None:
            return None
        return SignedOpinion.model_validate_json(row["signed_json"]), row["stored_at"] is not None

    def opinion_stored(self, consultation: str, signature: str, at: datetime) -> bool:
        """Note the van's confirmation; False when it is about another signature than the one kept."""
        kept = self.opinion(consultation)
        if kept is None or kept[0].signature != signature:
            return False
        with self._database.write() as connection:
            here = opinions.c.consultation == consultation
            connection.execute(update(opinions).where(here).values(stored_at=at))
        return True

    def set_profile(self, account: str, title: str, institution: str) -> None:
        """How a specialist is introduced to the van: professional title and institution."""
        with self._database.write() as connection:
            row = {"account": account, "title": title[:80], "institution": institution[:120]}
            self._database.upsert(connection, profiles, [row])

    def specialist(self, account: str, name: str) -> Specialist:
        row: dict[str, Any] = self._database.row(select(profiles).where(profiles.c.account == account)) or {}
        return Specialist(id=account, name=name, title=row.get("title", ""), institution=row.get("institution", ""))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def opinion_content(signed: SignedOpinion) -> dict[str, Any]:
    """The ``opinion`` object inside the signed text, for showing it again."""
    content: dict[str, Any] = json.loads(signed.signed_text)["opinion"]
    return content

"""Who did what at the county, for the auditor; nobody can switch it off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from devices.clock import Clock
from sync.county.database import Database
from sync.county.schema import audit

UNKNOWN = "unknown"
"""Instead of what was typed: people type their password into the field above it."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """:ivar account: who; ``UNKNOWN`` for a failed sign-in to an account that does not exist
    :ivar outcome: "done" or "refused"
    """

    at: datetime
    account: str
    action: str
    what: str
    outcome: str


class Audit:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def note(self, account: str, action: str, what: str = "", outcome: str = "done") -> None:
        row = {"at": self._clock.now(), "account": account[:100], "action": action, "what": what[:300]}
        with self._database.write() as connection:
            connection.execute(insert(audit).values({**row, "outcome": outcome}))

    def latest(self, count: int = 100) -> list[AuditLine]:
        found = select(audit).order_by(audit.c.id.desc()).limit(count)
        return [
            AuditLine(row["at"], row["account"], row["action"], row["what"], row["outcome"])
            for row in self._database.rows(found)
        ]

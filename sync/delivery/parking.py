"""What the county refused: kept in the database, shown, and sent again only when a person says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from devices.clock import Clock
from devices.events import emit
from sync.delivery.county_client import RecordRefused
from sync.formats.records import format_time, parse_time
from sync.record.store import Store


@dataclass(frozen=True, slots=True)
class Parked:
    """``what``: a lane as a whole ("journal", "recordings", "clips") or one recording ("recording:<sha256>")."""

    what: str
    code: str
    reason: str
    status: int
    at: datetime


class Parking:
    """Survives restarts. Survives everything but ``release``."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def park(self, what: str, refusal: RecordRefused) -> None:
        row = (what, refusal.code, str(refusal), refusal.status, format_time(self._clock.now()))
        known = self.find(what)
        self._store.transact(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO parked (what, code, reason, status, at) VALUES (?, ?, ?, ?, ?)", row
            )
        )
        if known is None or known.reason != str(refusal):
            emit("upload_parked", what=what, reason=refusal.code)

    def find(self, what: str) -> Parked | None:
        found = self._store.read("SELECT what, code, reason, status, at FROM parked WHERE what = ?", (what,))
        return _parked(found[0]) if found else None

    def all(self) -> list[Parked]:
        return [
            _parked(row) for row in self._store.read("SELECT what, code, reason, status, at FROM parked ORDER BY at")
        ]

    def release(self, what: str) -> None:
        """It went through, or a person wants it tried again."""
        if self.find(what):
            self._store.transact(lambda db: db.execute("DELETE FROM parked WHERE what = ?", [what]))


def _parked(row: dict[str, str | int]) -> Parked:
    return Parked(
        str(row["what"]), str(row["code"]), str(row["reason"]), int(row["status"]), parse_time(str(row["at"]))
    )

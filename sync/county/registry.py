"""The county's registry: villages, rules and waivers, every version kept, the latest in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from devices.clock import Clock
from devices.errors import AskPerson
from sync.areas import Village, as_geojson, read_villages
from sync.county.database import Database
from sync.county.schema import registry
from sync.coverage import Rules, end_of_month, month_of
from sync.presence import local_day


class RegistryRefused(AskPerson):
    """The change cannot be made; the message says why."""

    code = "registry_refused"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A village excused for a month."""

    village: str
    month: date
    reason: str
    by: str
    at: datetime


class Registry:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._villages: tuple[int, tuple[Village, ...]] = (0, ())

    def import_villages(self, geojson: Mapping[str, Any], by: str) -> tuple[Village, ...]:
        """A new version of the whole list.

        :raises sync.areas.VillagesRefused: the list cannot be read
        """
        villages = read_villages(geojson)
        self._append("villages", as_geojson(villages), by)
        return villages

    def villages(self) -> tuple[Village, ...]:
        """All villages of the latest version, past and future ones included; ask ``in_force``."""
        latest = self._latest("villages")
        if latest is None:
            return ()
        version, body = latest
        if self._villages[0] != version:
            self._villages = version, read_villages(body())
        return self._villages[1]

    @property
    def villages_version(self) -> int:
        latest = self._latest("villages")
        return latest[0] if latest else 0

    def set_rules(self, rules: Mapping[str, Any], by: str) -> Rules:
        """A new version of the rules; its number is the next one.

        :raises RegistryRefused: an unknown rule or a value out of bounds
        """
        try:
            changed = Rules.from_json({**rules, "version": self.rules().version + 1})
        except (ValueError, TypeError) as fault:
            raise RegistryRefused(str(fault)) from None
        self._append("rules", changed.as_json(), by)
        return changed

    def rules(self) -> Rules:
        """The rules in force: the latest version, else the programme's defaults as version 1."""
        latest = self._latest("rules")
        return Rules.from_json(latest[1]()) if latest else Rules()

    def rules_of(self, month: date) -> Rules:
        """The rules by which a month is judged: the latest made before the month stopped being provisional.

        Rules made later judge later months; they never change one that is settled.
        """
        judged_by = Rules()
        for row in self._database.rows(select(registry).where(registry.c.kind == "rules").order_by(registry.c.id)):
            if local_day(row["at"]) > end_of_month(month) + timedelta(days=judged_by.provisional_days):
                break
            judged_by = Rules.from_json(json.loads(row["body"]))
        return judged_by

    def waive(self, village: str, month: str, reason: str, by: str) -> Waiver:
        """Excuse a village for a month; shown as waived, never as done.

        :raises RegistryRefused: unknown village, bad month, no reason
        """
        try:
            first = month_of(month)
        except ValueError as fault:
            raise RegistryRefused(str(fault)) from None
        if not any(known.code == village for known in self.villages()):
            raise RegistryRefused(f"there is no village with code {village[:20]!r}")
        if not 2 <= len(reason.strip()) <= 200:
            raise RegistryRefused("a waiver needs a reason of 2 to 200 characters")
        body = {"village": village, "month": first.isoformat(), "reason": reason.strip()}
        self._append("waiver", body, by)
        return Waiver(village, first, reason.strip(), by, self._clock.now())

    def waivers(self, month: date) -> dict[str, Waiver]:
        """Waivers of a month by village code; of two, the later."""
        found = {}
        for row in self._database.rows(select(registry).where(registry.c.kind == "waiver").order_by(registry.c.id)):
            body = json.loads(row["body"])
            if body["month"] == month.isoformat():
                found[body["village"]] = Waiver(body["village"], month, body["reason"], row["by"], row["at"])
        return found

    def _append(self, kind: str, body: Mapping[str, Any], by: str) -> None:
        row = {"kind": kind, "at": self._clock.now(), "by": by, "body": json.dumps(body, ensure_ascii=False)}
        with self._database.write() as connection:
            connection.execute(insert(registry).values(row))

    def _latest(self, kind: str) -> tuple[int, Any] | None:
        """Its number and a function that reads its body."""
        newest = select(registry.c.id).where(registry.c.kind == kind).order_by(registry.c.id.desc()).limit(1)
        row = self._database.row(newest)
        if row is None:
            return None
        number: int = row["id"]

        def body() -> Any:
            found = self._database.row(select(registry.c.body).where(registry.c.id == number))
            return json.loads(found["body"]) if found else {}

        return number, body

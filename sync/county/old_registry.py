"""Carries the registry over from the table in which it stood before it was a log; once, while the log is empty."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from sync.county.database import Database, Row
from sync.county.registry import Registry
from sync.county.schema import registry as old_table
from sync.proof.areas import read_villages
from sync.proof.coverage import Rules, month_of
from sync.proof.presence import local_day
from sync.proof.registry_entries import RegistryDraft, RegistryEntry
from sync.proof.registry_state import Change, RegistryState, Waiver, written_change
from sync.proof.village_import import plan_import


def carry_over(database: Database, registry: Registry) -> int:
    """All versions of the rules, all waivers and the list of villages in force, with their times and accounts.

    Returns the number of entries written; 0 when there is nothing old or the log has begun already. The old rows stay.
    """
    rows = database.rows(select(old_table).order_by(old_table.c.id))
    lists = [row for row in rows if row["kind"] == "villages"]
    wanted = [row for row in rows if row["kind"] != "villages" or row is lists[-1]]

    def written(state: RegistryState) -> list[RegistryEntry]:
        entries: list[RegistryEntry] = []
        for row in wanted:
            more = written_change(state, _change(row), row["at"], row["by"])
            state = state.apply(more)
            entries += more
        return entries

    return len(registry.begin(written)) if wanted else 0


def _change(row: Row) -> Change:
    body: dict[str, Any] = json.loads(row["body"])

    def change(state: RegistryState, n: int) -> list[RegistryDraft]:
        match row["kind"]:
            case "villages":
                return plan_import(read_villages(body), state, local_day(row["at"])).drafts(state, n)
            case "rules":
                return [state.change_rules(Rules.from_json(body))]
            case _:
                month = month_of(body["month"][:7])
                return [state.waive(Waiver(body["village"], month, body["reason"], row["by"], row["at"]))]

    return change

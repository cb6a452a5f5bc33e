"""Lists of villages that somebody has uploaded and not confirmed yet: kept while he looks at what would change."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, select

from devices.clock import Clock
from sync.county.database import Database
from sync.county.schema import village_uploads
from sync.proof.areas import VillagesRefused

KEPT = timedelta(days=1)
MOST_KEPT = 20


class VillageUploads:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def keep(self, body: bytes, by: str) -> str:
        """Its id, under which the same person confirms it; the oldest are forgotten.

        :raises VillagesRefused: not JSON
        """
        read(body)
        id, now = sha256(body).hexdigest(), self._clock.now()
        with self._database.write("village uploads") as connection:
            connection.execute(delete(village_uploads).where(village_uploads.c.at < now - KEPT))
            self._database.upsert(connection, village_uploads, [{"id": id, "by": by, "at": now, "body": body}])
            newest = select(village_uploads.c.id).order_by(village_uploads.c.at.desc()).limit(MOST_KEPT)
            connection.execute(delete(village_uploads).where(village_uploads.c.id.not_in(newest.scalar_subquery())))
        return id

    def get(self, id: str, by: str) -> Any | None:
        """The GeoJSON; None when it is not there or another's."""
        mine = (village_uploads.c.id == id) & (village_uploads.c.by == by)
        row = self._database.row(select(village_uploads.c.body).where(mine))
        return read(row["body"]) if row is not None else None

    def forget(self, id: str) -> None:
        with self._database.write("village uploads") as connection:
            connection.execute(delete(village_uploads).where(village_uploads.c.id == id))


def read(body: bytes) -> Any:
    """:raises VillagesRefused: not JSON"""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise VillagesRefused("the file is not JSON: export the villages as GeoJSON (RFC 7946)", "not_json") from None

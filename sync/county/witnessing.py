"""Pushes cosigned checkpoints to the province's witness and keeps its cosignatures.

One checkpoint a log and push, the newest: it covers all entries before. The registry goes first, as the witness knows a
vehicle by its entry there. Each process of the county does this; a log is claimed while it is pushed, so that none is
pushed twice. What the witness contradicts is shown to people and asked again once an hour; nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.concurrency import run_in_threadpool

from devices.clock import Clock
from devices.events import emit
from sync.county.database import Database, unavailable
from sync.county.mirror import Mirror
from sync.county.registry import Registry
from sync.county.schema import checkpoints, logs, witness_logs
from sync.formats.notes import Note, Signature, VerifierKey
from sync.formats.wire import AddCheckpoint
from sync.keys.introduction import Introduction
from sync.proof.registry_entries import is_registry
from sync.witness.client import WitnessClient, WitnessRefused, WitnessUnreachable

CLAIM = timedelta(seconds=90)
"""Longer than one push takes."""
REFUSED_AGAIN = timedelta(hours=1)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
"""Between two rounds while the witness does not answer; doubled each time."""
ROUND_S = 2.0
MOST_IN_ROUND = 200
MOST_ANSWERS = 5
"""Of one push: sizes learnt and introductions made on the way."""


class Contradicted(Exception):
    """The witness has another past of a log than the county."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A log that the witness does not cosign, and why."""

    origin: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class WitnessStatus:
    """:ivar name: of the witness; None when the county has none
    :ivar waiting: logs with a checkpoint that is not witnessed yet
    """

    name: str | None
    witnessed_at: datetime | None = None
    waiting: int = 0
    contradictions: tuple[Contradiction, ...] = ()


class Witnessing:
    """:param client: None when the county has no province witness: then nothing is ever pushed"""

    def __init__(
        self, database: Database, mirror: Mirror, registry: Registry, client: WitnessClient | None, clock: Clock
    ) -> None:
        self._database = database
        self._mirror = mirror
        self._registry = registry
        self._client = client
        self._clock = clock
        self._reachable = True

    @property
    def key(self) -> VerifierKey | None:
        return self._client.key if self._client is not None else None

    async def run(self) -> None:
        """Push for ever; returns at once when there is no witness."""
        pause_s = FIRST_PAUSE_S
        while self._client is not None:
            try:
                await self.push_due()
                pause_s = FIRST_PAUSE_S
                await self._clock.sleep(ROUND_S)
            except (WitnessUnreachable, DBAPIError, NoFreeConnection) as fault:
                if not isinstance(fault, WitnessUnreachable) and not unavailable(fault):
                    raise
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def push_due(self) -> int:
        """Push every log with a newer checkpoint; returns how many were witnessed.

        :raises WitnessUnreachable: the witness does not answer; what was not pushed is pushed next time
        """
        count = 0
        for origin in await run_in_threadpool(self._due):
            if self._client is not None and await run_in_threadpool(self._claim, origin):
                count += await self._push_claimed(self._client, origin)
        return count

    def status(self) -> WitnessStatus:
        if self._client is None:
            return WitnessStatus(None)
        row = self._database.row(select(func.max(witness_logs.c.witnessed_at).label("at")))
        refused = select(witness_logs).where(witness_logs.c.refused_at.is_not(None)).order_by(witness_logs.c.origin)
        return WitnessStatus(
            name=self._client.key.name,
            witnessed_at=row["at"] if row else None,
            waiting=len(self._behind()),
            contradictions=tuple(
                Contradiction(row["origin"], row["reason"], row["refused_at"]) for row in self._database.rows(refused)
            ),
        )

    # one log ----------------------------------------------------------------------------------------------------------

    async def _push_claimed(self, client: WitnessClient, origin: str) -> int:
        outcome: dict[str, Any] = {}
        try:
            size = await self._push(client, origin)
            outcome = {"size": size, "refused_at": None, "reason": None, "witnessed_at": self._clock.now()}
            if not self._reachable:
                self._reachable = True
                emit("witness_reached")
        except (Contradicted, WitnessRefused) as fault:
            outcome = await run_in_threadpool(self._refusal, origin, str(fault))
        except WitnessUnreachable as fault:
            if self._reachable:
                self._reachable = False
                emit("witness_unreachable", reason=str(fault)[:300])
            raise
        finally:
            await run_in_threadpool(self._release, origin, outcome)
        return int("size" in outcome)

    async def _push(self, client: WitnessClient, origin: str) -> int:
        """Follows the witness's answers until it has cosigned the newest checkpoint; returns that one's size."""
        known: int = (await run_in_threadpool(self._row, origin))["size"]
        for _ in range(MOST_ANSWERS):
            size, note = await run_in_threadpool(self._newest, origin)
            if note is None:
                return size
            if known > size:
                raise Contradicted(
                    f"the witness has cosigned {known} entries, the county has {size}: the county's database was set "
                    "back; bring back the newer one, or explain it to the province"
                )
            proof = await run_in_threadpool(self._mirror.consistency, origin, known, size)
            try:
                line = await client.add_checkpoint(AddCheckpoint(known, tuple(proof), note))
            except WitnessRefused as refusal:
                if refusal.status == 409 and refusal.size is not None and refusal.size != known:
                    known = refusal.size
                elif refusal.status in (403, 404) and not is_registry(origin):
                    await self._introduce(client, origin, refusal)
                else:
                    raise
            else:
                await run_in_threadpool(self._keep, origin, size, line)
                return size
        raise WitnessUnreachable("the witness keeps answering otherwise")

    async def _introduce(self, client: WitnessClient, origin: str, refusal: WitnessRefused) -> None:
        """Show the witness what the registry says of a vehicle, unless it has seen that already."""
        place = (await run_in_threadpool(self._registry.state)).index.vehicles.get(origin)
        before = (await run_in_threadpool(self._row, origin))["introduced"]
        if place is None or (refusal.status == 403 and before is not None and before >= place):
            raise refusal
        introduction = await run_in_threadpool(self._introduction, place)
        if introduction is None:
            raise WitnessUnreachable("the registry is not witnessed yet")
        await client.add_log(introduction)
        await run_in_threadpool(self._update, origin, {"introduced": place})

    def _introduction(self, place: int) -> Introduction | None:
        """The entry at ``place`` by the newest checkpoint of the registry that is witnessed and holds it."""
        origin = self._registry.origin
        witnessed = (
            select(checkpoints.c.size, checkpoints.c.note)
            .where(checkpoints.c.origin == origin, checkpoints.c.witnessed_at.is_not(None), checkpoints.c.size > place)
            .order_by(checkpoints.c.size.desc())
            .limit(1)
        )
        row = self._database.row(witnessed)
        if row is None:
            return None
        proof = self._mirror.inclusion(origin, place, row["size"])
        return Introduction(place, tuple(proof), self._registry.entry(place).body, Note.parse(row["note"]))

    # the table --------------------------------------------------------------------------------------------------------

    def _behind(self) -> list[str]:
        newer = logs.outerjoin(witness_logs, logs.c.origin == witness_logs.c.origin)
        found = select(logs.c.origin).select_from(newer)
        size = func.coalesce(witness_logs.c.size, 0)
        rows = self._database.rows(found.where(logs.c.mirror_size > size).order_by(logs.c.origin))
        return [row["origin"] for row in rows]

    def _due(self) -> Iterator[str]:
        """The registry first; those that are claimed or were refused lately not."""
        now = self._clock.now()
        waits = select(witness_logs.c.origin).where(
            or_(witness_logs.c.claimed_until > now, witness_logs.c.next_at > now)
        )
        waiting = {row["origin"] for row in self._database.rows(waits)}
        due = [origin for origin in self._behind() if origin not in waiting]
        return iter(sorted(due, key=lambda origin: not is_registry(origin))[:MOST_IN_ROUND])

    def _claim(self, origin: str) -> bool:
        """Whether it is ours to push: nobody else is at it, or has done it meanwhile."""
        now = self._clock.now()
        with self._database.write(f"witness {origin}") as connection:
            self._database.upsert(connection, witness_logs, [{"origin": origin}])
            free = or_(witness_logs.c.claimed_until.is_(None), witness_logs.c.claimed_until <= now)
            newest = select(logs.c.mirror_size).where(logs.c.origin == origin).scalar_subquery()
            behind = update(witness_logs).where(witness_logs.c.origin == origin, witness_logs.c.size < newest, free)
            claimed = behind.values(claimed_until=now + CLAIM)
            return connection.execute(claimed).rowcount == 1

    def _release(self, origin: str, outcome: dict[str, Any]) -> None:
        self._update(origin, {"claimed_until": None, "next_at": None, **outcome})

    def _refusal(self, origin: str, reason: str) -> dict[str, Any]:
        before, now = self._row(origin), self._clock.now()
        if before["reason"] != reason:
            emit("witness_refused", origin=origin, reason=reason[:300])
        since = before["refused_at"] or now
        return {"refused_at": since, "reason": reason[:300], "next_at": now + REFUSED_AGAIN}

    def _keep(self, origin: str, size: int, line: Signature) -> None:
        self._mirror.keep_cosignature(origin, size, line)
        emit("checkpoint_witnessed", origin=origin, size=size)

    def _row(self, origin: str) -> dict[str, Any]:
        row = self._database.row(select(witness_logs).where(witness_logs.c.origin == origin))
        assert row is not None, "claimed before it is pushed"
        return row

    def _update(self, origin: str, values: dict[str, Any]) -> None:
        with self._database.write(f"witness {origin}") as connection:
            connection.execute(update(witness_logs).where(witness_logs.c.origin == origin).values(values))

    def _newest(self, origin: str) -> tuple[int, Note | None]:
        """The newest cosigned checkpoint that still counts; no note when nothing further does: the key is revoked."""
        size = self._mirror.log(origin).mirror_size
        vehicle = None if is_registry(origin) else self._registry.vehicle(origin)
        if vehicle is not None and vehicle.revoked is not None and vehicle.revoked.size < size:
            return size, None
        note = select(checkpoints.c.note).where(checkpoints.c.origin == origin, checkpoints.c.size == size)
        row = self._database.row(note)
        assert row is not None, "what is cosigned has a checkpoint"
        return size, Note.parse(row["note"])

"""What the clinic's services need from the rest of the van, as protocols: tests and simulated time bring their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from devices.readings import Stamped
from sync.formats.records import Draft


class Journal(Protocol):
    """``sync.record.store.Store``: commits are durable when they return, reads see every commit before."""

    async def commit(self, *drafts: Draft) -> list[Any]: ...

    def commit_now(self, *drafts: Draft) -> list[Any]: ...

    def read(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, Any]]: ...


def marks(params: Sequence[object]) -> str:
    """``?,?,?`` for "IN (...)" of ``Journal.read``."""
    return ",".join("?" * len(params))


class Ids(Protocol):
    """``sync.formats.identifiers.Identifiers``: time-ordered, never twice."""

    def new(self, kind: str) -> str: ...


class Live(Protocol):
    """``vehicle.live.LiveHub``."""

    def send(self, message: dict[str, Any]) -> None: ...


class Soon(Protocol):
    """``vehicle.commits.Commits``: for callbacks that nobody awaits."""

    def soon(self, *drafts: Draft, then: Callable[[], None] | None = None) -> None: ...


class Listenable(Protocol):
    """``vehicle.feed.Feed``, as far as the clinic listens."""

    def on(self, topic: str, listener: Callable[[Stamped], None], name: str = "") -> object: ...


class VisitNow(Protocol):
    """The open visit, as far as the clinic asks."""

    @property
    def visit(self) -> str: ...

    @property
    def village(self) -> str: ...

    @property
    def village_name(self) -> str: ...


class Visits(Protocol):
    """``vehicle.patrol.visits.Visits``."""

    def current(self) -> VisitNow | None: ...

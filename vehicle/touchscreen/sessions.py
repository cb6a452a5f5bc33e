"""Who is signed in at the touchscreen: a signed cookie with an idle limit, and the roles the van knows.

The cookie names the person and a session number; nothing secret is in it. Locking the screen revokes the number, so
that an answer still under way cannot bring the session back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection

from devices.clock import Clock
from sync.web.access import Caller

DOCTORS = ("doctor", "village_doctor")
CLINICAL = (*DOCTORS, "nurse")
CREW = (*CLINICAL, "driver")
LOCAL = "local"
"""The consultation process and the technician's shell, over the Unix socket (file mode 0660 guards it)."""

IDLE_LIMIT = timedelta(minutes=30)
"""Without any touch for this long the cookie is worth nothing; the page itself locks after 10 minutes."""
BACKGROUND = "x-background"
"""Header of requests that a page makes by itself: they do not count as touch."""


class Sessions:
    def __init__(self, people: Callable[[], Iterable[Any]], clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._people = people
        self._clock = clock
        self._random_bytes = random_bytes
        self._seen: dict[str, datetime] = {}
        self._revoked: set[str] = set()

    def begin(self, session: dict[str, Any], person: str) -> None:
        """Sign ``person`` in on this browser; a session that was there before ends."""
        self.end(session)
        number = self._random_bytes(16).hex()
        now = self._clock.now()
        self._seen[number] = now
        session.update(person=person, number=number, seen=now.isoformat())

    def end(self, session: dict[str, Any]) -> None:
        """Sign out: the cookie is emptied and its number refused from now on."""
        number = session.get("number")
        if number is not None:
            self._revoked.add(str(number))
            self._seen.pop(str(number), None)
        session.clear()

    async def identify(self, connection: HTTPConnection) -> Caller | None:
        """The caller: ``local`` over the Unix socket, a member of staff by cookie, else None."""
        if over_unix_socket(connection.scope):
            return Caller(id=LOCAL, role=LOCAL, by_cookie=False)
        session = connection.session
        number, person_id = session.get("number"), session.get("person")
        if number is None or number in self._revoked:
            return None
        now = self._clock.now()
        seen = self._seen.get(number) or datetime.fromisoformat(session["seen"])
        if now - seen > IDLE_LIMIT:
            self.end(session)
            return None
        if BACKGROUND not in connection.headers:
            self._seen[number] = now
            if now - datetime.fromisoformat(session["seen"]) > timedelta(minutes=1):
                session["seen"] = now.isoformat()
        person = next((person for person in self._people() if person.id == person_id), None)
        return None if person is None else Caller(id=person.id, role=str(person.role), name=person.name)


def over_unix_socket(scope: Any) -> bool:
    """Whether a request came over a Unix socket: the server then knows no address of the client (ASGI ``client``)."""
    server = scope.get("server")
    return scope.get("client") is None and server is not None and server[1] is None


def session_secret(keys: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """The key that signs cookies, made once per vehicle and kept in ``keys`` (mode 0600)."""
    path = keys / "session-secret"
    if not path.exists():
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(random_bytes(32).hex(), encoding="ascii")
    return path.read_text(encoding="ascii").strip()

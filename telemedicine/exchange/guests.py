"""Specialists who come into a session by a link: who may, in which role, for how long."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta

from devices.clock import Clock
from telemedicine.exchange.store import ExchangeStore, Guest, JoinLink
from telemedicine.wire import GuestRole, MessageRefused, Specialist

LINK_LASTS = timedelta(hours=2)
MOST_GUESTS = 4
TOKEN_BYTES = 18


class LinkRefused(MessageRefused):
    """The link does not lead into a session; ``reason`` is one of unknown, expired, over, full."""

    code = "link_refused"

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Guests:
    def __init__(self, store: ExchangeStore, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._known: dict[str, dict[str, Guest]] = {}

    def share(self, consultation: str, role: GuestRole, made_by: str) -> tuple[str, JoinLink]:
        """A new link into ``consultation``: its token, which is not kept, and what it allows."""
        token = base64.urlsafe_b64encode(self._random_bytes(TOKEN_BYTES)).decode()
        now = self._clock.now()
        link = JoinLink(consultation, role, made_by, now + LINK_LASTS)
        self._store.put_link(token, link, now)
        return token, link

    def link(self, token: str) -> JoinLink:
        """:raises LinkRefused: never made here, or expired"""
        link = self._store.link(token) if len(token) <= 64 else None
        if link is None:
            raise LinkRefused("unknown", "this link was not made here; ask for a new one")
        if link.expires_at <= self._clock.now():
            raise LinkRefused("expired", "this link has expired; ask for a new one")
        return link

    def admit(self, link: JoinLink, specialist: Specialist) -> None:
        """:raises LinkRefused: there are enough guests already"""
        known = self.of(link.consultation)
        if specialist.id not in known and len(known) >= MOST_GUESTS:
            raise LinkRefused("full", f"a session has at most {MOST_GUESTS} guests")
        guest = Guest(specialist, link.role, link.made_by)
        self._store.put_guest(link.consultation, guest)
        known[specialist.id] = guest

    def of(self, consultation: str) -> dict[str, Guest]:
        """Account -> guest."""
        if consultation not in self._known:
            self._known[consultation] = self._store.guests(consultation)
        return self._known[consultation]

    def forget(self, consultation: str) -> None:
        self._known.pop(consultation, None)

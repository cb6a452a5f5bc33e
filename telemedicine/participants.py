"""Who takes part in a session besides the van: the specialist who accepted, and guests who came by a link.

Each one's first arrival and leaving for good become entries of the vehicle's journal; what a tunnel does to a link in
between is told by the consultation's states.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from telemedicine.vehicle_client import VehicleAway, VehicleRefused
from telemedicine.wire import Role, Specialist

MOST_GUESTS = 4


@dataclass(frozen=True, slots=True)
class Participant:
    specialist: Specialist
    role: Role
    invited_by: str = ""

    @property
    def may_speak(self) -> bool:
        """Talks and points; an observer looks and listens."""
        return self.role != "observer"


Tell = Callable[[str, Participant, bool], Awaitable[None]]
"""Consultation, who, whether here; raises VehicleAway or VehicleRefused."""


class Participants:
    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._admitted: dict[str, Participant] = {}
        self._here: set[str] = set()

    def admit(self, participant: Participant) -> bool:
        """Whether this one may come: False when there are enough guests."""
        account = participant.specialist.id
        guests = [name for name, known in self._admitted.items() if known.role != "lead" and name != account]
        if participant.role != "lead" and len(guests) >= MOST_GUESTS:
            return False
        self._admitted[account] = participant
        return True

    async def arrived(self, consultation: str, account: str) -> None:
        """A page of ``account`` is connected; told once."""
        participant = self._admitted.get(account)
        if participant is None or account in self._here:
            return
        with contextlib.suppress(VehicleAway, VehicleRefused):
            await self._tell(consultation, participant, True)
            self._here.add(account)

    async def left(self, consultation: str, account: str) -> None:
        """``account`` has hung up."""
        participant = self._admitted.get(account)
        if participant is None or account not in self._here:
            return
        with contextlib.suppress(VehicleAway, VehicleRefused):
            await self._tell(consultation, participant, False)
            self._here.discard(account)

    async def all_left(self, consultation: str) -> None:
        for account in sorted(self._here):
            await self.left(consultation, account)

    def forget(self) -> None:
        """Another consultation."""
        self._admitted.clear()
        self._here.clear()

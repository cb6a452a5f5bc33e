"""The SFUs of the settings, while a consultation is live: pictures and voices go there, a stream of theirs comes back.

Each picture is sent from the one encoder that all viewers share, through the one uplink. What an SFU sends is heard by
everybody, and seen on the touchscreen while the specialist's own camera is off. Each SFU that is connected is a
participant by its name, and so an entry of the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiortc import RTCCertificate

from devices.clock import Clock
from telemedicine.media.audio import Line
from telemedicine.media_engine import MediaEngine
from telemedicine.participants import Participant, Tell
from telemedicine.peer import Leg
from telemedicine.settings import FEED_ORDER, IceServer, SfuSettings
from telemedicine.sfu.errors import SfuTokenMissing
from telemedicine.sfu.line import PLAY, Endpoint, SfuLine
from telemedicine.vehicle_client import VehicleAway, VehicleRefused
from telemedicine.wire import Specialist


class Hospital:
    """One SFU. ``follow`` with every look at the consultation.

    :param ice_servers: through whom a connection may go
    :param tell_access: who has come or left, for the journal
    """

    def __init__(
        self,
        settings: SfuSettings,
        engine: MediaEngine,
        certificate: RTCCertificate,
        ice_servers: Callable[[], Awaitable[tuple[IceServer, ...]]],
        tell_access: Tell,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._certificate = certificate
        self._ice_servers = ice_servers
        self._tell_access = tell_access
        self._here = False
        self._voice: Line | None = None
        self._consultation: str | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.participant = Participant(
            Specialist(id=f"sfu/{settings.name}", name=settings.name), "colleague" if settings.play else "observer"
        )
        with_sound = self._endpoints()[:1]
        self._lines = [
            SfuLine(
                endpoint,
                self._token,
                partial(self._leg, endpoint, endpoint in with_sound or not endpoint.publishes),
                self._connected,
                clock,
            )
            for endpoint in self._endpoints()
        ]

    def _endpoints(self) -> list[Endpoint]:
        """Ours first, the ultrasound before the room, as in the uplink."""
        name, publish = self._settings.name, self._settings.publish
        sent = [Endpoint(name, feed, publish[feed]) for feed in reversed(FEED_ORDER) if feed in publish]
        return sent + ([Endpoint(name, PLAY, self._settings.play)] if self._settings.play else [])

    def follow(self, consultation: str | None) -> None:
        """:param consultation: the one that is live, None without"""
        if consultation == self._consultation:
            return
        self._consultation = consultation
        if self._keeping is not None:
            self._keeping.cancel()
        before = self._keeping
        self._keeping = None
        if consultation is not None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep(consultation, before))

    async def close(self) -> None:
        """Leave; when it returns the sessions have been ended there, or the SFU does not answer."""
        leaving = self._keeping
        self.follow(None)
        if leaving is not None:
            await asyncio.wait([leaving])

    def told(self) -> list[dict[str, Any]]:
        return [line.told() for line in self._lines]

    async def _keep(self, consultation: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._voice = self._engine.voices.join(self.participant.specialist.id, self._settings.play is not None)
        try:
            async with asyncio.TaskGroup() as group:
                for line in self._lines:
                    group.create_task(line.keep())
        finally:
            self._voice.stop()
            await self._tell(consultation, False)

    async def _connected(self) -> None:
        if self._consultation is not None:
            await self._tell(self._consultation, True)

    async def _tell(self, consultation: str, here: bool) -> None:
        if here != self._here:
            with contextlib.suppress(VehicleAway, VehicleRefused):
                await self._tell_access(consultation, self.participant, here)
                self._here = here

    async def _leg(self, endpoint: Endpoint, with_sound: bool, on_state: Callable[[Leg, str], None]) -> Leg:
        ladder = self._engine.ladders.get(endpoint.what) if endpoint.what in FEED_ORDER else None
        return Leg(
            f"{self.participant.specialist.id}/{endpoint.what}",
            [None] if endpoint.what == PLAY else [ladder] if ladder is not None else [],
            self._voice if with_sound else None,
            None,
            await self._ice_servers(),
            partial(self._changed, on_state),
            self._engine.uplink,
            partial(self._engine.face.watch, yields=True),
            through_uplink=endpoint.publishes,
            certificate=self._certificate,
            keeps_line=True,
        )

    def _changed(self, on_state: Callable[[Leg, str], None], leg: Leg, state: str) -> None:
        if state == "connected":
            self._engine.viewers.add(leg)
        elif state in ("failed", "closed"):
            self._engine.viewers.discard(leg)
        on_state(leg, state)

    def _token(self) -> str | None:
        """
        :raises SfuTokenMissing: see there
        """
        file: Path | None = self._settings.token
        if file is None:
            return None
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise SfuTokenMissing(f"{file}: {fault}") from None
        if not token or not token.isascii() or any(character.isspace() for character in token):
            raise SfuTokenMissing(f"{file}: it holds no token")
        return token

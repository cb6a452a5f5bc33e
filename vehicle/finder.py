"""Devices that are there and not yet ours, while somebody looks for them.

Ports are watched all the time. While the page "add a device" is open (``look``), the air is overheard too, gpsd is
asked for, and every candidate that is ours to try (``devices.discovery``) is identified, one after the other, once for
each time it appears. A port that is not ours is tried only as what a person says it is (``try_as``). When nobody has
looked for ``LOOKED_FOR_S`` all of it ends. Whatever changes is told by ``changed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from devices.clock import Clock
from devices.discovery import (
    PLUGGED,
    Candidate,
    Port,
    of_advertisement,
    of_local_gpsd,
    of_port,
    of_service,
    unused,
)
from devices.errors import AskPerson, XunzhenError
from devices.identify import Answer, NothingAnswered, identify
from devices.links.tcp_link import CONNECT_WITHIN_S
from devices.serial_ports import Places, watch_ports
from devices.session import DeviceSettings
from vehicle.announce import NetworkDevice

LOOKED_FOR_S = 20.0
"""A page that is open asks every few seconds; it may be slow."""
HEARD_FOR_S = 60.0
"""A meter is awake for seconds after a measurement: it stays on the page that long."""
STEP_S = 1.0
GPSD_PORT = 2947
MOST_HEARD = 50
"""Devices on the air that are kept: a market place is full of them."""


class CandidateGone(AskPerson):
    """It was unplugged, or is on the air no more."""

    code = "candidate_gone"


class Advertised(Protocol):
    @property
    def address(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def services(self) -> tuple[str, ...]: ...


class Radio(Protocol):
    """What is needed of ``devices.links.bluetooth_hub.BluetoothHub``."""

    fault: str | None

    def overheard(self, tell: Callable[[Advertised], None]) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate as the page shows it."""

    candidate: Candidate
    asking: bool = False
    """Its driver talks to it just now."""
    fault: str | None = None
    """Why nothing is known of it, as an error code."""
    since_s: float = 0.0
    """How long it has been there."""


@dataclass(slots=True)
class _Seen:
    since_s: float
    heard_s: float
    candidate: Candidate
    answer: Answer | None = None
    fault: str | None = None
    asked: bool = False


class Finder:
    """
    :param devices: those of the van, which are no candidates
    :param radio: the Bluetooth hub; None: there is none
    :param network: what announces itself, ``vehicle.announce``
    """

    def __init__(
        self,
        devices: Sequence[DeviceSettings],
        clock: Clock,
        radio: Callable[[], Radio | None],
        network: Mapping[str, NetworkDevice],
        changed: Callable[[], None],
        places: Places | None = None,
        gpsd_port: int = GPSD_PORT,
        ask: Callable[..., Awaitable[Answer]] = identify,
    ) -> None:
        self._devices = devices
        self._clock = clock
        self._radio = radio
        self._network = network
        self._changed = changed
        self._places = places
        self._gpsd_port = gpsd_port
        self._ask = ask
        self._seen: dict[str, _Seen] = {}
        self._looked_s = -float("inf")
        self._look_now = asyncio.Event()
        self._asking: str | None = None
        self._one_at_a_time = asyncio.Lock()
        self.ports: list[Port] = []
        """All serial ports and HID devices, in use or not."""
        self.radio_fault: str | None = None

    # for the page ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Somebody has the page open."""
        self._looked_s = self._clock.monotonic_s()
        self._look_now.set()

    @property
    def looking(self) -> bool:
        return self._clock.monotonic_s() - self._looked_s < LOOKED_FOR_S

    def found(self) -> list[Found]:
        """What could be added, the surest first."""
        now_s = self._clock.monotonic_s()
        seen = {key: self._as_answered(one) for key, one in self._seen.items()}
        return [
            Found(one, one.key == self._asking, self._seen[one.key].fault, now_s - self._seen[one.key].since_s)
            for one in unused(seen.values(), self._devices, os.path.realpath)
        ]

    def fresh(self) -> list[Found]:
        """What is plugged in and surely or likely ours, and no device yet: worth a line on the status page."""
        return [one for one in self.found() if one.candidate.transport in PLUGGED and one.candidate.ours]

    def candidate(self, key: str) -> Candidate:
        """:raises CandidateGone: it is not there any more."""
        seen = self._seen.get(key)
        if seen is None:
            raise CandidateGone("it is not there any more: plug it in, or use it once", candidate=key)
        return self._as_answered(seen)

    async def try_as(self, key: str, driver: str) -> Candidate:
        """Ask what a person pointed at, as what they say it is.

        :raises CandidateGone, NothingAnswered, LinkLost: with the port as it was.
        """
        candidate = self.candidate(key)
        await self._identify(self._seen[key], (driver,))
        seen = self._seen.get(key)
        if seen is None:
            raise CandidateGone("it was pulled out meanwhile", candidate=key)
        if seen.answer is None:
            raise NothingAnswered(f"{candidate.address}: no answer as {driver}")
        return self._as_answered(seen)

    # the service ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch for ever; look around while somebody looks."""
        watching = asyncio.create_task(watch_ports(self._clock, self._on_ports, self._places))
        try:
            while True:
                self._look_now.clear()
                waiting = asyncio.ensure_future(self._look_now.wait())
                await asyncio.wait({waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                with self._overhearing():
                    while self.looking:
                        await self._look_around()
                        await self._clock.sleep(STEP_S)
                self._forget(lambda one: one.candidate.transport not in PLUGGED)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _look_around(self) -> None:
        radio = self._radio()
        fault = radio.fault if radio is not None else "bluetooth_off"
        if fault != self.radio_fault:
            self.radio_fault = fault
            self._changed()
        now_s = self._clock.monotonic_s()
        self._forget(lambda one: one.candidate.transport not in PLUGGED and now_s - one.heard_s > HEARD_FOR_S)
        for candidate in await self._services():
            self._see(candidate)
        for seen in list(self._seen.values()):
            if seen.candidate.ours and not seen.asked and self._is_free(seen.candidate):
                await self._identify(seen)

    async def _services(self) -> list[Candidate]:
        announced = (of_service(one.kind, one.name, one.address, one.port) for one in self._network.values())
        found = [candidate for candidate in announced if candidate is not None]
        if await _answers("127.0.0.1", self._gpsd_port):
            found.append(of_local_gpsd(self._gpsd_port))
        return found

    async def _identify(self, seen: _Seen, drivers: tuple[str, ...] = ()) -> None:
        """Never raises for what a port may do; what went wrong stands in ``fault``."""
        async with self._one_at_a_time:
            seen.asked, seen.fault, self._asking = True, None, seen.candidate.key
            self._changed()
            try:
                seen.answer = await self._ask(seen.candidate, self._clock, drivers)
            except XunzhenError as refusal:
                seen.answer, seen.fault = None, refusal.code
            finally:
                self._asking = None
                self._changed()

    @contextlib.contextmanager
    def _overhearing(self) -> Iterator[None]:
        radio = self._radio()
        with radio.overheard(self._on_advertisement) if radio is not None else contextlib.nullcontext():
            yield

    # news -----------------------------------------------------------------------------------------------------------

    def _on_ports(self, ports: list[Port]) -> None:
        self.ports = ports
        tried = (of_port(port) for port in ports)
        candidates = {one.key: one for one in tried if one.ours or one.transport == "serial"}  # no keyboards

        def gone(one: _Seen) -> bool:
            return one.candidate.transport in PLUGGED and candidates.get(one.candidate.key) != one.candidate

        self._forget(gone)
        for candidate in candidates.values():
            self._see(candidate)

    def _on_advertisement(self, said: Advertised) -> None:
        known = self._seen.get(f"bluetooth {said.address}")
        if known is None and sum(one.candidate.transport == "bluetooth" for one in self._seen.values()) >= MOST_HEARD:
            return
        candidate = of_advertisement(said.address, said.name, said.services)
        if candidate is not None:
            self._see(candidate)

    def _see(self, candidate: Candidate) -> None:
        now_s = self._clock.monotonic_s()
        known = self._seen.get(candidate.key)
        if known is None:
            self._seen[candidate.key] = _Seen(now_s, now_s, candidate)
            self._changed()
            return
        known.heard_s = now_s
        if candidate.confidence > known.candidate.confidence:
            known.candidate = candidate
            self._changed()

    def _forget(self, gone: Callable[[_Seen], bool]) -> None:
        before = len(self._seen)
        self._seen = {key: one for key, one in self._seen.items() if not gone(one)}
        if len(self._seen) != before:
            self._changed()

    def _is_free(self, candidate: Candidate) -> bool:
        """No device of ours is there: its session would be in the way."""
        return bool(unused([candidate], self._devices, os.path.realpath))

    @staticmethod
    def _as_answered(seen: _Seen) -> Candidate:
        return seen.answer.told(seen.candidate) if seen.answer is not None else replace(seen.candidate)


async def _answers(host: str, port: int) -> bool:
    """Whether somebody listens there. Only a port number that belongs to gpsd (IANA) is asked for."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

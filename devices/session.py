"""One attached device: open, listen, tick, notice that it is gone, come back. For ever, whatever is pulled out.

A session owns its driver and its link. What the driver says is stamped with device and time and published; its
``DeviceState`` events are completed with the state of the link and the counters.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devices import catalog
from devices.clock import CHINA_TIME, Clock
from devices.driver import DriverContract, GattUse, HidUse, Output, SerialLine, TcpListener, TcpService, Write
from devices.errors import LinkLost
from devices.events import emit
from devices.identity import Identity, identity_of
from devices.links.hid_link import HidLink
from devices.links.link import DeviceLink, SessionEnded
from devices.links.serial_link import PortAbsent, SerialLink
from devices.links.tcp_link import TcpLink, split_address
from devices.links.tcp_listener import TcpListenerLink, host_and_port
from devices.readings import DeviceState, Event, Link, Stamped

TICK_S = 0.1
HEARTBEAT_S = 2.0
FIRST_ANSWER_WITHIN_S = 3.0
BACK_OFF_FIRST_S = 0.2
BACK_OFF_MOST_S = 2.0
BACK_OFF_FACTOR = 1.6
LIVED_S = 2.0
"""A connection that ends sooner is tried again after growing pauses, whoever ended it; but not that of a device which
speaks only when it is used: there that is all it has to say."""
ABSENT_MOST_S = 0.7
"""Whether a path is there costs next to nothing to see: who is plugged in again is back within 2 s."""
MAX_PENDING_WRITES = 32
"""A driver asks for a handful; beyond it the device does not take what is sent and counts as lost."""
GOODBYE_WITHIN_S = 1.0

Publish = Callable[[Stamped], None]
LastSequence = Callable[[str], int | None]
KnownRecordings = Callable[[str], Collection[tuple[str | None, int]]]
"""Device -> what of its memory is kept already: start as it said it, number of values."""
Stored = Callable[[], Awaitable[bool]]
"""Waits until everything published so far is durable; False: it is not, and the device had better keep it."""
LinkKind = Literal["serial", "bluetooth", "tcp", "listen", "hid"]
"""``tcp``: the van calls the device; ``listen``: the device calls the van."""


class DeviceSettings(BaseModel):
    """One ``[[devices]]`` table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Stable: readings are filed under it, e.g. "ecg-1"."""
    driver: str
    link: LinkKind
    port: str = ""
    """For serial and hid: a path that stays, such as /dev/serial/by-path/... or /dev/xunzhen/ecg. For listen: this
    computer's address and a port, such as 192.168.10.1:9100."""
    address: str = ""
    """For Bluetooth and listen: take only this device. For TCP: host, or host:port."""
    title: str = Field(default="", max_length=40)
    """What the crew calls it, where the driver's own title does not tell it from another one."""

    set_clock: bool = False
    """The device's own clock may be set when it is wrong; only for devices that keep results, see
    ``devices.sig_profile``."""

    @property
    def port_is_path(self) -> bool:
        """Whether ``port`` is a file of this computer; for listen it is an address."""
        return bool(self.port) and self.link != "listen"

    @model_validator(mode="after")
    def _complete(self) -> DeviceSettings:
        if self.link in ("serial", "hid") and not self.port:
            raise ValueError(f'device {self.name!r} has link = "{self.link}": name its port')
        if self.link == "tcp":
            split_address(self.address)
        if self.link == "listen":
            host_and_port(self.port)
            if self.address:
                ipaddress.ip_address(self.address)
        if self.driver in catalog.drivers():  # an unknown one is told by open_sessions, with those that exist
            speaks = links_of(self.driver)
            if self.link not in speaks:
                wanted = " or ".join(f'"{link}"' for link in speaks)
                raise ValueError(f"device {self.name!r}: driver {self.driver!r} needs link = {wanted}")
        return self


def links_of(driver_id: str) -> list[LinkKind]:
    """What ``DeviceSettings.link`` may be with this driver.

    :raises DriverUnknown: there is no such driver.
    """
    about = catalog.about(driver_id)
    found: tuple[tuple[LinkKind, bool], ...] = (
        ("serial", bool(about.lines(SerialLine))),
        ("bluetooth", bool(about.lines(GattUse))),
        ("tcp", bool(about.lines(TcpService))),
        ("listen", bool(about.lines(TcpListener))),
        ("hid", bool(about.lines(HidUse))),
    )
    return [link for link, speaks in found if speaks]


class BluetoothLinks(Protocol):
    """What a session needs of ``BluetoothHub``."""

    def link(self, name: str, address: str = "") -> DeviceLink: ...


class DeviceSilent(LinkLost):
    """The port is open and nothing comes: switched off, or the wrong cable."""

    code = "device_silent"


class DeviceUnreadable(LinkLost):
    """Bytes come and no frame among them: another device, or another speed."""

    code = "device_unreadable"


class DeviceSession:
    def __init__(
        self,
        settings: DeviceSettings,
        driver: DriverContract,
        link: DeviceLink,
        publish: Publish,
        clock: Clock,
        last_sequence: LastSequence = lambda device: None,
        random_unit: Callable[[], float] = random.random,
        stored: Stored | None = None,
        known_recordings: KnownRecordings = lambda device: (),
    ) -> None:
        self.settings = settings
        self._driver = driver
        self._link = link
        self._publish = publish
        self._clock = clock
        self._last_sequence = last_sequence
        self._random_unit = random_unit
        self._stored = stored
        self._known_recordings = known_recordings
        self._said = DeviceState(Link.ABSENT)
        self._state: DeviceState | None = None
        self._state_told_s = -math.inf
        self._shown: tuple[DeviceState, Link, str | None] | None = None
        """What the state was last made of: looked at ten times a second, and nearly always the same."""
        self._link_state = Link.ABSENT
        self._fault: str | None = None
        self._attached = False
        self._attached_s = -math.inf
        self._back_off_s = BACK_OFF_FIRST_S
        self._writes: deque[Write] = deque()
        self._written_s = -math.inf

    @property
    def place(self) -> str:
        """Where the device was found: port path or Bluetooth address; empty while it never was."""
        return self._link.place

    @property
    def identity(self) -> Identity | None:
        """What the device said of itself since it was last attached."""
        return identity_of(self._driver)

    @property
    def state(self) -> DeviceState:
        return self._state or DeviceState(Link.ABSENT)

    async def run(self) -> None:
        """Never returns; to end it, cancel it: the device is told to stop and the port is given back."""
        self._tell(Link.ABSENT)
        try:
            while True:
                await self._once()
                await self._back_off()
        finally:
            await self._link.close()

    async def _once(self) -> None:
        """From opening to the end of one connection."""
        try:
            await self._open()
            await self._attend()
        except PortAbsent:
            self._gone(Link.ABSENT, None)
            self._back_off_s = min(self._back_off_s, ABSENT_MOST_S)
        except SessionEnded as reason:
            self._gone(Link.ABSENT, reason)
        except LinkLost as reason:
            self._gone(Link.LOST if self._link_state != Link.ABSENT else Link.ABSENT, reason)
        finally:
            await self._goodbye()

    async def _open(self) -> None:
        """A Bluetooth link waits here for its device, without limit; the state is told meanwhile."""
        opening = asyncio.create_task(self._link.open(self._driver.about.line))
        try:
            while not opening.done():
                await asyncio.wait({opening}, timeout=HEARTBEAT_S)
                if not opening.done():
                    self._fault = self._link.fault
                    self._tell(Link.ABSENT)
            opening.result()
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)

    async def _attend(self) -> None:
        self._writes.clear()
        self._written_s = -math.inf
        self._said = DeviceState(Link.CONNECTING)
        if hasattr(self._driver, "clock_to_set"):
            shown = self._clock.now().astimezone(CHINA_TIME).replace(tzinfo=None)
            self._driver.clock_to_set = shown if self.settings.set_clock else None
        if hasattr(self._driver, "last_sequence"):
            self._driver.last_sequence = self._last_sequence(self.settings.name)
        if hasattr(self._driver, "known_recordings"):
            self._driver.known_recordings = self._known_recordings(self.settings.name)
        self._tell(Link.CONNECTING)
        liveness = _Liveness(self._driver, self._clock.monotonic_s())
        ticked_s = self._clock.monotonic_s()
        if liveness.alive:
            self._attach()
        self._take(self._driver.open())
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_next_write()):
                    await self._listen(liveness, ticked_s + TICK_S)
            now_s = self._clock.monotonic_s()
            if now_s - ticked_s >= TICK_S:
                self._take(self._driver.tick(now_s - ticked_s))
                ticked_s = now_s
                liveness.check(now_s)
                if not self._attached and liveness.alive:
                    self._attach()
                self._tell(Link.CONNECTED if self._attached else Link.CONNECTING)
            await self._send_due()

    async def _listen(self, liveness: _Liveness, until_s: float) -> None:
        """What comes until it is time for a tick, or the driver has something to say: one timer for many chunks."""
        while True:
            channel, chunk = await self._link.receive()
            now_s = self._clock.monotonic_s()
            liveness.heard(now_s)
            self._take(self._driver.feed(chunk, channel))
            if now_s >= until_s or self._writes:
                return

    def _attach(self) -> None:
        self._attached = True
        self._attached_s = self._clock.monotonic_s()
        self._fault = None
        emit("device_attached", device=self.settings.name, driver=self.settings.driver, port=self._link.place)
        self._tell(Link.CONNECTED)

    def _gone(self, link: Link, reason: LinkLost | None) -> None:
        """Take back what the driver had told, and say what is the matter. A good-bye of the device is no loss."""
        hung_up = isinstance(reason, SessionEnded)
        fault = None if hung_up or reason is None or type(reason) is LinkLost else reason.code
        if self._attached:
            self._attached = False
            lived = self._clock.monotonic_s() - self._attached_s >= LIVED_S
            if lived or self._driver.about.speaks_when_used(self.settings.link):
                self._back_off_s = BACK_OFF_FIRST_S
            self._publish_events(self._driver.close().events)
            if not hung_up:
                emit("device_lost", device=self.settings.name, reason=str(reason) if reason else "unplugged")
        if fault is not None and fault != self._fault:
            emit("device_fault", device=self.settings.name, code=fault)
        self._fault = fault
        self._said = DeviceState(link, battery_percent=self._said.battery_percent if hung_up else None)
        self._tell(link)

    async def _goodbye(self) -> None:
        """Stop the stream if anybody still listens, and give the port back. Also when the session is cancelled."""
        if self._attached:
            self._attached = False
            output = self._driver.close()
            self._publish_events(output.events)
            with contextlib.suppress(LinkLost, TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    for write in output.writes:
                        await self._link.write(write)
        await self._link.close()

    async def _back_off(self) -> None:
        """Bounded, with jitter; the state goes on being told."""
        pause_s = self._back_off_s * (0.5 + 0.5 * self._random_unit())
        self._back_off_s = min(self._back_off_s * BACK_OFF_FACTOR, BACK_OFF_MOST_S)
        await self._clock.sleep(pause_s)
        self._tell(self._link_state)

    def _take(self, output: Output) -> None:
        self._publish_events(output.events)
        self._writes.extend(output.writes)
        if len(self._writes) > MAX_PENDING_WRITES:
            raise DeviceSilent("the device does not take what is sent to it")

    def _publish_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, DeviceState):
                self._said = event
                self._tell(self._link_state)
            else:
                self._stamp(event)

    def _until_next_write(self) -> float:
        if not self._writes:
            return TICK_S
        due_s = self._written_s + self._writes[0].after_s
        return min(TICK_S, max(0.0, due_s - self._clock.monotonic_s()))

    async def _send_due(self) -> None:
        while self._writes and self._written_s + self._writes[0].after_s <= self._clock.monotonic_s():
            write = self._writes.popleft()
            if write.after_stored and self._stored is not None and not await self._stored():
                continue  # the device misses our answer and sends it again
            await self._link.write(write)
            self._written_s = self._clock.monotonic_s()

    def _tell(self, link: Link) -> None:
        """Publish the state if it changed, or if it was not told for HEARTBEAT_S."""
        self._link_state = link
        now_s = self._clock.monotonic_s()
        shown, rested = (self._said, link, self._fault), now_s - self._state_told_s < HEARTBEAT_S
        if rested and shown == self._shown:
            return
        self._shown = shown
        state = replace(self._said, link=link, fault=self._fault or self._said.fault, counters={})
        if rested and self._state is not None and state == replace(self._state, counters={}):
            return
        self._state = replace(state, counters=self._driver.counters.as_dict())
        self._state_told_s = now_s
        self._stamp(self._state)

    def _stamp(self, event: Event) -> None:
        self._publish(
            Stamped(
                device=self.settings.name,
                driver=self.settings.driver,
                received_at=self._clock.now(),
                received_mono_s=self._clock.monotonic_s(),
                event=event,
            )
        )


class _Liveness:
    """A device is alive while good frames come; one that speaks only when used is alive while connected."""

    def __init__(self, driver: DriverContract, now_s: float) -> None:
        self._driver = driver
        self._limit_s = driver.about.lost_after_s
        self._frames = driver.counters.frames
        self._frame_s = now_s
        self._heard_s = -math.inf
        self.alive = math.isinf(self._limit_s)

    def heard(self, now_s: float) -> None:
        self._heard_s = now_s

    def check(self, now_s: float) -> None:
        """
        :raises DeviceSilent: nothing came for too long.
        :raises DeviceUnreadable: something came, and no frame.
        """
        self._look(now_s)
        limit_s = self._limit_s if self.alive else max(self._limit_s, FIRST_ANSWER_WITHIN_S)
        if now_s - self._frame_s > limit_s:
            if now_s - self._heard_s <= limit_s:
                raise DeviceUnreadable(f"no readable frame for {limit_s:g} s")
            raise DeviceSilent(f"silent for {limit_s:g} s")

    def _look(self, now_s: float) -> None:
        if self._driver.counters.frames != self._frames:
            self._frames = self._driver.counters.frames
            self._frame_s = now_s
            self.alive = True


def open_sessions(
    devices: Sequence[DeviceSettings],
    publish: Publish,
    clock: Clock,
    hub: BluetoothLinks | None,
    last_sequence: LastSequence = lambda device: None,
    stored: Stored | None = None,
    known_recordings: KnownRecordings = lambda device: (),
) -> list[DeviceSession]:
    """A session for each device; nothing is opened before ``run``. Without a hub Bluetooth devices are left out.

    :param stored: asked before a device is told that it may forget (``Write.after_stored``)
    :raises DriverUnknown: a driver that does not exist.
    """
    sessions = []
    for settings in devices:
        driver = catalog.driver(settings.driver)()
        link = _link(settings, hub)
        if link is not None:
            session = DeviceSession(
                settings,
                driver,
                link,
                publish,
                clock,
                last_sequence,
                stored=stored,
                known_recordings=known_recordings,
            )
            sessions.append(session)
    return sessions


def _link(settings: DeviceSettings, hub: BluetoothLinks | None) -> DeviceLink | None:
    if settings.link == "serial":
        return SerialLink(settings.port)
    if settings.link == "hid":
        return HidLink(settings.port)
    if settings.link == "tcp":
        return TcpLink(settings.address)
    if settings.link == "listen":
        return TcpListenerLink(settings.name, *host_and_port(settings.port), only_from=settings.address)
    return None if hub is None else hub.link(settings.name, settings.address)

"""Which device is on a port: its driver's first frames say it, never a USB number.

The drivers worth trying are tried one after the other, each for a bounded time, on an exclusively opened port whose
settings are put back. What a device measured meanwhile is nobody's and is dropped. Only a driver's own allowed writes
are sent, and only to places that a person pointed at or that are known to be ours (``Candidate.ours``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from devices import catalog
from devices.clock import Clock
from devices.discovery import Candidate, Evidence, identified
from devices.driver import Counters, DriverContract, Output, Write
from devices.errors import AskPerson, LinkLost
from devices.identity import Identity, identity_of
from devices.links.hid_link import HidLink
from devices.links.link import DeviceLink
from devices.links.serial_link import SerialLink
from devices.links.tcp_link import TcpLink

WITHIN_S = 4.0
"""For one driver: the slowest (GNSS, card reader) answer within a second or two."""
FRAMES_NEEDED = 4
SPOILED_MOST = 0.25
"""Of what was heard; at the wrong speed or of another device nearly everything is spoiled."""
NAME_WITHIN_S = 1.5
"""After enough frames: for a device that also tells its model or serial number."""
TICK_S = 0.1
KEPT_BYTES = 48


class NothingAnswered(AskPerson):
    """No driver understood what came, or nothing came."""

    code = "nothing_answered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What answered. ``first_bytes`` are those that made its first frame."""

    driver: str
    identity: Identity | None
    counters: dict[str, int]
    first_bytes: bytes
    seconds: float

    def evidence(self) -> tuple[Evidence, ...]:
        said = [Evidence("said", " ".join(self.identity.told().values()))] if self.identity else []
        return (*said, Evidence("frames", f"{self.counters['frames']}: {self.first_bytes.hex(' ').upper()}"))

    def told(self, candidate: Candidate) -> Candidate:
        return identified(candidate, self.driver, self.identity, *self.evidence())


@dataclass(slots=True)
class _Trial:
    """One driver on one link."""

    driver: DriverContract
    writes: deque[Write] = field(default_factory=deque)
    heard: bytearray = field(default_factory=bytearray)
    first_bytes: bytes = b""
    good_since_s: float | None = None

    def took(self, output: Output) -> None:
        self.writes.extend(output.writes)

    def fed(self, chunk: bytes, channel: str, now_s: float) -> None:
        self.heard += chunk
        before = self.driver.counters.frames
        self.took(self.driver.feed(chunk, channel))
        if not self.first_bytes and self.driver.counters.frames > before:
            self.first_bytes = bytes(self.heard[-KEPT_BYTES:])
        del self.heard[:-KEPT_BYTES]
        if self.good_since_s is None and is_convincing(self.driver.counters):
            self.good_since_s = now_s

    def decided(self, now_s: float) -> bool:
        if self.good_since_s is None:
            return False
        may_say_more = hasattr(self.driver, "identity") and identity_of(self.driver) is None
        return not may_say_more or now_s - self.good_since_s >= NAME_WITHIN_S


def is_convincing(counters: Counters) -> bool:
    """Enough good frames and little else."""
    spoiled = counters.bad_checksums + counters.resyncs
    return counters.frames >= FRAMES_NEEDED and spoiled <= SPOILED_MOST * counters.frames


def link_to(candidate: Candidate) -> DeviceLink:
    """:raises ValueError: a Bluetooth device is asked by its session, at its next advertisement."""
    if candidate.transport == "serial":
        return SerialLink(candidate.address)
    if candidate.transport == "hid":
        return HidLink(candidate.address)
    if candidate.transport == "tcp":
        return TcpLink(candidate.address)
    raise ValueError(f"{candidate.transport} devices are not asked before they are added")


async def identify(
    candidate: Candidate,
    clock: Clock,
    drivers: tuple[str, ...] = (),
    within_s: float = WITHIN_S,
    open_link: Callable[[Candidate], DeviceLink] = link_to,
) -> Answer:
    """The first of the candidate's drivers that understands what comes.

    :param drivers: what a person says that it may be, instead of the candidate's own
    :raises NothingAnswered: none does, or there is none to try.
    :raises LinkLost: the port is held by another program, refused, or gone.
    """
    wanted = drivers or candidate.drivers
    for driver_id in wanted:
        answer = await _ask(candidate, driver_id, clock, within_s, open_link(candidate))
        if answer is not None:
            return answer
    if not wanted:
        raise NothingAnswered(f"{candidate.address}: say what device it is; nothing was sent to it")
    raise NothingAnswered(
        f"{candidate.address}: no answer as {', '.join(wanted)}; switch the device on, or say what it is"
    )


async def _ask(candidate: Candidate, driver_id: str, clock: Clock, within_s: float, link: DeviceLink) -> Answer | None:
    driver = catalog.driver(driver_id)()
    trial = _Trial(driver)
    began_s = clock.monotonic_s()
    with _settings_restored(candidate):
        try:
            await link.open(driver.about.line)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await _converse(trial, link, clock)
        finally:
            await _goodbye(trial, link)
    if trial.good_since_s is None:
        return None
    seconds = clock.monotonic_s() - began_s
    return Answer(driver_id, identity_of(driver), driver.counters.as_dict(), trial.first_bytes, seconds)


async def _converse(trial: _Trial, link: DeviceLink, clock: Clock) -> None:
    """Until it is decided; may go on for ever."""
    trial.took(trial.driver.open())
    ticked_s, sent_s = clock.monotonic_s(), -float("inf")
    while not trial.decided(clock.monotonic_s()):
        while trial.writes and sent_s + trial.writes[0].after_s <= clock.monotonic_s():
            await link.write(trial.writes.popleft())
            sent_s = clock.monotonic_s()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                channel, chunk = await link.receive()
                trial.fed(chunk, channel, clock.monotonic_s())
        now_s = clock.monotonic_s()
        if now_s - ticked_s >= TICK_S:
            trial.took(trial.driver.tick(now_s - ticked_s))
            ticked_s = now_s


async def _goodbye(trial: _Trial, link: DeviceLink) -> None:
    """The stream is stopped, also of a device that did not convince; then the port is given back."""
    with contextlib.suppress(LinkLost, TimeoutError):
        async with asyncio.timeout(1.0):
            for write in trial.driver.close().writes:
                await link.write(write)
    await link.close()


@contextlib.contextmanager
def _settings_restored(candidate: Candidate) -> Iterator[None]:
    """The line settings of a serial port are those of before: it may be another program's."""
    before = _line_settings(candidate.address) if candidate.transport == "serial" else None
    try:
        yield
    finally:
        if before is not None:
            _line_settings(candidate.address, before)


def _line_settings(path: str, put: list[object] | None = None) -> list[object] | None:
    """Read them, or put them; None where there are none (not a terminal, gone)."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if put is not None:
            termios.tcsetattr(descriptor, termios.TCSANOW, put)  # type: ignore[arg-type]
        return list(termios.tcgetattr(descriptor))
    except termios.error:
        return None
    finally:
        os.close(descriptor)

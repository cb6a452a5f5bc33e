"""What went over a wire, kept as JSON lines: recorded from a device, replayed through a driver or as a link.

First line: the head, which says honestly where the bytes come from ("real": recorded by us from a device; "public":
published by others; "simulated": made by us) and what the device's display showed. Then one line a chunk:
``{"t": seconds since the start, "rx": hex}`` from the device, ``"tx"`` to it, with ``"channel"`` for GATT.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TextIO, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.clock import Clock
from devices.driver import DriverContract, Line, Write
from devices.errors import AskPerson, LinkLost
from devices.links.link import DeviceLink, SessionEnded
from devices.readings import Event

TICK_S = 0.1
SETTLING_TICKS = 12
"""After the last byte 1.2 s pass for the driver: held frames and seconds are told."""


class CaptureUnreadable(AskPerson):
    code = "capture_unreadable"


class Head(BaseModel):
    """The first line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["xunzhen-capture/1"] = "xunzhen-capture/1"
    driver: str
    kind: Literal["real", "public", "simulated"]
    device: str
    """Maker, model, firmware as far as known."""
    display: str
    """What the device's own display showed, or was set to show by a simulator."""
    source: str
    """Who recorded it, where it was published, under which licence."""


Hexadecimal = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2})*$")]


class Step(BaseModel):
    """One chunk as it came or went."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    t: float = Field(ge=0)
    rx: Hexadecimal | None = None
    tx: Hexadecimal | None = None
    channel: str = ""

    @property
    def received(self) -> bytes | None:
        return None if self.rx is None else bytes.fromhex(self.rx)


class Capture(BaseModel):
    model_config = ConfigDict(frozen=True)

    head: Head
    steps: tuple[Step, ...]

    @property
    def received(self) -> list[tuple[str, bytes]]:
        """(channel, bytes) of everything that came from the device."""
        return [(step.channel, chunk) for step in self.steps if (chunk := step.received) is not None]


def read_capture(path: Path) -> Capture:
    """
    :raises CaptureUnreadable: no such file, no head, or a line that is none; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise CaptureUnreadable(f"{path}: {fault}") from None
    if not lines:
        raise CaptureUnreadable(f"{path}: empty; a capture begins with its head")
    head = _read_line(Head, path, 1, lines[0])
    steps = tuple(_read_line(Step, path, number, line) for number, line in enumerate(lines[1:], start=2))
    return Capture(head=head, steps=steps)


Model = TypeVar("Model", bound=BaseModel)


def _read_line(model: type[Model], path: Path, number: int, line: str) -> Model:
    try:
        return model.model_validate_json(line)
    except ValidationError as fault:
        wrong = fault.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise CaptureUnreadable(f"{path}, line {number}: {where} {wrong['msg']}") from None


def run_through(driver: DriverContract, capture: Capture) -> list[Event]:
    """The events a driver makes of a capture, ticked at the recorded pace."""
    events = driver.open().events
    now_s = 0.0
    for step in capture.steps:
        while step.t - now_s >= TICK_S:
            now_s += TICK_S
            events += driver.tick(TICK_S).events
        if (chunk := step.received) is not None:
            events += driver.feed(chunk, step.channel).events
    return events + settled(driver)


def settled(driver: DriverContract) -> list[Event]:
    """What a driver still has to say when nothing more comes."""
    return [event for _ in range(SETTLING_TICKS) for event in driver.tick(TICK_S).events]


class CaptureWriter:
    """Writes a capture as it happens, line by line: a cut-off file is still a capture."""

    def __init__(self, file: TextIO, head: Head, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._start_s = clock.monotonic_s()
        self._line(head.model_dump())

    def received(self, channel: str, chunk: bytes) -> None:
        self._chunk("rx", channel, chunk)

    def sent(self, channel: str, chunk: bytes) -> None:
        self._chunk("tx", channel, chunk)

    def _chunk(self, way: str, channel: str, chunk: bytes) -> None:
        at_s = round(self._clock.monotonic_s() - self._start_s, 3)
        self._line({"t": at_s, way: chunk.hex()} | ({"channel": channel} if channel else {}))

    def _line(self, content: dict[str, object]) -> None:
        self._file.write(json.dumps(content, ensure_ascii=False) + "\n")
        self._file.flush()


class RecordingLink:
    """A link that writes down what passes. See ``DeviceLink``."""

    def __init__(self, link: DeviceLink, writer: CaptureWriter) -> None:
        self._link = link
        self._writer = writer

    @property
    def place(self) -> str:
        return self._link.place

    @property
    def fault(self) -> str | None:
        return self._link.fault

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        await self._link.open(line)

    async def receive(self) -> tuple[str, bytes]:
        channel, chunk = await self._link.receive()
        self._writer.received(channel, chunk)
        return channel, chunk

    async def write(self, write: Write) -> None:
        await self._link.write(write)
        self._writer.sent(write.channel, write.payload)

    async def close(self) -> None:
        await self._link.close()


class ReplayLink:
    """A capture as a device: gives out what came, at the recorded pace; then hangs up. What is sent is ignored."""

    def __init__(self, capture: Capture, clock: Clock, name: str = "replay") -> None:
        self._capture = capture
        self._clock = clock
        self._name = name
        self._next = 0
        self._opened_s: float | None = None

    @property
    def place(self) -> str:
        return self._name

    @property
    def fault(self) -> str | None:
        return None

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        self._opened_s = self._clock.monotonic_s()
        self._next = 0

    async def receive(self) -> tuple[str, bytes]:
        if self._opened_s is None:
            raise LinkLost("the replay is not open")
        for step in self._capture.steps[self._next :]:
            wait_s = self._opened_s + step.t - self._clock.monotonic_s()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            self._next += 1
            if (chunk := step.received) is not None:
                return step.channel, chunk
        raise SessionEnded("the capture is over")

    async def write(self, write: Write) -> None:
        if self._opened_s is None:
            raise LinkLost("the replay is not open")

    async def close(self) -> None:
        self._opened_s = None


def write_capture(path: Path, head: Head, steps: Iterable[Step]) -> None:
    """All at once, for captures made from published bytes or by a simulator."""
    lines = [head.model_dump_json(), *(step.model_dump_json(exclude_defaults=True) for step in steps)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

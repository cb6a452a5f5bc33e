"""One printer: opened, asked how it is, printed on, and opened again when it was away. For ever, as a device's session.

``print`` waits as long as it takes: until there is a printer, paper in it, and all of the slip has come out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from devices.clock import Clock
from devices.driver import Line, SerialLine, TcpService, Write
from devices.errors import LinkLost
from devices.events import emit
from devices.links.link import DeviceLink
from devices.links.printer_link import PrinterLink
from devices.links.serial_link import PortAbsent, SerialLink
from devices.links.tcp_link import TcpLink
from devices.printer import Conversation, Outcome

TICK_S = 0.1
AGAIN_AFTER_S = 2.0
RAW_PORT = 9100
"""Where network printers take bytes as they are (JetDirect, RAW)."""


@dataclass(frozen=True, slots=True)
class PrinterState:
    """How the printer is. ``fault``: an error code; None: it can print, as far as it says."""

    attached: bool = False
    fault: str | None = "printer_absent"
    paper_low: bool = False
    two_way: bool | None = None
    """Whether it answers at all; None: not known yet."""
    printing: bool = False


class PrinterSession:
    """
    :param name: what it is called in the log
    :param changed: told after every change of ``state``
    :param answers: see ``Conversation``
    """

    def __init__(
        self,
        name: str,
        link: DeviceLink,
        line: Line,
        clock: Clock,
        changed: Callable[[PrinterState], None] = lambda state: None,
        answers: bool | None = None,
    ) -> None:
        self.state = PrinterState()
        self._name = name
        self._link = link
        self._line = line
        self._clock = clock
        self._changed = changed
        self._answers = answers
        self._conversation: Conversation | None = None
        self._moved = asyncio.Event()
        """Set after every step of the conversation: whoever waits looks again."""

    async def run(self) -> None:
        """Never returns; to end it, cancel it: the port is given back."""
        try:
            while True:
                await self._once()
                await self._clock.sleep(AGAIN_AFTER_S)
        finally:
            await self._link.close()

    async def print(self, payload: bytes) -> Outcome:
        """Print one slip in whole. Waits without limit for printer and paper; safe to cancel, then it may come out.

        A printer that goes away in the middle gets the whole slip again when it is back.
        """
        while True:
            conversation = await self._ready()
            conversation.print(payload)
            self._tell()
            while conversation is self._conversation and conversation.outcome is None:
                await self._next_move()
            if conversation.outcome is not None:
                return conversation.outcome
            emit("slip_interrupted", printer=self._name)

    async def _ready(self) -> Conversation:
        while True:
            if self._conversation is not None and self._conversation.ready:
                return self._conversation
            await self._next_move()

    async def _next_move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def _once(self) -> None:
        """From opening to the end of one connection."""
        try:
            await self._link.open(self._line)
        except LinkLost as reason:
            absent = isinstance(reason, PortAbsent)
            self._say(PrinterState(fault="printer_absent" if absent else reason.code))
            return
        conversation = self._conversation = Conversation(self._answers)
        self._say(PrinterState(attached=True, fault=None))
        emit("device_attached", device=self._name, driver="escpos", port=self._link.place)
        listening = asyncio.create_task(self._listen(conversation), name=f"{self._name} status")
        try:
            await self._talk(conversation, listening)
        except LinkLost as reason:
            emit("device_lost", device=self._name, reason=str(reason))
        finally:
            listening.cancel()
            self._conversation = None
            try:
                await asyncio.gather(listening, return_exceptions=True)
            finally:
                await self._link.close()
                self._say(PrinterState())

    async def _listen(self, conversation: Conversation) -> None:
        while True:
            _, chunk = await self._link.receive()
            conversation.feed(chunk)
            self._tell()

    async def _talk(self, conversation: Conversation, listening: asyncio.Task[None]) -> None:
        """:raises LinkLost: the printer is gone"""
        before_s = self._clock.monotonic_s()
        while not listening.done():
            now_s = self._clock.monotonic_s()
            waiting = conversation.tick(now_s - before_s)
            before_s = now_s
            self._tell()
            if waiting:
                await self._link.write(Write(waiting))
            else:
                await self._clock.sleep(TICK_S)
        listening.result()

    def _tell(self) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        self._say(
            PrinterState(
                attached=True,
                fault=conversation.fault,
                paper_low=bool(conversation.status.paper_low),
                two_way=conversation.two_way,
                printing=conversation.busy,
            )
        )

    def _say(self, state: PrinterState) -> None:
        self._moved.set()
        if state != self.state:
            if state.fault is not None and state.fault != self.state.fault:
                emit("device_fault", device=self._name, code=state.fault)
            self.state = state
            self._changed(state)


def printer_link(
    kind: Literal["serial", "usb", "tcp"], port: str, address: str, baud_rate: int
) -> tuple[DeviceLink, Line]:
    """The link of a printer and what to open it with."""
    if kind == "tcp":
        return TcpLink(address), TcpService(RAW_PORT)
    line = SerialLine(baud_rate, dtr=True, rts=True)
    return (PrinterLink(port) if kind == "usb" else SerialLink(port)), line

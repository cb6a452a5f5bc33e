"""A printer session over a serial port and over the kernel's USB printer device, both on a pseudo-terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from devices import escpos
from devices.clock import SystemClock
from devices.driver import Write
from devices.errors import LinkLost
from devices.links.printer_link import PrinterLink
from devices.links.serial_link import PortAbsent, PortBusy
from devices.printer import Outcome
from devices.printer_session import PrinterSession, printer_link
from devices.simulators.escpos_printer import EscPosPrinterTwin
from devices.simulators.pty_port import PtyPort

WITHIN_S = 30.0
SLIP = escpos.INITIALISE + escpos.text("血压 168/98") + escpos.LINE_FEED * 3 + escpos.cut()
LINKS = ("serial", "usb")


@asynccontextmanager
async def printer(folder: Path, kind: Literal["serial", "usb"]) -> AsyncIterator[tuple[PtyPort, PrinterSession]]:
    clock = SystemClock()
    port = PtyPort(folder / "printer", EscPosPrinterTwin(), clock)
    link, line = printer_link(kind, str(port.path), "", 115200)
    session = PrinterSession("slip-printer", link, line, clock)
    running = asyncio.create_task(session.run())
    try:
        yield port, session
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        port.detach()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - a printer far away tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", LINKS)
async def test_a_slip_goes_out_and_its_end_comes_back(tmp_path: Path, kind: Literal["serial", "usb"]) -> None:
    async with printer(tmp_path, kind) as (port, session), asyncio.timeout(WITHIN_S):
        await until(lambda: session.state.fault == "printer_absent")
        printing = asyncio.create_task(session.print(SLIP))
        port.attach()
        assert await printing is Outcome.PRINTED
        assert isinstance(port.twin, EscPosPrinterTwin)
        assert [slip.text.strip() for slip in port.twin.slips] == ["血压 168/98"]
        assert session.state.two_way
        port.twin.cover_open = True
        await until(lambda: session.state.fault == "printer_cover_open")
        port.twin.cover_open, port.twin.paper_low = False, True
        await until(lambda: session.state.fault is None and session.state.paper_low)
        port.detach()
        await until(lambda: session.state.fault == "printer_absent" and not session.state.attached)
        port.attach()
        assert await session.print(SLIP) is Outcome.PRINTED
        assert len(port.twin.slips) == 2


async def test_a_usb_printer_that_is_not_there_or_held_is_told_apart(tmp_path: Path) -> None:
    port = PtyPort(tmp_path / "printer", EscPosPrinterTwin(), SystemClock())
    first, second = PrinterLink(str(port.path)), PrinterLink(str(port.path))
    _, line = printer_link("usb", str(port.path), "", 9600)
    with pytest.raises(PortAbsent):
        await first.open(line)
    with pytest.raises(LinkLost):
        await first.write(Write(b"x"))
    port.attach()
    try:
        await first.open(line)
        with pytest.raises(PortBusy):
            await second.open(line)
        assert second.fault == "port_busy"
        await first.close()
        await second.open(line)
    finally:
        await first.close()
        await second.close()
        port.detach()

"""Printing in the van, put together: the printer, the slips that wait for it, what stands on them, and A4 sheets."""

from __future__ import annotations

import asyncio

from devices.clock import Clock
from devices.printer_session import PrinterSession, PrinterState, printer_link
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.printing.print_queue import PrintQueue
from vehicle.printing.settings import PrinterSettings
from vehicle.printing.sheets import Sheets
from vehicle.printing.slip_contents import Letterhead, SlipContents

NAME = "slip-printer"
"""In the log."""
_ANSWERS = {"auto": None, "yes": True, "no": False}
QUIET_FAULTS = ("printer_absent", "printer_silent")
"""A printer on a battery is off between uses: said only while something waits for it."""


class Printing:
    def __init__(
        self,
        settings: PrinterSettings,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        case: CaseNotes,
        letterhead: Letterhead,
        origin: str,
    ) -> None:
        self.session = self._session(settings, clock)
        send = self.session.print if self.session else None
        self.queue = PrintQueue(store, ids, live, origin, settings.habits, send)
        self.contents = SlipContents(store, case, letterhead)
        self.sheets = Sheets(store, case, self.contents, origin)

    def _session(self, settings: PrinterSettings, clock: Clock) -> PrinterSession | None:
        if settings.link == "none":
            return None
        link, line = printer_link(settings.link, settings.port, settings.address, settings.baud_rate)
        answers = _ANSWERS[settings.answers]
        return PrinterSession(NAME, link, line, clock, lambda state: self.queue.tell(), answers)

    @property
    def state(self) -> PrinterState | None:
        """How the printer is; None: this van has none."""
        return self.session.state if self.session else None

    @property
    def fault(self) -> str | None:
        """The code of what somebody should do about the printer now."""
        state = self.state
        if state is None or state.fault is None:
            return None
        return state.fault if state.fault not in QUIET_FAULTS or self.queue.waiting() else None

    async def run(self) -> None:
        """The printer's session and its queue; returns at once where there is no printer."""
        if self.session is None:
            return
        async with asyncio.TaskGroup() as running:
            running.create_task(self.session.run(), name=f"{NAME} session")
            running.create_task(self.queue.run(), name=f"{NAME} queue")

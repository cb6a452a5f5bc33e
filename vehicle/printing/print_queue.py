"""Slips on their way to paper: each an entry with its words, kept until it has come out or somebody throws it away.

The journal is the queue: a slip that waits for paper waits through a restart too. Printed one after the other, oldest
first; what did not come out in whole is printed again in whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.errors import AskPerson
from devices.printer import Outcome
from sync.formats import slips
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from sync.formats.slips import Slip, SlipUnreadable
from sync.web.catalog import texts
from vehicle.clinic.encounters import EncounterView
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.printing import slip_paper
from vehicle.printing.slip_paper import PaperItem, PrinterHabits

WAITING, PRINTED, SENT, DISCARDED, MADE = "waiting", "printed", "sent", "discarded", "made"
PRINTER, PDF, PAPER = "printer", "pdf", "paper"
"""Destinations: the slip printer, a file, the A4 printer (``vehicle.printing.paper_queue``)."""
_COLUMNS = "print, patient, encounter, form, destination, state, reference, content_json, asked_at, asked_by, reason"


class PrintGone(AskPerson):
    """The slip is not waiting any more: printed, or thrown away by somebody else."""

    code = "print_gone"


class NoPrinter(AskPerson):
    """The settings name no slip printer."""

    code = "no_printer"


@dataclass(frozen=True, slots=True)
class PrintView:
    print: str
    patient: str | None
    encounter: str | None
    form: str
    destination: str
    state: str
    reference: str
    content: dict[str, Any]
    asked_at: datetime
    asked_by: str
    reason: str

    @property
    def slip(self) -> Slip:
        """:raises SlipUnreadable: written by a newer version"""
        return slips.slip_of(self.content)

    @property
    def genuine(self) -> bool:
        """Whether the reference is that of this content."""
        return slips.reference(self.print, self.content) == self.reference


class PrintQueue:
    """
    :param origin: of the journal, stands in the QR code
    :param send: prints one slip and says how it ended; waits as long as it takes. None: there is no printer
    """

    def __init__(
        self,
        store: Journal,
        ids: Ids,
        live: Live,
        origin: str,
        habits: PrinterHabits,
        send: Callable[[bytes], Awaitable[Outcome]] | None,
    ) -> None:
        self._store = store
        self._ids = ids
        self._live = live
        self._origin = origin
        self._send = send
        self.habits = habits
        self._arrived = asyncio.Event()
        self._discarded = asyncio.Event()
        self._at: str | None = None
        """The slip that is being printed."""
        self._out: dict[str, str] = {}
        """Prints that came out, and how, while the journal does not take it yet: they come out once."""

    # what there is

    def waiting(self) -> list[PrintView]:
        """Slips that have not come out, oldest first."""
        return self._views("destination = ? AND state = ? ORDER BY print", PRINTER, WAITING)

    def of_encounter(self, encounter: str) -> list[PrintView]:
        """Everything that was printed or made of one encounter, newest first."""
        return self._views("encounter = ? ORDER BY print DESC", encounter)

    def get(self, print_id: str) -> PrintView:
        """:raises PrintGone: there is no such print"""
        found = self._views("print = ?", print_id)
        if not found:
            raise PrintGone("there is no such print: look at the list again")
        return found[0]

    def by_reference(self, reference: str) -> PrintView | None:
        """The print whose number stands on a paper, as typed: small letters and spaces do not matter."""
        wanted = "".join(reference.split()).upper()
        found = self._views("reference = ? ORDER BY print DESC LIMIT 1", wanted)
        return found[0] if found else None

    def lay_out(self, slip: Slip, slip_reference: str = "", paper_mm: int | None = None) -> list[PaperItem]:
        """The lines of a slip as this van prints it; without a reference as it will look, before it is kept."""
        t = texts(slip.language)
        number = f"{slip_reference[:4]} {slip_reference[4:]}"
        mark = t("slip.number", number=number) if slip_reference else t("slip.number_later")
        code = slips.qr_text(self._origin, slip_reference)
        return slip_paper.lay_out(slip, mark, code, paper_mm or self.habits.paper_mm)

    # what is done

    async def print(self, form: str, slip: Slip, encounter: EncounterView, by: str) -> PrintView:
        """Keep a slip for the printer; durable when this returns.

        :raises NoPrinter: this van has none
        """
        if self._send is None:
            raise NoPrinter("this van has no slip printer: take the PDF, or read it from the screen")
        view = await self._keep(form, PRINTER, WAITING, slip.as_json(), encounter, by)
        self._arrived.set()
        self.tell()
        return view

    async def made(self, form: str, content: dict[str, Json], encounter: EncounterView, by: str) -> PrintView:
        """Note that a sheet was made as PDF, with what stands in it."""
        return await self._keep(form, PDF, MADE, content, encounter, by)

    async def discard(self, print_id: str, by: str) -> None:
        """Throw a waiting slip away; it stays in the record as discarded.

        :raises PrintGone: it is not waiting any more
        """
        if self.get(print_id).state != WAITING:
            raise PrintGone("this slip is not waiting any more")
        await self._end(print_id, DISCARDED, by=by)
        if print_id == self._at:
            self._discarded.set()

    async def run(self) -> None:
        """Print what waits, for ever."""
        while True:
            self._arrived.clear()
            for view in self.waiting():
                await self._one(view)
            await self._arrived.wait()

    async def _one(self, view: PrintView) -> None:
        """Until it has come out, or was thrown away while it waited."""
        assert self._send is not None
        if self.get(view.print).state != WAITING:
            return  # thrown away before its turn
        if view.print in self._out:
            await self._came_out(view)
            return
        try:
            sent = slip_paper.payload(self.lay_out(view.slip, view.reference), self.habits)
        except SlipUnreadable as fault:
            await self._end(view.print, DISCARDED, str(fault))
            return
        self._at = view.print
        self._discarded.clear()
        printing = asyncio.ensure_future(self._send(sent))
        discarded = asyncio.ensure_future(self._discarded.wait())
        try:
            await asyncio.wait({printing, discarded}, return_when=asyncio.FIRST_COMPLETED)
            if printing.done() and self.get(view.print).state == WAITING:
                self._out[view.print] = str(printing.result())
                await self._came_out(view)
        finally:
            self._at = None
            printing.cancel()
            discarded.cancel()

    async def _came_out(self, view: PrintView) -> None:
        await self._end(view.print, self._out[view.print])
        del self._out[view.print]

    async def _keep(
        self, form: str, destination: str, state: str, content: dict[str, Json], encounter: EncounterView, by: str
    ) -> PrintView:
        print_id = self._ids.new("print")
        fields: dict[str, Json] = {
            "print": print_id,
            "patient": encounter.patient.patient,
            "form": form,
            "destination": destination,
            "state": state,
            "reference": slips.reference(print_id, content),
            "content": content,
        }
        await self._store.commit(
            Draft("print/1", fields, by=by, visit=encounter.visit, encounter=encounter.encounter),
        )
        return self.get(print_id)

    async def _end(self, print_id: str, state: str, reason: str = "", by: str | None = None) -> None:
        fields: dict[str, Json] = {"print": print_id, "state": state}
        if reason:
            fields["reason"] = reason
        await self._store.commit(Draft("print_changed/1", fields, by=by))
        self.tell()

    def tell(self) -> None:
        """Slips or printer changed: pages that show them look again."""
        self._live.send({"type": "printer"})

    def _views(self, where: str, *parameters: str) -> list[PrintView]:
        rows = self._store.read(f"SELECT {_COLUMNS} FROM prints WHERE asked_at IS NOT NULL AND {where}", parameters)
        return [
            PrintView(
                print=row["print"],
                patient=row["patient"],
                encounter=row["encounter"],
                form=row["form"],
                destination=row["destination"],
                state=row["state"],
                reference=row["reference"],
                content=json.loads(row["content_json"]),
                asked_at=parse_time(row["asked_at"]),
                asked_by=row["asked_by"] or "",
                reason=row["reason"] or "",
            )
            for row in rows
        ]

"""A4 sheets on their way to the printer: each an entry, its PDF on the disk until it has come out or is thrown away.

One after the other, oldest first, through "no paper", "switched off" and a restart of the van; what broke off is
printed again in whole. The PDF is written before its entry, so an entry never waits for a file that is not there.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats import slips
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from sync.record.durable_file import write_durably
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.printing.paper_printer import PaperPrinter, PrintTrouble
from vehicle.printing.print_queue import DISCARDED, PAPER, PRINTED, WAITING, PrintGone

AGAIN_AFTER_S = 15.0
LARGEST_PDF_BYTES = 30_000_000
PDF_BEGINS = b"%PDF-"


class NotPrintable(AskPerson):
    """No PDF, or one too large to be printed here."""

    code = "not_printable"


class NoPaperPrinter(AskPerson):
    """The settings name no A4 printer."""

    code = "no_paper_printer"


@dataclass(frozen=True, slots=True)
class PaperView:
    print: str
    title: str
    asked_at: datetime
    asked_by: str


class PaperQueue:
    """
    :param address: of the printer; empty: there is none
    :param folder: where PDFs wait
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._folder, self._store, self._ids, self._clock, self._live = folder, store, ids, clock, live
        self.printer = PaperPrinter(address, clock, self._say, transport) if address else None
        self.fault: str | None = None
        """Code of what keeps sheets from coming out."""
        self._arrived = asyncio.Event()
        self._discarded = asyncio.Event()
        self._at: str | None = None
        self._out: set[str] = set()
        """Sheets that came out, while the journal does not take it yet: they come out once."""

    def waiting(self) -> list[PaperView]:
        """Sheets that have not come out, oldest first."""
        rows = self._store.read(
            "SELECT print, content_json, asked_at, asked_by FROM prints "
            "WHERE destination = ? AND state = ? AND asked_at IS NOT NULL ORDER BY print",
            (PAPER, WAITING),
        )
        return [
            PaperView(row["print"], _title(row["content_json"]), parse_time(row["asked_at"]), row["asked_by"] or "")
            for row in rows
        ]

    async def add(self, pdf: bytes, form: str, title: str, by: str) -> str:
        """Keep a sheet for the printer; durable when this returns, with its name.

        :param form: a word for what it is; ``title``: how people know it
        :raises NotPrintable, NoPaperPrinter: nothing is kept
        """
        if self.printer is None:
            raise NoPaperPrinter("the settings name no A4 printer: [paper_printer]")
        if not pdf.startswith(PDF_BEGINS) or len(pdf) > LARGEST_PDF_BYTES:
            raise NotPrintable("this is no PDF that can be printed here")
        name = self._ids.new("print")
        await asyncio.to_thread(write_durably, self._file(name), pdf)
        content: dict[str, Json] = {"title": title, "bytes": len(pdf)}
        fields: dict[str, Json] = {
            "print": name,
            "form": form,
            "destination": PAPER,
            "state": WAITING,
            "reference": slips.reference(name, content),
            "content": content,
        }
        await self._store.commit(Draft("print/1", fields, by=by))
        self._arrived.set()
        self._tell()
        return name

    async def discard(self, name: str, by: str) -> None:
        """Throw a waiting sheet away, also one that is being printed.

        :raises PrintGone: it is not waiting any more
        """
        if all(view.print != name for view in self.waiting()):
            raise PrintGone("this sheet is not waiting any more")
        await self._end(name, DISCARDED, by=by)
        if name == self._at:
            self._discarded.set()

    async def run(self) -> None:
        """Print what waits, for ever; what is left over of a broken-off ``add`` goes."""
        await asyncio.to_thread(self._clear_up, {view.print for view in self.waiting()})
        while True:
            self._arrived.clear()
            for view in self.waiting():
                await self._one(view)
            if not self.waiting():
                await self._arrived.wait()

    async def _one(self, view: PaperView) -> None:
        """Until it has come out or was thrown away; in trouble again after a while."""
        if view not in self.waiting():
            return  # thrown away meanwhile
        if view.print in self._out:
            await self._came_out(view)
            return
        try:
            pdf = await asyncio.to_thread(self._file(view.print).read_bytes)
        except OSError as fault:
            await self._end(view.print, DISCARDED, f"its file cannot be read: {fault.strerror}")
            return
        self._at = view.print
        self._discarded.clear()
        printing = asyncio.ensure_future(self._until_out(pdf, view.title))
        discarded = asyncio.ensure_future(self._discarded.wait())
        try:
            await asyncio.wait({printing, discarded}, return_when=asyncio.FIRST_COMPLETED)
            if printing.done() and not self._discarded.is_set():
                printing.result()
                self._out.add(view.print)
                await self._came_out(view)
        finally:
            self._at = None
            discarded.cancel()
            printing.cancel()
            await asyncio.gather(printing, return_exceptions=True)

    async def _came_out(self, view: PaperView) -> None:
        await self._end(view.print, PRINTED)
        self._out.discard(view.print)

    async def _until_out(self, pdf: bytes, title: str) -> None:
        assert self.printer is not None
        while True:
            try:
                await self.printer.print(pdf, title)
            except PrintTrouble as trouble:
                self._say(trouble.code)
                await self._clock.sleep(AGAIN_AFTER_S)
            else:
                self._say(None)
                return

    async def _end(self, name: str, state: str, reason: str = "", by: str | None = None) -> None:
        fields: dict[str, Json] = {"print": name, "state": state}
        if reason:
            fields["reason"] = reason
        await self._store.commit(Draft("print_changed/1", fields, by=by))
        await asyncio.to_thread(self._file(name).unlink, missing_ok=True)
        if not self.waiting():
            self.fault = None  # nobody waits for it
        self._tell()

    def _say(self, fault: str | None) -> None:
        if fault != self.fault:
            self.fault = fault
            self._tell()

    def _tell(self) -> None:
        self._live.send({"type": "printer"})

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.pdf"

    def _clear_up(self, wanted: set[str]) -> None:
        for file in self._folder.glob("*.pdf"):
            if file.stem not in wanted:
                file.unlink(missing_ok=True)


def _title(content_json: str) -> str:
    return str(json.loads(content_json).get("title", ""))

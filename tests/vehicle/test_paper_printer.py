"""A4: the printer's protocol, sheets that wait through everything, a real CUPS, and the touchscreen's way there."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cups_server import cups, free_port, installed
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from touch_bench import CARD, PIN, Bench, settings_in

from devices.clock import SimulatedClock, SystemClock
from sync.formats.identifiers import Identifiers
from sync.formats.records import Draft, Entry
from sync.record.database import DiskFull
from tests.vehicle.clinic_world import counting_bytes, open_store
from vehicle.printing import ipp
from vehicle.printing.paper_printer import PaperPrinter, PrintTrouble, fault_of, http_address
from vehicle.printing.paper_queue import NoPaperPrinter, NotPrintable, PaperQueue
from vehicle.printing.print_queue import PrintGone
from vehicle.touchscreen.app import create_touchscreen

PDF = b"%PDF-1.7\nsheet\n%%EOF\n"
ADDRESS = "ipp://printer.van/ipp/print"
WITHIN_S = 60.0
CUPS_WITHIN_S = 180.0
"""The socket backend of CUPS tries again after 5, 10, 15 ... 30 s."""


class Live:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


def said(status: int, *groups: tuple[int, dict[str, list[int | str | bool]]]) -> bytes:
    """An answer as a printer writes it."""
    written = struct.pack(">HHI", 0x0200, status, 1)
    for group, attributes in groups:
        written += bytes([group])
        for name, values in attributes.items():
            for place, value in enumerate(values):
                tag = 0x22 if isinstance(value, bool) else 0x23 if isinstance(value, int) else 0x44
                body = (
                    bytes([value])
                    if isinstance(value, bool)
                    else struct.pack(">i", value)
                    if isinstance(value, int)
                    else value.encode()
                )
                key = name.encode() if place == 0 else b""
                written += bytes([tag]) + struct.pack(">H", len(key)) + key + struct.pack(">H", len(body)) + body
    return written + b"\x03"


class Printer:
    """An IPP printer with knobs, on the far side of an HTTP client."""

    def __init__(self) -> None:
        self.reasons: list[int | str | bool] = ["none"]
        self.formats: list[int | str | bool] = ["application/pdf", "image/pwg-raster"]
        self.here = True
        self.ends = 9
        self.jobs: list[bytes] = []
        self.cancelled: list[int] = []
        self.forgets = asyncio.Event()
        self.forgets.set()
        self.changed = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.here:
            raise httpx.ConnectError("no route")
        assert str(request.url) == "http://printer.van:631/ipp/print"
        asked = await request.aread()
        (operation,) = struct.unpack_from(">H", asked, 2)
        if operation == ipp.GET_PRINTER:
            state = {"printer-state": [3], "printer-state-reasons": self.reasons}
            can = {"document-format-supported": self.formats, "print-scaling-supported": ["auto", "none"]}
            answer = said(0, (4, {**state, **can, "printer-is-accepting-jobs": [True]}))
        elif operation == ipp.PRINT_JOB:
            self.jobs.append(asked)
            answer = said(0, (2, {"job-id": [len(self.jobs)]}))
        elif operation == ipp.GET_JOB:
            out = self.reasons == ["none"]
            answer = said(0, (2, {"job-state": [self.ends if out else 5]}))
        else:
            self.cancelled.append(len(self.jobs))
            await self.forgets.wait()
            answer = said(0)
        self.changed.set()
        return httpx.Response(200, content=answer)


# the protocol


def test_a_print_job_says_the_printer_first_keeps_the_scale_and_ends_with_the_pdf() -> None:
    message = ipp.print_job(ADDRESS, PDF, "ecg.pdf", "xunzhen", scaling=True, media=True)
    assert message[:8] == b"\x02\x00\x00\x02\x00\x00\x00\x01"
    assert message.index(b"attributes-charset") < message.index(b"printer-uri") < message.index(b"job-name")
    assert message.index(b"print-scaling\x00\x04none") > message.index(b"copies")
    assert b"media\x00\x11" + b"iso_a4_210x297mm" in message.replace(b"media\x00\x10", b"media\x00\x11")
    assert message.endswith(b"\x03" + PDF)
    read = ipp.answer(message)  # a request has the form of an answer
    assert read.words("document-format") == ("application/pdf",)


def test_more_values_of_one_attribute_are_read_and_unknown_types_stay_words() -> None:
    read = ipp.answer(said(0x0001, (1, {"a": ["x", "y"]}), (4, {"printer-state": [5], "ready": [True]})))
    assert (read.status, read.words("a"), read.first("printer-state"), read.first("ready")) == (1, ("x", "y"), 5, True)
    assert not read.refused


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(message: bytes) -> None:
    try:
        ipp.answer(message)
    except ipp.IppUnreadable:
        return


@pytest.mark.parametrize(
    ("reasons", "state", "fault"),
    [
        (["none"], 3, None),
        (["media-empty-error"], 5, "paper_printer_no_paper"),
        (["media-low-warning"], 3, None),
        (["media-empty-warning"], 3, None),
        (["marker-supply-low-report", "cover-open"], 3, "paper_printer_open"),
        (["media-jam-error"], 5, "paper_printer_jammed"),
        (["toner-empty-error"], 5, "paper_printer_no_ink"),
        (["connecting-to-device"], 4, "paper_printer_away"),
        (["something-of-the-maker"], 5, "paper_printer_paused"),
    ],
    ids=["fine", "empty", "low", "empty_tray_two", "cover", "jam", "toner", "away", "stopped"],
)
def test_what_a_printer_says_is_wrong_has_a_next_step(reasons: list[Any], state: int, fault: str | None) -> None:
    told = said(0, (4, {"printer-state": [state], "printer-state-reasons": reasons}))
    assert fault_of(ipp.answer(told)) == fault


def test_an_address_is_asked_on_port_631() -> None:
    assert http_address("ipp://printer.van/ipp/print") == "http://printer.van:631/ipp/print"
    assert http_address("ipps://[fd00::1]:8443/x") == "https://[fd00::1]:8443/x"
    for wrong in ("http://printer", "ipp://", "lpt1"):
        with pytest.raises(ValueError, match="is no printer"):
            http_address(wrong)


# the queue


class Desk:
    def __init__(self, folder: Path, printer: Printer | None, seed: int = 1) -> None:
        self.clock, self.live, self.printer = SystemClock(), Live(), printer
        self.store = open_store(folder / "data", self.clock, seed)
        ids = Identifiers(self.clock, counting_bytes(seed + 40))
        transport = httpx.MockTransport(printer) if printer else None
        address = ADDRESS if printer else ""
        self.queue = PaperQueue(address, folder / "paper", self.store, ids, self.clock, self.live, transport)

    def state(self, name: str) -> str:
        return str(self.store.read("SELECT state FROM prints WHERE print = ?", (name,))[0]["state"])

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not is_so():  # noqa: ASYNC110 (what changes is on the far side of the printer)
                await asyncio.sleep(0.01)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, Printer())
    yield made
    made.store.close()


async def test_a_sheet_waits_for_paper_and_is_printed_once(desk: Desk, tmp_path: Path) -> None:
    assert desk.printer is not None
    desk.printer.reasons = ["media-empty-error"]
    name = await desk.queue.add(PDF, "result_sheet", "result_sheet-7F3K.pdf", "zhou.min")
    running = asyncio.create_task(desk.queue.run())
    await desk.until(lambda: desk.queue.fault == "paper_printer_no_paper" and bool(desk.printer.jobs))
    assert (desk.state(name), [view.title for view in desk.queue.waiting()]) == ("waiting", ["result_sheet-7F3K.pdf"])
    desk.printer.reasons = ["none"]
    await desk.until(lambda: desk.state(name) == "printed")
    assert (len(desk.printer.jobs), desk.queue.fault) == (1, None)
    assert desk.printer.jobs[0].endswith(PDF)
    await desk.until(lambda: not list((tmp_path / "paper").glob("*.pdf")))
    running.cancel()


async def test_a_sheet_waits_through_a_restart_and_what_nobody_waits_for_goes(tmp_path: Path) -> None:
    printer = Printer()
    printer.here = False
    before = Desk(tmp_path, printer)
    name = await before.queue.add(PDF, "ecg", "ecg.pdf", "zhou.min")
    running = asyncio.create_task(before.queue.run())
    await before.until(lambda: before.queue.fault == "paper_printer_away")
    running.cancel()
    before.store.close()
    (tmp_path / "paper" / "print-broken-off.pdf").write_bytes(PDF)
    printer.here = True
    after = Desk(tmp_path, printer, seed=2)
    running = asyncio.create_task(after.queue.run())
    await after.until(lambda: after.state(name) == "printed")
    await after.until(lambda: not list((tmp_path / "paper").glob("*.pdf")))
    running.cancel()
    after.store.close()


async def test_a_sheet_that_is_thrown_away_is_taken_back_from_the_printer(desk: Desk) -> None:
    assert desk.printer is not None
    desk.printer.reasons = ["media-jam-error"]
    name = await desk.queue.add(PDF, "ecg", "ecg.pdf", "zhou.min")
    running = asyncio.create_task(desk.queue.run())
    await desk.until(lambda: bool(desk.printer.jobs))
    await desk.queue.discard(name, "zhou.min")
    await desk.until(lambda: bool(desk.printer.cancelled))
    assert (desk.state(name), desk.queue.fault) == ("discarded", None)
    with pytest.raises(PrintGone):
        await desk.queue.discard(name, "zhou.min")
    running.cancel()


async def test_a_sheet_comes_out_once_also_while_the_journal_cannot_say_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.printer is not None
    name = await desk.queue.add(PDF, "ecg", "ecg.pdf", "zhou.min")

    async def full(*drafts: Draft) -> list[Entry]:
        raise DiskFull("no room")

    with monkeypatch.context() as disk:
        disk.setattr(desk.store, "commit", full)
        for _ in range(2):
            with pytest.raises(DiskFull):
                await desk.queue.run()
    running = asyncio.create_task(desk.queue.run())
    await desk.until(lambda: desk.state(name) == "printed")
    running.cancel()
    assert len(desk.printer.jobs) == 1


async def test_the_van_can_be_switched_off_while_a_printer_is_slow_to_forget_a_sheet(desk: Desk) -> None:
    assert desk.printer is not None
    desk.printer.reasons = ["media-jam-error"]
    desk.printer.forgets.clear()
    name = await desk.queue.add(PDF, "ecg", "ecg.pdf", "zhou.min")
    running = asyncio.create_task(desk.queue.run())
    await desk.until(lambda: bool(desk.printer.jobs))
    await desk.queue.discard(name, "zhou.min")
    await desk.until(lambda: bool(desk.printer.cancelled))
    running.cancel()
    await asyncio.wait({running}, timeout=WITHIN_S)
    assert running.cancelled()


async def test_a_printer_without_pdf_is_said_and_what_is_no_pdf_is_not_kept(desk: Desk, tmp_path: Path) -> None:
    assert desk.printer is not None
    desk.printer.formats = ["image/pwg-raster"]
    with pytest.raises(NotPrintable):
        await desk.queue.add(b"<html>", "ecg", "ecg.pdf", "zhou.min")
    assert desk.queue.waiting() == []
    await desk.queue.add(PDF, "ecg", "ecg.pdf", "zhou.min")
    running = asyncio.create_task(desk.queue.run())
    await desk.until(lambda: desk.queue.fault == "paper_printer_no_pdf")
    assert desk.printer.jobs == []
    running.cancel()
    nothing = Desk(tmp_path / "none", None)
    with pytest.raises(NoPaperPrinter):
        await nothing.queue.add(PDF, "ecg", "ecg.pdf", "zhou.min")
    nothing.store.close()


# a real CUPS


async def test_through_a_real_cups_to_a_network_printer_that_was_switched_off(tmp_path: Path) -> None:
    if not installed():
        pytest.skip("skipped: no cupsd (Debian package cups)")
    port, arrived = free_port(), asyncio.Event()
    received = bytearray()

    async def printer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            received.extend(part)
        writer.close()
        arrived.set()

    faults: list[str | None] = []
    with cups(tmp_path / "cups", port) as address:
        printing = PaperPrinter(address, SystemClock(), faults.append, stalled_after_s=1.0)
        job = asyncio.create_task(printing.print(PDF, "sheet.pdf"))
        async with asyncio.timeout(CUPS_WITHIN_S):
            while "paper_printer_away" not in faults and not job.done():  # noqa: ASYNC110 (it looks once a second)
                await asyncio.sleep(0.05)
            assert not job.done()
            server = await asyncio.start_server(printer, "127.0.0.1", port)
            async with server:
                await job
                await arrived.wait()
        assert bytes(received) == PDF
        with pytest.raises(PrintTrouble) as refused:
            await PaperPrinter(address + "-none", SystemClock(), faults.append).print(PDF, "sheet.pdf")
        assert refused.value.code == "paper_printer_refused"


# the touchscreen


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    settings = settings_in(tmp_path)
    paper = settings.paper_printer.model_copy(update={"address": ADDRESS})
    made = Bench(tmp_path, clock, settings=settings.model_copy(update={"paper_printer": paper}))
    yield made
    await made.vehicle.stop()


async def serve(bench: Bench) -> str:
    await bench.vehicle.staff.sign_in("zhou.min", PIN["zhou.min"])
    bench.stand_at((30.60, 104.00))
    await bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    bench.publish("card-1", CARD)
    await bench.vehicle.encounters.settle()
    served = bench.vehicle.encounters.current()
    assert served is not None
    return served.encounter


async def client(app: FastAPI, person: str) -> httpx.AsyncClient:
    caller = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://van")
    answer = await caller.post("/sign-in", data={"person": person, "pin": PIN[person]})
    assert answer.headers["location"] == "/today"
    return caller


async def test_any_sheet_of_the_touchscreen_goes_to_the_printer_as_its_own_page_makes_it(bench: Bench) -> None:
    encounter = await serve(bench)
    doctor = await client(create_touchscreen(bench.vehicle), "zhou.min")
    path = f"/print/{encounter}/result_sheet.pdf?on=none"
    page = (await doctor.get("/paper", params={"path": path})).text
    assert 'data-testid="paper-print"' in page
    assert "paper_links.js" in page
    kept = await doctor.post("/paper/print", data={"path": path})
    assert (kept.status_code, kept.headers["location"]) == (303, "/paper")
    [view] = bench.vehicle.paper.waiting()
    assert view.title.startswith("result_sheet-")
    made, waits = bench.vehicle.store.read("SELECT destination, state FROM prints ORDER BY print")
    assert (made["destination"], waits["destination"], waits["state"]) == ("pdf", "paper", "waiting")
    file = next((bench.settings.data / "paper").glob("*.pdf"))
    assert file.read_bytes().startswith(b"%PDF-")
    assert bench.vehicle.printing.queue.waiting() == [], "the slip printer has nothing to do with it"
    await doctor.post(f"/paper/{view.print}/discard")
    assert bench.vehicle.paper.waiting() == []


@pytest.mark.parametrize(
    "path", ["http://elsewhere/x.pdf", "//elsewhere/x.pdf", "/people", "x.pdf"], ids=["other", "host", "page", "bare"]
)
async def test_only_sheets_of_ours_are_asked_for(bench: Bench, path: str) -> None:
    doctor = await client(create_touchscreen(bench.vehicle), "zhou.min")
    assert (await doctor.post("/paper/print", data={"path": path})).status_code == 422
    assert bench.vehicle.paper.waiting() == []


async def test_a_sheet_that_its_page_refuses_is_not_printed(bench: Bench) -> None:
    doctor = await client(create_touchscreen(bench.vehicle), "zhou.min")
    refused = await doctor.post("/paper/print", data={"path": "/print/encounter-none/result_sheet.pdf"})
    assert refused.status_code == 303
    assert bench.vehicle.paper.waiting() == []

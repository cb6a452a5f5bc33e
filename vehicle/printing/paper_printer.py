"""The A4 printer of a van: an IPP address, in the cabin's network or a CUPS queue of this computer.

It is asked how it is before each job and while one prints; the reasons it gives (RFC 8011, 5.4.12) become codes with a
next step. A printer that takes no PDF is one for a CUPS queue, which does.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import httpx

from devices.clock import Clock
from vehicle.printing import ipp

TIMEOUT_S = 20.0
LOOK_EVERY_S = 1.0
STALLED_AFTER_S = 45.0
"""A job that takes longer although nothing is said to be wrong: a CUPS queue says nothing of a printer that is off."""
AWAY, NO_PAPER, JAMMED, OPEN, NO_INK, PAUSED, NO_PDF, REFUSED = (
    "paper_printer_away", "paper_printer_no_paper", "paper_printer_jammed", "paper_printer_open",
    "paper_printer_no_ink", "paper_printer_paused", "paper_printer_no_pdf", "paper_printer_refused",
)  # fmt: skip
REASONS = (
    ("media-empty", NO_PAPER),
    ("media-needed", NO_PAPER),
    ("media-jam", JAMMED),
    ("cover-open", OPEN),
    ("door-open", OPEN),
    ("marker-supply-empty", NO_INK),
    ("toner-empty", NO_INK),
    ("offline", AWAY),
    ("connecting-to-device", AWAY),
    ("timed-out", AWAY),
    ("paused", PAUSED),
)
"""How a reason begins, and what it means here; the first that fits."""
USER = "xunzhen"


class PrintTrouble(Exception):
    """Nothing came out. ``code``: what stands in the way."""

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(reason or code)
        self.code = code


class PaperPrinter:
    """
    :param uri: ``ipp://printer.local/ipp/print`` or ``ipp://localhost/printers/name``; ``ipps`` with TLS
    :param said: told of a fault's code, and with None that there is none any more
    """

    def __init__(
        self,
        uri: str,
        clock: Clock,
        said: Callable[[str | None], None],
        transport: httpx.AsyncBaseTransport | None = None,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        self._stalled_after_s = stalled_after_s
        self._uri, self._clock, self._said = uri, clock, said
        self._http = http_address(uri)
        self._transport = transport

    async def look(self) -> ipp.Answer:
        """How it is now.

        :raises PrintTrouble: it does not answer, or takes no PDF
        """
        found = await self._ask(ipp.get_printer(self._uri))
        if found.refused:
            raise PrintTrouble(REFUSED, f"status {found.status:04X}")
        formats = found.words("document-format-supported")
        if ipp.PDF not in formats:
            raise PrintTrouble(NO_PDF, ", ".join(formats))
        return found

    async def print(self, pdf: bytes, name: str) -> None:
        """Print one document; returns when it has come out. Cancelled, the printer is told to forget it.

        :raises PrintTrouble: it did not, and why
        """
        printer = await self.look()
        scaling = "none" in printer.words("print-scaling-supported")
        media = ipp.A4 in printer.words("media-supported")
        taken = await self._ask(ipp.print_job(self._uri, pdf, name, USER, scaling, media))
        job = taken.first("job-id")
        if taken.refused or not isinstance(job, int):
            raise PrintTrouble(NO_PDF if taken.status == ipp.FORMAT_NOT_SUPPORTED else REFUSED, f"{taken.status:04X}")
        ended, since_s = "", self._clock.monotonic_s()
        try:
            while not (ended := await self._job(job)):
                stalled = self._clock.monotonic_s() - since_s > self._stalled_after_s
                self._said(fault_of(await self.look()) or (AWAY if stalled else None))
                await self._clock.sleep(LOOK_EVERY_S)
        finally:
            if not ended:
                await self._forget(job)
        if ended != "completed":
            raise PrintTrouble(REFUSED, ended)

    async def _job(self, job: int) -> str:
        """How a job ended; empty while it has not."""
        found = await self._ask(ipp.get_job(self._uri, job))
        if found.refused:  # printed long ago and forgotten: RFC 8011, 5.3.7.1 keeps a job for a minute
            return "completed"
        state = found.first("job-state")
        return ipp.JOB_ENDED.get(state, "") if isinstance(state, int) else ""

    async def _forget(self, job: int) -> None:
        try:
            await self._ask(ipp.cancel_job(self._uri, job, USER))
        except PrintTrouble:
            return  # it is away: it may print what it has, and it will be printed again

    async def _ask(self, message: bytes) -> ipp.Answer:
        headers = {"Content-Type": ipp.MEDIA_TYPE}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, transport=self._transport, trust_env=False) as client:
                said = await client.post(self._http, content=message, headers=headers)
            said.raise_for_status()
            return ipp.answer(said.content)
        except (httpx.HTTPError, ipp.IppUnreadable) as fault:
            raise PrintTrouble(AWAY, str(fault)) from fault


def http_address(uri: str) -> str:
    """Where an ``ipp`` URI is asked: HTTP on port 631 (RFC 8010, 4.2; RFC 7472).

    :raises ValueError: no ipp or ipps address
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("ipp", "ipps") or not parts.hostname:
        raise ValueError(f"{uri!r} is no printer: ipp://host/path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "https" if parts.scheme == "ipps" else "http"
    return urlunsplit((scheme, f"{host}:{parts.port or 631}", parts.path or "/", "", ""))


def fault_of(found: ipp.Answer) -> str | None:
    """The code of what its reasons say is wrong; warnings and reports are none (RFC 8011, 5.4.12)."""
    stopped = found.first("printer-state") == ipp.STOPPED
    for reason in found.words("printer-state-reasons"):
        if reason.endswith(("-warning", "-report")) and not stopped:
            continue
        for begins, code in REASONS:
            if reason.startswith(begins):
                return code
    return PAUSED if stopped or found.first("printer-is-accepting-jobs") is False else None

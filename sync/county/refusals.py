"""How the county says no: a page for people, words for programs, the reason in the log, the state as it was.

Also when the database or the recordings' store is away: 503 with Retry-After; a vehicle comes again, nothing is lost.
"""

from __future__ import annotations

from email.utils import format_datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from devices.events import emit
from sync.county.blobs import StoreAway
from sync.county.database import unavailable
from sync.county.intake import RefusedRequest
from sync.county.pages import refusal_page

if TYPE_CHECKING:
    from sync.county.app import County

RETRY_AFTER_S = 30


def answer_refusals(app: FastAPI) -> None:
    """Every route of ``app`` answers so; what is neither refusal nor outage stays a fault of the program (500)."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RefusedRequest, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(StoreAway, _store_away)
    app.add_exception_handler(DBAPIError, _database_away)
    app.add_exception_handler(NoFreeConnection, _database_away)


async def _refused(request: Request, fault: Exception) -> Response:
    status = fault.status_code if isinstance(fault, HTTPException) else getattr(fault, "status", 500)
    reason = getattr(request.state, "refusal", None) or getattr(fault, "detail", None) or str(fault)
    return _answer(request, status, str(reason), dict(getattr(fault, "headers", None) or {}))


async def _malformed(request: Request, fault: Exception) -> Response:
    """What was typed is not repeated: it may be a password."""
    faults = cast(RequestValidationError, fault).errors()
    said = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in faults[:5])
    return _answer(request, 422, said[:300], {})


async def _store_away(request: Request, fault: Exception) -> Response:
    return _come_again(request, str(fault))


async def _database_away(request: Request, fault: Exception) -> Response:
    if isinstance(fault, DataError):  # a NUL, or a number beyond 64 bits
        return _answer(request, 400, "the request holds characters or numbers that cannot be stored", {})
    if not unavailable(fault):
        raise fault
    return _come_again(request, "the county's database is away or busy")


def _answer(request: Request, status: int, reason: str, headers: dict[str, str]) -> Response:
    """401 carries our clock, so that a vehicle can correct its stamp."""
    county: County = request.app.state.county
    _log(request, status, reason)
    if "text/html" in request.headers.get("accept", "") and request.method == "GET":
        if status == 401:
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/sign-in?next={quote(target)}", 303)
        return refusal_page(request, status, reason)
    if status == 401:
        headers["Date"] = format_datetime(county.clock.now(), usegmt=True)
    return JSONResponse({"detail": reason}, status, headers)


def _come_again(request: Request, reason: str) -> Response:
    _log(request, 503, reason)
    return PlainTextResponse(f"{reason}\n", 503, {"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"})


def _log(request: Request, status: int, reason: str) -> None:
    emit("request_refused", path=request.url.path[:200], reason=f"{status} {reason}"[:300])

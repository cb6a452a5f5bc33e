"""When the database or the recordings' store is away: 503 with Retry-After; a vehicle comes again, nothing is lost."""

from __future__ import annotations

from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from devices.events import emit
from sync.county.blobs import StoreAway
from sync.county.database import unavailable

RETRY_AFTER_S = 30


def answer_outages(app: FastAPI) -> None:
    """Every route of ``app`` answers so; what is no outage stays a fault of the program (500)."""
    app.add_exception_handler(StoreAway, _store_away)
    app.add_exception_handler(DBAPIError, _database_away)
    app.add_exception_handler(NoFreeConnection, _database_away)


async def _store_away(request: Request, fault: Exception) -> Response:
    return _come_again(request, str(fault))


async def _database_away(request: Request, fault: Exception) -> Response:
    if not unavailable(fault):
        raise fault
    return _come_again(request, "the county's database is away or busy")


def _come_again(request: Request, reason: str) -> Response:
    emit("request_refused", path=request.url.path[:200], reason=f"503 {reason}"[:300])
    return PlainTextResponse(f"{reason}\n", 503, {"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"})

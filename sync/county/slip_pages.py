"""The page "Check a slip": who holds a paper enters its number and sees what the journal says; each look is noted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from sync.county.pages import render
from sync.county.slip_check import find, number_of
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/slips"
LONGEST_NUMBER = 120

router = APIRouter()


@router.get(PAGE)
@roles("administrator", "auditor")
async def slips_page(request: Request, number: Annotated[str, Query(max_length=LONGEST_NUMBER)] = "") -> HTMLResponse:
    """:param number: as it stands under the QR code, or what the code says"""
    county: County = request.app.state.county
    found = await run_in_threadpool(find, county.database, number) if number.strip() else []
    if number.strip():
        said = f"{number_of(number)[1][:20]}: {'found' if found else 'not found'}"
        await run_in_threadpool(county.audit.note, request.state.caller.id, "read_slip", said)
    return render(request, "slips.html", {"number": number.strip(), "found": found})

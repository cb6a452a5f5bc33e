"""Routes by which a key speaks for itself: a new vehicle asks to be enrolled, an enrolled one changes its key.

Both are public, as nobody can be known here by his signature yet or any more; what they take proves itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from devices.events import emit
from sync.county.enrolment import TooManyAsk
from sync.county.fleet import EnrolmentRefused
from sync.county.forwarded import FORWARDED_FOR, client_address
from sync.county.vehicle_requests import bounded_body, target_of
from sync.formats.request_signature import Claim, SignatureRefused
from sync.keys.key_statements import (
    ENROL_PATH,
    LARGEST_STATEMENT_BYTES,
    ROTATE_KEY,
    STATEMENT_TYPE,
    EnrolmentAsk,
    KeyChange,
    StatementRefused,
    enrolment_answer,
)
from sync.web.access import PUBLIC, roles

if TYPE_CHECKING:
    from sync.county.app import County

STATUS = {"enrolled": 200, "other_key": 409, "revoked": 409}

router = APIRouter()


@router.post(ENROL_PATH)
@roles(PUBLIC)
async def enrol(request: Request) -> Response:
    """Take a request for enrolment, signed (RFC 9421) by the very key that asks."""
    county, body = await _bounded(request)
    try:
        asked = EnrolmentAsk.parse(body)
        claim = Claim.read(request.headers)
        claim.verify(asked.key, "POST", target_of(request), request.headers, body, county.clock.now())
    except StatementRefused as fault:
        raise HTTPException(400, str(fault)) from None
    except SignatureRefused as fault:
        raise HTTPException(401, str(fault)) from None
    state = await run_in_threadpool(county.enrolments.ask, asked, claim.created_at, _address(request))
    return Response(enrolment_answer(state), STATUS.get(state, 202), media_type=STATEMENT_TYPE)


@router.post("/log/{origin}/" + ROTATE_KEY)
@roles(PUBLIC)
async def rotate_key(request: Request, origin: str) -> Response:
    """Take a change of key, signed by both keys; what was taken before is answered the same again."""
    county, body = await _bounded(request)
    try:
        change = KeyChange.parse(body)
    except StatementRefused as fault:
        raise HTTPException(400, str(fault)) from None
    if change.origin != origin:
        raise HTTPException(400, f"the change of key is of {change.origin}, sent to {origin[:100]}")
    try:
        taken = await run_in_threadpool(county.fleet.rotate, change)
    except EnrolmentRefused as refusal:
        raise HTTPException(403, str(refusal)) from None
    if taken:
        await run_in_threadpool(county.audit.note, origin, "rotate_key", f"from {change.from_size} entries on")
    return Response(status_code=200, media_type="text/plain")


async def _bounded(request: Request) -> tuple[County, bytes]:
    """:raises HTTPException: 413 too large, 429 too often"""
    county: County = request.app.state.county
    try:
        county.asking_rate.take(_address(request))
    except TooManyAsk as fault:
        emit("request_refused", path=request.url.path[:200], reason=str(fault))
        raise _later(fault) from None
    return county, await bounded_body(request, LARGEST_STATEMENT_BYTES)


def _later(fault: TooManyAsk) -> HTTPException:
    return HTTPException(429, str(fault), {"Retry-After": str(fault.retry_after_s)})


def _address(request: Request) -> str:
    county: County = request.app.state.county
    peer = request.client.host if request.client is not None else ""
    return client_address(peer, request.headers.getlist(FORWARDED_FOR), county.settings.serve.proxies)

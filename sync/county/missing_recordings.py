"""``POST /recordings/missing``: which of a vehicle's recordings the county has not whole.

Asked by vehicles that notice that the county was restored from an older backup, and once a day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from devices.events import emit
from sync.county.vehicle_requests import body_of
from sync.formats import content_coding, wire
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

MOST_BYTES = wire.MOST_HASHES * 65

router = APIRouter()


@router.post(wire.MISSING_RECORDINGS_PATH)
@roles("vehicle")
async def missing_recordings(request: Request) -> Response:
    """A SHA-256 on each line, at most ``wire.MOST_HASHES``; those that are not here, in the same form."""
    county: County = request.app.state.county
    accepting = {"Accept-Encoding": content_coding.ACCEPTED}
    try:
        body = content_coding.decode(body_of(request), request.headers.get("content-encoding", ""), MOST_BYTES)
        asked = wire.parse_hash_lines(body)
    except wire.Malformed as fault:
        emit("request_refused", path=request.url.path, reason=str(fault)[:300])
        status = 415 if isinstance(fault, content_coding.CodingUnknown) else 400
        return Response(f"{fault}\n", status, accepting, media_type=wire.TEXT)
    missing = await run_in_threadpool(lambda: [sha256 for sha256 in asked if not county.blobs.has(sha256)])
    return Response(wire.hash_lines(missing), 200, accepting, media_type=wire.TEXT)

"""The witness as an ASGI application: C2SP tlog-witness, and ``add-log`` for the vehicles of a county.

Everybody may ask; signatures and proofs decide. Submission prefix and monitoring prefix are both the root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import Depends, FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from devices.events import emit
from sync.formats import wire
from sync.formats.notes import LARGEST_NOTE_BYTES
from sync.keys.introduction import Introduction
from sync.web.access import PUBLIC, Caller, gate, roles
from sync.witness.ledger import Ledger, Refused

MOST_BODY_BYTES = LARGEST_NOTE_BYTES + 64 * 1024
A = TypeVar("A")


def create_witness(ledger: Ledger) -> FastAPI:
    app = FastAPI(title="巡诊 witness", dependencies=[Depends(gate)], docs_url=None, redoc_url=None, openapi_url=None)
    app.state.identify = _nobody

    @app.post("/add-checkpoint")
    @roles(PUBLIC)
    async def add_checkpoint(request: Request) -> Response:
        return await _answer(
            request,
            wire.AddCheckpoint.parse,
            lambda asked: wire.signature_lines([ledger.add_checkpoint(asked)]),
        )

    @app.post("/add-log")
    @roles(PUBLIC)
    async def add_log(request: Request) -> Response:
        def introduced(asked: Introduction) -> bytes:
            vehicle = ledger.add_log(asked)
            emit("log_introduced", origin=vehicle.origin)
            return b""

        return await _answer(request, Introduction.parse, introduced)

    @app.get("/{origin_hash}/checkpoint")
    @roles(PUBLIC)
    async def checkpoint(origin_hash: str) -> Response:
        """The monitors' way: the last checkpoint with the log's signature and ours."""
        note = await run_in_threadpool(ledger.checkpoint, origin_hash)
        if note is None:
            return Response("no checkpoint of this log was cosigned\n", 404, media_type=wire.TEXT)
        return Response(note, media_type=wire.TEXT)

    @app.get("/key")
    @roles(PUBLIC)
    async def key() -> Response:
        """For a person to compare; who trusts it must have it from the province itself."""
        return Response(f"{ledger.verifier_key}\n", media_type=wire.TEXT)

    return app


async def _nobody(connection: HTTPConnection) -> Caller | None:
    return None


async def _answer(request: Request, parse: Callable[[bytes], A], do: Callable[[A], bytes]) -> Response:
    try:
        asked = parse(await _bounded(request))
        body = await run_in_threadpool(do, asked)
    except wire.Malformed as fault:
        refusal = Refused(400, str(fault))
    except Refused as fault:
        refusal = fault
    else:
        return Response(body, media_type=wire.TEXT)
    emit("request_refused", path=request.url.path[:200], reason=f"{refusal.status} {refusal.reason}"[:300])
    if refusal.size is not None:
        return Response(wire.size_body(refusal.size), refusal.status, {"Content-Type": wire.SIZE_TYPE})
    return Response(f"{refusal.reason}\n", refusal.status, media_type=wire.TEXT)


async def _bounded(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise HTTPException(413, f"a request may have at most {MOST_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)

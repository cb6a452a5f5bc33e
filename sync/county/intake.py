"""Routes for vehicles: journals by C2SP tlog-mirror, recordings by resumable upload; and what witnesses may read.

Every request of a vehicle is signed with its journal key. What is refused changes nothing and is logged with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from devices.events import emit
from sync.county.fleet import KeyNotValid
from sync.county.mirror import Refused, Taken
from sync.county.vehicle_requests import body_of
from sync.formats import content_coding, wire
from sync.formats.notes import Checkpoint, NoteRefused, VerifierKey
from sync.proof.registry_entries import is_registry
from sync.web.access import PUBLIC, roles

if TYPE_CHECKING:
    from sync.county.app import County

MOST_UNPACKED_BYTES = 64 * 1024 * 1024
"""Of one add-entries body after decompression."""

_ACCEPTING = {"Accept-Encoding": content_coding.ACCEPTED}
"""What bodies may be packed with, in every answer (RFC 9110 section 12.5.3)."""

router = APIRouter()


@router.post("/log/{origin}/add-checkpoint")
@roles("vehicle")
async def add_checkpoint(request: Request, origin: str) -> Response:
    county = _of(request, origin)
    try:
        asked = wire.AddCheckpoint.parse(_unpacked(request))
        key = await run_in_threadpool(_key_at, county, origin, _size(asked))
        await run_in_threadpool(county.mirror.add_checkpoint, key, asked)
    except wire.Malformed as fault:
        return _refused(request, Refused(400, str(fault)))
    except Refused as refusal:
        emit("checkpoint_refused", origin=origin, reason=refusal.reason)
        return _refused(request, refusal)
    return Response(status_code=200, headers=_ACCEPTING, media_type=wire.TEXT)


@router.post("/log/{origin}/add-entries")
@roles("vehicle")
async def add_entries(request: Request, origin: str) -> Response:
    county = _of(request, origin)
    try:
        asked = await run_in_threadpool(lambda: wire.AddEntries.parse(_unpacked(request)))
        await run_in_threadpool(_key_at, county, origin, asked.head.upload_end)
        taken: Taken = await run_in_threadpool(county.mirror.add_entries, origin, asked)
    except wire.Malformed as fault:
        return _refused(request, Refused(400, str(fault)))
    except Refused as refusal:
        return _refused(request, refusal)
    then = BackgroundTask(county.interpreter.catch_up, origin)
    if taken.receipt is None:
        info = bytes(taken.info)
        return Response(info, 202, _ACCEPTING, media_type=wire.MIRROR_INFO_TYPE, background=then)
    return Response(wire.signature_lines(taken.receipt), 200, _ACCEPTING, media_type=wire.TEXT, background=then)


@router.get("/log/{origin}/checkpoint")
@roles(PUBLIC)
async def checkpoint(request: Request, origin: str) -> Response:
    """The newest cosigned checkpoint: sizes and hashes only, so witnesses may read it."""
    county: County = request.app.state.county
    note = await run_in_threadpool(county.mirror.checkpoint, origin)
    if note is None:
        return _refused(request, Refused(404, "no cosigned checkpoint of this log"))
    return Response(note, media_type=wire.TEXT)


@router.get("/log/{origin}/tile/entries/{path:path}")
@roles("vehicle", "administrator", "auditor")
async def entry_bundle(request: Request, origin: str, path: str) -> Response:
    """Entries hold personal data: for the vehicle they came from, and for the auditor, on record.

    Those of the county's registry hold none: they are for the administrator too.
    """
    county: County = request.app.state.county
    caller = request.state.caller
    if caller.role == "administrator" and not is_registry(origin):
        return _refused(request, Refused(404, "entries of vehicles are for the auditor"))
    if caller.role == "vehicle":
        _of(request, origin)
    else:
        await run_in_threadpool(county.audit.note, caller.id, "read_entries", f"{origin} {path}")
    return await _tile(request, origin, f"tile/entries/{path}")


@router.get("/log/{origin}/tile/{path:path}")
@roles(PUBLIC)
async def hash_tile(request: Request, origin: str, path: str) -> Response:
    if path.startswith("entries/"):
        return _refused(request, Refused(404, "no such tile"))
    return await _tile(request, origin, f"tile/{path}")


async def _tile(request: Request, origin: str, path: str) -> Response:
    county: County = request.app.state.county
    try:
        tile = wire.Tile.parse(path)
        body = await run_in_threadpool(county.mirror.tile, origin, tile)
    except wire.Malformed as fault:
        return _refused(request, Refused(404, str(fault)))
    except Refused as refusal:
        return _refused(request, refusal)
    if body is None:
        return _refused(request, Refused(404, "the log has no such tile yet"))
    return Response(body, media_type=wire.OCTETS)


# recordings -----------------------------------------------------------------------------------------------------------


@router.head("/recordings/{sha256}")
@roles("vehicle")
async def recording_state(request: Request, sha256: str) -> Response:
    county: County = request.app.state.county
    if not wire.is_sha256(sha256):
        return _refused(request, Refused(400, "a recording is named by its SHA-256 in lowercase hex"))
    state = await run_in_threadpool(county.blobs.state, request.state.caller.id, sha256)
    if state is None:
        return Response(status_code=404, headers={wire.UPLOAD_OFFSET: "0", wire.UPLOAD_COMPLETE: wire.boolean(False)})
    return Response(status_code=204, headers=_upload_headers(state.offset, state.complete))


@router.put("/recordings/{sha256}")
@roles("vehicle")
async def put_recording(request: Request, sha256: str) -> Response:
    return await _append(request, sha256)


@router.patch("/recordings/{sha256}")
@roles("vehicle")
async def patch_recording(request: Request, sha256: str) -> Response:
    return await _append(request, sha256)


async def _append(request: Request, sha256: str) -> Response:
    county: County = request.app.state.county
    origin = request.state.caller.id
    try:
        if not wire.is_sha256(sha256):
            raise Refused(400, "a recording is named by its SHA-256 in lowercase hex")
        offset = wire.decimal(request.headers.get(wire.UPLOAD_OFFSET, "0"))
        said_length = request.headers.get(wire.UPLOAD_LENGTH)
        length = wire.decimal(said_length) if said_length is not None else None
        complete = _boolean(request.headers.get(wire.UPLOAD_COMPLETE, wire.boolean(True)))
        body = body_of(request)
        state = await run_in_threadpool(county.blobs.append, origin, sha256, offset, body, complete, length)
    except wire.Malformed as fault:
        return _refused(request, Refused(400, str(fault)))
    except Refused as refusal:
        answer = _refused(request, refusal)
        if refusal.size is not None:
            answer.headers.update(_upload_headers(refusal.size, False))
        return answer
    return Response(status_code=201 if state.complete else 204, headers=_upload_headers(state.offset, state.complete))


def _upload_headers(offset: int, complete: bool) -> dict[str, str]:
    return {wire.UPLOAD_OFFSET: str(offset), wire.UPLOAD_COMPLETE: wire.boolean(complete)}


def _boolean(text: str) -> bool:
    if text not in ("?0", "?1"):
        raise wire.Malformed(f"{wire.UPLOAD_COMPLETE} must be ?0 or ?1")
    return text == "?1"


# helpers of all routes ------------------------------------------------------------------------------------------------


def _of(request: Request, origin: str) -> County:
    """The county, when the calling vehicle speaks of its own log."""
    county: County = request.app.state.county
    caller = request.state.caller
    if caller.id != origin:
        raise RefusedRequest(403, f"{caller.id} may not write the log of {origin[:100]}")
    return county


def _key_at(county: County, origin: str, size: int) -> VerifierKey:
    """The key that signs this size. :raises Refused: 403 when none does: another key does, or it was revoked"""
    try:
        return county.fleet.key_at(origin, size)
    except KeyNotValid as fault:
        raise Refused(403, str(fault)) from None


def _size(asked: wire.AddCheckpoint) -> int:
    try:
        return Checkpoint.parse(asked.checkpoint.text).size
    except NoteRefused as fault:
        raise Refused(400, str(fault)) from None


class RefusedRequest(Refused):
    """A refusal that the application answers."""


def _unpacked(request: Request) -> bytes:
    """:raises Refused: 415 for an unknown coding or dictionary. :raises wire.Malformed: not decodable or too large"""
    coding = request.headers.get("content-encoding", "identity")
    try:
        return content_coding.decode(body_of(request), coding, MOST_UNPACKED_BYTES)
    except content_coding.CodingUnknown as fault:
        raise Refused(415, str(fault)) from None


def _refused(request: Request, refusal: Refused) -> Response:
    emit("request_refused", path=request.url.path[:200], reason=refusal.reason[:300])
    if refusal.info is not None:
        return Response(bytes(refusal.info), refusal.status, _ACCEPTING, media_type=wire.MIRROR_INFO_TYPE)
    if refusal.size is not None and request.url.path.endswith("/add-checkpoint"):
        headers = {**_ACCEPTING, "Content-Type": wire.SIZE_TYPE}  # as media_type it would get a charset
        return Response(wire.size_body(refusal.size), refusal.status, headers)
    return Response(refusal.reason + "\n", refusal.status, _ACCEPTING, media_type=wire.TEXT)

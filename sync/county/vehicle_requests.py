"""Who calls: a person by session cookie, or a vehicle by the signature of its request (RFC 9421)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request

from sync.formats.request_signature import Claim, SignatureRefused
from sync.keys.key_statements import ENROL_PATH, ROTATE_KEY
from sync.web.access import Caller

if TYPE_CHECKING:
    from sync.county.app import County

MOST_BODY_BYTES = 16 * 1024 * 1024
"""Of one request as received; a vehicle sends more in several requests."""


async def identify(connection: HTTPConnection) -> Caller | None:
    """The caller; None for nobody. Why a signature is refused stands in ``connection.state.refusal``."""
    if connection.scope["type"] == "http" and "signature-input" in connection.headers:
        if _proves_itself(connection.scope["path"]):
            return None
        return await _vehicle(cast(Request, connection))
    return _person(connection)


def _proves_itself(path: str) -> bool:
    """Routes whose caller cannot be known by his signature: they judge it themselves (``key_routes.py``)."""
    return path == ENROL_PATH or path.endswith("/" + ROTATE_KEY)


def body_of(request: Request) -> bytes:
    """The body that the signature of a vehicle's request was checked with."""
    body: bytes = request.state.signed_body
    return body


def _person(connection: HTTPConnection) -> Caller | None:
    county: County = connection.app.state.county
    session = connection.scope.get("session") or {}
    account = county.accounts.get(str(session.get("account", "")))
    if account is None or account.disabled or account.stamp != session.get("stamp"):
        return None
    return Caller(account.id, account.role, account.name)


async def _vehicle(request: Request) -> Caller | None:
    county: County = request.app.state.county
    try:
        claim = Claim.read(request.headers)
        key = county.fleet.request_key(claim.origin)
        if key is None:
            raise SignatureRefused("the vehicle is not enrolled here, or its key is revoked")
        body = await bounded_body(request, MOST_BODY_BYTES)
        claim.verify(key, request.method, target_of(request), request.headers, body, county.clock.now())
    except SignatureRefused as fault:
        request.state.refusal = str(fault)
        return None
    request.state.signed_body = body
    return Caller(claim.origin, "vehicle", by_cookie=False)


async def bounded_body(request: Request, at_most_bytes: int) -> bytes:
    """:raises HTTPException: 413 as soon as more than ``at_most_bytes`` were said or sent"""
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > at_most_bytes:
        raise HTTPException(413, f"a request may have at most {at_most_bytes} bytes: send it in parts")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > at_most_bytes:
            raise HTTPException(413, f"a request may have at most {at_most_bytes} bytes: send it in parts")
        parts.append(part)
    return b"".join(parts)


def target_of(request: Request) -> str:
    """Path with query as in the request line."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    path = raw.partition(b"?")[0].decode("ascii", "replace")
    query = request.scope["query_string"].decode("ascii", "replace")
    return f"{path}?{query}" if query else path

"""Access by role: a route for which no role is named is refused, on every server of the project.

``guarded_app`` makes a FastAPI application whose every route passes ``gate``; ``@roles("administrator")`` names who may
call it, ``@roles(PUBLIC)`` that anybody may. Unsafe methods and WebSockets from a browser must come from our own pages
(Fetch Metadata and Origin, OWASP CSRF cheat sheet); the session cookie is HttpOnly and SameSite=Strict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection

from sync.web.body_limits import BodyLimits, forms_only

PUBLIC = "public"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a person's account, or a machine that proved itself by signature."""

    id: str
    role: str
    name: str = ""
    by_cookie: bool = True


Identify = Callable[[HTTPConnection], Awaitable[Caller | None]]
F = TypeVar("F", bound=Callable[..., Any])


def roles(*names: str) -> Callable[[F], F]:
    """Name the roles that may call the decorated route (put it below the route decorator)."""
    if not names:
        raise ValueError("name at least one role, or PUBLIC")

    def mark(endpoint: F) -> F:
        endpoint.__roles__ = names  # type: ignore[attr-defined]
        return endpoint

    return mark


async def gate(connection: HTTPConnection) -> None:
    """The one check every route passes; leaves ``connection.state.caller`` (None for an anonymous caller)."""
    endpoint = connection.scope.get("endpoint")
    allowed: tuple[str, ...] | None = getattr(endpoint, "__roles__", None)
    caller = await connection.app.state.identify(connection)
    connection.state.caller = caller
    if allowed is None:
        _refuse(connection, 403, "no role is named for this route")
        return
    websocket = connection.scope["type"] == "websocket"
    if (caller is None or caller.by_cookie) and (websocket or connection.scope["method"] not in SAFE_METHODS):
        _same_origin(connection)
    if PUBLIC in allowed:
        return
    if caller is None:
        _refuse(connection, 401, "sign in first")
    elif caller.role not in allowed:
        _refuse(connection, 403, f"not for the role {caller.role}")


def _same_origin(connection: HTTPConnection) -> None:
    site = connection.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        _refuse(connection, 403, "request from a foreign page")
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != connection.headers.get("host"):
        _refuse(connection, 403, "request from a foreign page")


def _refuse(connection: HTTPConnection, status: int, reason: str) -> None:
    if connection.scope["type"] == "websocket":
        raise WebSocketException(code=4000 + status, reason=reason)
    raise HTTPException(status, reason)


def guarded_app(
    title: str,
    identify: Identify,
    session_secret: str,
    secure_cookies: bool,
    most_bytes: Callable[[str], int] = forms_only,
) -> FastAPI:
    """A FastAPI application behind the gate.

    :param identify: says who calls, from session cookie or signature; None for nobody
    :param session_secret: signs the session cookie; at least 32 characters, kept outside the database
    :param secure_cookies: False only on loopback without TLS
    :param most_bytes: of what is sent to a path; more is refused before a route reads it
    """
    if len(session_secret) < 32:
        raise ValueError("session_secret needs at least 32 characters")
    app = FastAPI(title=title, dependencies=[Depends(gate)], docs_url=None, redoc_url=None, openapi_url=None)
    app.state.identify = identify
    app.add_middleware(
        SessionMiddleware,
        secret_key=session_secret,
        session_cookie="xunzhen_session",
        same_site="strict",
        https_only=secure_cookies,
        max_age=12 * 3600,
    )
    app.add_middleware(BodyLimits, most_bytes=most_bytes)
    return app

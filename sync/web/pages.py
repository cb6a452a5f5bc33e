"""Server-rendered pages: one Jinja environment per application, texts by language, our own headers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from sync.web.catalog import LANGUAGES, texts

SHARED = Path(str(resources.files("devices"))) / "web"
"""Style sheets, icons and browser modules all screens share; served at ``/shared``."""

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' ws: wss:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with "no-referrer" browsers post our own forms with "Origin: null"
    "Cache-Control": "no-store",
}


class PageFiles(StaticFiles):
    """Style sheets and scripts. A browser asks each minute whether they have changed: else it goes on with those of the
    release before for days, beside pages of the new one."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "max-age=60"
        return response


class Pages:
    """Renders templates of ``folder``; ``mount`` adds ``/shared`` and ``/static`` to an application."""

    def __init__(self, folder: Path, default_language: str = "zh") -> None:
        self._default = default_language
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(folder), FileSystemLoader(SHARED)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @property
    def filters(self) -> dict[str, Any]:
        return self._environment.filters

    @property
    def globals(self) -> Any:
        return self._environment.globals

    def language(self, request: Request) -> str:
        """``?lang=`` first, then the ``xunzhen_lang`` cookie, then the server's default."""
        asked = request.query_params.get("lang") or request.cookies.get("xunzhen_lang")
        return asked if asked in LANGUAGES else self._default

    def render(
        self, request: Request, template: str, context: Mapping[str, Any] | None = None, status: int = 200
    ) -> HTMLResponse:
        """The page, with ``t`` (texts), ``lang``, ``theme`` and ``caller`` at hand in the template."""
        language = self.language(request)
        theme = request.query_params.get("theme") or request.cookies.get("xunzhen_theme") or "day"
        html = self._environment.get_template(template).render(
            t=texts(language),
            lang=language,
            theme=theme if theme in ("day", "night") else "day",
            caller=getattr(request.state, "caller", None),
            **(context or {}),
        )
        response = HTMLResponse(html, status_code=status, headers=HEADERS)
        looked_at = request.headers.get("sec-fetch-mode", "navigate") == "navigate"  # not a script that renews a part
        for name in ("lang", "theme"):
            if looked_at and name in request.query_params:
                response.set_cookie(
                    f"xunzhen_{name}", request.query_params[name][:8], samesite="strict", max_age=366 * 86400
                )
        return response

    @staticmethod
    def mount(app: FastAPI, static: Path | None = None) -> None:
        """Serve the shared files at ``/shared`` and the screen's own at ``/static``; both are public by design."""
        app.mount("/shared", PageFiles(directory=SHARED), name="shared")
        if static is not None:
            app.mount("/static", PageFiles(directory=static), name="static")

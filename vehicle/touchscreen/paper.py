"""A4: any sheet of any page, to the printer of the van or onto a USB stick; what waits, and how the printer is.

A sheet is named by the path that makes it (``/ecg/recordings/.../paper.pdf?layout=6x2``) and asked for as the browser
would, with the caller's own session: so each page goes on deciding who may have its sheet, and notes that it was made.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sync.delivery.stick_export import StickGone
from sync.formats.records import Draft
from sync.record.durable_file import write_durably
from sync.web.access import roles
from vehicle.hints import hint
from vehicle.printing.paper_queue import NotPrintable
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

PAGE = "/paper"
FOLDER = "xunzhen-paper"
LONGEST_PATH = 400
PathOf = Annotated[str, Query(max_length=LONGEST_PATH)]
FormPath = Annotated[str, Form(max_length=LONGEST_PATH)]
_FILE_NAME = re.compile(r'filename="([A-Za-z0-9_.-]{1,120}\.pdf)"')


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get(PAGE)
    @roles(*CLINICAL)
    async def page(request: Request, path: PathOf = "") -> Response:
        """:param path: the sheet that is to go somewhere; empty: what waits only"""
        sticks = await asyncio.to_thread(vehicle.sticks.found)
        context = {
            "path": checked(path) if path else "",
            "sticks": [one for one in sticks if one.writable],
            "sheets": vehicle.paper.waiting(),
            "paper": paper_in_words(screen, request),
        }
        return screen.page(request, "paper.html", "sheets", context)

    @router.post(f"{PAGE}/print")
    @roles(*CLINICAL)
    async def to_printer(request: Request, path: FormPath) -> Response:
        pdf, name = await _made(request, path)
        await vehicle.paper.add(pdf, _form(path), name, request.state.caller.id)
        t = screen.texts(request)
        screen.say(request, t("touch.paper.kept"), t("touch.paper.kept_hint"))
        return back(PAGE)

    @router.post(f"{PAGE}/stick")
    @roles(*CLINICAL)
    async def to_stick(request: Request, path: FormPath, stick: Annotated[str, Form(max_length=4000)] = "") -> Response:
        found = await asyncio.to_thread(vehicle.sticks.found)
        if not any(str(one.path) == stick and one.writable for one in found):
            raise StickGone(f"no stick that can be written is mounted at {stick}: put it in again")
        pdf, name = await _made(request, path)
        said = {"action": "paper_export", "what": name}
        await vehicle.store.commit(Draft("access/1", said, request.state.caller.id))
        try:
            await asyncio.to_thread(write_durably, Path(stick) / FOLDER / name, pdf)
        except OSError as fault:
            raise StickGone(f"the stick does not take the file: {fault.strerror}") from fault
        t = screen.texts(request)
        screen.say(request, t("touch.paper.on_stick"), f"{FOLDER}/{name}")
        return back(PAGE)

    @router.post(f"{PAGE}/{{sheet}}/discard")
    @roles(*CLINICAL)
    async def discard(request: Request, sheet: str) -> Response:
        await vehicle.paper.discard(sheet, request.state.caller.id)
        return back(PAGE)

    async def _made(request: Request, path: str) -> tuple[bytes, str]:
        """The sheet, made by its own page for this caller, and its file name.

        :raises NotPrintable: the page gives none, or not to this caller
        """
        asked = {"cookie": request.headers.get("cookie", ""), "accept": "application/pdf"}
        transport = httpx.ASGITransport(app=request.app)
        async with httpx.AsyncClient(transport=transport, base_url=str(request.base_url)) as itself:
            answer = await itself.get(checked(path), headers=asked)
        if answer.status_code != 200 or answer.headers.get("content-type") != "application/pdf":
            raise NotPrintable(f"{path}: no PDF, status {answer.status_code}")
        named = _FILE_NAME.search(answer.headers.get("content-disposition", ""))
        return answer.content, named[1] if named else "sheet.pdf"

    return router


def checked(path: str) -> str:
    """A path of this touchscreen that ends in a PDF."""
    parts = urlsplit(path)
    if parts.scheme or parts.netloc or not parts.path.startswith("/") or not parts.path.endswith(".pdf"):
        raise HTTPException(422, "no sheet of ours")
    return path


def _form(path: str) -> str:
    """A word for what it is: the last part of its path."""
    return urlsplit(path).path.rpartition("/")[2].removesuffix(".pdf")[:40]


def paper_in_words(screen: Screen, request: Request) -> dict[str, Any]:
    """``kind``: none, ask, busy or ready; ``title`` and ``text`` in words."""
    queue, t = screen.vehicle.paper, screen.texts(request)
    if queue.printer is None:
        return {"kind": "none", "title": t("touch.paper.none"), "text": t("touch.paper.none_hint")}
    if queue.fault is not None:
        words = hint(queue.fault, t.language)
        return {"kind": "ask", "title": words.title, "text": words.next_step}
    busy = bool(queue.waiting())
    kind = "busy" if busy else "ready"
    return {"kind": kind, "title": t(f"touch.paper.{kind}"), "text": t(f"touch.paper.{kind}_hint")}

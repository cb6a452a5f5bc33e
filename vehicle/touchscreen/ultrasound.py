"""Ultrasound: the live picture with freeze and clip, a still with its measuring tools, clips to play.

Pictures are taken in the consultation process; what was taken is read from the record.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from devices.errors import AskPerson
from sync.record.recordings import RecordingMissing
from sync.web.access import roles
from sync.web.catalog import Texts
from sync.web.pages import HEADERS
from telemedicine.consultation import read_who
from telemedicine.ultrasound.measuring import MOST_LINE_POINTS
from vehicle.captures import MEDIA_TYPES, STILL
from vehicle.clinic.critical_record import MARKED_ON_ULTRASOUND
from vehicle.hints import hint
from vehicle.touchscreen.archive_words import archive_words
from vehicle.touchscreen.capture_api import still_message
from vehicle.touchscreen.frame import Screen, back, referring_path
from vehicle.touchscreen.sessions import CLINICAL, DOCTORS
from vehicle.ultrasound import ImageUnknown, ImageView

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

MEDIA_TIMEOUT_S = 15.0
PAGE = "/ultrasound"


class MediaProcessDown(AskPerson):
    """The consultation process does not answer."""

    code = "consultation_down"


class Measured(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tool: Annotated[str, Field(max_length=20)]
    points: Annotated[list[tuple[float, float]], Field(min_length=2, max_length=MOST_LINE_POINTS)]


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get(PAGE)
    @roles(*CLINICAL)
    async def live(request: Request) -> Response:
        served = vehicle.encounters.current()
        images = vehicle.ultrasound.images(served.encounter) if served else []
        context = {
            "machine": vehicle.ultrasound.machine,
            "depth": vehicle.ultrasound.depth,
            "images": [shown(vehicle, image, screen.texts(request)) for image in images],
            "clip": await _clip_under_way(vehicle.settings.consultation.socket),
        }
        return screen.page(request, "ultrasound.html", "measure", context)

    @router.post(f"{PAGE}/freeze")
    @roles(*CLINICAL)
    async def freeze(request: Request) -> Response:
        """Keep the picture of this moment and show it."""
        made = await asked(request, "/ultrasound/freeze")
        return back(f"{PAGE}/{made['sha256']}")

    @router.post(f"{PAGE}/clip")
    @roles(*CLINICAL)
    async def clip(request: Request) -> Response:
        machine = vehicle.ultrasound.machine
        await asked(request, "/ultrasound/clip", seconds=machine.clip_longest_s if machine else 30)
        return back(PAGE)

    @router.post(f"{PAGE}/clip/stop")
    @roles(*CLINICAL)
    async def stop(request: Request) -> Response:
        await asked(request, "/ultrasound/clip/stop")
        return back(PAGE)

    @router.post(f"{PAGE}/depth")
    @roles(*CLINICAL)
    async def depth(request: Request, depth: str = Form("", max_length=24)) -> Response:
        await vehicle.ultrasound.choose_depth(depth, request.state.caller.id)
        return back(referring_path(request, PAGE))

    @router.get(f"{PAGE}/images/{{sha256}}")
    @roles(*CLINICAL)
    async def file(request: Request, sha256: str) -> Response:
        """The very bytes of the record."""
        image = known(sha256)
        if not vehicle.recordings.has(sha256):
            return JSONResponse(screen.explain(request, RecordingMissing()), status_code=404, headers=HEADERS)
        return FileResponse(vehicle.recordings.path(sha256), media_type=MEDIA_TYPES[image.what], headers=HEADERS)

    @router.get(f"{PAGE}/{{sha256}}")
    @roles(*CLINICAL)
    async def one(request: Request, sha256: str) -> Response:
        image = known(sha256)
        t = screen.texts(request)
        missing = None if vehicle.recordings.has(sha256) else hint(RecordingMissing.code, t.language)
        context = {
            "image": shown(vehicle, image, t),
            "still": still_message(image),
            "missing": missing,
            "may_mark": request.state.caller.role in DOCTORS and bool(image.patient),
            "marks": [(what, t(f"critical.finding_{what}")) for what in MARKED_ON_ULTRASOUND],
        }
        return screen.page(request, "still.html" if image.what == STILL else "clip.html", "measure", context)

    @router.get(f"{PAGE}/{{sha256}}/told")
    @roles(*CLINICAL)
    async def told(request: Request, sha256: str) -> JSONResponse:
        """The still with its measurements, as scripts draw it."""
        return JSONResponse(still_message(known(sha256)), headers=HEADERS)

    @router.post(f"{PAGE}/{{sha256}}/measure")
    @roles(*CLINICAL)
    async def measure(request: Request, sha256: str, measured: Measured) -> JSONResponse:
        view = await vehicle.ultrasound.measure(sha256, measured.tool, measured.points, request.state.caller.id)
        return JSONResponse(view.message(), headers=HEADERS)

    @router.post(f"{PAGE}/{{sha256}}/critical")
    @roles(*DOCTORS)
    async def critical(
        request: Request,
        sha256: str,
        what: Annotated[str, Form(max_length=40)] = "",
        words: Annotated[str, Form(max_length=200)] = "",
    ) -> Response:
        """What the doctor sees in it is critical: from here it is a red value like any other."""
        known(sha256)
        found = await vehicle.critical_findings.mark(sha256, what, words, request.state.caller.id)
        return back(f"/critical/{found}")

    @router.post(f"{PAGE}/{{sha256}}/send-again")
    @roles(*CLINICAL)
    async def send_again(request: Request, sha256: str) -> Response:
        if vehicle.picture_archive is not None:
            await vehicle.picture_archive.again(sha256, request.state.caller.id)
        return back(f"{PAGE}/{sha256}")

    def known(sha256: str) -> ImageView:
        try:
            return vehicle.ultrasound.image(sha256)
        except ImageUnknown:
            raise HTTPException(404, "no such image") from None

    async def asked(request: Request, path: str, **more: Any) -> dict[str, Any]:
        body = {"by": request.state.caller.id, **more}
        return await ask_media(vehicle.settings.consultation.socket, path, body)

    return router


async def ask_media(socket: Path, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the consultation process answers.

    :raises MediaProcessDown: it does not
    :raises AskPerson: it refused; the code is the one it gave
    """
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://consultation", timeout=MEDIA_TIMEOUT_S
        ) as client:
            answer = await client.post(path, json=body)
            said = answer.json()
    except (httpx.HTTPError, ValueError) as fault:
        raise MediaProcessDown(f"{path}: {fault}") from fault
    if answer.is_success and isinstance(said, dict):
        return said
    detail = said.get("detail") if isinstance(said, dict) else None
    refusal = AskPerson(str(detail))
    refusal.code = detail.get("code", MediaProcessDown.code) if isinstance(detail, dict) else "no_ultrasound_picture"
    raise refusal


async def _clip_under_way(socket: Path) -> dict[str, Any] | None:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://consultation", timeout=2.0) as client:
            said = (await client.get("/ultrasound/status")).json()
    except (httpx.HTTPError, ValueError):
        return None
    clip = said.get("clip") if isinstance(said, dict) else None
    return clip if isinstance(clip, dict) else None


def shown(vehicle: Vehicle, image: ImageView, t: Texts) -> dict[str, Any]:
    """An image as pages show it: who took it in words, and how it stands with the hospital's archive."""
    names = {person.id: person.name for person in vehicle.staff.all()}
    who = read_who(image.who)[1] if image.who else names.get(image.by, image.by)
    state, words = archive_words(vehicle, image.sha256, image.encounter is not None and image.patient is not None, t)
    return {
        "sha256": image.sha256,
        "is_still": image.what == STILL,
        "at": image.at,
        "seconds": round(image.duration_ms / 1000),
        "who": who,
        "by_specialist": bool(image.who),
        "depth": image.facts.get("depth", ""),
        "interrupted": bool(image.facts.get("interrupted")),
        "pixel": image.pixel,
        "evicted": image.evicted,
        "measured": len(image.measurements),
        "archive": words,
        "archive_state": state,
    }

"""What the media process hands over: the machine's settings, stills and clips in parts, specialists' measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync.web.access import roles
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.measuring import MOST_LINE_POINTS
from vehicle.captures import CLIP, STILL
from vehicle.touchscreen.sessions import LOCAL
from vehicle.ultrasound import CaptureFacts

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

LARGEST_PART_BYTES = 64_000_000
Size = Annotated[int, Field(ge=1, le=16_384)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Begun(Asked):
    what: Annotated[str, Field(pattern=f"^({STILL}|{CLIP})$")]
    source_size: tuple[Size, Size]
    width: Size
    height: Size
    age_ms: Annotated[int, Field(ge=0, le=600_000)]
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    by: Annotated[str, Field(max_length=63)] | None = None
    who: Annotated[str, Field(max_length=200)] = ""
    consultation: Annotated[str, Field(max_length=80)] = ""


class Finished(Asked):
    duration_ms: Annotated[int, Field(ge=0, le=600_000)]


class Measure(Asked):
    sha256: Sha256
    tool: Annotated[str, Field(max_length=20)]
    points: Annotated[list[tuple[float, float]], Field(max_length=MOST_LINE_POINTS)]
    who: Annotated[str, Field(max_length=200)] = ""


def routes(vehicle: Vehicle) -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.put("/ultrasound/machine")
    @roles(LOCAL)
    async def machine(told: MachineSettings) -> JSONResponse:
        await vehicle.ultrasound.told(told)
        return JSONResponse({"depth": vehicle.ultrasound.depth})

    @router.post("/captures")
    @roles(LOCAL)
    async def begin(begun: Begun) -> JSONResponse:
        return JSONResponse({"capture": await vehicle.ultrasound.begin(CaptureFacts(**begun.model_dump()))})

    @router.put("/captures/{capture}/parts/{offset}")
    @roles(LOCAL)
    async def part(capture: str, offset: int, request: Request) -> JSONResponse:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST_PART_BYTES:
                raise HTTPException(413, f"a part has at most {LARGEST_PART_BYTES} bytes")
        return JSONResponse({"bytes": await vehicle.captures.append(capture, offset, bytes(body))})

    @router.post("/captures/{capture}/finish")
    @roles(LOCAL)
    async def finish(capture: str, finished: Finished) -> JSONResponse:
        return JSONResponse((await vehicle.captures.finish(capture, finished.duration_ms)).message())

    @router.post("/image-measurements")
    @roles(LOCAL)
    async def measured(asked: Measure) -> JSONResponse:
        view = await vehicle.ultrasound.measure(asked.sha256, asked.tool, asked.points, who=asked.who)
        return JSONResponse(view.message())

    @router.get("/encounters/{encounter}/stills")
    @roles(LOCAL)
    async def stills(encounter: str) -> JSONResponse:
        """The stills of an encounter with what was measured on them, oldest first."""
        images = [image for image in vehicle.ultrasound.images(encounter) if image.what == STILL and not image.evicted]
        return JSONResponse([still_message(image) for image in reversed(images)])

    @router.get("/stills/{sha256}")
    @roles(LOCAL)
    async def still(sha256: str) -> Response:
        image = vehicle.ultrasound.image(sha256)
        if image.what != STILL:
            raise HTTPException(404, "not a still")
        return Response(vehicle.recordings.read(sha256), media_type="image/png")

    return router


def still_message(image: Any) -> dict[str, Any]:
    """A still as pages are told of it."""
    return {
        "sha256": image.sha256,
        "bytes": image.bytes,
        "encounter": image.encounter,
        "at": image.at.isoformat(),
        "device": image.device,
        "who": image.who or image.by,
        "width": image.facts.get("width", 0),
        "height": image.facts.get("height", 0),
        "depth": image.facts.get("depth", ""),
        "pixel_mm": [image.pixel.width_mm, image.pixel.height_mm] if image.pixel else None,
        "measurements": [one.message() for one in image.measurements],
    }

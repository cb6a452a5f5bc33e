"""Spoken prompts for the kiosk: which clips make a sentence, the clips, and the language of the person at hand."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.touchscreen.frame import Screen, back, referring_path
from vehicle.touchscreen.sessions import CREW
from vehicle.voice.voice import GRADES

BY_HAND = (
    "sit_quietly",
    "arm_on_table",
    "do_not_speak",
    "finger_in",
    "hold_still",
    "fasting",
    "wait_here",
    "not_a_diagnosis",
    "take_slip",
    "thanks",
)
"""Sentences that have a button; the others are said when their moment comes."""
_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,2})?")


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    voice = screen.vehicle.voice
    screen.pages.globals["voice"] = voice
    screen.pages.globals["spoken_by_hand"] = BY_HAND

    @router.get("/voice/say/{sentence}")
    @roles(*CREW)
    async def say(request: Request, sentence: str) -> Response:
        """The clips of a sentence in order: url, text and language of each; none while the van is not to speak."""
        spoken = voice.say(sentence, _facts(request)) if voice.settings.on else []
        told: dict[str, Any] = {
            "sentence": sentence,
            "text": " ".join(one.clip.text for one in spoken),
            "clips": [
                {"url": f"/voice/clips/{one.language}/{one.clip.id}", "text": one.clip.text, "language": one.language}
                for one in spoken
            ],
        }
        return JSONResponse(told, headers=HEADERS)

    @router.get("/voice/clips/{language}/{clip}")
    @roles(*CREW)
    async def clip(language: str, clip: str) -> Response:
        found = voice.clip(language, clip)
        if found is None:
            raise HTTPException(404, "no such clip")
        return FileResponse(found.path, media_type=found.media_type, headers={"Cache-Control": "private, max-age=3600"})

    @router.post("/voice/language")
    @roles(*CREW)
    async def choose(request: Request, language: Annotated[str, Form(max_length=3)]) -> Response:
        """What is spoken from now on, until somebody else is served."""
        if language not in voice.packs:
            raise HTTPException(422, "no pack of that language")
        voice.language = language
        return back(referring_path(request, "/measure"))

    return router


def _facts(request: Request) -> dict[str, str]:
    """Numbers as they are written, and the grade; anything else is left out."""
    told = {name: said for name, said in request.query_params.items() if _NUMBER.fullmatch(said)}
    grade = request.query_params.get("grade", "")
    return told | ({"grade": f"grade_{grade}"} if grade in GRADES else {})

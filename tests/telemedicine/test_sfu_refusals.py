"""What an SFU may say instead of an answer: each in words for people, and the consultation goes on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from consultation_stage import consultation_stage, serving, tcp_listener, until
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response
from test_consultation_session import Viewer, accepted, specialist

from sync.web.catalog import texts
from telemedicine.settings import SfuSettings
from telemedicine.sfu import line
from telemedicine.sfu.errors import SfuBusy, SfuRefused
from telemedicine.sfu.http_session import LARGEST_ANSWER_BYTES, HttpSession

SDP = "application/sdp"
Said = Callable[[Request], Response]


def created(sdp: str = "v=0\r\n", location: str | None = "/session/1") -> Response:
    headers = {"ETag": '"e1"'} | ({"Location": location} if location else {})
    return Response(sdp, 201, headers, SDP)


class Answering:
    """Endpoints that say what they were told to; ``/session/1`` is what they make."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str | None, str | None]] = []
        """Method, path, Authorization, If-Match."""
        self.say: Said = lambda _: created()

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.api_route("/{path:path}", methods=["POST", "PATCH", "DELETE"])
        async def said(path: str, request: Request) -> Response:
            headers = request.headers
            self.heard.append((request.method, path, headers.get("Authorization"), headers.get("If-Match")))
            return self.say(request) if request.method == "POST" else Response(status_code=204)

        return app


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[tuple[Answering, str]]:
    sfu, listener = Answering(), tcp_listener()
    async with serving(sfu.app(), listener):
        yield sfu, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def session(url: str, token: str | None = "t") -> AsyncIterator[HttpSession]:
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
        yield HttpSession(client, url, token)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "sfu_offer_refused"),
        (401, "sfu_unauthorized"),
        (403, "sfu_unauthorized"),
        (404, "sfu_endpoint_unknown"),
        (405, "sfu_endpoint_unknown"),
        (406, "sfu_offer_refused"),
        (409, "sfu_endpoint_in_use"),
        (410, "sfu_endpoint_unknown"),
        (415, "sfu_offer_refused"),
        (422, "sfu_offer_refused"),
        (429, "sfu_busy"),
        (500, "sfu_failed"),
        (503, "sfu_busy"),
    ],
)
async def test_every_status_has_words_and_leaves_nothing_to_delete(status: int, code: str) -> None:
    async with answering() as (sfu, url), session(f"{url}/whip") as http:
        sfu.say = lambda _: Response("the room's own words", status)
        with pytest.raises(SfuRefused, match="the room's own words") as refused:
            await http.open("v=0\r\n")
        assert refused.value.code == code
        for language in ("zh", "en"):
            assert f"hints.{code}.next_step" in texts(language)
        await http.close()
        assert [method for method, *_ in sfu.heard] == ["POST"]


async def test_a_busy_sfu_says_when_to_come_back() -> None:
    async with answering() as (sfu, url), session(url) as http:
        for said, wanted_s in (("7", 7.0), ("99999", 300.0), ("soon", None)):
            sfu.say = lambda _, said=said: Response("", 503, {"Retry-After": said})
            with pytest.raises(SfuBusy) as busy:
                await http.open("v=0\r\n")
            assert busy.value.retry_after_s == wanted_s


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (created(location=None), "Location"),
        (Response("hello", 201, {"Location": "/session/1"}, "text/html"), "without a session description"),
        (created("x" * (LARGEST_ANSWER_BYTES + 1)), "longer than"),
        (Response("v=0", 200, {"Location": "/session/1"}, SDP), "200"),
    ],
)
async def test_an_answer_that_is_none_is_refused(answer: Response, why: str) -> None:
    async with answering() as (sfu, url), session(url) as http:
        sfu.say = lambda _: answer
        with pytest.raises(SfuRefused, match=why):
            await http.open("v=0\r\n")


async def test_nobody_there() -> None:
    closed = tcp_listener()
    port = closed.getsockname()[1]
    closed.close()
    async with session(f"http://127.0.0.1:{port}/whip") as http:
        with pytest.raises(SfuRefused) as refused:
            await http.open("v=0\r\n")
        assert refused.value.code == "sfu_unreachable"


async def test_patch_and_delete_go_to_the_session_and_name_its_version() -> None:
    async with answering() as (sfu, url), session(f"{url}/whep/a") as http:
        sfu.say = lambda _: Response("v=0\r\n", 406, {"Location": "../session/1", "ETag": '"e1"'}, SDP)
        assert (await http.open("v=0\r\n")).is_offer
        await http.answer("v=0\r\n")
        await http.close()
        await http.close()
        assert sfu.heard == [
            ("POST", "whep/a", "Bearer t", None),
            ("PATCH", "session/1", "Bearer t", '"e1"'),
            ("DELETE", "session/1", "Bearer t", None),
        ]


async def test_a_redirect_is_followed_and_another_host_does_not_get_the_token() -> None:
    async with answering() as (first, url), answering() as (second, other_url), session(f"{url}/whip") as http:
        first.say = lambda _: RedirectResponse(f"{other_url}/whip", 307)
        assert not (await http.open("v=0\r\n")).is_offer
        await http.close()
        assert second.heard == [("POST", "whip", None, None), ("DELETE", "session/1", None, None)]
        assert [method for method, *_ in first.heard] == ["POST"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"publish": {"room": "http://sfu.example/whip"}},
        {"publish": {"kitchen": "https://sfu.example/whip"}},
        {"play": "sfu.example"},
        {"play": "https://sfu.example/whep", "name": "a;b"},
        {},
    ],
    ids=["in the clear", "unknown feed", "no URL", "name", "nothing"],
)
def test_settings_that_are_wrong_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SfuSettings.model_validate({"name": "hospital", **wrong})


async def _dead_end(offer: str) -> str:
    """A true answer that names only an address where nobody is."""
    pc = RTCPeerConnection()
    await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    sdp = pc.localDescription.sdp
    await pc.close()
    return re.sub(r"^(a=candidate:\S+ \d+ \S+ \d+) \S+ \d+", r"\1 203.0.113.9 9", sdp, flags=re.MULTILINE)


async def test_the_consultation_goes_on_whatever_the_sfu_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "CONNECTS_WITHIN_S", 1.0)
    monkeypatch.setattr(line, "LAST_RETRY_S", 0.2)
    monkeypatch.setattr(line, "FIRST_RETRY_S", 0.1)
    sfu, listener, deleted = FastAPI(), tcp_listener(), []
    mood = {"status": 401}

    @sfu.post("/whip")
    async def whip(request: Request) -> Response:
        if mood["status"] != 201:
            return Response("no", mood["status"])
        return created(await _dead_end((await request.body()).decode()))

    @sfu.delete("/session/1")
    async def ended() -> Response:
        deleted.append(1)
        return Response()

    token = tmp_path / "token"
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/whip"
    settings = SfuSettings(name="hospital", publish={"ultrasound": url}, token=token)
    async with (
        serving(sfu, listener),
        consultation_stage(tmp_path, sfu=(settings,)) as stage,
        specialist(stage) as page,
    ):

        def said() -> str:
            return str(stage.van.status()["sfu"][0].get("code"))

        await accepted(stage, page)
        viewer = Viewer()
        await page.connect_media(viewer)
        await until(lambda: said() == "sfu_token_missing")
        token.write_text("t")
        await until(lambda: said() == "sfu_unauthorized")
        mood["status"] = 409
        await until(lambda: said() == "sfu_endpoint_in_use")
        mood["status"] = 201
        await until(lambda: said() == "sfu_no_media")
        assert deleted, "a session that carries nothing is ended there"
        pictures = len(viewer.pictures[1])
        await until(lambda: len(viewer.pictures[1]) > pictures + 10)
        assert stage.vehicle.accesses == [] or all("sfu" not in access["who"] for access in stage.vehicle.accesses)
        assert viewer.pc.connectionState == "connected"
        await viewer.close()

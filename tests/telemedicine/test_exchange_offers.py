"""An offer by one request, without a socket: answered by the van, refused with a word that the page can say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from consultation_stage import Stage, consultation_stage, until
from test_consultation_session import Viewer, accepted, specialist

from telemedicine.exchange import offers
from telemedicine.wire import SDP_LIMIT_CHARACTERS

PATH = "/specialist/consultations/consultation-1/offer"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with consultation_stage(tmp_path) as ready:
        yield ready


async def test_one_request_connects_a_page_whose_socket_is_gone(stage: Stage) -> None:
    async with specialist(stage) as page:
        await accepted(stage, page)
    viewer = Viewer()
    async with httpx.AsyncClient(base_url=stage.url, headers={"Cookie": page.cookie}) as http:
        answer = await http.post(PATH, params={"session": "s_1"}, content=await viewer.offer())
    assert (answer.status_code, answer.headers["content-type"]) == (201, offers.SDP)
    await viewer.take(answer.text)
    await until(lambda: len(viewer.pictures) == 2 and all(viewer.pictures) and len(viewer.samples) > 10)
    assert stage.exchange.rooms._pages == [], "nobody listens on when the answer has come"
    await viewer.close()


async def test_what_is_refused_has_a_word(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async with specialist(stage) as page, specialist(stage, "he.ping") as other:
        await accepted(stage, page)

        async def word(cookie: str, sdp: str, session: str = "s_1") -> tuple[int, str]:
            async with httpx.AsyncClient(base_url=stage.url, headers={"Cookie": cookie}) as http:
                answer = await http.post(PATH, params={"session": session}, content=sdp)
            return answer.status_code, answer.json()["word"]

        assert await word(other.cookie, "v=0 and more") == (409, "not_yours")
        assert await word(page.cookie, "x" * (SDP_LIMIT_CHARACTERS + 1)) == (413, "too_long")
        assert await word(page.cookie, "v=0 and more", "no good name") == (409, "unreadable")
        assert await word(page.cookie, "this is no offer at all") == (409, "offer")
        monkeypatch.setattr(offers, "ANSWER_WITHIN_S", 0.0)
        assert await word(page.cookie, "this is no offer at all") == (504, "van_away")
        async with httpx.AsyncClient(base_url=stage.url) as http:
            assert (await http.post(PATH, params={"session": "s_1"}, content="v=0")).status_code == 401

"""The photo of the van at the village sign, and the signature of somebody of the village: shown, kept, told."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response
from touch_bench import PIN, Bench

from devices.clock import SimulatedClock
from sync.formats.records import Entry, read_entry
from sync.record.database import DiskFull
from vehicle.patrol import visit_pictures
from vehicle.patrol.visit_pictures import PhotoGone, PhotoRefused, VillageSignatureMissing, VisitPictures
from vehicle.patrol.visits import NoVisitOpen
from vehicle.touchscreen import visit_pictures as page
from vehicle.touchscreen.app import create_touchscreen

PLACE = (30.6, 104.0)
JPEG = b"\xff\xd8\xff\xe0 the van beside a sign"
PNG = b"\x89PNG\r\n\x1a\n strokes"
SIGNATURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
VILLAGE = "510199201201"


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    made.stand_at(PLACE)
    yield made
    await made.vehicle.stop()


@pytest.fixture
async def pictures(bench: Bench) -> VisitPictures:
    await bench.vehicle.visits.start(VILLAGE, ["zhou.min"], "zhou.min")
    return bench.vehicle.visit_pictures


def entries(bench: Bench, kind: str) -> list[Entry]:
    store = bench.vehicle.store
    found = (read_entry(body) for body in store.entries(0, store.size()))
    return [entry for entry in found if entry.kind == kind]


# kept -----------------------------------------------------------------------------------------------------------------


async def test_a_photo_is_kept_as_a_recording_and_told_in_the_open(bench: Bench, pictures: VisitPictures) -> None:
    photo = pictures.take(JPEG)
    assert entries(bench, "visit_picture/1") == []
    bench.clock.advance(40)
    await pictures.keep(photo.sha256, "zhou.min")
    (said,) = entries(bench, "visit_picture/1")
    visit = bench.vehicle.visits.current()
    assert visit is not None
    assert said.fields | {"taken_at": ""} == said.fields | {
        "visit_id": visit.visit,
        "village": VILLAGE,
        "what": "village_sign",
        "sha256": sha256(JPEG).hexdigest(),
        "media_type": "image/jpeg",
        "lat_e7": 306_000_000,
        "lon_e7": 1_040_000_000,
        "taken_at": "",
    }
    assert (said.at - photo.taken_at).total_seconds() == 40
    assert (said.by, said.visit) == ("zhou.min", visit.visit)
    (recording,) = entries(bench, "recording/1")
    assert (recording.fields["what"], recording.fields["sha256"]) == ("photo", photo.sha256)
    assert bench.vehicle.recordings.read(photo.sha256) == JPEG
    assert pictures.waiting is None


async def test_the_same_picture_twice_is_one_recording(bench: Bench, pictures: VisitPictures) -> None:
    for _ in range(2):
        await pictures.keep(pictures.take(JPEG).sha256, "zhou.min")
    assert (len(entries(bench, "visit_picture/1")), len(entries(bench, "recording/1"))) == (2, 1)


async def test_only_the_photo_that_was_seen_is_kept(bench: Bench, pictures: VisitPictures) -> None:
    first = pictures.take(JPEG)
    second = pictures.take(JPEG + b" again")
    with pytest.raises(PhotoGone):
        await pictures.keep(first.sha256, "zhou.min")
    bench.clock.advance(visit_pictures.WAITS_FOR.total_seconds() + 1)
    with pytest.raises(PhotoGone):
        await pictures.keep(second.sha256, "zhou.min")
    assert entries(bench, "visit_picture/1") == []


async def test_a_photo_of_the_visit_before_is_not_kept_in_this_one(bench: Bench, pictures: VisitPictures) -> None:
    photo = pictures.take(JPEG)
    await bench.vehicle.visits.end("zhou.min")
    with pytest.raises(NoVisitOpen):
        pictures.take(JPEG)
    await bench.vehicle.visits.start(VILLAGE, ["zhou.min"], "zhou.min")
    assert pictures.waiting is None
    with pytest.raises(PhotoGone):
        await pictures.keep(photo.sha256, "zhou.min")


async def test_a_full_disk_loses_nothing(
    bench: Bench, pictures: VisitPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = pictures.take(JPEG)

    def full(*_: object) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as once:
        once.setattr(bench.vehicle.recordings, "store", full)
        with pytest.raises(DiskFull):
            await pictures.keep(photo.sha256, "zhou.min")
    assert pictures.waiting == photo
    await pictures.keep(photo.sha256, "zhou.min")
    assert len(entries(bench, "visit_picture/1")) == 1


@pytest.mark.parametrize("bad", [b"", b"<html>", JPEG + bytes(4_000_000)], ids=["empty", "html", "large"])
async def test_what_is_no_photo_is_refused(pictures: VisitPictures, bad: bytes) -> None:
    with pytest.raises(PhotoRefused):
        pictures.take(bad)


async def test_a_visit_has_a_dozen_pictures_at_most(pictures: VisitPictures) -> None:
    for n in range(visit_pictures.MOST_PICTURES):
        await pictures.keep(pictures.take(JPEG + bytes([n])).sha256, "zhou.min")
    with pytest.raises(PhotoRefused):
        pictures.take(JPEG)
    with pytest.raises(PhotoRefused):
        await pictures.sign(PNG, "", "head", "zhou.min")


async def test_a_signature_names_who_signed_and_is_proposed_the_next_time(
    bench: Bench, pictures: VisitPictures
) -> None:
    await pictures.sign(PNG, " 王  建国 ", "head", "zhou.min")
    (said,) = entries(bench, "visit_picture/1")
    assert [said.fields[name] for name in ("what", "name", "post", "media_type")] == [
        "signature",
        "王 建国",
        "head",
        "image/png",
    ]
    (recording,) = entries(bench, "recording/1")
    assert recording.fields["what"] == "signature"
    assert pictures.names() == ["王 建国"]
    await pictures.sign(PNG + b"2", "", "secretary", "zhou.min")
    assert "name" not in entries(bench, "visit_picture/1")[1].fields
    assert [one.post for one in pictures.kept(said.fields["visit_id"])] == ["head", "secretary"]


@pytest.mark.parametrize(
    ("png", "name", "post"),
    [(b"", "王建国", "head"), (PNG, "王建国", "king"), (PNG, "王" * 41, "head")],
    ids=["nothing drawn", "no office", "long name"],
)
async def test_a_signature_that_is_none_is_refused(
    bench: Bench, pictures: VisitPictures, png: bytes, name: str, post: str
) -> None:
    with pytest.raises(VillageSignatureMissing):
        await pictures.sign(png, name, post, "zhou.min")
    assert entries(bench, "recording/1") == []


async def test_without_a_position_none_is_said(tmp_path: Path, clock: SimulatedClock) -> None:
    bench = Bench(tmp_path, clock)
    try:
        await bench.vehicle.visits.start(VILLAGE, ["zhou.min"], "zhou.min")
        pictures = bench.vehicle.visit_pictures
        await pictures.keep(pictures.take(JPEG).sha256, "zhou.min")
        assert not {"lat_e7", "lon_e7", "accuracy_m"} & entries(bench, "visit_picture/1")[0].fields.keys()
    finally:
        await bench.vehicle.stop()


# on the touchscreen ---------------------------------------------------------------------------------------------------


async def driver(bench: Bench) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    caller = httpx.AsyncClient(transport=transport, base_url="http://van", follow_redirects=True)
    await caller.post("/sign-in", data={"person": "zhao.hai", "pin": PIN["zhao.hai"]})
    return caller


async def test_one_touch_shows_the_photo_and_a_second_keeps_it(
    bench: Bench, pictures: VisitPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def camera(socket: Path, path: str) -> bytes:
        assert (socket, path) == (bench.settings.consultation.socket, "/camera/photo")
        return JPEG

    monkeypatch.setattr(page, "still_of", camera)
    async with aclosing(await driver(bench)) as caller:
        assert 'data-testid="photo"' in (await caller.get("/today")).text
        shown = await caller.post("/visit/photo")
        assert (shown.url.path, "keep-photo" in shown.text) == ("/visit/photo", True)
        assert (await caller.get("/visit/photo/waiting")).content == JPEG
        today = await caller.post("/visit/photo/keep", data={"sha256": sha256(JPEG).hexdigest()})
        assert today.url.path == "/today"
        assert "村牌照片 1 张" in today.text
        assert (await caller.get(f"/visit/pictures/{sha256(JPEG).hexdigest()}")).content == JPEG
        assert (await caller.get(f"/visit/pictures/{'0' * 64}")).status_code == 404
        assert (await caller.get("/visit/photo/waiting")).status_code == 404
        gone = await caller.post("/visit/photo/keep", data={"sha256": sha256(JPEG).hexdigest()})
        assert "照片不在了" in gone.text


async def test_without_a_camera_the_page_says_what_to_do(bench: Bench, pictures: VisitPictures) -> None:
    """Asked over the real socket: first nobody answers, then a process that knows of no camera."""
    process = FastAPI()

    @process.get("/camera/photo")
    async def refused() -> Response:
        return JSONResponse({"detail": {"code": "no_outside_camera", "reason": "none"}}, status_code=409)

    async with aclosing(await driver(bench)) as caller:
        assert "会诊程序没有运行" in (await caller.post("/visit/photo")).text
        socket = bench.settings.consultation.socket
        server = uvicorn.Server(uvicorn.Config(process, uds=str(socket), lifespan="off", log_level="warning"))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        try:
            text = (await caller.post("/visit/photo")).text
        finally:
            await server.shutdown()
        assert "没有朝车外的摄像头" in text
        assert "用来看车外" in text
        assert "keep-photo" not in text


async def test_somebody_of_the_village_signs(bench: Bench, pictures: VisitPictures) -> None:
    async with aclosing(await driver(bench)) as caller:
        empty = await caller.post("/visit/signature", data={"post": "head", "name": "王建国", "signature": ""})
        assert "还没有签字" in empty.text
        assert 'value="王建国"' in empty.text
        today = await caller.post("/visit/signature", data={"post": "head", "name": "王建国", "signature": SIGNATURE})
        assert "村干部已签字" in today.text
        assert 'data-name="王建国"' in (await caller.get("/visit/signature")).text
    (said,) = entries(bench, "visit_picture/1")
    assert said.by == "zhao.hai"


async def test_without_a_visit_there_is_nothing_to_photograph(bench: Bench) -> None:
    async with aclosing(await driver(bench)) as caller:
        assert (await caller.get("/visit/photo")).url.path == "/today"
        assert (await caller.get("/visit/signature")).url.path == "/today"
        assert (await caller.post("/visit/photo")).url.path == "/today"
        assert 'data-testid="photo"' not in (await caller.get("/today")).text
    assert entries(bench, "visit_picture/1") == []

"""Stills and clips of the media process become recordings, whatever stops on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.record.database import DiskFull
from telemedicine.ultrasound.clips import FragmentedMp4
from telemedicine.ultrasound.fragments import whole
from telemedicine.ultrasound.stills import as_png
from tests.telemedicine.ultrasound_source import fan
from tests.vehicle.clinic_world import World
from vehicle.captures import CLIP, SILENT_AFTER_S, STILL, CaptureRefused, Captures, CaptureUnknown
from vehicle.recorded_ecg import Served

PNG = as_png(fan(1))
FACTS = {"width": 320, "height": 240}


@pytest.fixture(scope="module")
def clip() -> bytes:
    made = FragmentedMp4(320, 240, 10)
    return b"".join(made.add(fan(n), n / 10) for n in range(35)) + made.close()


class Van:
    """A clinic with its captures; ``again`` is the next start of the process on the same folder."""

    def __init__(self, folder: Path, clock: SimulatedClock) -> None:
        self.folder, self.clock = folder, clock
        self.world = World(folder, clock)
        self.captures = Captures(self.world.recordings, self.world.store, clock, self.world, self.served)

    def served(self) -> Served:
        now = self.world.encounters.current()
        return Served() if now is None else Served(now.visit, now.encounter, now.patient.patient)

    def again(self) -> Van:
        self.world.store.close()
        return Van(self.folder, self.clock)

    def rows(self) -> list[dict[str, object]]:
        return self.world.store.read("SELECT * FROM recordings ORDER BY n")


@pytest.fixture
def van(tmp_path: Path, clock: SimulatedClock) -> Van:
    return Van(tmp_path, clock)


async def test_a_still_is_a_recording_of_whom_was_served_when_it_was_frozen(van: Van) -> None:
    patient = await van.world.serve()
    name = await van.captures.begin(STILL, "ultrasound-1", "zhou.min", 1500, FACTS)
    await van.captures.append(name, 0, PNG)
    view = await van.captures.finish(name, 0)
    row = van.rows()[0]
    assert (row["sha256"], row["patient"], row["device"]) == (view.sha256, patient.patient, "ultrasound-1")
    assert json.loads(str(row["facts_json"])) == FACTS
    assert van.world.recordings.read(view.sha256) == PNG
    assert (van.clock.now() - view.started_at).total_seconds() == 1.5
    assert van.world.told("capture")[-1]["sha256"] == view.sha256


async def test_parts_come_in_order_and_twice_is_once(van: Van, clip: bytes) -> None:
    name = await van.captures.begin(CLIP, "ultrasound-1", None, 0, FACTS)
    assert await van.captures.append(name, 0, clip[:100]) == 100
    assert await van.captures.append(name, 0, clip[:100]) == 100
    with pytest.raises(CaptureRefused, match="begins at 200, but 100"):
        await van.captures.append(name, 200, clip[200:])
    await van.captures.append(name, 100, clip[100:])
    view = await van.captures.finish(name, 3500)
    assert van.world.recordings.read(view.sha256) == clip
    with pytest.raises(CaptureUnknown):
        await van.captures.finish(name, 3500)


@pytest.mark.parametrize(("what", "content"), [(STILL, b"GIF89a" * 9), (CLIP, PNG), (STILL, b"")])
async def test_what_is_no_picture_is_not_kept(van: Van, what: str, content: bytes) -> None:
    name = await van.captures.begin(what, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, content)
    with pytest.raises(CaptureRefused):
        await van.captures.finish(name, 0)
    assert (van.rows(), list(van.world.recordings.partials())) == ([], [])


async def test_no_more_than_eight_at_once_and_no_other_kinds(van: Van) -> None:
    for _ in range(8):
        await van.captures.begin(STILL, "ultrasound-1", None, 0, FACTS)
    with pytest.raises(CaptureRefused, match="under way"):
        await van.captures.begin(STILL, "ultrasound-1", None, 0, FACTS)
    with pytest.raises(CaptureRefused, match="neither"):
        await van.captures.begin("film", "ultrasound-1", None, 0, FACTS)


async def test_a_clip_whose_maker_was_killed_is_kept_as_far_as_it_plays(van: Van, clip: bytes) -> None:
    await van.world.serve()
    name = await van.captures.begin(CLIP, "ultrasound-1", "zhou.min", 0, FACTS)
    await van.captures.append(name, 0, clip[:-400])
    van.clock.advance(SILENT_AFTER_S - 1)
    await van.captures.end_silent()
    assert van.rows() == []
    van.clock.advance(2)
    await van.captures.end_silent()
    count, size = whole(clip[:-400])
    row = van.rows()[0]
    assert van.world.recordings.read(str(row["sha256"])) == clip[:size]
    assert row["duration_ms"] == count * 1000
    assert json.loads(str(row["facts_json"]))["interrupted"] is True
    assert list(van.world.recordings.partials()) == []
    with pytest.raises(CaptureUnknown):
        await van.captures.append(name, len(clip) - 400, clip[-400:])


async def test_after_a_power_cut_a_clip_is_of_the_person_it_was_begun_for(van: Van, clip: bytes) -> None:
    patient = await van.world.serve()
    name = await van.captures.begin(CLIP, "ultrasound-1", "zhou.min", 0, FACTS)
    await van.captures.append(name, 0, clip[: len(clip) // 2])
    begun_at = van.clock.now()
    van.clock.advance(600)
    after = van.again()
    views = after.captures.recover()
    assert [(view.patient, view.started_at, view.facts["interrupted"]) for view in views] == [
        (patient.patient, begun_at, True)
    ]
    assert after.captures.recover() == []
    assert len(after.rows()) == 1


async def test_a_clip_that_was_stored_before_its_partial_file_went_is_recorded_once(van: Van, clip: bytes) -> None:
    name = await van.captures.begin(CLIP, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, clip)
    under = next(iter(van.world.recordings.partials())).path
    kept = van.folder / "kept.part"
    shutil.copy(under, kept)
    shutil.copy(under.with_suffix(".json"), kept.with_suffix(".json"))
    van.clock.advance(SILENT_AFTER_S + 1)
    await van.captures.end_silent()
    shutil.move(kept, under)
    shutil.move(kept.with_suffix(".json"), under.with_suffix(".json"))
    after = van.again()
    after.captures.recover()
    assert len(after.rows()) == 1


async def test_a_full_disk_at_the_start_leaves_a_clip_for_the_next(
    van: Van, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await van.captures.begin(CLIP, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, clip)
    after = van.again()

    def refuse(data: bytes, media_type: str) -> tuple[str, int]:
        raise DiskFull("no room")

    with monkeypatch.context() as full:
        full.setattr(after.world.recordings, "store", refuse)
        assert after.captures.recover() == []
    assert len(after.captures.recover()) == 1


async def test_a_clip_that_the_journal_does_not_take_at_the_end_is_brought_back_at_the_next_start(
    van: Van, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await van.captures.begin(CLIP, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, clip)

    async def refuse(*drafts: object) -> list[object]:
        raise DiskFull("no room")

    with monkeypatch.context() as full:
        full.setattr(van.world.store, "commit", refuse)
        await van.captures.stop()
    assert van.rows() == []
    assert len(van.again().captures.recover()) == 1


@pytest.mark.parametrize("what", [STILL, CLIP])
@pytest.mark.parametrize("later", ["finished again", "silent", "next start"])
async def test_what_the_journal_does_not_take_is_tried_again(
    van: Van, clip: bytes, monkeypatch: pytest.MonkeyPatch, what: str, later: str
) -> None:
    content = PNG if what == STILL else clip
    name = await van.captures.begin(what, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, content)

    async def refuse(*drafts: object) -> list[object]:
        raise DiskFull("no room")

    with monkeypatch.context() as full:
        full.setattr(van.world.store, "commit", refuse)
        with pytest.raises(DiskFull):
            await van.captures.finish(name, 3500)
    assert van.rows() == []
    if later == "finished again":
        await van.captures.finish(name, 3500)
    elif later == "silent":
        van.clock.advance(SILENT_AFTER_S + 1)
        await van.captures.end_silent()
    else:
        van = van.again()
        van.captures.recover()
    kept = [str(row["sha256"]) for row in van.rows()]
    assert [van.world.recordings.read(sha256) for sha256 in kept] == [content]
    assert (list(van.world.recordings.names()), list(van.world.recordings.partials())) == (kept, [])


async def test_half_a_still_is_no_still(van: Van) -> None:
    name = await van.captures.begin(STILL, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, PNG[: len(PNG) // 2])
    after = van.again()
    assert after.captures.recover() == []
    assert (after.rows(), list(after.world.recordings.partials())) == ([], [])


async def test_stopping_the_process_stores_what_is_under_way(van: Van, clip: bytes) -> None:
    name = await van.captures.begin(CLIP, "ultrasound-1", None, 0, FACTS)
    await van.captures.append(name, 0, clip)
    await van.captures.stop()
    assert len(van.rows()) == 1


async def test_a_full_disk_refuses_the_beginning(van: Van) -> None:
    def refuse(media_type: str) -> None:
        raise DiskFull("no room")

    van.world.recordings.admit = refuse
    with pytest.raises(DiskFull):
        await van.captures.begin(CLIP, "ultrasound-1", None, 0, FACTS)

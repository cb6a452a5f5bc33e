"""Freeze and clip between the machine and the vehicle's record, and stills on their way to a page."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from typing import Any

import av
import pytest

from devices.clock import SystemClock
from telemedicine.media.h264 import LIBX264
from telemedicine.ultrasound.bridge import ClipUnderWay, UltrasoundBridge
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.picture import NoPicture, SharedPicture
from telemedicine.ultrasound.still_channel import HEAD, StillChannels
from telemedicine.ultrasound.stills import as_png
from telemedicine.vehicle_client import VehicleAway, VehicleRefused
from tests.telemedicine.ultrasound_source import PlayedSource, fan

MACHINE = MachineSettings(name="ultrasound-1", clip_longest_s=20)
WHO = "沈若川, 主任医师 (shen.ruochuan)"


class Record:
    """The vehicle's side in memory; away or refusing when told to."""

    def __init__(self) -> None:
        self.away = self.refuses = False
        self.machines: list[str] = []
        self.said: dict[str, Any] = {}
        self.parts = bytearray()
        self.came = asyncio.Event()
        self.finished: list[int] = []
        self.kept: dict[str, bytes] = {}
        self.measured: list[Any] = []

    def _look(self) -> None:
        if self.away:
            raise VehicleAway("restarting")
        if self.refuses:
            raise VehicleRefused("no such still or clip is under way")

    async def machine(self, settings: MachineSettings) -> None:
        self._look()
        self.machines.append(settings.name)

    async def begin(self, said: dict[str, Any]) -> str:
        self._look()
        self.said, self.parts = said, bytearray()
        return "capture-1"

    async def append(self, capture: str, offset: int, part: bytes) -> None:
        self._look()
        assert offset == len(self.parts)
        self.parts += part
        self.came.set()

    async def finish(self, capture: str, duration_ms: int) -> dict[str, Any]:
        self._look()
        self.finished.append(duration_ms)
        sha256 = hashlib.sha256(self.parts).hexdigest()
        self.kept[sha256] = bytes(self.parts)
        return {"sha256": sha256}

    async def measure(self, sha256: str, tool: str, points: Any, who: str) -> dict[str, Any]:
        self.measured.append((sha256, tool, points, who))
        return {}

    async def stills(self, encounter: str) -> list[dict[str, Any]]:
        self._look()
        return [{"sha256": sha256, "bytes": len(png)} for sha256, png in self.kept.items()]

    async def still(self, sha256: str) -> bytes:
        return self.kept[sha256]


class Playing(PlayedSource):
    """The next picture comes when it is asked for, a tenth of a second of its own time after the last."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.number, self.at_s = 0, SystemClock().monotonic_s()

    def newer(self, than: int, timeout_s: float) -> Any:
        self.number += 1
        self.at_s += 0.1
        self.show(fan(self.number), self.at_s)
        return super().newer(than, timeout_s)


def bridge(record: Record, source: PlayedSource | None = None) -> UltrasoundBridge:
    picture = SharedPicture(source or Playing(), MACHINE)
    return UltrasoundBridge(picture, record, 10.0, LIBX264, SystemClock(), lambda: "consultation-1")  # type: ignore[arg-type]


async def test_a_freeze_is_in_the_record_before_anybody_hears_of_it() -> None:
    record = Record()
    made = await bridge(record).freeze(by="zhou.min")
    assert record.kept[made["sha256"]].startswith(b"\x89PNG")
    assert (record.said["what"], record.said["by"], record.said["consultation"]) == (
        "ultrasound_still",
        "zhou.min",
        "consultation-1",
    )
    assert (record.said["width"], record.said["source_size"]) == (320, [320, 240])


async def test_a_clip_comes_second_by_second_and_ends_when_it_is_stopped() -> None:
    record = Record()
    machine = bridge(record)
    await machine.start_clip(20, by="zhou.min")
    assert record.parts, "the first second is in the record when the answer comes"
    with pytest.raises(ClipUnderWay):
        await machine.start_clip(5)
    await machine.stop_clip()
    assert machine.status()["clip"] is None
    with av.open(io.BytesIO(bytes(record.parts))) as clip:
        frames = sum(1 for _ in clip.decode(video=0))
    assert record.finished == [frames * 100]
    assert record.said["scale"] == 1.0


async def test_a_clip_is_never_longer_than_the_machine_s_settings_allow() -> None:
    record = Record()
    machine = bridge(record)
    machine.picture.machine = MACHINE.model_copy(update={"clip_longest_s": 2})
    await machine.start_clip(100)
    assert machine.status()["longest_s"] == 2
    await machine._clip.task if machine._clip is not None and machine._clip.task is not None else None
    assert record.finished == [2000]


@pytest.mark.parametrize("fault", ["away", "refuses"])
async def test_a_vehicle_that_restarts_ends_the_clip_and_the_next_one_works(fault: str) -> None:
    record = Record()
    machine = bridge(record)
    await machine.start_clip(20)
    setattr(record, fault, True)
    await machine.stop_clip()
    assert machine.status()["clip_fault"] != ""
    setattr(record, fault, False)
    await machine.start_clip(20)
    await machine.stop_clip()
    assert len(record.finished) == 1


async def test_without_a_picture_nothing_begins() -> None:
    record = Record()
    machine = bridge(record, PlayedSource(SystemClock()))
    with pytest.raises(NoPicture):
        await machine.freeze()
    with pytest.raises(NoPicture):
        await machine.start_clip(5)
    assert record.said == {}


async def test_the_machine_is_told_again_when_the_vehicle_is_back() -> None:
    record = Record()
    machine = bridge(record)
    running = asyncio.create_task(machine.run())
    async with asyncio.timeout(10):
        while not record.machines:  # noqa: ASYNC110 (told by a loop of its own)
            await asyncio.sleep(0.01)
        machine.tell_again()
        while len(record.machines) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()


# to a page -----------------------------------------------------------------------------------------------------------


class Channel:
    """A data channel whose link takes everything at once."""

    def __init__(self) -> None:
        self.readyState, self.bufferedAmount, self.bufferedAmountLowThreshold = "open", 0, 0
        self.texts: list[dict[str, Any]] = []
        self.pieces: list[bytes] = []
        self.heard: dict[str, Any] = {}
        self.said = asyncio.Event()

    def on(self, event: str, listener: Any) -> None:
        self.heard[event] = listener

    def send(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.pieces.append(data)
        else:
            self.texts.append(json.loads(data))
        self.said.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.said.clear()
                await self.said.wait()


def channels(
    record: Record, encounter: str | None = "encounter-1", may_ask: bool = True
) -> tuple[Channel, StillChannels]:
    made = StillChannels(record, bridge(record), lambda: encounter, lambda: 80_000_000, SystemClock())  # type: ignore[arg-type]
    channel = Channel()
    made.attach(channel, WHO, may_ask)  # type: ignore[arg-type]
    return channel, made


async def test_a_page_gets_the_very_bytes_in_order() -> None:
    record = Record()
    png = as_png(fan(3)) + bytes(20_000)
    sha256 = hashlib.sha256(png).hexdigest()
    record.kept[sha256] = png
    channel, _ = channels(record)
    await channel.until(lambda: channel.texts)
    assert channel.texts[0] == {"type": "stills", "stills": [{"sha256": sha256, "bytes": len(png)}]}
    channel.heard["message"](json.dumps({"type": "fetch", "sha256": sha256}))
    await channel.until(lambda: sum(len(piece) - HEAD.size for piece in channel.pieces) == len(png))
    heads = [HEAD.unpack_from(piece) for piece in channel.pieces]
    assert {head[0].hex() for head in heads} == {sha256}
    assert [head[1] for head in heads] == list(range(0, len(png), 8192))
    assert b"".join(piece[HEAD.size :] for piece in channel.pieces) == png
    channel.heard["close"]()


async def test_the_specialist_freezes_in_his_name() -> None:
    record = Record()
    channel, _ = channels(record)
    channel.heard["message"](json.dumps({"type": "freeze"}))
    async with asyncio.timeout(10):
        await record.came.wait()
    assert record.said["who"] == WHO
    channel.heard["close"]()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("x" * 3000, "unreadable"),
        ("[]", "unreadable"),
        ('{"type": "delete"}', "unreadable"),
        ('{"type": "measure", "sha256": "a", "tool": "distance", "points": [[1]]}', "unreadable"),
        (json.dumps({"type": "fetch", "sha256": "0" * 64}), "still_elsewhere"),
    ],
)
async def test_what_cannot_be_answered_is_refused_and_the_channel_goes_on(asked: str, word: str) -> None:
    record = Record()
    channel, _ = channels(record)
    channel.heard["message"](asked)
    await channel.until(lambda: any(text["type"] == "refused" for text in channel.texts))
    assert [text["word"] for text in channel.texts if text["type"] == "refused"] == [word]
    channel.heard["message"](json.dumps({"type": "freeze"}))
    async with asyncio.timeout(10):
        await record.came.wait()
    channel.heard["close"]()


async def test_who_observes_asks_for_nothing_but_images() -> None:
    record = Record()
    channel, _ = channels(record, may_ask=False)
    channel.heard["message"](json.dumps({"type": "freeze"}))
    await channel.until(lambda: any(text["type"] == "refused" for text in channel.texts))
    assert record.said == {}
    channel.heard["close"]()


async def test_while_somebody_else_is_served_there_is_nothing_to_see_or_freeze() -> None:
    record = Record()
    record.kept["0" * 64] = b"png"
    channel, made = channels(record, encounter=None)
    await channel.until(lambda: channel.texts)
    assert channel.texts[0] == {"type": "stills", "stills": []}
    channel.heard["message"](json.dumps({"type": "freeze"}))
    await channel.until(lambda: any(text["type"] == "refused" for text in channel.texts))
    made.changed("encounter-2")
    assert record.said == {}
    channel.heard["close"]()

"""Freeze and clip in the van: pictures are taken here, in the media process; the record is the vehicle's.

A still goes to the vehicle before anybody is told of it, so what is shown on either side is what is kept. A clip goes
there second by second. When the vehicle restarts in the middle, it keeps what had come, and the clip ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from telemedicine.media.h264 import H264, LIBX264
from telemedicine.ultrasound import clips, stills
from telemedicine.ultrasound.clips import Piece
from telemedicine.ultrasound.picture import NoPicture, SharedPicture
from telemedicine.ultrasound.vehicle_record import VehicleRecord
from telemedicine.vehicle_client import VehicleAway, VehicleRefused

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
STILL, CLIP = "ultrasound_still", "ultrasound_clip"


class ClipUnderWay(AskPerson):
    """One clip at a time."""

    code = "clip_under_way"


class UltrasoundBridge:
    """
    :param frame_rate_hz: of clips
    :param consultation: the open one, empty when there is none
    """

    def __init__(
        self,
        picture: SharedPicture,
        record: VehicleRecord,
        frame_rate_hz: float,
        h264: H264 | None,
        clock: Clock,
        consultation: Callable[[], str],
    ) -> None:
        self.picture = picture
        self._record = record
        self._frame_rate_hz = frame_rate_hz
        self._h264 = h264 or LIBX264
        self._clock = clock
        self._consultation = consultation
        self._tell_now = asyncio.Event()
        self._tell_now.set()
        self._clip: _Clip | None = None
        self._clip_fault = ""

    def tell_again(self) -> None:
        """The vehicle has restarted: it has to be told the machine's settings."""
        self._tell_now.set()

    async def run(self) -> None:
        """Tell the vehicle the machine's settings, now and whenever asked; until cancelled."""
        retry_s = FIRST_RETRY_S
        try:
            while True:
                await self._tell_now.wait()
                try:
                    await self._record.machine(self.picture.machine)
                    self._tell_now.clear()
                    retry_s = FIRST_RETRY_S
                except (VehicleAway, VehicleRefused):
                    await self._clock.sleep(retry_s)
                    retry_s = min(2 * retry_s, LAST_RETRY_S)
        finally:
            if self._clip is not None:
                self._clip.stopping.set()

    def status(self) -> dict[str, Any]:
        clip = self._clip
        return {
            "clip": None
            if clip is None
            else {"seconds": clip.seconds, "covered_s": round(clip.covered_s, 1), "by": clip.said["by"] or ""},
            "clip_fault": self._clip_fault,
            "longest_s": self.picture.machine.clip_longest_s,
        }

    async def freeze(self, by: str | None = None, who: str = "") -> dict[str, Any]:
        """The picture of this moment as a still of the record, as the vehicle tells it (sha256, facts ...).

        :param by: of the crew; ``who``: a specialist, in words
        :raises NoPicture, VehicleAway, VehicleRefused: nothing is kept
        """
        still = await asyncio.to_thread(stills.freeze, self.picture, self._clock)
        said = self._said(STILL, by, who, still.width, still.height, still.source_size, still.age_s)
        capture = await self._record.begin(said)
        await self._record.append(capture, 0, still.png)
        return await self._record.finish(capture, 0)

    async def start_clip(self, seconds: float, by: str | None = None, who: str = "") -> None:
        """Begin a clip of at most ``seconds``, never longer than the machine's settings allow.

        :raises ClipUnderWay: one at a time
        :raises NoPicture: nothing comes from the machine
        """
        if self._clip is not None:
            raise ClipUnderWay("a clip is being recorded")
        longest_s = min(seconds, float(self.picture.machine.clip_longest_s))
        clip = self._clip = _Clip(longest_s, self._said(CLIP, by, who, 0, 0, (0, 0), 0.0))
        self._clip_fault = ""
        clip.task = asyncio.create_task(self._run_clip(clip), name="ultrasound clip")
        await asyncio.wait({clip.task, clip.first}, return_when=asyncio.FIRST_COMPLETED)
        if not clip.first.done():
            clip.first.cancel()
        if clip.no_picture is not None:
            raise clip.no_picture

    async def stop_clip(self) -> None:
        """End the clip under way, if any, and wait until it is stored."""
        clip = self._clip
        if clip is not None and clip.task is not None:
            clip.stopping.set()
            await asyncio.wait({clip.task})

    async def _run_clip(self, clip: _Clip) -> None:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | NoPicture | None] = asyncio.Queue()

        def make() -> None:
            end: NoPicture | None = None
            try:
                for piece in clips.record(
                    self.picture, clip.seconds, self._frame_rate_hz, clip.stopping, self._clock, self._h264.name
                ):
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except NoPicture as fault:
                end = fault
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has been closed: the process is ending
                    loop.call_soon_threadsafe(pieces.put_nowait, end)

        making = loop.run_in_executor(None, make)
        try:
            await self._store(clip, pieces)
        except (VehicleAway, VehicleRefused) as fault:
            self._clip_fault = getattr(fault, "code", "vehicle_away")
            emit("clip_interrupted", feed=self.picture.feed, reason=str(fault))
        finally:
            clip.stopping.set()
            self._clip = None
            await asyncio.shield(making)

    async def _store(self, clip: _Clip, pieces: asyncio.Queue[Piece | NoPicture | None]) -> None:
        capture, sent = "", 0
        while (piece := await pieces.get()) is not None:
            if isinstance(piece, NoPicture):
                clip.no_picture = piece
                self._clip_fault = piece.code
                return
            if not capture:
                size = piece.width, piece.height
                said = clip.said | self._sized(*size, piece.source_size, piece.covered_s) | {"scale": piece.scale}
                capture = await self._record.begin(said)
            await self._record.append(capture, sent, piece.data)
            sent += len(piece.data)
            clip.covered_s = piece.covered_s
            if not clip.first.done():
                clip.first.set_result(None)
        if capture:
            stored = await self._record.finish(capture, round(clip.covered_s * 1000))
            emit("clip_stored", feed=self.picture.feed, sha256=stored["sha256"], seconds=round(clip.covered_s, 1))

    def _said(
        self, what: str, by: str | None, who: str, width: int, height: int, source: tuple[int, int], age_s: float
    ) -> dict[str, Any]:
        return {
            "what": what,
            "by": by,
            "who": who,
            "consultation": self._consultation(),
            **self._sized(width, height, source, age_s),
        }

    @staticmethod
    def _sized(width: int, height: int, source: tuple[int, int], age_s: float) -> dict[str, Any]:
        return {"width": width, "height": height, "source_size": list(source), "age_ms": round(age_s * 1000)}


class _Clip:
    """The clip under way."""

    def __init__(self, seconds: float, said: dict[str, Any]) -> None:
        self.seconds = seconds
        self.said = said
        self.stopping = threading.Event()
        self.covered_s = 0.0
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when something is in the record."""
        self.no_picture: NoPicture | None = None
        self.task: asyncio.Task[None] | None = None

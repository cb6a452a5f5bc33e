"""Stills and clips that the media process makes become recordings: files by hash, and the entry that says of whom.

They come in parts over the vehicle's own socket, because this process alone writes the record: the media process may
be killed at any moment. What has come is on the disk every 2 s; a clip that falls silent, a killed media process or a
power cut leave a recording marked as interrupted, cut to where it can be played.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time
from sync.record.database import DiskFault, DiskFull
from sync.record.recordings import Partial, Recordings, RecordingWriter
from telemedicine.ultrasound.fragments import FRAGMENT_S, whole
from vehicle.clinic.ports import Journal, Live
from vehicle.recorded_ecg import Served

STILL, CLIP = "ultrasound_still", "ultrasound_clip"
MEDIA_TYPES = {STILL: "image/png", CLIP: "video/mp4"}
LARGEST_BYTES = {STILL: 40_000_000, CLIP: 400_000_000}
SYNC_EVERY_S = 2.0
SILENT_AFTER_S = 12.0
MOST_UNDER_WAY = 8
NAME = "capture"
"""How the facts beside a partial file say that it is ours."""


class CaptureUnknown(AskPerson):
    """No such still or clip is under way: this process has restarted, or it was ended."""

    code = "capture_unknown"


class CaptureRefused(AskPerson):
    """A part does not fit what came before, is too large, or the file is none; ``str()`` says which."""

    code = "capture_refused"


@dataclass(frozen=True, slots=True)
class CaptureView:
    """A stored still or clip, as pages and the media process are told."""

    sha256: str
    what: str
    patient: str | None
    encounter: str | None
    device: str
    started_at: datetime
    duration_ms: int
    bytes: int
    facts: dict[str, Any]

    def message(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "what": self.what,
            "patient": self.patient,
            "encounter": self.encounter,
            "device": self.device,
            "at": format_time(self.started_at),
            "duration_ms": self.duration_ms,
            "bytes": self.bytes,
            "facts": self.facts,
        }


@dataclass(frozen=True, slots=True)
class _About:
    what: str
    device: str
    started_at: str
    by: str | None
    visit: str | None
    encounter: str | None
    patient: str | None
    facts: dict[str, Any]

    def noted(self) -> dict[str, Any]:
        return {"capture": NAME} | {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, noted: dict[str, Any]) -> _About:
        return cls(**{name: noted[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class _Made:
    """A stored file and what its entry says."""

    about: _About
    sha256: str
    size: int
    duration_ms: int
    end_facts: dict[str, Any]

    def draft(self) -> Draft:
        about = self.about
        said: dict[str, Json] = {
            "sha256": self.sha256,
            "bytes": self.size,
            "media_type": MEDIA_TYPES[about.what],
            "what": about.what,
            "device": about.device,
            "started_at": about.started_at,
            "duration_ms": self.duration_ms,
            "facts": about.facts | self.end_facts,
        }
        if about.patient is not None:
            said["patient"] = about.patient
        return Draft("recording/1", said, about.by, about.visit, about.encounter)

    def view(self) -> CaptureView:
        about = self.about
        return CaptureView(
            self.sha256,
            about.what,
            about.patient,
            about.encounter,
            about.device,
            parse_time(about.started_at),
            self.duration_ms,
            self.size,
            about.facts | self.end_facts,
        )


@dataclass(slots=True)
class _Under:
    about: _About
    writer: RecordingWriter
    heard_mono_s: float
    synced_mono_s: float
    head: bytes = b""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Captures:
    """
    :param served: whom a capture belongs to, asked at its beginning
    """

    def __init__(
        self,
        recordings: Recordings,
        journal: Journal,
        clock: Clock,
        live: Live,
        served: Callable[[], Served],
    ) -> None:
        self._recordings = recordings
        self._journal = journal
        self._clock = clock
        self._live = live
        self._served = served
        self.listeners: list[Callable[[CaptureView], None]] = []
        """Told of every still and clip that has become a recording."""
        self._under: dict[str, _Under] = {}
        self._numbers = itertools.count(1)

    async def begin(self, what: str, device: str, by: str | None, age_ms: int, facts: dict[str, Any]) -> str:
        """The name of a new still or clip; its parts come with ``append``.

        :param what: ``STILL`` or ``CLIP``
        :param age_ms: how long ago its first picture was taken
        :param facts: canonical JSON values, kept in the entry
        :raises CaptureRefused: too many at once, or no such kind
        :raises DiskFull, DiskFault: it may not begin
        """
        if what not in MEDIA_TYPES:
            raise CaptureRefused(f"{what!r} is neither {STILL} nor {CLIP}")
        if len(self._under) >= MOST_UNDER_WAY:
            raise CaptureRefused(f"{MOST_UNDER_WAY} stills and clips are under way: wait for one to end")
        now = self._clock.now()
        served = self._served()
        started_at = format_time(now - timedelta(milliseconds=age_ms))
        about = _About(what, device, started_at, by, served.visit, served.encounter, served.patient, facts)
        name = f"capture-{now:%Y%m%dT%H%M%S%f}-{next(self._numbers)}"
        writer = await asyncio.to_thread(self._recordings.begin, MEDIA_TYPES[what], name, about.noted())
        mono_s = self._clock.monotonic_s()
        self._under[name] = _Under(about, writer, mono_s, mono_s)
        return name

    async def append(self, name: str, offset: int, part: bytes) -> int:
        """Append ``part`` at ``offset``; the bytes that are here now. A part that came before changes nothing.

        :raises CaptureUnknown: see there
        :raises CaptureRefused: a gap before the part, or more than a still or clip may have
        """
        under = self._get(name)
        async with under.turn:
            under.heard_mono_s = self._clock.monotonic_s()
            size = under.writer.size
            if offset + len(part) <= size:
                return size
            if offset != size:
                raise CaptureRefused(f"the part begins at {offset}, but {size} bytes are here")
            if size + len(part) > LARGEST_BYTES[under.about.what]:
                raise CaptureRefused(f"more than {LARGEST_BYTES[under.about.what]} bytes")
            under.head = (under.head + part[:16])[:16]
            await asyncio.to_thread(under.writer.append, part)
            if self._clock.monotonic_s() - under.synced_mono_s >= SYNC_EVERY_S:
                await asyncio.to_thread(under.writer.sync)
                under.synced_mono_s = self._clock.monotonic_s()
            return under.writer.size

    async def finish(self, name: str, duration_ms: int, facts: dict[str, Any] | None = None) -> CaptureView:
        """The stored still or clip; file and entry are durable when it returns.

        :param facts: what is known at the end only
        :raises CaptureUnknown, CaptureRefused: see there; nothing of it is kept
        :raises DiskFull, DiskFault: what came stays: it may be tried again, is tried once more when it has fallen
            silent, and is brought back at the next start
        """
        under = self._get(name)
        async with under.turn:
            if name not in self._under:
                raise CaptureUnknown("this still or clip has ended already")
            fault = _not_of_its_kind(under.about.what, under.head, under.writer.size)
            if fault is None:
                sha256, size = await asyncio.to_thread(under.writer.keep)
                made = _Made(under.about, sha256, size, duration_ms, facts or {})
                if not self._known(sha256):
                    await self._journal.commit(made.draft())
            del self._under[name]
            under.writer.abandon()
        if fault is not None:
            raise CaptureRefused(fault)
        return self._told(made)

    async def end_silent(self) -> None:
        """Store what has fallen silent: as interrupted, unless it had ended."""
        now_s = self._clock.monotonic_s()
        for name, under in list(self._under.items()):
            if now_s - under.heard_mono_s > SILENT_AFTER_S:
                await self._interrupt(name, under)

    async def run(self) -> None:
        """The service: ``end_silent`` every 2 s, for ever."""
        while True:
            await self._clock.sleep(SYNC_EVERY_S)
            await self.end_silent()

    async def stop(self) -> None:
        """Store what is under way, as interrupted."""
        for name, under in list(self._under.items()):
            await self._interrupt(name, under)

    def recover(self) -> list[CaptureView]:
        """Make recordings of what a crash, a power cut or a full disk has left; called once, at start.

        A still that had not ended, and a clip without a whole second, are removed. What the disk does not take stays
        for the next start: people are served without it.
        """
        found = []
        for partial in list(self._recordings.partials()):
            if partial.facts.get("capture") != NAME:
                continue
            try:
                view = self._recovered(partial)
            except (DiskFull, DiskFault) as fault:
                device = str(partial.facts.get("device", ""))
                emit("recording_not_stored", level=logging.ERROR, device=device, reason=fault.code)
                continue
            if view is not None:
                found.append(view)
            partial.discard()
        return found

    # how ------------------------------------------------------------------------------------------------------------

    def _get(self, name: str) -> _Under:
        under = self._under.get(name)
        if under is None:
            raise CaptureUnknown("no such still or clip is under way; take it again")
        return under

    async def _interrupt(self, name: str, under: _Under) -> None:
        """What a silent or stopped clip leaves is stored as ``recover`` would at the next start."""
        async with under.turn:
            if self._under.pop(name, None) is None:
                return
            try:
                kept = await asyncio.to_thread(self._store_whole, under.about, under.writer.path)
                if kept is not None and not self._known(kept.sha256):
                    await self._journal.commit(kept.draft())
            except (DiskFull, DiskFault) as fault:
                emit("recording_not_stored", level=logging.ERROR, device=under.about.device, reason=fault.code)
                return  # the partial file is brought back at the next start
            under.writer.abandon()
            if kept is not None:
                self._told(kept)

    def _recovered(self, partial: Partial) -> CaptureView | None:
        try:
            made = self._store_whole(_About.of(partial.facts), partial.path)
        except KeyError:
            return None
        if made is None:
            return None
        if not self._known(made.sha256):
            self._journal.commit_now(made.draft())
            emit("recording_recovered", sha256=made.sha256)
        return self._told(made)

    def _store_whole(self, about: _About, path: Path) -> _Made | None:
        """What had ended, or the playable part of a clip, as a file by its hash; None when there is none."""
        came = path.read_bytes()
        count, size = whole(came) if about.what == CLIP else (0, 0)
        duration_ms = round(count * FRAGMENT_S * 1000)
        sha256 = hashlib.sha256(came).hexdigest()
        if self._recordings.has(sha256):  # only its entry is missing
            return _Made(about, sha256, len(came), duration_ms, {})
        if not size:
            return None
        sha256, size = self._recordings.store(came[:size], MEDIA_TYPES[CLIP])
        return _Made(about, sha256, size, duration_ms, {"interrupted": True})

    def _known(self, sha256: str) -> bool:
        return bool(self._journal.read("SELECT 1 FROM recordings WHERE sha256 = ?", (sha256,)))

    def _told(self, made: _Made) -> CaptureView:
        view = made.view()
        self._live.send({"type": "capture"} | view.message())
        for listener in self.listeners:
            listener(view)
        return view


def _not_of_its_kind(what: str, head: bytes, size: int) -> str | None:
    if size == 0:
        return "it is empty"
    if what == STILL and not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "it is not a PNG"
    if what == CLIP and head[4:8] != b"ftyp":
        return "it is not an MP4"
    return None

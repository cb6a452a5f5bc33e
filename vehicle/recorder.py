"""The recorder: the next seconds of ECG as a file of the record. It never drops; a gap is recorded as a gap.

While it runs, chunks are appended to a partial file and brought to the disk every 5 s. A crash leaves that file
behind; at the next start it becomes a recording marked as interrupted (``recover``). A disk that takes nothing more
does not end a recording: it is kept in memory, the person is told, and it is saved once the disk takes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from devices.readings import Samples, Stamped
from sync.formats import ecg_file
from sync.formats.records import format_time
from sync.record.database import DiskFault, DiskFull
from sync.record.recordings import RecordingMissing, Recordings, RecordingWriter
from vehicle.clinic.ports import Journal, marks
from vehicle.recorded_ecg import (
    PARTIAL_TYPE,
    About,
    Made,
    RecordingView,
    Served,
    block_of,
    first_part,
    length_of,
    make_recording,
    read_partial,
    view_of,
)
from vehicle.stream_choice import StreamChoice

SYNC_EVERY_S = 5.0
GRACE_S = 5.0
"""How long after the expected end a recording waits for late samples before it ends with a gap."""
FRESH_S = 2.0
SAVE_AGAIN_S = 10.0
MAX_SECONDS = 600.0


class EcgNotSending(AskPerson):
    code = "ecg_not_sending"


class AlreadyRecording(AskPerson):
    code = "already_recording"


class EcgNotSaved(AskPerson):
    """The disk does not take the recording; it is in memory and tried again."""

    code = "ecg_not_saved"


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the recording under way: what is safe on the disk is ``kept_s``."""

    device: str
    seconds: float
    covered_s: float
    kept_s: float


@dataclass(slots=True)
class _Under:
    """The recording under way."""

    about: About
    writer: RecordingWriter
    done: asyncio.Future[None]
    began_mono_s: float
    chunks: list[Samples] = field(default_factory=list)
    segment_offset_s: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Segment -> (seconds since the beginning, first index) of its first sample."""
    covered_s: float = 0.0
    kept_s: float = 0.0
    synced_mono_s: float = 0.0
    fault: str | None = None
    """Code of the error since which nothing more was appended to the partial file."""
    syncing: asyncio.Task[None] | None = None
    task: asyncio.Task[RecordingView] | None = None


class EcgRecorder:
    """
    :param served: whom the recording belongs to, asked at its beginning
    :param changed: called with the progress, or None at the end, at most once a second
    """

    def __init__(
        self,
        recordings: Recordings,
        journal: Journal,
        clock: Clock,
        served: Callable[[], Served],
        changed: Callable[[Progress | None], None] = lambda progress: None,
    ) -> None:
        self._recordings = recordings
        self._journal = journal
        self._clock = clock
        self._served = served
        self._changed = changed
        self._under: _Under | None = None
        self._newest: Stamped | None = None
        self._choice = StreamChoice()
        self._unsaved: tuple[Made, RecordingWriter] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._tried_mono_s = 0.0

    # recording ------------------------------------------------------------------------------------------------------

    @property
    def recording(self) -> Progress | None:
        under = self._under
        if under is None:
            return None
        return Progress(under.about.device, under.about.seconds, under.covered_s, under.kept_s)

    @property
    def fault(self) -> str | None:
        """Code of what keeps a recording from being saved; None when all is well."""
        if self._unsaved is not None or (self._under is not None and self._under.fault is not None):
            return EcgNotSaved.code
        return None

    async def record(self, seconds: float = 10.0, by: str | None = None) -> RecordingView:
        """Record the next ``seconds`` (more than 0, at most 600) of the ECG that is sending now.

        Returns when file and entry are durable. A device that stops sending ends the recording early, marked as
        interrupted; what had come is kept.

        :raises EcgNotSending: no ECG samples in the last 2 s, or none came at all; nothing is written
        :raises AlreadyRecording: one at a time
        :raises DiskFull, DiskFault: it can't begin
        :raises EcgNotSaved: what was recorded, or an earlier recording, waits in memory for a disk that takes it
        """
        if not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"a recording lasts more than 0 and at most {MAX_SECONDS:.0f} s, not {seconds}")
        if self._under is not None:
            raise AlreadyRecording("a recording is under way")
        if self._unsaved is not None:
            raise EcgNotSaved("the recording before is not saved yet")
        newest = self._newest
        now_mono_s = self._clock.monotonic_s()
        if newest is None or now_mono_s - newest.received_mono_s > FRESH_S:
            raise EcgNotSending("no ECG samples are coming: attach the ECG device and the electrodes")
        under = self._begin(newest, seconds, by, now_mono_s)
        under.task = asyncio.get_running_loop().create_task(self._complete(under), name="ecg recording")
        return await asyncio.shield(under.task)  # a page that goes away does not end the recording

    async def stop(self) -> None:
        """End the recording under way with what has come, and wait until it is stored."""
        under = self._under
        if under is not None and under.task is not None:
            if not under.done.done():
                under.done.set_result(None)
            await asyncio.wait({under.task})
        if self._saving is not None:
            await asyncio.wait({self._saving})
        if self._unsaved is not None:  # a last time; the partial file has what came before the disk was full
            await self._save_again()

    def on_samples(self, stamped: Stamped) -> None:
        """Listener of the feed's ``ecg`` topic; called in the feed's turn, so nothing can be missed."""
        samples = stamped.event
        if not isinstance(samples, Samples):
            return
        if self._choice.takes(stamped):
            self._newest = stamped
        under = self._under
        if under is None or under.about.device != stamped.device or under.done.done():
            return
        kept = self._cut(under, stamped, samples)
        if kept is not None:
            under.chunks.append(kept)
            self._append(under, block_of(stamped.device, kept))
        self.tick()

    def tick(self) -> None:
        """Bring what came to the disk every 5 s; end a recording whose device fell silent."""
        under = self._under
        now_mono_s = self._clock.monotonic_s()
        if (
            self._unsaved is not None
            and now_mono_s - self._tried_mono_s >= SAVE_AGAIN_S
            and (self._saving is None or self._saving.done())  # two at once would record it twice
        ):
            self._tried_mono_s = now_mono_s
            self._saving = asyncio.get_running_loop().create_task(self._save_again(), name="ecg saved late")
        if under is None or under.done.done():
            return
        complete = under.covered_s >= under.about.seconds - 1e-9
        late = now_mono_s - under.began_mono_s > under.about.seconds + GRACE_S
        if complete or late:
            under.done.set_result(None)
        elif (
            under.fault is None
            and now_mono_s - under.synced_mono_s >= SYNC_EVERY_S
            and (under.syncing is None or under.syncing.done())
        ):
            under.synced_mono_s = now_mono_s
            under.syncing = asyncio.get_running_loop().create_task(self._sync(under), name="ecg to disk")

    async def run(self) -> None:
        """The service: ``tick`` twice a second, for ever."""
        while True:
            await self._clock.sleep(0.5)
            self.tick()

    def recordings_of(self, *registrations: str) -> list[RecordingView]:
        """ECG recordings of one person over all registrations, newest first."""
        rows = self._journal.read(
            "select sha256, duration_ms, started_at, facts_json from recordings "
            f"where patient in ({marks(registrations)}) and what = 'ecg' order by started_at desc",
            registrations,
        )
        return [view_of(row) for row in rows]

    # after a crash ----------------------------------------------------------------------------------------------------

    def recover(self) -> list[RecordingView]:
        """Make a recording, marked as interrupted, of every partial file a crash has left; called once, at start.

        A partial file without a single whole chunk is only removed. So is one whose recording has its entry: the power
        went before the file was gone from the disk, and of its end a part may be missing there. What the disk does not
        take, and what another version has left, stays for the next start: people are served without it.
        """
        found = []
        for partial in list(self._recordings.partials()):
            if partial.facts.get("media_type") != PARTIAL_TYPE:
                continue
            try:
                about, chunks = read_partial(partial)
                if chunks and not self._is_recorded(about, chunks):
                    found.append(self._recover(about, chunks))
            except (DiskFull, DiskFault, TypeError, ValueError) as fault:
                device = str(partial.facts.get("device", ""))
                emit("recording_not_stored", level=logging.ERROR, device=device, reason=repr(fault))
            else:
                partial.discard()
        return found

    def _recover(self, about: About, chunks: list[Samples]) -> RecordingView:
        made = make_recording(about, chunks, interrupted=True)
        sha256, size = self._recordings.store(made.blob, ecg_file.MEDIA_TYPE)
        self._journal.commit_now(made.draft(sha256, size))
        emit("recording_recovered", sha256=sha256)
        return made.view(sha256)

    def _is_recorded(self, about: About, chunks: list[Samples]) -> bool:
        """Whether a recording of that device and that beginning begins with these samples."""
        rows = self._journal.read(
            "select sha256 from recordings where what = 'ecg' and device = ? and started_at = ?",
            (about.device, about.started_at),
        )
        return any(self._begins_with(row["sha256"], chunks) for row in rows)

    def _begins_with(self, sha256: str, chunks: list[Samples]) -> bool:
        """True also of a recording that was evicted: the county has it. False of a damaged one."""
        try:
            header, counts = ecg_file.read(self._recordings.read(sha256))
        except RecordingMissing:
            return True
        except ecg_file.EcgFileUnreadable:
            return False
        begins = (header.pieces[0].segment, header.pieces[0].first_index)
        samples = np.concatenate([chunk.counts for chunk in chunks])
        same = begins == (chunks[0].segment, chunks[0].first_index)
        return same and np.array_equal(counts[: len(samples)], samples)

    # how ------------------------------------------------------------------------------------------------------------

    def _begin(self, newest: Stamped, seconds: float, by: str | None, now_mono_s: float) -> _Under:
        now = self._clock.now()
        about = About(newest.device, newest.driver, format_time(now), seconds, by, asdict(self._served()))
        writer = self._recordings.begin(PARTIAL_TYPE, f"ecg-{now:%Y%m%dT%H%M%S%f}", asdict(about))
        done = asyncio.get_running_loop().create_future()
        self._under = _Under(about, writer, done, now_mono_s, synced_mono_s=now_mono_s)
        self._changed(self.recording)
        return self._under

    @staticmethod
    def _cut(under: _Under, stamped: Stamped, samples: Samples) -> Samples | None:
        """The part of a chunk that lies within the asked seconds; None when all of it lies after the end."""
        rate_hz = samples.sample_rate_hz
        if samples.segment not in under.segment_offset_s:
            elapsed_s = 0.0 if not under.segment_offset_s else stamped.received_mono_s - under.began_mono_s
            under.segment_offset_s[samples.segment] = (max(elapsed_s, under.covered_s), samples.first_index)
        offset_s, first_index = under.segment_offset_s[samples.segment]
        begins_s = offset_s + (samples.first_index - first_index) / rate_hz
        room = round((under.about.seconds - begins_s) * rate_hz)
        under.covered_s = min(under.about.seconds, begins_s + len(samples.counts) / rate_hz)
        if room <= 0:
            return None
        return samples if room >= len(samples.counts) else first_part(samples, room)

    @staticmethod
    def _append(under: _Under, block: bytes) -> None:
        """A disk that takes nothing more does not end the recording: the samples are in memory."""
        if under.fault is None:
            try:
                under.writer.append(block)
            except (DiskFull, DiskFault) as fault:
                _not_on_disk(under, fault)

    async def _sync(self, under: _Under) -> None:
        covered_s = under.covered_s
        try:
            await asyncio.to_thread(under.writer.sync)
        except (DiskFull, DiskFault) as fault:
            _not_on_disk(under, fault)
        else:
            under.kept_s = covered_s
        self._changed(self.recording)

    async def _complete(self, under: _Under) -> RecordingView:
        try:
            await under.done
            if under.syncing is not None:
                await under.syncing
            return await self._finish(under)
        finally:
            self._under = None
            self._changed(None)

    async def _finish(self, under: _Under) -> RecordingView:
        about, chunks = under.about, under.chunks
        if not chunks:
            under.writer.abandon()
            raise EcgNotSending("no ECG samples came: attach the ECG device and the electrodes")
        interrupted = length_of(chunks) < round(about.seconds * chunks[0].sample_rate_hz)
        made = await asyncio.to_thread(make_recording, about, chunks, interrupted)
        try:
            return await self._save(made, under.writer)
        except (DiskFull, DiskFault) as fault:
            emit("recording_not_stored", level=logging.ERROR, device=about.device, reason=fault.code)
            self._unsaved, self._tried_mono_s = (made, under.writer), self._clock.monotonic_s()
            raise EcgNotSaved(f"recorded, but not saved yet: {fault}") from fault

    async def _save(self, made: Made, partial: RecordingWriter) -> RecordingView:
        """File, entry, and then the partial file goes. :raises DiskFull, DiskFault: may be tried again."""
        sha256, size = await asyncio.to_thread(self._recordings.store, made.blob, ecg_file.MEDIA_TYPE)
        await self._journal.commit(made.draft(sha256, size))
        partial.abandon()
        return made.view(sha256)

    async def _save_again(self) -> None:
        if self._unsaved is None:
            return
        try:
            saved = await self._save(*self._unsaved)
        except (DiskFull, DiskFault):
            return
        self._unsaved = None
        emit("recording_recovered", sha256=saved.sha256)
        self._changed(self.recording)


def _not_on_disk(under: _Under, fault: DiskFull | DiskFault) -> None:
    under.fault = fault.code
    emit("recording_not_stored", level=logging.ERROR, device=under.about.device, reason=fault.code)

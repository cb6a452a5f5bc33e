"""The queue to a hospital's archive: the journal decides what is due, a live consultation goes first."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import TwelveLeadECGWaveformStorage

from devices.clock import SimulatedClock, SystemClock
from sync.formats import ecg_file
from sync.formats.records import Draft, format_time
from sync.interop.__main__ import data_set
from sync.interop.dicom_queue import FINDINGS_WITHIN, Beat, DicomQueue, Labels, NotRefused, SendingFailed
from sync.interop.job import Answer, ArchiveSaid, Job
from sync.keys.vehicle_key import VehicleKey
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.interop.dicom_samples import png
from tests.sync.interop.ecg_samples import EIGHT, stored
from tests.sync.interop.orthanc import CALLED, CALLING, free_port, installed, orthanc

MORNING = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
LABELS = Labels("van-07.qingxi.example", "青峪县人民医院", "川A·演07")
STORED = Answer(state="stored", instance="2.25.1", study="2.25.2", transfer_syntax="1.2", confirmed=True)
AWAY = Answer(state="unreachable", reason="hospital:4242 does not answer")


class Archive:
    """Answers as it is told to, and remembers what it was sent."""

    def __init__(self) -> None:
        self.answers: list[Answer | SendingFailed] = []
        self.jobs: list[Job] = []

    async def run(self, job: Job) -> Answer:
        self.jobs.append(job)
        answer = self.answers.pop(0) if self.answers else STORED
        if isinstance(answer, SendingFailed):
            raise answer
        return answer


class Van:
    def __init__(self, folder: Path, clock: Any = None) -> None:
        self.folder, self.clock = folder, clock or SimulatedClock(MORNING)
        self.archive = Archive()
        self.live = False
        self.store = self.open_store()
        self.recordings = Recordings(folder / "recordings")

    def open_store(self, practice: bool = False) -> Store:
        key = VehicleKey.load_or_create(self.folder / "keys" / "journal.key", "van-07.qingxi.example")
        return Store.open(self.folder, "van-07.qingxi.example", key, self.clock, vehicle="van-07", practice=practice)

    def queue(
        self,
        run: Callable[[Job], Awaitable[Answer]] | None = None,
        port: int = 4242,
        median_beat: Callable[[str], Beat | None] = lambda sha256: None,
    ) -> DicomQueue:
        said = ArchiveSaid(host="127.0.0.1", port=port, called_ae_title=CALLED, calling_ae_title=CALLING, timeout_s=5.0)
        return DicomQueue(
            self.store,
            self.recordings,
            said,
            LABELS,
            self.clock,
            live=lambda: self.live,
            run=run or self.archive.run,
            jitter=lambda: 0.0,
            median_beat=median_beat,
        )

    async def serve(self, encounter: str = "encounter-1", practice: bool = False) -> None:
        if practice:
            self.store.close()
            self.store = self.open_store(practice=True)
        crew = [{"person": "zhou.min", "role": "village_doctor", "name": "周敏"}]
        at = format_time(self.clock.now())
        visit = {
            "visit_id": "visit-1",
            "village": "510199201201",
            "village_name": "王家村",
            "township": "白果镇",
            "proposed_by": "position",
            "crew": crew,
            "arrived_at": at,
        }
        patient = {
            "patient": "patient-1",
            "name": "杨桂芳",
            "sex": "female",
            "born_on": "1959-03-12",
            "ethnicity_code": "01",
            "pinyin": "ygf",
            "source": "id_card",
        }
        met = {"encounter_id": encounter, "patient": "patient-1", "purpose": "screening"}
        await self.store.commit(
            Draft("visit_opened/1", visit, "zhou.min", "visit-1"),
            Draft("patient/1", patient, "zhou.min", "visit-1"),
            Draft("encounter/1", met, "zhou.min", "visit-1", encounter),
        )

    async def keep(
        self, content: bytes, media_type: str, what: str, facts: dict[str, Any], encounter: str | None = "encounter-1"
    ) -> str:
        """A recording and its entry; the SHA-256."""
        sha256, size = self.recordings.store(content, media_type)
        said = {
            "sha256": sha256,
            "bytes": size,
            "media_type": media_type,
            "what": what,
            "patient": "patient-1",
            "device": "ecg-1" if what == "ecg" else "ultrasound-1",
            "started_at": format_time(self.clock.now()),
            "duration_ms": 10_000 if what == "ecg" else 0,
            "facts": facts,
        }
        await self.store.commit(Draft("recording/1", said, "zhou.min", "visit-1", encounter))
        return sha256

    async def freeze(self, number: int = 0, encounter: str | None = "encounter-1") -> str:
        size_px = {"width": 320, "height": 240}
        pixel = {"pixel_width_nm": 200_000, "pixel_height_nm": 250_000}
        facts = {**size_px, **pixel, "serial": "U7"}
        return await self.keep(png(number), "image/png", "ultrasound_still", facts, encounter)

    async def record_ecg(self, facts: dict[str, Any] | None = None) -> str:
        return await self.keep(stored(), ecg_file.MEDIA_TYPE, "ecg", facts or {})

    async def analyse(self, sha256: str) -> None:
        analysis = {"sha256": sha256, "version": "7", "findings": {"heart_rate_bpm": 61, "rhythm": "likely"}}
        await self.store.commit(Draft("ecg_analysis/1", analysis, None, "visit-1", "encounter-1"))

    async def sign(self, sha256: str, words: str) -> None:
        review = {"sha256": sha256, "version": "7", "agrees": True, "af": "yes", "words": words, "by_name": "周敏"}
        await self.store.commit(Draft("ecg_review/1", review, "zhou.min", "visit-1", "encounter-1"))

    def written(self) -> int:
        return int(self.store.read("SELECT count(*) AS n FROM entries WHERE kind = 'dicom_delivery/1'")[0]["n"])

    def entries(self) -> list[dict[str, Any]]:
        return self.store.read("SELECT * FROM dicom_deliveries ORDER BY at, sha256")


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    made = Van(tmp_path)
    yield made
    made.store.close()


async def test_a_still_is_sent_with_what_the_record_knows_and_an_entry_says_so(van: Van) -> None:
    await van.serve()
    sha256 = await van.freeze()
    queue = van.queue()
    assert queue.status().waiting == 1
    assert await queue.attempt() == 0.0
    job = van.archive.jobs[0]
    assert (job.patient.name, job.patient.initials, job.patient.ethnicity_code) == ("杨桂芳", "ygf", "01")
    assert (job.performed_by, job.study.referring, job.number, job.pixel_mm) == ("周敏", "周敏", 1, (0.2, 0.25))
    assert hashlib.sha256(job.file.read_bytes()).hexdigest() == job.sha256 == sha256
    entry = van.entries()[0]
    assert (entry["state"], entry["destination"], entry["instance"]) == ("stored", f"{CALLED}@127.0.0.1:4242", "2.25.1")
    assert entry["reason"] == "confirmed by a query"
    assert await queue.attempt() > 0
    assert queue.status().waiting == 0


async def test_images_go_in_their_order_and_are_numbered_in_their_encounter(van: Van) -> None:
    await van.serve()
    names = [await van.freeze(number) for number in range(3)]
    queue = van.queue()
    for _ in names:
        await queue.attempt()
    assert [job.sha256 for job in van.archive.jobs] == names
    assert [job.number for job in van.archive.jobs] == [1, 2, 3]


async def test_an_ecg_goes_the_same_way_and_says_that_nobody_has_reviewed_it(van: Van) -> None:
    await van.serve()
    still = await van.freeze()
    sha256 = await van.record_ecg({"imported": {"device_said_at": "2026-03-02T08:59:30"}})
    queue = van.queue()
    await queue.attempt()
    assert await queue.attempt() > 0, "its findings are waited for"
    van.clock.advance(FINDINGS_WITHIN.total_seconds() + 1)
    assert (await queue.attempt(), queue.status().waiting) == (0.0, 0)
    assert {row["sha256"]: row["state"] for row in van.entries()} == {still: "stored", sha256: "stored"}
    job = van.archive.jobs[-1]
    assert (job.what, job.number, job.device_said_at, job.machine.name) == ("ecg", 2, "2026-03-02T08:59:30", "ecg-1")
    assert any("未审核" in line for line in job.said)
    assert data_set(job).SOPClassUID == TwelveLeadECGWaveformStorage


async def test_an_ecg_with_findings_goes_at_once_with_rate_signature_and_usual_beat(van: Van) -> None:
    await van.serve()
    sha256 = await van.record_ecg()
    await van.analyse(sha256)
    await van.sign(sha256, "房颤")
    beat = tuple((count,) * len(EIGHT) for count in range(600))
    queue = van.queue(median_beat=lambda of: beat if of == sha256 else None)
    assert await queue.attempt() == 0.0
    job = van.archive.jobs[-1]
    assert job.heart_rate_bpm == 61
    assert job.said[0] == "已审核 reviewed: 周敏, AF yes"
    assert "AF likely" in job.said[2]
    made = data_set(job)
    assert [group.MultiplexGroupLabel for group in made.WaveformSequence] == ["RHYTHM", "MEDIAN BEAT"]
    assert made.WaveformSequence[1].NumberOfWaveformSamples == 600


async def test_what_a_doctor_signs_after_it_was_stored_goes_as_another_instance_of_the_study(van: Van) -> None:
    await van.serve()
    sha256 = await van.record_ecg()
    await van.analyse(sha256)
    queue = van.queue()
    assert await queue.attempt() == 0.0
    assert (await queue.attempt(), queue.status().waiting) == (30.0, 0)
    for words in ("房颤", "房颤，心室率快"):
        van.clock.advance(60)
        await van.sign(sha256, words)
        assert queue.status().waiting == 1
        assert await queue.attempt() == 0.0
        assert (van.archive.jobs[-1].said[1], queue.status().waiting) == (words, 0)
    sent = [data_set(job) for job in van.archive.jobs]
    assert len({one.SOPInstanceUID for one in sent}) == 3
    assert len({(one.StudyInstanceUID, one.SeriesInstanceUID) for one in sent}) == 1
    assert van.written() == 3


async def test_a_signature_given_while_the_ecg_is_being_sent_is_not_lost(van: Van) -> None:
    await van.serve()
    sha256 = await van.record_ecg()
    await van.analyse(sha256)

    async def slowly(job: Job) -> Answer:
        van.archive.jobs.append(job)
        if not job.signed_at:
            await van.sign(sha256, "房颤")
        return STORED

    queue = van.queue(slowly)
    await queue.attempt()
    assert queue.status().waiting == 1
    await queue.attempt()
    assert [bool(job.signed_at) for job in van.archive.jobs] == [False, True]
    assert queue.status().waiting == 0


async def test_what_belongs_to_nobody_or_is_rehearsed_is_not_sent(van: Van) -> None:
    await van.serve()
    await van.freeze(1, encounter=None)
    await van.serve("encounter-practice", practice=True)
    await van.freeze(2, encounter="encounter-practice")
    await van.queue().attempt()
    assert van.archive.jobs == []


async def test_an_archive_that_is_away_is_tried_ever_later_and_told_once(
    van: Van, caplog: pytest.LogCaptureFixture
) -> None:
    await van.serve()
    await van.freeze()
    queue = van.queue()
    van.archive.answers = [AWAY] * 12
    with caplog.at_level("INFO", "xunzhen"):
        pauses = [await queue.attempt() for _ in range(12)]
        assert pauses[:4] == [2.0, 4.0, 8.0, 16.0]
        assert pauses[-1] == 600.0
        status = queue.status()
        assert (status.trouble, status.reason, status.waiting) == ("unreachable", AWAY.reason, 1)
        assert await queue.attempt() == 0.0
    told = [record.message for record in caplog.records if "pacs_" in record.message]
    assert [("lost" in line, "restored" in line) for line in told] == [(True, False), (False, True)]
    assert queue.status().trouble == ""


async def test_a_restart_loses_nothing_and_sends_nothing_twice(van: Van, tmp_path: Path) -> None:
    await van.serve()
    first, second = await van.freeze(1), await van.freeze(2)
    await van.queue().attempt()
    van.store.close()
    after = Van(tmp_path, van.clock)
    queue = after.queue()
    await queue.attempt()
    await queue.attempt()
    assert [job.sha256 for job in van.archive.jobs] == [first]
    assert [job.sha256 for job in after.archive.jobs] == [second]
    after.store.close()


async def test_what_is_refused_holds_up_nobody_and_is_tried_again_when_a_person_says_so(van: Van) -> None:
    await van.serve()
    first, second = await van.freeze(1), await van.freeze(2)
    queue = van.queue()
    van.archive.answers = [Answer(state="refused", reason="will not take this image, status A900", instance="2.25.1")]
    await queue.attempt()
    await queue.attempt()
    assert {entry["sha256"]: entry["state"] for entry in van.entries()} == {first: "refused", second: "stored"}
    assert (queue.status().waiting, queue.status().refused) == (0, 1)
    with pytest.raises(NotRefused):
        await queue.again(second, "zhou.min")
    await queue.again(first, "zhou.min")
    assert queue.status().waiting == 1
    await queue.attempt()
    assert {entry["state"] for entry in van.entries()} == {"stored"}


async def test_an_image_that_ends_its_process_is_set_aside_after_three_times(van: Van) -> None:
    await van.serve()
    first, second = await van.freeze(1), await van.freeze(2)
    queue = van.queue()
    van.archive.answers = [SendingFailed("killed")] * 3
    for _ in range(4):
        await queue.attempt()
    states = {entry["sha256"]: entry["state"] for entry in van.entries()}
    assert states == {first: "refused", second: "stored"}


async def test_a_live_consultation_goes_first(van: Van) -> None:
    await van.serve()
    await van.freeze()
    queue = van.queue()
    van.live = True
    assert await queue.attempt() == 2.0
    assert (van.archive.jobs, queue.status().held) == ([], True)
    van.live = False
    assert await queue.attempt() == 0.0


async def test_a_consultation_that_begins_breaks_off_what_is_under_way(tmp_path: Path) -> None:
    van = Van(tmp_path, _Ticking())
    await van.serve()
    await van.freeze()
    stopped = asyncio.Event()

    async def slow(job: Job) -> Answer:
        van.live = True
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    queue = van.queue(slow)
    async with asyncio.timeout(10):
        assert await queue.attempt() == 2.0
    assert stopped.is_set()
    assert (van.entries(), queue.status().held) == ([], True)
    van.store.close()


class _Ticking(SystemClock):
    """Sleeps are over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.mark.skipif(not installed(), reason="skipped: no Orthanc (Debian package orthanc)")
async def test_through_the_real_process_to_a_real_archive_that_was_away(tmp_path: Path) -> None:
    van = Van(tmp_path / "van", SystemClock())
    await van.serve()
    await van.freeze()
    port = free_port()
    queue = van.queue(_real, port)
    await queue.attempt()
    assert (queue.status().trouble, queue.status().waiting) == ("unreachable", 1)
    with orthanc(tmp_path / "orthanc", DicomPort=port) as server:
        assert await queue.attempt() == 0.0
        assert server.get("/patients?expand")[0]["MainDicomTags"]["PatientName"] == "Y^GF=杨^桂芳"
        sha256 = await van.record_ecg()
        await van.analyse(sha256)
        await queue.attempt()
        await van.sign(sha256, "房颤")
        await queue.attempt()
        [study] = server.get("/studies?expand")
        assert len(study["Series"]) == 2
        [signed] = [one for one in server.get("/series?expand") if one["MainDicomTags"]["Modality"] == "ECG"]
        assert len(signed["Instances"]) == 2, "the archive has the ECG as it was sent and as it was signed"
    assert van.written() == 3
    van.store.close()


async def _real(job: Job) -> Answer:
    from sync.interop.dicom_queue import send_in_a_process

    return await send_in_a_process(job)

"""What a hospital's picture archive does not have yet: sent one after the other, for as long as it takes.

The journal is the queue. Stills, clips and ECGs of a person that no ``dicom_delivery/1`` entry calls stored or
refused are due, oldest first: nothing is lost in a restart, nothing sent twice on purpose. An ECG whose findings a
doctor has signed since it was stored is due again, as a new instance beside the old one: an archive keeps what it has
under a name, so another content has another name (PS3.5, 9.1). What is rehearsed is never sent.
A live consultation goes first: nothing is begun, and what is under way is broken off and sent again later.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import ValidationError

from devices.clock import Clock
from devices.errors import AskPerson, Retry
from devices.events import emit
from sync.formats.canonical import Json
from sync.formats.records import Draft, EntryUnreadable, format_time, parse_time, read_entry
from sync.interop.job import Answer, ArchiveSaid, Job, MachineSaid, PatientSaid, StudySaid
from sync.record.recordings import Recordings

STORED, REFUSED, AGAIN = "stored", "refused", "again"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 600.0
LOOK_EVERY_S = 30.0
LIVE_LOOK_S = 2.0
MOST_CRASHES = 3
LONGEST_REASON = 300
WHATS = ("ultrasound_still", "ultrasound_clip", "ecg")
_ANY = ", ".join("?" * len(WHATS))
SIGNED_SINCE = "(d.state = 'stored' AND s.reviewed_at IS NOT NULL AND s.reviewed_at IS NOT d.signed_at)"
"""Of a delivery ``d`` and its ECG's findings ``s``: what was stored does not say what the doctor signed."""
_DUE = f"""
FROM recordings AS r JOIN encounters AS e USING (encounter)
JOIN patients AS p ON p.patient = coalesce(e.patient, r.patient)
LEFT JOIN dicom_deliveries AS d ON d.sha256 = r.sha256 AND d.destination = ?
LEFT JOIN ecg_analyses AS s ON s.sha256 = r.sha256
WHERE r.what IN ({_ANY}) AND r.evicted_at IS NULL AND coalesce(e.practice, 0) = 0 AND p.name IS NOT NULL
AND (coalesce(d.state, '') NOT IN ('stored', 'refused') OR {SIGNED_SINCE})
AND (r.what != 'ecg' OR r.started_at < ?
    OR EXISTS (SELECT 1 FROM ecg_analyses AS a WHERE a.sha256 = r.sha256 AND a.analysed_at IS NOT NULL))
"""
FINDINGS_WITHIN = timedelta(minutes=10)
"""How long an ECG waits for its findings; then it is sent without them."""


NOT_A_DIAGNOSIS = "筛查提示，不作为诊断依据 for screening, not for diagnosis"
UNREVIEWED = "未审核 not reviewed"
Beat = tuple[tuple[int, ...], ...]


class Journal(Protocol):
    """The part of ``sync.record.store.Store`` that is needed."""

    async def commit(self, *drafts: Draft) -> list[Any]: ...

    def read(self, sql: str, params: Any = ()) -> list[dict[str, Any]]: ...


class SendingFailed(Retry):
    """The process that sends has ended without an answer."""

    code = "dicom_sending_failed"


class NotRefused(AskPerson):
    """Only what was refused can be tried again."""

    code = "dicom_not_refused"


@dataclass(frozen=True, slots=True)
class Labels:
    """What every image says about where it comes from."""

    origin: str
    institution: str
    station: str


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """``trouble``: "" or the ``archive.State`` that keeps everything waiting, with its reason and since when."""

    destination: str
    waiting: int
    refused: int
    held: bool
    sending: str
    trouble: str
    reason: str
    since: datetime | None


class DicomQueue:
    """
    :param live: whether a live consultation carries media at this moment
    :param median_beat: counts of an ECG's usual beat, called in a thread; None: not known
    :param run: sends one job; raises ``SendingFailed``; a cancelled one has stopped when it raises CancelledError
    """

    def __init__(
        self,
        store: Journal,
        recordings: Recordings,
        archive: ArchiveSaid,
        labels: Labels,
        clock: Clock,
        live: Callable[[], bool] = lambda: False,
        clips: str = "jpeg",
        run: Callable[[Job], Awaitable[Answer]] | None = None,
        jitter: Callable[[], float] = random.random,
        median_beat: Callable[[str], Beat | None] = lambda sha256: None,
    ) -> None:
        self._store = store
        self._recordings = recordings
        self._archive = archive
        self.destination = f"{archive.called_ae_title}@{archive.host}:{archive.port}"
        self._labels = labels
        self._clock = clock
        self._live = live
        self._clips = clips
        self._run = run or send_in_a_process
        self._jitter = jitter
        self._median_beat = median_beat
        self._pause_s = FIRST_PAUSE_S
        self._held = False
        self._sending = ""
        self._trouble: tuple[str, str, datetime] | None = None
        self._crashes: dict[str, int] = {}
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Send for ever; cancel to end."""
        while True:
            pause_s = await self.attempt()
            await self._rest(pause_s)

    def nudge(self) -> None:
        """Something new is there, or a person wants it sent now: end the pause."""
        self._pause_s = FIRST_PAUSE_S
        self._hurry.set()

    async def attempt(self) -> float:
        """Send what is most due, if it may be sent now; how long to rest before the next attempt, in seconds."""
        self._held = self._live()
        if self._held:
            return LIVE_LOOK_S
        row = await asyncio.to_thread(self._next)
        if row is None:
            return LOOK_EVERY_S
        job = await asyncio.to_thread(self._job, row)
        self._sending = job.sha256
        try:
            answer = await self._send(job)
        except SendingFailed as fault:
            return await self._crashed(job, row, str(fault))
        finally:
            self._sending = ""
        if answer is None:
            return LIVE_LOOK_S
        return await self._answered(job, row, answer)

    async def again(self, sha256: str, by: str) -> None:
        """A person has seen to what was refused: try it again.

        :raises NotRefused: it was not
        """
        found = self._store.read(
            "SELECT * FROM dicom_deliveries WHERE sha256 = ? AND destination = ? AND state = ?",
            (sha256, self.destination, REFUSED),
        )
        if not found:
            raise NotRefused("this image was not refused")
        said = {name: found[0][name] for name in ("sha256", "destination", "instance", "study")}
        await self._store.commit(Draft("dicom_delivery/1", {**said, "state": AGAIN, "reason": ""}, by))
        self._crashes.pop(sha256, None)
        self.nudge()

    def status(self) -> QueueStatus:
        due = self._store.read(f"SELECT count(*) AS count {_DUE}", self._due())
        refused = self._store.read(
            "SELECT count(*) AS count FROM dicom_deliveries WHERE destination = ? AND state = ?",
            (self.destination, REFUSED),
        )
        trouble, reason, since = self._trouble or ("", "", None)
        return QueueStatus(
            self.destination,
            due[0]["count"],
            refused[0]["count"],
            self._held,
            self._sending,
            trouble,
            reason,
            since,
        )

    # how ------------------------------------------------------------------------------------------------------------

    def _due(self) -> tuple[str, ...]:
        return (self.destination, *WHATS, format_time(self._clock.now() - FINDINGS_WITHIN))

    def _next(self) -> dict[str, Any] | None:
        found = self._store.read(
            "SELECT r.*, e.opened_at, e.by AS opened_by, p.name, p.sex, p.born_on, p.pinyin, p.ethnicity_code, "
            f"p.patient AS person {_DUE} ORDER BY r.n LIMIT 1",
            self._due(),
        )
        return found[0] if found else None

    def _job(self, row: dict[str, Any]) -> Job:
        facts = json.loads(row["facts_json"])
        pixel = [facts.get("pixel_width_nm"), facts.get("pixel_height_nm")]
        number = self._store.read(
            f"SELECT count(*) AS count FROM recordings WHERE encounter = ? AND what IN ({_ANY}) AND n <= ?",
            (row["encounter"], *WHATS, row["n"]),
        )
        return Job(
            archive=self._archive,
            patient=PatientSaid(
                patient=row["person"],
                name=row["name"],
                initials=row["pinyin"] or "",
                ethnicity_code=row["ethnicity_code"] or "",
                sex=row["sex"] or "",
                born_on=row["born_on"],
            ),
            study=StudySaid(
                origin=self._labels.origin,
                encounter=row["encounter"],
                begun_at=parse_time(row["opened_at"] or row["started_at"]),
                institution=self._labels.institution,
                station=self._labels.station,
                referring=self._name(row["visit"], row["opened_by"]),
            ),
            machine=MachineSaid(
                name=row["device"] or row["what"].partition("_")[0],
                **{name: str(facts.get(name, "")) for name in ("manufacturer", "model", "serial")},
            ),
            what=row["what"],
            file=self._recordings.path(row["sha256"]),
            sha256=row["sha256"],
            number=number[0]["count"],
            taken_at=parse_time(row["started_at"]),
            pixel_mm=(pixel[0] / 1e6, pixel[1] / 1e6) if all(isinstance(one, int) for one in pixel) else None,
            performed_by=self._name(row["visit"], self._by(row["n"])),
            comment=_comment(facts),
            clips="mpeg4" if self._clips == "mpeg4" else "jpeg",
            device_said_at=(facts.get("imported") or {}).get("device_said_at"),
            **(self._found(row["sha256"]) if row["what"] == "ecg" else {}),
        )

    def _found(self, sha256: str) -> dict[str, Any]:
        """What the record says of an ECG now."""
        found = self._store.read("SELECT * FROM ecg_analyses WHERE sha256 = ? AND analysed_at IS NOT NULL", (sha256,))
        if not found:
            return {"said": (UNREVIEWED, NOT_A_DIAGNOSIS)}
        row = found[0]
        reviewed = f"已审核 reviewed: {row['reviewed_name']}, AF {row['af']}" if row["reviewed_at"] else UNREVIEWED
        automatic = f"自动分析 automatic {row['version']}: AF {row['rhythm']}" if row["rhythm"] else ""
        said = (reviewed, row["words"] or "", automatic, NOT_A_DIAGNOSIS)
        return {
            "said": tuple(line for line in said if line),
            "heart_rate_bpm": row["heart_rate_bpm"],
            "signed_at": row["reviewed_at"] or "",
            "median_beat": self._median_beat(sha256),
        }

    def _name(self, visit: str | None, person: str | None) -> str:
        """The name of one of the crew; their id when they were not on duty."""
        found = self._store.read("SELECT name FROM duty WHERE visit = ? AND person = ?", (visit, person))
        return str(found[0]["name"]) if found else person or ""

    def _by(self, n: int) -> str | None:
        for row in self._store.read("SELECT n, body FROM entries WHERE n = ? AND body IS NOT NULL", (n,)):
            try:
                return read_entry(row["body"], row["n"]).by
            except EntryUnreadable:
                return None
        return None

    async def _send(self, job: Job) -> Answer | None:
        """The answer; None when a consultation began meanwhile and the sending was broken off."""
        sending = asyncio.ensure_future(self._run(job))
        try:
            while not sending.done():
                tick = asyncio.ensure_future(self._clock.sleep(LIVE_LOOK_S))
                try:
                    await asyncio.wait((sending, tick), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    tick.cancel()
                if not sending.done() and self._live():
                    self._held = True
                    return None
            return await sending
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.wait({sending})

    async def _answered(self, job: Job, row: dict[str, Any], answer: Answer) -> float:
        if answer.state not in (STORED, REFUSED):
            return self._wait_longer(answer.state, answer.reason)
        await self._write(job, row, answer)
        if answer.state == STORED and self._trouble is not None:
            emit("pacs_restored", destination=self.destination)
        self._trouble, self._pause_s = None, FIRST_PAUSE_S
        return 0.0

    async def _write(self, job: Job, row: dict[str, Any], answer: Answer) -> None:
        said: dict[str, Json] = {
            "sha256": job.sha256,
            "destination": self.destination,
            "state": answer.state,
            "instance": answer.instance,
            "study": answer.study,
        }
        reason = answer.reason or ("confirmed by a query" if answer.confirmed else "")
        if reason:
            said["reason"] = reason[:LONGEST_REASON]
        if job.signed_at:
            said["signed_at"] = job.signed_at
        if answer.transfer_syntax:
            said["transfer_syntax"] = answer.transfer_syntax
        await self._store.commit(Draft("dicom_delivery/1", said, None, row["visit"], row["encounter"]))
        if answer.state == STORED:
            emit("dicom_stored", sha256=job.sha256, destination=self.destination)
        else:
            emit("dicom_refused", sha256=job.sha256, destination=self.destination, reason=answer.reason)

    async def _crashed(self, job: Job, row: dict[str, Any], reason: str) -> float:
        """One that ends its process again and again must not hold up the others."""
        count = self._crashes[job.sha256] = self._crashes.get(job.sha256, 0) + 1
        if count < MOST_CRASHES:
            return self._wait_longer("failed", reason)
        await self._write(job, row, Answer(state=REFUSED, reason=f"could not be made into DICOM: {reason}"))
        return 0.0

    def _wait_longer(self, state: str, reason: str) -> float:
        if self._trouble is None:
            emit("pacs_lost", destination=self.destination, reason=reason)
        since = self._trouble[2] if self._trouble is not None else self._clock.now()
        self._trouble = (state, reason, since)
        pause_s = self._pause_s * (1 - self._jitter() / 2)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        return pause_s

    async def _rest(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._hurry.clear()
        woken = asyncio.ensure_future(self._hurry.wait())
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((woken, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            timer.cancel()


def _comment(facts: dict[str, Any]) -> str:
    parts = [f"depth {facts['depth']}" if facts.get("depth") else "", "interrupted" if facts.get("interrupted") else ""]
    return ", ".join(part for part in parts if part)


async def send_in_a_process(job: Job) -> Answer:
    """Run ``python -m sync.interop``, at low priority; cancelled, the process is killed.

    :raises SendingFailed: it ended without an answer
    """
    process = await asyncio.create_subprocess_exec(
        "nice",
        "-n",
        "10",
        sys.executable,
        "-m",
        "sync.interop",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        told, faults = await process.communicate(job.model_dump_json().encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return Answer.model_validate_json(told)
    except ValidationError:
        last = faults.decode(errors="replace").strip().splitlines()[-1:]
        raise SendingFailed(" ".join(last) or f"ended with {process.returncode}") from None

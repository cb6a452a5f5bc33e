"""The county as the van sees it: one method per request, answers as values, failures as what to do next.

A refusal that a county speaks (``_REFUSALS``) is ``RecordRefused``: parked and shown, never taken for success. 409 is
an answer: where to go on. Everything else, a lost connection, 429, 5xx, a redirect or a page of some network's log-in,
is ``CountyUnreachable``: try again later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from devices.clock import Clock
from devices.errors import Park, Retry
from sync import wire
from sync.key_statements import ENROL_PATH, ROTATE_KEY, STATEMENT_TYPE, StatementRefused, parse_enrolment_answer
from sync.notes import ED25519_COSIGNATURE, NoteRefused, Signature, Signer, VerifierKey
from sync.request_signature import LARGEST_SKEW_S, signature_headers
from sync.settings_file import SettingsRefused

LONGEST_RETRY_AFTER_S = 3600.0
T = TypeVar("T")
_ANSWERS = frozenset({200, 201, 202, 204, 409})
_REFUSALS = frozenset({400, 401, 403, 404, 413, 415, 422})


class CountyUnreachable(Retry):
    """:ivar retry_after_s: what the county asked for, else None"""

    code = "county_unreachable"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RecordRefused(Park):
    """:ivar status: HTTP status, 0 when it is the van that refuses the answer"""

    code = "record_refused"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class CountyAhead(RecordRefused):
    """The county has entries of this log that this PC lacks, or other ones: an old image, a cloned disk."""

    code = "county_ahead"


@dataclass(frozen=True, slots=True)
class Conflict:
    """409 to add-checkpoint: the county's size."""

    size: int


@dataclass(frozen=True, slots=True)
class UploadState:
    offset: int
    complete: bool


class CountyClient:
    """:param key: the county's cosigner key; only receipts made with it count.
    :param transport: for tests and simulated time; the network when None.
    :raises SettingsRefused: ``key`` is no cosigner key.
    """

    def __init__(
        self,
        url: str,
        key: VerifierKey | str,
        signer: Signer,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.key = _county_key(key) if isinstance(key, str) else key
        self._signer, self._clock = signer, clock
        self._stamp_offset = timedelta()
        self._encoding = "zstd"
        self._http = httpx.AsyncClient(
            base_url=url,
            transport=transport,
            timeout=timeout_s,
            trust_env=False,
            headers={"User-Agent": "xunzhen", "Accept-Encoding": "gzip, identity"},
        )

    async def add_checkpoint(self, asked: wire.AddCheckpoint) -> Conflict | None:
        """None when taken. :raises CountyUnreachable, RecordRefused: see there."""
        path = wire.log_path(self._signer.name, "add-checkpoint")
        answer = await self._send("POST", path, bytes(asked), {"Content-Type": wire.TEXT})
        if answer.status_code == 409:
            return Conflict(_parsed(wire.parse_size_body, answer))
        _expect(answer, 200)
        return None

    async def add_entries(self, body: bytes) -> wire.MirrorInfo | tuple[Signature, ...]:
        """Cosignature lines once all is stored, else where to go on.

        :param body: uncompressed. :raises CountyUnreachable, RecordRefused: see there.
        """
        path = wire.log_path(self._signer.name, "add-entries")
        answer = await self._send_compressed("POST", path, body)
        if answer.status_code in (202, 409):
            return _parsed(wire.MirrorInfo.parse, answer)
        _expect(answer, 200)
        return _parsed(wire.parse_signature_lines, answer)

    async def recording_state(self, sha256: str) -> UploadState:
        """How far the county has a recording."""
        answer = await self._send("HEAD", wire.recording_path(sha256), b"", {})
        if answer.status_code == 404:
            return UploadState(0, False)
        _expect(answer, 200, 204)
        return _upload_state(answer)

    async def append_recording(self, sha256: str, offset: int, part: bytes, length: int) -> UploadState:
        """Send ``part`` at ``offset`` of a recording of ``length`` bytes; how far the county has it now."""
        headers = {
            "Content-Type": wire.PARTIAL_UPLOAD_TYPE,
            wire.UPLOAD_OFFSET: str(offset),
            wire.UPLOAD_LENGTH: str(length),
            wire.UPLOAD_COMPLETE: wire.boolean(offset + len(part) == length),
        }
        method = "PATCH" if offset else "PUT"
        answer = await self._send(method, wire.recording_path(sha256), part, headers)
        if answer.status_code == 409:
            return _upload_state(answer)
        _expect(answer, 200, 201, 204)
        return _upload_state(answer)

    async def rotate_key(self, statement: bytes) -> None:
        """Have a ``sync.key_statements.KeyChange`` taken; one that was taken before is taken again."""
        path = wire.log_path(self._signer.name, ROTATE_KEY)
        _expect(await self._send("POST", path, statement, {"Content-Type": STATEMENT_TYPE}), 200)

    async def ask_enrolment(self, ask: bytes) -> str:
        """Ask to be enrolled, or how it stands; one of ``sync.key_statements.ENROLMENT_STATES``."""
        answer = await self._send("POST", ENROL_PATH, ask, {"Content-Type": STATEMENT_TYPE})
        _expect(answer, 200, 202, 409)
        try:
            return parse_enrolment_answer(answer.content)
        except StatementRefused as fault:
            raise CountyUnreachable(f"answer {answer.status_code} is not the county's: {fault}") from fault

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send_compressed(self, method: str, path: str, body: bytes) -> httpx.Response:
        for encoding in (self._encoding, "gzip"):
            headers = {"Content-Type": wire.OCTETS, "Content-Encoding": encoding}
            answer = await self._send(method, path, wire.compress(body, encoding), headers)
            if answer.status_code != 415:
                break
            self._encoding = "gzip"
        return answer

    async def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        answer = await self._send_once(method, path, body, headers)
        if answer.status_code == 401 and self._learn_time(answer):
            answer = await self._send_once(method, path, body, headers)
        if answer.status_code not in _REFUSALS | _ANSWERS:
            raise CountyUnreachable(f"the county answered {answer.status_code}", self._retry_after_s(answer))
        return answer

    async def _send_once(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        stamp = self._clock.now() + self._stamp_offset
        signed = signature_headers(self._signer, method, path, body, stamp)
        try:
            return await self._http.request(method, path, content=body, headers={**headers, **signed})
        except httpx.RequestError as fault:  # also an answer that does not unpack
            raise CountyUnreachable(f"{type(fault).__name__}: {fault}") from fault

    def _learn_time(self, answer: httpx.Response) -> bool:
        """Whether the county's clock differs so much that a request with its time deserves another try."""
        said_at = _http_date(answer.headers.get("Date", ""))
        if said_at is None:
            return False
        offset = said_at - self._clock.now()
        if abs((offset - self._stamp_offset).total_seconds()) < LARGEST_SKEW_S / 2:
            return False
        self._stamp_offset = offset
        return True

    def _retry_after_s(self, answer: httpx.Response) -> float | None:
        said = answer.headers.get("Retry-After", "").strip()
        if said.isdecimal():
            return min(float(said), LONGEST_RETRY_AFTER_S)
        until = _http_date(said)
        if until is None:
            return None
        seconds = (until - self._clock.now() - self._stamp_offset).total_seconds()
        return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)


def _county_key(text: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(text)
    except NoteRefused as fault:
        raise SettingsRefused(f"the county's key in the settings: {fault}") from fault
    if key.algorithm != ED25519_COSIGNATURE:
        raise SettingsRefused(f"the county's key in the settings: {key.name} is no cosigner; copy the county's own key")
    return key


def _http_date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _expect(answer: httpx.Response, *statuses: int) -> None:
    if answer.status_code in _ANSWERS - set(statuses):
        raise CountyUnreachable(f"answer {answer.status_code} is not the county's")
    if answer.status_code not in statuses:
        reason = answer.text.strip()[:300] or answer.reason_phrase
        raise RecordRefused(f"{answer.status_code}: {reason}", answer.status_code)


def _parsed(parse: Callable[[bytes], T], answer: httpx.Response) -> T:
    """An answer that is not what its status promises comes from something in between: try again later."""
    try:
        return parse(answer.content)
    except wire.Malformed as fault:
        raise CountyUnreachable(f"answer {answer.status_code} is not the county's: {fault}") from fault


def _upload_state(answer: httpx.Response) -> UploadState:
    try:
        offset = wire.decimal(answer.headers.get(wire.UPLOAD_OFFSET, ""))
    except wire.Malformed as fault:
        raise CountyUnreachable(f"answer without {wire.UPLOAD_OFFSET}: {fault}") from fault
    return UploadState(offset, answer.headers.get(wire.UPLOAD_COMPLETE) == wire.boolean(True))

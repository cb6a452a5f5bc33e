"""The county as the van sees it: one method per request, answers as values, failures as what to do next.

A refusal that a county speaks (``_REFUSALS``) is ``RecordRefused``: parked and shown, never taken for success. 409 is
an answer: where to go on. Everything else, a lost connection, 429, 5xx, a redirect or a page of some network's log-in,
is ``CountyUnreachable``: try again later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from devices.clock import Clock
from devices.errors import Park, Retry
from sync.delivery.connections import Connections, Measured
from sync.formats import content_coding, signed_rules, wire
from sync.formats.notes import ED25519_COSIGNATURE, NoteRefused, Signature, Signer, VerifierKey
from sync.formats.request_signature import LARGEST_SKEW_S, signature_headers
from sync.keys.key_statements import ENROL_PATH, ROTATE_KEY, STATEMENT_TYPE, StatementRefused, parse_enrolment_answer
from sync.settings_file import SettingsRefused

LONGEST_RETRY_AFTER_S = 3600.0
LARGEST_ANSWER_BYTES = 256 * 1024
"""More than any answer of a county has; what sends more is none."""
STALE_WITHIN_S = 0.3
"""An idle connection that broke while nobody spoke shows it as soon as it is used: ask again at once, on another."""
MOST_STALE = 2
_STALE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
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


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an HTTP answer, whole and bounded."""

    status: int
    headers: Mapping[str, str]
    """Names in lowercase."""
    content: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


class CountyClient:
    """:param key: the county's cosigner key; only receipts made with it count.
    :param transport: instead of the network, for a county in the same process; its traffic is not told apart.
    :param connections: over the network; made here when None.
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
        connections: Connections | None = None,
    ) -> None:
        self.key = _county_key(key) if isinstance(key, str) else key
        self._signer, self._clock = signer, clock
        self._stamp_offset = timedelta()
        self._accepted = ""
        self._refused_codings: set[str] = set()
        if transport is None:
            network = connections or Connections(clock)
            self._measured: Measured | None = network.measured
            urgent: httpx.AsyncBaseTransport = network.urgent
            bulk: httpx.AsyncBaseTransport = network.bulk
        else:
            self._measured = None
            urgent = bulk = transport
        self._urgent, self._bulk = _http(url, urgent, timeout_s), _http(url, bulk, timeout_s)

    @property
    def rtt_s(self) -> float:
        """The round-trip time to the county without a queue, as TCP measured it; 0 before the first answer."""
        rtt_ms = self._measured.empty_rtt_ms if self._measured is not None else None
        return 0.0 if rtt_ms is None else rtt_ms / 1000

    async def add_checkpoint(self, asked: wire.AddCheckpoint) -> Conflict | None:
        """None when taken. :raises CountyUnreachable, RecordRefused: see there."""
        path = wire.log_path(self._signer.name, "add-checkpoint")
        answer = await self._send("POST", path, bytes(asked), {"Content-Type": wire.TEXT})
        if answer.status == 409:
            return Conflict(_parsed(wire.parse_size_body, answer))
        _expect(answer, 200)
        return None

    async def add_entries(self, body: bytes) -> wire.MirrorInfo | tuple[Signature, ...]:
        """Cosignature lines once all is stored, else where to go on.

        :param body: uncompressed. :raises CountyUnreachable, RecordRefused: see there.
        """
        path = wire.log_path(self._signer.name, "add-entries")
        answer = await self._send_packed("POST", path, body, wire.OCTETS)
        if answer.status in (202, 409):
            return _parsed(wire.MirrorInfo.parse, answer)
        _expect(answer, 200)
        return _parsed(wire.parse_signature_lines, answer)

    async def recording_state(self, sha256: str) -> UploadState:
        """How far the county has a recording."""
        answer = await self._send("HEAD", wire.recording_path(sha256), b"", {})
        if answer.status == 404:
            return UploadState(0, False)
        _expect(answer, 200, 204)
        return _upload_state(answer)

    async def append_recording(
        self, sha256: str, offset: int, part: bytes, length: int, bulk: bool = False
    ) -> UploadState:
        """Send ``part`` at ``offset`` of a recording of ``length`` bytes; how far the county has it now.

        :param bulk: on the connections that leave the link to what is urgent.
        """
        headers = {
            "Content-Type": wire.PARTIAL_UPLOAD_TYPE,
            wire.UPLOAD_OFFSET: str(offset),
            wire.UPLOAD_LENGTH: str(length),
            wire.UPLOAD_COMPLETE: wire.boolean(offset + len(part) == length),
        }
        method = "PATCH" if offset else "PUT"
        answer = await self._send(method, wire.recording_path(sha256), part, headers, bulk)
        if answer.status == 409:
            return _upload_state(answer)
        _expect(answer, 200, 201, 204)
        return _upload_state(answer)

    async def rotate_key(self, statement: bytes) -> None:
        """Have a ``sync.keys.key_statements.KeyChange`` taken; one that was taken before is taken again."""
        path = wire.log_path(self._signer.name, ROTATE_KEY)
        _expect(await self._send("POST", path, statement, {"Content-Type": STATEMENT_TYPE}), 200)

    async def ask_enrolment(self, ask: bytes) -> str:
        """Ask to be enrolled, or how it stands; one of ``sync.keys.key_statements.ENROLMENT_STATES``."""
        answer = await self._send("POST", ENROL_PATH, ask, {"Content-Type": STATEMENT_TYPE})
        _expect(answer, 200, 202, 409)
        try:
            return parse_enrolment_answer(answer.content)
        except StatementRefused as fault:
            raise CountyUnreachable(f"answer {answer.status} is not the county's: {fault}") from fault

    async def missing_recordings(self, hashes: Sequence[str]) -> list[str]:
        """Those of ``hashes`` that the county has not whole; at most ``wire.MOST_HASHES`` are asked for at once."""
        answer = await self._send_packed("POST", wire.MISSING_RECORDINGS_PATH, wire.hash_lines(hashes), wire.TEXT)
        _expect(answer, 200)
        asked = set(hashes)
        return [sha256 for sha256 in _parsed(wire.parse_hash_lines, answer) if sha256 in asked]

    async def screening_rules(self, have: str) -> bytes | None:
        """The county's edition of the screening rules with its proof (``sync.formats.signed_rules``).

        :param have: SHA-256 of the file that this van works by; None when that is the one in force
        """
        answer = await self._send("GET", f"{signed_rules.PATH}?have={have}", b"", {})
        _expect(answer, 200, 204)
        return answer.content if answer.status == 200 else None

    async def aclose(self) -> None:
        await self._urgent.aclose()
        await self._bulk.aclose()

    async def _send_packed(self, method: str, path: str, body: bytes, media_type: str) -> Answer:
        """In the best coding that the county says it takes; after a 415 in the next."""
        while True:
            coding = content_coding.best(self._accepted, self._refused_codings)
            headers = {"Content-Type": media_type, "Content-Encoding": coding}
            packed = await asyncio.to_thread(content_coding.encode, body, coding)
            answer = await self._send(method, path, packed, headers)
            if answer.status != 415 or coding == "identity":
                return answer
            self._refused_codings.add(coding)

    async def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], bulk: bool = False
    ) -> Answer:
        answer = await self._send_once(method, path, body, headers, bulk)
        if answer.status == 401 and self._learn_time(answer):
            answer = await self._send_once(method, path, body, headers, bulk)
        if answer.status not in _REFUSALS | _ANSWERS:
            raise CountyUnreachable(f"the county answered {answer.status}", self._retry_after_s(answer))
        self._accepted = answer.header("Accept-Encoding") or self._accepted
        return answer

    async def _send_once(self, method: str, path: str, body: bytes, headers: Mapping[str, str], bulk: bool) -> Answer:
        stamp = self._clock.now() + self._stamp_offset
        signed = await asyncio.to_thread(signature_headers, self._signer, method, path, body, stamp)
        http, fields = self._bulk if bulk else self._urgent, {**headers, **signed}
        for left in reversed(range(1 + MOST_STALE)):
            began_s = self._clock.monotonic_s()
            try:
                return await _ask(http, method, path, body, fields)
            except httpx.RequestError as fault:
                stale = isinstance(fault, _STALE) and self._clock.monotonic_s() - began_s < STALE_WITHIN_S
                if not (stale and left):
                    raise CountyUnreachable(f"{type(fault).__name__}: {fault}") from fault
        raise AssertionError("the last try returns or raises")

    def _learn_time(self, answer: Answer) -> bool:
        """Whether the county's clock differs so much that a request with its time deserves another try."""
        said_at = _http_date(answer.header("Date"))
        if said_at is None:
            return False
        offset = said_at - self._clock.now()
        if abs((offset - self._stamp_offset).total_seconds()) < LARGEST_SKEW_S / 2:
            return False
        self._stamp_offset = offset
        return True

    def _retry_after_s(self, answer: Answer) -> float | None:
        said = answer.header("Retry-After").strip()
        if said.isdecimal():
            return min(float(said), LONGEST_RETRY_AFTER_S)
        until = _http_date(said)
        if until is None:
            return None
        seconds = (until - self._clock.now() - self._stamp_offset).total_seconds()
        return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)


def _http(url: str, transport: httpx.AsyncBaseTransport, timeout_s: float) -> httpx.AsyncClient:
    said = {"User-Agent": "xunzhen", "Accept-Encoding": "identity"}
    return httpx.AsyncClient(base_url=url, transport=transport, timeout=timeout_s, trust_env=False, headers=said)


async def _ask(http: httpx.AsyncClient, method: str, path: str, body: bytes, fields: Mapping[str, str]) -> Answer:
    async with http.stream(method, path, content=body, headers=dict(fields)) as answer:
        return await _bounded(answer)


async def _bounded(answer: httpx.Response) -> Answer:
    """:raises CountyUnreachable: larger than ``LARGEST_ANSWER_BYTES``, or packed although we did not ask for it."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise CountyUnreachable(f"answer {answer.status_code} is not the county's: it is packed")
    content = b""
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > LARGEST_ANSWER_BYTES:
            raise CountyUnreachable(f"answer {answer.status_code} is not the county's: it has no end")
    return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, content)


def _county_key(text: str) -> VerifierKey:
    try:
        key = VerifierKey.typed(text)
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


def _expect(answer: Answer, *statuses: int) -> None:
    if answer.status in _ANSWERS - set(statuses):
        raise CountyUnreachable(f"answer {answer.status} is not the county's")
    if answer.status not in statuses:
        reason = answer.content.decode("utf-8", "replace").strip()[:300]
        raise RecordRefused(f"{answer.status}: {reason}", answer.status)


def _parsed(parse: Callable[[bytes], T], answer: Answer) -> T:
    """An answer that is not what its status promises comes from something in between: try again later."""
    try:
        return parse(answer.content)
    except wire.Malformed as fault:
        raise CountyUnreachable(f"answer {answer.status} is not the county's: {fault}") from fault


def _upload_state(answer: Answer) -> UploadState:
    try:
        offset = wire.decimal(answer.header(wire.UPLOAD_OFFSET))
    except wire.Malformed as fault:
        raise CountyUnreachable(f"answer without {wire.UPLOAD_OFFSET}: {fault}") from fault
    return UploadState(offset, answer.header(wire.UPLOAD_COMPLETE) == wire.boolean(True))

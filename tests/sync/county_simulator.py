"""A county in memory with knobs, behind a real ``httpx`` transport: what the uploader is tested against.

Set ``faults`` to have the next requests go wrong, in order; an empty list means that all goes well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import format_datetime
from hashlib import sha256

import httpx

from devices.clock import Clock
from sync.formats import content_coding, wire
from sync.formats.merkle import EMPTY_ROOT, leaf_hash, root_of, verify_consistency
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, NoteRefused, SeedSigner, VerifierKey, cosign
from sync.formats.request_signature import Claim, SignatureRefused

UNREACHABLE = "unreachable"
CUT_BODY = "cut_body"
LOSE_ANSWER = "lose_answer"
"""The request is processed, the answer never arrives."""


@dataclass(frozen=True)
class Answer:
    """A knob: answer this instead of processing the request."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Fault = str | Answer


@dataclass
class Upload:
    data: bytearray = field(default_factory=bytearray)
    complete: bool = False


class CountySimulator(httpx.AsyncBaseTransport):
    """One vehicle's county. ``entries`` are those stored; ``cosigned`` the sizes that receipts were given for."""

    def __init__(self, vehicle: VerifierKey, clock: Clock) -> None:
        self.vehicle, self.clock = vehicle, clock
        self.cosigner = SeedSigner("county.example", b"c" * 32, ED25519_COSIGNATURE)
        self.entries: list[bytes] = []
        self.pending: dict[int, Checkpoint] = {}
        self.pending_size = 0
        self.cosigned: list[int] = []
        self.uploads: dict[str, Upload] = {}
        self.faults: deque[Fault] = deque()
        self.fault_for: Callable[[httpx.Request], Fault | None] = lambda _: None
        self.requests: list[str] = []
        self.accepts = content_coding.ACCEPTED
        self.refuses: set[str] = set()
        """Content codings answered with 415, whatever ``accepts`` says."""
        self.codings: list[str] = []
        self.rounds_of_entry: dict[int, int] = {}
        self.on_request: Callable[[str], None] = lambda _: None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        what = f"{request.method} {request.url.path.rsplit('/', 1)[-1]}"
        self.requests.append(what)
        self.on_request(what)
        fault = self.faults.popleft() if self.faults else self.fault_for(request)
        if fault == UNREACHABLE:
            raise httpx.ConnectError("no route to the county")
        if isinstance(fault, Answer):
            return httpx.Response(fault.status, headers=fault.headers, content=fault.body)
        if fault == CUT_BODY:
            self._process(request, body, keep=len(body) * 2 // 3)
            raise httpx.WriteError("connection reset")
        answer = self._process(request, body)
        if fault == LOSE_ANSWER:
            raise httpx.ReadTimeout("no answer")
        return answer

    def _process(self, request: httpx.Request, body: bytes, keep: int | None = None) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            claim = Claim.read(headers)
            claim.verify(self.vehicle, request.method, request.url.raw_path.decode(), headers, body, self.clock.now())
        except SignatureRefused as fault:
            date = format_datetime(self.clock.now().astimezone(UTC), usegmt=True)
            return httpx.Response(401, headers={"Date": date}, text=str(fault))
        path = request.url.path
        try:
            if path == wire.MISSING_RECORDINGS_PATH:
                asked = wire.parse_hash_lines(content_coding.decode(body, headers.get("content-encoding", ""), 10**6))
                lacking = [name for name in asked if name not in self.uploads or not self.uploads[name].complete]
                return httpx.Response(200, content=wire.hash_lines(lacking))
            if path.startswith("/recordings/"):
                return self._recording(
                    request, path.removeprefix("/recordings/"), body if keep is None else body[:keep]
                )
            coding = headers.get("content-encoding", "")
            self.codings.append(coding)
            if coding in self.refuses:
                return httpx.Response(415, headers={"Accept-Encoding": self.accepts})
            body = content_coding.decode(body, coding, 10**8)
            body = body if keep is None else body[: len(body) * 2 // 3]
            if path.endswith("/add-checkpoint"):
                return self._add_checkpoint(body) if keep is None else httpx.Response(400)
            return self._add_entries(body)
        except wire.Malformed as fault:
            return httpx.Response(400, text=str(fault))

    def _add_checkpoint(self, body: bytes) -> httpx.Response:
        asked = wire.AddCheckpoint.parse(body)
        try:
            asked.checkpoint.verified_by([self.vehicle])
        except NoteRefused as fault:
            return httpx.Response(403, text=str(fault))
        checkpoint = Checkpoint.parse(asked.checkpoint.text)
        if asked.old_size != self.pending_size:
            return httpx.Response(409, content=wire.size_body(self.pending_size))
        old_root = self.pending[self.pending_size].root if self.pending_size else EMPTY_ROOT
        if not verify_consistency(asked.old_size, old_root, checkpoint.size, checkpoint.root, asked.proof):
            return httpx.Response(422, text="no extension")
        self.pending[checkpoint.size] = checkpoint
        self.pending_size = checkpoint.size
        return httpx.Response(200, headers={"Accept-Encoding": self.accepts})

    def _add_entries(self, body: bytes) -> httpx.Response:
        asked = wire.AddEntries.parse(body)
        head = asked.head
        checkpoint = self.pending.get(head.upload_end)
        if checkpoint is None or head.upload_start > len(self.entries):
            info = wire.MirrorInfo(self.pending_size, len(self.entries))
            return httpx.Response(409, content=bytes(info))
        if not asked.packages and head.upload_start < head.upload_end:
            return httpx.Response(400, text="no whole package")
        for package in asked.packages:
            if not self._take(package, checkpoint):
                return httpx.Response(422, text="not proven")
        if len(self.entries) < head.upload_end:
            return httpx.Response(202, content=bytes(wire.MirrorInfo(head.upload_end, len(self.entries), b"ticket")))
        assert root_of(map(leaf_hash, self.entries[: head.upload_end])) == checkpoint.root
        self.cosigned.append(head.upload_end)
        return httpx.Response(
            200, content=wire.signature_lines([cosign(checkpoint.text(), self.cosigner, self.clock.now())])
        )

    def _take(self, package: wire.Package, checkpoint: Checkpoint) -> bool:
        earlier = [leaf_hash(entry) for entry in self.entries[package.rounded_start : package.first]]
        if not package.proves(earlier, checkpoint.size, checkpoint.root):
            return False
        for n in range(package.first, package.end):
            self.rounds_of_entry[n] = self.rounds_of_entry.get(n, 0) + 1
        self.entries += package.entries[len(self.entries) - package.first :]
        return True

    def _recording(self, request: httpx.Request, name: str, body: bytes) -> httpx.Response:
        upload = self.uploads.get(name)
        if request.method == "HEAD":
            return httpx.Response(404) if upload is None else self._state(204, upload)
        upload = self.uploads.setdefault(name, Upload())
        if upload.complete:
            return self._state(201, upload)
        if int(request.headers[wire.UPLOAD_OFFSET]) != len(upload.data):
            return self._state(409, upload)
        upload.data += body
        if len(upload.data) < int(request.headers[wire.UPLOAD_LENGTH]):
            return self._state(204, upload)
        if sha256(upload.data).hexdigest() != name:
            del self.uploads[name]
            return httpx.Response(422, text="another hash")
        upload.complete = True
        return self._state(201, upload)

    def _state(self, status: int, upload: Upload) -> httpx.Response:
        headers = {wire.UPLOAD_OFFSET: str(len(upload.data)), wire.UPLOAD_COMPLETE: wire.boolean(upload.complete)}
        return httpx.Response(status, headers=headers)

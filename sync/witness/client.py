"""Asks a witness: C2SP tlog-witness over HTTP, and ``add-log``."""

from __future__ import annotations

import httpx

from devices.errors import Retry, XunzhenError
from sync.formats import wire
from sync.formats.notes import Signature, VerifierKey
from sync.formats.wire import AddCheckpoint
from sync.keys.introduction import Introduction

LARGEST_ANSWER_BYTES = 64 * 1024
TIMEOUT_S = 15.0


class WitnessUnreachable(Retry):
    """Nobody answers, or not a witness."""

    code = "witness_unreachable"


class WitnessRefused(XunzhenError):
    """:ivar status: 400, 403, 404, 409 or 422
    :ivar size: what the witness has cosigned, with 409
    """

    code = "witness_refused"

    def __init__(self, status: int, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.size = status, reason, size


class WitnessClient:
    """:param key: of the witness; cosignatures of others are ignored"""

    def __init__(self, url: str, key: VerifierKey, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.key = key
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, transport=transport, trust_env=False)

    async def add_checkpoint(self, request: AddCheckpoint) -> Signature:
        """The witness's verified cosignature.

        :raises WitnessUnreachable: no answer, or one that no witness gives
        :raises WitnessRefused: it does not cosign
        """
        body = await self._post("/add-checkpoint", bytes(request))
        try:
            lines = wire.parse_signature_lines(body)
        except wire.Malformed as fault:
            raise WitnessUnreachable(f"the answer is no cosignature: {fault}") from None
        for line in lines:
            if self.key.verifies(request.checkpoint.text, line):
                return line
        raise WitnessUnreachable(f"the answer is not signed by {self.key.name}: compare the key in the settings")

    async def add_log(self, introduction: Introduction) -> None:
        """:raises WitnessUnreachable: as above
        :raises WitnessRefused: as above
        """
        await self._post("/add-log", bytes(introduction))

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, path: str, body: bytes) -> bytes:
        try:
            async with self._http.stream("POST", path, content=body, headers={"Content-Type": wire.TEXT}) as answer:
                said = b""
                async for part in answer.aiter_bytes():
                    said += part
                    if len(said) > LARGEST_ANSWER_BYTES:
                        raise WitnessUnreachable("the answer is too large")
        except httpx.HTTPError as fault:
            raise WitnessUnreachable(f"{type(fault).__name__}: {fault}") from fault
        if answer.status_code == 200:
            return said
        if answer.status_code in (400, 403, 404, 422):
            raise WitnessRefused(answer.status_code, said.decode("utf-8", "replace").strip()[:300])
        if answer.status_code == 409 and answer.headers.get("Content-Type", "").startswith(wire.SIZE_TYPE):
            try:
                raise WitnessRefused(409, "another size is known", wire.parse_size_body(said))
            except wire.Malformed as fault:
                raise WitnessUnreachable(f"409 without a size: {fault}") from None
        raise WitnessUnreachable(f"HTTP {answer.status_code}")

"""One WHIP or WHEP session over HTTP: RFC 9725 (WHIP), draft-ietf-wish-whep-02 (WHEP).

An offer is posted to the endpoint; 201 brings the answer and the session's own address, which is deleted at the end. A
WHEP endpoint may say 406 with an offer of its own; then our answer is sent to the session by PATCH. All our candidates
are in the description, so nothing trickles. Redirects are followed (307, 308); the token goes to the endpoint's own
host only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from telemedicine.sfu.errors import (
    SfuBusy,
    SfuEndpointInUse,
    SfuEndpointUnknown,
    SfuNotTrusted,
    SfuOfferRefused,
    SfuRefused,
    SfuUnauthorized,
    SfuUnreachable,
)

SDP = "application/sdp"
ANSWERS_WITHIN_S = 10.0
GOODBYE_WITHIN_S = 3.0
LARGEST_ANSWER_BYTES = 200_000
LONGEST_REASON = 200
LONGEST_RETRY_S = 300.0
_REFUSALS: dict[int, type[SfuRefused]] = {
    400: SfuOfferRefused,
    401: SfuUnauthorized,
    403: SfuUnauthorized,
    404: SfuEndpointUnknown,
    405: SfuEndpointUnknown,
    406: SfuOfferRefused,
    409: SfuEndpointInUse,
    410: SfuEndpointUnknown,
    415: SfuOfferRefused,
    422: SfuOfferRefused,
}


@dataclass(frozen=True, slots=True)
class Described:
    """What the SFU said: the answer to our offer, or an offer of its own."""

    sdp: str
    is_offer: bool = False


class HttpSession:
    """``open`` once, ``answer`` when the SFU has offered, ``close`` in any case."""

    def __init__(self, client: httpx.AsyncClient, endpoint: str, token: str | None) -> None:
        """:param endpoint: URL; ``token``: bearer token, None: none is needed"""
        self._client = client
        self._endpoint = endpoint
        self._token = token
        self._session: str | None = None
        self._etag: str | None = None

    async def open(self, offer: str) -> Described:
        """
        :raises SfuRefused: which of them says what a person can do
        """
        answer, body = await self._send("POST", self._endpoint, offer)
        location = answer.headers.get("Location")
        is_sdp = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == SDP
        is_offer = answer.status_code == 406 and is_sdp
        if answer.status_code != 201 and not is_offer:
            raise _refusal(answer, body)
        if location is None or not is_sdp:
            raise SfuRefused("it has answered without a session description or without the session's Location")
        self._session, self._etag = urljoin(str(answer.url), location), answer.headers.get("ETag")
        return Described(body, is_offer)

    async def answer(self, sdp: str) -> None:
        """Our answer to its offer.

        :raises SfuRefused: as ``open``
        """
        assert self._session is not None
        answer, body = await self._send("PATCH", self._session, sdp)
        if not answer.is_success:
            raise _refusal(answer, body)

    async def close(self) -> None:
        """End the session there; whether it hears us or not."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(SfuRefused, TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    await self._send("DELETE", session)

    async def _send(self, method: str, url: str, body: str | None = None) -> tuple[httpx.Response, str]:
        headers = {} if body is None else {"Content-Type": SDP, "Accept": SDP}
        if self._token is not None and _host(url) == _host(self._endpoint):
            headers["Authorization"] = f"Bearer {self._token}"
        if self._etag is not None and method == "PATCH":
            headers["If-Match"] = self._etag
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                async with self._client.stream(method, url, content=body, headers=headers) as answer:
                    return answer, await _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as fault:
            raise _unreached(fault) from None


async def _read(answer: httpx.Response) -> str:
    """The body.

    :raises SfuRefused: it is longer than any session description
    """
    pieces, size = [], 0
    async for piece in answer.aiter_bytes():
        size += len(piece)
        if size > LARGEST_ANSWER_BYTES:
            raise SfuRefused(f"its answer is longer than {LARGEST_ANSWER_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces).decode("utf-8", errors="replace")


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _refusal(answer: httpx.Response, body: str) -> SfuRefused:
    words = f"{answer.status_code} {answer.reason_phrase}: {body.strip()[:LONGEST_REASON]}".rstrip(": ")
    if answer.status_code in (429, 503):
        said = answer.headers.get("Retry-After", "")
        return SfuBusy(words, min(float(said), LONGEST_RETRY_S) if said.isdecimal() else None)
    return _REFUSALS.get(answer.status_code, SfuRefused)(words)


def _unreached(fault: Exception) -> SfuRefused:
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SfuNotTrusted(cause.verify_message or str(cause))
        cause = cause.__cause__ or cause.__context__
    return SfuUnreachable(str(fault) or f"no answer within {ANSWERS_WITHIN_S:g} s")

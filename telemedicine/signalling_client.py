"""The van's line to the exchange: it dials out, proves itself with the vehicle's key, dials again when it breaks."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from devices.clock import Clock
from devices.events import emit
from sync.keys.vehicle_key import PurposeSigner
from telemedicine.wire import (
    CHALLENGE,
    MESSAGE_LIMIT_CHARACTERS,
    Challenge,
    Fault,
    FromExchange,
    Hello,
    Message,
    MessageRefused,
    Welcome,
    challenge_bytes,
    parse_from_exchange,
)

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 20.0
PING_EVERY_S = 10.0
OPEN_WITHIN_S = 10.0

OnMessage = Callable[[FromExchange], Awaitable[None]]


class SignallingClient:
    """``run`` for ever; ``send`` at any time: while the line is down messages are dropped, because the van tells
    its whole state again (``on_joined``) as soon as it is back."""

    def __init__(
        self,
        url: str,
        key: PurposeSigner,
        clock: Clock,
        jitter: Callable[[], float],
        on_joined: Callable[[], None],
        on_message: OnMessage,
    ) -> None:
        """:param jitter: 0 <= x < 1, so that a fleet does not come back all at once"""
        self._url = url
        self._key = key
        self._clock = clock
        self._jitter = jitter
        self._on_joined = on_joined
        self._on_message = on_message
        self._connection: ClientConnection | None = None
        self.joined = False
        self.refused = False
        """The exchange answers, but does not take this van for what it says it is; not while it can't be reached."""

    async def run(self) -> None:
        retry_s, told_lost = FIRST_RETRY_S, False
        while True:
            reason = "closed by the exchange"
            try:
                async with connect(
                    self._url,
                    max_size=4 * MESSAGE_LIMIT_CHARACTERS,
                    max_queue=32,
                    open_timeout=OPEN_WITHIN_S,
                    ping_interval=PING_EVERY_S,
                    ping_timeout=PING_EVERY_S,
                    proxy=None,
                ) as connection:
                    await self._prove(connection)
                    retry_s, told_lost = FIRST_RETRY_S, False
                    await self._serve(connection)
            except MessageRefused as fault:
                reason = str(fault)
            except (OSError, WebSocketException, TimeoutError) as fault:
                reason, self.refused = str(fault) or type(fault).__name__, False
            finally:
                self.joined, self._connection = False, None
            if not told_lost:
                emit("exchange_lost", reason=reason)
                told_lost = True
            await self._clock.sleep(retry_s * (0.5 + self._jitter()))
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def send(self, message: Message) -> bool:
        """Send now; False when the line is down."""
        if self._connection is None or not self.joined:
            return False
        try:
            await self._connection.send(message.text())
        except WebSocketException:
            return False
        return True

    async def _prove(self, connection: ClientConnection) -> None:
        challenge = parse_from_exchange(await _text(connection))
        if not isinstance(challenge, Challenge):
            self.refused = False
            raise MessageRefused("the exchange did not begin with a challenge; check the address")
        origin = self._key.name
        signature = base64.b64encode(self._key.sign_for(CHALLENGE, challenge_bytes(challenge.nonce, origin))).decode()
        await connection.send(Hello(origin=origin, signature=signature).text())
        answer = parse_from_exchange(await _text(connection))
        self.refused = isinstance(answer, Fault)
        if isinstance(answer, Fault):
            raise MessageRefused(answer.message)
        if not isinstance(answer, Welcome):
            raise MessageRefused("the exchange did not welcome us; check the address")

    async def _serve(self, connection: ClientConnection) -> None:
        self._connection, self.joined = connection, True
        emit("exchange_joined")
        self._on_joined()
        async for text in connection:
            try:
                message = parse_from_exchange(text if isinstance(text, str) else text.decode(errors="replace"))
            except MessageRefused as refusal:
                emit("signalling_refused", who="exchange", reason=str(refusal))
                continue
            await self._on_message(message)


async def _text(connection: ClientConnection) -> str:
    text = await connection.recv()
    return text if isinstance(text, str) else text.decode(errors="replace")

"""Whether the county knows this van's key; while it does not, a one-time code that the doctor reads out by phone.

The code is asked for by who stands in front of the screen, is good for half an hour and never leaves the van: the
county gets a salted hash of it, in a request signed by the key that wants to be enrolled. While the code is shown, the
county is asked every few seconds how it stands, so that the screen says "enrolled" while the two are on the phone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.clock import Clock
from devices.events import emit
from sync.delivery.county_client import CountyClient, CountyUnreachable, RecordRefused
from sync.delivery.recording_delivery import NOT_KNOWN
from sync.delivery.uploader import UplinkStatus
from sync.keys.key_statements import (
    CODE_DIGITS,
    LONGEST_VALID_S,
    SALT_BYTES,
    EnrolmentAsk,
    code_hash,
    fingerprint,
)
from sync.keys.vehicle_key import VerifierKey

if TYPE_CHECKING:
    from vehicle.settings import VehicleIdentity

LOOK_EVERY_S = 1.0
ASK_EVERY_S = 5.0
SHOWN_FOR_S = 15.0
"""A page that shows the code says so every few seconds; it was closed when it has said nothing for so long."""
_SETTLED = ("enrolled", "no_county")
_NO_CODE_HELPS = (*_SETTLED, "other_key", "revoked")
_ASKS_PERSON = ("waiting", "locked", "expired", "other_key", "revoked")


@dataclass(frozen=True, slots=True)
class Code:
    """:ivar digits: eight, as read aloud"""

    digits: str
    salt: bytes
    hashed: bytes
    until_mono_s: float


@dataclass(frozen=True, slots=True)
class EnrolmentView:
    """What a screen shows.

    :ivar state: "enrolled", "no_county", "unknown" (not heard yet), "unreachable", "refused", or what the county said:
        "waiting", "locked", "expired", "other_key", "revoked"
    :ivar code: digits while there is something to read out, else None
    :ivar left_s: how long the code is good
    """

    state: str
    origin: str
    fingerprint: str
    code: str | None
    left_s: int


class Enrolment:
    """
    :param delivery: the uploader's status
    :param release: called once the key is known: what was parked for that reason is tried again
    """

    def __init__(
        self,
        identity: VehicleIdentity,
        county: CountyClient | None,
        key: Callable[[], VerifierKey],
        delivery: Callable[[], UplinkStatus],
        release: Callable[[], None],
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._identity, self._county, self._key = identity, county, key
        self._delivery, self._release = delivery, release
        self._clock, self._random_bytes = clock, random_bytes
        self._said = "unknown" if county is not None else "no_county"
        self._code: Code | None = None
        self._shown_mono_s = self._asked_mono_s = float("-inf")
        self._making = asyncio.Lock()

    @property
    def state(self) -> str:
        """See ``EnrolmentView``."""
        return self._state(self._delivery()) if self._county is not None else "no_county"

    def due(self, delivery: UplinkStatus) -> bool:
        """Whether the county has said that it does not know this key."""
        return self._county is not None and (_not_known(delivery) or self._state(delivery) in _ASKS_PERSON)

    def _state(self, delivery: UplinkStatus) -> str:
        """What the uploader meets counts more than what was said before."""
        if _not_known(delivery):
            return "unknown" if self._said == "enrolled" else self._said
        return "enrolled" if delivery.last_receipt_at is not None else self._said

    async def show(self) -> EnrolmentView:
        """What stands on the screen now; makes a code when one is needed and none is good."""
        self._shown_mono_s = self._clock.monotonic_s()
        if self.state not in _NO_CODE_HELPS and self._left_s() <= 0:
            await self.new_code()
        state, key = self.state, self._key()
        code = self._code.digits if self._code and state not in _NO_CODE_HELPS else None
        return EnrolmentView(state, key.name, fingerprint(key), code, self._left_s() if code else 0)

    async def new_code(self) -> None:
        """Another code; the one before is worth nothing from the moment the county hears of it."""
        async with self._making:
            digits = str(int.from_bytes(self._random_bytes(16), "big") % 10**CODE_DIGITS).zfill(CODE_DIGITS)
            salt = self._random_bytes(SALT_BYTES)
            hashed = await asyncio.to_thread(code_hash, digits, salt, self._key())
            self._code = Code(digits, salt, hashed, self._clock.monotonic_s() + LONGEST_VALID_S)
            if self._said in ("locked", "expired", "waiting"):
                self._said = "unknown"
            self._asked_mono_s = float("-inf")

    async def run(self) -> None:
        """The service: ask the county while the code is being shown, for ever."""
        while True:
            now_mono_s = self._clock.monotonic_s()
            shown = now_mono_s - self._shown_mono_s < SHOWN_FOR_S
            if shown and now_mono_s - self._asked_mono_s >= ASK_EVERY_S and self.state not in _SETTLED:
                await self.ask()
            await self._clock.sleep(LOOK_EVERY_S)

    async def ask(self) -> str:
        """Ask once; returns the state."""
        if self._county is None or self._code is None or self._left_s() <= 0:
            return self.state
        self._asked_mono_s = self._clock.monotonic_s()
        try:
            said = await self._county.ask_enrolment(bytes(self._request(self._code)))
        except CountyUnreachable:
            said = "unreachable"
        except RecordRefused:
            said = "refused"
        before, self._said = self._said, said
        if said != before:
            emit("enrolment_answered", state=said)
        if said == "enrolled":
            self._code = None
            self._release()
            if before != said:
                emit("vehicle_enrolled", origin=self._key().name)
        return said

    def _request(self, code: Code) -> EnrolmentAsk:
        identity = self._identity
        return EnrolmentAsk(
            self._key(), identity.id, identity.plate, code.salt, code.hashed, self._left_s(), identity.succeeds
        )

    def _left_s(self) -> int:
        return 0 if self._code is None else max(0, int(self._code.until_mono_s - self._clock.monotonic_s()))


def _not_known(delivery: UplinkStatus) -> bool:
    return any(parked.status in NOT_KNOWN for parked in delivery.parked)

"""Names for things: ``visit-01J8...``, a ULID in Crockford base 32, so that names sort by the time they were given."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from devices.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Identifiers:
    """Gives unique, increasing names, also within one millisecond and when the wall clock is set back."""

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._last = -1
        self._lock = threading.Lock()

    def new(self, what: str) -> str:
        """:param what: "visit", "patient", "encounter", "reading" ... in front of the name."""
        with self._lock:
            milliseconds = (self._clock.now() - _EPOCH) // timedelta(milliseconds=1)
            number = (milliseconds << 80) | int.from_bytes(self._random_bytes(10), "big")
            if number >> 80 <= self._last >> 80:
                number = self._last + 1
            self._last = number
        return f"{what}-{_crockford(number)}"


def _crockford(number: int) -> str:
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))

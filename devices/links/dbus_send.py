"""A fault of dbus-fast (5.2.0) put right, for every bus of the process: take ``MessageBus`` from here.

``MessageBus.call`` hands its message to ``send`` and drops the future that ``send`` returns. When the bus has broken,
the write fails, the caller of ``call`` is told, and the dropped future ends with an exception that nobody asks for:
asyncio logs "Future exception was never retrieved" for each. Whoever awaits such a future is told as before.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dbus_fast.aio import MessageBus, message_bus

__all__ = ["MessageBus"]

_set_exception = message_bus._future_set_exception


def _set_seen_exception(fut: asyncio.Future[Any], exc: Exception) -> None:
    _set_exception(fut, exc)
    if fut and fut.done() and not fut.cancelled():
        fut.exception()


message_bus._future_set_exception = _set_seen_exception

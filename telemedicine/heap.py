"""What a session used goes back to the system when it is over.

Encoders and decoders of several threads leave the C library's arenas full of holes. Nothing is lost, but a van that is
on for days would look as if it grew with every consultation, and the memory is wanted by the others on the computer.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """malloc_trim(3) of the GNU C library; None where the C library is another one."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None


def give_back() -> None:
    """Give whole free pages of every arena back; some ms. Where the C library cannot, nothing happens."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)

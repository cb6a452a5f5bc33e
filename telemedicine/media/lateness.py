"""How late a live stream is, from its own clock; pure.

A computer that decodes more slowly than a camera sends does not lose pictures: they wait in the connection, and each is
shown later than the one before. The camera's own times tell: their distance from ours grows.
"""

from __future__ import annotations

DRIFT = 0.0005
"""A camera's clock may be this much slower than ours; quartz is ten times better."""


class Lateness:
    """How much later than at its best the stream is; times in seconds, ``now_s`` never goes back."""

    def __init__(self) -> None:
        self._least_s = float("inf")
        self._last_s = 0.0

    def late_s(self, position_s: float, now_s: float) -> float:
        """:param position_s: the camera's time of the picture that came now"""
        behind_s = now_s - position_s
        self._least_s = min(behind_s, self._least_s + DRIFT * (now_s - self._last_s))
        self._last_s = now_s
        return behind_s - self._least_s

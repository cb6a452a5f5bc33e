"""Tells the screens when something on their status strip has changed; says nothing while nothing has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devices.clock import Clock

LOOK_EVERY_S = 2.0


class StatusTeller:
    """
    :param status: ``Health.status``
    :param tell_visit: sends the visit with its dwell; called once a minute while one is open
    """

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        send: Callable[[dict[str, Any]], None],
        tell_visit: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._status = status
        self._send = send
        self._tell_visit = tell_visit
        self._clock = clock
        self._told: dict[str, Any] | None = None
        self._visit_told_mono_s = 0.0

    def tick(self) -> None:
        status = self._status()
        essence = essence_of(status)
        if essence != self._told:
            self._told = essence
            self._send({"type": "status", **essence})
        now_mono_s = self._clock.monotonic_s()
        if now_mono_s - self._visit_told_mono_s >= 60.0:
            self._visit_told_mono_s = now_mono_s
            self._tell_visit()

    async def run(self) -> None:
        """The service: ``tick`` every 2 s, for ever."""
        while True:
            self.tick()
            await self._clock.sleep(LOOK_EVERY_S)


def essence_of(status: dict[str, Any]) -> dict[str, Any]:
    """What a strip shows: small, without numbers that change all the time."""
    link = status["link"]
    return {
        "faults": [{"code": fault["code"], "subject": fault["subject"]} for fault in status["faults"]],
        "link": {"online": link["online"], "kind": link["kind"]},
        "waiting": {"entries": status["waiting"]["entries"], "recordings": status["waiting"]["recordings"]},
        "devices": {device["name"]: device["link"] for device in status["devices"]},
        "clock": {"source": status["clock"]["source"]},
        "consultation": status["consultation"],
    }

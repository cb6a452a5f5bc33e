"""A van with its touchscreen on a free port, for a real browser: everything runs on one event loop in one thread."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1] / "vehicle"))

from touch_bench import PIN, Bench, settings_in

from devices.clock import SystemClock
from devices.readings import PulseOximetry
from vehicle.settings import VehicleSettings
from vehicle.touchscreen.app import create_touchscreen

__all__ = ["Van", "settings_in"]
R = TypeVar("R")
WITHIN_S = 30.0


class Van:
    """``address`` for the browser; ``do`` and ``wait`` run something inside the van."""

    def __init__(self, folder: Path, *, practice: bool = False, settings: VehicleSettings | None = None) -> None:
        self._folder, self._practice, self._settings = folder, practice, settings
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Van:
        self._thread.start()
        assert self._ready.wait(WITHIN_S), "the van did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(WITHIN_S)
        self._listening.close()

    def do(self, what: Callable[[Bench], R]) -> R:
        """Run ``what`` in the van's loop."""

        async def now() -> R:
            return what(self.bench)

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result(WITHIN_S)

    def wait(self, what: Callable[[Bench], Awaitable[R]]) -> R:
        """Await ``what`` in the van's loop."""

        async def now() -> R:
            return await what(self.bench)

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result(WITHIN_S)

    def sign_in(self, page: Any, person: str = "zhou.min") -> None:
        """Name and PIN on the pad, as a finger does it."""
        page.goto(f"{self.address}/sign-in")
        page.get_by_test_id(f"person-{person}").check()
        for digit in PIN[person]:
            page.get_by_test_id(f"key-{digit}").click()
        page.get_by_test_id("sign-in").click()
        page.wait_for_url("**/today")

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.bench = Bench(self._folder, SystemClock(), practice=self._practice, settings=self._settings)
        self.app = app = create_touchscreen(self.bench.vehicle)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, lifespan="off", log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=2
            )
        )
        serving = asyncio.create_task(self._server._serve([self._listening]))
        self._ready.set()  # the socket listens already: a first request waits until the server takes it
        sending = asyncio.create_task(self._send())
        await serving
        sending.cancel()
        await self.bench.vehicle.stop()

    async def _send(self) -> None:
        """ECG and pulse wave as the devices send them, 20 chunks a second; a value and where the van is each second."""
        index = 0
        self.sending = True
        while True:
            if self.sending:
                self.bench.send_ecg(25)
                self.bench.send_pleth(index)
                if index % 60 == 0:
                    self.bench.publish("oximeter-1", PulseOximetry(96, 74))
                    self.bench.send_position()
            index += 3
            await asyncio.sleep(0.05)

    def _stop(self) -> None:
        self._server.should_exit = True

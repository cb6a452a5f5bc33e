"""A USB HID device as a link, through the kernel's hidraw: one read is one report, one write is one report.

The device is named by a path that stays: ``hardware/udev`` makes /dev/xunzhen/... for the known ones. hidraw lets any
number of programs open a device; a lock keeps a second one of ours away. Reports carry no number here (report ID 0).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable

from devices.driver import HidUse, Line, Write, lines_of
from devices.errors import LinkLost
from devices.events import emit
from devices.links.locked_port import open_device, open_locked
from devices.links.serial_link import PortBusy, PortRefused

MAX_BUFFERED_REPORTS = 2048
"""13 s of the fastest device. Beyond it the oldest are dropped and counted: the driver sees a gap."""


class HidLink:
    """See ``DeviceLink``.

    :param open_device: in place of the kernel, for tests: any descriptor that keeps the borders of messages
    """

    def __init__(self, port: str, open_device: Callable[[str], int] = open_device) -> None:
        self._port = port
        self._open_device = open_device
        self._use = HidUse()
        self._descriptor: int | None = None
        self._fault: str | None = None
        self._reports: deque[bytes] = deque()
        self._dropped = 0
        self._ended: str | None = None
        self._arrived = asyncio.Event()
        self._writing: asyncio.Future[int] | None = None

    @property
    def place(self) -> str:
        return self._port

    @property
    def fault(self) -> str | None:
        return self._fault

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        """
        :raises PortAbsent, PortBusy, PortRefused: see there.
        """
        uses = lines_of(line, HidUse)
        if not uses:
            raise TypeError("a HID link needs a HidUse")
        await self.close()
        self._fault = None
        try:
            descriptor = open_locked(self._port, self._open_device)
        except (PortBusy, PortRefused) as refusal:
            self._fault = refusal.code
            raise
        self._use, self._descriptor, self._ended = uses[0], descriptor, None
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    async def receive(self) -> tuple[str, bytes]:
        while not self._reports:
            if self._descriptor is None:
                raise LinkLost("the device is not open")
            if self._ended is not None:
                raise LinkLost(self._ended)
            self._arrived.clear()
            await self._arrived.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            emit("frames_dropped", device=self._port, count=dropped, reason="reports came faster than they were taken")
        return "", self._reports.popleft()

    async def write(self, write: Write) -> None:
        """Fills the report with zeros. In a thread: for a device that takes nothing the kernel waits for seconds."""
        if self._descriptor is None:
            raise LinkLost("the device is not open")
        report = b"\0" + write.payload.ljust(self._use.output_bytes, b"\0")
        self._writing = asyncio.ensure_future(asyncio.to_thread(os.write, self._descriptor, report))
        try:
            await asyncio.shield(self._writing)
        except OSError as fault:
            raise LinkLost(f"writing failed: {fault}") from fault

    async def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            asyncio.get_running_loop().remove_reader(descriptor)
            if self._writing is not None:  # nothing is closed under a writer's feet
                await asyncio.gather(asyncio.shield(self._writing), return_exceptions=True)
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._reports.clear()
        self._arrived.set()

    def _read(self) -> None:
        assert self._descriptor is not None
        try:
            report = os.read(self._descriptor, self._use.input_bytes)
        except BlockingIOError:
            return
        except OSError as fault:
            self._end(str(fault))
            return
        if not report:
            self._end("pulled out")
            return
        if len(self._reports) == MAX_BUFFERED_REPORTS:
            self._reports.popleft()
            self._dropped += 1
        self._reports.append(report)
        self._arrived.set()

    def _end(self, reason: str) -> None:
        assert self._descriptor is not None
        self._ended = reason
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self._arrived.set()

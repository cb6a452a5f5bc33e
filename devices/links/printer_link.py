"""A USB printer as a link: the kernel's usblp gives /dev/usb/lp0. See ``DeviceLink``.

Reading is how its status comes back; a printer without that way is written to only. While it takes nothing (paper out,
cover open) a write waits, and ends with the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

from devices.driver import Line, Write
from devices.errors import LinkLost
from devices.links.locked_port import open_locked
from devices.links.serial_link import PortBusy, PortRefused

READ_BYTES = 4096
ONE_WAY = (errno.EINVAL, errno.EBADF)
"""What reading a printer says that has no way back."""
LOOK_EVERY_S = 0.1
"""A one-way printer that is pulled out is noticed by its path."""


class PrinterLink:
    """:param port: a path that stays; the udev rule of ``hardware`` makes /dev/xunzhen/printer"""

    def __init__(self, port: str) -> None:
        self._port = port
        self._descriptor: int | None = None
        self._fault: str | None = None

    @property
    def place(self) -> str:
        return self._port

    @property
    def fault(self) -> str | None:
        return self._fault

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        """``line`` says nothing here: the printer class of USB has no speed.

        :raises PortAbsent, PortBusy, PortRefused: see there.
        """
        await self.close()
        self._fault = None
        try:
            self._descriptor = open_locked(self._port)
        except (PortBusy, PortRefused) as refusal:
            self._fault = refusal.code
            raise

    async def receive(self) -> tuple[str, bytes]:
        while True:
            descriptor = self._opened()
            await self._until_ready(descriptor, asyncio.get_running_loop().add_reader, self._stop_reading)
            try:
                chunk = os.read(descriptor, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as fault:
                if fault.errno not in ONE_WAY:
                    raise LinkLost(f"{self._port} is gone: {fault}") from fault
                chunk = b""
            if chunk:
                return "", chunk
            if not self._is_there():
                raise LinkLost(f"{self._port} is pulled out")
            await asyncio.sleep(LOOK_EVERY_S)

    async def write(self, write: Write) -> None:
        waiting = write.payload
        while waiting:
            descriptor = self._opened()
            try:
                waiting = waiting[os.write(descriptor, waiting) :]
            except BlockingIOError:
                await self._until_ready(descriptor, asyncio.get_running_loop().add_writer, self._stop_writing)
            except OSError as fault:
                raise LinkLost(f"{self._port} does not take what is sent: {fault}") from fault

    async def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self._stop_reading(descriptor)
            self._stop_writing(descriptor)
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _is_there(self) -> bool:
        return os.path.exists(self._port)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise LinkLost("the printer is not open")
        return self._descriptor

    @staticmethod
    async def _until_ready(
        descriptor: int, watch: Callable[[int, Callable[[], None]], None], unwatch: Callable[[int], None]
    ) -> None:
        ready = asyncio.Event()
        watch(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            unwatch(descriptor)

    @staticmethod
    def _stop_reading(descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)

    @staticmethod
    def _stop_writing(descriptor: int) -> None:
        asyncio.get_running_loop().remove_writer(descriptor)

"""A twin behind a USB HID device: reports over a pair of sockets that keep their borders, as hidraw does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque

from devices.clock import Clock
from devices.simulators.twin import Twin

STEP_S = 0.02
MAX_UNSENT_REPORTS = 512
"""Beyond it, what a host that has the device open does not read is lost."""


class HidPort:
    """``attach`` plugs in, ``detach`` pulls out: whoever has it open reads its end. ``open`` stands for the kernel."""

    def __init__(self, twin: Twin, clock: Clock, report_bytes: int = 64) -> None:
        self.twin = twin
        self.lost_reports = 0
        self._clock = clock
        self._report_bytes = report_bytes
        self._attached = False
        self._device: socket.socket | None = None
        self._unsent: deque[bytes] = deque()
        self._pacing: asyncio.Task[None] | None = None

    def attach(self) -> None:
        self._attached = True
        self.twin.power_on()

    def detach(self) -> None:
        self._attached = False
        self._hang_up()

    def open(self, path: str) -> int:
        """A descriptor for the host, as open(2) of /dev/hidraw gives one.

        :raises FileNotFoundError: it is not plugged in.
        """
        if not self._attached:
            raise FileNotFoundError(errno.ENOENT, "no such device", path)
        self._hang_up()
        self._device, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._device.setblocking(False)
        host.setblocking(False)
        self._pacing = asyncio.get_running_loop().create_task(self._pace(self._device))
        return host.detach()

    def _hang_up(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
            self._pacing = None
        if self._device is not None:
            self._device.close()
            self._device = None
        self._unsent.clear()

    async def _pace(self, device: socket.socket) -> None:
        before_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic_s()
            sent = b"".join(self.twin.receive(report[1:]) for report in self._asked(device))  # without its number
            sent += self.twin.advance(now_s - before_s)
            before_s = now_s
            for at in range(0, len(sent), self._report_bytes):
                self._send(sent[at : at + self._report_bytes])
            self._flush(device)

    @staticmethod
    def _asked(device: socket.socket) -> list[bytes]:
        reports = []
        with contextlib.suppress(OSError):
            while report := device.recv(4096):
                reports.append(report)
        return reports

    def _send(self, report: bytes) -> None:
        if len(self._unsent) == MAX_UNSENT_REPORTS:
            self.lost_reports += 1
        else:
            self._unsent.append(report)

    def _flush(self, device: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while self._unsent:
                device.send(self._unsent[0])
                self._unsent.popleft()

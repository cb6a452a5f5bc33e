"""A serial port as a link: pyserial in one reader thread, a bounded buffer towards the event loop.

Ports are named by a path that stays (``/dev/serial/by-path/...``) or by a symlink that comes and goes. The port is
opened exclusively, at construction: reconfiguring an open port fails on some (EINVAL on a pty with parity).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time

import serial

from devices.driver import Line, SerialLine, Write, lines_of
from devices.errors import LinkLost
from devices.events import emit

MAX_BUFFERED_BYTES = 256 * 1024
"""About 17 s of the fastest device. Beyond it the oldest bytes are dropped and counted: the driver sees a gap."""
READ_BYTES = 4095
"""What the kernel gives of a terminal at once."""
READ_TIMEOUT_S = 0.1
WRITE_TIMEOUT_S = 1.0
GATHER_S = 0.02
"""After the first byte: a fast device sends a packet every few milliseconds, one wake-up for several is enough; drivers
make chunks of 50 ms of them."""


class PortAbsent(LinkLost):
    """The path is not there: unplugged or switched off. No fault."""

    code = "port_absent"


class PortBusy(LinkLost):
    """Another program holds the port."""

    code = "port_busy"


class PortRefused(LinkLost):
    """No permission, or not a serial port: a person has to act, the session goes on trying."""

    code = "port_refused"


class SerialLink:
    """See ``DeviceLink``. At most one reader thread; it ends with ``close`` or with the port."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._fault: str | None = None
        self._open: _OpenPort | None = None

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
        ways = lines_of(line, SerialLine)
        if not ways:
            raise TypeError("a serial link needs a SerialLine")
        await self.close()
        self._fault = None
        try:
            port = await asyncio.to_thread(_open_port, self._port, ways[0])
        except LinkLost as refusal:
            self._fault = None if isinstance(refusal, PortAbsent) else refusal.code
            raise
        self._open = _OpenPort(port, asyncio.get_running_loop())

    async def receive(self) -> tuple[str, bytes]:
        if self._open is None:
            raise LinkLost("the port is not open")
        chunk = await self._open.next_chunk()
        if dropped := self._open.take_dropped():
            emit("frames_dropped", device=self._port, count=dropped, reason="bytes came faster than they were taken")
        return "", chunk

    async def write(self, write: Write) -> None:
        if self._open is None:
            raise LinkLost("the port is not open")
        await self._open.write(write.payload)

    async def close(self) -> None:
        if self._open is not None:
            port, self._open = self._open, None
            await port.close()


class _OpenPort:
    """One opening of the port: descriptor, thread and buffer live and die together."""

    def __init__(self, port: serial.Serial, loop: asyncio.AbstractEventLoop) -> None:
        self._port = port
        self._loop = loop
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._dropped = 0
        self._ended: str | None = None
        self._arrived = asyncio.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_until_end, name=f"serial {port.port}", daemon=True)
        self._thread.start()

    async def next_chunk(self) -> bytes:
        while True:
            with self._lock:
                chunk, ended = bytes(self._buffer), self._ended
                self._buffer.clear()
                self._arrived.clear()
            if chunk:
                return chunk
            if ended is not None:
                raise LinkLost(ended)
            await self._arrived.wait()

    def take_dropped(self) -> int:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    async def write(self, payload: bytes) -> None:
        try:
            await asyncio.to_thread(self._port.write, payload)
        except (serial.SerialException, OSError, TypeError, AttributeError) as fault:
            raise LinkLost(f"writing failed: {fault}") from fault

    async def close(self) -> None:
        """Waits for the thread: no descriptor is closed under a reader's feet, none is left open."""
        self._stopping.set()
        with contextlib.suppress(OSError, serial.SerialException, AttributeError, TypeError):
            self._port.cancel_read()
        await asyncio.shield(asyncio.to_thread(self._join))

    def _join(self) -> None:
        self._thread.join()
        with contextlib.suppress(OSError, serial.SerialException):
            self._port.close()

    def _read_until_end(self) -> None:
        reason = "closed"
        try:
            while not self._stopping.is_set():
                chunk = self._port.read(1)
                if chunk:
                    time.sleep(GATHER_S)
                    self._store(chunk + self._waiting())
        except (serial.SerialException, OSError, TypeError, AttributeError) as fault:
            reason = str(fault)
        with self._lock:
            self._ended = reason
        self._wake()

    def _waiting(self) -> bytes:
        """What the kernel holds: pyserial opens ports so that reading never waits."""
        waiting = b""
        with contextlib.suppress(BlockingIOError):
            while len(waiting) < MAX_BUFFERED_BYTES and (more := os.read(self._port.fileno(), READ_BYTES)):
                waiting += more
                if len(more) < READ_BYTES:
                    break
        return waiting

    def _store(self, chunk: bytes) -> None:
        with self._lock:
            was_empty = not self._buffer
            self._buffer += chunk
            excess = len(self._buffer) - MAX_BUFFERED_BYTES
            if excess > 0:
                del self._buffer[:excess]
                self._dropped += excess
        if was_empty:
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed while we read
            self._loop.call_soon_threadsafe(self._arrived.set)


def _open_port(path: str, line: SerialLine) -> serial.Serial:
    if not os.path.exists(path):
        raise PortAbsent(f"{path} is not there")
    try:
        port = serial.Serial(
            path,
            baudrate=line.baud_rate,
            parity=line.parity,
            stopbits=line.stop_bits,
            timeout=READ_TIMEOUT_S,
            write_timeout=WRITE_TIMEOUT_S,
            exclusive=True,
        )
    except (serial.SerialException, OSError, ValueError) as fault:
        raise _refusal(path, fault) from fault
    _set_line(port, "dtr", line.dtr)
    _set_line(port, "rts", line.rts)
    return port


def _set_line(port: serial.Serial, name: str, high: bool) -> None:
    """A pty and some USB bridges have no modem lines: ENOTTY is no reason to give up."""
    with contextlib.suppress(OSError, serial.SerialException):
        setattr(port, name, high)


def _refusal(path: str, fault: Exception) -> LinkLost:
    code = getattr(fault, "errno", None)
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO) or not os.path.exists(path):
        return PortAbsent(f"{path} went away: {fault}")
    if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY):
        return PortBusy(f"{path} is held by another program: {fault}")
    return PortRefused(f"{path} cannot be opened: {fault}")

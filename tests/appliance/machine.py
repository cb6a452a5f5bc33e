"""The BlueZ appliance as a running virtual machine: a real kernel, a real bluetoothd, two doors to them on 127.0.0.1.

QEMU without KVM (a nested one hangs), without a disk, without a way out (``restrict=on``), as whoever runs the tests;
the guest sees this machine's /usr and this folder, read only, and nothing else of it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path

from tests.appliance.image import ApplianceMissing, Image

READY = b"appliance: ready"
BOOT_LIMIT_S = 180.0
COMMAND_LIMIT_S = 60.0
BUS_PORT, CONTROLLER_PORT, CONTROL_PORT = 7001, 7002, 7003
PORTS_TAKEN = "Could not set up host forwarding rule"
KERNEL_COMMAND = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr net.ifnames=0 random.trust_cpu=on"
    " cryptomgr.notests=1"  # or each cipher tests itself at loading, which takes seconds here
)


class Appliance:
    """Start it, use its doors, stop it. QEMU dies with this process, however that ends."""

    def __init__(self, image: Image) -> None:
        self.told: deque[str] = deque(maxlen=200)
        """The last lines of the guest's console: kernel, bluetoothd, dbus-daemon."""
        self._image = image
        self._machine: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._ports: dict[int, int] = {}

    @property
    def bus_address(self) -> str:
        """For DBUS_SYSTEM_BUS_ADDRESS, with BLEAK_DBUS_AUTH_UID=0: the guest knows only root."""
        return f"tcp:host=127.0.0.1,port={self._ports[BUS_PORT]}"

    @property
    def controller(self) -> str:
        """For bumble's ``open_transport``."""
        return f"tcp-client:127.0.0.1:{self._ports[CONTROLLER_PORT]}"

    async def start(self) -> None:
        """Return when bus and controller can be reached.

        :raises ApplianceMissing: the machine does not come up; the message ends with what it said.
        """
        for _ in range(3):
            if await self._boot():
                return
            await self.stop()
            if not any(PORTS_TAKEN in line for line in self.told):
                break
        raise ApplianceMissing("the virtual machine does not start: " + " | ".join(list(self.told)[-5:]))

    async def stop(self) -> None:
        machine, self._machine = self._machine, None
        if machine is not None:
            with suppress(ProcessLookupError):
                machine.kill()
            await machine.wait()
        if self._reading is not None:
            await self._reading

    async def command(self, deed: str, program: str) -> None:
        """``deed``: start, stop (SIGTERM) or kill (SIGKILL); ``program``: bluetoothd or dbus-daemon."""
        async with asyncio.timeout(COMMAND_LIMIT_S):
            lines, door = await asyncio.open_connection("127.0.0.1", self._ports[CONTROL_PORT])
            try:
                door.write(f"{deed} {program}\n".encode())
                answer = await lines.readline()
            finally:
                door.close()
        if answer != b"done\n":
            raise RuntimeError(f"the appliance did not {deed} {program}: {list(self.told)[-5:]}")

    async def _boot(self) -> bool:
        self._ready.clear()
        doors = (BUS_PORT, CONTROLLER_PORT, CONTROL_PORT)
        self._ports = dict(zip(doors, _free_ports(len(doors)), strict=True))
        self._machine = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL"),
            *self._command_line(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert self._machine.stdout is not None
        self._reading = asyncio.create_task(self._read(self._machine.stdout))
        booted = asyncio.create_task(self._ready.wait())
        await asyncio.wait({booted, self._reading}, timeout=BOOT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        booted.cancel()
        return self._ready.is_set()

    async def _read(self, console: asyncio.StreamReader) -> None:
        while line := await console.readline():
            self.told.append(line.decode(errors="replace").rstrip())
            if READY in line:
                self._ready.set()

    def _command_line(self) -> list[str]:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{outside}-:{inside}" for inside, outside in self._ports.items())
        return [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "256"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"),
            *("-serial", "stdio", "-device", "virtio-rng-pci"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), "-append", KERNEL_COMMAND),
            *_shared("usr", Path("/usr")),
            *_shared("guest", Path(__file__).parent),
            *("-netdev", f"user,id=net,restrict=on{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
        ]


def _shared(tag: str, folder: Path) -> list[str]:
    """A folder that the guest may read."""
    files = f"local,id={tag},path={folder},security_model=none,readonly=on,multidevs=remap"
    return ["-fsdev", files, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()

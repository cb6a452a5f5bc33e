"""A slow, long, breaking link between two network namespaces: packets through two TUN devices and this program.

Real TCP of the kernel runs on both ends, so congestion control, retransmission and queues are those of life. Each
direction has a rate, a delay and a bounded queue that drops what does not fit, as a modem's does. Needs root and
/dev/net/tun; the kernel needs no netem.

While the link is down packets vanish. When it comes back the van has another address, as mobile networks have it: who
speaks on a connection from before gets a reset. Commands on standard input, one JSON line of counters as the answer.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import IO

VAN, COUNTY = "10.213.77.1", "10.213.77.2"
QUEUE_S = 0.5
"""What stands in the queue before the slow link at most: modems are known for more."""
MTU = 1500
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
_RST, _ACK = 0x04, 0x10


@dataclass
class Counters:
    """Of one direction, of what got through. ``bytes`` with IP headers, ``payload`` of TCP."""

    packets: int = 0
    bytes: int = 0
    payload: int = 0
    dropped: int = 0


@dataclass
class Direction:
    """A queue, a rate and a delay; ``due`` holds (time it arrives, packet)."""

    source: int
    target: int
    rate_bit_s: float
    delay_s: float
    due: deque[tuple[float, bytes]] = field(default_factory=deque)
    free_at_s: float = 0.0
    counters: Counters = field(default_factory=Counters)

    def enter(self, packet: bytes, now_s: float) -> None:
        begins_s = max(now_s, self.free_at_s)
        if begins_s - now_s > QUEUE_S:
            self.counters.dropped += 1
            return
        self.free_at_s = begins_s + len(packet) * 8 / self.rate_bit_s
        self.due.append((self.free_at_s + self.delay_s, packet))

    def leave(self, now_s: float) -> None:
        while self.due and self.due[0][0] <= now_s:
            _, packet = self.due.popleft()
            self.counters.packets += 1
            self.counters.bytes += len(packet)
            self.counters.payload += _tcp_payload(packet)
            os.write(self.target, packet)


class Emulator:
    """Runs in a process of its own, so that it and what is measured do not wait for each other."""

    def __init__(self, van: int, county: int, rate_bit_s: float, rtt_s: float) -> None:
        self._up = Direction(van, county, rate_bit_s, rtt_s / 2)
        self._down = Direction(county, van, rate_bit_s, rtt_s / 2)
        self._broken = False
        self._flows: set[tuple[int, int]] = set()
        self._dead: set[tuple[int, int]] = set()

    def run(self) -> None:
        os.set_blocking(sys.stdin.fileno(), False)
        ends = {direction.source: direction for direction in (self._up, self._down)}
        while True:
            soonest = [direction.due[0][0] for direction in ends.values() if direction.due]
            wait_s = max(0.0, min(soonest) - time.monotonic()) if soonest else 1.0
            ready, _, _ = select.select([*ends, sys.stdin], [], [], wait_s)
            if sys.stdin in ready and not self._obey():
                return
            for source in ready:
                if source in ends:
                    self._take(ends[source])
            now_s = time.monotonic()
            for direction in ends.values():
                direction.leave(now_s)

    def _take(self, direction: Direction) -> None:
        for _ in range(64):
            try:
                packet = os.read(direction.source, 65_536)
            except BlockingIOError:
                return
            if self._broken or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            flow = _flow(packet)
            if flow in self._dead:
                os.write(direction.source, _reset(packet))
                continue
            self._flows.add(flow)
            direction.enter(packet, time.monotonic())

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        match line.strip():
            case "down":
                self._broken = True
                self._dead |= self._flows
                self._up.due.clear()
                self._down.due.clear()
            case "up":
                self._broken = False
        counted = {"up": asdict(self._up.counters), "down": asdict(self._down.counters)}
        print(json.dumps(counted), flush=True)
        return True


def _flow(packet: bytes) -> tuple[int, int]:
    head = (packet[0] & 15) * 4
    ports: tuple[int, int] = struct.unpack_from("!HH", packet, head)
    return (ports[0], ports[1]) if ports[0] > ports[1] else (ports[1], ports[0])


def _tcp_payload(packet: bytes) -> int:
    head = (packet[0] & 15) * 4
    return len(packet) - head - (packet[head + 12] >> 4) * 4


def _reset(packet: bytes) -> bytes:
    """The RST that a router without knowledge of the connection answers ``packet`` with (RFC 9293, 3.10.7.1)."""
    head = (packet[0] & 15) * 4
    source, target = packet[12:16], packet[16:20]
    here, there, sequence, acknowledged = struct.unpack_from("!HHII", packet, head)
    if packet[head + 13] & _ACK:
        said = struct.pack("!HHIIBBHHH", there, here, acknowledged, 0, 5 << 4, _RST, 0, 0, 0)
    else:
        upto = sequence + _tcp_payload(packet) + 1 & 0xFFFFFFFF
        said = struct.pack("!HHIIBBHHH", there, here, 0, upto, 5 << 4, _RST | _ACK, 0, 0, 0)
    pseudo = target + source + struct.pack("!HH", socket.IPPROTO_TCP, len(said))
    said = said[:16] + struct.pack("!H", _checksum(pseudo + said)) + said[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(said), 0, 0, 64, socket.IPPROTO_TCP, 0) + target + source
    return ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:] + said


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class Link:
    """The link with its namespace ``name``, in which the county runs; ``inside`` starts programs there."""

    def __init__(self, rate_bit_s: float, rtt_s: float = 0.05) -> None:
        self.name = f"bench-{os.getpid()}"
        self.rate_bit_s, self.rtt_s = rate_bit_s, rtt_s
        self._devices = (f"van{os.getpid()}"[:15], f"cty{os.getpid()}"[:15])
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Link:
        _ip("netns", "add", self.name)
        handles = [_tun(device) for device in self._devices]
        van, county = self._devices
        _ip("link", "set", county, "netns", self.name)
        _ip("addr", "add", f"{VAN}/30", "dev", van)
        _ip("link", "set", van, "up", "mtu", str(MTU))
        for words in (
            ["addr", "add", f"{COUNTY}/30", "dev", county],
            ["link", "set", county, "up"],
            ["link", "set", "lo", "up"],
        ):
            subprocess.run([*self.inside(), "ip", *words], check=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.link", *map(str, handles), str(self.rate_bit_s), str(self.rtt_s)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=handles, text=True,
        )  # fmt: skip
        for handle in handles:
            os.close(handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def tell(self, command: str) -> dict[str, Counters]:
        """ "down", "up" or "count"; what has got through in each direction."""
        assert self._process is not None
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        return _told(stdin, stdout, command)


def _told(stdin: IO[str], stdout: IO[str], command: str) -> dict[str, Counters]:
    stdin.write(command + "\n")
    stdin.flush()
    return {name: Counters(**counted) for name, counted in json.loads(stdout.readline()).items()}


def _tun(device: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
    return handle


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def possible() -> bool:
    """Whether this machine lets us make such a link."""
    return os.geteuid() == 0 and os.path.exists("/dev/net/tun")


if __name__ == "__main__":
    Emulator(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])).run()

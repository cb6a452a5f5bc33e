"""A slow, long, breaking link between two network namespaces: packets through two TUN devices and this program.

Real TCP and UDP of the kernel run on both ends, so congestion control, retransmission and queues are those of life.
Each direction has a rate, a delay, a bounded queue that drops what does not fit, as a modem's does, and losses alone
or in bursts; all of it may be changed while packets are on their way. Instead of a rate it may play the trace of a
cellular link (``cellular``). Needs root and /dev/net/tun; the kernel needs no netem.

While the link is down packets vanish. For TCP the van has another address when it comes back, as mobile networks have
it: who speaks on a connection from before gets a reset. ``Link.rebind`` and ``Link.move_van`` do to UDP what networks
do: the router's outer address changes, or the van's own. Commands on standard input, one JSON line of counters as the
answer.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from benchmarks.cellular import DeliveryTrace, Place

VAN, COUNTY = "10.213.77.1", "10.213.77.2"
QUEUE_S = 0.5
"""What stands in the queue before the slow link at most, unless it is given in bytes: modems are known for more."""
MTU = 1500
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
_RST, _ACK = 0x04, 0x10
_SOURCE, _TARGET = 12, 16
_SEED = 1


@dataclass
class Counters:
    """Of one direction, of what got through. ``bytes`` with IP headers, ``payload`` of TCP."""

    packets: int = 0
    bytes: int = 0
    payload: int = 0
    dropped: int = 0
    lost: int = 0


@dataclass
class Losses:
    """Each packet alone with ``share``; and a burst of ``burst`` packets begins at any packet with ``burst_share``."""

    share: float = 0.0
    burst_share: float = 0.0
    burst: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(_SEED))
    _left: int = 0

    def lost(self) -> bool:
        if self._left == 0 and self.burst_share and self.chance.random() < self.burst_share:
            self._left = self.burst
        if self._left:
            self._left -= 1
            return True
        return self.share > 0 and self.chance.random() < self.share


@dataclass
class Playing:
    """A trace that has begun; all times are those of the caller's clock."""

    trace: DeliveryTrace
    began_s: float
    place: Place = field(default_factory=Place)

    def after(self, size_bytes: int, since_s: float) -> tuple[Place, float]:
        """How far it is used up, and when, once ``size_bytes`` that wait since ``since_s`` are through."""
        place = self.trace.served(self.place, size_bytes, since_s - self.began_s)
        return place, self.began_s + self.trace.moment_s(place.index - 1)


@dataclass
class Direction:
    """A queue, a rate (or a trace, while one is played) and a delay. A new rate holds for what already waits."""

    source: int
    target: int
    rate_bit_s: float
    delay_s: float
    queue_bytes: int | None = None
    losses: Losses = field(default_factory=Losses)
    waiting: deque[bytes] = field(default_factory=deque)
    waiting_bytes: int = 0
    due: deque[tuple[float, bytes]] = field(default_factory=deque)
    """(time it arrives, packet), after the queue"""
    free_at_s: float = 0.0
    loaded: DeliveryTrace | None = None
    playing: Playing | None = None
    counters: Counters = field(default_factory=Counters)

    def enter(self, packet: bytes, now_s: float) -> None:
        bound = QUEUE_S * self.rate_bit_s / 8 if self.queue_bytes is None else self.queue_bytes
        if self.losses.lost():
            self.counters.lost += 1
        elif self.waiting_bytes > 0 and self.waiting_bytes + len(packet) > bound:
            self.counters.dropped += 1
        else:
            if not self.waiting:
                self.free_at_s = max(now_s, self.free_at_s)
            self.waiting.append(packet)
            self.waiting_bytes += len(packet)

    def leave(self, now_s: float) -> float | None:
        """Hand over what has arrived; when to look again, None while nothing is on its way."""
        while self.waiting and (through_s := self._first_through_s()) <= now_s:
            packet = self.waiting.popleft()
            if self.playing is not None:
                self.playing.place, _ = self.playing.after(len(packet), self.free_at_s)
            self.free_at_s = through_s
            self.waiting_bytes -= len(packet)
            self.due.append((self.free_at_s + self.delay_s, packet))
        while self.due and self.due[0][0] <= now_s:
            _, packet = self.due.popleft()
            self.counters.packets += 1
            self.counters.bytes += len(packet)
            self.counters.payload += _tcp_payload(packet)
            os.write(self.target, packet)
        soonest = [self.due[0][0]] if self.due else []
        return min([*soonest, *([self._first_through_s()] if self.waiting else [])], default=None)

    def clear(self) -> None:
        self.waiting.clear()
        self.due.clear()
        self.waiting_bytes = 0

    def play(self, now_s: float) -> None:
        """Begin with the trace that was loaded."""
        if self.loaded is not None:
            self.playing = Playing(self.loaded, now_s)
            self.free_at_s = max(now_s, self.free_at_s)

    def _first_through_s(self) -> float:
        if self.playing is not None:
            return self.playing.after(len(self.waiting[0]), self.free_at_s)[1]
        return self.free_at_s + len(self.waiting[0]) * 8 / self.rate_bit_s


class Nat:
    """The router before the radio: the van's packets carry its outer address, and only that one is answered."""

    def __init__(self) -> None:
        self.outer: bytes | None = None

    def out(self, packet: bytes) -> bytes:
        return packet if self.outer is None else _readdressed(packet, _SOURCE, self.outer)

    def back(self, packet: bytes) -> bytes | None:
        """None: it is addressed to an outer address that is ours no more."""
        if self.outer is None:
            return packet
        return _readdressed(packet, _TARGET, socket.inet_aton(VAN)) if packet[16:20] == self.outer else None


class Emulator:
    """Runs in a process of its own, so that it and what is measured do not wait for each other."""

    def __init__(self, van: int, county: int, rate_bit_s: float, rtt_s: float) -> None:
        self._up = Direction(van, county, rate_bit_s, rtt_s / 2)
        self._down = Direction(county, van, rate_bit_s, rtt_s / 2)
        self._nat = Nat()
        self._broken = False
        self._flows: set[tuple[int, int]] = set()
        self._dead: set[tuple[int, int]] = set()

    def run(self) -> None:
        os.set_blocking(sys.stdin.fileno(), False)
        ends = {direction.source: direction for direction in (self._up, self._down)}
        wait_s = 1.0
        while True:
            ready, _, _ = select.select([*ends, sys.stdin], [], [], wait_s)
            if sys.stdin in ready and not self._obey():
                return
            for source in ready:
                if source in ends:
                    self._take(ends[source])
            now_s = time.monotonic()
            next_s = [at_s for direction in ends.values() if (at_s := direction.leave(now_s)) is not None]
            wait_s = max(0.0, min(next_s) - time.monotonic()) if next_s else 1.0

    def _take(self, direction: Direction) -> None:
        for _ in range(64):
            try:
                packet = os.read(direction.source, 65_536)
            except BlockingIOError:
                return
            if self._broken or packet[0] >> 4 != 4 or packet[9] not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                continue
            if packet[9] == socket.IPPROTO_TCP:
                flow = _flow(packet)
                if flow in self._dead:
                    os.write(direction.source, _reset(packet))
                    continue
                self._flows.add(flow)
            passed = self._nat.out(packet) if direction is self._up else self._nat.back(packet)
            if passed is not None:
                direction.enter(passed, time.monotonic())

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        match line.split():
            case ["down"]:
                self._broken = True
                self._dead |= self._flows
                self._up.clear()
                self._down.clear()
            case ["up"]:
                self._broken = False
            case ["nat", address]:
                self._nat.outer = socket.inet_aton(address)
            case ["load", name, *words]:
                (self._up if name == "up" else self._down).loaded = DeliveryTrace.read(Path(" ".join(words)))
            case ["play"]:
                self._up.play(time.monotonic())
                self._down.play(time.monotonic())
            case ["set", name, *settings]:
                _change(self._up if name == "up" else self._down, dict(word.split("=") for word in settings))
        counted = {"up": asdict(self._up.counters), "down": asdict(self._down.counters)}
        print(json.dumps(counted), flush=True)
        return True


def _change(direction: Direction, settings: dict[str, str]) -> None:
    """``rate_bit_s``, ``delay_s``, ``queue_bytes`` of the direction; ``share``, ``burst_share``, ``burst`` of its
    losses."""
    for name, text in settings.items():
        owner = direction if name in ("rate_bit_s", "delay_s", "queue_bytes") else direction.losses
        setattr(owner, name, int(text) if name in ("queue_bytes", "burst") else float(text))
    direction.free_at_s = min(direction.free_at_s, time.monotonic() + 0.05)


def _flow(packet: bytes) -> tuple[int, int]:
    head = (packet[0] & 15) * 4
    ports: tuple[int, int] = struct.unpack_from("!HH", packet, head)
    return (ports[0], ports[1]) if ports[0] > ports[1] else (ports[1], ports[0])


def _tcp_payload(packet: bytes) -> int:
    if packet[9] != socket.IPPROTO_TCP:
        return 0
    head = (packet[0] & 15) * 4
    return len(packet) - head - (packet[head + 12] >> 4) * 4


def _readdressed(packet: bytes, at: int, address: bytes) -> bytes:
    """``packet`` with another address, its checksums brought along (RFC 1624)."""
    changed = bytearray(packet)
    changed[at : at + 4] = address
    head = (packet[0] & 15) * 4
    udp = packet[9] == socket.IPPROTO_UDP
    inner = head + (6 if udp else 16)
    for place in (10, inner):
        old = struct.unpack_from("!H", packet, place)[0]
        if place == 10 or not (udp and old == 0):
            struct.pack_into("!H", changed, place, _moved_checksum(old, packet[at : at + 4], address))
    return bytes(changed)


def _moved_checksum(checksum: int, old: bytes, new: bytes) -> int:
    total = ~checksum & 0xFFFF
    for was, now in zip(struct.unpack("!HH", old), struct.unpack("!HH", new), strict=True):
        total += (~was & 0xFFFF) + now
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


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
    """The link with its namespace ``name``, in which the county runs; ``inside`` starts programs there.

    With ``apart`` the van has a namespace of its own too (``inside_van``): it then sees no address but the link's.
    """

    def __init__(self, rate_bit_s: float, rtt_s: float = 0.05, apart: bool = False) -> None:
        self.name = f"bench-{os.getpid()}"
        self.van_name = f"bench-van-{os.getpid()}" if apart else None
        self.rate_bit_s, self.rtt_s = rate_bit_s, rtt_s
        self._devices = (f"van{os.getpid()}"[:15], f"cty{os.getpid()}"[:15])
        self._process: subprocess.Popen[str] | None = None
        self._van_address = VAN

    def __enter__(self) -> Link:
        handles = [_tun(device) for device in self._devices]
        van, county = self._devices
        _ip("netns", "add", self.name)
        _ip("link", "set", county, "netns", self.name)
        if self.van_name is not None:
            _ip("netns", "add", self.van_name)
            _ip("link", "set", van, "netns", self.van_name)
        for inside, device, own, other in (
            (self.inside_van(), van, VAN, COUNTY),
            (self.inside(), county, COUNTY, VAN),
        ):
            for words in (
                ["addr", "add", f"{own}/32", "dev", device],
                ["link", "set", device, "up", "mtu", str(MTU)],
                ["route", "add", f"{other}/32", "dev", device],
            ):
                subprocess.run([*inside, "ip", *words], check=True)
        self._isolate()
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
        for name in (self.name, self.van_name):
            if name is not None:
                subprocess.run(["ip", "netns", "del", name], check=False)

    def inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def inside_van(self) -> list[str]:
        return [] if self.van_name is None else ["ip", "netns", "exec", self.van_name]

    def tell(self, command: str) -> dict[str, Counters]:
        """ "down", "up", "play" (the traces that were loaded) or "count"; what has got through in each direction."""
        assert self._process is not None
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        return _told(stdin, stdout, command)

    def set(self, direction: str, **settings: float) -> None:
        """Change "up" (from the van) or "down": ``rate_bit_s``, ``delay_s``, ``queue_bytes``, and losses: ``share``,
        ``burst_share``, ``burst``."""
        words = [f"{name}={value}" for name, value in settings.items()]
        self.tell(" ".join(["set", direction, *words]))

    def load(self, direction: str, trace: Path) -> None:
        """Have a trace at hand for "play"."""
        self.tell(f"load {direction} {trace}")

    def rebind(self, address: str) -> None:
        """The router in the van gets another outer address: what is sent to the old one is lost."""
        self.tell(f"nat {address}")

    def move_van(self, address: str) -> None:
        """The van's own interface gets another address, and loses the one it had."""
        van = self._devices[0]
        for words in (
            ["addr", "add", f"{address}/32", "dev", van],
            ["addr", "del", f"{self._van_address}/32", "dev", van],
            ["route", "replace", f"{COUNTY}/32", "dev", van, "src", address],
        ):
            subprocess.run([*self.inside_van(), "ip", *words], check=True)
        self._van_address = address

    def _isolate(self) -> None:
        """Loopback in each namespace of ours, and a way back to whatever address the van has."""
        subprocess.run([*self.inside(), "ip", "link", "set", "lo", "up"], check=True)
        if self.van_name is not None:
            subprocess.run([*self.inside_van(), "ip", "link", "set", "lo", "up"], check=True)
            subprocess.run([*self.inside(), "ip", "route", "add", "default", "dev", self._devices[1]], check=True)


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

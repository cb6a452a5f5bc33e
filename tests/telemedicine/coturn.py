"""A real coturn with the shipped settings, and network namespaces that reach nothing but it and the county."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telemedicine.settings import IceServer

SHIPPED = Path(__file__).parents[2] / "systemd" / "turnserver.example.conf"
COUNTY, COUNTY_AT_HOSPITAL = "198.18.81.1", "198.18.82.1"
"""Networks for such trials (RFC 2544): no relay refuses them as somebody's own."""
VAN, SPECIALIST = "198.18.81.2", "198.18.82.2"
SECRET = "0123456789abcdef" * 4
PORT, TLS_PORT = 34_780, 34_790
URLS = {
    "udp": f"turn:{COUNTY}:{PORT}?transport=udp",
    "tcp": f"turn:{COUNTY}:{PORT}?transport=tcp",
    "tls": f"turns:{COUNTY}:{TLS_PORT}?transport=tcp",
}
_CLONE_NEWNET = 0x40000000
_UP_WITHIN_S = 10.0
T = TypeVar("T")

needs_coturn = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("turnserver") is None or shutil.which("ip") is None,
    reason="needs root, coturn and iproute2",
)


class Place:
    """An event loop in a thread that lives in a network namespace: what it opens is there."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(namespace, ready), daemon=True)
        self._thread.start()
        ready.wait()

    def _live(self, namespace: str, ready: threading.Event) -> None:
        with open(f"/var/run/netns/{namespace}", "rb") as handle:
            if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(ready.set)
        self.loop.run_forever()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns or raises when it runs there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextlib.contextmanager
def two_places() -> Iterator[tuple[Place, Place]]:
    """The van's and the specialist's: each reaches the county, and neither the other."""
    with contextlib.ExitStack() as stack:
        places = []
        for short, ours, theirs in (("v", COUNTY, VAN), ("s", COUNTY_AT_HOSPITAL, SPECIALIST)):
            name = f"xz{os.getpid()}{short}"
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "county", "netns", name)
            stack.callback(subprocess.run, ["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)
            _ip("address", "add", f"{ours}/30", "dev", name)
            _ip("link", "set", name, "up")
            _ip("-n", name, "address", "add", f"{theirs}/30", "dev", "county")
            _ip("-n", name, "link", "set", "county", "up")
            if ours != COUNTY:
                _ip("-n", name, "route", "add", f"{COUNTY}/32", "via", ours)
            place = Place(name)
            stack.callback(place.close)
            places.append(place)
        yield places[0], places[1]


@contextlib.contextmanager
def without_udp(place: Place) -> Iterator[None]:
    """A network that lets only TCP out, as some do."""
    rule = ("pref", "1", "ipproto", "udp", "blackhole")
    _ip("-n", place.namespace, "rule", "add", *rule)
    try:
        yield
    finally:
        _ip("-n", place.namespace, "rule", "del", *rule)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def certificate(folder: Path) -> Path:
    """A certificate for ``COUNTY`` with its key, in one file; it is its own CA."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "turn")]),
    )
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address(COUNTY))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "turn.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


class Coturn:
    """The shipped settings with the addresses, ports and files of a test."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        changed = {
            "listening-port": str(PORT),
            "tls-listening-port": str(TLS_PORT),
            "static-auth-secret": SECRET,
            "cert": str(certificate),
            "pkey": str(certificate),
        }
        text = SHIPPED.read_text()
        for key, value in changed.items():
            text, count = re.subn(rf"(?m)^{key}=.*$", f"{key}={value}", text)
            assert count == 1, key
        self.log = folder / "turn.log"
        text = text.replace("\nsyslog\n", f"\nlog-file={self.log}\nsimple-log\n")
        self._file = folder / "turnserver.conf"
        self._file.write_text(
            f"{text}\nlistening-ip={COUNTY}\nrelay-ip={COUNTY}\nproc-user=root\nproc-group=root\n"
            f"pidfile={folder / 'turn.pid'}\nuserdb={folder / 'turn.db'}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self.kill()
        self._process = subprocess.Popen(
            ["turnserver", "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until_s = time.monotonic() + _UP_WITHIN_S
        for port in (PORT, TLS_PORT):
            while True:
                try:
                    socket.create_connection((COUNTY, port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < until_s, self.log.read_text() if self.log.exists() else "no log"
                    time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def relay(url: str, who: str = "van-07.example", valid_s: float = 60.0, secret: str = SECRET) -> IceServer:
    """Credentials made here, by the draft's words, beside those of the exchange."""
    name = f"{int(time.time() + valid_s)}:{who}"
    password = base64.b64encode(hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()).decode()
    return IceServer(urls=[url], username=name, credential=password)

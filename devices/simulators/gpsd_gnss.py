"""Twin of gpsd 3.22 with one receiver: says VERSION when called, and reports once it is watched. See gpsd_json(5)."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

from devices.clock import Clock
from devices.simulators.gnss import GnssTwin

RECEIVER = "/dev/gnss0"
RELEASE = "3.22"
PERIOD_S = 1.0


class GpsdTwin:
    """See ``Twin``. ``receiver`` stands where it is told to, with the wander of a real one."""

    def __init__(self, clock: Clock, receiver: GnssTwin) -> None:
        self._clock = clock
        self._receiver = receiver
        self._asked = bytearray()
        self._watched = False
        self._greeted = False
        self._owed_s = 0.0

    @property
    def streaming(self) -> bool:
        return self._watched

    def power_on(self) -> None:
        self._asked.clear()
        self._watched = self._greeted = False

    def receive(self, chunk: bytes) -> bytes:
        self._asked += chunk
        *commands, rest = self._asked.replace(b"\n", b";").split(b";")
        self._asked = bytearray(rest[:1024])
        return self._greeting() + b"".join(self._answer(bytes(command)) for command in commands)

    def advance(self, elapsed_s: float) -> bytes:
        sent = self._greeting()
        self._owed_s += elapsed_s
        while self._owed_s >= PERIOD_S:
            self._owed_s -= PERIOD_S
            if self._watched:
                sent += self._report()
        return sent

    def _greeting(self) -> bytes:
        if self._greeted:
            return b""
        self._greeted = True
        return _line("VERSION", release=RELEASE, rev=RELEASE, proto_major=3, proto_minor=14)

    def _answer(self, command: bytes) -> bytes:
        command = command.strip()
        if not command:
            return b""
        if not command.startswith(b"?WATCH="):
            return _line("ERROR", message=f"Unrecognized request '{command.decode(errors='replace')}'")
        try:
            wanted = json.loads(command.removeprefix(b"?WATCH="))
        except ValueError:
            return _line("ERROR", message="Invalid WATCH: not JSON")
        self._watched = bool(wanted.get("enable", True))
        device = {"class": "DEVICE", "path": RECEIVER, "driver": "NMEA0183", "native": 0, "bps": 9600, "cycle": 1.0}
        return _line("DEVICES", devices=[device]) + _line("WATCH", enable=self._watched, json=True)

    def _report(self) -> bytes:
        if not self._receiver.fix:
            return _line("TPV", device=RECEIVER, mode=1) + _line("SKY", device=RECEIVER, nSat=4, uSat=0)
        at = self._clock.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        place = {"lat": round(self._receiver.latitude_deg, 9), "lon": round(self._receiver.longitude_deg, 9)}
        return (
            _line("SKY", device=RECEIVER, hdop=0.8, nSat=16, uSat=14)
            + _line("GST", device=RECEIVER, time=at, rms=2.1, lat=1.2, lon=1.2, alt=2.4)
            + _line("TPV", device=RECEIVER, mode=3, time=at, **place, eph=15.2, speed=0.01)
        )


def _line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"class": kind, **fields}, separators=(",", ":")).encode() + b"\r\n"

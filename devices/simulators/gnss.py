"""Twin of a GNSS receiver: stands somewhere with the wander of a real one, or replays a recorded NMEA log."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from devices.clock import Clock
from devices.errors import AskPerson
from devices.framing import xor8

METRES_PER_DEGREE = 111_320.0
METRES_A_SECOND_PER_KNOT = 1852 / 3600
WANDER_M = 1.2
WANDER_KEPT = 0.95
"""How much of the error of one second is still there in the next."""
MAX_PAUSE_S = 5.0
_TIMED = re.compile(rb"\$..(?:RMC|GGA|GST|ZDA),(\d{6}(?:\.\d+)?),")
_PLACE = re.compile(rb"\$..RMC,[^,]*,A,(\d{2})(\d{2}\.\d+),([NS]),(\d{3})(\d{2}\.\d+),([EW]),", re.MULTILINE)


class TrackRefused(AskPerson):
    code = "track_refused"


class GnssTwin:
    """Sentences of one second at a time: GGA, GSA, GST, RMC with one time."""

    def __init__(
        self, clock: Clock, latitude_deg: float, longitude_deg: float, track: list[list[bytes]] | None = None
    ) -> None:
        self._clock = clock
        self._random = np.random.default_rng(183)
        self._error_m = np.zeros(2)
        self._owed_s = 1.0
        self._track = list(track or [])
        self._seconds_ahead = 0.0
        self.latitude_deg, self.longitude_deg = latitude_deg, longitude_deg
        self.speed_m_s = 0.01
        """Said while it does not replay: what the receiver measures by Doppler, whatever the positions do."""
        self.fix = True

    @property
    def streaming(self) -> bool:
        return True

    @property
    def replaying(self) -> bool:
        return bool(self._track)

    def stand_at(self, latitude_deg: float, longitude_deg: float) -> None:
        """Be there from now on; a replay ends.

        :raises ValueError: not a position on earth.
        """
        if not (abs(latitude_deg) <= 90 and abs(longitude_deg) <= 180):
            raise ValueError("latitude_deg or longitude_deg is out of range")
        self._track = []
        self.latitude_deg, self.longitude_deg = latitude_deg, longitude_deg

    def power_on(self) -> None:
        self._owed_s = 1.0

    def receive(self, chunk: bytes) -> bytes:
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        self._owed_s += elapsed_s
        sent = b""
        while self._owed_s >= (pause_s := self._pause_s()):
            self._owed_s -= pause_s
            sent += self._replayed() if self._track else self._standing()
        return sent

    def _pause_s(self) -> float:
        """How long after the second before the next one is due."""
        return self._seconds_ahead if self._track and self._seconds_ahead > 0 else 1.0

    def _replayed(self) -> bytes:
        lines = self._track.pop(0)
        said = b"".join(lines)
        if place := _PLACE.search(said):
            self.latitude_deg, self.longitude_deg = _degrees(*place.group(1, 2, 3)), _degrees(*place.group(4, 5, 6))
        if self._track:
            gap_s = (_second_of(self._track[0]) - _second_of(lines)) % 86400
            self._seconds_ahead = min(max(gap_s, 0.05), MAX_PAUSE_S)
        return said

    def _standing(self) -> bytes:
        kick = math.sqrt(1 - WANDER_KEPT**2) * WANDER_M
        self._error_m = self._error_m * WANDER_KEPT + self._random.normal(0, kick, 2)
        at = self._clock.now().astimezone(UTC)
        if not self.fix:
            return no_fix_sentences(at)
        latitude_deg = self.latitude_deg + self._error_m[0] / METRES_PER_DEGREE
        scale = max(math.cos(math.radians(self.latitude_deg)), 0.01)
        longitude_deg = self.longitude_deg + self._error_m[1] / (METRES_PER_DEGREE * scale)
        return fix_sentences(at, float(latitude_deg), float(longitude_deg), self.speed_m_s)


def read_track(path: Path) -> list[list[bytes]]:
    """The sentences of an NMEA log, grouped by the second they belong to.

    :raises TrackRefused: unreadable, or no timed sentence in it.
    """
    try:
        stored = path.read_bytes()
    except OSError as fault:
        raise TrackRefused(f"{path}: {fault.strerror}; give an NMEA 0183 log") from None
    seconds: list[list[bytes]] = []
    said: bytes | None = None
    for line in stored.splitlines():
        at = line.find(b"$")
        if at < 0:
            continue
        sentence = line[at:].strip() + b"\r\n"
        timed = _TIMED.match(sentence)
        if not seconds or (timed and timed[1] != said and said is not None):
            seconds.append([])
        if timed:
            said = timed[1]
        seconds[-1].append(sentence)
    if said is None:
        raise TrackRefused(f"{path}: no NMEA sentence with a time in it")
    return seconds


def fix_sentences(at: datetime, latitude_deg: float, longitude_deg: float, speed_m_s: float = 0.01) -> bytes:
    """A good fix: 14 satellites, HDOP 0.8, 1.7 m."""
    clock, where = f"{at:%H%M%S}.{at.microsecond // 10000:02d}", _where(latitude_deg, longitude_deg)
    return b"".join(
        sentence(fields)
        for fields in (
            f"GNGGA,{clock},{where},1,14,0.8,412.0,M,-38.0,M,,",
            "GNGSA,A,3,01,03,08,14,17,22,,,,,,,1.60,0.80,1.35",
            f"GNGST,{clock},2.1,,,,1.2,1.2,2.4",
            f"GNRMC,{clock},A,{where},{speed_m_s / METRES_A_SECOND_PER_KNOT:.2f},,{at:%d%m%y},,,A",
        )
    )


def no_fix_sentences(at: datetime) -> bytes:
    clock = f"{at:%H%M%S}.00"
    return sentence(f"GNGGA,{clock},,,,,0,02,,,M,,M,,") + sentence(f"GNRMC,{clock},V,,,,,,,{at:%d%m%y},,,N")


def sentence(fields: str) -> bytes:
    return f"${fields}*{xor8(fields.encode('ascii')):02X}\r\n".encode("ascii")


def _where(latitude_deg: float, longitude_deg: float) -> str:
    north = "N" if latitude_deg >= 0 else "S"
    east = "E" if longitude_deg >= 0 else "W"
    return f"{_minutes(latitude_deg, 2)},{north},{_minutes(longitude_deg, 3)},{east}"


def _minutes(degrees: float, digits: int) -> str:
    """ddmm.mmmmm: degrees and minutes in one number, rounded before they are split."""
    whole, minutes_e5 = divmod(round(abs(degrees) * 60 * 100_000), 60 * 100_000)
    return f"{whole:0{digits}d}{minutes_e5 // 100_000:02d}.{minutes_e5 % 100_000:05d}"


def _degrees(whole: bytes, minutes: bytes, half: bytes) -> float:
    degrees = int(whole) + float(minutes) / 60
    return -degrees if half in (b"S", b"W") else degrees


def _second_of(lines: list[bytes]) -> float:
    for line in lines:
        if timed := _TIMED.match(line):
            said = timed[1].decode("ascii")
            return int(said[:2]) * 3600 + int(said[2:4]) * 60 + float(said[4:])
    return 0.0

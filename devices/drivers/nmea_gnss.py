"""Any GNSS receiver that speaks NMEA 0183 over a serial port (9600 8N1; talkers GN, GP, GB, BD, GL, GA ...).

Used: RMC (time, date, A or V), GGA (quality, satellites, HDOP), GST (accuracy), GSA (fix mode). The sentences of one
second are put together into one Position; it is told as soon as all kinds have come that the second before had, at most
one a second, and one more when the fix comes or goes: the time of some receivers stands still without one. RMC "V",
GGA quality 0, a manual or simulated fix (7, 8; in RMC mode M, S), dead reckoning (6; E) and GSA mode 1 are no fix:
Position(None). Sentences without or with a wrong checksum are counted and not used.

The receiver is only listened to. Old receivers' dates may be off by a week rollover (1024 weeks): ``gnss_at`` is what
it says, no more.

Source: NMEA 0183; parsing by pynmea2; logs of the gpsd project's regression tests. Not tried on hardware by us.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar

import pynmea2

from devices.driver import About, Counters, Metric, Output, SerialLine
from devices.fix_state import HDOP_ACCURACY_M, FixState
from devices.framing import LineFramer
from devices.readings import Event, Position, Sensor

LONGEST_LINE = 120
"""NMEA says 82; receivers with many decimals need more."""
TIMED = ("RMC", "GGA", "GST")
FIX_QUALITIES = (1, 2, 3, 4, 5)
NO_FIX_MODES = ("N", "E", "M", "S")
"""Mode indicator of RMC, from NMEA 2.3 on: not valid, dead reckoning, manual input, simulator."""
SILENCE_ENDS_SECOND_S = 0.4


class Driver:
    about: ClassVar[About] = About(
        title_zh="卫星定位接收机",
        title_en="GNSS receiver (NMEA 0183)",
        models=("any NMEA 0183 receiver",),
        metrics=(Metric("position", mdc=None, loinc=None, ucum="deg", sample_rate_hz=1.0),),
        line=SerialLine(9600),
        usb_ids=("1546:01a7", "1546:01a8", "067b:2303"),
        source="NMEA 0183; hardware/protocols/nmea_gnss.md",
        lost_after_s=5.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self) -> None:
        self.counters = Counters()
        self._lines = LineFramer(b"$", LONGEST_LINE, self.counters)
        self._begin()

    def _begin(self) -> None:
        self._second = _Second()
        self._usual: frozenset[str] = frozenset()
        self._gsa_no_fix = False
        self._silent_s = 0.0
        self._told_time: time | None = None
        self._fix = FixState()

    def open(self) -> Output:
        self._lines.reset()
        self._begin()
        return Output()

    def close(self) -> Output:
        """Without a receiver the last fix is no position any more."""
        self._lines.reset()
        output = Output()
        self._fix.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for line in self._lines.feed(chunk):
            self._take(line, output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._silent_s += elapsed_s
        if self._silent_s >= SILENCE_ENDS_SECOND_S:
            self._end_second(output.events)
        return output

    def _take(self, line: str, events: list[Event]) -> None:
        try:
            sentence = pynmea2.parse(line, check=True)
            kind, facts = _facts_of(sentence)
        except pynmea2.ChecksumError:
            self.counters.bad_checksums += 1
            return
        except (pynmea2.ParseError, ValueError, TypeError, ArithmeticError, LookupError):
            self.counters.dropped_bytes += len(line)
            return
        self.counters.frames += 1
        self._silent_s = 0.0
        if kind == "GSA":
            self._gsa_no_fix = facts["mode"] == 1
        elif kind in TIMED:
            if self._second.ended_by(kind, facts["at"]):
                self._end_second(events)
            self._second.add(kind, facts)
            if self._usual and self._usual <= self._second.kinds:
                self._end_second(events)

    def _end_second(self, events: list[Event]) -> None:
        second, self._second = self._second, _Second()
        if not second.kinds & {"RMC", "GGA"}:
            return
        self._usual = frozenset(second.kinds)
        position = second.position(self._gsa_no_fix)
        sensor = Sensor.SEARCHING if position.latitude_deg is None else Sensor.OK
        time_of_second = _whole(second.at)
        if time_of_second is not None and time_of_second == self._told_time and sensor == self._fix.told:
            return
        self._told_time = time_of_second
        self._fix.tell(sensor, events)
        events.append(position)


@dataclass(slots=True)
class _Second:
    """The timed sentences of one second."""

    kinds: set[str] = field(default_factory=set)
    at: time | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def ended_by(self, kind: str, at: time | None) -> bool:
        return kind in self.kinds or (at is not None and self.at is not None and at != self.at)

    def add(self, kind: str, facts: dict[str, Any]) -> None:
        self.kinds.add(kind)
        self.at = self.at or facts["at"]
        self.facts |= {key: said for key, said in facts.items() if said is not None}

    def position(self, gsa_no_fix: bool) -> Position:
        facts = self.facts
        satellites = facts.get("satellites", 0)
        day = facts.get("date")
        gnss_at = datetime.combine(day, self.at.replace(tzinfo=None), UTC) if day and self.at else None
        latitude, longitude = facts.get("latitude_deg"), facts.get("longitude_deg")
        fix = facts.get("valid", True) and facts.get("quality", 1) in FIX_QUALITIES and not gsa_no_fix
        if not fix or latitude is None or longitude is None:
            return Position(None, None, None, satellites, gnss_at=gnss_at)
        accuracy_m = facts.get("accuracy_m")
        if accuracy_m is None and facts.get("hdop") is not None:
            accuracy_m = facts["hdop"] * HDOP_ACCURACY_M
        return Position(latitude, longitude, accuracy_m, satellites, facts.get("speed_m_s"), gnss_at)


def _facts_of(sentence: Any) -> tuple[str, dict[str, Any]]:
    """(kind, what it says); a field that is empty, not finite or out of range is None.

    :raises ValueError: (or what pynmea2 raises) the checksum fits and the fields make no sense.
    """
    kind = getattr(sentence, "sentence_type", "") or ""
    if kind == "RMC":
        return kind, _where(sentence) | {
            "at": _time(sentence.timestamp),
            "date": sentence.datestamp if isinstance(sentence.datestamp, date) else None,
            "valid": sentence.status == "A" and (sentence.mode_indicator or "A") not in NO_FIX_MODES,
            "speed_m_s": _number(sentence.spd_over_grnd, 0, 2000, scale=1852 / 3600),
        }
    if kind == "GGA":
        satellites = _number(sentence.num_sats, 0, 200)
        return kind, _where(sentence) | {
            "at": _time(sentence.timestamp),
            "quality": int(sentence.gps_qual or 0),
            "satellites": None if satellites is None else int(satellites),
            "hdop": _number(sentence.horizontal_dil, 0.01, 99),
        }
    if kind == "GST":
        errors = [_number(said, 0, 1e6) for said in (sentence.std_dev_latitude, sentence.std_dev_longitude)]
        known = [error for error in errors if error is not None]
        return kind, {"at": _time(sentence.timestamp), "accuracy_m": math.hypot(*known) if len(known) == 2 else None}
    if kind == "GSA":
        return kind, {"mode": int(sentence.mode_fix_type or 0)}
    return kind, {}


def _where(sentence: Any) -> dict[str, float | None]:
    """Latitude and longitude, both or neither: pynmea2 alone would give 0.0 for an empty field."""
    if not (sentence.lat and sentence.lon and sentence.lat_dir in ("N", "S") and sentence.lon_dir in ("E", "W")):
        return {"latitude_deg": None, "longitude_deg": None}
    latitude_deg, longitude_deg = float(sentence.latitude), float(sentence.longitude)
    if not (abs(latitude_deg) <= 90 and abs(longitude_deg) <= 180):
        raise ValueError("position out of range")
    return {"latitude_deg": latitude_deg, "longitude_deg": longitude_deg}


def _number(said: Any, least: float, most: float, scale: float = 1.0) -> float | None:
    if said is None or said == "":
        return None
    number = float(said)
    return number * scale if least <= number <= most else None


def _time(said: Any) -> time | None:
    if said is None or said == "":
        return None
    if not isinstance(said, time):
        raise ValueError(f"not a time: {said!r}")
    return said


def _whole(at: time | None) -> time | None:
    return None if at is None else at.replace(microsecond=0)

"""GNSS through gpsd: its JSON over TCP (port 2947), for a van on which gpsd runs.

If gpsd runs, it owns the receivers' ports: name gpsd in the settings, never a port that it holds; or mask gpsd and let
``nmea_gnss`` read the port. After connecting gpsd says VERSION; on our WATCH it answers with DEVICES and then reports
TPV (time, position, velocity) and SKY (satellites) of every receiver that it has.

Used: TPV with mode 2 or 3 and a status that is a fix; mode 0 and 1, dead reckoning alone (status 5) and a simulated fix
(8) are none: Position(None). ``time`` may be missing. ``accuracy_m`` is one sigma of the last GST, else HDOP of SKY
times 5 m, else ``eph``, whose certainty gpsd does not tell. Of several receivers one is followed: the first that has a
fix, until it has lost it or says nothing for ``OTHER_AFTER_S``. At most one position a second, and one more when the
fix comes or goes.

Source: gpsd_json(5) of gpsd 3.22; field names checked against gpsd's regression files. Not tried on hardware by us.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, ClassVar

from devices.driver import About, Counters, Metric, Output, TcpService, Write
from devices.fix_state import HDOP_ACCURACY_M, FixState
from devices.framing import LineFramer
from devices.identity import Identity
from devices.readings import Event, Position, Sensor

WATCH = b'?WATCH={"enable":true,"json":true};\n'
UNWATCH = b'?WATCH={"enable":false};\n'
LONGEST_LINE = 10_240
"""GPS_JSON_RESPONSE_MAX of gpsd: no object is longer."""
FIX_MODES = (2, 3)
NO_FIX_STATUS = (5, 8)
LEAST_PAUSE_S = 0.9
"""Receivers at 5 or 10 Hz: what comes sooner after the last position is passed over."""
OTHER_AFTER_S = 5.0
MOST_RECEIVERS = 8


class Driver:
    about: ClassVar[About] = About(
        title_zh="卫星定位(gpsd)",
        title_en="GNSS through gpsd",
        models=("every receiver that gpsd reads",),
        metrics=(Metric("position", mdc=None, loinc=None, ucum="deg", sample_rate_hz=1.0),),
        line=TcpService(2947),
        source="gpsd_json(5), gpsd 3.22; hardware/protocols/gpsd_gnss.md",
        lost_after_s=15.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (WATCH, UNWATCH)

    def __init__(self) -> None:
        self.counters = Counters()
        self.identity: Identity | None = None
        self._lines = LineFramer(b'{"class":', LONGEST_LINE, self.counters, anywhere=False)
        self._begin()

    def _begin(self) -> None:
        self.identity = None
        self._release = ""
        self._followed: str | None = None
        self._followed_silent_s = 0.0
        self._since_told_s = math.inf
        self._fix = FixState()
        self._sky: dict[str, dict[str, float]] = {}
        """By receiver: used (satellites), hdop, sigma_m, as last told."""

    def open(self) -> Output:
        self._lines.reset()
        self._begin()
        return Output(writes=[Write(WATCH)])

    def close(self) -> Output:
        """Without gpsd the last fix is no position any more."""
        self._lines.reset()
        output = Output(writes=[Write(UNWATCH)])
        self._fix.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for line in self._lines.feed(chunk):
            self._take(line, output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        self._since_told_s += elapsed_s
        self._followed_silent_s += elapsed_s
        output = Output()
        if self._followed_silent_s >= OTHER_AFTER_S and self._followed is not None:
            self._followed = None
            self._fix.withdraw(output.events, searching=True)
        return output

    def _take(self, line: str, events: list[Event]) -> None:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            self.counters.resyncs += 1
            self.counters.dropped_bytes += len(line)
            return
        self.counters.frames += 1
        match said.get("class"):
            case "VERSION":
                self._release = _text(said.get("release"))
                self.identity = Identity(vendor="gpsd", firmware=self._release)
            case "DEVICES":
                devices = said.get("devices")
                for device in devices if isinstance(devices, list) else []:
                    self._describe(device)
            case "DEVICE":
                self._describe(said)
            case "SKY":
                self._sky_of(said)
            case "GST":
                self._errors_of(said)
            case "TPV":
                self._position(said, events)

    def _describe(self, device: Any) -> None:
        """Of several receivers the one that is followed, else the first, gives the model."""
        if not isinstance(device, dict) or not _text(device.get("driver")):
            return
        known = self.identity is not None and self.identity.model
        if not known or device.get("path") == self._followed:
            model = " ".join(filter(None, (_text(device.get("driver")), _text(device.get("subtype")))))
            self.identity = Identity("gpsd", model, "", self._release)

    def _sky_of(self, said: dict[str, Any]) -> None:
        satellites = said.get("satellites")
        used = _number(said.get("uSat"), 0, 200)
        if used is None and isinstance(satellites, list):
            used = float(sum(1 for one in satellites if isinstance(one, dict) and one.get("used") is True))
        self._know(said, used=used, hdop=_number(said.get("hdop"), 0.01, 99))

    def _errors_of(self, said: dict[str, Any]) -> None:
        """GST: standard deviations of latitude and longitude in metres."""
        north, east = _number(said.get("lat"), 0, 1e6), _number(said.get("lon"), 0, 1e6)
        self._know(said, sigma_m=None if north is None or east is None else math.hypot(north, east))

    def _know(self, said: dict[str, Any], **facts: float | None) -> None:
        path = _text(said.get("device"))
        if path in self._sky or len(self._sky) < MOST_RECEIVERS:
            self._sky.setdefault(path, {}).update({name: fact for name, fact in facts.items() if fact is not None})

    def _position(self, said: dict[str, Any], events: list[Event]) -> None:
        path = _text(said.get("device"))
        where = _where(said)
        if not self._follows(path, where is not None):
            return
        self._followed_silent_s = 0.0
        sensor = Sensor.OK if where is not None else Sensor.SEARCHING
        if sensor == self._fix.told and self._since_told_s < LEAST_PAUSE_S:
            return
        self._since_told_s = 0.0
        self._fix.tell(sensor, events)
        events.append(self._told(said, where, self._sky.get(path, {})))

    def _follows(self, path: str, has_fix: bool) -> bool:
        """Whether this receiver's report counts: it is followed, or it has a fix and the followed one has none."""
        if path != self._followed and (self._followed is None or (has_fix and self._fix.told != Sensor.OK)):
            self._followed = path
        return path == self._followed

    def _told(self, said: dict[str, Any], where: tuple[float, float] | None, sky: dict[str, float]) -> Position:
        satellites, gnss_at = int(sky.get("used", 0)), _time(said.get("time"))
        if where is None:
            return Position(None, None, None, satellites, gnss_at=gnss_at)
        accuracy_m = sky.get("sigma_m")
        if accuracy_m is None:
            accuracy_m = sky["hdop"] * HDOP_ACCURACY_M if "hdop" in sky else _number(said.get("eph"), 0.001, 1e6)
        return Position(*where, accuracy_m, satellites, _number(said.get("speed"), 0, 2000), gnss_at)


def _where(said: dict[str, Any]) -> tuple[float, float] | None:
    """Latitude and longitude of a fix; None where there is none."""
    latitude_deg, longitude_deg = _number(said.get("lat"), -90, 90), _number(said.get("lon"), -180, 180)
    fix = said.get("mode") in FIX_MODES and said.get("status") not in NO_FIX_STATUS
    if not fix or latitude_deg is None or longitude_deg is None:
        return None
    return latitude_deg, longitude_deg


def _number(said: Any, least: float, most: float) -> float | None:
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    return float(said) if least <= said <= most else None


def _text(said: Any) -> str:
    return said if isinstance(said, str) else ""


def _time(said: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(_text(said))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None

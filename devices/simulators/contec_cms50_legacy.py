"""Twin of an older Contec CMS50D+: 60 five-byte frames a second by itself, whatever is sent to it."""

from __future__ import annotations

from devices.drivers import contec_cms50_legacy as wire
from devices.simulators.contec_cms50 import Finger
from devices.simulators.five_byte_oximeter import FiveByteTwin, Pulse

NO_FINGER = bytes((0x90, 0, 0, 0, 0))


class Cms50LegacyTwin(FiveByteTwin):
    sample_rate_hz = wire.SAMPLE_RATE_HZ

    def frame(self, pulse: Pulse | None) -> bytes:
        return NO_FINGER if pulse is None else real_time(pulse.pleth, pulse.beep, None if pulse.early else pulse.finger)


def real_time(pleth: int, beep: bool, finger: Finger | None) -> bytes:
    """One frame; without ``finger`` the device is still searching."""
    signal, spo2, pulse = (2, 0, 0) if finger is None else (7, finger.spo2_percent, finger.pulse_bpm)
    searching = 0x20 if finger is None else 0
    bar = min(15, pleth >> 3)
    return bytes((0x80 | signal | beep << 6, pleth, bar | searching | pulse >> 7 << 6, pulse & 0x7F, spo2))

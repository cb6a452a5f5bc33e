"""Twin of a Berry BCI module: 100 five-byte frames a second by itself, whatever is sent to it."""

from __future__ import annotations

from devices.drivers import berry_bci as wire
from devices.simulators.contec_cms50 import Finger
from devices.simulators.five_byte_oximeter import FiveByteTwin, Pulse

NO_FINGER = bytes((0x80, 0, 0x10 | wire.NO_PULSE >> 7 << 6, wire.NO_PULSE & 0x7F, wire.NO_SPO2))
UNPLUGGED = bytes((0xA0, *NO_FINGER[1:]))


class BerryTwin(FiveByteTwin):
    sample_rate_hz = wire.SAMPLE_RATE_HZ

    def __init__(self) -> None:
        super().__init__()
        self.unplugged = False
        """The probe's cable is out of the module."""

    def frame(self, pulse: Pulse | None) -> bytes:
        if self.unplugged:
            return UNPLUGGED
        if pulse is None:
            return NO_FINGER
        return real_time(
            round(pulse.pleth * wire.HIGHEST_PLETH / 127), pulse.beep, None if pulse.early else pulse.finger
        )


def real_time(pleth: int, beep: bool, finger: Finger | None) -> bytes:
    """One frame, pleth 1..100; without ``finger`` the device is still searching."""
    signal, spo2, pulse = (
        (3, wire.NO_SPO2, wire.NO_PULSE) if finger is None else (9, finger.spo2_percent, finger.pulse_bpm)
    )
    searching = 0x20 if finger is None else 0
    bar = min(15, pleth >> 3)
    return bytes((0x80 | signal | beep << 6, pleth, bar | searching | pulse >> 7 << 6, pulse & 0x7F, spo2))

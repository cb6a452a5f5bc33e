"""Contec CMS50D+ with firmware 4.x and its relatives: finger oximeters, 19200 8-O-1, the older 5-byte protocol.

The device sends by itself, 60 frames a second; the first byte of a frame has its top bit set, the others have not:

====  ==============================================================================================================
byte  what it is
====  ==============================================================================================================
0     b0-3 signal 0-8, b4 finger out, b5 SpO2 dropping, b6 pulse beep
1     pleth 0-127
2     b0-3 bar graph, b4 probe error, b5 searching for the pulse, b6 top bit of the pulse rate
3     pulse rate, the low seven bits
4     SpO2
====  ==============================================================================================================

No checksum: see ``devices.finger_oximeter`` for when a number is believed. Berry and BCI modules send frames of the
same shape with another meaning (``berry_bci``). The XON/XOFF that one public reader sets would swallow the pleth values
17 and 19, so it is not used; nothing is sent to the device. Its memory (``F5 F5``) is not read: it holds no time.

Source: atbrask/CMS50Dplus (layout as facts). Not tried on hardware by us.
"""

from __future__ import annotations

from typing import ClassVar

from devices.driver import About, SerialLine
from devices.finger_oximeter import NO_NUMBERS, PULSE, SPO2, FiveByteDriver, Moment, Numbers, pleth
from devices.readings import Sensor

SAMPLE_RATE_HZ = 60.0
HIGHEST_SIGNAL = 8
NO_PULSE, NO_SPO2 = 0xFF, 0x7F


class Driver(FiveByteDriver):
    about: ClassVar[About] = About(
        title_zh="康泰 CMS50 指夹血氧仪（旧协议）",
        title_en="Contec CMS50 pulse oximeter (older protocol)",
        models=("CMS50D+ (firmware 4.x)",),
        metrics=(SPO2, PULSE, pleth(SAMPLE_RATE_HZ)),
        line=SerialLine(19200, parity="O"),
        source="atbrask/CMS50Dplus (facts); hardware/protocols/contec_cms50_legacy.md",
        lost_after_s=1.0,
    )
    sample_rate_hz = SAMPLE_RATE_HZ

    def moment_of(self, frame: bytes) -> Moment:
        """A frame whose signal or SpO2 cannot be is no measurement, whatever else it says."""
        b0, wave, b2, b3, spo2 = frame
        finger_out, probe_error, searching = bool(b0 & 0x10), bool(b2 & 0x10), bool(b2 & 0x20)
        pulse = (b2 & 0x40) << 1 | b3
        if b0 & 0x0F > HIGHEST_SIGNAL or 100 < spo2 < NO_SPO2:
            return Moment(None, NO_NUMBERS, Sensor.UNKNOWN)
        if finger_out or probe_error:
            return Moment(None, NO_NUMBERS, Sensor.OFF)
        numbers = Numbers(spo2 if 0 < spo2 <= 100 else None, pulse if 0 < pulse < NO_PULSE else None)
        return Moment(wave, numbers, Sensor.SEARCHING if searching or numbers.spo2_percent is None else Sensor.OK)

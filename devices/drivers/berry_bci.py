"""Berry BM1000 family and other modules that speak the 5-byte "BCI" protocol, 100 frames a second.

Over a USB serial board at 115200 8N1, or over Bluetooth, where a notification holds any part of the stream. The
service is one that many makers use for a serial line, so over Bluetooth the name decides ("BerryMed"), or the address
in the settings. The device sends by itself; the first byte of a frame has its top bit set, the others have not:

====  ==============================================================================================================
byte  what it is
====  ==============================================================================================================
0     b0-3 signal 0-15, b4 no signal, b5 probe unplugged, b6 pulse beep
1     pleth 0-100, 0: none
2     b0-3 bar graph, b4 no finger, b5 searching for the pulse, b6 top bit of the pulse rate
3     pulse rate, the low seven bits; the rate is 25 to 250, 255: none
4     SpO2, 35 to 100, 127: none
====  ==============================================================================================================

No checksum: see ``devices.finger_oximeter`` for when a number is believed. The older Contec CMS50 sends frames of the
same shape with another meaning at another speed (``contec_cms50_legacy``). The speed of 115200 is that of the usual USB
boards and is not in the document; a 20-byte protocol "V1.5" exists and is not understood.

Source: vendor PDF "BCI Protocol V1.2" (zh2x/BCI_Protocol); UUIDs from a library of Adafruit.
Not tried on hardware by us.
"""

from __future__ import annotations

from typing import ClassVar

from devices.driver import About, GattUse, SerialLine
from devices.finger_oximeter import NO_NUMBERS, PULSE, SPO2, FiveByteDriver, Moment, Numbers, pleth
from devices.readings import Sensor

SAMPLE_RATE_HZ = 100.0
HIGHEST_PLETH = 100
SPO2_PERCENT, PULSE_BPM = range(35, 101), range(25, 251)
NO_PULSE, NO_SPO2 = 0xFF, 0x7F
BLUETOOTH = GattUse(
    service="49535343-FE7D-4AE5-8FA9-9FAFD205E455",
    subscribe=("49535343-1E4D-4BD9-BA61-23C647249616",),
    write="49535343-8841-43F4-A8D4-ECBE34729BB3",
    names=("BerryMed",),
    shared_service=True,
    bond=False,
)


class Driver(FiveByteDriver):
    about: ClassVar[About] = About(
        title_zh="贝瑞 BCI 协议血氧模块",
        title_en="Berry and other BCI-protocol oximeters",
        models=("BM1000 family", "OEM boards with the BCI 5-byte protocol"),
        metrics=(SPO2, PULSE, pleth(SAMPLE_RATE_HZ)),
        line=(SerialLine(115200), BLUETOOTH),
        source="vendor PDF BCI Protocol V1.2 (facts); hardware/protocols/berry_bci.md",
        lost_after_s=1.0,
    )
    sample_rate_hz = SAMPLE_RATE_HZ

    def moment_of(self, frame: bytes) -> Moment:
        """A frame that says a number out of the device's own range is no measurement, whatever else it says."""
        b0, wave, b2, b3, spo2 = frame
        pulse = (b2 & 0x40) << 1 | b3
        if wave > HIGHEST_PLETH or spo2 not in (*SPO2_PERCENT, NO_SPO2, 0):
            return Moment(None, NO_NUMBERS, Sensor.UNKNOWN)
        if b0 & 0x20 or b2 & 0x10:
            return Moment(None, NO_NUMBERS, Sensor.OFF)
        numbers = Numbers(spo2 if spo2 in SPO2_PERCENT else None, pulse if pulse in PULSE_BPM else None)
        weak = bool(b0 & 0x10 or b2 & 0x20) or numbers.spo2_percent is None
        return Moment(wave or None, numbers, Sensor.SEARCHING if weak else Sensor.OK)

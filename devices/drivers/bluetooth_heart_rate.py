"""Chest straps and arm bands of the Bluetooth SIG Heart Rate Service (0x180D).

Models: every sensor that claims the profile (Polar H9/H10, Garmin HRM-Dual, Wahoo Tickr, Coospo, ...). They notify
about once a second (0x2A37): the rate, whether the sensor touches the skin, and RR intervals where it hears them. What
is made of them stands in ``devices.sig_heart_rate``.

Limits: energy expended is read over and never reset. The raw ECG of a Polar H10 has a driver of its own. Sources: Heart
Rate Service 1.0 section 3.1, GATT Specification Supplement (Heart Rate Measurement). Not tested on hardware.
"""

from __future__ import annotations

from typing import ClassVar

from devices.driver import About, GattUse
from devices.nomenclature import metrics
from devices.sig_heart_rate import MEASUREMENT, HeartRateSensor
from devices.sig_profile import READ


class Driver(HeartRateSensor):
    about: ClassVar[About] = About(
        title_zh="蓝牙心率带",
        title_en="Bluetooth heart-rate sensor",
        models=("Bluetooth SIG Heart Rate Profile 1.0",),
        metrics=metrics("heart_rate", "heart_rate_bpm"),
        line=GattUse(service="180D", subscribe=(MEASUREMENT,), read=READ, bond=False),
        source="Bluetooth SIG Heart Rate Service 1.0; GATT Specification Supplement, Heart Rate Measurement",
        lost_after_s=float("inf"),
    )

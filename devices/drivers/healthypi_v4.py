"""ProtoCentral HealthyPi v4: single-lead ECG, oximeter and skin thermometer of open hardware, USB 115200 8N1.

The frames and their limits are those of ``devices.healthypi``; 125 a second. Payload, 20 bytes, little-endian:

=====  =============================================================================================================
0      ECG, i16. The board drops the 8 low bits of its ADS1292R (gain 12, 2.42 V), takes the baseline off, divides by 4
       and filters at 40 Hz: one count is 2.42 V / 12 / (2^23 - 1) x 1024 = 24.6 uV. Good for a rhythm, coarse for ST.
2      respiration, i16: not used
4, 8   light of the oximeter, i32: not used
12     skin temperature x 100, u16; 0: no sensor
14     respiration rate, u8
15     SpO2, u8; 0: none
16     heart rate from the ECG, u8; 0: none
17-18  80 and 120: **invented**. The firmware writes these constants where a blood pressure would stand. Never read.
19     lead-off bits of the ADS1292R, b0-b4
=====  =============================================================================================================

The other HealthyPi with 20 bytes, an early v5 firmware, has another payload: which board a port carries is a matter of
the settings. Source: Protocentral/protocentral_healthypi_v4 (MIT), firmware and its filter coefficients. Not tried on
hardware by us.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from devices.driver import About, Metric, SerialLine
from devices.healthypi import HealthyPi, Moment
from devices.nomenclature import metrics
from devices.readings import INVALID_COUNT

SAMPLE_RATE_HZ = 125.0
RESOLUTION_UV = 2.42e6 / 12 / (2**23 - 1) * 1024
PAYLOAD = struct.Struct("<hhiiHBBBBBB")
LEAD_BITS = 0x1F
HIGHEST_TEMPERATURE_CE2 = 5000
"""The sensor is made for skin: what is warmer was not sent by it."""


class Driver(HealthyPi):
    about: ClassVar[About] = About(
        title_zh="HealthyPi v4 单导联心电/血氧/体温",
        title_en="HealthyPi v4: single-lead ECG, oximeter, thermometer",
        models=("ProtoCentral HealthyPi v4",),
        metrics=(
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),
            *metrics("pulse_oximetry", "spo2_percent"),
            *metrics("heart_rate", "heart_rate_bpm"),
            *metrics("temperature", "temperature_c"),
        ),
        line=SerialLine(115200),
        source="Protocentral/protocentral_healthypi_v4 (MIT); hardware/protocols/healthypi.md",
        usb_ids=("10c4:ea60",),
        lost_after_s=2.0,
    )
    sample_rate_hz = SAMPLE_RATE_HZ
    resolution_uv = RESOLUTION_UV
    payload_bytes = PAYLOAD.size

    def moment_of(self, payload: bytes) -> Moment | None:
        return moment_of(payload)


def moment_of(payload: bytes) -> Moment | None:
    """None: an SpO2 above 100, lead bits that do not exist, or a skin hotter than 50 Cel."""
    ecg, _, _, _, temperature, respiration, spo2, heart_rate, _, _, leads = PAYLOAD.unpack(payload)
    if spo2 > 100 or leads & ~LEAD_BITS or temperature > HIGHEST_TEMPERATURE_CE2:
        return None
    off = leads != 0
    return Moment(
        ecg_count=None if off or ecg == INVALID_COUNT else ecg,
        lead_off=off,
        spo2_percent=spo2 or None,
        heart_rate_bpm=None if off else heart_rate or None,
        temperature_ce2=temperature or None,
        respiration_bpm=None if off else respiration or None,
    )

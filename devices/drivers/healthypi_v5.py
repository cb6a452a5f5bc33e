"""ProtoCentral HealthyPi 5: single-lead ECG, oximeter and skin thermometer of open hardware, USB CDC (needs DTR).

The frames and their limits are those of ``devices.healthypi``; 128 a second. Payload, 22 bytes, little-endian:

=====  =============================================================================================================
0      ECG, i32: the 18 bits of the MAX30001, coupled at 0.5 Hz and filtered at 40 Hz in the chip. One count is
       1 V / 2^17 / 80 = 0.0954 uV. Four counts are one of ours (0.381 uV, below the noise of the chip), so that the
       whole range fits 16 bits and nothing a body makes is lost.
4      bioimpedance, i32: not used
8      0, or 255: the bioimpedance is that of the frame before
9, 13  light of the oximeter, red and infrared, i32: not used
17     skin temperature x 100, i16; 0: no sensor
19     SpO2, u8; 0: none
20     heart rate, u8; 0: none
21     respiration rate, u8
=====  =============================================================================================================

There is no lead-off bit: a loose electrode shows in the trace only. The gain is the one the present library writes
(code 10, 80 V/V; its comment says 160, and older versions wrote 11, 160 V/V): check it with a 1 mV calibrator before
an amplitude is trusted. Source: Protocentral/protocentral_healthypi_5_firmware and protocentral_max30001 (MIT). Not
tried on hardware by us.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from devices.driver import About, Metric, SerialLine
from devices.healthypi import HealthyPi, Moment
from devices.nomenclature import metrics
from devices.wave_chunks import HIGHEST_COUNT

SAMPLE_RATE_HZ = 128.0
COUNTS_IN_ONE = 4
RESOLUTION_UV = 1e6 / 2**17 / 80 * COUNTS_IN_ONE
PAYLOAD = struct.Struct("<iiBiihBBB")
HIGHEST_ADC = 2**17 - 1
HIGHEST_TEMPERATURE_CE2 = 5000


class Driver(HealthyPi):
    about: ClassVar[About] = About(
        title_zh="HealthyPi 5 单导联心电/血氧/体温",
        title_en="HealthyPi 5: single-lead ECG, oximeter, thermometer",
        models=("ProtoCentral HealthyPi 5",),
        metrics=(
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),
            *metrics("pulse_oximetry", "spo2_percent"),
            *metrics("heart_rate", "heart_rate_bpm"),
            *metrics("temperature", "temperature_c"),
        ),
        line=SerialLine(115200, dtr=True),
        source="Protocentral/protocentral_healthypi_5_firmware (MIT); hardware/protocols/healthypi.md",
        usb_ids=("2e8a:000a",),
        lost_after_s=2.0,
    )
    sample_rate_hz = SAMPLE_RATE_HZ
    resolution_uv = RESOLUTION_UV
    payload_bytes = PAYLOAD.size

    def moment_of(self, payload: bytes) -> Moment | None:
        return moment_of(payload)


def moment_of(payload: bytes) -> Moment | None:
    """None: more than 18 bits of ECG, an SpO2 above 100, another flag than 0 and 255, or a skin hotter than 50 Cel."""
    ecg, _, held, _, _, temperature, spo2, heart_rate, respiration = PAYLOAD.unpack(payload)
    if not -HIGHEST_ADC - 1 <= ecg <= HIGHEST_ADC or held not in (0x00, 0xFF) or spo2 > 100:
        return None
    if not 0 <= temperature <= HIGHEST_TEMPERATURE_CE2:
        return None
    count = round(ecg / COUNTS_IN_ONE)
    at_rail = ecg in (HIGHEST_ADC, -HIGHEST_ADC - 1)
    return Moment(
        ecg_count=None if at_rail or abs(count) > HIGHEST_COUNT else count,
        lead_off=None,
        spo2_percent=spo2 or None,
        heart_rate_bpm=heart_rate or None,
        temperature_ce2=temperature or None,
        respiration_bpm=respiration or None,
    )

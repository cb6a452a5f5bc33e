"""Decoders against byte vectors of other people: ../shared/data/bluetooth-vectors.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from devices import sig_heart_rate
from devices.drivers import bluetooth_blood_pressure as cuff
from devices.drivers import bluetooth_glucose as meter
from devices.drivers import bluetooth_pulse_oximeter as oximeter
from devices.drivers import bluetooth_thermometer as thermometer
from devices.sig import Fields, Special, Truncated
from devices.sig_records import RecordCount, decode_racp

VECTORS = Path(__file__).parents[2].parent / "shared" / "data" / "bluetooth-vectors.json"

STATUS_WORDS = {
    "battery_low": meter.BATTERY_LOW,
    "sensor_malfunction": 1 << 1,
    "sample_insufficient": 1 << 2,
    "strip_type_incorrect": 1 << 4,
    "result_too_low": meter.RESULT_TOO_LOW,
    "temp_too_low": 1 << 8,
    "general_fault": 1 << 10,
}


def number(value: float | Special | None) -> dict[str, Any]:
    return {"special": value.value} if isinstance(value, Special) else {"value": value}


def sfloat(value: bytes) -> dict[str, Any]:
    return number(Fields(value).sfloat())


def float32(value: bytes) -> dict[str, Any]:
    return number(Fields(value).float32())


def date_time(value: bytes) -> dict[str, Any]:
    return {"datetime": iso(Fields(value).date_time())}


def iso(shown: datetime | None) -> str | None:
    return None if shown is None else shown.isoformat()


def glucose(value: bytes) -> dict[str, Any]:
    measurement = meter.decode_measurement(value)
    status = measurement.status
    return {
        "sequence": measurement.sequence,
        "base_time": iso(measurement.base_time),
        "time_offset_min": measurement.time_offset_min,
        "concentration": measurement.concentration,
        "unit": measurement.unit,
        "type": measurement.sample_type,
        "location": measurement.location,
        "status": status,
        "status_bits": [word for word, bit in STATUS_WORDS.items() if status is not None and status & bit],
        "context_follows": measurement.context_follows,
    }


def context(value: bytes) -> dict[str, Any]:
    return {"meal": meter.decode_context(value).meal}


def racp(value: bytes) -> dict[str, Any]:
    answer = decode_racp(value)
    if isinstance(answer, RecordCount):
        return {"op": "number", "count": answer.count}
    return {"op": "response", "request": answer.request, "code": answer.code}


def blood_pressure(value: bytes) -> dict[str, Any]:
    measurement = cuff.decode_measurement(value)
    return {
        "systolic": measurement.systolic_mmhg,
        "diastolic": measurement.diastolic_mmhg,
        "map": measurement.mean_mmhg,
        "unit": "mmHg",
        "pulse": measurement.pulse_bpm,
        "user_id": measurement.user_id,
        "status": measurement.status,
        "timestamp": iso(measurement.shown_at),
        "year": None if measurement.shown_at is None else measurement.shown_at.year,
    }


def cuff_pressure(value: bytes) -> dict[str, Any]:
    """Intermediate Cuff Pressure has the layout of the measurement; its first number is the cuff's."""
    measurement = cuff.decode_measurement(value)
    told = {"unit": "mmHg", "pulse": measurement.pulse_bpm, "user_id": measurement.user_id}
    return {"cuff": measurement.systolic_mmhg} | told


def temperature(value: bytes) -> dict[str, Any]:
    measurement = thermometer.decode_measurement(value)
    told = {"time": iso(measurement.shown_at), "type": measurement.site}
    return {"temperature": measurement.temperature_c, "unit": "C"} | told


def heart_rate(value: bytes) -> dict[str, Any]:
    measurement = sig_heart_rate.decode_measurement(value)
    intervals = list(measurement.rr_1024) or None
    told = {"contact": bool(measurement.contact), "energy_kj": measurement.energy_kj, "rr_1024": intervals}
    return {"bpm": measurement.heart_rate_bpm} | told


def continuous(value: bytes) -> dict[str, Any]:
    measurement = oximeter.decode_continuous(value)
    fast, slow = measurement.fast or (None, None), measurement.slow or (None, None)
    return {
        "spo2": measurement.spo2_percent,
        "pulse": measurement.pulse_bpm,
        "spo2_fast": fast[0],
        "pulse_fast": fast[1],
        "spo2_slow": slow[0],
        "pulse_slow": slow[1],
        "measurement_status": measurement.measurement_status,
        "device_status": measurement.sensor_status,
        "pai": measurement.amplitude_index_percent,
    }


def features(value: bytes) -> dict[str, Any]:
    found = oximeter.decode_features(value)
    return {
        "features": found.supported,
        "measurement_status_support": found.measurement_status,
        "device_status_support": found.sensor_status,
    }


DECODERS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "SFLOAT": sfloat,
    "FLOAT": float32,
    "DateTime 0x2A08": date_time,
    "Glucose Measurement 0x2A18": glucose,
    "Glucose Measurement Context 0x2A34": context,
    "Record Access Control Point 0x2A52": racp,
    "Blood Pressure Measurement 0x2A35": blood_pressure,
    "Intermediate Cuff Pressure 0x2A36": cuff_pressure,
    "Temperature Measurement 0x2A1C": temperature,
    "Temperature Type 0x2A1D": lambda value: {"type": Fields(value).uint8()},
    "Measurement Interval 0x2A21": lambda value: {"seconds": Fields(value).uint16()},
    "Glucose Feature 0x2A51": lambda value: {"bits": Fields(value).uint16()},
    "Heart Rate Measurement 0x2A37": heart_rate,
    "PLX Continuous 0x2A5F": continuous,
    "PLX Features 0x2A60": features,
}

NOT_SAID_BY_ITSELF = {"month", "day", "time"}
"""Parts of a time stamp without a year, which we take as not known."""


def vectors() -> list[Any]:
    if not VECTORS.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="skipped: no ../shared"))]
    held = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector, id=f"{vector['id']}-{vector['hex'][:24]}") for vector in held]


@pytest.mark.parametrize("vector", vectors())
def test_vector(vector: dict[str, Any]) -> None:
    decode, value = DECODERS[vector["characteristic"]], bytes.fromhex(vector["hex"])
    if vector["kind"] == "invalid":
        with pytest.raises(Truncated):
            decode(value)
        return
    decoded = decode(value)
    left_out = NOT_SAID_BY_ITSELF - decoded.keys()
    expected = {name: said for name, said in vector["expected"].items() if name not in left_out}
    assert expected.keys() <= decoded.keys()
    assert {name: decoded[name] for name in expected} == expected


def test_enough_vectors_were_held_against_us() -> None:
    if not VECTORS.exists():
        pytest.skip("skipped: no ../shared")
    assert len(vectors()) >= 69

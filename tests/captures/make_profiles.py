"""Makes the captures of the Bluetooth SIG oximeter, thermometer, scale and heart-rate sensor; see make.py.

``python tests/captures/make_profiles.py`` writes them again. Bytes are published vectors (each head says whose) or put
together here from the layouts of the GATT Specification Supplement; what was agreed is what those say.
"""

from __future__ import annotations

from typing import Any

from make import CONNECTED, OURS, keep  # beside this file

from devices.capture import Head, Step

NO_TEXT = CONNECTED | {"fault": None}
AT = "EA070B15081E00"
"""2026-11-21 08:30:00."""
SHOWN = "2026-11-21T08:30:00"


def main() -> None:
    finger()
    spot_checks()
    thermometer()
    forehead()
    scale()
    composition()
    strap()


def head(driver: str, device: str, display: str, source: str = OURS) -> Head:
    return Head(driver=driver, kind="simulated", device=device, display=display, source=source)


def oximetry(spo2: int | None, pulse: int | None, index: float | None = None, **more: Any) -> dict[str, Any]:
    told = {"spo2_percent": spo2, "pulse_bpm": pulse, "perfusion_index_percent": index}
    return {"type": "pulse_oximetry", **told, "device_said_at": None, "final": False} | more


def finger() -> None:
    """Numbers of the published vectors, then the finger is out (sensor unconnected to user, NaN)."""
    driver = "bluetooth_pulse_oximeter"
    steps = [
        Step(t=0.1, rx="0300", channel="2A60"),
        Step(t=0.5, rx="00e8f384f3", channel="2A5F"),
        Step(t=0.7, rx="0064005a00", channel="2A5F"),
        Step(t=1.5, rx="1fdef3caf3caf35af5d4f3b2f220010000007ae3", channel="2A5F"),
        Step(t=2.5, rx="08FF07FF07000800", channel="2A5F"),
    ]
    events = [
        oximetry(100, 90),
        NO_TEXT | {"sensor": "ok"},
        oximetry(99, 97, 8.9),
        oximetry(None, None),
        NO_TEXT | {"sensor": "off", "vendor_text": "sensor unconnected to user"},
    ]
    source = "StanfordSpezi/SpeziBluetooth PLXTests (bytes as facts); the last value put together from the layout"
    keep(
        f"{driver}/finger_in_and_out",
        head(driver, "any oximeter of the profile", "100/90, 99/97, --", source),
        steps,
        events,
        {},
    )


def spot_checks() -> None:
    """Two of the memory, one of them a demonstration, asked for because the features say that there is a memory."""
    driver = "bluetooth_pulse_oximeter"
    steps = [
        Step(t=0.1, rx="0D0020FE", channel="2A60"),
        Step(t=0.1, tx="0101", channel="2A52"),
        Step(t=0.3, rx=f"0361004800{AT}0001", channel="2A5E"),
        Step(t=0.4, rx=f"0362004600{AT}0004", channel="2A5E"),
        Step(t=0.5, rx="06000101", channel="2A52"),
    ]
    events = [
        oximetry(97, 72, device_said_at=SHOWN, final=True),
        NO_TEXT | {"sensor": "ok"},
        CONNECTED | {"sensor": "error", "fault": "oximetry_not_measured", "vendor_text": "demonstration"},
    ]
    display = "memory: 97/72, and a demonstration, 2026-11-21 08:30"
    keep(f"{driver}/two_spot_checks", head(driver, "any oximeter of the profile", display), steps, events, {})


def temperature(number: float | None, **more: Any) -> dict[str, Any]:
    told = {"site": None, "mode": None, "final": True, "from_memory": False, "device_said_at": None}
    return {"type": "temperature", "temperature_c": number} | told | more


def thermometer() -> None:
    """On its way, then the finished value of the published vector, then one that failed (NaN)."""
    driver = "bluetooth_thermometer"
    steps = [
        Step(t=0.1, rx="03", channel="2A1D"),
        Step(t=1.0, rx="006D0100FF", channel="2A1E"),
        Step(t=2.0, rx="00740100FF", channel="2A1E"),
        Step(t=3.0, rx="06b00e00fedc070c050b321b04", channel="2A1C"),
        Step(t=6.0, rx="00FFFF7F00", channel="2A1C"),
    ]
    events = [
        temperature(36.5, site="ear", final=False),
        temperature(37.2, site="ear", final=False),
        temperature(None, final=False),
        temperature(37.6, site="finger", device_said_at="2012-12-05T11:50:27"),
        NO_TEXT | {"sensor": "ok"},
        CONNECTED | {"sensor": "error", "fault": "temperature_not_measured", "vendor_text": "NaN"},
    ]
    source = "NordicSemiconductor Android-BLE-Common-Library TemperatureMeasurementDataCallbackTest (bytes as facts)"
    keep(
        f"{driver}/on_the_way_and_done",
        head(driver, "any thermometer of the profile", "37.6 °C", source),
        steps,
        events,
        {},
    )


def forehead() -> None:
    driver = "bluetooth_thermometer"
    steps = [Step(t=0.1, rx="01DB0300FF", channel="2A1C")]
    events = [temperature(37.06), NO_TEXT | {"sensor": "ok"}]
    keep(f"{driver}/fahrenheit", head(driver, "a thermometer set to Fahrenheit", "98.7 °F"), steps, events, {})


def weight(kg: float, **more: Any) -> dict[str, Any]:
    told = {"height_cm": None, "bmi": None, "body_fat_percent": None, "device_said_at": SHOWN}
    return {"type": "weight", "weight_kg": kg} | told | more


def scale() -> None:
    """61.35 kg; 163.5 lb with height; one where the person did not stand still."""
    driver = "bluetooth_scale"
    steps = [
        Step(t=0.1, rx=f"02EE2F{AT}", channel="2A9D"),
        Step(t=5.0, rx=f"0FDE3F{AT}01FA006E02", channel="2A9D"),
        Step(t=9.0, rx="00FFFF", channel="2A9D"),
    ]
    events = [
        weight(61.35),
        NO_TEXT | {"sensor": "ok"},
        weight(74.16, height_cm=158.0, bmi=25.0),
        NO_TEXT | {"sensor": "ok"},
        CONNECTED | {"sensor": "error", "fault": "weight_not_measured"},
    ]
    keep(
        f"{driver}/kilograms_and_pounds",
        head(driver, "any scale of the profile", "61.35 kg; 163.5 lb"),
        steps,
        events,
        {},
    )


def composition() -> None:
    """A weight with its body fat, then a weight whose body fat comes late."""
    driver = "bluetooth_scale"
    steps = [
        Step(t=0.3, rx=f"0EEE2F{AT}01F6002C06", channel="2A9D"),
        Step(t=0.8, rx=f"06023801{AT}01EE01", channel="2A9C"),
        Step(t=5.0, rx=f"02EE2F{AT}", channel="2A9D"),
        Step(t=8.0, rx=f"02003A01{AT}", channel="2A9C"),
    ]
    events = [
        weight(61.35, height_cm=158.0, bmi=24.6, body_fat_percent=31.2),
        NO_TEXT | {"sensor": "ok"},
        weight(61.35),
        NO_TEXT | {"sensor": "ok"},
        weight(61.35, body_fat_percent=31.4),
        NO_TEXT | {"sensor": "ok"},
    ]
    keep(
        f"{driver}/with_body_fat",
        head(driver, "any scale with body composition", "61.35 kg, 31.2 %"),
        steps,
        events,
        {},
    )


def strap() -> None:
    """The captured value of a Wahoo strap (its skin-contact bit is clear), and a strap that is put on and comes off."""
    driver = "bluetooth_heart_rate"
    steps = [
        Step(t=0.1, rx="04ff", channel="2A37"),
        Step(t=1.1, rx="164a0d03", channel="2A37"),
        Step(t=2.1, rx="164b0d031603", channel="2A37"),
        Step(t=2.4, rx="164c1603", channel="2A37"),
        Step(t=3.3, rx="164c0903", channel="2A37"),
        Step(t=4.3, rx="144a0d03", channel="2A37"),
    ]

    def rate(bpm: int | None, rr_ms: list[int], contact: bool | None) -> dict[str, Any]:
        return {"type": "heart_rate", "heart_rate_bpm": bpm, "rr_ms": rr_ms, "contact": contact}

    events = [
        NO_TEXT | {"sensor": "off"},
        rate(74, [763], True),
        NO_TEXT | {"sensor": "ok"},
        rate(75, [763, 771], True),
        rate(76, [771, 759], True),
        rate(None, [], False),
        NO_TEXT | {"sensor": "off"},
    ]
    source = "the first and last value: NordicSemiconductor and sputnikdev tests (bytes as facts); others by the layout"
    keep(
        f"{driver}/put_on_and_taken_off",
        head(driver, "any sensor of the profile", "74, 75, 76, --", source),
        steps,
        events,
        {},
    )


if __name__ == "__main__":
    main()

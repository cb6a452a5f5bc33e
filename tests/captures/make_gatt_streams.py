"""As ``make.py``, for devices that speak a maker's own protocol over GATT. What they notify is kept as a stream."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from make import CONNECTED, OURS, Conversation, keep
from make import oximetry as oximetry_of

from devices.capture import Head, Step
from devices.drivers import contec_cms50d_bt, creative_oximeter, creative_pc300, sinocare_ba80x
from devices.simulators.contec_cms50 import Finger
from devices.simulators.contec_cms50d_bt import Cms50dBtTwin
from devices.simulators.creative_oximeter import CreativeOximeterTwin
from devices.simulators.creative_pc300 import Pc300Twin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.sinocare_ba80x import Ba80xTwin
from devices.simulators.sinocare_meter import SinocareMeterTwin


def main() -> None:
    creative_finger()
    creative_published()
    pc300_visit()
    pc300_published()
    sinocare_published()
    sinocare_morning()
    sinocare_cuff()
    contec_finger()


def oximetry(spo2_percent: int | None, pulse_bpm: int | None, perfusion: float | None) -> dict[str, Any]:
    return oximetry_of(spo2_percent, pulse_bpm, perfusion) | {"final": False}


def state(sensor: str, battery_percent: int | None = None, fault: str | None = None) -> dict[str, Any]:
    return CONNECTED | {"sensor": sensor, "battery_percent": battery_percent, "fault": fault}


def creative_finger() -> None:
    twin = CreativeOximeterTwin(switched_on_by_host=True)
    talk = Conversation(twin)
    for command in (
        creative_oximeter.ASK_VERSION,
        creative_oximeter.ASK_SERIAL_NUMBER,
        creative_oximeter.PARAMETERS_ON,
        creative_oximeter.WAVE_ON,
    ):
        talk.send(command)
    talk.run(0.5)
    twin.put_finger(Finger(spo2_percent=93, pulse_bpm=88, perfusion_index_e2=120))
    talk.run(3.7)
    twin.put_finger(None)
    talk.run(1.0)
    head = Head(
        driver="creative_oximeter",
        kind="simulated",
        device="twin of an AP-20, answers as in the vendor's document",
        display="no finger; after 0.5 s a finger: searching, then SpO2 93 %, pulse 88, PI 1.2 %; at 4.2 s taken out",
        source=OURS,
    )
    events = [
        state("off", 100),
        state("searching", 100),
        state("ok", 100),
        oximetry(93, 88, 1.2),
        oximetry(93, 88, 1.2),
        oximetry(93, 88, 1.2),
        state("off", 100),
        oximetry(None, None, None),
    ]
    keep("creative_oximeter/finger_in_and_out", head, talk.steps, events, {})


def creative_published() -> None:
    """The frames of the shared vectors, each cut where a notification of 20 bytes would end."""
    frames = "AA550F08016148002300C0C5" + "AA550F08010000000002C007"
    steps = [Step(t=0.0, rx=frames[:40]), Step(t=0.1, rx=frames[40:])]
    head = Head(
        driver="creative_oximeter",
        kind="simulated",
        device="PC-60FW",
        display="SpO2 97 %, pulse 72, PI 3.5 %; then the probe is off",
        source="put together from the published layout (LepuBle, facts), check bytes recomputed; Apache-2.0",
    )
    events = [state("ok", 100), oximetry(97, 72, 3.5), state("off", 100), oximetry(None, None, None)]
    keep("creative_oximeter/layout_as_published", head, steps, events, {})


def pc300_visit() -> None:
    """One person measured with everything that the case has."""
    twin = Pc300Twin(SynthesisedEcg(heart_rate_bpm=72, seed=300))
    talk = Conversation(twin)
    talk.send(creative_pc300.ASK_NAME)
    talk.send(creative_pc300.ASK_VERSION)
    twin.measure_pressure(142, 88, 76, irregular=True)
    talk.run(8.0)
    twin.fail_pressure(4)
    talk.run(5.0)
    twin.measure_temperature(36.7)
    talk.run(3.0)
    twin.measure_glucose(6.4)
    twin.put_finger(Finger(spo2_percent=97, pulse_bpm=74, perfusion_index_e2=350))
    talk.run(2.9)
    twin.put_finger(None)
    talk.run(1.1)
    twin.start_ecg()
    talk.run(4.0)
    twin.stop_ecg()
    talk.run(0.1)
    head = Head(
        driver="creative_pc300",
        kind="simulated",
        device="twin of a PC_300SNT",
        display="142/88 mmHg, pulse 76, irregular; cuff error 4; 36.7 degrees; 6.4 mmol/L; SpO2 97 %, pulse 74; ECG",
        source=OURS,
    )
    pressures = [*range(10, 180, 30), *range(180, 88, -6)]
    failed = [*range(10, 180, 30), *range(180, 120, -6)]
    told = state("ok", 100) | {"vendor_text": None}
    live: dict[str, Any] = {
        "type": "temperature",
        "site": None,
        "mode": None,
        "final": False,
        "from_memory": False,
        "device_said_at": None,
    }
    rate: dict[str, Any] = {"type": "heart_rate", "rr_ms": [], "contact": None}
    events = [
        told,
        *(cuff(mmhg, beats=i >= 6 and mmhg < 142 and i % 4 == 0) for i, mmhg in enumerate(pressures)),
        cuff(None, None),
        pressure(142, 88, 106, 76, True),
        *(cuff(mmhg, beats=False) for mmhg in failed),
        cuff(None, None),
        told | {"fault": "cuff_moved", "vendor_text": "43 02, code 4: too much disturbance"},
        *(live | {"temperature_c": celsius} for celsius in (35.5, 36.2, 36.5, 36.6, None)),
        live | {"temperature_c": 36.7, "final": True},
        told,
        glucose(6.4, None, None),
        oximetry(97, 74, 3.5),
        oximetry(None, None, None),
        *(rate | {"heart_rate_bpm": bpm} for bpm in (72, 72, 72, 72, None)),
    ]
    keep("creative_pc300/one_person", head, talk.steps, events, {"ecg": twin.ecg_sent.reshape(-1, 1)})


def cuff(cuff_mmhg: int | None, beats: bool | None) -> dict[str, Any]:
    return {"type": "cuff_pressure", "cuff_mmhg": cuff_mmhg, "heartbeat": beats}


def pc300_published() -> None:
    """The frames of the shared vectors, cut where notifications of 20 bytes would end."""
    frames = "AA55430701808060504843" + "AA554303020614" + "AA5572050140029E66"
    steps = [Step(t=round(at / 400, 3), rx=frames[at : at + 40]) for at in range(0, len(frames), 40)]
    head = Head(
        driver="creative_pc300",
        kind="simulated",
        device="PC-300",
        display="128/80 mmHg, mean 96, pulse 72, irregular; cuff error 6; 36.7 degrees",
        source="put together from the published layout (LepuBle, facts), check bytes recomputed; Apache-2.0",
    )
    events = [
        pressure(128, 80, 96, 72, True),
        state("ok"),
        state("ok", fault="cuff_leaks") | {"vendor_text": "43 02, code 6: leak"},
        {
            "type": "temperature",
            "temperature_c": 36.7,
            "site": None,
            "mode": None,
            "final": True,
            "from_memory": False,
            "device_said_at": None,
        },
        state("ok"),
    ]
    keep("creative_pc300/layout_as_published", head, steps, events, {})


def sinocare_published() -> None:
    """The vendor's own list of bytes with what its display showed, in notifications of 20 bytes."""
    frames = (
        "534E1B200004001F160A1B0B0D1F00000000010001026E0E02002E003CBC",
        "534E1B2000040065160A1B0F081D0000000001000000410E010041FFFFA3",
        "534E1B200004005E160A1B0B2D2800000000010001051F0E02001C203CE6",
        "534E1B200104000D160A1809072A003112C901000000761E000000023C9E0D0A",
        "534E12001204160B1210391F003B0001240900002C",
        "534E1000120E000A1605130D3032007A010052",
    )
    pieces = [frame[at : at + 40] for frame in frames for at in range(0, len(frame), 40)]
    head = Head(
        driver="sinocare_meter",
        kind="public",
        device="Sinocare meters of machines 2000, 2001 and 0012",
        display="UA 622 umol/L; GLU 65 mg/dL; UA HI; GLU 11.8, 5.9 and 12.2 mmol/L (as published)",
        source="SDK设备返回格式.xlsx of Sinocare_Detection_SDK_Android (snintelligent, Apache-2.0); cut by us",
    )
    events = [
        uric_acid(622.0, 31, "2022-10-27T11:13:31"),
        state("ok"),
        glucose(3.608, 101, "2022-10-27T15:08:29"),
        uric_acid(None, 94, "2022-10-27T11:45:40") | {"range": "high"},
        glucose(11.8, 13, "2022-10-24T09:07:42"),
        glucose(5.9, None, "2022-11-18T16:57:31"),
        glucose(12.2, 10, "2022-05-19T13:48:50"),
    ]
    steps = [Step(t=round(0.05 * i, 3), rx=piece) for i, piece in enumerate(pieces)]
    keep("sinocare_meter/vendors_list", head, steps, events, {})


def sinocare_morning() -> None:
    twin = SinocareMeterTwin(line_end=b"\r\n")
    talk = Conversation(twin)
    twin.glucose(7.2, datetime(2026, 11, 21, 19, 5, 0, tzinfo=UTC), stored=True)
    talk.run(0.5)
    twin.insert_strip()
    talk.run(0.5)
    twin.fail(3)
    talk.run(0.5)
    twin.glucose(6.1, datetime(2026, 11, 22, 8, 30, 15, tzinfo=UTC))
    twin.uric_acid(412, datetime(2026, 11, 22, 8, 41, 0, tzinfo=UTC))
    talk.run(0.5)
    head = Head(
        driver="sinocare_meter",
        kind="simulated",
        device="twin of a Sinocare EA-19",
        display="stored: 7.2 mmol/L of yesterday; an error 3; then GLU 6.1 mmol/L and UA 412 umol/L",
        source=OURS,
    )
    events = [
        glucose(7.2, 1, "2026-11-21T19:05:00"),
        state("ok"),
        state("error", fault="glucose_not_measured") | {"vendor_text": "error 3"},
        glucose(6.1, 2, "2026-11-22T08:30:15"),
        state("ok"),
        uric_acid(412.0, 3, "2026-11-22T08:41:00"),
    ]
    keep("sinocare_meter/an_old_and_two_new_results", head, talk.steps, events, {})


def sinocare_cuff() -> None:
    twin = Ba80xTwin()
    talk = Conversation(twin)
    talk.send(sinocare_ba80x.WE_ARE_HERE)
    twin.fail(2)
    talk.run(3.4)
    twin.measure(148, 92, 75, datetime(2026, 11, 22, 8, 30, tzinfo=UTC))
    talk.run(4.0)
    head = Head(
        driver="sinocare_ba80x",
        kind="simulated",
        device="twin of a Sinocare BA-803, frames by the published parser",
        display="an error 2; then 148/92 mmHg, pulse 75, on 2026-11-22 at 08:30",
        source=OURS,
    )
    up = range(20, 190, 30)
    events = [
        state("ok"),
        *(cuff(mmhg, None) for mmhg in (*up, *range(185, 120, -15))),
        cuff(None, None),
        state("error", fault="blood_pressure_not_measured") | {"vendor_text": "B9, code 2"},
        state("ok"),
        *(cuff(mmhg, None) for mmhg in (*up, *range(185, 92, -15))),
        cuff(None, None),
        pressure(148, 92, None, 75, None) | {"device_said_at": "2026-11-22T08:30:00"},
    ]
    keep("sinocare_ba80x/an_error_and_a_result", head, talk.steps, events, {})


def contec_finger() -> None:
    twin = Cms50dBtTwin()
    talk = Conversation(twin)
    for command in (
        contec_cms50d_bt.ASK_MODEL,
        contec_cms50d_bt.KEEP_ALIVE,
        contec_cms50d_bt.START_WAVE,
        contec_cms50d_bt.START_NUMBERS,
    ):
        talk.send(command)
    talk.run(1.2)
    twin.put_finger(Finger(spo2_percent=94, pulse_bpm=83))
    talk.run(3.2)
    twin.put_finger(None)
    talk.run(1.0)
    head = Head(
        driver="contec_cms50d_bt",
        kind="simulated",
        device="twin of a CMS50D-BT",
        display="no finger; after 1.2 s a finger: searching, then SpO2 94 %, pulse 83; at 4.4 s taken out",
        source=OURS,
    )
    events = [
        state("searching"),
        state("ok"),
        oximetry(94, 83, None),
        oximetry(94, 83, None),
        state("searching"),
        oximetry(None, None, None),
    ]
    keep("contec_cms50d_bt/finger_in_and_out", head, talk.steps, events, {})


def pressure(systolic: int, diastolic: int, mean: int | None, pulse: int, irregular: bool | None) -> dict[str, Any]:
    return {
        "type": "blood_pressure",
        "systolic_mmhg": systolic,
        "diastolic_mmhg": diastolic,
        "mean_mmhg": mean,
        "pulse_bpm": pulse,
        "irregular_pulse": irregular,
        "body_movement": None,
        "cuff_too_loose": None,
        "device_said_at": None,
    }


def glucose(glucose_mmol_l: float | None, sequence: int | None, said_at: str | None) -> dict[str, Any]:
    return {
        "type": "glucose",
        "glucose_mmol_l": glucose_mmol_l,
        "range": "in_range",
        "sequence": sequence,
        "sample_type": None,
        "meal": None,
        "device_said_at": said_at,
    }


def uric_acid(uric_acid_umol_l: float | None, sequence: int, said_at: str) -> dict[str, Any]:
    return {
        "type": "uric_acid",
        "uric_acid_umol_l": uric_acid_umol_l,
        "range": "in_range",
        "sequence": sequence,
        "device_said_at": said_at,
    }


if __name__ == "__main__":
    main()

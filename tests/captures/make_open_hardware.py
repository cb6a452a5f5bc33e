"""Makes the captures of open-hardware boards and of the ``A5`` families. See ``make``: the same rules."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import numpy as np
from make import CONNECTED, OURS, Conversation, keep

from devices import viatom
from devices.capture import Head, Step
from devices.drivers import (
    aoj_20a,
    creative_pc80b,
    openbci_cyton,
    polar_h10,
    viatom_bp2,
    viatom_er1,
    viatom_o2ring,
)
from devices.simulators.aoj_20a import Aoj20aTwin
from devices.simulators.creative_pc80b import Pc80bTwin, stored_file
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPi5Twin, HealthyPiTwin, Person
from devices.simulators.openbci_cyton import CytonTwin
from devices.simulators.polar_h10 import PolarH10Twin
from devices.simulators.viatom import Bp2Twin, CuffResult, Er1Twin, O2RingTwin, Worn

OK = CONNECTED | {"sensor": "ok", "fault": None}


def main() -> None:
    healthypi("healthypi_v4", HealthyPiTwin(SynthesisedEcg(seed=4)))
    healthypi("healthypi_v5", HealthyPi5Twin(SynthesisedEcg(seed=5)))
    cyton()
    cyton_published()
    pc80b("creative_pc80b/live_lead_off_and_lost", track=False)
    pc80b("creative_pc80b/track_lead_off_and_lost", track=True)
    pc80b_memory()
    er1()
    bp2()
    o2ring()
    thermometer()
    thermometer_memory()
    polar()


def state(sensor: str, battery_percent: int | None, **more: Any) -> dict[str, Any]:
    return CONNECTED | {"sensor": sensor, "battery_percent": battery_percent, "fault": None} | more


def oximetry(spo2_percent: int | None, pulse_bpm: int | None, perfusion: float | None) -> dict[str, Any]:
    return {
        "type": "pulse_oximetry",
        "spo2_percent": spo2_percent,
        "pulse_bpm": pulse_bpm,
        "perfusion_index_percent": perfusion,
        "final": False,
        "device_said_at": None,
    }


def heart_rate(bpm: int | None) -> dict[str, Any]:
    return {"type": "heart_rate", "heart_rate_bpm": bpm, "rr_ms": [], "contact": None}


def temperature(temperature_c: float | None) -> dict[str, Any]:
    return {
        "type": "temperature",
        "temperature_c": temperature_c,
        "site": None,
        "mode": None,
        "final": False,
        "from_memory": False,
        "device_said_at": None,
    }


def healthypi(driver: str, twin: HealthyPiTwin) -> None:
    """All sensors on for 0.9 s, then nothing touches anybody for 0.9 s."""
    talk = Conversation(twin)
    talk.run(0.9)
    twin.person = Person(None, None, None, None, electrodes_on=False)
    talk.run(0.9)
    head = Head(
        driver=driver,
        kind="simulated",
        device=f"twin of {driver}",
        display="SpO2 98 %, heart rate 72, skin 34.5 Cel; at 0.9 s electrodes, finger and probe are taken off",
        source=OURS,
    )
    numbers = [oximetry(98, None, None), heart_rate(72), temperature(34.5)]
    gone = [oximetry(None, None, None), heart_rate(None), temperature(None)]
    off = CONNECTED | {"sensor": "lead_off", "leads_off": ["I"], "fault": None}
    # only v4 has lead-off bits
    events = [*numbers, OK, *gone, off] if driver == "healthypi_v4" else [*numbers, *gone]
    keep(f"{driver}/all_on_then_all_off", head, talk.steps, events, {"ecg": twin.sent(twin.samples_sent)})


def cyton() -> None:
    twin = CytonTwin(SynthesisedEcg(seed=6))
    talk = Conversation(twin)
    for letter in (openbci_cyton.STOP, openbci_cyton.RESET, openbci_cyton.START):
        talk.send(letter)
        talk.now_s += 0.2
    talk.run(0.4)
    twin.lost_on_air = 7
    talk.run(0.2)
    twin.leads_off = frozenset({"V2"})
    talk.run(0.3)
    head = Head(
        driver="openbci_cyton",
        kind="simulated",
        device="twin of the OpenBCI Cyton",
        display="twelve leads; 7 samples lost on the air at 0.4 s; V2 taken off at 0.6 s",
        source=OURS,
    )
    off = CONNECTED | {"sensor": "lead_off", "leads_off": ["V2"], "fault": None}
    keep("openbci_cyton/samples_lost_then_v2_off", head, talk.steps, [OK, off], {})


def cyton_published() -> None:
    """One frame, repeated with its number going on: channels 5 and 6 stand at the end of the converter."""
    frame = "A0{:02X}8FF2408FDFF4902BB68FBFBF7FFFFF7FFFFF94253420B67D00E000E00F70C0"
    steps = [Step(t=round(3.2 + number * 0.004, 3), rx=frame.format(number)) for number in range(70)]
    head = Head(
        driver="openbci_cyton",
        kind="public",
        device="OpenBCI Cyton",
        display="channels 5 and 6 not connected (as published)",
        source="one frame in openbci-archive/OpenBCI_Python, openbci/utils/utilities.py (MIT), repeated",
    )
    off = CONNECTED | {"sensor": "lead_off", "leads_off": ["V3", "V4"], "fault": None}
    keep("openbci_cyton/published_frame", head, steps, [off], {})


def pc80b(title: str, track: bool) -> None:
    """Lead off for a second; then two frames that never arrive."""
    twin = Pc80bTwin(SynthesisedEcg(seed=80), track=track)
    talk = Conversation(twin)
    talk.send(creative_pc80b.ASK_VERSIONS)
    talk.run(0.1)
    talk.send(creative_pc80b.ACCEPT)
    talk.send(creative_pc80b.KEEP_ALIVE)
    talk.run(1.0)
    twin.lead_off = True
    talk.run(1.0)
    twin.lead_off, twin.spoiled_frames = False, 2
    talk.run(1.5)
    talk._step(rx=twin.finish().hex())
    head = Head(
        driver="creative_pc80b",
        kind="simulated",
        device="twin of the Creative PC-80B, firmware that speaks " + ("DD" if track else "AA"),
        display="heart rate 72; hands off for a second; two packets lost; put down at the end",
        source=OURS,
    )
    off = {"leads_off": ["ECG"]}
    events = [
        state("unknown", 67),
        heart_rate(72),
        state("ok", 67),
        heart_rate(None),
        state("lead_off", 67, **off),
        heart_rate(72),
        state("ok", 67),
        heart_rate(72),
        state("off", 67),
        heart_rate(None),
    ]
    keep(title, head, talk.steps, events, {"ecg": twin.sent(twin.samples_sent)})


def pc80b_memory() -> None:
    """A stored file of two seconds, each part acknowledged."""
    twin = Pc80bTwin(SynthesisedEcg(seed=80))
    counts = np.round(np.sin(np.arange(300) / 20) * 400).astype(np.int16)
    twin.stored = file = stored_file(counts, datetime(2026, 11, 20, 8, 30, 5))  # noqa: DTZ001  as its display shows it
    talk = Conversation(twin)
    talk.send(creative_pc80b.ASK_VERSIONS)
    talk.run(0.1)
    talk.send(creative_pc80b.ACCEPT)
    for number in range(-(-len(file) // 50) + 1):
        talk.run(0.1)
        talk.send(creative_pc80b.acknowledge(number))
    head = Head(
        driver="creative_pc80b",
        kind="simulated",
        device="twin of the Creative PC-80B",
        display="a stored ECG of 20 November 2026, 08:30:05, sent from the memory menu",
        source=OURS,
    )
    content = f"{len(file)} bytes, sha256 {hashlib.sha256(file).hexdigest()}"
    keep("creative_pc80b/stored_file", head, talk.steps, [{"type": "stored_ecg", "content": content}], {})


def asked(talk: Conversation, ask: bytes, seconds: float, each_s: float) -> None:
    for _ in range(round(seconds / each_s)):
        talk.run(each_s)
        talk.send(ask)


def notified(talk: Conversation, channel: str) -> list[Step]:
    return [step if step.rx is None else step.model_copy(update={"channel": channel}) for step in talk.steps]


def er1() -> None:
    twin = Er1Twin(SynthesisedEcg(seed=11))
    talk = Conversation(twin)
    talk.send(viatom_er1.ASK_INFO)
    asked(talk, viatom_er1.ASK_REAL_TIME, 2.0, 0.5)
    twin.electrodes_on = False
    asked(talk, viatom_er1.ASK_REAL_TIME, 1.0, 0.5)
    head = Head(
        driver="viatom_er1",
        kind="simulated",
        device="twin of the Viatom ER1",
        display="heart rate 71, battery 88 %; at 2 s the patch is pulled off",
        source=OURS,
    )
    events = [
        state("unknown", 88),
        state("ok", 88),
        heart_rate(71),
        heart_rate(71),
        state("lead_off", 88, leads_off=["ECG"]),
        heart_rate(None),
    ]
    keep("viatom_er1/patch_on_and_off", head, notified(talk, viatom.NOTIFY), events, {"ecg": twin.sent()})


def bp2() -> None:
    twin = Bp2Twin(SynthesisedEcg(seed=12))
    talk = Conversation(twin)
    talk.send(viatom_bp2.ASK_INFO)
    for deed in (
        twin.inflate,
        lambda: twin.finish(CuffResult()),
        twin.inflate,
        lambda: twin.finish(CuffResult(0, 0, 0, 0, code=2)),
        lambda: twin.touched(True),
        lambda: twin.touched(False),
    ):
        deed()
        asked(talk, viatom_bp2.ASK_REAL_TIME, 2.0, 0.5)
    head = Head(
        driver="viatom_bp2",
        kind="simulated",
        device="twin of the Viatom BP2",
        display="128/82, mean 97, pulse 70; then a measurement spoiled by movement; then an ECG, heart rate 69",
        source=OURS,
    )
    pressure = {
        "type": "blood_pressure",
        "systolic_mmhg": 128.0,
        "diastolic_mmhg": 82.0,
        "mean_mmhg": 97.0,
        "pulse_bpm": 70.0,
        "irregular_pulse": None,
        "body_movement": None,
        "cuff_too_loose": None,
        "device_said_at": None,
    }
    failed = {"fault": "blood_pressure_not_measured", "vendor_text": "movement"}
    events = [
        state("unknown", 64),
        state("off", 64),
        pressure,
        state("error", 64, **failed),
        state("error", 64),
        state("ok", 64),
        heart_rate(69),
        heart_rate(69),
        state("off", 64),
        heart_rate(None),
    ]
    keep("viatom_bp2/pressure_movement_ecg", head, notified(talk, viatom.NOTIFY), events, {"ecg": twin.sent()})


def o2ring() -> None:
    twin = O2RingTwin()
    talk = Conversation(twin)
    talk.send(viatom_o2ring.ASK_INFO)
    for worn in (None, Worn(0, 0, 0), Worn(), Worn(), None):
        twin.worn = worn
        asked(talk, viatom_o2ring.ASK_REAL_TIME, 1.0, 1.0)
    head = Head(
        driver="viatom_o2ring",
        kind="simulated",
        device="twin of the Viatom O2Ring",
        display="put on, searching, then SpO2 96 %, pulse 66, PI 4.2; taken off",
        source=OURS,
    )
    events = [
        state("off", 71),
        state("searching", 71),
        state("ok", 71),
        oximetry(96, 66, 4.2),
        oximetry(96, 66, 4.2),
        state("off", 71),
        oximetry(None, None, None),
    ]
    keep("viatom_o2ring/put_on_and_off", head, notified(talk, viatom.NOTIFY), events, {})


def thermometer() -> None:
    twin = Aoj20aTwin()
    talk = Conversation(twin)
    talk.send(bytes.fromhex("AA01D500D4"))
    for deed in (
        lambda: twin.measure(3670),
        lambda: twin.measure(3740, mode=3),
        lambda: twin.measure(4550, mode=4),
        lambda: twin.fail(0xE4),
        lambda: twin.measure(3610, mode=2),
    ):
        deed()
        talk.run(0.5)
    head = Head(
        driver="aoj_20a",
        kind="simulated",
        device="twin of the AOJ-20A; the first measurement is the published one",
        display="36.7 forehead; 37.4 ear; a thing of 45.5; too cold; 36.1 a child's forehead",
        source=OURS,
    )
    measured = temperature(36.7) | {"site": "forehead", "mode": "adult", "final": True}
    events = [
        state("unknown", 80),
        measured,
        state("ok", 80),
        measured | {"temperature_c": 37.4, "site": "ear", "mode": None},
        state("error", 80, fault="thermometer_measures_things"),
        state("error", 80, fault="temperature_not_measured", vendor_text="body below 32 Cel"),
        measured | {"temperature_c": 36.1, "mode": "child"},
        state("ok", 80),
    ]
    keep("aoj_20a/five_presses", head, notified(talk, "FFE1"), events, {})


def thermometer_memory() -> None:
    twin = Aoj20aTwin()
    twin.memory = [(datetime(2026, 11, day, 8, 30), ce2) for day, ce2 in ((20, 3680), (21, 3890))]  # noqa: DTZ001
    talk = Conversation(twin)
    talk.send(aoj_20a.ASK_STATE)
    talk.now_s += aoj_20a.ASK_PAUSE_S
    talk.send(aoj_20a.ASK_MEMORY)
    head = Head(
        driver="aoj_20a",
        kind="simulated",
        device="twin of the AOJ-20A",
        display="in its memory: 36.8 of 20 November, 38.9 of 21 November 2026, both 08:30",
        source=OURS,
    )
    kept = {"final": True, "from_memory": True}
    events = [
        state("unknown", 80),
        temperature(36.8) | kept | {"device_said_at": "2026-11-20T08:30:00"},
        temperature(38.9) | kept | {"device_said_at": "2026-11-21T08:30:00"},
    ]
    keep("aoj_20a/memory", head, notified(talk, "FFE1"), events, {})


def polar() -> None:
    """Two notifications of the heart rate, the ECG between them with one frame lost; then no skin."""
    twin = PolarH10Twin(SynthesisedEcg(seed=10))
    steps = [Step(t=0.0, tx=polar_h10.START.hex(), channel=polar_h10.CONTROL)]
    steps.append(Step(t=0.0, rx=twin.control(polar_h10.START).hex(), channel=polar_h10.CONTROL))
    for tick in range(1, 81):
        twin.lost_frames = 1 if tick == 25 else twin.lost_frames
        twin.contact = tick < 60
        at_s = round(tick * 0.05, 3)
        steps += [Step(t=at_s, rx=value.hex(), channel=name) for name, value in twin.advance(0.05)]
    head = Head(
        driver="polar_h10",
        kind="simulated",
        device="twin of the Polar H10",
        display="heart rate 64; one frame of the ECG lost; no contact with the skin from 3 s on",
        source=OURS,
    )
    beat = heart_rate(64) | {"contact": True}
    events = [
        beat | {"rr_ms": [938]},
        state("ok", None),
        beat | {"rr_ms": [938]},
        beat | {"rr_ms": [938]},
        heart_rate(None) | {"contact": False},
        state("off", None),
    ]
    waves = np.delete(twin.sent(twin.samples_sent), range(2 * 73, 3 * 73), 0)
    keep("polar_h10/one_frame_lost_then_no_skin", head, steps, events, {"ecg": waves})


if __name__ == "__main__":
    main()

"""Makes the captures that no device was needed for: simulated by the twins, or put together from published bytes.

``python tests/captures/make.py`` writes them again; what was agreed comes from what the twin was told and sent, or from
the publication, never from the driver under test. Captures recorded from devices (kind "real") are not touched.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from devices.capture import Head, Step, write_capture  # noqa: E402
from devices.clock import SimulatedClock  # noqa: E402
from devices.drivers import contec_8000g, contec_cms50_v7, fibocom_5g, quectel_5g, sam_id_card  # noqa: E402
from devices.readings import ServingCell  # noqa: E402
from devices.simulators.at_modem import AtTwin, FibocomTwin, QuectelTwin, Scene  # noqa: E402
from devices.simulators.contec_8000g import ContecEcgTwin  # noqa: E402
from devices.simulators.contec_cms50 import Cms50Twin, Finger  # noqa: E402
from devices.simulators.ecg_source import SynthesisedEcg  # noqa: E402
from devices.simulators.gnss import GnssTwin  # noqa: E402
from devices.simulators.sam_card import Card, SamCardTwin  # noqa: E402
from devices.simulators.twin import Twin  # noqa: E402

STEP_S = 0.02
OURS = "simulated by devices/simulators, Apache-2.0"
CONNECTED = {"type": "device", "link": "connected", "leads_off": [], "battery_percent": None, "vendor_text": None}


def main() -> None:
    ecg()
    oximeter_wire_log()
    oximeter_finger()
    card()
    gnss_standing()
    blood_pressure()
    glucose()
    modems()


class Conversation:
    """Steps of a twin in simulated time, 20 ms each."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.now_s = 0.0
        self.steps: list[Step] = []
        twin.power_on()

    def send(self, payload: bytes) -> None:
        self._step(tx=payload.hex())
        if answer := self.twin.receive(payload):
            self._step(rx=answer.hex())

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            if chunk := self.twin.advance(STEP_S):
                self._step(rx=chunk.hex())

    def _step(self, **content: str) -> None:
        self.steps.append(Step(t=round(self.now_s, 3), **content))


def ecg() -> None:
    twin = ContecEcgTwin(SynthesisedEcg(heart_rate_bpm=75, seed=1))
    talk = Conversation(twin)
    for command in (contec_8000g.HELLO, contec_8000g.CHANNELS_ON, contec_8000g.START):
        talk.send(command)
        talk.now_s += contec_8000g.PAUSE_S
    talk.run(0.5)
    twin.leads_off = frozenset({"V3"})
    talk.run(0.5)
    twin.leads_off = frozenset()
    talk.run(0.5)
    head = Head(
        driver="contec_8000g",
        kind="simulated",
        device="twin of the Contec 8000G",
        display="sinus rhythm 75/min; electrode V3 taken off after 0.5 s and put back after 1 s",
        source=OURS,
    )
    events = [
        CONNECTED | {"sensor": "ok", "fault": None},
        CONNECTED | {"sensor": "lead_off", "leads_off": ["V3"], "fault": None},
        CONNECTED | {"sensor": "ok", "fault": None},
    ]
    keep("contec_8000g/v3_off_and_on_again", head, talk.steps, events, {"ecg": twin.sent(750)})


def oximeter_wire_log() -> None:
    replies = (
        ("A7", "0C80"),
        ("A2", "0C80"),
        ("A0", "06808087"),
        ("B0", "118081818080808080"),
        ("AC", "0E8081"),
        ("B3", "1380A0A0A0A0A0A0A01480A0A0A0A0A08080"),
        ("A8", "028080A0A0A0A0A0A00281FFA0A0A0A0A0A0"),
        ("AA", "0480F5F3E5F2A0A0A0"),
        ("A9", "0380A0A0A0A0A0A0A0"),
        (
            "A1",
            "01E085B396C1E1FFFF01E085B096C1E1FFFF01E085AE95C1E1FFFF01E085AC95C1E1FFFF"
            "01E085AB95C1E1FFFF01E085AA95C1E1FFFF01E085AA95C1E1FFFF",
        ),
    )
    steps: list[Step] = []
    for i, (command, reply) in enumerate(replies):
        at_s = round(i * 0.05, 3)
        steps += [Step(t=at_s, tx=contec_cms50_v7.command(int(command, 16)).hex()), Step(t=at_s, rx=reply)]
    head = Head(
        driver="contec_cms50_v7",
        kind="public",
        device="Contec CMS50D+, firmware V7",
        display="SpO2 97 %, pulse 65 (as published)",
        source="wire log in headrotor/contec_data, stream_data.py (MIT)",
    )
    events = [
        CONNECTED | {"sensor": "ok", "fault": None},
        oximetry(97, 65, None),
    ]
    pleth = np.array([[51], [48], [46], [44], [43], [42], [42]], np.int16)
    keep("contec_cms50_v7/wire_log_spo2_97_pulse_65", head, steps, events, {"pleth": pleth})


def oximeter_finger() -> None:
    twin = Cms50Twin()
    talk = Conversation(twin)
    for command in (contec_cms50_v7.STOP_STORED, contec_cms50_v7.STOP, contec_cms50_v7.START):
        talk.send(command)
    talk.run(0.5)
    twin.put_finger(Finger(spo2_percent=93, pulse_bpm=88, perfusion_index_e2=120))
    talk.run(3.0)
    twin.put_finger(None)
    talk.run(0.5)
    head = Head(
        driver="contec_cms50_v7",
        kind="simulated",
        device="twin of the Contec CMS50D+",
        display="no finger; after 0.5 s a finger: searching, then SpO2 93 %, pulse 88, PI 1.2 %; at 3.5 s taken out",
        source=OURS,
    )
    events = [
        CONNECTED | {"sensor": "off", "fault": None},
        CONNECTED | {"sensor": "searching", "fault": None},
        CONNECTED | {"sensor": "ok", "fault": None},
        oximetry(93, 88, 1.2),
        oximetry(93, 88, 1.2),
        CONNECTED | {"sensor": "off", "fault": None},
        oximetry(None, None, None),
    ]
    keep("contec_cms50_v7/finger_in_and_out", head, talk.steps, events, {})


def oximetry(spo2_percent: int | None, pulse_bpm: int | None, perfusion: float | None) -> dict[str, Any]:
    return {
        "type": "pulse_oximetry",
        "spo2_percent": spo2_percent,
        "pulse_bpm": pulse_bpm,
        "perfusion_index_percent": perfusion,
        "device_said_at": None,
        "final": False,
    }


def card() -> None:
    first = Card("测试甲", "female", date(1960, 2, 29), "999999196002290001", "虚构省虚构县测试乡示例村一组1号")
    number = with_check_digit("99999919550701001")
    second = Card("测试乙", "male", date(1955, 7, 1), number, "示例村二组", valid_until=None)
    twin = SamCardTwin()
    talk = Conversation(twin)
    talk.send(sam_id_card.STATUS)
    for laid in (None, first, None, second):
        twin.put_card(laid)
        talk.now_s += 0.4
        talk.send(sam_id_card.FIND)
        if laid:
            talk.send(sam_id_card.SELECT)
            talk.send(sam_id_card.READ)
    head = Head(
        driver="sam_id_card",
        kind="simulated",
        device="twin of a SAM card reader",
        display="a card is read, lifted, another one laid down; both persons are invented (area 999999 is nowhere)",
        source=OURS,
    )
    events = [
        CONNECTED | {"sensor": "ok", "fault": None},
        identity(first),
        {"type": "card_removed"},
        identity(second),
    ]
    keep("sam_id_card/two_invented_persons", head, talk.steps, events, {})


def identity(card: Card) -> dict[str, Any]:
    return {
        "type": "identity_card",
        "name": card.name,
        "sex": card.sex,
        "ethnicity_code": card.ethnicity_code,
        "born_on": card.born_on.isoformat(),
        "address": card.address,
        "id_number": card.id_number,
        "issuer": card.issuer,
        "valid_from": card.valid_from.isoformat(),
        "valid_until": card.valid_until and card.valid_until.isoformat(),
    }


def with_check_digit(first_17: str) -> str:
    return next(first_17 + last for last in "0123456789X" if sam_id_card.id_number_valid(first_17 + last))


def gnss_standing() -> None:
    clock = SimulatedClock(datetime(2026, 11, 21, 8, 30, tzinfo=UTC))
    twin = GnssTwin(clock, 32.36, 106.82)
    talk = Conversation(twin)
    fixes: list[bytes] = []
    for second in range(4):
        twin.fix = second != 0
        sent = twin.advance(1.0 if second else 0.0)
        clock.advance(1.0)
        talk.now_s = float(second)
        half = len(sent) // 2
        talk.steps += [Step(t=second, rx=sent[:half].hex()), Step(t=second + 0.05, rx=sent[half:].hex())]
        fixes.append(sent)
    head = Head(
        driver="nmea_gnss",
        kind="simulated",
        device="twin of a GNSS receiver",
        display="one second without satellites, then standing at 32.36 N 106.82 E",
        source=OURS,
    )
    events: list[dict[str, Any]] = [CONNECTED | {"sensor": "searching", "fault": None}]
    events.append(
        {
            "type": "position",
            "latitude_deg": None,
            "longitude_deg": None,
            "accuracy_m": None,
            "satellites": 2,
            "speed_m_s": None,
            "gnss_at": "2026-11-21T08:30:00+00:00",
            "spoofing": None,
            "jamming": None,
        }
    )
    events.append(CONNECTED | {"sensor": "ok", "fault": None})
    for second, sent in enumerate(fixes[1:], start=1):
        fields = sent.decode().split("\r\n")[0].split(",")
        events.append(
            {
                "type": "position",
                "latitude_deg": round(int(fields[2][:2]) + float(fields[2][2:]) / 60, 9),
                "longitude_deg": round(int(fields[4][:3]) + float(fields[4][3:]) / 60, 9),
                "accuracy_m": round(float(np.hypot(1.2, 1.2)), 9),
                "satellites": 14,
                "speed_m_s": round(0.02 * 1852 / 3600, 9),
                "gnss_at": f"2026-11-21T08:30:0{second}+00:00",
                "spoofing": None,
                "jamming": None,
            }
        )
    keep("nmea_gnss/sky_opens_then_standing", head, talk.steps, events, {})


def blood_pressure() -> None:
    head = Head(
        driver="bluetooth_blood_pressure",
        kind="simulated",
        device="any cuff of the Bluetooth SIG Blood Pressure Profile",
        display="128/80 mmHg, mean 96, pulse 72, irregular; 2026-11-21 08:30",
        source="put together from the layout of Blood Pressure Measurement (0x2A35), Apache-2.0",
    )
    steps = [Step(t=0.1, rx="16800050006000EA070B15081E0048000400", channel="2A35")]
    result = {
        "type": "blood_pressure",
        "systolic_mmhg": 128.0,
        "diastolic_mmhg": 80.0,
        "mean_mmhg": 96.0,
        "pulse_bpm": 72.0,
        "irregular_pulse": True,
        "body_movement": False,
        "cuff_too_loose": False,
        "device_said_at": "2026-11-21T08:30:00",
    }
    keep("bluetooth_blood_pressure/one_result", head, steps, [result, CONNECTED | {"sensor": "ok", "fault": None}], {})


def glucose() -> None:
    head = Head(
        driver="bluetooth_glucose",
        kind="simulated",
        device="any meter of the Bluetooth SIG Glucose Profile",
        display="memory: 5.6 mmol/L and 120 mg/dL, 2026-11-21 08:30",
        source="put together from the layout of Glucose Measurement (0x2A18), Apache-2.0",
    )
    steps = [
        Step(t=0.1, tx="0101", channel="2A52"),
        Step(t=0.2, rx="072A00EA070B15081E00000038C011", channel="2A18"),
        Step(t=0.3, rx="022B00EA070B15081E0078B012", channel="2A18"),
        Step(t=0.4, rx="06000101", channel="2A52"),
    ]
    told = {"type": "glucose", "range": "in_range", "meal": None, "device_said_at": "2026-11-21T08:30:00"}
    events = [
        told | {"glucose_mmol_l": 5.6, "sequence": 42, "sample_type": "capillary_whole_blood"},
        CONNECTED | {"sensor": "ok", "fault": None},
        told | {"glucose_mmol_l": 6.661, "sequence": 43, "sample_type": "capillary_plasma"},
        CONNECTED | {"sensor": "ok", "fault": None},
    ]
    keep("bluetooth_glucose/two_stored_records", head, steps, events, {})


ANCHOR = ServingCell("lte", "460", "01", "DE10", "5F1EA15", 12, 1650, "B3", 20.0, None, -100.0, -12.0, 2.0)
BESIDE = ServingCell("nr", "460", "01", None, None, 747, 627264, "n78", 100.0, 30, -71.0, -11.0, 33.0)


def modems() -> None:
    """A stand-alone cell, then an LTE anchor with NR beside it (EN-DC), then the card is taken out."""
    quectel = QuectelTwin(echo=True)
    quectel.unsolicited = ['+CEREG: 1,"DE10","5F1EA15",7', "RING", '+QIND: "csq",31,99']
    lte_without_sinr = replace(ANCHOR, sinr_db=None)
    own = replace(BESIDE, tac="10203", cell_id="12345", bandwidth_mhz=None, subcarrier_spacing_khz=None, sinr_db=22.5)
    stand_alone = replace(Scene().cells[0], bandwidth_mhz=None, subcarrier_spacing_khz=None)
    modem("quectel_5g", quectel, quectel_5g.Driver.questions, Scene().cells[0], (ANCHOR, BESIDE), (ANCHOR, BESIDE))
    fibocom_twin = FibocomTwin()
    modem("fibocom_5g", fibocom_twin, fibocom_5g.Driver.questions, stand_alone, (ANCHOR, own), (lte_without_sinr, own))


def modem(
    driver: str,
    twin: AtTwin,
    questions: tuple[str, ...],
    first: ServingCell,
    second: tuple[ServingCell, ...],
    seen: tuple[ServingCell, ...],
) -> None:
    """:param seen: what a driver can know of ``second``"""
    talk = Conversation(twin)
    scenes = (twin.scene, Scene(cells=second), Scene(sim="", registration=0, cells=()))
    for scene in scenes:
        twin.scene = scene
        for question in questions:
            talk.send(f"{question}\r".encode())
            talk.now_s += 0.02
        talk.now_s += 11.0
    head = Head(
        driver=driver,
        kind="simulated",
        device=f"twin of {driver}, lines as in the public transcripts",
        display="n78 stand-alone; 11 s later B3 with n78 beside it; then the card is taken out",
        source=OURS,
    )
    carriers = 1 if driver == "quectel_5g" else 2
    events = [
        CONNECTED | {"sensor": "ok", "fault": None},
        cellular("nr_sa", (first,), 1),
        cellular("nr_nsa", seen, carriers),
        CONNECTED | {"sensor": "error", "fault": "sim_absent"},
        cellular(None, (), None) | {"sim": "absent", "registration": "none", "operator": None},
    ]
    keep(f"{driver}/stand_alone_then_anchored_then_no_card", head, talk.steps, events, {})


def cellular(technology: str | None, cells: tuple[ServingCell, ...], carriers: int | None) -> dict[str, Any]:
    return {
        "type": "cellular",
        "sim": "ready",
        "registration": "home",
        "technology": technology,
        "operator": "CHN-CT",
        "cells": [asdict(cell) for cell in cells],
        "carriers": carriers,
    }


def keep(
    title: str, head: Head, steps: list[Step], events: list[dict[str, Any]], waves: dict[str, npt.NDArray[np.int16]]
) -> None:
    path = HERE / f"{title}.capture.jsonl"
    path.parent.mkdir(exist_ok=True)
    write_capture(path, head, steps)
    agreed = {
        "events": events,
        "samples": {
            stream: {"n": len(counts), "sha256": hashlib.sha256(counts.astype("<i2").tobytes()).hexdigest()}
            for stream, counts in waves.items()
        },
    }
    text = json.dumps(agreed, ensure_ascii=False, indent=1)
    path.with_name(path.name.replace(".capture.jsonl", ".readings.json")).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Makes the captures of nights that oximeters recorded by themselves: ``python tests/captures/make_memories.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from make import CONNECTED, OURS, Conversation, keep
from make_open_hardware import notified

from devices import cms50_memory, viatom, viatom_memory
from devices.capture import Head
from devices.drivers import contec_cms50_v7, viatom_o2ring
from devices.simulators.contec_cms50 import Cms50Twin, Recorded
from devices.simulators.viatom import O2RingTwin, ring_file

STARTED = datetime(2026, 11, 20, 22, 41, 7)  # noqa: DTZ001  as devices show it
SPO2: list[int | None] = [96, 96, 95, 93, 90, 88, 87, 89, 94, 96, None, None, 97, 128 - 1 - 30]
PULSE: list[int | None] = [58, 58, 59, 61, 63, 66, 130, 204, 80, 62, None, 60, 59, 58]


def main() -> None:
    cms50()
    ring()


def stored(interval_s: float) -> dict[str, Any]:
    return {
        "type": "stored_oximetry",
        "spo2_percent": SPO2,
        "pulse_bpm": PULSE,
        "interval_s": interval_s,
        "device_said_at": STARTED.isoformat(),
    }


def cms50() -> None:
    twin = Cms50Twin()
    twin.memory = [Recorded(STARTED, SPO2, PULSE)]
    talk = Conversation(twin)
    for command in (contec_cms50_v7.STOP_STORED, contec_cms50_v7.STOP, contec_cms50_v7.MODEL):
        talk.send(command)
        talk.run(0.06)
    talk.send(cms50_memory.command(cms50_memory.USERS))
    talk.run(0.2)
    talk.send(cms50_memory.command(cms50_memory.SEGMENTS, 0))
    talk.run(0.2)
    for _ in range(2):
        for code in (cms50_memory.START_TIME, cms50_memory.LENGTH, cms50_memory.VALUES):
            talk.send(cms50_memory.command(code, 0, 0))
            talk.run(0.2)
        talk.send(cms50_memory.STOP_STORED)
        talk.run(0.2)
    head = Head(
        driver="contec_cms50_v7",
        kind="simulated",
        device="twin of the Contec CMS50F; frames as the vendor's document has them",
        display="one recording of 14 s, started 2026-11-20 22:41:07, lowest 87 %",
        source=OURS,
    )
    keep("contec_cms50_v7/a_recording_from_its_memory", head, talk.steps, [stored(1.0)], {})


def ring() -> None:
    twin = O2RingTwin()
    twin.PART_BYTES = 48
    file = ring_file(STARTED, SPO2, PULSE)
    name = twin.record(file)
    talk = Conversation(twin)
    talk.send(viatom_o2ring.ASK_INFO)
    talk.run(0.06)
    talk.send(viatom_memory.question(viatom_memory.OPEN, name.encode() + b"\0"))
    talk.run(0.06)
    for block in range(-(-len(file) // twin.PART_BYTES)):
        talk.send(viatom_memory.question(viatom_memory.READ, block=block))
        talk.run(0.06)
    talk.send(viatom_memory.question(viatom_memory.CLOSE))
    talk.run(0.06)
    talk.send(viatom_o2ring.ASK_REAL_TIME)
    head = Head(
        driver="viatom_o2ring",
        kind="simulated",
        device="twin of the Viatom O2Ring, file version 3",
        display="one recording of 56 s, started 2026-11-20 22:41:07, lowest 87 %; then it is off the finger",
        source=OURS,
    )
    off = CONNECTED | {"sensor": "off", "battery_percent": 71, "fault": None}
    keep("viatom_o2ring/a_night_from_its_memory", head, notified(talk, viatom.NOTIFY), [stored(4.0), off], {})


if __name__ == "__main__":
    main()

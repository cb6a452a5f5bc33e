"""Makes the captures of the Contec 08A: ``python tests/captures/make_08a.py`` (see ``make``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from make import CONNECTED, OURS, Conversation, keep

from devices.capture import Head, Step
from devices.drivers import contec_08a as wire
from devices.simulators.contec_08a import Contec08aTwin, StoredResult, filled

PUBLISHED = (
    ("828094d5c8e9978580818d898091", 148, 85, 72, 105, "2023-05-01T13:09:00"),
    ("828092d6baf1978580828a858091", 146, 86, 58, 113, "2023-05-02T10:05:00"),
    ("828087d5c8e5978580828dab8091", 135, 85, 72, 101, "2023-05-02T13:43:00"),
    ("82808ad4c2eb978580838b848091", 138, 84, 66, 107, "2023-05-03T11:04:00"),
)


class Reports(Conversation):
    """Each report is a step of its own."""

    def _step(self, **content: str) -> None:
        ((way, said),) = content.items()
        size = 2 * wire.REPORT_BYTES if way == "rx" else len(said)
        for at in range(0, len(said), size):
            super()._step(**{way: said[at : at + size]})


def main() -> None:
    published()
    three_users()


def published() -> None:
    """The handshake and the first results of user 1 as they were published; the count is ours, as the rest is not."""
    asked = (wire.WHO_ARE_YOU, wire.results_of(1))
    leader = bytes.fromhex("4641808084828080808080808081")
    answers = (
        [bytes.fromhex("484102130102")],
        [bytes.fromhex("4a43010000"), leader, *(bytes.fromhex(row[0]) for row in PUBLISHED)],
    )
    steps: list[Step] = []
    for i, (question, told) in enumerate(zip(asked, answers, strict=True)):
        steps.append(Step(t=i / 10, tx=question.hex()))
        steps += [Step(t=i / 10, rx=filled(one).hex()) for one in told]
    head = Head(
        driver="contec_08a",
        kind="public",
        device="Contec 08A",
        display="148/85 pulse 72, 146/86 pulse 58, 135/85 pulse 72, 138/84 pulse 66, with their dates (as published)",
        source="comments in MarkMLl/contec08a, consoleapp.pas: reports as facts, the count changed from 70 to 4",
    )
    events = [CONNECTED | {"sensor": "ok", "fault": None}, *(pressure(*row[1:]) for row in PUBLISHED)]
    keep("contec_08a/published_results", head, steps, events, {})


def three_users() -> None:
    twin = Contec08aTwin()
    twin.users[1] = [StoredResult(118, 76, 135, 90, datetime.fromisoformat("2026-11-20T08:30:00"))]
    twin.users[3] = [StoredResult(182, 131, 64, 148, datetime.fromisoformat("2026-11-21T07:05:00"))]
    talk = Reports(twin)
    for question in (wire.ARE_YOU_THERE, wire.WHO_ARE_YOU, *(wire.results_of(user) for user in wire.USERS)):
        talk.send(question)
        talk.now_s += 0.1
    head = Head(
        driver="contec_08a",
        kind="simulated",
        device="twin of the Contec 08A",
        display="user 1: 118/76 pulse 135; user 2: nothing; user 3: 182/131 pulse 64",
        source=OURS,
    )
    events = [
        CONNECTED | {"sensor": "ok", "fault": None},
        pressure(118, 76, 135, 90, "2026-11-20T08:30:00"),
        pressure(182, 131, 64, 148, "2026-11-21T07:05:00"),
    ]
    keep("contec_08a/three_users", head, talk.steps, events, {})


def pressure(systolic: int, diastolic: int, pulse: int, mean: int, said_at: str) -> dict[str, Any]:
    return {
        "type": "blood_pressure",
        "systolic_mmhg": systolic,
        "diastolic_mmhg": diastolic,
        "mean_mmhg": mean,
        "pulse_bpm": pulse,
        "irregular_pulse": None,
        "body_movement": None,
        "cuff_too_loose": None,
        "device_said_at": said_at,
    }


if __name__ == "__main__":
    main()

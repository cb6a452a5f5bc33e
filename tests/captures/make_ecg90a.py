"""Makes the capture of the ECG90A: ``python tests/captures/make_ecg90a.py`` (see ``make``)."""

from __future__ import annotations

from make import CONNECTED, OURS, Conversation, keep

from devices.capture import Head
from devices.drivers import contec_ecg90a as wire
from devices.simulators.contec_ecg90a import Ecg90aTwin
from devices.simulators.ecg_source import SynthesisedEcg


class Reports(Conversation):
    """Each report is a step of its own."""

    def _step(self, **content: str) -> None:
        ((way, said),) = content.items()
        size = 2 * (wire.REPORT_BYTES if way == "rx" else 8)
        for at in range(0, len(said), size):
            super()._step(**{way: said[at : at + size]})


def main() -> None:
    twin = Ecg90aTwin(SynthesisedEcg(heart_rate_bpm=75, seed=90))
    talk = Reports(twin)
    talk.send(wire.ASK)
    for command in (wire.STOP, wire.READY_1, wire.READY_2, wire.START):
        talk.send(command)
        talk.now_s += wire.PAUSE_S
    talk.run(0.5)
    twin.leads_off = frozenset({"V3"})
    talk.run(0.5)
    twin.leads_off = frozenset()
    talk.run(0.5)
    head = Head(
        driver="contec_ecg90a",
        kind="simulated",
        device="twin of the Contec ECG90A",
        display="sinus rhythm 75/min; electrode V3 taken off after 0.5 s and put back after 1 s",
        source=OURS,
    )
    events = [
        CONNECTED | {"sensor": "ok", "fault": None},
        CONNECTED | {"sensor": "lead_off", "leads_off": ["V3"], "fault": None},
        CONNECTED | {"sensor": "ok", "fault": None},
    ]
    keep("contec_ecg90a/v3_off_and_on_again", head, talk.steps, events, {"ecg": twin.sent(1200)})


if __name__ == "__main__":
    main()

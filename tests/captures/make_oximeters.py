"""Makes the captures of the 5-byte oximeters: ``python tests/captures/make_oximeters.py`` (see ``make``)."""

from __future__ import annotations

from typing import Any

from make import CONNECTED, OURS, Conversation, keep, oximetry

from devices.capture import Head, Step
from devices.simulators.berry_bci import BerryTwin
from devices.simulators.contec_cms50 import Finger
from devices.simulators.contec_cms50_legacy import Cms50LegacyTwin
from devices.simulators.five_byte_oximeter import FiveByteTwin

SHOWN = "no finger; after 0.5 s a finger: searching, then SpO2 93 %, pulse 138; at 3.5 s taken out"


def main() -> None:
    finger_in_and_out("contec_cms50_legacy", "twin of a Contec CMS50D+ with firmware 4.x", Cms50LegacyTwin())
    finger_in_and_out("berry_bci", "twin of a Berry BCI module", BerryTwin())
    published("contec_cms50_legacy", "Contec CMS50D+, firmware 4.x", "8520430C60", 96, 140, "atbrask/CMS50Dplus (BSD)")
    published("berry_bci", "Berry BM1000", "C42A054862", 98, 72, "vendor PDF BCI Protocol V1.2 (zh2x/BCI_Protocol)")


def finger_in_and_out(driver: str, device: str, twin: FiveByteTwin) -> None:
    talk = Conversation(twin)
    talk.run(0.5)
    twin.put_finger(Finger(spo2_percent=93, pulse_bpm=138))
    talk.run(3.0)
    twin.put_finger(None)
    talk.run(0.5)
    events = [
        state("off"),
        state("searching"),
        state("ok"),
        oximetry(93, 138, None),
        oximetry(93, 138, None),
        state("off"),
        oximetry(None, None, None),
    ]
    head = Head(driver=driver, kind="simulated", device=device, display=SHOWN, source=OURS)
    keep(f"{driver}/finger_in_and_out", head, talk.steps, events, {})


def published(driver: str, device: str, frame: str, spo2_percent: int, pulse_bpm: int, source: str) -> None:
    """One frame as the layout gives it, 40 times over: long enough to be believed."""
    steps = [Step(t=round(i * 0.1, 3), rx=frame * 10) for i in range(4)]
    head = Head(
        driver=driver,
        kind="simulated",
        device=device,
        display=f"SpO2 {spo2_percent} %, pulse {pulse_bpm}",
        source=f"one frame put together from the layout of {source}",
    )
    title = f"{driver}/layout_spo2_{spo2_percent}_pulse_{pulse_bpm}"
    keep(title, head, steps, [state("ok"), oximetry(spo2_percent, pulse_bpm, None)], {})


def state(sensor: str) -> dict[str, Any]:
    return CONNECTED | {"sensor": sensor, "fault": None}


if __name__ == "__main__":
    main()

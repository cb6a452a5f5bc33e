"""As ``make.py``, for devices that speak a maker's own protocol over GATT. What they notify is kept as a stream."""

from __future__ import annotations

from typing import Any

from make import CONNECTED, OURS, Conversation, keep, oximetry

from devices.capture import Head, Step
from devices.drivers import creative_oximeter
from devices.simulators.contec_cms50 import Finger
from devices.simulators.creative_oximeter import CreativeOximeterTwin


def main() -> None:
    creative_finger()
    creative_published()


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


if __name__ == "__main__":
    main()

"""Makes the captures of open-hardware boards and of the ``A5`` families. See ``make``: the same rules."""

from __future__ import annotations

from typing import Any

from make import CONNECTED, OURS, Conversation, keep, oximetry

from devices.capture import Head, Step
from devices.drivers import openbci_cyton
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPi5Twin, HealthyPiTwin, Person
from devices.simulators.openbci_cyton import CytonTwin

OK = CONNECTED | {"sensor": "ok", "fault": None}


def main() -> None:
    healthypi("healthypi_v4", HealthyPiTwin(SynthesisedEcg(seed=4)))
    healthypi("healthypi_v5", HealthyPi5Twin(SynthesisedEcg(seed=5)))
    cyton()
    cyton_published()


def heart_rate(bpm: int | None) -> dict[str, Any]:
    return {"type": "heart_rate", "heart_rate_bpm": bpm, "rr_ms": [], "contact": None}


def temperature(temperature_c: float | None) -> dict[str, Any]:
    return {
        "type": "temperature",
        "temperature_c": temperature_c,
        "site": None,
        "mode": None,
        "final": False,
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
    talk.run(0.6)
    twin.lost_on_air = 7
    talk.run(0.4)
    twin.leads_off = frozenset({"V2"})
    talk.run(0.4)
    head = Head(
        driver="openbci_cyton",
        kind="simulated",
        device="twin of the OpenBCI Cyton",
        display="twelve leads; 7 samples lost on the air at 0.6 s; V2 taken off at 1 s",
        source=OURS,
    )
    off = CONNECTED | {"sensor": "lead_off", "leads_off": ["V2"], "fault": None}
    keep("openbci_cyton/samples_lost_then_v2_off", head, talk.steps, [OK, off], {})


def cyton_published() -> None:
    """One frame, repeated with its number going on: channels 5 and 6 stand at the end of the converter."""
    frame = "A0{:02X}8FF2408FDFF4902BB68FBFBF7FFFFF7FFFFF94253420B67D00E000E00F70C0"
    steps = [Step(t=round(number * 0.004, 3), rx=frame.format(number)) for number in range(100)]
    head = Head(
        driver="openbci_cyton",
        kind="public",
        device="OpenBCI Cyton",
        display="channels 5 and 6 not connected (as published)",
        source="one frame in openbci-archive/OpenBCI_Python, openbci/utils/utilities.py (MIT), repeated",
    )
    off = CONNECTED | {"sensor": "lead_off", "leads_off": ["V3", "V4"], "fault": None}
    keep("openbci_cyton/published_frame", head, steps, [off], {})


if __name__ == "__main__":
    main()

"""What streams exist on the feed of the van: one row each.

``bound`` is how many events a subscriber may leave unread; ``overflow`` says what happens then; ``rate_hz`` is the
expected rate of events while the device is connected (None: only when something happens) and gives the liveness
check of ``vehicle.health``: a connected device whose stream is silent for ``silent_after_s`` is shown as a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from devices.readings import (
    BloodPressure,
    CardRemoved,
    Cellular,
    CuffPressure,
    DeviceClock,
    DeviceState,
    Event,
    Glucose,
    HeartRate,
    IdentityCard,
    LaboratoryResult,
    Position,
    PulseOximetry,
    Samples,
    StoredEcg,
    StoredOximetry,
    Temperature,
    UricAcid,
    Weight,
)


class Overflow(StrEnum):
    """What a full subscription does."""

    DROP_OLDEST = "drop_oldest"
    """The oldest unread event goes, and the subscriber reads a ``Gap`` in its place."""
    LATEST_WINS = "latest_wins"
    """Only the newest event per device and topic is kept; older ones are superseded, which is no loss."""


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    payload: type[Event]
    rate_hz: float | None
    silent_after_s: float | None
    bound: int
    overflow: Overflow


TOPICS: tuple[Topic, ...] = (
    # name             payload        rate_hz silent_after_s bound overflow
    Topic("ecg", Samples, 20.0, 5.0, 200, Overflow.DROP_OLDEST),
    Topic("pleth", Samples, 20.0, 5.0, 200, Overflow.DROP_OLDEST),
    Topic("blood_pressure", BloodPressure, None, None, 50, Overflow.DROP_OLDEST),
    Topic("cuff_pressure", CuffPressure, None, None, 10, Overflow.LATEST_WINS),
    Topic("glucose", Glucose, None, None, 500, Overflow.DROP_OLDEST),
    Topic("uric_acid", UricAcid, None, None, 500, Overflow.DROP_OLDEST),
    Topic("temperature", Temperature, None, None, 50, Overflow.DROP_OLDEST),
    Topic("weight", Weight, None, None, 50, Overflow.DROP_OLDEST),
    Topic("laboratory", LaboratoryResult, None, None, 200, Overflow.DROP_OLDEST),
    Topic("device_clock", DeviceClock, None, None, 10, Overflow.LATEST_WINS),
    Topic("stored_ecg", StoredEcg, None, None, 20, Overflow.DROP_OLDEST),
    Topic("stored_oximetry", StoredOximetry, None, None, 20, Overflow.DROP_OLDEST),
    Topic("identity_card", IdentityCard, None, None, 10, Overflow.DROP_OLDEST),
    Topic("card_removed", CardRemoved, None, None, 10, Overflow.DROP_OLDEST),
    Topic("pulse_oximetry", PulseOximetry, 1.0, None, 10, Overflow.LATEST_WINS),
    Topic("heart_rate", HeartRate, 1.0, None, 10, Overflow.LATEST_WINS),
    Topic("position", Position, 1.0, 10.0, 10, Overflow.LATEST_WINS),
    Topic("cellular", Cellular, 0.1, None, 10, Overflow.LATEST_WINS),
    Topic("device", DeviceState, 0.5, None, 10, Overflow.LATEST_WINS),
)

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}


def topic_of(event: Event) -> str:
    """The topic an event travels on.

    :raises KeyError: a waveform stream that no row names
    """
    if isinstance(event, Samples):
        return BY_NAME[event.stream].name
    if isinstance(event, DeviceState):
        return "device"
    return event.kind

"""The captures beside the tests, what was agreed about them, and the shared byte vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.event_json import event_json
from devices.readings import DeviceState, Event, Samples

CAPTURES = Path(__file__).parents[1] / "captures"
SHARED = Path(__file__).parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="skipped: no ../shared")


def vectors(device: str) -> list[Any]:
    """The shared vectors of a device as test parameters named by their id; none without ../shared."""
    if not SHARED.is_dir():
        return []
    listed = json.loads((SHARED / "data" / "device-vectors.json").read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in listed if device in vector["device"]]


def captures_of(driver_id: str) -> list[Path]:
    return sorted((CAPTURES / driver_id).glob("*.capture.jsonl"))


def agreed(capture: Path) -> dict[str, Any]:
    beside = capture.with_name(capture.name.replace(".capture.jsonl", ".readings.json"))
    told: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
    return told


def as_agreed(events: Iterable[Event], streams: Iterable[str]) -> dict[str, Any]:
    """Events in the form of a ``.readings.json``: counters left out, floats to nine digits, waves by their hash."""
    events = list(events)
    return {
        "events": [_plain(event) for event in events if not isinstance(event, Samples)],
        "samples": {stream: _wave(events, stream) for stream in streams},
    }


def _plain(event: Event) -> dict[str, Any]:
    said = event_json(event)
    if isinstance(event, DeviceState):
        del said["counters"]
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in said.items()}


def _wave(events: list[Event], stream: str) -> dict[str, Any]:
    counts = np.concatenate([event.counts for event in events if isinstance(event, Samples) and event.stream == stream])
    return {"n": len(counts), "sha256": hashlib.sha256(counts.astype("<i2").tobytes()).hexdigest()}

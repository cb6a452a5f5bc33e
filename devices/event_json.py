"""Events as JSON objects: what the bench tool prints and what is agreed beside a capture."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import date, datetime
from typing import Any

from devices.readings import DeviceState, Event, Samples


def event_json(event: Event) -> dict[str, Any]:
    """``{"type": "samples" | "device" | the reading's kind, ...}``; dates and times in ISO 8601, None is null."""
    if isinstance(event, Samples):
        return {
            "type": "samples",
            "stream": event.stream,
            "channels": list(event.channels),
            "sample_rate_hz": event.sample_rate_hz,
            "segment": event.segment,
            "first_index": event.first_index,
            "n": len(event.counts),
            "resolution": event.resolution,
            "unit": event.unit,
            "counts": event.counts.tolist(),
        }
    kind = "device" if isinstance(event, DeviceState) else event.kind
    return {"type": kind} | {name: _plain(said) for name, said in dataclasses.asdict(event).items()}


def _plain(said: Any) -> Any:
    if isinstance(said, datetime | date):
        return said.isoformat()
    if isinstance(said, bytes):
        return f"{len(said)} bytes, sha256 {hashlib.sha256(said).hexdigest()}"
    if isinstance(said, tuple | list):
        return [_plain(one) for one in said]
    if isinstance(said, dict):
        return {name: _plain(one) for name, one in said.items()}
    return said

"""Stills, clips and measurements on their way into the vehicle's record, over its local API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.vehicle_client import VehicleClient


class VehicleRecord:
    """Every method raises ``VehicleAway`` when the vehicle does not answer and ``VehicleRefused`` when it refuses."""

    def __init__(self, vehicle: VehicleClient) -> None:
        self._vehicle = vehicle

    async def machine(self, settings: MachineSettings) -> None:
        """Tell the machine's settings; a changed calibration becomes an entry."""
        await self._vehicle.request("PUT", "/api/ultrasound/machine", json=settings.model_dump(mode="json"))

    async def begin(self, said: dict[str, Any]) -> str:
        """The name of a new still or clip (``vehicle.ultrasound.CaptureFacts``)."""
        response = await self._vehicle.request("POST", "/api/captures", json=said)
        return str(response.json()["capture"])

    async def append(self, capture: str, offset: int, part: bytes) -> None:
        """Again with the same part changes nothing."""
        await self._vehicle.request("PUT", f"/api/captures/{quote(capture)}/parts/{offset}", content=part)

    async def finish(self, capture: str, duration_ms: int) -> dict[str, Any]:
        """The stored still or clip, durable: sha256, what, encounter, facts ..."""
        body = {"duration_ms": duration_ms}
        response = await self._vehicle.request("POST", f"/api/captures/{quote(capture)}/finish", json=body)
        return dict(response.json())

    async def measure(self, sha256: str, tool: str, points: list[tuple[float, float]], who: str) -> dict[str, Any]:
        """What was measured on a still; when it returns, the journal has it."""
        body = {"sha256": sha256, "tool": tool, "points": points, "who": who}
        response = await self._vehicle.request("POST", "/api/image-measurements", json=body)
        return dict(response.json())

    async def stills(self, encounter: str) -> list[dict[str, Any]]:
        """The stills of an encounter with their measurements, oldest first."""
        response = await self._vehicle.request("GET", f"/api/encounters/{quote(encounter)}/stills")
        return list(response.json())

    async def still(self, sha256: str) -> bytes:
        return bytes((await self._vehicle.request("GET", f"/api/stills/{quote(sha256)}")).content)

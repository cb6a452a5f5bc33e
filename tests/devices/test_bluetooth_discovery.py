"""What the hub overhears on the air while somebody looks for devices, on a virtual bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bluetooth_bench import PATIENCE_S, Bench, bluetooth_bench, needs_dbus_daemon

from devices.discovery import Candidate, of_advertisement
from devices.links.bluetooth_link import Advertised
from devices.readings import Link

pytestmark = needs_dbus_daemon


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as ready:
        yield ready


class Ears:
    """The candidates that were overheard, by address."""

    def __init__(self) -> None:
        self.found: dict[str, Candidate] = {}
        self.said = 0
        self._news = asyncio.Event()

    def tell(self, said: Advertised) -> None:
        self.said += 1
        candidate = of_advertisement(said.address, said.name, said.services)
        if candidate is not None:
            self.found[candidate.address] = candidate
        self._news.set()

    def drivers(self) -> set[str]:
        return {driver for candidate in self.found.values() for driver in candidate.drivers}

    async def until(self, drivers: set[str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not drivers <= self.drivers():
                self._news.clear()
                await self._news.wait()


async def test_without_any_device_configured_meters_on_the_air_are_candidates(bench: Bench) -> None:
    ears = Ears()
    with bench.hub.overheard(ears.tell):
        await bench.meters.blood_pressure(128, 80, 72)
        await ears.until({"bluetooth_glucose", "bluetooth_blood_pressure"})
    assert all(one.transport == "bluetooth" and one.evidence for one in ears.found.values())


async def test_a_candidate_becomes_a_device_and_is_overheard_no_more(bench: Bench) -> None:
    ears = Ears()
    with bench.hub.overheard(ears.tell):
        await ears.until({"bluetooth_glucose"})
        (meter,) = [one for one in ears.found.values() if one.drivers == ("bluetooth_glucose",)]
        bench.attach("glucose-1", address=meter.address)
        await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
        await bench.meters.glucose(6.4)
        await bench.until(lambda: bench.glucose())


async def test_who_no_longer_listens_is_told_nothing(bench: Bench) -> None:
    ears = Ears()
    with bench.hub.overheard(ears.tell):
        await ears.until({"bluetooth_glucose"})
    before = ears.said
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    assert ears.said == before

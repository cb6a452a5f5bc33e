"""ECG devices with fewer leads or other rates, through a session: the very samples arrive, whatever carries them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.clock import SystemClock
from devices.readings import INVALID_COUNT, DeviceState, HeartRate, Link, PulseOximetry, Samples, Sensor, Stamped
from devices.session import DeviceSettings, open_sessions
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPi5Twin, HealthyPiTwin, Person
from devices.simulators.openbci_cyton import CytonTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.twin import Twin

PATIENCE_S = 30.0
CLOCK = SystemClock()


class Listener:
    """What a session published, and a way to wait for it."""

    def __init__(self) -> None:
        self.heard: list[Stamped] = []
        self._more = asyncio.Event()

    def publish(self, stamped: Stamped) -> None:
        self.heard.append(stamped)
        self._more.set()

    def events(self, kind: type) -> list[Any]:
        return [stamped.event for stamped in self.heard if isinstance(stamped.event, kind)]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not done():
                self._more.clear()
                await self._more.wait()

    async def samples(self, n: int) -> list[Samples]:
        await self.until(lambda: sum(len(samples.counts) for samples in self.events(Samples)) >= n)
        return self.events(Samples)


@asynccontextmanager
async def plugged(port: Path, twin: Twin) -> AsyncIterator[None]:
    pty = PtyPort(port, twin, CLOCK)
    pty.attach()
    try:
        yield
    finally:
        pty.detach()


@asynccontextmanager
async def attended(port: Path, driver: str) -> AsyncIterator[Listener]:
    """A session at the port; at the end it is cancelled and has said good-bye."""
    listener = Listener()
    settings = DeviceSettings(name="ecg-1", driver=driver, link="serial", port=str(port))
    (session,) = open_sessions([settings], listener.publish, CLOCK, hub=None)
    running = asyncio.create_task(session.run())
    try:
        yield listener
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("driver", "twin_of"),
    [
        pytest.param("healthypi_v4", HealthyPiTwin, id="healthypi_v4"),
        pytest.param("healthypi_v5", HealthyPi5Twin, id="healthypi_v5"),
    ],
)
async def test_a_board_that_runs_free_is_a_single_lead_ecg_and_an_oximeter(
    tmp_path: Path, driver: str, twin_of: Any
) -> None:
    twin = twin_of(SynthesisedEcg(seed=7))
    async with plugged(tmp_path / "ecg", twin), attended(tmp_path / "ecg", driver) as listener:
        await listener.until(lambda: PulseOximetry(98, None) in listener.events(PulseOximetry))
        chunks = await listener.samples(256)
        twin.person = Person(spo2_percent=None, heart_rate_bpm=None)
        await listener.until(lambda: PulseOximetry(None, None) in listener.events(PulseOximetry))
        await listener.until(lambda: HeartRate(None) in listener.events(HeartRate))
    assert {(chunk.stream, chunk.channels, chunk.unit, chunk.segment) for chunk in chunks} == {("ecg", ("I",), "uV", 1)}
    counts = np.concatenate([chunk.counts for chunk in chunks])
    sent = twin.sent(twin.samples_sent)
    start = next(at for at in range(len(sent)) if np.array_equal(sent[at : at + 100], counts[:100]))
    assert np.array_equal(counts, sent[start : start + len(counts)])


async def test_a_cyton_is_started_streams_twelve_leads_and_is_stopped(tmp_path: Path) -> None:
    twin = CytonTwin(SynthesisedEcg(seed=7))
    async with plugged(tmp_path / "ecg", twin):
        async with attended(tmp_path / "ecg", "openbci_cyton") as listener:
            chunks = await listener.samples(250)
            assert chunks[0].channels == ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
            assert not any((chunk.counts == INVALID_COUNT).any() for chunk in chunks)
            twin.leads_off = frozenset({"V6"})
            await listener.until(
                lambda: any(
                    (state.link, state.sensor, state.leads_off) == (Link.CONNECTED, Sensor.LEAD_OFF, ("V6",))
                    for state in listener.events(DeviceState)
                )
            )
            assert twin.streaming
        async with asyncio.timeout(PATIENCE_S):
            while twin.streaming:  # noqa: ASYNC110  a twin has no event to wait for
                await asyncio.sleep(0.01)

"""Looking for devices: by itself while somebody looks, one after the other, and never at what is not ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SystemClock
from devices.discovery import Candidate, Confidence
from devices.driver import full_uuid
from devices.identify import Answer, NothingAnswered
from devices.serial_ports import Places
from devices.session import DeviceSettings
from devices.simulators.contec_cms50 import Cms50Twin
from devices.simulators.gnss import GnssTwin
from devices.simulators.gpsd_gnss import GpsdTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.tcp_port import TcpPort
from vehicle.announce import NetworkDevice
from vehicle.finder import CandidateGone, Finder, Found

CLOCK = SystemClock()
WITHIN_S = 30.0
NO_GPSD = 1
"""Port 1 (tcpmux) of this machine: nobody listens."""


@dataclass(frozen=True)
class Said:
    address: str
    name: str
    services: tuple[str, ...]


class Air:
    """A radio: what it hears is said by the test."""

    def __init__(self, fault: str | None = None) -> None:
        self.fault = fault
        self.tell: Callable[[Any], None] | None = None

    @contextlib.contextmanager
    def overheard(self, tell: Callable[[Any], None]) -> Iterator[None]:
        self.tell = tell
        yield
        self.tell = None


class Bench:
    """A finder that runs, with everything it asks for in the hands of the test."""

    def __init__(self, folder: Path, **other: Any) -> None:
        self.ports = folder / "ports"
        self.ports.mkdir()
        self.devices: list[DeviceSettings] = []
        self.network: dict[str, NetworkDevice] = {}
        self.air = Air()
        self.asked: list[str] = []
        self.news = asyncio.Event()
        settings: dict[str, Any] = {"gpsd_port": NO_GPSD} | other
        radio: Callable[[], Any] = lambda: self.air  # noqa: E731
        places = Places(self.ports, ())
        self.finder = Finder(self.devices, CLOCK, radio, self.network, self.news.set, places, **settings)

    def plug(self, label: str) -> PtyPort:
        port = PtyPort(self.ports / label, Cms50Twin(), CLOCK)
        port.attach()
        return port

    async def until(self, wanted: Callable[[list[Found]], bool]) -> list[Found]:
        """The page asks again and again, as it does while it is open."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                self.news.clear()
                self.finder.look()
                found = [one for one in self.finder.found() if one.candidate.evidence and _labelled(one)]
                if wanted(found):
                    return found
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self.news.wait()


def _labelled(found: Found) -> bool:
    """The ports of the test, not those of the machine that it runs on."""
    return found.candidate.transport != "serial" or any(one.kind == "label" for one in found.candidate.evidence)


@contextlib.asynccontextmanager
async def bench(folder: Path, **other: Any) -> AsyncIterator[Bench]:
    made = Bench(folder, **other)
    running = asyncio.create_task(made.finder.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_plugged_in_appears_and_is_known_by_its_own_frames(tmp_path: Path) -> None:
    async with bench(tmp_path) as table:
        await table.until(lambda found: not found)
        port = table.plug("contec_cms50_v7")
        (found,) = await table.until(lambda found: bool(found) and found[0].candidate.confidence.name == "IDENTIFIED")
        assert found.candidate.drivers == ("contec_cms50_v7",)
        assert table.finder.candidate(found.candidate.key) == found.candidate
        port.detach()
        await table.until(lambda found: not found)
        with pytest.raises(CandidateGone):
            table.finder.candidate(found.candidate.key)


async def test_nothing_is_asked_while_nobody_looks(tmp_path: Path) -> None:
    async def ask(candidate: Candidate, clock: Any, drivers: Any) -> Answer:
        raise AssertionError("asked")

    async with bench(tmp_path, ask=ask) as table:
        port = table.plug("oximeter")
        async with asyncio.timeout(WITHIN_S):
            while not any(_labelled(one) for one in table.finder.found()):
                await table.news.wait()
                table.news.clear()
        assert len(table.finder.fresh()) == 1
        assert not table.finder.looking
        port.detach()


async def test_a_port_with_an_unknown_label_is_asked_only_as_what_a_person_says(tmp_path: Path) -> None:
    async with bench(tmp_path) as table:
        port = table.plug("kettle")
        (found,) = await table.until(bool)
        assert (found.candidate.ours, found.candidate.confidence) == (False, Confidence.UNKNOWN)
        assert table.finder.fresh() == []
        with pytest.raises(NothingAnswered):
            await table.finder.try_as(found.candidate.key, "sam_id_card")
        (refused,) = await table.until(lambda found: bool(found) and found[0].fault is not None)
        assert refused.fault == "nothing_answered"
        known = await table.finder.try_as(found.candidate.key, "contec_cms50_v7")
        assert known.confidence is Confidence.IDENTIFIED
        port.detach()


async def test_a_device_of_the_van_is_no_candidate_and_its_port_is_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as table:
        port = table.plug("oximeter")
        path = str(port.path)
        table.devices.append(DeviceSettings(name="o-1", driver="contec_cms50_v7", link="serial", port=path))
        other = table.plug("kettle")
        (found,) = await table.until(bool)
        assert found.candidate.address.endswith("kettle")
        port.detach()
        other.detach()


async def test_what_is_on_the_air_appears_and_strangers_do_not(tmp_path: Path) -> None:
    async with bench(tmp_path) as table:
        await table.until(lambda found: table.air.tell is not None)
        assert table.air.tell is not None
        for said in (
            Said("AA:00", "TV", (full_uuid("FEAA"),)),
            Said("AA:01", "UA-651BLE", (full_uuid("1810"),)),
            Said("AA:01", "UA-651BLE", (full_uuid("1810"),)),
        ):
            table.air.tell(said)
        (found,) = await table.until(bool)
        assert found.candidate.drivers == ("bluetooth_blood_pressure",)


async def test_a_radio_that_is_off_is_said_so(tmp_path: Path) -> None:
    async with bench(tmp_path) as table:
        table.air.fault = "bluetooth_off"
        await table.until(lambda found: table.finder.radio_fault == "bluetooth_off")


async def test_gpsd_on_this_machine_and_one_that_announces_itself(tmp_path: Path) -> None:
    twin = TcpPort(GpsdTwin(CLOCK, GnssTwin(CLOCK, 32.36, 106.82)), CLOCK)
    port = await twin.open()
    async with bench(tmp_path, gpsd_port=port) as table:
        table.network["a"] = NetworkDevice("other van", "gpsd", "127.0.0.9", port)
        table.network["b"] = NetworkDevice("room", "camera", "127.0.0.8", 554)
        found = await table.until(
            lambda found: {one.candidate.address for one in found} == {f"127.0.0.1:{port}", f"127.0.0.9:{port}"}
        )
        assert {one.candidate.transport for one in found} == {"tcp"}
        await table.until(lambda found: any(one.candidate.identity is not None for one in found))
    await twin.close()

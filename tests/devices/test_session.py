"""Sessions over real ptys: plugging and pulling at any time, spoiled bytes, silence, and nothing left open."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from devices.clock import SystemClock
from devices.driver import SerialLine, Write
from devices.errors import LinkLost
from devices.links import serial_link
from devices.links.serial_link import PortAbsent, PortBusy, PortRefused, SerialLink
from devices.readings import DeviceState, Link, Position, PulseOximetry, Samples, Sensor, Stamped
from devices.session import DeviceSettings, open_sessions
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.gnss import GnssTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.twin import Twin

LIMIT_S = 20.0
CLOCK = SystemClock()


class Listener:
    """Collects what a session publishes, and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: list[Stamped] = []
        self._more = asyncio.Event()

    def publish(self, stamped: Stamped) -> None:
        self.heard.append(stamped)
        self._more.set()

    async def until(self, told: Callable[[Stamped], bool], after: int = 0) -> Stamped:
        """The first event from number ``after`` on of which ``told`` is true."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                self._more.clear()
                for stamped in self.heard[after:]:
                    if told(stamped):
                        return stamped
                await self._more.wait()

    async def link(self, link: Link, after: int = 0) -> DeviceState:
        def told(stamped: Stamped) -> bool:
            return isinstance(stamped.event, DeviceState) and stamped.event.link is link

        event = (await self.until(told, after)).event
        assert isinstance(event, DeviceState)
        return event

    async def ecg(self, after: int = 0) -> Samples:
        event = (await self.until(lambda stamped: isinstance(stamped.event, Samples), after)).event
        assert isinstance(event, Samples)
        return event

    def samples(self) -> list[Samples]:
        return [stamped.event for stamped in self.heard if isinstance(stamped.event, Samples)]


@asynccontextmanager
async def attended(port: Path, driver: str = "contec_8000g") -> AsyncIterator[Listener]:
    """A running session; cancelled and awaited at the end."""
    listener = Listener()
    settings = DeviceSettings(name="bench-1", driver=driver, link="serial", port=str(port))
    (session,) = open_sessions([settings], listener.publish, CLOCK, hub=None)
    running = asyncio.create_task(session.run())
    try:
        yield listener
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def plugged(path: Path, twin: Twin) -> AsyncIterator[PtyPort]:
    port = PtyPort(path, twin, CLOCK)
    port.attach()
    try:
        yield port
    finally:
        port.detach()


def ecg_twin() -> ContecEcgTwin:
    return ContecEcgTwin(SynthesisedEcg(seed=7))


async def happens(condition: Callable[[], bool]) -> None:
    """Twins have no events of their own to wait for."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_the_very_samples_arrive_in_chunks_of_50_ms(tmp_path: Path) -> None:
    twin = ecg_twin()
    async with plugged(tmp_path / "ecg", twin), attended(tmp_path / "ecg") as listener:
        await listener.until(lambda stamped: isinstance(stamped.event, Samples) and stamped.event.first_index >= 1000)
        chunks = listener.samples()
    counts = np.concatenate([chunk.counts for chunk in chunks])
    sent = twin.sent(twin.samples_sent)
    assert np.array_equal(counts, sent[: len(counts)])
    assert max(len(chunk.counts) for chunk in chunks) == 25
    assert {chunk.segment for chunk in chunks} == {1}


async def test_a_port_that_is_not_there_yet_is_found_when_it_comes(tmp_path: Path) -> None:
    async with attended(tmp_path / "ecg") as listener:
        assert (await listener.link(Link.ABSENT)).fault is None
        async with plugged(tmp_path / "ecg", ecg_twin()):
            await listener.ecg()


async def test_unplugged_and_plugged_again_is_a_new_segment_from_zero(tmp_path: Path) -> None:
    async with plugged(tmp_path / "ecg", ecg_twin()) as port, attended(tmp_path / "ecg") as listener:
        mark = 0
        for segment in (1, 2, 3):
            first = await listener.ecg(mark)
            assert (first.segment, first.first_index) == (segment, 0)
            port.detach()
            lost = await listener.link(Link.LOST, mark)
            assert lost.sensor is Sensor.UNKNOWN
            await listener.link(Link.ABSENT, mark)
            mark = len(listener.heard)
            port.attach()


async def test_pulled_at_any_moment_it_comes_back_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with plugged(tmp_path / "ecg", ecg_twin()) as port:
        async with attended(tmp_path / "ecg") as listener:
            await listener.ecg()
        gc.collect()  # what earlier tests left to it
        before = open_descriptors()
        for pause_s in (0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.35):
            async with attended(tmp_path / "ecg") as listener:
                await asyncio.sleep(pause_s)
                port.detach()
                await asyncio.sleep(pause_s)
                port.attach()
                await listener.ecg(len(listener.heard))
        await happens(lambda: open_descriptors() <= before)


async def test_spoiled_bytes_are_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    class Spoiling(ContecEcgTwin):
        def advance(self, elapsed_s: float) -> bytes:
            sent = super().advance(elapsed_s)
            return sent[:70] + b"\xff\x00" + sent[75:] if sent else sent

    async with plugged(tmp_path / "ecg", Spoiling(SynthesisedEcg())), attended(tmp_path / "ecg") as listener:
        await listener.until(lambda stamped: isinstance(stamped.event, Samples) and stamped.event.first_index >= 500)
        mark = len(listener.heard)
        state = await listener.link(Link.CONNECTED, mark)
    assert state.counters["gaps"] > 5
    assert state.counters["dropped_bytes"] > 5
    assert {chunk.segment for chunk in listener.samples()} == {1}


async def test_the_state_is_told_every_two_seconds(tmp_path: Path) -> None:
    async with plugged(tmp_path / "ecg", ecg_twin()), attended(tmp_path / "ecg") as listener:
        await listener.ecg()
        settled = await listener.until(
            lambda stamped: isinstance(stamped.event, DeviceState) and stamped.event.sensor is Sensor.OK
        )
        mark = len(listener.heard)
        again = await listener.until(lambda stamped: isinstance(stamped.event, DeviceState), mark)
    assert 1.5 < again.received_mono_s - settled.received_mono_s < 6.0


async def test_a_device_that_says_nothing_is_lost_with_its_reason(tmp_path: Path) -> None:
    class Mute(ContecEcgTwin):
        def receive(self, chunk: bytes) -> bytes:
            return b""

    async with plugged(tmp_path / "ecg", Mute(SynthesisedEcg())), attended(tmp_path / "ecg") as listener:
        assert (await listener.link(Link.LOST)).fault == "device_silent"


async def test_another_device_on_the_port_is_lost_with_its_reason(tmp_path: Path) -> None:
    twin = GnssTwin(CLOCK, 32.36, 106.82)
    async with plugged(tmp_path / "ecg", twin), attended(tmp_path / "ecg") as listener:
        assert (await listener.link(Link.LOST)).fault == "device_unreadable"


async def test_falling_silent_while_measuring_takes_the_number_back(tmp_path: Path) -> None:
    twin = Cms50Twin()
    twin.put_finger(Finger(spo2_percent=91, pulse_bpm=66))
    async with plugged(tmp_path / "oximeter", twin) as port, attended(tmp_path / "oximeter", "contec_cms50_v7") as told:
        await told.until(lambda stamped: stamped.event == PulseOximetry(91, 66, 3.5))
        port.detach()
        withdrawn = PulseOximetry(spo2_percent=None, pulse_bpm=None)
        await told.until(lambda stamped: stamped.event == withdrawn)


async def test_a_pulled_receiver_leaves_no_position_behind(tmp_path: Path) -> None:
    twin = GnssTwin(CLOCK, 32.36, 106.82)
    async with plugged(tmp_path / "gnss", twin) as port, attended(tmp_path / "gnss", "nmea_gnss") as told:
        fix = await told.until(lambda stamped: isinstance(stamped.event, Position))
        assert isinstance(fix.event, Position)
        assert fix.event.latitude_deg == pytest.approx(32.36, abs=2e-4)
        port.detach()
        await told.until(lambda stamped: stamped.event == Position(None, None, None, 0))


async def test_ending_a_session_stops_the_stream_and_frees_the_port(tmp_path: Path) -> None:
    twin = ecg_twin()
    async with plugged(tmp_path / "ecg", twin):
        async with attended(tmp_path / "ecg") as listener:
            await listener.link(Link.CONNECTED)
            assert twin.streaming
        await happens(lambda: not twin.streaming)
        link = SerialLink(str(tmp_path / "ecg"))
        await link.open(SerialLine(230400))
        await link.close()


async def test_a_program_that_died_leaves_no_old_samples_to_the_next(tmp_path: Path) -> None:
    """The stream was never stopped; what came meanwhile is lost, and the new stream starts from zero."""
    twin = ecg_twin()
    async with plugged(tmp_path / "ecg", twin):
        died = SerialLink(str(tmp_path / "ecg"))
        await died.open(SerialLine(230400))
        await died.write(Write(b"\x90\x00\x90\x05"))
        await died.receive()
        await died.close()
        await happens(lambda: twin.samples_sent > 300)
        async with attended(tmp_path / "ecg") as listener:
            await listener.until(lambda stamped: isinstance(stamped.event, Samples) and stamped.event.first_index > 500)
            chunks = listener.samples()
        newest = [chunk for chunk in chunks if chunk.segment == chunks[-1].segment]
        before = sum(len(chunk.counts) for chunk in chunks if chunk.segment != chunks[-1].segment)
        counts = np.concatenate([chunk.counts for chunk in newest])
        assert newest[0].first_index == 0
        assert np.array_equal(counts, twin.sent(twin.samples_sent)[: len(counts)])
        assert before < 250


async def test_a_port_held_by_another_program_is_told_as_busy(tmp_path: Path) -> None:
    async with plugged(tmp_path / "ecg", ecg_twin()):
        holder = SerialLink(str(tmp_path / "ecg"))
        await holder.open(SerialLine(230400))
        with pytest.raises(PortBusy):
            await SerialLink(str(tmp_path / "ecg")).open(SerialLine(230400))
        async with attended(tmp_path / "ecg") as listener:
            told = await listener.until(lambda stamped: getattr(stamped.event, "fault", None) == "port_busy")
            assert isinstance(told.event, DeviceState)
            assert told.event.link is Link.ABSENT
            await holder.close()
            await listener.ecg()


async def test_no_port_and_no_serial_port_are_told_apart(tmp_path: Path) -> None:
    link = SerialLink(str(tmp_path / "nothing"))
    with pytest.raises(PortAbsent):
        await link.open(SerialLine(9600))
    assert link.fault is None
    (tmp_path / "text").write_text("no port")
    link = SerialLink(str(tmp_path / "text"))
    with pytest.raises(PortRefused):
        await link.open(SerialLine(9600))
    assert link.fault == "port_refused"
    await link.close()


async def test_a_closed_link_says_so() -> None:
    link = SerialLink("/dev/null")
    with pytest.raises(LinkLost):
        await link.receive()
    with pytest.raises(LinkLost):
        await link.write(Write(b"\x90\x00"))


async def test_parity_and_modem_lines_are_no_trouble_on_a_pty(tmp_path: Path) -> None:
    async with plugged(tmp_path / "ecg", ecg_twin()):
        link = SerialLink(str(tmp_path / "ecg"))
        await link.open(SerialLine(19200, parity="O", dtr=True, rts=True))
        await link.close()


async def test_what_nobody_takes_is_dropped_from_the_oldest_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serial_link, "MAX_BUFFERED_BYTES", 1000)
    caplog.set_level("INFO", logger="xunzhen")
    twin = ecg_twin()
    async with plugged(tmp_path / "ecg", twin):
        link = SerialLink(str(tmp_path / "ecg"))
        await link.open(SerialLine(230400))
        await link.write(Write(b"\x90\x00\x90\x05"))
        opened = link._open
        assert opened is not None
        await happens(lambda: opened._dropped > 0)  # sent is not read yet: the reader thread may be late
        _, chunk = await link.receive()
        await link.close()
    assert len(chunk) == 1000
    assert "frames_dropped" in caplog.text


def test_settings_refuse_what_cannot_work() -> None:
    with pytest.raises(ValidationError, match="port"):
        DeviceSettings(name="ecg-1", driver="contec_8000g", link="serial")
    with pytest.raises(ValidationError, match="prot"):
        DeviceSettings.model_validate({"name": "ecg-1", "driver": "contec_8000g", "link": "serial", "prot": "/dev/x"})
    with pytest.raises(ValidationError, match="name"):
        DeviceSettings(name="Patient 王", driver="contec_8000g", link="serial", port="/dev/x")
    with pytest.raises(ValidationError, match='needs link = "bluetooth"'):
        DeviceSettings(name="cuff-1", driver="bluetooth_blood_pressure", link="serial", port="/dev/x")
    with pytest.raises(ValidationError, match='needs link = "serial"'):
        DeviceSettings(name="ecg-1", driver="contec_8000g", link="bluetooth")


def test_without_bluetooth_its_devices_are_left_out() -> None:
    devices = [
        DeviceSettings(name="cuff-1", driver="bluetooth_blood_pressure", link="bluetooth"),
        DeviceSettings(name="gnss-1", driver="nmea_gnss", link="serial", port="/dev/x"),
    ]
    sessions = open_sessions(devices, lambda stamped: None, CLOCK, hub=None)
    assert [session.settings.name for session in sessions] == ["gnss-1"]

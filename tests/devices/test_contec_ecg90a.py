"""The ECG90A live: known by its answer only, the very counts, and the reports of a HID device as a link."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.__main__ import main as bench_tool
from devices.capture import settled
from devices.clock import SystemClock
from devices.driver import SerialLine, Write
from devices.drivers import contec_ecg90a as wire
from devices.errors import LinkLost
from devices.links.hid_link import MAX_BUFFERED_REPORTS, HidLink
from devices.links.serial_link import PortAbsent, PortBusy, PortRefused
from devices.readings import INVALID_COUNT, DeviceState, Event, Link, Samples, Sensor, Stamped
from devices.session import DeviceSession, DeviceSettings
from devices.simulators.contec_ecg90a import Ecg90aTwin, report
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.hid_port import HidPort

LIMIT_S = 30.0
IDENTITY = report(b"\x82\x64\x00ECG90A")


def twin(name: bytes = wire.NAME) -> Ecg90aTwin:
    return Ecg90aTwin(SynthesisedEcg(seed=9), name)


def reports(stream: bytes) -> list[bytes]:
    return [stream[at : at + wire.REPORT_BYTES] for at in range(0, len(stream), wire.REPORT_BYTES)]


def streamed(seconds: float, made: Ecg90aTwin | None = None) -> tuple[list[bytes], Any]:
    made = made or twin()
    for command in (wire.READY_1, wire.READY_2, wire.START):
        made.receive(command)
    return reports(made.advance(seconds)), made.sent(int(seconds * 800))


def identified() -> wire.Driver:
    driver = wire.Driver()
    driver.open()
    driver.feed(IDENTITY)
    return driver


def counts_of(events: list[Event]) -> Any:
    return np.concatenate([event.counts for event in events if isinstance(event, Samples)])


def states(events: list[Event]) -> list[DeviceState]:
    return [event for event in events if isinstance(event, DeviceState)]


def test_the_layout_low_nibble_first() -> None:
    """By hand: II = 0x912 and III = 0x834 in one group, all other leads at mid-scale."""
    scan = bytes.fromhex("891234" + "880000" * 3)
    counts, _ = wire.samples_of([report(bytes((wire.SCANS,)) + scan * 5)])
    ii, iii = 0x912 - 2048, 0x834 - 2048
    assert counts.tolist() == [[ii - iii, ii, 0, 0, 0, 0, 0, 0]] * 5


def test_the_very_counts_come_back_in_chunks_of_50_ms() -> None:
    stream, sent = streamed(2.0)
    driver = identified()
    events = [event for one in stream for event in driver.feed(one).events]
    assert np.array_equal(counts_of(events), sent)
    chunks = [event for event in events if isinstance(event, Samples)]
    assert [chunk.first_index for chunk in chunks] == list(range(0, 1600, 40))


def test_an_electrode_that_is_off_takes_what_follows_from_it() -> None:
    made = twin()
    made.leads_off = frozenset({"II", "V5"})
    stream, sent = streamed(1.0, made)
    driver = identified()
    events = [event for one in stream for event in driver.feed(one).events]
    assert np.array_equal(counts_of(events), sent)
    assert (sent[:, [0, 1, 6]] == INVALID_COUNT).all()
    assert [(state.sensor, state.leads_off) for state in states(events)] == [(Sensor.LEAD_OFF, ("I", "II", "V5"))]


def test_nothing_but_the_question_is_sent_before_it_said_who_it_is() -> None:
    driver = wire.Driver()
    sent = [write.payload for write in driver.open().writes]
    stream, _ = streamed(0.5)
    for one in stream:  # still streaming from before
        assert driver.feed(one).events == []
    sent += [write.payload for _ in range(40) for write in driver.tick(0.1).writes]
    assert set(sent) == {wire.ASK, wire.STOP}
    assert driver.counters.frames == 0
    started = [write.payload for write in driver.feed(IDENTITY).writes]
    assert started == [wire.STOP, wire.READY_1, wire.READY_2, wire.START]


def test_another_device_of_the_same_usb_numbers_is_never_started() -> None:
    driver = wire.Driver()
    driver.open()
    output = driver.feed(report(b"\x82\x64\x00ABPM50"))
    assert output.writes == []
    assert [state.fault for state in states(output.events)] == ["ecg_device_is_another"]
    assert driver.feed(report(b"\x82\x64\x00ABPM50")).events == []


def test_a_device_that_is_not_ready_says_so_and_is_well_again_with_the_stream() -> None:
    driver = identified()
    assert [state.fault for state in states(driver.feed(report(b"\xff\x06")).events)] == ["ecg_device_not_ready"]
    stream, _ = streamed(1.0)
    after = [event for one in stream for event in driver.feed(one).events]
    assert [(state.sensor, state.fault) for state in states(after)] == [(Sensor.OK, None)]


def test_reports_missing_against_the_clock_begin_a_new_segment() -> None:
    stream, _ = streamed(9.0)
    driver = identified()
    events: list[Event] = []
    for second in range(9):
        if second != 5:
            events += [event for one in stream[second * 160 : (second + 1) * 160] for event in driver.feed(one).events]
        events += driver.tick(1.0).events
    events += settled(driver)
    assert len({event.segment for event in events if isinstance(event, Samples)}) == 2
    assert driver.counters.gaps == 1


@pytest.mark.parametrize("spoiled", [b"", b"\xe0", b"\xe0" * 63, b"\xe0" * 65, b"\x82" * 8])
def test_a_report_of_another_length_is_dropped(spoiled: bytes) -> None:
    driver = identified()
    assert driver.feed(spoiled).events == []
    assert driver.counters.dropped_bytes == len(spoiled)


# the link


@asynccontextmanager
async def plugged(made: Ecg90aTwin | None = None) -> AsyncIterator[HidPort]:
    port = HidPort(made or twin(), SystemClock())
    port.attach()
    try:
        yield port
    finally:
        port.detach()


async def test_the_device_streams_through_a_session_and_comes_back_after_it_was_pulled_out() -> None:
    told: asyncio.Queue[Stamped] = asyncio.Queue()
    settings = DeviceSettings(name="ecg-1", driver="contec_ecg90a", link="hid", port="/dev/xunzhen/ecg")
    async with plugged() as port, asyncio.timeout(LIMIT_S):
        link = HidLink(settings.port, port.open)
        session = DeviceSession(settings, wire.Driver(), link, told.put_nowait, SystemClock())
        running = asyncio.create_task(session.run())
        try:
            for segment in (1, 2):
                first = await next_samples(told)
                assert (first.segment, first.first_index) == (segment, 0)
                assert np.array_equal(first.counts, port.twin.sent(100_000)[: len(first.counts)])  # type: ignore[attr-defined]
                port.detach()
                while not (isinstance(state := (await told.get()).event, DeviceState) and state.link is Link.ABSENT):
                    pass
                port.attach()
        finally:
            running.cancel()
            await asyncio.wait({running})
    assert port.lost_reports == 0


async def next_samples(told: asyncio.Queue[Stamped]) -> Samples:
    while True:
        event = (await told.get()).event
        if isinstance(event, Samples):
            return event


async def test_what_keeps_a_hid_device_from_being_opened_is_told_apart(tmp_path: Any) -> None:
    line = wire.Driver.about.line
    with pytest.raises(PortAbsent):
        await HidLink(str(tmp_path / "none")).open(line)
    (tmp_path / "held").write_bytes(b"")
    first, second = HidLink(str(tmp_path / "held")), HidLink(str(tmp_path / "held"))
    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "add_reader", lambda *_: None)  # a file on the disk cannot be waited for
        patch.setattr(loop, "remove_reader", lambda *_: None)
        await first.open(line)
        with pytest.raises(PortBusy):
            await second.open(line)
        assert second.fault == "port_busy"
        await first.close()
    with pytest.raises(PortRefused):
        await HidLink(str(tmp_path)).open(line)  # a folder
    with pytest.raises(TypeError):
        await HidLink(str(tmp_path / "held")).open(SerialLine(9600))


async def test_reports_that_nobody_takes_are_bounded_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with plugged() as port, asyncio.timeout(LIMIT_S):
        link = HidLink("/dev/xunzhen/ecg", port.open)
        await link.open(wire.Driver.about.line)
        with pytest.raises(TypeError):
            await link.open(SerialLine(9600))
        device = port._device
        assert device is not None
        for number in range(MAX_BUFFERED_REPORTS + 10):
            while True:
                try:
                    device.send(number.to_bytes(4, "big") + bytes(60))
                    break
                except BlockingIOError:
                    await asyncio.sleep(0)
        last = (MAX_BUFFERED_REPORTS + 9).to_bytes(4, "big")
        while not link._reports or link._reports[-1][:4] != last:  # noqa: ASYNC110
            await asyncio.sleep(0)
        with caplog.at_level("INFO"):
            _, oldest = await link.receive()
        assert int.from_bytes(oldest[:4], "big") == 10
        assert "frames_dropped" in caplog.text
        await link.close()
        with pytest.raises(LinkLost):
            await link.receive()
        with pytest.raises(LinkLost):
            await link.write(Write(wire.ASK))


async def test_a_write_is_one_report_filled_with_zeros() -> None:
    made = twin()
    async with plugged(made) as port, asyncio.timeout(LIMIT_S):
        link = HidLink("/dev/xunzhen/ecg", port.open)
        await link.open(wire.Driver.about.line)
        await link.write(Write(b"\x82"))
        assert (await link.receive())[1] == IDENTITY
        assert made.asked == [wire.ASK]
        await link.close()


async def test_a_device_that_takes_nothing_holds_up_no_other() -> None:
    """As hidraw does, whatever O_NONBLOCK says: a report waits until the device has taken the one before."""
    device, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(BlockingIOError):
        while host.send(bytes(64), socket.MSG_DONTWAIT):
            pass
    host.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(LIMIT_S), 0))
    with device:
        async with asyncio.timeout(LIMIT_S / 2):
            link = HidLink("/dev/xunzhen/ecg", lambda path: host.detach())
            await link.open(wire.Driver.about.line)
            writing = asyncio.create_task(link.write(Write(wire.ASK)))
            device.send(bytes(64))
            assert await link.receive() == ("", bytes(64))
            assert not writing.done()
            while not device.recv(4096).startswith(b"\0" + wire.ASK):
                pass
            await writing
            await link.close()


def test_the_bench_tool_reaches_it_by_its_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_tool(["watch", "contec_ecg90a", "--port", str(tmp_path / "none"), "--seconds", "0.2"]) == 0
    states = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {state["link"] for state in states} == {"absent"}

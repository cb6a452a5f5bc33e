"""Captures: written as it happens, read back, replayed as a device; a spoiled file says which line."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from device_captures import CAPTURES, agreed, as_agreed

from devices.capture import CaptureUnreadable, CaptureWriter, Head, RecordingLink, ReplayLink, read_capture
from devices.clock import SimulatedClock
from devices.driver import SerialLine, Write
from devices.drivers.contec_cms50_v7 import Driver
from devices.links.link import SessionEnded
from devices.readings import DeviceState, Event, Link, PulseOximetry, Samples, Stamped
from devices.session import DeviceSession, DeviceSettings

WIRE_LOG = CAPTURES / "contec_cms50_v7" / "wire_log_spo2_97_pulse_65.capture.jsonl"
HEAD = Head(driver="contec_cms50_v7", kind="simulated", device="d", display="97", source="s")


def clock() -> SimulatedClock:
    return SimulatedClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC))


async def test_a_replay_recorded_again_is_the_same_capture(tmp_path: Path) -> None:
    capture, now = read_capture(WIRE_LOG), clock()
    file = io.StringIO()
    link = RecordingLink(ReplayLink(capture, now), CaptureWriter(file, capture.head, now))
    await link.open(SerialLine(115200))
    received = [await link.receive() for _ in capture.received]
    with pytest.raises(SessionEnded):
        await link.receive()
    await link.write(Write(b"\x7d\x81\xa2\x80\x80\x80\x80\x80\x80"))
    await link.close()
    assert received == capture.received
    (tmp_path / "again.capture.jsonl").write_text(file.getvalue(), encoding="utf-8")
    again = read_capture(tmp_path / "again.capture.jsonl")
    assert again.head == capture.head
    assert again.received == capture.received
    assert [step.t for step in again.steps[:-1]] == [step.t for step in capture.steps if step.rx is not None]
    assert again.steps[-1].tx == "7d81a28080808080" + "80"


async def test_a_session_over_a_replay_publishes_the_agreed_readings() -> None:
    heard: list[Event] = []
    over = asyncio.Event()

    def publish(stamped: Stamped) -> None:
        heard.append(stamped.event)
        if isinstance(stamped.event, PulseOximetry):
            over.set()

    now = clock()
    settings = DeviceSettings(name="oximeter-1", driver="contec_cms50_v7", link="serial", port="replay")
    session = DeviceSession(settings, Driver(), ReplayLink(read_capture(WIRE_LOG), now), publish, now)
    running = asyncio.create_task(session.run())
    async with asyncio.timeout(10):
        await over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    readings = [event for event in heard if not isinstance(event, Samples | DeviceState)]
    expected = [event for event in agreed(WIRE_LOG)["events"] if event["type"] == "pulse_oximetry"]
    assert as_agreed(readings[:1], [])["events"] == expected
    assert Link.CONNECTED in {event.link for event in heard if isinstance(event, DeviceState)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("{}\n", "line 1"),
        ('{"format":"xunzhen-capture/2"}\n', "line 1"),
        (HEAD.model_dump_json() + '\n{"t":0,"rx":"0g"}\n', "line 2"),
        (HEAD.model_dump_json() + '\n{"t":0,"rx":"00"}\n{"t":-1,"rx":"00"}\n', "line 3"),
        (HEAD.model_dump_json() + '\n{"t":0,"bytes":"00"}\n', "line 2"),
        (HEAD.model_dump_json() + "\nhello\n", "line 2"),
        (HEAD.model_dump_json().replace("simulated", "probably real") + "\n", "kind"),
    ],
)
def test_a_spoiled_capture_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.capture.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaptureUnreadable, match=says):
        read_capture(path)


def test_a_missing_capture_says_so(tmp_path: Path) -> None:
    with pytest.raises(CaptureUnreadable, match="No such file"):
        read_capture(tmp_path / "nothing.jsonl")

"""The README's essay "Follow one ECG sample" is walked: every Python step named there is entered, in its order."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

from devices.clock import SystemClock
from devices.readings import Samples
from devices.session import DeviceSettings
from devices.simulators.bench import Bench
from devices.simulators.ecg_source import ecg_source
from devices.simulators.gnss import GnssTwin
from devices.wire import unpack_samples
from sync.county.app import create_county
from sync.county.settings import CountySettings
from telemedicine.live_chunks import LiveChunk
from telemedicine.live_data import DataViewer
from vehicle.assembly import assemble
from vehicle.settings import CountySettings as CountyOfVan
from vehicle.settings import PatrolSettings, VehicleIdentity, VehicleSettings

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"^\d+\. `(?P<file>[^`]+\.(?:py|js))` `(?P<name>[^`]+)`", re.M)


def steps() -> list[tuple[str, str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Follow one ECG sample") :]
    return [(step["file"], step["name"]) for step in STEP.finditer(section[: section.index("\n## ", 5)])]


PYTHON_STEPS = [(file, name) for file, name in steps() if file.endswith(".py")]
SCRIPT_STEPS = [(file, name) for file, name in steps() if file.endswith(".js")]


def test_the_essay_has_steps() -> None:
    assert len(PYTHON_STEPS) >= 12
    assert len(SCRIPT_STEPS) >= 2


@pytest.mark.parametrize(("file", "name"), SCRIPT_STEPS)
def test_scripts_of_the_essay_hold_what_it_names(file: str, name: str) -> None:
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / file).read_text(encoding="utf-8"))


FEED = ("vehicle/feed.py", "Feed.publish")
AFTER = {  # where the path forks, the step before is not the line before
    ("vehicle/live.py", "LiveHub._on_samples"): FEED,
    ("telemedicine/live_data.py", "DataViewer.send_frame"): ("devices/wire.py", "pack_samples"),
    ("vehicle/recorder.py", "EcgRecorder.on_samples"): FEED,
    ("sync/delivery/recording_delivery.py", "RecordingDelivery.deliver"): ("sync/record/store.py", "Store.commit"),
}


def before(step: tuple[str, str]) -> tuple[str, str] | None:
    place = PYTHON_STEPS.index(step)
    return AFTER.get(step) or (PYTHON_STEPS[place - 1] if place else None)


@contextmanager
def footprints() -> Iterator[dict[tuple[str, str], None]]:
    """The steps as samples pass them, in all threads: a step counts once the step before it has been passed."""
    passed: dict[tuple[str, str], None] = {}
    wanted = {step: before(step) for step in PYTHON_STEPS}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(ROOT)):
            return
        step = (code.co_filename[len(str(ROOT)) + 1 :], code.co_qualname)
        if step not in wanted or step in passed or not carries_samples(frame):
            return
        if wanted[step] is None or wanted[step] in passed:
            passed[step] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield passed
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def carries_samples(frame: FrameType) -> bool:
    """False for a state or reading on its way through the same functions."""
    travelling = frame.f_locals.get("stamped") or frame.f_locals.get("event")
    return isinstance(getattr(travelling, "event", travelling), Samples | None)


class Channel:
    """Stands where aiortc's data channel would be: takes what is sent."""

    readyState = "open"
    bufferedAmount = 0
    label = "live"
    protocol = ""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def on(self, event: str, listener: Any = None) -> Any:
        return listener or (lambda function: function)


async def test_a_sample_passes_every_python_step_in_the_order_told() -> None:
    with tempfile.TemporaryDirectory(prefix="xz-", dir="/tmp") as scratch, footprints() as passed:
        await asyncio.wait_for(live_one_recording(Path(scratch)), 60)
    assert [step for step in PYTHON_STEPS if step not in passed] == [], "the README names steps that no sample passes"


async def live_one_recording(folder: Path) -> None:
    """A pty, a vehicle and a county: ECG flows, two seconds are recorded and delivered."""
    clock = SystemClock()
    county_settings = CountySettings(name="县", data=folder / "county", origin="county.example")
    app = create_county(county_settings, clock)
    bench = Bench(folder, clock, ecg_source(None), GnssTwin(clock, 31.1, 103.8, None), None)
    bench.plug_all()
    vehicle = assemble(
        VehicleSettings(
            data=folder / "van",
            vehicle=VehicleIdentity(id="van-1", plate="川A·试01", origin="van-1.example", county_name="县"),
            county=CountyOfVan(url="http://county.example", key=str(app.state.county.verifier_key)),
            patrol=PatrolSettings(villages=ROOT / "xunzhen/demo/township.geojson"),
            devices=(DeviceSettings(name="ecg-1", driver="contec_8000g", link="serial", port=str(folder / "ecg")),),
        ),
        clock,
        transport=httpx.ASGITransport(app),
    )
    app.state.county.fleet.enrol("van-1.example", str(vehicle.key.verifier_key()))
    viewer = DataViewer(None)  # type: ignore[arg-type]
    channel = Channel()
    viewer.attach(channel)  # type: ignore[arg-type]
    await vehicle.start()
    try:
        with vehicle.live.subscribe(("ecg",)) as reader:
            async for message in reader:
                if isinstance(message, bytes):
                    device, samples = unpack_samples(message)
                    viewer.send_frame(LiveChunk(device, samples, message, None))
                if len(channel.sent) > 5:
                    break
        recording = await vehicle.ecg.record(2.0, "zhou.min")
        await vehicle.uploader.deliver_now()
        assert app.state.county.blobs is not None
        assert vehicle.store.waiting().entries == 0
        assert recording.duration_ms == 2000
    finally:
        await vehicle.stop()
        bench.unplug_all()
        app.state.county.close()

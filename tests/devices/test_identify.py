"""Identification by the driver's own first frames: bounded, exclusive, and the port is left as it was."""

from __future__ import annotations

import os
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices import catalog
from devices.clock import SystemClock
from devices.discovery import Candidate, Confidence, Port, of_port
from devices.driver import Counters, SerialLine
from devices.identify import NothingAnswered, identify, is_convincing
from devices.links.hid_link import HidLink
from devices.links.serial_link import PortAbsent, PortBusy, SerialLink
from devices.simulators.contec_08a import Contec08aTwin
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.contec_ecg90a import Ecg90aTwin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.gnss import GnssTwin
from devices.simulators.gpsd_gnss import GpsdTwin
from devices.simulators.hid_port import HidPort
from devices.simulators.pty_port import PtyPort
from devices.simulators.sam_card import SamCardTwin
from devices.simulators.tcp_port import TcpPort
from devices.simulators.twin import Twin

CLOCK = SystemClock()
WITHIN_S = 8.0
TWINS: dict[str, Callable[[], Twin]] = {
    "contec_8000g": lambda: ContecEcgTwin(SynthesisedEcg(heart_rate_bpm=75, seed=1)),
    "contec_cms50_v7": Cms50Twin,
    "sam_id_card": SamCardTwin,
    "nmea_gnss": lambda: GnssTwin(CLOCK, 32.36, 106.82),
}


class Plugged:
    """A twin on a pty; ``asked`` is what a program has sent to it."""

    def __init__(self, folder: Path, twin: Twin) -> None:
        self.asked = b""
        self._receive = twin.receive
        twin.receive = self._keep  # type: ignore[method-assign]
        self.port = PtyPort(folder / "port", twin, CLOCK)
        self.port.attach()
        self.candidate = of_port(Port(str(self.port.path), os.path.realpath(self.port.path)))

    def _keep(self, chunk: bytes) -> bytes:
        self.asked += chunk
        return self._receive(chunk)


@pytest.fixture
def plug(tmp_path: Path) -> Any:
    ports: list[PtyPort] = []

    def put_in(twin: Twin) -> Plugged:
        plugged = Plugged(tmp_path, twin)
        ports.append(plugged.port)
        return plugged

    yield put_in
    for port in ports:
        port.detach()


@pytest.mark.parametrize("driver", sorted(TWINS))
async def test_each_device_is_known_by_its_first_frames(driver: str, plug: Any) -> None:
    plugged = plug(TWINS[driver]())
    answer = await identify(plugged.candidate, CLOCK, (driver,), WITHIN_S)
    assert answer.driver == driver
    assert answer.counters["frames"] >= 4
    told = answer.told(plugged.candidate)
    assert told.confidence is Confidence.IDENTIFIED
    (frames,) = [one.text for one in told.evidence if one.kind == "frames"]
    assert answer.first_bytes.hex(" ").upper() in frames
    assert len(answer.first_bytes) >= 4


@pytest.mark.parametrize("driver", ["contec_8000g", "contec_cms50_v7"])
async def test_behind_equal_adapters_the_right_one_of_two_drivers_answers(driver: str, plug: Any) -> None:
    plugged = plug(TWINS[driver]())
    candidate = of_port(Port(str(plugged.port.path), "/dev/ttyUSB0", "10c4:ea60"))
    answer = await identify(candidate, CLOCK, ("contec_8000g", "contec_cms50_v7"), WITHIN_S)
    assert answer.driver == driver


@pytest.mark.parametrize(
    ("driver", "twin"),
    [("contec_ecg90a", Ecg90aTwin(SynthesisedEcg(heart_rate_bpm=75, seed=1))), ("contec_08a", Contec08aTwin())],
    ids=["contec_ecg90a", "contec_08a"],
)
async def test_two_hid_devices_with_the_same_numbers_are_told_apart(driver: str, twin: Twin) -> None:
    port = HidPort(twin, CLOCK)
    port.attach()
    candidate = of_port(Port("/dev/hidraw0", "/dev/hidraw0", "0483:5750", transport="hid"))
    assert len(candidate.drivers) == 2
    answer = await identify(candidate, CLOCK, open_link=lambda one: HidLink(one.address, port.open))
    assert answer.driver == driver
    port.detach()


async def test_only_allowed_writes_are_sent_and_the_stream_is_stopped(plug: Any) -> None:
    twin = Cms50Twin()
    twin.put_finger(Finger())
    plugged = plug(twin)
    await identify(plugged.candidate, CLOCK, ("contec_cms50_v7",), WITHIN_S)
    allowed = catalog.driver("contec_cms50_v7")().allowed_writes
    commands = [plugged.asked[at : at + 9] for at in range(0, len(plugged.asked), 9)]
    assert commands
    assert all(command.startswith(allowed) for command in commands)


async def test_a_port_that_is_not_ours_is_not_even_opened() -> None:
    def opened(candidate: Candidate) -> Any:
        raise AssertionError("opened")

    stranger = of_port(Port("/dev/ttyS0", "/dev/ttyS0"))
    with pytest.raises(NothingAnswered, match="nothing was sent"):
        await identify(stranger, CLOCK, open_link=opened)


async def test_a_silent_port_is_given_up_in_time_and_said_so(plug: Any) -> None:
    class Deaf(Cms50Twin):
        def receive(self, chunk: bytes) -> bytes:
            return b""

        def advance(self, elapsed_s: float) -> bytes:
            return b""

    with pytest.raises(NothingAnswered, match="contec_cms50_v7"):
        await identify(plug(Deaf()).candidate, CLOCK, ("contec_cms50_v7",), within_s=0.5)


async def test_another_device_does_not_convince(plug: Any) -> None:
    with pytest.raises(NothingAnswered):
        await identify(plug(TWINS["nmea_gnss"]()).candidate, CLOCK, ("contec_cms50_v7",), within_s=2.0)


async def test_a_port_that_another_program_holds_stays_its_own(plug: Any) -> None:
    plugged = plug(TWINS["contec_cms50_v7"]())
    holder = SerialLink(str(plugged.port.path))
    await holder.open(SerialLine(115200))
    with pytest.raises(PortBusy):
        await identify(plugged.candidate, CLOCK, ("contec_cms50_v7",))
    await holder.close()


async def test_a_port_that_is_gone_says_so() -> None:
    with pytest.raises(PortAbsent):
        await identify(Candidate("serial", "/dev/nowhere"), CLOCK, ("nmea_gnss",))


async def test_the_line_settings_are_put_back_and_no_descriptor_is_left(plug: Any) -> None:
    plugged = plug(TWINS["contec_cms50_v7"]())
    held = os.open(plugged.port.path, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(held)
    descriptors = len(os.listdir("/proc/self/fd"))
    await identify(plugged.candidate, CLOCK, ("contec_cms50_v7",), WITHIN_S)
    assert termios.tcgetattr(held) == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    os.close(held)


async def test_an_oximeter_that_tells_its_model_is_waited_for(plug: Any) -> None:
    """The reply of the public wire log, "50D(A)+"."""
    answer = await identify(plug(Cms50Twin()).candidate, CLOCK, ("contec_cms50_v7",), WITHIN_S)
    assert answer.identity is not None
    assert answer.identity.told() == {"vendor": "Contec", "model": "50D(A)+"}


async def test_gpsd_is_known_by_its_greeting() -> None:
    twin = TcpPort(GpsdTwin(CLOCK, GnssTwin(CLOCK, 32.36, 106.82)), CLOCK)
    port = await twin.open()
    answer = await identify(Candidate("tcp", f"127.0.0.1:{port}"), CLOCK, ("gpsd_gnss",), WITHIN_S)
    await twin.close()
    assert answer.identity is not None
    assert answer.identity.firmware == "3.22"
    assert ("said", "gpsd NMEA0183 3.22") in [(one.kind, one.text) for one in answer.evidence()]


@pytest.mark.parametrize(
    ("counters", "convincing"),
    [
        (Counters(frames=4), True),
        (Counters(frames=3), False),
        (Counters(frames=40, bad_checksums=6, resyncs=5), False),
        (Counters(frames=40, resyncs=9), True),
    ],
    ids=["enough", "too few", "too much spoiled", "some spoiled"],
)
def test_what_convinces(counters: Counters, convincing: bool) -> None:
    assert is_convincing(counters) is convincing

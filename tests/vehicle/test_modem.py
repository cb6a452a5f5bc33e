"""The modem through ModemManager on a real D-Bus daemon, and what the van makes of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.readings import Cellular, Position, ServingCell, Stamped
from devices.simulators.at_modem import Scene
from devices.simulators.modem_manager import VirtualModemManager
from devices.simulators.private_bus import PrivateBus
from tests.vehicle.conftest import MORNING, NEAR
from vehicle.commits import Commits
from vehicle.link.modem import FRESH_FOR_S, Modem
from vehicle.link.modem_manager import Away, ModemManager
from vehicle.link.modem_manager_properties import LOCATION, MODEM, MODEM_3GPP, SIGNAL, cellular_of
from vehicle.patrol.position import Beside, Patrol

needs_bus = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="skipped: no dbus-daemon")
STAND_ALONE = Scene().cells[0]
ANCHOR = ServingCell("lte", "460", "01", "DE10", "5F1EA15", 12, 1650, None, None, None, -100.0, -12.0, 2.0)
BESIDE = ServingCell("nr", "460", "01", None, None, 747, 627264, None, None, None, -71.0, -11.0, 33.0)


@pytest.fixture
async def bus() -> AsyncIterator[PrivateBus]:
    with tempfile.TemporaryDirectory() as folder:
        own = PrivateBus(Path(folder))
        await own.start()
        yield own
        await own.kill()


@pytest.fixture
async def manager(bus: PrivateBus) -> AsyncIterator[VirtualModemManager]:
    virtual = VirtualModemManager(bus.address)
    await virtual.appear()
    yield virtual
    await virtual.vanish()


class Listener:
    def __init__(self, address: str) -> None:
        self.heard: list[Cellular] = []
        self.clock = SimulatedClock(MORNING)
        self.watch = ModemManager(self._hear, self.clock, address)

    def _hear(self, stamped: Stamped) -> None:
        assert isinstance(stamped.event, Cellular)
        assert (stamped.device, stamped.driver) == ("modem", "modem_manager")
        self.heard.append(stamped.event)


@needs_bus
async def test_a_stand_alone_cell_on_a_real_bus(manager: VirtualModemManager, bus: PrivateBus) -> None:
    listener = Listener(bus.address)
    await listener.watch.look()
    manager.tell()
    (said,) = listener.heard
    assert (said.sim, said.registration, said.technology, said.operator) == ("ready", "home", "nr_sa", "CHN-CT")
    (cell,) = said.cells
    assert cell.identity == "460-11-690E0F-19013B004"
    assert (cell.pci, cell.arfcn, cell.rsrp_dbm, cell.rsrq_db, cell.sinr_db) == (299, 633984, -107.0, -13.0, 2.0)
    assert ("Signal.Setup", [10]) in manager.calls
    assert ("Location.Setup", [1, False]) in manager.calls
    await listener.watch.look()
    assert [name for name, _ in manager.calls].count("Signal.Setup") == 1


@needs_bus
async def test_an_anchor_with_nr_beside_it(manager: VirtualModemManager, bus: PrivateBus) -> None:
    manager.scene = Scene(cells=(ANCHOR, BESIDE))
    manager.tell()
    listener = Listener(bus.address)
    await listener.watch.look()
    (said,) = listener.heard
    assert (said.technology, said.carriers) == ("nr_nsa", 2)
    assert [cell.identity for cell in said.cells] == ["460-01-DE10-5F1EA15", None]
    assert [cell.rsrp_dbm for cell in said.cells] == [-100.0, -71.0]


@needs_bus
async def test_an_old_or_strict_modem_manager_still_tells_the_cell(
    manager: VirtualModemManager, bus: PrivateBus
) -> None:
    """Without GetCellInfo the location has the identity, and Signal the strength."""
    manager.refused = {"GetCellInfo", "Signal.Setup"}
    listener = Listener(bus.address)
    await listener.watch.look()
    await listener.watch.look()
    assert listener.heard[-1].cells[0].identity == "460-11-690E0F-19013B004"
    assert listener.heard[-1].cells[0].rsrp_dbm == -107.0
    manager.refused |= {"GetLocation"}
    await listener.watch.look()
    assert listener.heard[-1].cells == ()
    assert listener.heard[-1].technology == "nr_sa"


@needs_bus
@pytest.mark.parametrize(
    ("scene", "sim", "registration"),
    [
        (Scene(sim="", registration=4, cells=()), "absent", "unknown"),
        (Scene(sim="SIM PIN", registration=0, cells=()), "pin", "none"),
        (Scene(sim="SIM PUK", registration=0, cells=()), "puk", "none"),
        (Scene(registration=2, cells=()), "ready", "searching"),
        (Scene(registration=3, cells=()), "ready", "denied"),
    ],
)
async def test_why_there_is_no_service(
    manager: VirtualModemManager, bus: PrivateBus, scene: Scene, sim: str, registration: str
) -> None:
    manager.scene = scene
    manager.tell()
    listener = Listener(bus.address)
    await listener.watch.look()
    assert (listener.heard[0].sim, listener.heard[0].registration) == (sim, registration)
    assert listener.heard[0].cells == ()


@needs_bus
async def test_what_was_told_is_withdrawn_when_the_modem_or_the_service_or_the_bus_goes(
    manager: VirtualModemManager, bus: PrivateBus
) -> None:
    listener = Listener(bus.address)
    await listener.watch.look()
    manager.unplug()
    await listener.watch.look()
    assert listener.heard[-1] == Cellular()
    manager.tell()
    await listener.watch.look()
    assert listener.heard[-1].cells
    await manager.vanish()
    with pytest.raises(Away, match="does not run"):
        await listener.watch.look()
    await manager.appear()
    await listener.watch.look()
    await bus.kill()
    with pytest.raises(Away):
        await listener.watch.look()
    await bus.start()
    await manager.appear()
    await listener.watch.look()
    assert listener.heard[-1].cells[0].identity == "460-11-690E0F-19013B004"


async def test_without_a_bus_it_waits_longer_each_time(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    class Counting(SimulatedClock):
        pauses_s: list[float]

        async def sleep(self, seconds: float) -> None:
            self.pauses_s.append(seconds)
            if len(self.pauses_s) == 4:
                raise Enough

    clock = Counting(MORNING)
    clock.pauses_s = []
    with pytest.raises(Enough):
        await ModemManager(lambda _: None, clock, f"unix:path={tmp_path / 'none'}").run()
    assert clock.pauses_s == [20.0, 40.0, 60.0, 60.0]


def test_unknown_values_never_become_numbers() -> None:
    said = cellular_of(
        {
            MODEM: {"State": 11, "UnlockRequired": 1, "AccessTechnologies": 1 << 15},
            MODEM_3GPP: {"RegistrationState": 99},
            SIGNAL: {"Nr5g": {"rsrp": -1.7976931348623157e308, "rsrq": float("nan"), "snr": 500.0}},
            LOCATION: {},
        },
        [{"cell-type": 6, "serving": True, "operator-id": "46", "tac": "FFFFFF", "ci": "", "physical-ci": "FFFF"}],
    )
    assert said.registration == "limited"
    assert said.cells == (ServingCell("nr"),)
    assert cellular_of({}) == Cellular()


def stamped(cellular: Cellular, clock: SimulatedClock, device: str = "modem") -> Stamped:
    return Stamped(device, "modem_manager", clock.now(), clock.monotonic_s(), cellular)


def test_a_silent_modem_says_nothing_about_now() -> None:
    clock = SimulatedClock(MORNING)
    modem = Modem(clock)
    said = Cellular("ready", "home", "nr_sa", "CHN-CT", (STAND_ALONE,))
    assert modem.cells() == ()
    modem.on_stamped(stamped(said, clock))
    assert modem.cells() == ("460-11-690E0F-19013B004",)
    modem.on_stamped(stamped(Cellular("absent"), clock, "modem-2"))
    assert modem.now() == said
    clock.advance(FRESH_FOR_S + 1)
    assert (modem.now(), modem.cells()) == (None, ())
    modem.on_stamped(stamped(replace(said, registration="denied"), clock))
    assert modem.cells() == ()
    modem.on_stamped(stamped(Cellular(), clock))
    assert modem.now() is None


def test_serving_cells_stand_in_the_track(store, clock: SimulatedClock, villages) -> None:  # type: ignore[no-untyped-def]
    modem = Modem(clock)
    patrol = Patrol(villages, Commits(store, clock, at_once=True), clock, Beside(cells=modem.cells))
    modem.on_stamped(stamped(Cellular("ready", "home", "nr_sa", None, (STAND_ALONE,)), clock))
    patrol.on_position(Position(*NEAR, 3.0, 12, 0.0, None), clock.now())
    clock.advance(10)
    moved = replace(STAND_ALONE, cell_id="19013B005")
    modem.on_stamped(stamped(Cellular("ready", "home", "nr_sa", None, (moved,)), clock))
    patrol.on_position(Position(*NEAR, 3.0, 12, 0.0, None), clock.now())
    track = patrol.take()
    assert track is not None
    assert track.fields["cells"] == ["460-11-690E0F-19013B004", "460-11-690E0F-19013B005"]

"""The machine's calibration, the depth that is set and what is measured, as entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.formats.identifiers import Identifiers
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.measuring import MeasureRefused
from telemedicine.ultrasound.stills import as_png
from tests.telemedicine.ultrasound_source import fan
from tests.vehicle.clinic_world import World
from tests.vehicle.conftest import counting_bytes
from vehicle.captures import STILL, Captures
from vehicle.recorded_ecg import Served
from vehicle.ultrasound import CaptureFacts, DepthUnknown, ImageUnknown, NotCalibrated, Ultrasound

SIZE = (320, 240)
ONE = MachineSettings(name="ultrasound-1", serial="U7-0042", source_size=SIZE, mm_per_pixel=0.2)
DEPTHS = MachineSettings.model_validate(
    {
        "name": "ultrasound-1",
        "source_size": SIZE,
        "depths": [{"name": "8 cm", "mm_per_pixel": 0.1}, {"name": "16 cm", "mm_per_pixel": 0.2}],
    }
)


class Van:
    def __init__(self, folder: Path, clock: SimulatedClock, seed: int = 1) -> None:
        self.world = World(folder, clock, seed=seed)
        world = self.world
        self.captures = Captures(world.recordings, world.store, clock, world, self.served)
        self.ultrasound = Ultrasound(world.store, Identifiers(clock, counting_bytes(9)), world, self.captures)

    def served(self) -> Served:
        now = self.world.encounters.current()
        return Served() if now is None else Served(now.visit, now.encounter, now.patient.patient)

    async def freeze(self, number: int = 1, source_size: tuple[int, int] = SIZE, **said: str) -> str:
        facts = CaptureFacts(STILL, source_size, 320, 240, 20, **said)  # type: ignore[arg-type]
        name = await self.ultrasound.begin(facts)
        await self.captures.append(name, 0, as_png(fan(number)))
        return (await self.captures.finish(name, 0)).sha256

    def changes(self) -> int:
        return len(self.world.store.read("SELECT n FROM entries WHERE kind = 'settings_changed/1'"))


@pytest.fixture
def van(tmp_path: Path, clock: SimulatedClock) -> Van:
    return Van(tmp_path, clock)


async def test_a_calibration_is_an_entry_when_it_changes_and_only_then(van: Van, tmp_path: Path) -> None:
    await van.ultrasound.told(ONE)
    await van.ultrasound.told(ONE)
    assert van.changes() == 1
    await van.ultrasound.told(ONE.model_copy(update={"mm_per_pixel": 0.21}))
    assert van.changes() == 2
    van.world.store.close()
    after = Van(tmp_path, van.world.clock, seed=1)
    await after.ultrasound.told(ONE.model_copy(update={"mm_per_pixel": 0.21}))
    assert after.changes() == 2


async def test_the_depth_that_was_chosen_outlives_a_restart_but_not_its_name(van: Van, tmp_path: Path) -> None:
    await van.ultrasound.told(DEPTHS)
    assert van.ultrasound.depth is None
    await van.ultrasound.choose_depth("16 cm", "zhou.min")
    with pytest.raises(DepthUnknown):
        await van.ultrasound.choose_depth("9 cm", "zhou.min")
    van.world.store.close()
    after = Van(tmp_path, van.world.clock)
    await after.ultrasound.told(DEPTHS)
    assert after.ultrasound.depth == "16 cm"
    await after.ultrasound.told(DEPTHS.model_copy(update={"depths": DEPTHS.depths[:1]}))
    assert after.ultrasound.depth is None


async def test_a_still_says_with_which_machine_and_calibration_it_was_made(van: Van) -> None:
    await van.world.serve()
    await van.ultrasound.told(DEPTHS)
    await van.ultrasound.choose_depth("16 cm", "zhou.min")
    sha256 = await van.freeze(by="zhou.min")
    image = van.ultrasound.image(sha256)
    assert (image.device, image.by, image.facts["depth"]) == ("ultrasound-1", "zhou.min", "16 cm")
    assert image.pixel is not None
    assert image.pixel.width_mm == 0.2


async def test_a_specialist_who_froze_is_named(van: Van) -> None:
    await van.ultrasound.told(ONE)
    image = van.ultrasound.image(
        await van.freeze(who="沈若川, 主任医师 (shen.ruochuan)", consultation="consultation-1")
    )
    assert (image.by, image.who, image.facts["serial"]) == ("", "沈若川, 主任医师 (shen.ruochuan)", "U7-0042")


async def test_a_measurement_is_kept_with_image_points_and_sizes(van: Van) -> None:
    patient = await van.world.serve()
    await van.ultrasound.told(ONE)
    sha256 = await van.freeze()
    view = await van.ultrasound.measure(sha256, "distance", [(10.5, 20), (110.5, 20)], by="zhou.min")
    assert view.sizes["length_um"] == 20_000
    assert view.points == ((10.5, 20.0), (110.5, 20.0))
    row = van.world.store.read("SELECT * FROM image_measurements")[0]
    assert (row["sha256"], row["patient"], row["by"]) == (sha256, patient.patient, "zhou.min")
    assert van.world.told("image_measurement")[-1]["sizes"] == view.sizes
    await van.ultrasound.measure(sha256, "ellipse", [(10, 20), (110, 20), (60, 60)], who="沈若川 (shen.ruochuan)")
    assert [one.tool for one in van.ultrasound.image(sha256).measurements] == ["distance", "ellipse"]


async def test_a_line_is_kept_also_where_nothing_can_be_measured(van: Van) -> None:
    await van.ultrasound.told(ONE)
    uncalibrated = await van.freeze(2, source_size=(640, 480))
    drawn = [(10.0, 20.0), (30.5, 25.0), (60.0, 90.0)]
    view = await van.ultrasound.measure(uncalibrated, "line", drawn, who="沈若川 (shen.ruochuan)")
    assert (view.tool, view.sizes, view.points) == ("line", {}, tuple(drawn))
    with pytest.raises(MeasureRefused, match="2 to 80"):
        await van.ultrasound.measure(uncalibrated, "line", drawn * 40)
    with pytest.raises(MeasureRefused, match="outside"):
        await van.ultrasound.measure(uncalibrated, "line", [(0.0, 0.0), (5000.0, 1.0)])
    assert len(van.ultrasound.measurements(uncalibrated)) == 1


async def test_what_cannot_be_measured_leaves_no_entry(van: Van) -> None:
    await van.ultrasound.told(ONE)
    sha256 = await van.freeze()
    other_size = await van.freeze(2, source_size=(640, 480))
    with pytest.raises(NotCalibrated):
        await van.ultrasound.measure(other_size, "distance", [(0, 0), (10, 10)])
    with pytest.raises(ImageUnknown):
        await van.ultrasound.measure("0" * 64, "distance", [(0, 0), (10, 10)])
    with pytest.raises(MeasureRefused):
        await van.ultrasound.measure(sha256, "distance", [(0, 0), (999, 10)])
    assert van.world.store.read("SELECT * FROM image_measurements") == []


async def test_a_clip_made_smaller_has_no_calibration(van: Van) -> None:
    await van.ultrasound.told(ONE)
    name = await van.ultrasound.begin(CaptureFacts("ultrasound_clip", SIZE, 160, 120, 0, scale=0.5))
    assert "pixel_width_nm" not in next(iter(van.world.recordings.partials())).facts["facts"]
    await van.captures.stop()
    assert name

"""Settings of an ultrasound machine, how its picture is prepared, and what its calibration gives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from devices.clock import SystemClock
from telemedicine.ultrasound.machine import MachineSettings, PixelSize, calibration_facts, pixel_size
from telemedicine.ultrasound.measuring import MeasureRefused, circumference_mm, measure
from telemedicine.ultrasound.picture import NoPicture, SharedPicture, fresh_frame
from telemedicine.ultrasound.preparing import CropOutside, prepare
from tests.telemedicine.ultrasound_source import PlayedSource, fan


def machine(**told: object) -> MachineSettings:
    return MachineSettings.model_validate({"name": "ultrasound-1", **told})


DEPTHS = [{"name": "8 cm", "mm_per_pixel": 0.1}, {"name": "16 cm", "mm_per_pixel": 0.2, "mm_per_pixel_down": 0.25}]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"mm_per_pixel": 0.2}, "source_size is missing"),
        ({"depths": DEPTHS}, "source_size is missing"),
        ({"source_size": [640, 480], "mm_per_pixel": 0.2, "depths": DEPTHS}, "exclude each other"),
        ({"source_size": [640, 480], "depths": [DEPTHS[0], DEPTHS[0]]}, "stands twice"),
        ({"mm_per_pixel_down": 0.2}, "without mm_per_pixel"),
        ({"source_size": [640, 480], "mm_per_pixel": 0}, "greater than or equal"),
        ({"source_size": [640, 480], "mm_per_pixel": float("nan")}, "finite"),
        ({"source_size": [640, 480], "crop": {"left": 600, "width": 100, "height": 100}}, "ends at 700 x 100"),
        ({"rotate_degrees": 45}, "0, 90, 180 or 270"),
        ({"flip": "both"}, "none"),
        ({"serial": "A\\B"}, "pattern"),
        ({"mm_per_px": 0.2}, "extra"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(told: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        machine(**told)


def test_a_calibration_holds_for_its_size_of_the_captured_picture_only() -> None:
    one = machine(source_size=[640, 480], mm_per_pixel=0.2)
    assert pixel_size(one, None, (640, 480)) == PixelSize(200_000, 200_000)
    assert pixel_size(one, None, (1280, 720)) is None
    assert pixel_size(machine(), None, (640, 480)) is None


def test_with_several_depths_none_holds_until_somebody_says_which() -> None:
    several = machine(source_size=[640, 480], depths=DEPTHS)
    assert pixel_size(several, None, (640, 480)) is None
    assert pixel_size(several, "9 cm", (640, 480)) is None
    assert pixel_size(several, "16 cm", (640, 480)) == PixelSize(200_000, 250_000)


def test_what_decides_a_measurement_is_told_without_fractions() -> None:
    facts = calibration_facts(machine(source_size=[640, 480], depths=DEPTHS, crop={"width": 100, "height": 80}))
    assert facts["depths"][1] == {"name": "16 cm", "pixel_width_nm": 200_000, "pixel_height_nm": 250_000}
    assert facts["crop"] == [0, 0, 100, 80]
    assert PixelSize.of_facts(facts["depths"][0]) == PixelSize(100_000, 100_000)
    assert PixelSize.of_facts({"pixel_width_nm": True, "pixel_height_nm": 2}) is None


# the picture ---------------------------------------------------------------------------------------------------------

CORNERS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, CORNERS),
        ({"rotate_degrees": 90}, np.rot90(CORNERS, -1)),
        ({"rotate_degrees": 180}, CORNERS[::-1, ::-1]),
        ({"rotate_degrees": 270}, np.rot90(CORNERS, 1)),
        ({"flip": "horizontal"}, CORNERS[:, ::-1]),
        ({"flip": "vertical"}, CORNERS[::-1]),
        ({"rotate_degrees": 90, "flip": "horizontal"}, np.rot90(CORNERS, -1)[:, ::-1]),
    ],
)
def test_a_picture_is_turned_clockwise_then_mirrored(told: dict[str, object], expected: np.ndarray) -> None:
    shown = prepare(CORNERS, machine(**told))
    assert np.array_equal(shown, expected)
    assert shown.flags.c_contiguous


def test_turned_by_90_degrees_the_upper_left_comes_to_the_upper_right() -> None:
    assert np.array_equal(prepare(CORNERS, machine(rotate_degrees=90))[0, -1], CORNERS[0, 0])


def test_the_crop_is_cut_before_it_is_turned() -> None:
    image = fan(0)
    shown = prepare(image, machine(crop={"left": 8, "top": 4, "width": 64, "height": 32}, rotate_degrees=180))
    assert np.array_equal(shown, image[4:36, 8:72][::-1, ::-1])


def test_a_picture_smaller_than_the_crop_is_refused_with_what_to_do() -> None:
    with pytest.raises(CropOutside, match="correct crop and source_size"):
        prepare(fan(0), machine(crop={"left": 300, "width": 64, "height": 32}))


def test_the_source_stays_open_while_anybody_needs_it() -> None:
    source = PlayedSource(SystemClock())
    picture = SharedPicture(source, machine())
    picture.start()
    with picture.held():
        assert picture.stop() is None
        assert source.open
    assert not source.open
    with picture.held():
        picture.start()
    assert source.open
    picture.stop()
    assert (source.open, source.opened) == (False, 2)


def test_each_picture_is_prepared_once_for_all_readers() -> None:
    source = PlayedSource(SystemClock())
    picture = SharedPicture(source, machine(flip="vertical"))
    source.show(fan(1))
    first, second = picture.newer(-1, 0.1), picture.newer(-1, 0.1)
    assert first is not None
    assert first is second
    assert np.array_equal(first.image, fan(1)[::-1])
    assert picture.source_size == (320, 240)


def test_a_picture_that_the_crop_does_not_fit_is_not_shown_until_it_fits_again() -> None:
    source = PlayedSource(SystemClock())
    source.start()
    picture = SharedPicture(source, machine(crop={"left": 200, "width": 100, "height": 100}))
    source.show(fan(0, width=160, height=120))
    assert picture.newer(-1, 0.1) is None
    assert picture.state == "lost"
    source.show(fan(0))
    shown = picture.newer(0, 0.1)
    assert shown is not None
    assert shown.image.shape == (100, 100, 3)
    assert picture.state == "live"


def test_what_an_earlier_look_has_left_is_not_taken_for_the_present() -> None:
    clock = SystemClock()
    source = PlayedSource(clock)
    source.show(fan(0), clock.monotonic_s() - 60)
    with pytest.raises(NoPicture):
        fresh_frame(SharedPicture(source, machine()), clock)


# measuring -----------------------------------------------------------------------------------------------------------

SQUARE, TALL = PixelSize(200_000, 200_000), PixelSize(200_000, 250_000)


def test_a_distance_of_three_by_four() -> None:
    assert measure("distance", [(10, 10), (310, 410)], SQUARE, 640, 480).length_um == 100_000


def test_a_pixel_need_not_be_square() -> None:
    assert measure("distance", [(0, 0), (0, 100)], TALL, 640, 480).length_um == 25_000
    assert measure("distance", [(0, 0), (100, 0)], TALL, 640, 480).length_um == 20_000


def test_a_circle_is_an_ellipse() -> None:
    circle = measure("ellipse", [(100, 200), (300, 200), (200, 300)], SQUARE, 640, 480)
    assert circle.facts() == {
        "length_um": 40_000,
        "width_um": 40_000,
        "circumference_um": round(math.pi * 40_000),
        "area_um2": round(math.pi * 400e6),
    }


def test_the_third_point_may_lie_anywhere_beside_the_axis() -> None:
    points = [(100.0, 100.0), (300.0, 250.0)]
    ux, uy = 0.8, 0.6
    sizes = {
        measure("ellipse", [*points, (100 + s * ux - 40 * uy, 100 + s * uy + 40 * ux)], SQUARE, 640, 480).facts()[
            "area_um2"
        ]
        for s in (0, 100, 250)
    }
    assert len(sizes) == 1


@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.5, 1 / 3])
def test_the_circumference_agrees_with_the_integral(ratio: float) -> None:
    angles = np.linspace(0, 2 * math.pi, 200_001)
    steps = np.hypot(np.diff(20 * np.cos(angles)), np.diff(20 * ratio * np.sin(angles)))
    assert circumference_mm(20, 20 * ratio) == pytest.approx(float(steps.sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("tool", "points", "says"),
    [
        ("angle", [(0, 0), (1, 1)], "no such tool"),
        ("distance", [(0, 0)], "has 2 points"),
        ("ellipse", [(0, 0), (1, 1)], "has 3 points"),
        ("distance", [(0, 0), (641, 1)], "outside the picture"),
        ("distance", [(0, 0), (float("nan"), 1)], "outside the picture"),
        ("distance", [(5, 5), (5, 5)], "one place"),
        ("ellipse", [(0, 0), (100, 0), (50, 0)], "lies on the axis"),
    ],
)
def test_what_is_no_measurement_is_refused(tool: str, points: list[tuple[float, float]], says: str) -> None:
    with pytest.raises(MeasureRefused, match=says):
        measure(tool, points, SQUARE, 640, 480)


def test_the_settings_file_names_the_key_that_is_wrong(tmp_path: Path) -> None:
    from sync.settings_file import SettingsRefused, read_settings

    file = tmp_path / "machine.toml"
    file.write_text('name = "ultrasound-1"\nrotate_degrees = 45\n', encoding="utf-8")
    with pytest.raises(SettingsRefused, match="rotate_degrees"):
        read_settings(file, MachineSettings)

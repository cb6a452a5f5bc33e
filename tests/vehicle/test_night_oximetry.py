"""The numbers of a night: falls by 3 and 4 points, time below 90 %, and what does not count."""

from __future__ import annotations

import re

import pytest

from devices.readings import StoredOximetry
from vehicle.clinic.night_oximetry import NightSummary, desaturations, summary, svg


def of(spo2: list[int | None], interval_s: float = 1.0) -> StoredOximetry:
    return StoredOximetry(tuple(spo2), tuple(None if one is None else 60 for one in spo2), interval_s)


def fall(depth: int, down_s: int = 15, up_s: int = 10, level: int = 97) -> list[int | None]:
    """From a level down by ``depth`` in ``down_s`` and back up in ``up_s``."""
    down = [level - round(depth * (i + 1) / down_s) for i in range(down_s)]
    return [*down, *(level - depth + round(depth * (i + 1) / up_s) for i in range(up_s))]


def quiet(seconds: int, level: int = 97) -> list[int | None]:
    return [level] * seconds


def test_falls_are_counted_by_their_depth_and_per_hour_measured() -> None:
    night = of(quiet(600) + (fall(4) + quiet(95)) * 20 + (fall(3) + quiet(95)) * 10 + quiet(300))
    found = summary(night)
    assert (found.desaturations_3, found.desaturations_4) == (30, 20)
    assert found.measured_s == found.recorded_s == 600 + 30 * 120 + 300
    assert found.odi_3 == pytest.approx(30 / (4500 / 3600))
    assert found.odi_4 == pytest.approx(20 / (4500 / 3600))
    assert found.lowest_spo2_percent == 93


@pytest.mark.parametrize(
    ("spo2", "n"),
    [
        pytest.param(quiet(60) + fall(3) + quiet(60), 1, id="three-points"),
        pytest.param(quiet(60) + fall(2) + quiet(60), 0, id="two-points"),
        pytest.param(quiet(60) + [93] * 5 + quiet(60), 0, id="shorter-than-ten-seconds"),
        pytest.param(quiet(60) + fall(5, 90, 60) + quiet(60), 0, id="longer-than-ninety-seconds"),
        pytest.param(quiet(300) + fall(12, 30, 20) + quiet(60), 1, id="deep"),
        pytest.param(quiet(60) + [97 - i // 100 for i in range(800)], 0, id="a-slow-drift"),
        pytest.param(quiet(60) + fall(6)[:15] + [None] * 30 + quiet(60), 0, id="the-finger-came-out"),
        pytest.param(quiet(60) + fall(6)[:12] + [None] * 5 + fall(6)[17:] + quiet(60), 1, id="five-seconds-missing"),
        pytest.param([None] * 60 + [90] * 60, 0, id="begins-low"),
        pytest.param([97] + [None] * 40 + [90] * 60, 0, id="a-hole-is-no-fall"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_what_is_a_fall(spo2: list[int | None], n: int) -> None:
    assert len(desaturations(of(spo2), 3)) == n


def test_where_a_fall_began_and_how_deep_it_went() -> None:
    (found,) = desaturations(of(quiet(60) + fall(8, 20, 10) + quiet(60)), 4)
    assert (found.from_percent, found.lowest_percent, found.began_s) == (97, 89, 60.0)
    assert 20 < found.duration_s <= 31


def test_a_value_every_four_seconds_counts_like_one_a_second() -> None:
    night = quiet(600) + (fall(6, 20, 16) + quiet(84)) * 10
    each_second, each_four = summary(of(night)), summary(of(night[::4], 4.0))
    assert each_four.desaturations_4 == each_second.desaturations_4 == 10
    assert each_four.measured_s == each_second.measured_s


def test_time_below_ninety_and_mean_are_of_the_time_measured() -> None:
    found = summary(of([95] * 900 + [89] * 100 + [None] * 500))
    assert (found.recorded_s, found.measured_s, found.below_90_s) == (1500, 1000, 100)
    assert found.below_90_percent == pytest.approx(10.0)
    assert found.mean_spo2_percent_e1 == 944
    assert (found.lowest_pulse_bpm, found.highest_pulse_bpm) == (60, 60)


def test_under_four_hours_is_short_and_nothing_measured_has_no_numbers() -> None:
    assert summary(of(quiet(4 * 3600 - 1))).short
    assert not summary(of(quiet(4 * 3600))).short
    none = summary(of([None] * 100))
    assert (none.odi_3, none.below_90_percent, none.mean_spo2_percent_e1) == (None, None, None)


@pytest.mark.parametrize("spo2", [quiet(100), [None] * 10], ids=["measured", "nothing-measured"])
def test_the_record_gives_back_what_it_was_told(spo2: list[int | None]) -> None:
    found = summary(of(spo2))
    assert NightSummary.of(found.told() | {"added_later": 3}) == found


def test_the_drawing_stays_small_and_shows_the_lowest_value() -> None:
    night = quiet(28_000)
    night[14_000] = 71
    drawn = svg(of(night), "SpO2 <night>")
    assert len(drawn) < 40_000
    assert "SpO2 &lt;night&gt;" in drawn
    lowest = max(float(y) for y in re.findall(r"V([\d.]+)", drawn))
    assert lowest == pytest.approx(160 - 150 * (71 - 0.4 - 70) / 30, abs=0.1)

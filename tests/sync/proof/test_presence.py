"""Stays from fixes: the decided readings, one case each."""

from __future__ import annotations

import math
import random
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.presence import Arrived, Fix, Left, Presence, stays
from sync.proof.tracks import fixes_of_track, track_fields

START = datetime(2026, 9, 1, 0, 20, tzinfo=UTC)
UP = 1000 / METRES_PER_DEGREE
ACROSS = UP / math.cos(math.radians(31.0))


def square(code: str, west_km: float, east_km: float, **more: object) -> Village:
    """Two kilometres high, between two meridians."""
    corners = ((west_km, -1), (east_km, -1), (east_km, 1), (west_km, 1))
    ring = tuple((103.0 + x * ACROSS, 31.0 + y * UP) for x, y in corners)
    centre = 103.0 + (west_km + east_km) / 2 * ACROSS
    return Village(code, code, "白果镇", (ring,), 31.0, centre, **more)  # type: ignore[arg-type]


WEST, EAST = square("west", -2, 0), square("east", 0, 2)
BOTH = (WEST, EAST)


class Drive:
    """Fixes as a van would make them: ``stand(seconds, east_km)`` a point every 10 s."""

    def __init__(self) -> None:
        self.at = START
        self.fixes: list[Fix] = []

    def stand(
        self, seconds: float, east_km: float, accuracy_m: float = 6, satellites: int = 12, spoof: bool = False
    ) -> Drive:
        for _ in range(int(seconds // 10)):
            self.fixes.append(Fix(self.at, 31.0, 103.0 + east_km * ACROSS, accuracy_m, satellites, spoof))
            self.at += timedelta(seconds=10)
        return self

    def silent(self, seconds: float) -> Drive:
        self.at += timedelta(seconds=seconds)
        return self

    def stays(self, *villages: Village) -> list[tuple[str, float, float, tuple[str, ...]]]:
        return [(s.village_code, s.dwell_s, s.inferred_s, s.flags) for s in stays(self.fixes, villages or BOTH)]


def test_entering_takes_60_s_and_counts_from_the_first_point() -> None:
    drive = Drive().stand(60, 2.3).stand(600, 1.7).stand(120, 2.3)
    (stay,) = stays(drive.fixes, BOTH)
    assert (stay.arrived_at, stay.departed_at) == (START + timedelta(seconds=60), START + timedelta(seconds=660))
    assert stay.dwell_s == 590
    assert Drive().stand(60, 2.3).stand(60, 1.7).stand(120, 2.3).stays() == []


def test_a_drive_by_of_less_than_60_s_is_no_stay_and_no_leave() -> None:
    assert Drive().stand(600, 1.7).stand(50, 2.3).stand(600, 1.7).stays() == [("east", 1240, 0.0, ())]


def test_once_a_leave_is_confirmed_the_time_outside_never_counts() -> None:
    found = Drive().stand(600, 1.7).stand(80, 2.3).stand(600, 1.7).stays()
    assert [(code, dwell) for code, dwell, _, _ in found] == [("east", 590), ("east", 590)]


def test_leaving_means_farther_than_100_m_outside() -> None:
    assert Drive().stand(600, 1.7).stand(600, 2.09).stays() == [("east", 1190, 0.0, ())]
    ((_, dwell, _, _),) = Drive().stand(600, 1.7).stand(600, 2.11).stays()
    assert dwell == 590


def test_entering_has_no_buffer() -> None:
    assert Drive().stand(600, 2.05).stays() == []


def test_firmly_inside_the_neighbour_is_a_change_of_village() -> None:
    found = Drive().stand(600, 0.5).stand(600, -0.05).stays()
    assert [(code, dwell) for code, dwell, _, _ in found] == [("east", 590), ("west", 590)]


def test_just_over_the_border_within_the_accuracy_stays_where_it_was() -> None:
    assert Drive().stand(600, 0.5).stand(600, -0.02, accuracy_m=30).stays() == [("east", 1190, 0.0, ())]


@pytest.mark.parametrize(
    ("bad", "flag"),
    [
        ({"accuracy_m": 51}, "low_accuracy"),
        ({"satellites": 4}, "few_satellites"),
        ({"spoof": True}, "spoof_flag"),
    ],
)
def test_refused_points_make_a_hole_and_leave_a_flag(bad: dict[str, float], flag: str) -> None:
    ((_, dwell, _, flags),) = Drive().stand(600, 1).stand(300, 1, **bad).stand(600, 1).stays()  # type: ignore[arg-type]
    assert (dwell, flags) == (1490, (flag,))
    assert Drive().stand(600, 1, **bad).stays() == []  # type: ignore[arg-type]


def test_a_wild_point_is_dropped_and_the_steps_around_it_count() -> None:
    assert Drive().stand(600, 1).stand(10, 60).stand(600, 1).stays() == [("east", 1200, 0.0, ("position_jump",))]


def test_a_step_of_15_min_counts_and_a_longer_one_is_inferred() -> None:
    assert Drive().stand(1200, 1).silent(890).stand(600, 1).stays() == [("east", 2680, 0.0, ())]
    found = Drive().stand(1200, 1).silent(900).stand(600, 1).stays()
    assert found == [("east", 2690, 910.0, ("gnss_gap_inferred",))]


def test_inferred_time_is_at_most_the_observed_time() -> None:
    found = Drive().stand(610, 1).silent(3600).stand(610, 1).stays()
    assert found == [("east", 2400, 1200.0, ("gnss_gap_inferred", "inferred_more_than_half"))]


def test_a_hole_in_which_it_moved_cuts_the_stay() -> None:
    found = Drive().stand(600, 0.5).silent(1200).stand(600, 1.5).stays()
    assert found == [("east", 590, 0.0, ("moved_during_gap",)), ("east", 590, 0.0, ())]


def test_a_hole_from_which_it_comes_back_elsewhere_ends_the_stay_before_it() -> None:
    (stay,) = stays(Drive().stand(600, 1).silent(7200).stand(600, 9).fixes, BOTH)
    assert stay.departed_at == START + timedelta(seconds=590)


def test_where_areas_overlap_the_village_on_duty_wins_else_the_nearest_centre() -> None:
    wide = square("wide", -4, 2)
    fixes = Drive().stand(600, 1).fixes
    assert [stay.village_code for stay in stays(fixes, (wide, EAST))] == ["east"]
    assert [stay.village_code for stay in stays(fixes, (wide, EAST), lambda at: "wide")] == ["wide"]


def test_a_village_not_yet_in_force_is_not_entered() -> None:
    assert Drive().stand(600, 1).stays(square("east", 0, 2, valid_from=date(2026, 9, 2))) == []


def test_a_stay_across_midnight_belongs_to_the_day_it_began() -> None:
    drive = Drive()
    drive.at = datetime(2026, 8, 31, 15, 30, tzinfo=UTC)
    (stay,) = stays(drive.stand(7200, 1).fixes, BOTH)
    assert stay.day == date(2026, 8, 31)
    assert stay.departed_at is None


def test_the_live_presence_says_the_same_as_the_whole_track() -> None:
    drive = Drive().stand(120, 3).stand(900, 1).stand(900, -1).stand(120, 3)
    presence, events = Presence(BOTH), []
    for fix in drive.fixes:
        events += presence.feed(fix)
    kinds = [(type(event), event.village.code) for event in events]
    assert kinds == [(Arrived, "east"), (Left, "east"), (Arrived, "west"), (Left, "west")]
    assert [event.stay for event in events if isinstance(event, Left)] == stays(drive.fixes, BOTH)
    assert (presence.village, presence.dwell_s) == (None, 0.0)


def test_the_running_stay_can_be_asked() -> None:
    presence = Presence(BOTH)
    for fix in Drive().stand(600, 1).fixes:
        presence.feed(fix)
    assert presence.village is EAST
    assert (presence.arrived_at, presence.dwell_s) == (START, 590)


def test_points_out_of_order_change_nothing() -> None:
    fixes = Drive().stand(600, 1).fixes
    shuffled = [*fixes[:30], *fixes[10:20], *fixes[30:]]
    assert stays(shuffled, BOTH) == stays(fixes, BOTH)


def test_a_vehicle_month_takes_about_a_second() -> None:
    chance = random.Random(1)
    villages = tuple(square(f"v{number}", number * 4 - 2.0, number * 4 + 2.0) for number in range(60))
    fixes = [
        Fix(
            START + timedelta(seconds=10 * number),
            31.0 + chance.gauss(0, 1e-5),
            103.0 + (number // 4000) * 4 * ACROSS + chance.gauss(0, 1e-5),
            6.0,
            12,
        )
        for number in range(43_000)
    ]
    began = time.perf_counter()
    found = stays(fixes, villages)
    assert len(found) >= 10
    assert time.perf_counter() - began < 10


fix_lists = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.floats(-80, 80),
        st.floats(-170, 170),
        st.integers(0, 90),
        st.integers(0, 40),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=100)
@given(fix_lists)
def test_a_track_reads_back_as_it_was_written(said: list[tuple[int, float, float, int, int, bool]]) -> None:
    at, fixes = START, []
    for number, (seconds, latitude, longitude, accuracy, satellites, spoof) in enumerate(said):
        at += timedelta(seconds=seconds + 1 if number else 0)
        fixes.append(Fix(at, round(latitude, 7), round(longitude, 7), float(accuracy), satellites, spoof))
    back = fixes_of_track(track_fields(fixes))
    assert [(f.at, f.accuracy_m, f.satellites, f.spoof) for f in back] == [
        (f.at, f.accuracy_m, f.satellites, f.spoof) for f in fixes
    ]
    for one, other in zip(back, fixes, strict=True):
        assert one.latitude_deg == pytest.approx(other.latitude_deg, abs=1e-7)
        assert one.longitude_deg == pytest.approx(other.longitude_deg, abs=1e-7)


def test_uneven_seconds_do_not_add_up() -> None:
    fixes = [Fix(START + timedelta(seconds=10.4 * number), 31.0, 103.0, 5.0, 9) for number in range(100)]
    back = fixes_of_track(track_fields(fixes))
    assert abs((back[-1].at - fixes[-1].at).total_seconds()) <= 0.5


@pytest.mark.parametrize(
    "broken", [{}, {"started_at": "x"}, {**track_fields(Drive().stand(20, 1).fixes), "steps": [[1]]}]
)
def test_what_is_no_track_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a track"):
        fixes_of_track(broken)


def test_no_fixes_make_no_track() -> None:
    with pytest.raises(ValueError, match="at least one"):
        track_fields([])


def test_creeping_out_through_the_band_is_noticed_at_its_end() -> None:
    ((_, dwell, _, _),) = Drive().stand(600, 1.7).stand(600, 2.07).stand(600, 2.11).stays()
    assert dwell == 1190


def test_a_better_fix_at_the_same_place_may_decide_for_the_neighbour() -> None:
    found = Drive().stand(600, 0.5).stand(600, -0.02, accuracy_m=30).stand(600, -0.02, accuracy_m=5).stays()
    assert [(code, dwell) for code, dwell, _, _ in found] == [("east", 1190), ("west", 590)]

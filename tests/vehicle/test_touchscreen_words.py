"""Words and numbers of the touchscreen: both languages whole, values written as a person reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from sync.web.catalog import texts
from vehicle.touchscreen.frame import FOLDER
from vehicle.touchscreen.measure import HandEntryDiffers, hand_values, needle
from vehicle.touchscreen.wording import (
    byte_size,
    hours_minutes,
    local_day,
    local_time,
    printed_place,
    reason_text,
    span,
    value_text,
)

LATE = datetime(2026, 3, 1, 16, 30, tzinfo=UTC)
"""Already the next day in China."""


def own(language: str) -> set[str]:
    everything = texts(language).keys()
    return {key for key in everything if key.startswith("touch.")}


def test_english_says_everything_chinese_says() -> None:
    assert own("zh") == own("en")


def test_every_word_a_template_asks_for_is_in_the_catalog() -> None:
    asked = {
        f"touch.{key}"
        for template in (FOLDER / "templates").glob("*.html")
        for key in re.findall(r"\bw\('([a-z0-9_.]+)'[,)]", template.read_text(encoding="utf-8"))
    }
    assert len(asked) > 150
    assert asked <= own("zh")


def test_places_in_a_text_are_the_same_in_both_languages() -> None:
    zh, en = texts("zh"), texts("en")
    for key in own("zh"):
        assert set(re.findall(r"{(\w+)}", zh(key))) == set(re.findall(r"{(\w+)}", en(key))), key


def test_times_are_shown_in_chinese_legal_time() -> None:
    assert local_time(LATE) == "00:30"
    assert local_day(LATE, texts("zh")) == "3月2日"
    assert local_day(LATE, texts("en")) == "2 Mar"
    assert local_time(None) == "–"


@pytest.mark.parametrize(
    ("kind", "values", "written"),
    [
        ("blood_pressure", {"systolic_mmhg": 184, "diastolic_mmhg": 112}, "184/112"),
        ("blood_pressure", {"systolic_mmhg": 184}, "–"),
        ("glucose", {"glucose_mmol_l": 6.4}, "6.4"),
        ("glucose", {"glucose_mmol_l_e2": 3330}, "33.3"),
        ("glucose", {"range": "low"}, "LO"),
        ("pulse_oximetry", {"spo2_percent": 96}, "96"),
        ("temperature", {"temperature_c_e2": 3660}, "36.6"),
        ("temperature", {}, "–"),
    ],
)
def test_a_value_as_it_stands_on_its_tile(kind: str, values: dict[str, object], written: str) -> None:
    assert value_text(kind, values) == written


def test_spans_and_sizes_in_the_largest_fitting_unit() -> None:
    t = texts("zh")
    assert [span(s, t) for s in (5, 65, 7200, 3 * 86400)] == ["5 秒", "1 分钟", "2 小时", "3 天"]
    assert [byte_size(n) for n in (12, 3_400, 3_400_000, 126_000_000_000)] == ["12 B", "3.4 kB", "3.4 MB", "126 GB"]
    assert hours_minutes(11_105) == "3:05"


def test_a_hand_entry_counts_only_when_typed_twice_alike() -> None:
    told = {"systolic_mmhg": "162", "systolic_mmhg_again": "162", "diastolic_mmhg": "98", "diastolic_mmhg_again": "98"}
    assert hand_values("blood_pressure", told) == {"systolic_mmhg": 162, "diastolic_mmhg": 98}
    for again in ("", "89", "x"):
        with pytest.raises(HandEntryDiffers, match="diastolic_mmhg"):
            hand_values("blood_pressure", {**told, "diastolic_mmhg_again": again})


def test_the_needle_stands_on_the_step_the_value_belongs_to() -> None:
    cuts = [90.0, 120.0, 140.0, 160.0, 180.0]
    assert needle(162, cuts) == pytest.approx((4 + 2 / 20) / 6)
    assert needle(20, cuts) == 0.0
    assert needle(400, cuts) == 1.0


def test_a_reason_that_is_a_code_gets_words_and_what_was_typed_stays() -> None:
    zh, en = texts("zh"), texts("en")
    assert reason_text("link lost", zh) == reason_text("link_lost", zh) == "和专家的连接断了"
    assert reason_text("link lost", en) == "The link to the specialist broke"
    assert reason_text("手术中", en) == "手术中"
    assert reason_text("In theatre until 11, please ask again", zh) == "In theatre until 11, please ask again"
    assert reason_text("", zh) == ""
    assert reason_text("in_surgery\n11 点以后可以", zh) == "手术中，11 点以后可以"
    assert reason_text("not_my_field", en) == "Not my specialty"
    offered = [
        key for key in sorted(zh.keys()) if key.startswith("specialist.invitations.reason_") and "more" not in key
    ]
    assert len(offered) == 3
    for key in offered:  # what the specialist may choose is said here in this panel's language
        assert reason_text(key.partition("reason_")[2], zh) == zh(key)


@pytest.mark.parametrize(
    ("where", "printed"),
    [
        ("https://example.org/a ; https://example.org/b", ""),
        ("secondary page https://example.org/a", ""),
        ("seen on https://example.org/a; first visit", "first visit"),
        ("表1", "表1"),
    ],
)
def test_a_source_is_shown_without_its_web_address(where: str, printed: str) -> None:
    assert printed_place(where) == printed

from __future__ import annotations

from datetime import date

import pytest

from vehicle.clinic.identity import (
    WrongIdNumber,
    age_years,
    check_digit,
    check_id_number,
    is_phone,
    mask_id_number,
    mask_last4,
    mask_name,
    pinyin_initials,
)

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("number", "born_on", "sex"),
    [
        ("11010519491231002X", date(1949, 12, 31), "female"),  # the example of GB 11643-1999
        ("440524188001010014", date(1880, 1, 1), "male"),
        (" 110105 19491231 002x ", date(1949, 12, 31), "female"),
    ],
)
def test_valid_numbers(number: str, born_on: date, sex: str) -> None:
    checked = check_id_number(number, TODAY)
    assert (checked.born_on, checked.sex) == (born_on, sex)
    assert checked.last4 == checked.number[-4:]
    assert checked.number not in repr(checked)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("11010519491231002", "length"),
        ("110105491231002", "length"),
        ("1101051949123100AX", "characters"),
        ("01010519491231002X", "characters"),
        ("110105194913310028", "birth_date"),
        ("110105202612310026", "birth_date"),
        ("110105194912310021", "check_digit"),
        ("11010519491213002X", "check_digit"),  # two digits swapped
    ],
)
def test_wrong_numbers_say_why_and_never_repeat_the_number(number: str, reason: str) -> None:
    with pytest.raises(WrongIdNumber) as refusal:
        check_id_number(number, TODAY)
    assert refusal.value.facts["reason"] == reason
    assert number not in str(refusal.value)


def test_every_single_wrong_digit_is_noticed() -> None:
    right = "51072719580417042" + check_digit("51072719580417042")
    assert check_id_number(right, TODAY).sex == "female"
    for place in range(18):
        for other in "0123456789":
            if other != right[place]:
                with pytest.raises(WrongIdNumber):
                    check_id_number(right[:place] + other + right[place + 1 :], TODAY)


def test_masks_hide_what_identifies() -> None:
    assert mask_id_number("11010519491231002X") == "1101**********002X"
    assert mask_last4("002X") == "**************002X"
    assert mask_last4("") == ""
    assert [mask_name(name) for name in ("王伟", "欧阳娜娜", "李", "")] == ["王*", "欧***", "李", ""]


@pytest.mark.parametrize(
    ("born_on", "on", "age"),
    [
        (date(1958, 11, 21), TODAY, 68),
        (date(1958, 11, 22), TODAY, 67),
        (date(2004, 2, 29), date(2022, 2, 28), 17),
        (date(2004, 2, 29), date(2022, 3, 1), 18),
    ],
)
def test_age_in_completed_years(born_on: date, on: date, age: int) -> None:
    assert age_years(born_on, on) == age


@pytest.mark.parametrize(
    ("name", "initials"),
    [
        ("杨桂芳", "ygf"),
        ("沈若川", "src"),
        ("吴倩", "wq"),
        ("欧阳娜娜", "oynn"),
        ("曾毅", "zy"),
        ("解晓东", "xxd"),
        ("刘鑫淼", "lxm"),
        ("阿依古丽", "aygl"),
        ("次仁 卓玛", "crzm"),
        ("Ali 汗", "alih"),
        ("王喆", "wz"),
        ("买买提·艾力", "mmtal"),
    ],
)
def test_initials(name: str, initials: str) -> None:
    assert pinyin_initials(name) == initials


@pytest.mark.parametrize(("text", "so"), [("13800138000", True), ("0816-1234567", True), ("12345678901", False)])
def test_phone(text: str, so: bool) -> None:
    assert is_phone(text) is so

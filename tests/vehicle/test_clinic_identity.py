from __future__ import annotations

from datetime import date

import pytest

from vehicle.clinic.identity import (
    WrongIdNumber,
    WrongRecordNumber,
    age_years,
    check_digit,
    check_id_number,
    check_record_number,
    is_phone,
    mask_id_number,
    mask_last4,
    mask_name,
    mask_phone,
    pinyin_initials,
    read_document,
    temporary_end,
    temporary_number,
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


# people without a resident's number


@pytest.mark.parametrize("area", ["810000", "820000", "830000"])
def test_residence_permits_have_the_same_form_and_are_told_apart(area: str) -> None:
    first = f"{area}19880612001"
    document = read_document("resident", first + check_digit(first), TODAY)
    assert document is not None
    assert (document.kind, document.sex, document.born_on) == ("residence_permit", "male", date(1988, 6, 12))


def test_a_passport_is_letters_and_digits_and_never_confused_with_a_number() -> None:
    document = read_document("passport", " e1234 5678 ", TODAY)
    assert document is not None
    assert (document.number, document.last4, document.born_on, document.sex) == ("E12345678", "5678", None, "")
    assert document.key == "passport:E12345678"
    assert "E12345678" not in repr(document)
    for wrong in ("E123", "E1234-678", "E123456789012345"):
        with pytest.raises(WrongIdNumber) as refusal:
            read_document("passport", wrong, TODAY)
        assert refusal.value.facts["reason"] == "passport"


def test_a_newborn_is_known_by_the_mothers_number_and_its_place_in_the_birth() -> None:
    first = read_document("newborn", "11010519491231002x", TODAY)
    second = read_document("newborn", "11010519491231002X-2", TODAY)
    assert first is not None
    assert second is not None
    assert (first.number, first.last4) == ("11010519491231002X-1", "002X")
    assert first.key != second.key
    assert (first.born_on, first.sex) == (None, "")  # the mother's say nothing about the child
    for wrong in ("11010519491231002X-0", "11010519491231002X-12", "110105194912310021"):
        with pytest.raises(WrongIdNumber):
            read_document("newborn", wrong, TODAY)


def test_nothing_typed_is_no_document() -> None:
    assert read_document("resident", "  ", TODAY) is None
    assert read_document("temporary", "whatever", TODAY) is None


def test_a_temporary_number_finds_its_registration_again() -> None:
    number = temporary_number("patient-01KABCDEFGHJKMNPQRSTVWXYZ0", date(2026, 11, 22))
    assert number == "T261122-VWXYZ0"
    assert temporary_end(number) == temporary_end(" t261122vwxyz0 ") == "VWXYZ0"
    assert temporary_end("T2611-VWXYZ0") == temporary_end("张三") == ""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("51072710020100123", ("510727", "100", "201", "00123")),
        ("510727 100 105 00123", ("510727", "100", "105", "00123")),
        ("510727-100-001-00001", ("510727", "100", "001", "00001")),
        ("51072710099900001", ("510727", "100", "999", "00001")),
    ],
)
def test_health_record_numbers(text: str, parts: tuple[str, str, str, str]) -> None:
    if parts[2] == "201":
        with pytest.raises(WrongRecordNumber) as refusal:
            check_record_number(text)
        assert refusal.value.facts["reason"] == "village"
        return
    record = check_record_number(text)
    assert (record.county, record.township, record.village, record.serial) == parts
    assert record.of_village == "".join(parts[:3])


@pytest.mark.parametrize("text", ["5107271001050012", "510727100105001234", "5107271001050012X", "", "\uff15" * 17])
def test_health_record_numbers_have_seventeen_digits(text: str) -> None:
    with pytest.raises(WrongRecordNumber) as refusal:
        check_record_number(text)
    assert refusal.value.facts["reason"] == "length"


@pytest.mark.parametrize(
    ("phone", "masked"),
    [("13812348000", "138****8000"), ("0816-8212345", "081*****2345"), ("12345", "*****"), ("", "")],
)
def test_masked_phones(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked

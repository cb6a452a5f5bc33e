"""Follow-ups of the villages at the county: from entries to numbers by village and programme, small ones not exact."""

from __future__ import annotations

import pytest
from county_month import Founded, Van

from sync.county.follow_up_report import Count, follow_up_report, shown, shown_total
from sync.formats.records import Draft

DAY = "2026-09-01"


def member(founded: Founded, village: int, patient: str, programme: str, since: str, state: str = "member") -> Draft:
    area = founded.villages[village]
    said = {"patient": patient, "programme": programme, "state": state, "since": since}
    return Draft("programme_membership/1", {**said, "village": area.code, "village_name": area.name})


def signed(patient: str, form: str, next_on: str) -> Draft:
    said = {"form": form, "form_version": "1", "patient": patient, "answers": {"way": "1"}, "next_on": next_on}
    return Draft("follow_up_form/1", said)


async def delivered(founded: Founded) -> Van:
    """Village 0: 7 with hypertension, 5 of them overdue, one due in 14 days, one later; 1 with diabetes. Village 1: one
    who left. County: 6 with severe mental illness."""
    van = founded.van("van-07")
    drafts = [member(founded, 0, f"p{n}", "hypertension", "2026-01-05") for n in range(7)]
    drafts += [signed(f"p{n}", "hypertension", "2026-08-31") for n in range(4)]
    drafts += [signed("p4", "hypertension", "2026-12-01"), signed("p4", "hypertension", "2026-06-01")]
    drafts += [signed("p5", "hypertension", "2026-09-15"), signed("p6", "hypertension", "2026-09-16")]
    drafts += [member(founded, 0, "p1", "diabetes", DAY)]
    drafts += [member(founded, 1, "q1", "diabetes", "2026-01-05"), member(founded, 1, "q1", "diabetes", DAY, "left")]
    drafts += [member(founded, 0, f"s{n}", "severe_mental_illness", "2026-01-05") for n in range(6)]
    van.store.commit_now(*drafts)
    assert (await van.deliver()).complete
    return van


async def test_villages_are_counted_by_programme_and_by_the_last_signed_form(founded: Founded) -> None:
    await delivered(founded)
    report = follow_up_report(founded.county.database, founded.villages, founded.clock.now(), practice=False)
    (row,) = report.rows
    assert row.code == founded.villages[0].code
    assert row.counts == {"hypertension": Count(7, 1, 5), "diabetes": Count(1, 1, 0)}
    assert row.total == Count(8, 2, 5)
    assert report.confidential == {"severe_mental_illness": Count(6, 0, 6)}
    assert follow_up_report(founded.county.database, founded.villages, founded.clock.now(), practice=True).rows == ()


async def test_a_programme_of_several_forms_is_due_by_the_last_of_them(founded: Founded) -> None:
    """A pregnancy: the first check named the 16th week; the visit after birth, signed later, the 42nd day."""
    van = founded.van("van-07")
    van.store.commit_now(
        member(founded, 0, "m1", "maternal", "2026-01-05"),
        member(founded, 0, "m2", "maternal", "2026-01-05"),
        signed("m1", "antenatal_first", "2026-04-01"),
        signed("m1", "postpartum_visit", "2026-10-20"),
        signed("m2", "antenatal_first", "2026-04-01"),
        signed("m2", "hypertension", "2026-12-01"),
    )
    assert (await van.deliver()).complete
    report = follow_up_report(founded.county.database, founded.villages, founded.clock.now(), practice=False)
    assert report.rows[0].counts == {"maternal": Count(2, 0, 1)}


async def test_page_and_json_name_nobody_and_show_no_small_number(founded: Founded) -> None:
    await delivered(founded)
    client = await founded.signed_in("xu.jing")
    page = (await client.get("/county/follow-ups?lang=zh")).text
    code = founded.villages[0].code
    assert f'data-testid="{code}-severe_mental_illness"' not in page
    assert "全县在管 6" in page
    assert "p1" not in page
    said = (await client.get("/api/follow-ups")).json()
    assert said["villages"] == [
        {
            "code": code,
            "name": founded.villages[0].name,
            "programmes": {
                "hypertension": {"members": "7", "due": "<5", "overdue": "5"},
                "diabetes": {"members": "<5", "due": "<5", "overdue": "0"},
            },
        }
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "0"),
        ([0, 0], "0"),
        ([7, 12], "19"),
        ([7, 3], "≥7"),  # the difference would tell 3
        ([3], "<5"),
        ([7, 3, 2], "12"),  # 1 + 4, 2 + 3, 3 + 2 or 4 + 1
        ([7, 1, 1], "≥7"),  # 2 in two parts can only be 1 + 1
        ([4, 4, 9], "≥9"),
        ([1, 1], "≥2"),
        ([1, 4], "5"),
        ([1, 3], "<5"),  # whoever reads it knows that four are not told
    ],
)
def test_a_total_tells_no_small_part(parts: list[int], text: str) -> None:
    assert shown_total(parts) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (1, "<5"), (4, "<5"), (5, "5"), (812, "812")])
def test_numbers_below_five_are_not_exact(number: int, text: str) -> None:
    assert shown(number) == text

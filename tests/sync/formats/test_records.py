"""The table of kinds: what may be written, what is read, and which rows it makes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sync.formats.canonical import dumps, loads
from sync.formats.records import (
    COMMON,
    KINDS,
    LARGEST_BODY_BYTES,
    Draft,
    DraftRefused,
    Entry,
    EntryUnreadable,
    Stamp,
    format_time,
    parse_time,
    read_entry,
    write_entry,
)
from sync.record.projection import RULES, TABLES, Upsert, rows
from tests.sync.conftest import reading

AT = datetime(2026, 3, 2, 0, 30, 15, 250_000, tzinfo=UTC)
EXAMPLES: dict[str, Any] = {
    "text": "something",
    "integer": 7,
    "boolean": True,
    "object": {"key": 1},
    "list": ["one"],
    "time": "2026-03-02T00:30:00.000Z",
    "date": "1958-04-12",
    "sha256": "ab" * 32,
    "crew": [{"person": "zhou.min", "role": "village_doctor", "name": "周敏"}],
    "steps": [[10, 1, -2, 8, 11]],
}


def entry(kind: str, n: int = 5, leave_out: bool = False, **fields: Any) -> Entry:
    """An entry of ``kind`` with an example in every field."""
    wanted = {name: form for name, form in KINDS[kind].fields.items() if not (leave_out and form.endswith("?"))}
    said = {name: EXAMPLES[form.removesuffix("?")] for name, form in wanted.items()} | fields
    draft = Draft(kind, said, by="zhou.min", visit="visit-1", encounter="encounter-1")
    draft.check()
    salt = b"s" * 16 if KINDS[kind].personal else b""
    return write_entry(draft, Stamp(n, AT, "gnss", 3, 1234, "van-07", salt, practice=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave_out", [False, True])
def test_every_kind_is_written_and_read_back(kind: str, leave_out: bool) -> None:
    written = entry(kind, leave_out=leave_out)
    assert read_entry(written.body, 5) == written
    assert (b'"salt"' in written.body) == KINDS[kind].personal


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_has_a_field_that_is_common(kind: str) -> None:
    assert not set(KINDS[kind].fields) & set(COMMON)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_unknown_and_mistyped_fields_are_refused_by_name(kind: str) -> None:
    said = dict(entry(kind).fields)
    with pytest.raises(DraftRefused, match="surprise is not in the table"):
        Draft(kind, {**said, "surprise": 1}).check()
    for name, form in KINDS[kind].fields.items():
        mistyped = 1 if form.startswith("text") else "neither"
        with pytest.raises(DraftRefused, match=f"{name} is not of type"):
            Draft(kind, {**said, name: mistyped}).check()
        if not form.endswith("?"):
            with pytest.raises(DraftRefused, match=f"{name} is missing"):
                Draft(kind, {key: value for key, value in said.items() if key != name}).check()


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        (Draft("nonsense/1", {}), "not in the table"),
        (Draft("network/1", {"facts": {"rtt_ms": 12.5}}), "scaled integer"),  # type: ignore[dict-item]
        (Draft("network/1", {"facts": {"rtt_ms": None}}), "no canonical form"),  # type: ignore[dict-item]
        (Draft("network/1", {"facts": {}, "kind": "boot/1"}), "common field"),
        (Draft("network/1", {"facts": {}}, at=datetime(2026, 1, 1)), "time zone"),  # noqa: DTZ001
    ],
)
def test_drafts_that_can_not_be_written(draft: Draft, reason: str) -> None:
    with pytest.raises(DraftRefused, match=reason):
        draft.check()


def test_what_is_too_large_belongs_into_a_recording() -> None:
    with pytest.raises(DraftRefused, match="as a recording"):
        entry("network/1", facts={"long": "x" * LARGEST_BODY_BYTES})
    with pytest.raises(DraftRefused, match="surrogate"):
        entry("network/1", facts={"odd": "\ud800"})


def test_refusals_say_nothing_about_a_person() -> None:
    with pytest.raises(DraftRefused) as refusal:
        Draft("patient/1", {"name": 7, "born_on": "张伟 1958", "phone": ["13800000000"]}).check()
    assert "1380" not in str(refusal.value)
    assert "张伟" not in str(refusal.value)


def test_readers_keep_fields_that_they_do_not_know() -> None:
    known = entry("encounter_closed/1")
    newer = dumps({**_said(known), "invented_later": [1, 2]})
    assert read_entry(newer, 5).fields["invented_later"] == [1, 2]
    unknown = dumps({**_said(known), "kind": "hologram/9"})
    assert read_entry(unknown, 5).kind == "hologram/9"
    assert rows(read_entry(unknown, 5)) == []


@pytest.mark.parametrize(
    "change",
    [{"n": 6}, {"n": True}, {"at": "2026-03-02 00:30"}, {"boot": "3"}, {"encounter_id": 5}, {"kind": 1}, {"by": 5}],
)
def test_entries_that_can_not_be_meant_are_set_aside(change: dict[str, Any]) -> None:
    with pytest.raises(EntryUnreadable):
        read_entry(dumps({**_said(entry("encounter_closed/1")), **change}), 5)


def test_personal_entry_without_salt_is_set_aside() -> None:
    said = _said(entry("patient/1"))
    del said["salt"]
    with pytest.raises(EntryUnreadable, match="salt"):
        read_entry(dumps(said))


def test_times_keep_milliseconds_and_nothing_else() -> None:
    assert format_time(AT) == "2026-03-02T00:30:15.250Z"
    assert parse_time(format_time(AT)) == AT
    for text in ("2026-03-02T00:30:15Z", "2026-03-02T00:30:15.250+08:00", "2026-13-02T00:30:15.250Z", ""):
        with pytest.raises(ValueError):
            parse_time(text)


@pytest.mark.parametrize("kind", RULES)
def test_rules_name_columns_and_fields_that_exist(kind: str) -> None:
    for rule in RULES[kind]:
        assert set(rule.columns) <= set(TABLES[rule.table].columns)
        assert set(TABLES[rule.table].key) <= set(rule.columns)
        for source in rule.columns.values():
            name = source.removeprefix("json:").partition("/")[0]
            assert name == "*" or name.startswith("=") or name.removeprefix("@") in (*KINDS[kind].fields, *COMMON)


@pytest.mark.parametrize("kind", RULES)
def test_rows_fill_every_column_that_the_rule_names(kind: str) -> None:
    upserts = [upsert for upsert in rows(entry(kind)) if upsert.table == RULES[kind][0].table]
    filled = {name for upsert in upserts for name in (*upsert.key, *upsert.columns)}
    unfilled = set(RULES[kind][0].columns) - filled
    inside_an_object = {"consent_sha256", "heart_rate_bpm", "rhythm"}
    assert unfilled <= inside_an_object, "only these may be absent here"


def test_reading_row() -> None:
    written = entry("reading/1", values={"systolic_mmhg": 162, "diastolic_mmhg": 98}, by_hand=False)
    (upsert,) = rows(written)
    assert (upsert.table, upsert.key) == ("readings", {"reading": "something"})
    assert upsert.columns["values_json"] == '{"diastolic_mmhg":98,"systolic_mmhg":162}'
    assert (upsert.columns["taken_at"], upsert.columns["by_hand"]) == ("2026-03-02T00:30:15.250Z", 0)


def test_crew_of_a_visit_is_on_duty() -> None:
    upserts = rows(entry("visit_opened/1"))
    assert upserts[1] == Upsert(
        "duty",
        {"visit": "something", "person": "zhou.min"},
        {"role": "village_doctor", "name": "周敏", "on_at": "2026-03-02T00:30:15.250Z"},
    )
    (off,) = rows(entry("duty/1", on=False, visit_id="visit-9"))
    assert (off.key["visit"], off.columns["off_at"]) == ("visit-9", "2026-03-02T00:30:15.250Z")


def test_consultation_goes_through_its_states() -> None:
    requested = rows(entry("consultation/1", consent={"signature_sha256": "cd" * 32}))[0]
    assert (requested.columns["state"], requested.columns["consent_sha256"]) == ("requested", "cd" * 32)
    closed = rows(entry("consultation_changed/1", state="closed"))
    assert closed[1].columns == {"closed_at": "2026-03-02T00:30:15.250Z"}


def test_correction_changes_what_it_says_and_nothing_else() -> None:
    upserts = rows(entry("correction/1", corrects_kind="patient/1", fields={"patient": "p-1", "address": "新址"}))
    assert upserts == [Upsert("patients", {"patient": "p-1"}, {"address": "新址"})]
    for odd in ({"address": "no key"}, {"patient": "p-1", "address": 5}, {"patient": ["p"]}):
        assert rows(entry("correction/1", corrects_kind="patient/1", fields=odd)) == []
    assert rows(entry("correction/1", corrects_kind="nonsense/1")) == []


def test_draft_of_the_fixtures_is_a_good_one() -> None:
    assert reading(1).check().personal


def _said(written: Entry) -> dict[str, Any]:
    return loads(written.body)

"""The searchable tables: their columns, keys and indexes, the same on the van and at the county. Pure.

``sync.record.projection`` says which entry writes which row. Tables hold nothing that the journal does not: they may be
dropped and made again at any time. The county adds a column ``origin`` to every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["text", "integer"]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns with their types; ``key`` is the primary key, ``index`` the columns that are searched or joined by.

    ``county_index``: searched by at the county only. On the van each index costs a page in every commit.
    ``made``: a column that the entry which makes a row always writes. A row without it is left over from an entry that
    was pruned, by another one that told of it.
    """

    key: tuple[str, ...]
    columns: Mapping[str, ColumnType]
    index: tuple[str, ...] = ()
    county_index: tuple[str, ...] = ()
    made: str = ""


def _table(key: str, columns: str, index: str = "", county_index: str = "", made: str = "") -> Table:
    """Columns are text unless written ``name:integer``."""
    typed: dict[str, ColumnType] = {}
    for word in f"{key} {columns}".split():
        name, _, kind = word.partition(":")
        typed[name] = "integer" if kind == "integer" else "text"
    names = tuple(word.partition(":")[0] for word in key.split())
    return Table(names, typed, tuple(index.split()), tuple(county_index.split()), made)


TABLES: dict[str, Table] = {
    "patients": _table(
        "patient",
        "name sex born_on id_number_sealed id_hash id_last4 ethnicity_code address phone phone_of pinyin id_kind "
        "record_number source registered_at",
        index="id_hash name pinyin",
        made="registered_at",
    ),
    "household_members": _table("patient", "household relation since by", index="household", made="since"),
    "household_monitoring": _table("household", "category since by", made="since"),
    "guardians": _table("patient", "name relation phone since by", made="since"),
    "conditions": _table("patient condition", "icd10 state since by", made="since"),
    "critical_findings": _table(
        "finding",
        "patient source what sha256 device words facts_json found_at by visit encounter practice:integer",
        index="encounter",
        made="found_at",
    ),
    "critical_actions": _table(
        "n:integer",
        "reading patient action receiver read_back:integer reason signature at by visit encounter practice:integer",
        index="reading",
        county_index="at",
        made="at",
    ),
    "emergencies": _table(
        "emergency",
        "patient consultation encounter visit place lat_e7:integer lon_e7:integer accuracy_m:integer started_at "
        "started_by ended_at ended_by outcome summary_json practice:integer",
        made="started_at",
    ),
    "emergency_steps": _table(
        "n:integer", "emergency checklist checklist_version item done:integer at by", index="emergency", made="at"
    ),
    "visits": _table(
        "visit",
        "village village_name township opened_at closed_at arrived_at departed_at dwell_s:integer opened_by "
        "practice:integer",
        index="village opened_at",
    ),
    "duty": _table("visit person", "role name on_at off_at"),
    "encounters": _table(
        "encounter",
        "visit patient purpose opened_at closed_at by practice:integer",
        index="visit patient",
        made="opened_at",
    ),
    "readings": _table(
        "reading",
        "encounter visit patient device driver serial type values_json taken_at device_said_at clock_offset_s:integer "
        "sequence:integer expired_lot confirmed_at confirmed_by specimen rejected_at rejected_reason by_hand:integer",
        index="patient encounter",
        county_index="visit",
        made="taken_at",
    ),
    "specimens": _table(
        "specimen",
        "number material encounter visit patient taken_at taken_by discarded_at discarded_reason",
        index="taken_at",
        made="taken_at",
    ),
    "recordings": _table(
        "sha256",
        "what bytes:integer media_type visit encounter patient device started_at duration_ms:integer facts_json "
        "n:integer evicted_at",
        index="patient encounter",
        made="media_type",
    ),
    "ecg_analyses": _table(
        "sha256",
        "encounter visit version rhythm heart_rate_bpm:integer findings_json analysed_at reviewed_at reviewed_by "
        "reviewed_name agrees:integer af words",
        index="encounter",
        county_index="visit analysed_at",
        made="analysed_at",
    ),
    "image_measurements": _table(
        "measurement",
        "sha256 encounter visit patient tool points_json sizes_json by who at",
        index="sha256",
        made="at",
    ),
    "dicom_deliveries": _table(
        "sha256 destination", "state instance study transfer_syntax reason signed_at at", made="at"
    ),
    "screening_results": _table(
        "result",
        "encounter visit patient rule rule_version level code advice inputs_json at",
        index="patient encounter",
        county_index="visit",
        made="at",
    ),
    "screening_rules": _table("sha256", "edition:integer source file place:integer checkpoint at", made="at"),
    "screening_paths": _table(
        "run",
        "encounter visit patient path path_version started_at started_by ended_at rule code next results_json "
        "pictures_json",
        index="patient encounter",
        county_index="visit",
        made="started_at",
    ),
    "referrals": _table(
        "referral",
        "encounter visit patient place department urgency reason findings path results_json follow_up_on at by "
        "practice:integer outcome note followed_at followed_by",
        index="patient encounter",
        county_index="at",
        made="at",
    ),
    "programme_memberships": _table(
        "patient programme", "state since village village_name reason visit at by practice:integer", made="since"
    ),
    "follow_up_drafts": _table(
        "draft",
        "form form_version patient encounter visit corrects:integer opened_at opened_by closed_at how",
        index="patient",
        made="opened_at",
    ),
    "follow_up_answers": _table("draft field", "answer_json at by", made="at"),
    "follow_up_forms": _table(
        "n:integer",
        "encounter visit patient form form_version answers_json sources_json next_on filled_at by signed_by "
        "practice:integer",
        index="patient encounter",
        county_index="visit",
        made="filled_at",
    ),
    "prints": _table(
        "print",
        "encounter visit patient form destination state reference content_json reason asked_at asked_by changed_at",
        index="encounter state",
        county_index="reference",
        made="asked_at",
    ),
    "consultations": _table(
        "consultation",
        "encounter patient visit state urgency fields_json requested_at requested_by consent_json consent_sha256 "
        "specialist opinion_json opinion_at decision_json decided_at closed_at changed_at",
        index="patient visit encounter",
        county_index="requested_at",
        made="requested_at",
    ),
    "device_events": _table("n:integer", "device driver event at facts_json", index="device"),
    "devices": _table(
        "device",
        "driver link place title source identity_json evidence_json state added_at added_by removed_at removed_by",
        made="added_at",
    ),
    "device_cares": _table("device what", "done_on due_on lot title at by", made="at"),
    "tracks": _table("n:integer", "at started_at points_json", index="started_at"),
    "link_qualities": _table(
        "n:integer",
        "visit village started_at duration_s:integer samples:integer technology figures_json cells_json lat_e3:integer "
        "lon_e3:integer practice:integer at",
        county_index="village",
    ),
    "consultation_rungs": _table("n:integer", "consultation before after reason figures_json at"),
    "access_log": _table("n:integer", "at person action what reason"),
}

"""The searchable tables (``sync.record.tables``) as a projection of the journal. Pure.

``RULES`` says which entry writes which row, the same on the van and at the county.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from sync.formats.canonical import encode
from sync.formats.records import Entry, format_time
from sync.record.tables import TABLES, ColumnType

Value: TypeAlias = "str | int"
_PYTHON_TYPES: dict[ColumnType, type[str] | type[int]] = {"text": str, "integer": int}


class Upsert(NamedTuple):
    """Write ``columns`` into the row ``key`` of ``table``: inserted when absent, other columns left as they are."""

    table: str
    key: Mapping[str, Value]
    columns: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row that a kind writes: table and, per column, where its value comes from.

    A source is a field of the kind; ``@name`` a common field; ``json:field`` the canonical JSON of a field;
    ``json:*`` that of all fields; ``field/key`` a key of an object field; ``=word`` the word itself.
    A column whose source is absent or of another type is left as it is. Corrections write fields only; of the common
    ones they have the place ``@n`` of the entry that they correct.
    """

    table: str
    columns: Mapping[str, str]


def _rule(table: str, sources: str) -> Rule:
    """``sources``: ``column`` for a field of that name, or ``column<source``."""
    pairs = (word.partition("<") for word in sources.split())
    return Rule(table, {column: source or column for column, _, source in pairs})


RULES: dict[str, tuple[Rule, ...]] = {
    "patient/1": (
        _rule(
            "patients",
            "patient name sex born_on id_number_sealed id_hash id_last4 ethnicity_code address phone phone_of pinyin "
            "id_kind record_number source registered_at<@at",
        ),
    ),
    "household_member/1": (_rule("household_members", "patient household relation since<@at by<@by"),),
    "household_monitoring/1": (_rule("household_monitoring", "household category since<@at by<@by"),),
    "guardian/1": (_rule("guardians", "patient name relation phone since<@at by<@by"),),
    "condition/1": (_rule("conditions", "patient condition icd10 state since<@at by<@by"),),
    "critical_finding/1": (
        _rule(
            "critical_findings",
            "finding patient source what sha256 device words facts_json<json:facts found_at<@at by<@by visit<@visit "
            "encounter<@encounter practice<@practice",
        ),
    ),
    "critical_action/1": (
        _rule(
            "critical_actions",
            "n<@n reading patient action receiver read_back reason signature at<@at by<@by visit<@visit "
            "encounter<@encounter practice<@practice",
        ),
    ),
    "emergency/1": (
        _rule(
            "emergencies",
            "emergency patient consultation encounter<@encounter visit<@visit place lat_e7 lon_e7 accuracy_m "
            "started_at<@at started_by<@by practice<@practice",
        ),
    ),
    "emergency_step/1": (
        _rule("emergency_steps", "n<@n emergency checklist checklist_version item done at<@at by<@by"),
    ),
    "emergency_ended/1": (
        _rule("emergencies", "emergency outcome summary_json<json:summary ended_at<@at ended_by<@by"),
    ),
    "visit_opened/1": (
        _rule(
            "visits",
            "visit<visit_id village village_name township opened_at<@at arrived_at opened_by<@by practice<@practice",
        ),
    ),
    "visit_closed/1": (_rule("visits", "visit<visit_id closed_at<@at arrived_at departed_at dwell_s"),),
    "encounter/1": (
        _rule(
            "encounters",
            "encounter<encounter_id visit<@visit patient purpose opened_at<@at by<@by practice<@practice",
        ),
    ),
    "encounter_closed/1": (_rule("encounters", "encounter<encounter_id closed_at<@at"),),
    "reading/1": (
        _rule(
            "readings",
            "reading encounter<@encounter visit<@visit patient device driver type values_json<json:values taken_at<@at "
            "device_said_at clock_offset_s serial sequence expired_lot by_hand",
        ),
    ),
    "reading_confirmed/1": (
        _rule(
            "readings",
            "reading patient encounter<@encounter visit<@visit confirmed_at<@at confirmed_by<@by specimen",
        ),
    ),
    "specimen/1": (
        _rule(
            "specimens",
            "specimen number material encounter<@encounter visit<@visit patient taken_at<@at taken_by<@by",
        ),
    ),
    "specimen_discarded/1": (_rule("specimens", "specimen discarded_at<@at discarded_reason<reason"),),
    "reading_rejected/1": (_rule("readings", "reading rejected_at<@at rejected_reason<reason"),),
    "recording/1": (
        _rule(
            "recordings",
            "sha256 what bytes media_type visit<@visit encounter<@encounter patient device started_at duration_ms "
            "facts_json<json:facts n<@n",
        ),
    ),
    "recording_assigned/1": (_rule("recordings", "sha256 patient encounter<@encounter"),),
    "recording_evicted/1": (_rule("recordings", "sha256 evicted_at<@at"),),
    "ecg_analysis/1": (
        _rule(
            "ecg_analyses",
            "sha256 encounter<@encounter visit<@visit version rhythm<findings/rhythm "
            "heart_rate_bpm<findings/heart_rate_bpm findings_json<json:findings analysed_at<@at",
        ),
    ),
    "ecg_review/1": (
        _rule(
            "ecg_analyses",
            "sha256 reviewed_at<@at reviewed_by<@by reviewed_name<by_name agrees af words",
        ),
    ),
    "image_measurement/1": (
        _rule(
            "image_measurements",
            "measurement sha256 encounter<@encounter visit<@visit patient tool points_json<json:points_millipixel "
            "sizes_json<json:sizes by<@by who at<@at",
        ),
    ),
    "dicom_delivery/1": (
        _rule("dicom_deliveries", "sha256 destination state instance study transfer_syntax reason signed_at at<@at"),
    ),
    "programme_membership/1": (
        _rule(
            "programme_memberships",
            "patient programme state since village village_name reason visit<@visit at<@at by<@by practice<@practice",
        ),
    ),
    "follow_up_draft/1": (
        _rule(
            "follow_up_drafts",
            "draft form form_version patient encounter<@encounter visit<@visit corrects opened_at<@at opened_by<@by",
        ),
    ),
    "follow_up_answer/1": (_rule("follow_up_answers", "draft field answer_json<json:answer at<@at by<@by"),),
    "follow_up_draft_closed/1": (_rule("follow_up_drafts", "draft closed_at<@at how"),),
    "follow_up_form/1": (
        _rule(
            "follow_up_forms",
            "n<@n encounter<@encounter visit<@visit patient form form_version answers_json<json:answers "
            "sources_json<json:sources next_on filled_at<@at by<@by signed_by practice<@practice",
        ),
    ),
    "screening_rules/1": (_rule("screening_rules", "sha256 edition source file place checkpoint at<@at"),),
    "screening_path/1": (
        _rule(
            "screening_paths",
            "run encounter<@encounter visit<@visit patient path path_version started_at<@at started_by<@by",
        ),
    ),
    "screening_path_ended/1": (
        _rule(
            "screening_paths", "run ended_at<@at rule code next results_json<json:results pictures_json<json:pictures"
        ),
    ),
    "referral/1": (
        _rule(
            "referrals",
            "referral encounter<@encounter visit<@visit patient place<to department urgency reason findings path "
            "results_json<json:results follow_up_on at<@at by<@by practice<@practice",
        ),
    ),
    "referral_followed/1": (_rule("referrals", "referral outcome note followed_at<@at followed_by<@by"),),
    "screening_result/1": (
        _rule(
            "screening_results",
            "result encounter<@encounter visit<@visit patient rule rule_version level code advice "
            "inputs_json<json:inputs at<@at",
        ),
    ),
    "print/1": (
        _rule(
            "prints",
            "print encounter<@encounter visit<@visit patient form destination state reference "
            "content_json<json:content asked_at<@at asked_by<@by",
        ),
    ),
    "print_changed/1": (_rule("prints", "print state reason changed_at<@at"),),
    "consultation/1": (
        _rule(
            "consultations",
            "consultation encounter<@encounter visit<@visit patient state<=requested urgency fields_json<json:fields "
            "requested_at<@at requested_by<@by consent_json<json:consent consent_sha256<consent/signature_sha256",
        ),
    ),
    "consultation_changed/1": (_rule("consultations", "consultation state changed_at<@at"),),
    "opinion/1": (_rule("consultations", "consultation specialist opinion_json<json:* opinion_at<signed_at"),),
    "decision/1": (_rule("consultations", "consultation decision_json<json:* decided_at<@at"),),
    "device_event/1": (_rule("device_events", "n<@n device driver event at<@at facts_json<json:facts"),),
    "device_added/1": (
        _rule(
            "devices",
            "device driver link place title source identity_json<json:identity evidence_json<json:evidence "
            "state<=added added_at<@at added_by<@by",
        ),
    ),
    "device_removed/1": (_rule("devices", "device state<=removed removed_at<@at removed_by<@by"),),
    "device_care/1": (_rule("device_cares", "device what done_on due_on lot title at<@at by<@by"),),
    "track/1": (_rule("tracks", "n<@n at<@at started_at points_json<json:*"),),
    "link_quality/1": (
        _rule(
            "link_qualities",
            "n<@n visit<visit_id village started_at duration_s samples technology figures_json<json:figures "
            "cells_json<json:cells lat_e3 lon_e3 practice<@practice at<@at",
        ),
    ),
    "consultation_rung/1": (
        _rule("consultation_rungs", "n<@n consultation before after reason figures_json<json:figures at<@at"),
    ),
    "access/1": (_rule("access_log", "n<@n at<@at person<@by action what reason"),),
}


Said = Mapping[str, object]
_Read = Callable[[Said], object]
_Column = tuple[str, str, "_Read | None", "type[str] | type[int]"]
"""Name, source, how a source that is no plain name is read, type."""


def rows(entry: Entry) -> list[Upsert]:
    """The rows that ``entry`` writes, in order. An entry of an unknown kind writes none.

    A correction that names the kind it corrects writes what its fields say: they hold the key of the row and the
    columns to change.
    """
    if entry.kind == "correction/1":
        return list(_corrected(entry))
    return [*_by_rules(entry), *_by_lists(entry)]


def _by_rules(entry: Entry) -> Iterator[Upsert]:
    rules = _COMPILED.get(entry.kind)
    if not rules:
        return
    said = {**_common(entry), **entry.fields}
    for rule in rules:
        upsert = rule.upsert(said)
        if upsert:
            yield upsert


def _by_lists(entry: Entry) -> Iterator[Upsert]:
    """Rows per person on duty, and the close of a consultation: what the table of rules can't say."""
    fields = entry.fields
    if entry.kind == "visit_opened/1":
        for member in fields["crew"]:
            key: dict[str, Value] = {"visit": fields["visit_id"], "person": member["person"]}
            who = {"role": member["role"], "name": member["name"]}
            yield Upsert("duty", key, {**who, "on_at": format_time(entry.at)})
    elif entry.kind == "duty/1":
        key = {"visit": fields.get("visit_id") or entry.visit or "", "person": fields["person"]}
        who = {"role": fields["role"], "name": fields["name"]}
        yield Upsert("duty", key, {**who, ("on_at" if fields["on"] else "off_at"): format_time(entry.at)})
    elif entry.kind == "consultation_changed/1" and fields["state"] == "closed":
        yield Upsert("consultations", {"consultation": fields["consultation"]}, {"closed_at": format_time(entry.at)})


def _corrected(entry: Entry) -> Iterator[Upsert]:
    for rule in _COMPILED.get(str(entry.fields.get("corrects_kind")), ()):
        upsert = rule.upsert({**entry.fields["fields"], "@n": entry.fields.get("corrects")})
        if upsert and upsert.columns:
            yield upsert


def _common(entry: Entry) -> dict[str, object]:
    return {
        "@n": entry.n,
        "@at": format_time(entry.at),
        "@by": entry.by,
        "@visit": entry.visit,
        "@encounter": entry.encounter,
        "@practice": entry.practice,
    }


class _CompiledRule:
    """A ``Rule`` with its sources read once instead of at every entry."""

    def __init__(self, rule: Rule) -> None:
        table = TABLES[rule.table]
        self._table = rule.table
        names = (*table.key, *(name for name in rule.columns if name not in table.key))
        columns = [
            (name, rule.columns[name], _read(rule.columns[name]), _PYTHON_TYPES[table.columns[name]]) for name in names
        ]
        self._key, self._columns = columns[: len(table.key)], columns[len(table.key) :]

    def upsert(self, said: Said) -> Upsert | None:
        """The row, None when ``said`` does not have its key."""
        key = _values(self._key, said)
        return Upsert(self._table, key, _values(self._columns, said)) if len(key) == len(self._key) else None


def _values(columns: list[_Column], said: Said) -> dict[str, Value]:
    """What ``said`` has of ``columns``: those of the right type."""
    values: dict[str, Value] = {}
    for name, source, read, wanted in columns:
        value = said.get(source) if read is None else read(said)
        if type(value) is wanted:
            values[name] = value
        elif isinstance(value, wanted):
            values[name] = wanted(value)  # a boolean as 0 or 1
    return values


def _read(source: str) -> _Read | None:
    """What a source of ``Rule`` reads; None for what stands under its own name."""
    if source.startswith("="):
        return lambda said: source[1:] if "@at" in said else None
    if source == "json:*":
        return lambda said: _all_fields(said) if "@at" in said else None
    name, _, inner = source.removeprefix("json:").partition("/")
    if source.startswith("json:"):
        return lambda said: None if said.get(name) is None else _json(said[name])
    if inner:
        return lambda said: found.get(inner) if isinstance(found := said.get(name), Mapping) else None
    return None


def _all_fields(said: Said) -> str:
    return _json({name: value for name, value in said.items() if not name.startswith("@")})


def _json(value: object) -> str:
    return encode(value).decode()


_COMPILED = {kind: tuple(_CompiledRule(rule) for rule in rules_of_kind) for kind, rules_of_kind in RULES.items()}

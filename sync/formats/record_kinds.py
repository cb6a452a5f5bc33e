"""The table of record kinds: fields and their types. Pure. ``sync.formats.records`` reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sync.formats.field_types import FIELD_TYPES

_EXACTLY = {"text": str, "integer": int, "boolean": bool, "object": dict, "list": list}
"""Types of which every value of exactly this class is one."""


class _Nothing:
    """The class of no value at all."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record in one schema version: name "reading/1"."""

    name: str
    fields: Mapping[str, str]
    personal: bool = False
    """Carries a salt, so that its leaf hash tells a stranger nothing."""
    checks: tuple[tuple[str, type, bool, Callable[[object], bool]], ...] = field(default=(), repr=False)
    """(field, the type that is good at once, whether it may be left out, whether a value is of its type)."""


def kind_of(name: str, /, personal: bool = False, **fields: str) -> Kind:
    """A kind by the names of its fields' types (``FIELD_TYPES``); a ``?`` behind a type: may be left out."""
    checks = []
    for key, wanted in fields.items():
        of_type = wanted.removesuffix("?")
        checks.append((key, _EXACTLY.get(of_type, _Nothing), wanted != of_type, FIELD_TYPES[of_type]))
    return Kind(name, fields, personal, tuple(checks))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # the vehicle itself
        kind_of("boot/1", software="text"),
        kind_of("anchor/1", size="integer", root="sha256", receipt_sha256="sha256"),
        kind_of("clock/1", seconds_ms="integer", source="text"),
        kind_of("settings_changed/1", what="text", facts="object?"),
        kind_of("device_event/1", device="text", driver="text", event="text", facts="object"),
        kind_of(
            "device_added/1",
            device="text",
            driver="text",
            link="text",
            place="text",
            title="text",
            source="text",
            identity="object",
            evidence="list",
        ),
        kind_of("device_removed/1", device="text", reason="text"),
        kind_of(
            "device_care/1", device="text", what="text", done_on="date?", due_on="date?", lot="text?", title="text?"
        ),
        kind_of("network/1", facts="object"),
        kind_of("access/1", action="text", what="text", reason="text?"),
        kind_of("recording_evicted/1", sha256="sha256", reason="text"),
        kind_of("pruned/1", first="integer", last="integer", count="integer", reason="text"),
        kind_of("key_changed/1", key="text", old_signature="text", new_signature="text"),
        # patrol
        kind_of("duty/1", visit_id="text?", person="text", role="text", name="text", on="boolean"),
        kind_of(
            "track/1",
            started_at="time",
            lat_e7="integer",
            lon_e7="integer",
            accuracy_m="integer",
            satellites="integer",
            steps="steps",
            odometer_m="integer?",
            odometer_end_m="integer?",
            cells="list?",
            ignition="boolean?",
            flags="list?",
        ),
        kind_of(
            "visit_opened/1",
            visit_id="text",
            village="text",
            village_name="text",
            township="text",
            proposed_by="text",
            crew="crew",
            arrived_at="time",
        ),
        kind_of(
            "visit_closed/1",
            visit_id="text",
            arrived_at="time",
            departed_at="time",
            dwell_s="integer",
            encounters="integer",
        ),
        kind_of("outreach/1", visit_id="text", what="text", people="integer?"),
        kind_of("village_confirmed/1", visit_id="text", village="text", person="text", name="text", means="text"),
        kind_of(
            "link_quality/1",
            visit_id="text",
            village="text",
            started_at="time",
            duration_s="integer",
            samples="integer",
            figures="object",
            cells="list",
            technology="text?",
            lat_e3="integer?",
            lon_e3="integer?",
        ),
        # clinic
        kind_of(
            "patient/1",
            personal=True,
            patient="text",
            name="text",
            sex="text",
            born_on="date?",
            id_number_sealed="text?",
            id_hash="text?",
            id_last4="text?",
            ethnicity_code="text?",
            address="text?",
            phone="text?",
            phone_of="text?",
            pinyin="text?",
            id_kind="text?",
            record_number="text?",
            source="text",
        ),
        kind_of("household_member/1", personal=True, household="text", patient="text", relation="text"),
        kind_of("household_monitoring/1", personal=True, household="text", category="text"),
        kind_of("guardian/1", personal=True, patient="text", name="text", relation="text", phone="text?"),
        kind_of("condition/1", personal=True, patient="text", condition="text", icd10="text?", state="text"),
        kind_of("encounter/1", personal=True, encounter_id="text", patient="text", purpose="text"),
        kind_of("encounter_closed/1", encounter_id="text", opened_at="time?"),
        kind_of(
            "reading/1",
            personal=True,
            reading="text",
            patient="text?",
            device="text",
            driver="text",
            type="text",
            values="object",
            codes="object?",
            device_said_at="text?",
            clock_offset_s="integer?",
            serial="text?",
            sequence="integer?",
            expired_lot="text?",
            by_hand="boolean",
        ),
        kind_of("reading_confirmed/1", personal=True, reading="text", patient="text", specimen="text?"),
        kind_of("reading_rejected/1", reading="text", reason="text"),
        kind_of(
            "critical_finding/1",
            personal=True,
            finding="text",
            patient="text",
            source="text",
            what="text",
            sha256="sha256?",
            device="text?",
            words="text?",
            facts="object",
        ),
        kind_of(
            "critical_action/1",
            personal=True,
            reading="text",
            patient="text?",
            action="text",
            receiver="text?",
            read_back="boolean?",
            reason="text?",
            signature="sha256?",
        ),
        kind_of(
            "emergency/1",
            personal=True,
            emergency="text",
            patient="text",
            consultation="text?",
            place="text?",
            lat_e7="integer?",
            lon_e7="integer?",
            accuracy_m="integer?",
        ),
        kind_of(
            "emergency_step/1",
            personal=True,
            emergency="text",
            checklist="text",
            checklist_version="text",
            item="text",
            done="boolean",
        ),
        kind_of("emergency_ended/1", personal=True, emergency="text", outcome="text", summary="object"),
        kind_of("specimen/1", personal=True, specimen="text", number="text", material="text", patient="text"),
        kind_of("specimen_discarded/1", specimen="text", reason="text"),
        kind_of(
            "recording/1",
            personal=True,
            sha256="sha256",
            bytes="integer",
            media_type="text",
            what="text",
            patient="text?",
            device="text?",
            started_at="time",
            duration_ms="integer",
            facts="object",
        ),
        kind_of("recording_assigned/1", personal=True, sha256="sha256", patient="text"),
        # what the analysis found in an ECG, unreviewed; and what the doctor signed of it
        kind_of("ecg_analysis/1", personal=True, sha256="sha256", version="text", findings="object"),
        kind_of(
            "ecg_review/1",
            personal=True,
            sha256="sha256",
            version="text",
            agrees="boolean",
            af="text",
            words="text",
            by_name="text",
        ),
        kind_of(
            "image_measurement/1",
            personal=True,
            measurement="text",
            sha256="sha256",
            patient="text?",
            tool="text",
            points_millipixel="list",
            sizes="object",
            who="text?",
        ),
        kind_of(
            "dicom_delivery/1",
            sha256="sha256",
            destination="text",
            state="text",
            instance="text",
            study="text",
            transfer_syntax="text?",
            reason="text?",
            signed_at="time?",
        ),
        kind_of(
            "screening_result/1",
            personal=True,
            result="text",
            patient="text",
            rule="text",
            rule_version="text",
            inputs="object",
            code="text",
            level="text",
            advice="text?",
        ),
        kind_of(
            "screening_rules/1",
            sha256="sha256",
            edition="integer",
            source="text",
            file="text",
            place="integer?",
            checkpoint="text?",
        ),
        kind_of("screening_path/1", personal=True, run="text", patient="text", path="text", path_version="text"),
        kind_of(
            "screening_path_ended/1",
            personal=True,
            run="text",
            patient="text",
            path="text",
            rule="text?",
            code="text?",
            next="text",
            results="list",
            pictures="list?",
        ),
        kind_of(
            "referral/1",
            personal=True,
            referral="text",
            patient="text",
            to="text",
            department="text?",
            urgency="text",
            reason="text",
            findings="text",
            path="text?",
            results="list",
            follow_up_on="date?",
        ),
        kind_of("referral_followed/1", personal=True, referral="text", patient="text", outcome="text", note="text?"),
        kind_of(
            "programme_membership/1",
            personal=True,
            patient="text",
            programme="text",
            state="text",
            since="date",
            village="text?",
            village_name="text?",
            reason="text?",
        ),
        kind_of(
            "follow_up_draft/1",
            personal=True,
            draft="text",
            form="text",
            form_version="text",
            patient="text",
            corrects="integer?",
        ),
        kind_of("follow_up_answer/1", personal=True, draft="text", field="text", answer="object"),
        kind_of("follow_up_draft_closed/1", draft="text", how="text"),
        kind_of(
            "follow_up_form/1",
            personal=True,
            form="text",
            form_version="text",
            patient="text",
            answers="object",
            next_on="date?",
            sources="object?",
            signed_by="text?",
        ),
        # paper
        kind_of(
            "print/1",
            personal=True,
            print="text",
            patient="text?",
            form="text",
            destination="text",
            state="text",
            reference="text",
            content="object",
        ),
        kind_of("print_changed/1", print="text", state="text", reason="text?"),
        # consultation
        kind_of(
            "consultation/1",
            personal=True,
            consultation="text",
            patient="text",
            urgency="text",
            fields="object",
            consent="object",
        ),
        kind_of(
            "consultation_changed/1",
            consultation="text",
            state="text",
            who="text?",
            reason="text?",
            session_over="boolean?",
        ),
        kind_of(
            "consultation_rung/1",
            consultation="text",
            before="text",
            after="text",
            reason="text",
            figures="object",
        ),
        kind_of(
            "opinion/1",
            personal=True,
            consultation="text",
            specialist="text",
            specialist_name="text",
            institution="text",
            opinion="object",
            signed_text="text",
            signature="text",
            public_key="text",
            signed_at="time",
        ),
        kind_of(
            "decision/1",
            personal=True,
            consultation="text",
            decision="text",
            plan="text",
            by_name="text",
        ),
        # any record may be corrected; the original stays
        kind_of(
            "correction/1",
            personal=True,
            corrects="integer",
            corrects_kind="text?",
            reason="text",
            fields="object",
        ),
    )
}

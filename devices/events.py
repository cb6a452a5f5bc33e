"""Log events: structured, past tense, object first. Ids only, never a person's name or number.

``emit("device_attached", device="ecg-1", driver="contec_8000g")`` writes one JSON line. An event or a field that is
not in the table is a programming error, so the table is the documentation.
"""

from __future__ import annotations

import json
import logging

EVENTS: dict[str, tuple[str, ...]] = {
    # devices
    "device_attached": ("device", "driver", "port"),
    "device_lost": ("device", "reason"),
    "device_fault": ("device", "code"),
    "frames_dropped": ("device", "count", "reason"),
    "caller_refused": ("device", "address", "reason"),
    "slip_interrupted": ("printer",),
    "voice_pack_refused": ("pack", "reason"),
    "bluetooth_unavailable": ("reason",),
    "bluetooth_available": (),
    "bluetooth_adapter_restarted": ("silent_scans",),
    "link_probe_failed": ("reason",),
    "link_echo_unavailable": ("reason",),
    "modem_manager_lost": ("reason",),
    "modem_manager_found": (),
    # record
    "journal_opened": ("origin", "size", "boot"),
    "entry_appended": ("n", "kind"),
    "recording_stored": ("sha256", "bytes"),
    "ecg_imported": ("sha256", "format", "held"),
    "ecg_not_analysed": ("sha256", "reason"),
    "uplink_lost": ("reason",),
    "uplink_restored": (),
    "batch_delivered": ("first", "count"),
    "recording_delivered": ("sha256", "bytes"),
    "recordings_taken_back": ("count",),
    "recordings_lost_at_county": ("count",),
    "stick_exported": ("size", "entries", "recordings"),
    "stick_imported": ("origin", "size", "entries", "recordings"),
    "lane_held": ("lane",),
    "lane_released": ("lane",),
    "upload_parked": ("what", "reason"),
    "receipt_verified": ("size",),
    "evidence_missing": ("what", "reason", "detail"),
    "printing_unavailable": ("packages",),
    "key_changed": ("origin", "size"),
    "key_change_taken": ("origin", "size"),
    "enrolment_asked": ("origin",),
    "enrolment_dropped": ("address",),
    "enrolment_answered": ("state",),
    "vehicle_enrolled": ("origin",),
    "enrolment_code_refused": ("origin", "reason"),
    "key_revoked": ("origin", "size"),
    "extra_signature_failed": ("reason",),
    "clock_stepped": ("seconds",),
    "disk_low": ("free_bytes",),
    "reserve_released": ("bytes",),
    "recording_evicted": ("sha256", "bytes"),
    "recording_not_stored": ("device", "reason"),
    "entries_pruned": ("first", "last", "count"),
    "entries_removed": ("origin", "first", "last", "count"),
    # patrol and clinic
    "visit_opened": ("visit", "village"),
    "visit_closed": ("visit", "dwell_s"),
    "village_entered": ("village",),
    "village_left": ("village",),
    "encounter_opened": ("encounter",),
    "encounter_closed": ("encounter",),
    "sign_in_refused": ("person", "reason"),
    "signed_in": ("person",),
    # consultation
    "consultation_changed": ("consultation", "state"),
    "exchange_lost": ("reason",),
    "exchange_joined": (),
    "van_joined": ("origin",),
    "van_left": ("origin",),
    "signalling_refused": ("who", "reason"),
    "relay_chosen": ("url",),
    "relay_refused": ("url", "reason"),
    "sfu_connected": ("sfu", "what"),
    "sfu_lost": ("sfu", "what"),
    "sfu_refused": ("sfu", "what", "code", "reason"),
    "viewer_connected": ("consultation", "viewer"),
    "viewer_lost": ("consultation", "viewer"),
    "viewer_silent": ("viewer",),
    "viewer_heard_again": ("viewer",),
    "addresses_changed": ("addresses",),
    "live_data_lost": ("reason",),
    "live_data_restored": (),
    "video_source_lost": ("feed", "reason"),
    "media_thread_failed": ("thread", "reason"),
    "media_thread_died": ("thread", "reason"),
    "video_source_opened": ("feed",),
    "video_picture_suspect": ("feed", "state"),
    "video_picture_good": ("feed",),
    "session_rung_changed": ("consultation", "before", "after"),
    "opinion_received": ("consultation",),
    "session_shared": ("consultation", "who", "role"),
    "session_joined": ("consultation", "who", "role"),
    "clip_stored": ("feed", "sha256", "seconds"),
    "clip_interrupted": ("feed", "reason"),
    "dicom_stored": ("sha256", "destination"),
    "dicom_refused": ("sha256", "destination", "reason"),
    "pacs_lost": ("destination", "reason"),
    "pacs_restored": ("destination",),
    "h264_encoder_chosen": ("encoder",),
    "no_h264_encoder": ("tried",),
    "h264_encoder_failed": ("encoder", "reason"),
    # county
    "checkpoint_accepted": ("origin", "size"),
    "checkpoint_refused": ("origin", "reason"),
    "log_frozen": ("origin", "reason"),
    "log_unfrozen": ("origin", "reason"),
    "entries_stored": ("origin", "first", "count"),
    "registry_appended": ("origin", "first", "count"),
    "month_sealed": ("month", "townships"),
    "checkpoint_witnessed": ("origin", "size"),
    "witness_refused": ("origin", "reason"),
    "witness_unreachable": ("reason",),
    "witness_reached": (),
    "log_introduced": ("origin",),
    "entry_set_aside": ("origin", "n", "reason"),
    "request_refused": ("path", "reason"),
    "account_locked": ("account",),
    # services
    "service_started": ("service", "seconds"),
    "service_stopping": ("service",),
    "entries_not_written": ("count",),
    "service_refused": ("service", "code", "reason"),
    "service_restarted": ("service", "reason"),
    "service_failed": ("service", "reason"),
    "listener_failed": ("listener", "topic", "reason"),
    "recording_recovered": ("sha256",),
    "network_device_found": ("name", "kind"),
    "network_device_gone": ("name", "kind"),
    "announcing_impossible": ("reason",),
}

_log = logging.getLogger("xunzhen")


def emit(event: str, level: int = logging.INFO, **fields: object) -> None:
    known = EVENTS.get(event)
    if known is None or not set(fields) <= set(known):
        raise ValueError(f"log event {event!r} with fields {sorted(fields)} is not in devices/events.py")
    if _log.isEnabledFor(level):
        _log.log(level, json.dumps({"event": event, **fields}, ensure_ascii=False, default=str))

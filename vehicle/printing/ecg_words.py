"""What stands beside an ECG on paper: whose, when, where, what was found and who has reviewed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

from devices import catalog
from sync.formats.records import parse_time
from sync.interop.ecg_leads import Ecg
from sync.interop.ecg_pdf import Words
from sync.web.catalog import Texts
from vehicle.clinic.identity import age_years
from vehicle.clinic.people import PatientView
from vehicle.clinic.ports import Journal
from vehicle.clinic.views import CHINA
from vehicle.ecg_findings import FindingsView
from vehicle.printing.slip_contents import Letterhead

LONGEST_WORDS = 70
"""Characters of the doctor's own words: the head has room for no more; the whole stands in the record."""


def ecg_words(
    store: Journal,
    letterhead: Letterhead,
    row: Mapping[str, Any],
    ecg: Ecg,
    patient: PatientView | None,
    found: FindingsView | None,
    t: Texts,
) -> Words:
    """:param row: of the table ``recordings``"""
    imported = json.loads(row["facts_json"] or "{}").get("imported")
    said_at = (imported or {}).get("device_said_at")
    taken_at = datetime.fromisoformat(said_at) if said_at else parse_time(row["started_at"]).astimezone(CHINA)
    leads = ecg.names()
    several = t("ecg_paper.title", n=len(leads)) if len(leads) > 1 else t("ecg_paper.title_one", lead=leads[0])
    return Words(
        language=t.language,
        title=several + (f"  {t('ecg_paper.practice')}" if letterhead.practice else ""),
        who=_who(patient, taken_at, t),
        person=(_id(patient, t), t("ecg_paper.record", number=row["sha256"][:16])),
        place=(
            t("ecg_paper.taken_said" if said_at else "ecg_paper.taken", at=f"{taken_at:%Y-%m-%d %H:%M:%S}"),
            _village(store, row["visit"]),
            " ".join(part for part in (letterhead.clinic, letterhead.plate) if part),
        ),
        state=t("touch.ecg.reviewed" if found and found.review else "touch.ecg.unreviewed"),
        disclaimer=t("ecg_paper.disclaimer"),
        findings=_findings(found, t),
        foot=(
            "25 mm/s",
            "10 mm/mV",
            t("ecg_paper.band"),
            t("ecg_paper.notch"),
            _device(row, imported, t),
            t("ecg_paper.software", version=version("xunzhen")),
        ),
    )


def _who(patient: PatientView | None, taken_at: datetime, t: Texts) -> str:
    """Name, sex, and the age on that day."""
    if patient is None:
        return t("ecg_paper.nobody")
    age = age_years(patient.born_on, taken_at.date()) if patient.born_on else None
    aged = t("touch.person.age", n=age) if age is not None and age >= 0 else ""
    return " ".join(part for part in (patient.name, t(f"touch.sex.{patient.sex}"), aged) if part)


def _id(patient: PatientView | None, t: Texts) -> str:
    if patient is None:
        return ""
    return t("ecg_paper.id_number", number=patient.masked_id) if patient.masked_id else t("ecg_paper.no_id")


def _village(store: Journal, visit: str | None) -> str:
    rows = store.read("SELECT village_name, township FROM visits WHERE visit = ?", (visit or "",))
    return " ".join(rows[0][name] for name in ("township", "village_name") if rows[0][name]) if rows else ""


def _findings(found: FindingsView | None, t: Texts) -> tuple[str, ...]:
    if found is None:
        return ()
    rate = found.findings.get("heart_rate_bpm")
    told = [f"{t('touch.ecg.rate')} {rate} {t('touch.ecg.per_minute')}"] if rate else []
    told.append(t(f"touch.ecg.rhythm_is.{found.findings['rhythm']}"))
    automatic = t("ecg_paper.automatic", text=t("touch.comma").join(told))
    review = found.review
    if review is None:
        return (automatic,)
    words = [t(f"touch.ecg.af_answer.{review.af}"), shorten(review.words)]
    at = f"{review.at.astimezone(CHINA):%Y-%m-%d %H:%M}"
    signed = t("touch.comma").join(word for word in words if word)
    return (automatic, t("ecg_paper.signed", name=review.by_name, at=at, text=signed))


def shorten(words: str) -> str:
    """What the head has room for."""
    return words if len(words) <= LONGEST_WORDS else words[: LONGEST_WORDS - 1] + "…"


def _device(row: Mapping[str, Any], imported: Mapping[str, Any] | None, t: Texts) -> str:
    device = str(row["device"] or "")
    if imported:
        return t("ecg_paper.imported", device=device)
    driver = str(json.loads(row["facts_json"] or "{}").get("driver", ""))
    if driver not in catalog.drivers():
        return device
    about = catalog.about(driver)
    return f"{about.title_zh if t.language == 'zh' else about.title_en} {device}"

"""When which rule is asked: one row per rule of the rule file. No thresholds here; those are the rules' own.

A rule is shown when one of its ``lead`` inputs is there and its circumstances hold, so that a blood pressure does not
open a questionnaire on tuberculosis, and the follow-up of a disease is asked of those who have it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occasion:
    rule: str
    lead: tuple[str, ...]
    """Any one of these inputs opens the rule."""
    only_if: tuple[tuple[str, bool], ...] = ()
    """Known facts of which one must hold; ``after`` is a further way."""
    after: tuple[tuple[str, str], ...] = ()
    """(other rule, its code): one of these answers opens it too."""
    unless: tuple[tuple[str, bool], ...] = ()
    """Known facts of which none may hold."""
    quiet: bool = False
    """Shown only when a case above green matched: silence says nothing, and asks nothing."""
    no_green_if: tuple[str, bool] | None = None
    """Where this fact holds the rule's limits are too high to call anything normal."""
    from_age: int = 0
    """Nobody known to be younger is asked: the rule's limits are those of adults."""
    asks_if: tuple[str, bool] | None = None
    """Of a quiet rule: speaks up about missing inputs too when this fact holds."""
    hears_lead: bool = False
    """Until ``asks_if`` holds it hears its ``lead`` alone: a fast pulse is no emergency of diabetes without one."""


ADULT = 18
"""WS/T 428-2013 grades body mass index and waist of adults; a child's go by tables of age. Neither the grades nor their
advice to lose weight are for a pregnancy."""
CHILD_BELOW = 12
CHILD_SLOW_BPM, CHILD_FAST_BPM, INFANT_FAST_BPM = 60, 180, 220
"""A child's heart rate between slow and fast is left to the doctor: limits of adults (over 100, from 150) are ordinary
for a newborn. Outside it counts: AHA Pediatric Advanced Life Support 2020 (under 60 with poor perfusion;
supraventricular tachycardia from 180, under one year from 220)."""


def adults_rate(bpm: object, age: object) -> bool:
    """Whether the rules, which know adults, may hear a heart rate of somebody so old (None: nobody knows)."""
    if not isinstance(age, int) or age >= CHILD_BELOW or not isinstance(bpm, int | float):
        return True
    return not CHILD_SLOW_BPM <= bpm < (CHILD_FAST_BPM if age >= 1 else INFANT_FAST_BPM)


_RAISED = (("BP-GRADE", "HTN1"), ("BP-GRADE", "HTN2"), ("BP-GRADE", "HTN3"))
_HYPERTENSIVE = (("known_htn", True),)
_HIGH_OR_TREATED = (*_HYPERTENSIVE, ("htn_factor", True))
"""At any age: the grades of BP-GRADE begin at 18, a pregnancy and its danger do not."""
_DIABETIC = (("known_dm", True),)
_PREGNANT = (("pregnant", True),)
_DIABETES_RISKS = (
    "igr_history",
    "sedentary",
    "family_dm",
    "gdm_history",
    "lipid_factor",
    "ascvd",
    "steroid_dm",
    "pcos",
)

OCCASIONS: dict[str, Occasion] = {
    row.rule: row
    for row in (
        # blood pressure
        Occasion("BP-GRADE", ("sbp", "dbp")),
        Occasion("BP-URGENT", ("sbp", "dbp", "bp_danger"), only_if=_HIGH_OR_TREATED, after=_RAISED),
        Occasion("BP-FIRST", ("sbp", "dbp"), after=_RAISED),
        Occasion("BP-FOLLOWUP", ("sbp", "dbp"), only_if=_HYPERTENSIVE),
        Occasion(
            "BP-HIGHRISK6",
            ("sbp", "waist", "bmi", "high_salt"),
            unless=(*_HYPERTENSIVE, *_PREGNANT),
            quiet=True,
            from_age=ADULT,
        ),
        Occasion("BP-ARMDIFF", ("sbp_left", "sbp_right")),
        # glucose
        Occasion(
            "GLU-URGENT",
            ("glu",),
            unless=(("known_dm", False),),
            quiet=True,
            asks_if=("known_dm", True),
            hears_lead=True,
        ),
        Occasion("GLU-FOLLOWUP", ("fpg",), only_if=_DIABETIC),
        Occasion("GLU-SCREEN", ("glu", "fpg", "rpg", "ogtt2h", "hba1c"), no_green_if=_PREGNANT[0]),  # 5.1, not 6.1
        Occasion("GLU-HIGHRISK", _DIABETES_RISKS, unless=_DIABETIC, from_age=ADULT),
        Occasion("GLU-CDRS", ("waist",), unless=_DIABETIC),
        Occasion("GDM-OGTT", ("ogtt1h", "ogtt2h"), only_if=_PREGNANT),
        # body, circulation, breathing
        Occasion("BMI-CN", ("bmi",), unless=_PREGNANT, from_age=ADULT),
        Occasion("WAIST-CN", ("waist",), unless=_PREGNANT, from_age=ADULT),
        Occasion("CRIT-A", ("sbp", "dbp", "hr", "fpg", "rpg", "hb", "plt", "wbc"), quiet=True),
        Occasion("HR-ADULT", ("hr",)),
        Occasion("TEMP", ("temp",)),
        Occasion("SPO2", ("spo2",)),
        Occasion("COPD-SQ", ("chronic_cough", "dyspnoea_grade", "solid_fuel", "pack_years")),
        Occasion("AF-SCREEN", ("rr_irregular", "ecg_af")),
        Occasion("STROKE-8", ("stroke_tia", "af_or_valve", "dyslipidaemia", "inactive", "family_stroke")),
        Occasion("STROKE-FAST", ("face_droop", "arm_weak", "speech")),
        Occasion("CHINA-PAR", ("tc", "hdl")),
        # people and places
        Occasion("ELD-ADL", ("adl_eat", "adl_groom", "adl_dress", "adl_toilet", "adl_move")),
        Occasion("SMI-CLASS", ("risk_level_smi", "smi_symptom_clear", "smi_no_insight")),
        Occasion("TB-SYMPTOM", ("cough_weeks", "haemoptysis")),
        Occasion("ECHINO-CE", ("ce_stage",)),
        Occasion("MAT-BP", ("sbp", "dbp"), only_if=_PREGNANT),
        Occasion("MAT-FHR", ("fhr",)),
        Occasion("MAT-HB", ("hb",), only_if=_PREGNANT),
    )
}

TILE_RULES: dict[str, tuple[str, ...]] = {
    "blood_pressure": ("BP-GRADE", "MAT-BP", "CRIT-A"),
    "glucose": ("GLU-SCREEN", "GLU-URGENT", "CRIT-A"),
    "pulse_oximetry": ("SPO2", "CRIT-A"),
    "temperature": ("TEMP",),
    "weight": ("BMI-CN",),
    "heart_rate": ("HR-ADULT", "CRIT-A"),
    "laboratory": ("GLU-SCREEN", "CRIT-A"),
}
"""Which rules may grade a reading on its tile; the most severe answer counts."""

RED_BEYOND_RANGE = frozenset({"glucose"})
"""Types whose meters show LO or HI far beyond a red limit: of glucose under 1.1 or over 27.8 mmol/L at least, where red
begins at 3.9 and 16.7 (national standard, third edition). There is no number for the rules to hear."""

LADDERS: dict[str, tuple[tuple[str, str], ...]] = {
    "blood_pressure": (("BP-GRADE", "sbp"), ("BP-GRADE", "dbp")),
    "glucose": (("GLU-SCREEN", "fpg"),),
    "pulse_oximetry": (("SPO2", "spo2"),),
    "temperature": (("TEMP", "temp"),),
    "weight": (("BMI-CN", "bmi"),),
    "heart_rate": (("HR-ADULT", "hr"),),
}
"""Which steps to draw beside a value."""

DEVICE_INPUTS = frozenset({
    "sbp", "dbp", "sbp_left", "sbp_right", "hr", "spo2", "temp", "fhr",
    "glu", "fpg", "rpg", "ogtt1h", "ogtt2h", "hba1c", "tc", "hdl", "tg", "hb", "plt", "wbc",
    "bmi", "age", "sex", "altitude_m", "spo2_baseline_p2_5",
})  # fmt: skip
"""Inputs that are measured, registered or set, not asked of a person."""

CARRIED = ("known_htn", "known_dm")
"""Diagnoses do not go away: said true once, they hold in later encounters. Nothing else is carried over."""

NOT_PREGNANT_BELOW_AGE, NOT_PREGNANT_FROM_AGE = 10, 60
"""Girls below (WHO counts adolescent pregnancy from 10), women from this age and men are not asked (project choice)."""

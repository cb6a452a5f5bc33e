"""The diseases that results of the screening rules point at. Pure."""

from __future__ import annotations

FOUND_BY_RULE: dict[tuple[str, str], str] = {
    ("BP-GRADE", "HTN1"): "hypertension",
    ("BP-GRADE", "HTN2"): "hypertension",
    ("BP-GRADE", "HTN3"): "hypertension",
    ("GLU-SCREEN", "DM_RANGE"): "diabetes",
    ("GLU-SCREEN", "RANDOM_HIGH"): "diabetes",
    ("COPD-SQ", "HIGH_RISK"): "copd",
    ("AF-SCREEN", "AF_ECG"): "atrial_fibrillation",
}
"""(rule, its code): the disease that a screening result points at; a result is no diagnosis and the list says so."""
SYMPTOMS: dict[tuple[str, str], str] = {
    ("TB-SYMPTOM", "SUSPECT"): "tuberculosis",
    ("TB-SYMPTOM", "DOCTOR_JUDGE"): "tuberculosis",
    ("ECHINO-CE", "ACTIVE"): "echinococcosis",
    ("ECHINO-CE", "TRANSITIONAL"): "echinococcosis",
    ("ECHINO-CE", "INACTIVE"): "echinococcosis",
    ("ECHINO-CE", "UNDIFFERENTIATED"): "echinococcosis",
    ("ECHINO-CE", "ALVEOLAR"): "echinococcosis",
    ("TEMP", "FEVER"): "fever",
    ("TEMP", "HIGH_FEVER"): "fever",
}
"""For the line list. The legal report is made in the national direct-report system, not here."""

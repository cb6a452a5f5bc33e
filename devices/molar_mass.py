"""Mass concentrations of what meters measure, as amounts of substance. Pure.

Molar masses by PubChem: glucose C6H12O6 180.156 g/mol, uric acid C5H4N4O3 168.112 g/mol.
"""

from __future__ import annotations

GLUCOSE_G_PER_MOL = 180.156
URIC_ACID_G_PER_MOL = 168.112


def glucose_mmol_l(mg_per_dl: float) -> float:
    """Glucose in mmol/L, to three decimals; 90 mg/dL is 4.996."""
    return round(mg_per_dl * 10 / GLUCOSE_G_PER_MOL, 3)


def uric_acid_umol_l(mg_per_dl: float) -> float:
    """Uric acid in umol/L, to one decimal; 7 mg/dL is 416.4."""
    return round(mg_per_dl * 1e4 / URIC_ACID_G_PER_MOL, 1)

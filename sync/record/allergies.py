"""Allergies of one person over linked registrations, from the signed forms of what lasts. Pure.

Who filled in a form for one registration did not know what the form of another said, until the two were linked. So the
newest form of each registration counts, until one is signed after the newest link: who signs that one has seen both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sync.formats.canonical import Json

Row = Mapping[str, Any]
FORM = "background"
NONE = "1"
WORDS = {"drug_allergies": "drug_allergies_other", "other_allergies": "other_allergies_said"}
"""Field of codes to the field of what is said in words beside them."""
_BETWEEN = "；"


def counting(forms: Iterable[Row], links: Iterable[Row], who: Collection[str]) -> list[Row]:
    """Those of the signed forms that count, newest first.

    :param forms: (n, patient ...) of what lasts
    :param links: (n, what) of the notes that linked registrations, of anybody
    :param who: all registrations of one person
    """
    found = sorted(forms, key=lambda row: int(row["n"]), reverse=True)
    linked_at = max((int(row["n"]) for row in links if set(row["what"].split()) <= set(who)), default=0)
    if found and int(found[0]["n"]) > linked_at:
        return found[:1]
    newest: dict[str, Row] = {}
    for row in found:
        newest.setdefault(row["patient"], row)
    return [*newest.values()]


def together(answers: Sequence[Mapping[str, Json | None]]) -> dict[str, Json]:
    """The allergies of several forms as one form says them: every code and every word, "none" only where all say it.

    :param answers: of each form that counts, newest first
    """
    told: dict[str, Json] = {}
    for field, words in WORDS.items():
        codes = dict.fromkeys(code for one in answers for code in _codes(one.get(field)))
        some: list[Json] = [code for code in codes if code != NONE] or [*codes]
        said = dict.fromkeys(str(one[words]) for one in answers if one.get(words) and some != [NONE])
        told |= {field: some} if some else {}
        told |= {words: _BETWEEN.join(said)} if said else {}
    return told


def _codes(value: Json | None) -> list[str]:
    return [str(code) for code in value] if isinstance(value, list) else []

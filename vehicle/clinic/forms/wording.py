"""An answer in words, as screens and sheets show it. Pure."""

from __future__ import annotations

from sync.formats.canonical import Json
from vehicle.clinic.forms.form import Field

SEPARATOR = {"zh": "、", "en": ", "}
NOTHING = "–"


def shown_answer(one: Field, value: Json | None, language: str) -> str:
    """ "142 mmHg", "头痛头晕、心悸胸闷", "氨氯地平片（每日1次，每次5 mg）"; a dash for nothing."""
    if value is None or value == []:
        return NOTHING
    if one.type in ("number", "computed"):
        unit = one.unit_words(language)
        return f"{value} {unit}".strip()
    if one.type == "text":
        return str(dict(one.picks).get(str(value), value)) if language == "en" else str(value)
    if one.type == "code":
        return _word(one, str(value), language)
    if isinstance(value, list | tuple) and one.type == "codes":
        return SEPARATOR[language].join(_word(one, str(code), language) for code in value)
    if isinstance(value, list | tuple):
        return SEPARATOR[language].join(_drug(row, language) for row in value)
    return str(value)


def _word(one: Field, code: str, language: str) -> str:
    """The word of a code; the code itself where the form has it no more."""
    choice = one.choice(code)
    return code if choice is None else (choice.zh if language == "zh" else choice.en)


def _drug(row: Json, language: str) -> str:
    if not isinstance(row, dict):
        return str(row)
    use = str(row.get("use", ""))
    bracketed = f"（{use}）" if language == "zh" else f" ({use})"
    return f"{row.get('name', '')}{bracketed if use else ''}"

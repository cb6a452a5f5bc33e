"""The list that a diagnosis is searched in: well-formed, each code once, and every template's code is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sync.web.catalog import LANGUAGES, texts

LIST = Path(__file__).parents[2] / "telemedicine" / "exchange" / "static" / "icd10.txt"
ROWS = [line.split("\t") for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_each_row_has_code_names_and_letters() -> None:
    codes = [row[0] for row in ROWS]
    assert codes == sorted(set(codes))
    assert len(codes) > 500
    for code, chinese, letters, english in ROWS:
        assert re.fullmatch(r"[A-Z]\d\d(\.\d)?", code), code
        assert re.fullmatch(r"[a-z0-9]+", letters), letters
        assert len(letters) == len(re.findall(r"[\u4e00-\u9fff0-9A-Za-z]", chinese)), chinese
        assert english[0].isupper()


@pytest.mark.parametrize(
    ("code", "now"),
    [("K58.9", "K58.8"), ("R17", "R17.0"), ("Z22.5", "B18.1"), ("A90", "A98.5"), ("I48", "I48.9")],
    ids=lambda code: code,
)
def test_codes_that_the_edition_of_2019_no_longer_has_stay_out(code: str, now: str) -> None:
    codes = {row[0] for row in ROWS}
    assert code not in codes
    assert now in codes


@pytest.mark.parametrize("language", LANGUAGES)
def test_codes_of_the_templates_are_in_the_list(language: str) -> None:
    t = texts(language)
    used = {t(key) for key in sorted(t.keys()) if re.fullmatch(r"specialist\.template\.\w+\.icd10", key)} - {""}
    assert used
    assert used <= {row[0] for row in ROWS}

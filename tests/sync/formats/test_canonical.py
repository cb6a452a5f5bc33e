"""Canonical JSON: one written form, no floats, nothing but it is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.formats.canonical import LARGEST_INTEGER, Json, NotCanonical, dumps, loads

ASCII = st.text(st.characters(max_codepoint=127), max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
VALUES = st.recursive(
    st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(ASCII, VALUES, max_size=6)


@given(OBJECTS)
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert loads(dumps(value)) == value  # type: ignore[arg-type]


@given(OBJECTS, st.data())
def test_order_of_keys_does_not_matter(value: dict[str, object], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    assert dumps(shuffled) == dumps(value)  # type: ignore[arg-type]


@given(OBJECTS.filter(bool))
def test_any_other_writing_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(NotCanonical):
        loads(json.dumps(value, indent=1).encode())


def test_rfc_8785_strings() -> None:
    """RFC 8785 section 3.2.2.2, shortened to what the subset has."""
    said: dict[str, Json] = {"string": '\u20ac$\u000f\nA\'B"\\\\"/', "b": True, "a": [56, -1]}
    assert dumps(said) == b'{"a":[56,-1],"b":true,"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'


@pytest.mark.parametrize(
    "value",
    [
        {"x": 1.5},
        {"x": 1.0},
        {"x": [{"y": float("nan")}]},
        {"x": None},
        {"ä": 1},
        {1: 2},
        {"x": 2**53},
        {"x": b"b"},
        {"x": "\ud800"},
    ],
    ids=["float", "whole float", "NaN deep", "null", "key not ASCII", "key no text", "54 bits", "bytes", "surrogate"],
)
def test_what_has_no_canonical_form_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(NotCanonical):
        dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"a":1.0}',
        b'{"a":1}\n',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":"\\u0041"}',
        b'{"a":NaN}',
        b'{"a":1e2}',
        b"\xff",
        b'{"a":null}',
        b'{"a":-0}',
        b"[" * 5000,
    ],
)
def test_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(NotCanonical):
        loads(body)

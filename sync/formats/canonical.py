"""The one written form of a record: canonical JSON, RFC 8785 without floats and nulls.

Allowed: objects with ASCII keys, arrays, strings, booleans and integers of at most 53 bits. Numbers with a fraction are
written as scaled integers (degrees x 1e7, mmol/L x 100), so that two programs never disagree about a digit.
"""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NoReturn, TypeAlias

Json: TypeAlias = "int | str | bool | Sequence[Json] | Mapping[str, Json]"

LARGEST_INTEGER = 2**53 - 1
"""RFC 8785 inherits the integers of IEEE 754 doubles."""
DEEPEST = 32
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
"""Only for what was checked: ``DEEPEST`` finds circles."""


def _written_in_c() -> Callable[[object], Sequence[str]]:
    """What ``_ENCODER`` makes for each value anew, made once: parts of the text, which begins at depth 0.

    Where this Python has it not (``json.encoder`` is free to), ``_ENCODER`` itself.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value: (_ENCODER.encode(value),)
    text = json.encoder.encode_basestring
    write = make(None, _ENCODER.default, text, None, ":", ",", True, False, False)
    return lambda value: write(value, 0)


_parts = _written_in_c()


class NotCanonical(ValueError):
    """The value can't be written, or the bytes are not the canonical form of what they say."""


def dumps(value: Json) -> bytes:
    """Canonical UTF-8 bytes of ``value``.

    :raises NotCanonical: a float, null, other type, non-ASCII key, integer beyond 53 bits, lone surrogate or nesting
        deeper than ``DEEPEST``; the message names the place.
    """
    check(value)
    return encode(value)


def check(value: object) -> None:
    """:raises NotCanonical: as ``dumps``, lone surrogates apart."""
    if not good(value, 0):
        _check(value, "$", 0)


def encode(value: object) -> bytes:
    """``dumps`` for a value that was checked before."""
    try:
        return "".join(_parts(value)).encode("utf-8")
    except UnicodeEncodeError as fault:
        raise NotCanonical(f"text with a lone surrogate: {fault}") from None


def loads(body: bytes) -> dict[str, Any]:
    """The object that ``body`` is the canonical form of.

    :raises NotCanonical: not JSON, not an object, or any byte differs from the canonical form (a space, another order
        of keys, a key twice, an escaped letter, a float).
    """
    try:
        value, _ = _DECODER.raw_decode(body.decode("utf-8"))  # anything behind it is found by writing it again
    except (ValueError, RecursionError) as fault:
        raise NotCanonical(f"not JSON: {fault}") from None
    if not isinstance(value, dict):
        raise NotCanonical("not a JSON object")
    if dumps(value) != body:
        raise NotCanonical("JSON, but not in canonical form")
    return value


def _refuse_float(text: str) -> NoReturn:
    raise NotCanonical(f"{text}: write a scaled integer instead of a number with a fraction")


_DECODER = json.JSONDecoder(parse_float=_refuse_float, parse_constant=_refuse_float)


def _check(value: object, place: str, depth: int) -> None:
    if depth > DEEPEST and isinstance(value, dict | list | tuple):
        raise NotCanonical(f"{place}: nested deeper than {DEEPEST}")
    match value:
        case bool() | str():
            return
        case int():
            if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
                raise NotCanonical(f"{place}: {value} has more than 53 bits")
        case dict():
            for key, item in value.items():
                if not isinstance(key, str) or not key.isascii():
                    raise NotCanonical(f"{place}: key {key!r} is not ASCII text")
                _check(item, f"{place}.{key}", depth + 1)
        case list() | tuple():
            for position, item in enumerate(value):
                _check(item, f"{place}[{position}]", depth + 1)
        case float():
            raise NotCanonical(f"{place}: write a scaled integer instead of the float {value!r}")
        case _:
            raise NotCanonical(f"{place}: {type(value).__name__} has no canonical form")


def good(value: object, depth: int) -> bool:
    """Whether ``value`` is seen to be good at once: ``check`` without saying where and why not. False may be wrong.

    :param depth: in how many objects and lists it stands
    """
    items: Any
    kind = type(value)
    if kind is str or kind is bool:
        return True
    if kind is int:
        return -LARGEST_INTEGER <= value <= LARGEST_INTEGER  # type: ignore[operator]
    if kind is dict:
        items = value.values()  # type: ignore[attr-defined]
        keys: Any = value
        if keys and (set(map(type, keys)) != {str} or not "".join(keys).isascii()):
            return False
    elif kind is list:
        items = value
        kinds = set(map(type, items))
        if kinds == {list} and depth < DEEPEST:
            items = [*chain.from_iterable(items)]
            kinds, depth = set(map(type, items)), depth + 1
        if kinds == {int}:
            return bool(min(items) >= -LARGEST_INTEGER and max(items) <= LARGEST_INTEGER)
    else:
        return False
    for item in items:
        kind = type(item)
        if kind is str or kind is bool:
            continue
        if kind is int:
            if not -LARGEST_INTEGER <= item <= LARGEST_INTEGER:
                return False
        elif depth >= DEEPEST or not good(item, depth + 1):
            return False
    return True

"""Numbers as rows of clips: "162" is one hundred six ten two in Chinese, one hundred sixty two in English. Pure.

A pack says in its manifest how its language counts. "digits" reads one digit after the other, which is understood in
every language; the others are for numbers up to 999, as measured values are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Counting = Literal["zh", "en", "digits"]
COUNTINGS = get_args(Counting)
POINT = "n_point"


def number_clips(written: str, counting: Counting) -> list[str]:
    """Clip ids of a number as it is written: "162", "6.4", "36.50"; signs and spaces are not read.

    :raises ValueError: not a number of digits with at most one point
    """
    whole, point, part = written.strip().partition(".")
    if not (whole.isascii() and whole.isdigit()) or (point and not (part.isascii() and part.isdigit())):
        raise ValueError(f"{written!r} cannot be read as a number")
    said = _COUNT[counting](whole) if len(whole.lstrip("0")) <= 3 else _digits(whole)
    return [*said, POINT, *_digits(part)] if point else said


def clips_needed(counting: Counting) -> set[str]:
    """All clips that numbers in this way of counting are made of."""
    numbers = {clip for number in range(1000) for clip in number_clips(str(number), counting)}
    return numbers | {POINT} | set(_digits("0123456789"))


def _digits(written: str) -> list[str]:
    return [f"n_{digit}" for digit in written]


def _zh(whole: str) -> list[str]:
    """一百零五, 一百一十, 十五, 二十."""
    hundreds, rest = divmod(int(whole), 100)
    tens, ones = divmod(rest, 10)
    said = [f"n_{hundreds}", "n_100"] if hundreds else []
    if tens:
        said += ([] if tens == 1 and not hundreds else [f"n_{tens}"]) + ["n_10"]
    elif hundreds and ones:
        said.append("n_0")
    if ones or not said:
        said.append(f"n_{ones}")
    return said


def _en(whole: str) -> list[str]:
    hundreds, rest = divmod(int(whole), 100)
    said = [f"n_{hundreds}", "n_100"] if hundreds else []
    if 0 < rest < 20 or not said:
        return [*said, f"n_{rest}"] if rest < 20 else [*said, *_tens(rest)]
    return [*said, *_tens(rest)]


def _tens(rest: int) -> list[str]:
    tens, ones = divmod(rest, 10)
    return ([f"n_{tens}0"] if tens else []) + ([f"n_{ones}"] if ones else [])


_COUNT: dict[str, Callable[[str], list[str]]] = {"zh": _zh, "en": _en, "digits": _digits}

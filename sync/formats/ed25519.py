"""Ed25519 verification with the standard library alone: RFC 8032 section 5.1. Pure.

For machines without the package ``cryptography``: an inspector's. It never signs. What it accepts is what OpenSSL and
BoringSSL accept: the equation without the cofactor, compared as 32 bytes. Points are extended coordinates (X, Y, Z, T)
with x = X/Z, y = Y/Z, xy = T/Z (Hisil, Wong, Carter, Dawson 2008, sections 3.1 and 3.3 for a = -1).
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha512

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
_ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
_PART_BITS = 64
"""Scalars are cut into four parts with a table each, so that 64 doublings do instead of 256."""

Point = tuple[int, int, int, int]
Cached = tuple[int, int, int, int]
"""(Y + X, Y - X, 2dT, 2Z) of a point: what adding it needs."""
Tables = tuple[tuple[Cached, ...], ...]
"""For each part j the odd multiples 1, 3, 5, ... of 2**(64 j) times a point."""

_SMALL_ORDER_Y = (
    0,
    1,
    P - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
)
"""The y of the eight points whose order divides 8."""


@lru_cache(maxsize=64)
def is_sound_key(public_key: bytes) -> bool:
    """Whether ``public_key`` is a canonical encoding of a point on the curve that is not of small order.

    Libraries differ about other keys, and with a key of small order one signature fits many messages.
    """
    return len(public_key) == 32 and not is_small_order(public_key) and _decode(public_key) is not None


def is_small_order(encoded: bytes) -> bool:
    """Whether 32 bytes encode one of the eight points of small order (canonically or not)."""
    return (int.from_bytes(encoded, "little") & (1 << 255) - 1) % P in _SMALL_ORDER_Y


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) over ``message`` was made with the private half of ``public_key`` (32 bytes)."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    minus_a = _tables_of_minus(public_key)
    if s >= L or minus_a is None:
        return False
    k = int.from_bytes(sha512(signature[:32] + public_key + message).digest(), "little") % L
    return _encode(*_sum_of_products(s, _tables_of_base(), 6, k, minus_a, 5)) == signature[:32]


@lru_cache(maxsize=64)
def _tables_of_minus(public_key: bytes) -> Tables | None:
    point = _decode(public_key)
    if point is None:
        return None
    x, y, z, t = point
    return _tables((P - x, y, z, P - t), 5)


@lru_cache(maxsize=1)
def _tables_of_base() -> Tables:
    y = 4 * pow(5, -1, P) % P
    base = _decode(y.to_bytes(32, "little"))
    assert base is not None
    return _tables(base, 6)


def _decode(encoded: bytes) -> Point | None:
    """RFC 8032 section 5.1.3; None for what is no point, or not its canonical encoding."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * _ROOT_OF_MINUS_ONE % P
        if (v * x * x - u) % P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _encode(x: int, y: int, z: int) -> bytes:
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def _tables(point: Point, width: int) -> Tables:
    parts = []
    for part in range(4):
        if part:
            for _ in range(_PART_BITS):
                point = _double(point)
        twice = _cached(_double(point))
        multiple, odd = point, [_cached(point)]
        for _ in range((1 << width - 2) - 1):
            multiple = _add(multiple, twice)
            odd.append(_cached(multiple))
        parts.append(tuple(odd))
    return tuple(parts)


def _cached(point: Point) -> Cached:
    x, y, z, t = point
    return y + x, y - x, 2 * D * t % P, 2 * z


def _double(point: Point) -> Point:
    x, y, z, _ = point
    a, b = x * x, y * y
    h = a + b
    e, g = (h - (x + y) ** 2) % P, (a - b) % P
    f, h = (2 * z * z + g) % P, h % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def _add(point: Point, other: Cached) -> Point:
    x, y, z, t = point
    plus, minus, t2d, z2 = other
    a, b, c, d = (y - x) * minus, (y + x) * plus, t * t2d, z * z2
    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def _sum_of_products(s: int, of_s: Tables, width_s: int, k: int, of_k: Tables, width_k: int) -> tuple[int, int, int]:
    """X, Y and Z of s * (point of ``of_s``) + k * (point of ``of_k``), by Straus' method over the parts of both."""
    additions: list[list[Cached]] = [[] for _ in range(_PART_BITS + 1)]
    for scalar, tables, width in ((s, of_s, width_s), (k, of_k, width_k)):
        for part, table in enumerate(tables):
            _plan((scalar >> _PART_BITS * part) & (1 << _PART_BITS) - 1, width, table, additions)
    x, y, z = 0, 1, 1
    for others in reversed(additions):  # _double and _add once more, in place: two calls less for each of 140 steps
        a, b = x * x, y * y
        h = a + b
        e, g = (h - (x + y) ** 2) % P, (a - b) % P
        f, h = (2 * z * z + g) % P, h % P
        x, y, z = e * f % P, g * h % P, f * g % P
        if others:
            t = e * h % P
            for plus, minus, t2d, z2 in others:
                a, b, c, d = (y - x) * minus, (y + x) * plus, t * t2d, z * z2
                e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
                x, y, z, t = e * f % P, g * h % P, f * g % P, e * h % P
    return x, y, z


def _plan(number: int, width: int, table: tuple[Cached, ...], additions: list[list[Cached]]) -> None:
    """Notes at which bit which odd multiple is added: the non-adjacent form of ``number`` of window ``width``."""
    place, window, half = 0, (1 << width) - 1, 1 << width - 1
    while number:
        zeros = (number & -number).bit_length() - 1
        number >>= zeros
        place += zeros
        digit = number & window
        if digit < half:
            additions[place].append(table[digit >> 1])
        else:
            digit -= window + 1
            plus, minus, t2d, z2 = table[-digit >> 1]
            additions[place].append((minus, plus, -t2d, z2))
        number -= digit

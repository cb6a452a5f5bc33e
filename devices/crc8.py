"""The two CRC-8 of handheld monitors. Pure.

Creative and its relatives (``A5``, ``AA 55``) use CRC-8/MAXIM (polynomial 31, reflected), Viatom CRC-8/SMBUS
(polynomial 07); both begin at 0 and run over everything before the check byte.
"""

from __future__ import annotations


def crc8_maxim(checked: bytes) -> int:
    return _run(_MAXIM, checked)


def crc8_smbus(checked: bytes) -> int:
    return _run(_SMBUS, checked)


def _run(table: bytes, checked: bytes) -> int:
    check = 0
    for byte in checked:
        check = table[check ^ byte]
    return check


def _reflected(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x8C if byte & 1 else byte >> 1
    return byte


def _forward(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ 0x07) & 0xFF if byte & 0x80 else byte << 1
    return byte


_MAXIM = bytes(_reflected(byte) for byte in range(256))
_SMBUS = bytes(_forward(byte) for byte in range(256))

"""Stored records of Bluetooth SIG devices: the Record Access Control Point (RACP, 0x2A52). Pure.

Only what asks is here. Opcode 2 deletes records and is never sent by any driver of this house.

Sources: Glucose Service 1.0.1 section 3.3, Pulse Oximeter Service 1.0.1 section 3.4, GATT Specification Supplement.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.sig import Fields, Truncated

RACP = "2A52"

REPORT = 1
ALL_RECORDS = b"\x01\x01"
LAST_RECORD = b"\x01\x06"
RECORDS_FROM = b"\x01\x03\x01"
"""Report stored records, operator "greater than or equal to", filter type "sequence number"; 2 bytes follow."""
ABORT = b"\x03\x00"

SUCCESS, NO_RECORDS, ABORT_UNSUCCESSFUL, NOT_COMPLETED = 1, 6, 7, 8
UNSUPPORTED = (2, 3, 4, 5, 9)
"""Response codes of a device that cannot filter as it was asked to."""


@dataclass(frozen=True, slots=True)
class RecordCount:
    count: int


@dataclass(frozen=True, slots=True)
class Response:
    request: int
    code: int


def decode_racp(value: bytes) -> RecordCount | Response:
    """What a device may indicate on the Record Access Control Point.

    :raises Truncated: not an answer of the service: a request, a wrong operator, or too short.
    """
    fields = Fields(value)
    opcode, operator = fields.uint8(), fields.uint8()
    if opcode == 6 and operator == 0:
        return Response(request=fields.uint8(), code=fields.uint8())
    if opcode == 5 and operator == 0 and len(value) in (4, 6):  # two bytes by the service; four were seen
        return RecordCount(int.from_bytes(value[2:], "little"))
    raise Truncated(f"not an answer of the control point: opcode {opcode}, operator {operator}")

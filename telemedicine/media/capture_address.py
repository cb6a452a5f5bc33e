"""What an address of a picture source means; pure.

``/dev/video0`` or ``0`` is a capture device, ``rtsp://...`` or ``http://...`` a stream, ``screen::0.0`` the screen of
that X display (``screen::0.0+100,50`` from that point on), everything else a file.
"""

from __future__ import annotations

from enum import StrEnum

SCREEN = "screen:"


class SourceKind(StrEnum):
    DEVICE = "device"
    FILE = "file"
    STREAM = "stream"
    SCREEN = "screen"


def kind_of(address: str) -> SourceKind:
    if address.startswith(SCREEN):
        return SourceKind.SCREEN
    if address.isdigit() or address.startswith("/dev/"):
        return SourceKind.DEVICE
    return SourceKind.STREAM if "://" in address else SourceKind.FILE

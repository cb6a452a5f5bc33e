"""What the services hand to screens: frozen dataclasses, and their plain JSON form."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Any

from sync.formats.records import format_time

CHINA = timezone(timedelta(hours=8))
"""Legal time of the whole country; ages change at its midnight."""


def plain(view: object) -> Any:
    """``view`` as JSON-able Python: dataclasses become objects, times ``2026-03-01T08:15:00.250Z``, dates ISO text."""
    if is_dataclass(view) and not isinstance(view, type):
        return {field.name: plain(getattr(view, field.name)) for field in fields(view)}
    if isinstance(view, datetime):
        return format_time(view)
    if isinstance(view, date):
        return view.isoformat()
    if isinstance(view, Enum):
        return view.value
    if isinstance(view, dict):
        return {str(key): plain(entry) for key, entry in view.items()}
    if isinstance(view, list | tuple | set | frozenset):
        return [plain(entry) for entry in view]
    return view

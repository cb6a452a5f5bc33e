"""Each step of a live session on the degradation ladder as an entry ``consultation_rung/1``, with the link's figures.

The media process tells its latest changes in every status; what stands in the journal already is not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sync.formats.records import Draft, DraftRefused, parse_time
from telemedicine.degradation import Reason, Rung


class Journal(Protocol):
    """``sync.record.store.Store``."""

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]: ...


class RungEntries:
    def __init__(self, journal: Journal, write: Callable[[Draft], None]) -> None:
        self._journal = journal
        self._write = write
        self._written: set[tuple[str, str]] = set()
        """Of this run: a draft may wait a moment for the journal."""

    def take(self, link: Mapping[str, Any] | None) -> None:
        """:param link: the status of ``telemedicine.session_link.SessionLink``, as JSON"""
        changes = link.get("changes") if link is not None else None
        for change in changes if isinstance(changes, list) else []:
            draft = _draft(change)
            if draft is not None and self._is_new(change["consultation"], change["at"]):
                self._written.add((change["consultation"], change["at"]))
                self._write(draft)

    def _is_new(self, consultation: str, at: str) -> bool:
        if (consultation, at) in self._written:
            return False
        sql = "SELECT 1 FROM consultation_rungs WHERE consultation = ? AND at = ? LIMIT 1"
        return not self._journal.read(sql, (consultation, at))


def _draft(change: object) -> Draft | None:
    """None for what is no change of ours."""
    try:
        fields: dict[str, Any] = {
            "consultation": change["consultation"],  # type: ignore[index]
            "before": str(Rung(change["before"])),  # type: ignore[index]
            "after": str(Rung(change["after"])),  # type: ignore[index]
            "reason": str(Reason(change["reason"])),  # type: ignore[index]
            "figures": change["figures"],  # type: ignore[index]
        }
        draft = Draft("consultation_rung/1", fields, at=parse_time(change["at"]))  # type: ignore[index]
        draft.check()
    except (KeyError, TypeError, ValueError, DraftRefused):
        return None
    return draft

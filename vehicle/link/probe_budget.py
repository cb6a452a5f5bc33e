"""What probing may cost: bytes a day and bytes a visit, reserved before anything is sent and kept over restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Spent:
    """``day`` is local to nobody: the UTC date."""

    day: str = ""
    day_bytes: int = 0
    visit: str = ""
    visit_bytes: int = 0


class ProbeBudget:
    """
    :param load: what ``save`` was given last, None at the very first
    :param save: durable when it returns; called before what it allows is sent
    """

    def __init__(
        self,
        most_day_bytes: int,
        most_visit_bytes: int,
        load: Callable[[], bytes | None],
        save: Callable[[bytes], None],
    ) -> None:
        self._most_day_bytes, self._most_visit_bytes = most_day_bytes, most_visit_bytes
        self._save = save
        self._spent = _read(load())

    def left(self, day: date, visit: str) -> int:
        """Bytes that may still be spent in this visit today; never negative."""
        spent = self._at(day, visit)
        left = min(self._most_day_bytes - spent.day_bytes, self._most_visit_bytes - spent.visit_bytes)
        return max(0, left)

    def reserve(self, size: int, day: date, visit: str) -> bool:
        """Count ``size`` as spent, if so much is left.

        :raises OSError: it could not be kept; nothing may be sent
        """
        if size < 0 or size > self.left(day, visit):
            return False
        spent = self._at(day, visit)
        after = Spent(spent.day, spent.day_bytes + size, spent.visit, spent.visit_bytes + size)
        self._save(json.dumps(asdict(after)).encode())
        self._spent = after
        return True

    def _at(self, day: date, visit: str) -> Spent:
        """A day that lies before the one we know is a clock set back: its bytes count on."""
        spent, said = self._spent, day.isoformat()
        newer = said > spent.day
        same_visit = visit == spent.visit
        return Spent(
            day=said if newer else spent.day,
            day_bytes=0 if newer else spent.day_bytes,
            visit=visit,
            visit_bytes=spent.visit_bytes if same_visit else 0,
        )


def _read(body: bytes | None) -> Spent:
    """What was kept; what is unreadable counts as nothing spent, on a day that begins now."""
    try:
        said = json.loads(body or b"{}")
        spent = Spent(**said)
        date.fromisoformat(spent.day)
    except (ValueError, TypeError):
        return Spent()
    whole = type(spent.day_bytes) is int and type(spent.visit_bytes) is int
    return spent if whole and spent.day_bytes >= 0 and spent.visit_bytes >= 0 else Spent()

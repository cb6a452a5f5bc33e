"""Four kinds of errors, by what to do next. Everything else is a bug: let the service crash and restart.

Each concrete error has a ``code`` (stable, snake_case): ``vehicle.hints`` maps it to a cause and a next step in words.
"""

from __future__ import annotations


class XunzhenError(Exception):
    code = "unknown"

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message or self.code)
        self.facts = facts


class Retry(XunzhenError):
    """The loop acts: bounded back-off with jitter, logged once on change."""

    code = "retry"


class AskPerson(XunzhenError):
    """A person acts: shown on the screen with cause and next step."""

    code = "ask_person"


class DropFrame(XunzhenError):
    """Nobody acts: counted, go on."""

    code = "drop_frame"


class Park(XunzhenError):
    """Kept apart and shown; never resent blindly, never deleted."""

    code = "park"


class LinkLost(Retry):
    code = "link_lost"

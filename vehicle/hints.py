"""Every code that a person may meet, with what it is, why it happens and what to do next, in words.

The words stand in ``sync/web/texts/<language>/hints.toml``: ``[hints.<code>] title, cause, next_step``. A test walks
all error classes that ask a person or retry and refuses a code without words.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.web.catalog import texts


@dataclass(frozen=True, slots=True)
class Hint:
    code: str
    title: str
    cause: str
    next_step: str


def hint(code: str, language: str = "zh") -> Hint:
    """The words of ``code``; for a code nobody wrote words for, those of ``unknown``, which name the code."""
    t = texts(language)
    known = code if f"hints.{code}.title" in t else "unknown"
    title, cause, next_step = (t(f"hints.{known}.{part}") for part in ("title", "cause", "next_step"))
    return Hint(code, title.replace("{code}", code), cause.replace("{code}", code), next_step)

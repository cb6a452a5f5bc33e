"""Checklists of emergency mode: what to do first, with sources and how far each was checked. Pure after reading.

An item may name seconds since the emergency began: ``within_s``, by when it should be done, and ``after_s``, when it is
due again. They are shown, nothing depends on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    zh: str
    en: str
    source: str
    mark: str
    """How far the source was checked: "V2" read on a secondary page, "M" from memory."""
    within_s: int | None = None
    after_s: int | None = None

    def text(self, language: str) -> str:
        return self.en if language == "en" else self.zh


@dataclass(frozen=True, slots=True)
class Checklist:
    id: str
    zh: str
    en: str
    version: str
    items: tuple[Item, ...]

    def title(self, language: str) -> str:
        return self.en if language == "en" else self.zh

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """(title, mark) of what its items come from, each once."""
        return tuple(dict.fromkeys((item.source, item.mark) for item in self.items))


@cache
def shipped_checklists() -> tuple[Checklist, ...]:
    """The lists of ``checklists.json``, in its order."""
    told = json.loads((resources.files(__package__) / "checklists.json").read_text(encoding="utf-8"))
    sources = told["sources"]
    return tuple(
        Checklist(
            id=row["id"],
            zh=row["zh"],
            en=row["en"],
            version=told["version"],
            items=tuple(
                Item(
                    item["id"],
                    item["zh"],
                    item["en"],
                    sources[item["source"]]["title"],
                    sources[item["source"]]["mark"],
                    item.get("within_s"),
                    item.get("after_s"),
                )
                for item in row["items"]
            ),
        )
        for row in told["checklists"]
    )

"""Texts of the screens, one catalog per language: ``sync/web/texts/<language>/<screen>.toml``; Chinese first."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("zh", "en")


class Texts:
    """The catalog of one language. ``t("today.title")`` or ``t("today.waiting", count=3)``."""

    def __init__(self, language: str, flat: dict[str, str]) -> None:
        self.language = language
        self._flat = flat

    def __call__(self, key: str, **facts: object) -> str:
        """The text of ``key`` with ``{facts}`` filled in.

        :raises KeyError: the catalog has no such key; a test holds both languages to the same keys
        """
        text = self._flat[key]
        return text.format(**facts) if facts else text

    def __contains__(self, key: str) -> bool:
        return key in self._flat

    def keys(self) -> set[str]:
        return set(self._flat)

    def group(self, prefix: str) -> dict[str, str]:
        """All texts below ``prefix.``, for pages that hand them to their scripts."""
        start = prefix + "."
        return {key[len(start) :]: text for key, text in self._flat.items() if key.startswith(start)}


@cache
def texts(language: str) -> Texts:
    """The catalog of ``language`` ("zh" or "en"); keys are ``<table>.<name>`` inside each screen's file."""
    if language not in LANGUAGES:
        language = LANGUAGES[0]
    flat: dict[str, str] = {}
    folder = resources.files("sync.web") / "texts" / language
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            _flatten("", tomllib.loads(file.read_text(encoding="utf-8")), flat, file.name)
    return Texts(language, flat)


def _flatten(prefix: str, table: dict[str, Any], flat: dict[str, str], source: str) -> None:
    for name, entry in table.items():
        key = f"{prefix}{name}"
        if isinstance(entry, dict):
            _flatten(key + ".", entry, flat, source)
        elif key in flat:
            raise ValueError(f"{source}: text {key!r} is defined twice")
        else:
            flat[key] = str(entry)

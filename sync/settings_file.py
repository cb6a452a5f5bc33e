"""Typed settings from TOML: an unknown key, a wrong type or a value out of bounds is refused with what to do."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from devices.errors import AskPerson


class SettingsRefused(AskPerson):
    code = "settings_refused"


class Settings(BaseModel):
    """Base of every settings model: strict about unknown keys, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


def read_settings(path: Path, model: type[S]) -> S:
    """Read and check ``path``.

    :raises SettingsRefused: file missing or not readable, not TOML, unknown key, wrong type or value out of bounds;
        the message names file, key and remedy.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsRefused(f"{path}: no such settings file; copy the example beside the unit and edit it") from None
    except OSError as fault:
        raise SettingsRefused(
            f"{path}: cannot be read ({fault.strerror}); name a file that the user of this service may read"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingsRefused(f"{path}: not readable as TOML: {fault}") from fault
    try:
        return model.model_validate(raw)
    except ValidationError as refusal:
        raise SettingsRefused(f"{path}: " + "; ".join(_in_words(refusal))) from refusal


def _in_words(refusal: ValidationError) -> list[str]:
    lines = []
    for fault in refusal.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}: remove it or correct the spelling")
        elif fault["type"] == "missing":
            lines.append(f"key {key!r} is missing: add it")
        else:
            lines.append(f"key {key!r}: {fault['msg']} (found {fault['input']!r})")
    return lines

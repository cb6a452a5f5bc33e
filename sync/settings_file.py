"""Typed settings from TOML: an unknown key, a wrong type or a value out of bounds is refused with what to do."""

from __future__ import annotations

import ipaddress
import json
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from devices.errors import AskPerson

LARGEST_BYTES = 2**20
"""A hundred times what anybody has written yet; /dev/zero has no end."""
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON writes it; no path, name or address may hold one."""


class SettingsRefused(AskPerson):
    code = "settings_refused"


class Settings(BaseModel):
    """Base of every settings model: strict about unknown keys, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _of_this_computer(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError("write an address of this computer: 127.0.0.1, or 0.0.0.0 for every network") from None


HostAddress = Annotated[str, AfterValidator(_of_this_computer)]
"""An IP address to listen at; never empty, which a socket takes for every network."""

S = TypeVar("S", bound=Settings)


def read_settings(path: Path, model: type[S]) -> S:
    """Read and check ``path``: TOML in UTF-8, with or without byte order mark, at most ``LARGEST_BYTES``.

    :raises SettingsRefused: file missing or not readable, not TOML, unknown key, wrong type or value out of bounds;
        the message names file, key and remedy.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise SettingsRefused(f"{path}: larger than {LARGEST_BYTES} bytes; name the settings file")
        raw = json.dumps(tomllib.loads(content.decode("utf-8-sig")), default=str)
    except FileNotFoundError:
        raise SettingsRefused(f"{path}: no such settings file; copy the example beside the unit and edit it") from None
    except OSError as fault:
        raise SettingsRefused(
            f"{path}: cannot be read ({fault.strerror}); name a file that the user of this service may read"
        ) from None
    except UnicodeDecodeError as fault:
        raise SettingsRefused(f"{path}: byte {fault.start + 1} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as fault:
        raise SettingsRefused(f"{path}: not readable as TOML: {fault}") from fault
    except RecursionError:
        raise SettingsRefused(f"{path}: not readable as TOML: too many brackets within brackets") from None
    if _NUL.search(raw):
        raise SettingsRefused(f"{path}: holds the character \\u0000; remove it")
    try:
        return model.model_validate_json(raw, strict=True)  # strict: "yes" is no boolean, true no number
    except ValidationError as refusal:
        raise SettingsRefused(f"{path}: " + "; ".join(map(_in_words, refusal.errors()))) from refusal


def _in_words(fault: ErrorDetails) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key!r}: remove it or correct the spelling"
    if fault["type"] == "missing":
        return f"key {key!r} is missing: add it"
    said = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict | list):  # a table: it may hold keys and hashes of PINs
        return f"table {key!r}: {said}" if key else said
    return f"key {key!r}: {said} (found {reprlib.repr(fault['input'])})"

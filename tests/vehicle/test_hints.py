"""Every code that can reach a person has words in both languages."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import devices
from devices.errors import AskPerson, Park, Retry, XunzhenError
from sync.web.catalog import LANGUAGES, texts
from vehicle.disk import Level
from vehicle.hints import hint

PACKAGES = ("devices", "sync", "telemedicine", "vehicle")
NOT_ON_THE_VAN = (
    "sync.county",
    "sync.witness",
    "vehicle.touchscreen",
    "telemedicine.exchange",
    "devices.simulators",
    "devices.capture",
)
"""County and exchange have their own words; the touchscreen's refusals stand in its catalog; bench tools print."""
GENERIC = {"unknown", "retry", "ask_person", "drop_frame", "park"}


def every_error() -> dict[str, type[XunzhenError]]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.startswith(NOT_ON_THE_VAN) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, waiting = {}, [AskPerson, Retry, Park]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if (
            kind.code not in GENERIC
            and kind.__module__.startswith(PACKAGES)
            and not kind.__module__.startswith(NOT_ON_THE_VAN)
        ):
            found[kind.code] = kind
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_of_the_van_has_words(language: str) -> None:
    t = texts(language)
    told = ("hints.{}.title", "touch.ask.{}.title", "touch.ask.{}.cause", "clinic.ask.{}.title")
    silent = [code for code in every_error() if not any(form.format(code) in t for form in told)]
    assert sorted(silent) == []


def faults_told_by_devices() -> dict[str, str]:
    """Fault codes that drivers and links put into ``DeviceState.fault``, read from their source: code to its file.

    Three forms exist: ``fault="..."``, ``self._fault = "..."`` (also ``self.fault``), and ``CardRefused("...")`` or
    ``_tell(sensor, "...", output)``, whose text becomes the fault.
    """
    found: dict[str, str] = {}
    for folder in ("drivers", "links"):
        for file in sorted((Path(str(devices.__file__)).parent / folder).glob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found |= {code: f"{folder}/{file.name}" for node in ast.walk(tree) for code in _codes(node)}
    return found


def _codes(node: ast.AST) -> Iterator[str]:
    said: list[ast.expr | None] = []
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        said += [word.value for word in node.keywords if word.arg == "fault"]
        said += node.args[:1] if name == "CardRefused" else node.args[1:2] if name == "_tell" else []
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Attribute) and target.attr in ("fault", "_fault") for target in targets):
            said.append(node.value)
    yield from (one.value for one in said if isinstance(one, ast.Constant) and isinstance(one.value, str))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fault_a_driver_or_link_tells_has_words(language: str) -> None:
    told = faults_told_by_devices()
    assert {"card_unreadable", "card_data_invalid", "glucose_not_measured", "bluetooth_off"} <= told.keys()
    silent = {code: file for code, file in told.items() if f"hints.{code}.title" not in texts(language)}
    assert silent == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fault_that_health_can_find_has_words(language: str) -> None:
    codes = {str(level) for level in Level if level is not Level.OK} | {
        "service_failed", "listener_failed", "device_lost", "stream_silent", "no_position", "county_not_set",
        "county_unreachable", "upload_parked", "clock_wrong", "consultation_down", "no_villages", "villages_refused",
        "bluetooth_off",
    }  # fmt: skip
    for code in codes:
        words = hint(code, language)
        assert words.title
        assert words.title != hint("unknown", language).title.replace("unknown", code), code


def test_both_languages_have_the_same_hints() -> None:
    zh, en = ({key for key in texts(language)._flat if key.startswith("hints.")} for language in ("zh", "en"))
    assert zh == en


def test_an_unknown_code_is_named() -> None:
    assert "flux_capacitor" in hint("flux_capacitor", "en").title

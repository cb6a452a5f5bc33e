"""Every refusal that can reach a page has words there, in both languages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.web.catalog import texts
from telemedicine.ultrasound.bridge import ClipUnderWay
from telemedicine.ultrasound.measuring import MeasureRefused
from telemedicine.ultrasound.picture import NoPicture
from telemedicine.ultrasound.still_channel import NothingToFreeze, StillElsewhere
from telemedicine.vehicle_client import VehicleRefused
from vehicle.captures import CaptureRefused
from vehicle.ultrasound import ImageUnknown, NotCalibrated

PACKAGE = Path(__file__).parents[2] / "telemedicine"
REFUSALS = frozenset({"MessageRefused", "OpinionRefused", "WrongMoment"})
DEFAULTS = frozenset({"unreadable", "not_signed_well", "wrong_moment"})
HANDED_ON = frozenset({"_refuse"})
OF_STILLS = frozenset(
    {
        *(StillElsewhere.code, NothingToFreeze.code, NoPicture.code, ClipUnderWay.code, VehicleRefused.code),
        *(MeasureRefused.code, NotCalibrated.code, ImageUnknown.code, CaptureRefused.code, "only_looks", "too_much"),
    }
)
"""What the channel of stills may say: its own and what the vehicle answered it."""


def words() -> Iterator[str]:
    """The last argument, or ``word=``, of each refusal in the package."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [keyword.value for keyword in node.keywords if keyword.arg == "word"]
            if name in REFUSALS and len(node.args) > 1:
                given.append(node.args[1])
            elif name in HANDED_ON and len(node.args) > 2:
                given.append(node.args[2])
            yield from (value.value for value in given if isinstance(value, ast.Constant) and value.value)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_can_say_every_refusal(language: str) -> None:
    used = set(words()) | DEFAULTS | OF_STILLS
    assert {"taken", "clock", "van_away", "full", "too_long", "vehicle_restarting", "offer"} <= used
    t = texts(language)
    assert [word for word in sorted(used) if f"specialist.script.refused_{word}" not in t] == []

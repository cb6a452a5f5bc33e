"""The drivers that exist: every module in ``devices.drivers`` with a class ``Driver``. The file name is the id."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import cast

import devices.drivers
from devices.driver import About, DriverContract
from devices.errors import AskPerson

DriverMaker = Callable[[], DriverContract]


class DriverUnknown(AskPerson):
    code = "driver_unknown"


@cache
def drivers() -> dict[str, DriverMaker]:
    """id -> class ``Driver``, sorted by id."""
    found: dict[str, DriverMaker] = {}
    for module in sorted(pkgutil.iter_modules(devices.drivers.__path__), key=lambda entry: entry.name):
        made = getattr(importlib.import_module(f"devices.drivers.{module.name}"), "Driver", None)
        if made is not None:
            found[module.name] = cast(DriverMaker, made)
    return found


def driver(driver_id: str) -> DriverMaker:
    """The class of one driver.

    :raises DriverUnknown: no such file in ``devices/drivers``; the message names those that exist.
    """
    try:
        return drivers()[driver_id]
    except KeyError:
        known = ", ".join(drivers())
        raise DriverUnknown(f"no driver {driver_id!r}; known: {known}", driver=driver_id) from None


def about(driver_id: str) -> About:
    """The label of one driver, without making one.

    :raises DriverUnknown: as ``driver``.
    """
    return cast(type[DriverContract], driver(driver_id)).about

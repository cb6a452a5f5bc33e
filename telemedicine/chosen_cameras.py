"""The cameras that the crew chose at the touchscreen, in place of those that the settings name.

The vehicle process writes them into a file, ``{"room": "/dev/v4l/by-path/...", "ultrasound": ...}``. They count from
the next start of this process, which starts itself anew for that while no specialist watches. The camera that looks
out of the van, ``"outside"``, is no picture of a consultation: it is looked up when a photo is taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from devices.clock import Clock
from telemedicine.settings import FEED_ORDER, ConsultationSettings, FeedSettings

LOOK_EVERY_S = 1.0
SETTLED_AFTER_S = 5.0
"""Whoever chooses one camera often chooses the other too: one start for both."""


def chosen_in(file: Path | None) -> Mapping[str, str]:
    """Feed -> address; nothing where there is no file, or none that can be read."""
    said = _said(file)
    return {name: said[name] for name in FEED_ORDER if name in said}


def outside_camera(settings: ConsultationSettings) -> str | None:
    """Address of the camera that looks out of the van: as the crew chose, else as the settings name it."""
    return _said(settings.chosen).get("outside", settings.outside)


def _said(file: Path | None) -> dict[str, str]:
    try:
        said = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {name: address for name, address in said.items() if isinstance(address, str) and address}


def with_cameras(settings: ConsultationSettings, chosen: Mapping[str, str]) -> ConsultationSettings:
    """Each chosen camera as the source of its feed; a feed that the settings do not have is added as it is at best."""
    feeds = {feed.name: feed for feed in settings.feeds}
    for name in FEED_ORDER:
        if name in chosen:
            known = feeds.get(name) or FeedSettings(name=name, source=chosen[name])
            feeds[name] = known.model_copy(update={"source": chosen[name]})
    return settings.model_copy(update={"feeds": [*feeds.values()]})


async def until_others_are_chosen(
    file: Path | None, chosen: Mapping[str, str], is_watched: Callable[[], bool], clock: Clock
) -> None:
    """Return when other cameras than ``chosen`` have been chosen for ``SETTLED_AFTER_S`` and nobody is watching."""
    newest, since_s = chosen, clock.monotonic_s()
    while True:
        now, now_s = chosen_in(file), clock.monotonic_s()
        if now != newest:
            newest, since_s = now, now_s
        if newest != chosen and now_s - since_s >= SETTLED_AFTER_S and not is_watched():
            return
        await clock.sleep(LOOK_EVERY_S)

"""The devices of this van: those of the settings file, and those that the crew added at the touchscreen.

What the crew adds is an entry of the journal (``device_added/1``, ``device_removed/1``, with who did it) and a row of
its table ``devices``: durable before it is shown, there again after a restart, at the county by itself. The settings
file stays the operator's; what it names is told to the journal at the start, and is changed in the file only.

A name ("oximeter-2") is never given a second time, because readings are filed under it: a device that is exchanged gets
a new name and keeps its title.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import overload

from pydantic import ValidationError

from devices import catalog
from devices.discovery import PLUGGED, Candidate
from devices.errors import AskPerson
from devices.session import DeviceSession, DeviceSettings
from sync.formats.canonical import Json
from sync.formats.records import Draft
from vehicle.clinic.instruments import Instrument, instruments
from vehicle.clinic.ports import Journal
from vehicle.supervisor import Supervisor

WIZARD, SETTINGS = "wizard", "settings"
NAMES = {
    "ecg": "ecg",
    "spo2_percent": "oximeter",
    "identity_card": "card",
    "position": "gnss",
    "cellular": "modem",
    "glucose_mmol_l": "glucose",
    "systolic_mmhg": "cuff",
    "temperature_c": "thermometer",
    "weight_kg": "scale",
}
"""What a device measures -> how its name begins; others are named after their driver."""


class DeviceUnknown(AskPerson):
    code = "device_unknown"


class DeviceInSettings(AskPerson):
    """It stands in the settings file, which is the operator's."""

    code = "device_in_settings"


class PlaceTaken(AskPerson):
    """Another device of this van is at that port or address."""

    code = "device_place_taken"


class TitleRefused(AskPerson):
    code = "device_title_refused"


@dataclass(frozen=True, slots=True)
class Origin:
    """What the journal says of how a device came."""

    source: str
    title: str
    added_at: str
    added_by: str | None
    identity: Mapping[str, str]
    evidence: Sequence[Mapping[str, str]]


class OnBoard(Sequence[DeviceSettings]):
    """All devices, those of the settings first. Sessions run between ``start`` and the end of the supervisor.

    :param open_session: makes the session of a device; None where it has no way to it
    :param changed: called when a device came, went or got another title
    """

    def __init__(
        self,
        configured: Sequence[DeviceSettings],
        store: Journal,
        supervisor: Supervisor,
        open_session: Callable[[DeviceSettings], DeviceSession | None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._configured = {device.name: device for device in configured}
        self._store = store
        self._supervisor = supervisor
        self._open_session = open_session
        self._changed = changed
        self._running = False
        self.unreadable: list[str] = []
        """Names of added devices whose driver this version does not have."""
        self.sessions: dict[str, DeviceSession] = {}
        self._added = self._stored()

    # what is there --------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int) -> DeviceSettings: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[DeviceSettings]: ...
    def __getitem__(self, index: int | slice) -> DeviceSettings | Sequence[DeviceSettings]:
        return self._all()[index]

    def __iter__(self) -> Iterator[DeviceSettings]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._configured) + len(self._added)

    def named(self, name: str) -> DeviceSettings:
        """:raises DeviceUnknown: no such device, or removed."""
        device = self._configured.get(name) or self._added.get(name)
        if device is None:
            raise DeviceUnknown(f"no device {name!r} in this van: look again", device=name)
        return device

    def is_configured(self, name: str) -> bool:
        return name in self._configured

    def origin(self, name: str) -> Origin | None:
        """How the device came, None before the journal knows it."""
        rows = self._store.read("SELECT * FROM devices WHERE device = ? AND state = 'added'", (name,))
        if not rows:
            return None
        row = rows[0]
        identity, evidence = json.loads(row["identity_json"]), json.loads(row["evidence_json"])
        return Origin(row["source"], row["title"], row["added_at"], row["added_by"], identity, evidence)

    def _all(self) -> list[DeviceSettings]:
        return [*self._configured.values(), *self._added.values()]

    def _stored(self) -> dict[str, DeviceSettings]:
        rows = self._store.read(
            "SELECT * FROM devices WHERE state = 'added' AND source = ? ORDER BY added_at, device", (WIZARD,)
        )
        found = {}
        for row in rows:
            try:
                catalog.about(row["driver"])
                device = _settings(row["device"], row["driver"], row["link"], row["place"], row["title"])
            except (ValidationError, catalog.DriverUnknown):
                self.unreadable.append(row["device"])
                continue
            if device.name not in self._configured:
                found[device.name] = device
        return found

    # what is done ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Tell the journal what the settings say, and open a session for every device."""
        self._running = True
        drafts = list(self._news_of_settings())
        if drafts:
            await self._store.commit(*drafts)
        for device in self._all():
            self._open(device)

    async def add(self, candidate: Candidate, driver: str, title: str, by: str) -> DeviceSettings:
        """Durable when it returns; the session runs.

        :param candidate: with its evidence, ``candidate.evidence``, as the journal keeps it
        :raises PlaceTaken, TitleRefused, catalog.DriverUnknown: with nothing written.
        """
        device = candidate.settings(self._new_name(driver), driver, self._title(title))
        self._check_place(device)
        await self._store.commit(_added(device, WIZARD, by, candidate))
        self._take(device)
        return device

    async def remove(self, name: str, by: str, reason: str = "removed") -> None:
        """Its readings stay; its session ends and gives the port back.

        :raises DeviceUnknown, DeviceInSettings: with nothing written.
        """
        self._own(name)
        await self._store.commit(_removed(name, reason, by))
        await self._drop(name)
        self._changed()

    async def rename(self, name: str, title: str, by: str) -> None:
        """Another title; the name and everything filed under it stay.

        :raises DeviceUnknown, DeviceInSettings, TitleRefused: with nothing written.
        """
        device = self._own(name)
        origin = self.origin(name)
        renamed = device.model_copy(update={"title": self._title(title, but=name)})
        identity = dict(origin.identity) if origin else {}
        evidence = [dict(one) for one in origin.evidence] if origin else []
        await self._store.commit(_draft(renamed, WIZARD, by, identity, evidence))
        self._added[name] = renamed
        self._changed()

    async def replace(self, name: str, candidate: Candidate, driver: str, by: str) -> DeviceSettings:
        """Another device in its stead, under its title and a new name: record numbers of the old one mean nothing now.

        :raises DeviceUnknown, DeviceInSettings, PlaceTaken: with nothing written.
        """
        old = self._own(name)
        device = candidate.settings(self._new_name(driver), driver, old.title)
        self._check_place(device, but=name)
        gone = _removed(name, f"replaced by {device.name}", by)
        await self._store.commit(gone, _added(device, WIZARD, by, candidate))
        await self._drop(name)
        self._take(device)
        return device

    # how it is done -------------------------------------------------------------------------------------------------

    def _open(self, device: DeviceSettings) -> None:
        session = self._open_session(device)
        if session is not None:
            self.sessions[device.name] = session
            self._supervisor.add(_job(device.name), session.run)

    def _take(self, device: DeviceSettings) -> None:
        self._added[device.name] = device
        if self._running:
            self._open(device)
        self._changed()

    async def _drop(self, name: str) -> None:
        self._added.pop(name, None)
        self.sessions.pop(name, None)
        await self._supervisor.end(_job(name))

    def _own(self, name: str) -> DeviceSettings:
        device = self.named(name)
        if name in self._configured:
            raise DeviceInSettings(f"{name} stands in the settings file: change it there", device=name)
        return device

    def _title(self, title: str, but: str = "") -> str:
        title = " ".join(title.split())
        if not 1 <= len(title) <= 40 or not title.isprintable():
            raise TitleRefused("a title has 1 to 40 letters: write what the crew calls the device")
        if any(device.title == title and device.name != but for device in self._all()):
            raise TitleRefused(f"another device is called {title!r} already: give each its own title")
        return title

    def _check_place(self, device: DeviceSettings, but: str = "") -> None:
        wanted = (device.link, place_of(device))
        for other in self._all():
            if other.name != but and (other.link, place_of(other)) == wanted:
                raise PlaceTaken(f"{place_of(device)} is {other.name} already", device=other.name)

    def _new_name(self, driver: str) -> str:
        measures = [metric.key for metric in catalog.about(driver).metrics]
        word = next((NAMES[key] for key in measures if key in NAMES), re.sub(r"[^a-z0-9]+", "-", driver).strip("-"))
        rows = self._store.read("SELECT device FROM devices UNION SELECT DISTINCT device FROM device_events")
        names = {*self._configured, *self._added, *(row["device"] for row in rows)}
        numbers = [int(found[1]) for name in names if (found := re.fullmatch(rf"{word}-([0-9]{{1,6}})", name))]
        return f"{word}-{max(numbers, default=0) + 1}"

    def _news_of_settings(self) -> Iterable[Draft]:
        """What the settings file says otherwise than the journal."""
        rows = {row["device"]: row for row in self._store.read("SELECT * FROM devices WHERE state = 'added'")}
        for device in self._configured.values():
            row = rows.get(device.name)
            said = (device.driver, device.link, place_of(device), device.title, SETTINGS)
            if row is None or said != tuple(row[key] for key in ("driver", "link", "place", "title", "source")):
                yield _draft(device, SETTINGS, None, {}, [])
        for name, row in rows.items():
            if row["source"] == SETTINGS and name not in self._configured:
                yield _removed(name, "no longer in the settings", None)


class InstrumentsOnBoard(Sequence[Instrument]):
    """The devices that fill tiles, as they are now."""

    def __init__(self, devices: Sequence[DeviceSettings]) -> None:
        self._devices = devices

    @overload
    def __getitem__(self, index: int) -> Instrument: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Instrument]: ...
    def __getitem__(self, index: int | slice) -> Instrument | Sequence[Instrument]:
        return instruments(self._devices, catalog.about)[index]

    def __iter__(self) -> Iterator[Instrument]:
        return iter(instruments(self._devices, catalog.about))

    def __len__(self) -> int:
        return len(instruments(self._devices, catalog.about))


def _settings(name: str, driver: str, link: str, place: str, title: str) -> DeviceSettings:
    """:raises ValidationError: a driver that does not speak over such a link any more, a link of a newer version."""
    where = {"port": place} if link in (*PLUGGED, "listen") else {"address": place}
    return DeviceSettings.model_validate({"name": name, "driver": driver, "link": link, "title": title, **where})


def place_of(device: DeviceSettings) -> str:
    """Port path, Bluetooth address, or address and port on the network."""
    return device.port or device.address


def _job(name: str) -> str:
    return f"device {name}"


def _added(device: DeviceSettings, source: str, by: str | None, candidate: Candidate) -> Draft:
    identity = candidate.identity.told() if candidate.identity else {}
    return _draft(device, source, by, identity, [asdict(one) for one in candidate.evidence])


def _draft(
    device: DeviceSettings, source: str, by: str | None, identity: Mapping[str, str], evidence: list[dict[str, str]]
) -> Draft:
    fields: dict[str, Json] = {
        "device": device.name,
        "driver": device.driver,
        "link": device.link,
        "place": place_of(device),
        "title": device.title,
        "source": source,
        "identity": dict(identity),
        "evidence": [dict(one) for one in evidence],
    }
    return Draft("device_added/1", fields, by=by)


def _removed(name: str, reason: str, by: str | None) -> Draft:
    return Draft("device_removed/1", {"device": name, "reason": reason}, by=by)

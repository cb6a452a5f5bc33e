"""Every device of every vehicle, as the entries tell it: the county's inventory, in the form of the van's own list."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select

from devices import catalog
from sync.county.database import Database, Row
from sync.county.interpretation import said
from sync.county.schema import projected
from sync.formats.records import parse_time
from sync.interop.asset_list import Asset
from sync.proof.presence import local_day
from sync.web.catalog import Texts


def device_list(database: Database, vehicles: Mapping[str, str], t: Texts) -> list[Asset]:
    """Devices that were added and not removed since, by vehicle and name.

    :param vehicles: origin -> vehicle, of those that are enrolled
    """
    table = projected["devices"]
    cares, seen = _cares(database), _seen(database)
    rows = database.rows(select(table).where(table.c.state == "added").order_by(table.c.origin, table.c.device))
    return [
        _asset(row, vehicles[row["origin"]], cares.get(_key(row), {}), seen.get(_key(row), {}), t)
        for row in rows
        if row["origin"] in vehicles
    ]


def _asset(row: Row, vehicle: str, cares: Mapping[str, Row], seen: Row, t: Texts) -> Asset:
    identity = said(row["identity_json"])
    known = catalog.drivers().get(row["driver"])
    about = catalog.about(row["driver"]) if known is not None else None
    kind = "" if about is None else about.title_en if t.language == "en" else about.title_zh
    calibration, control, strips = (cares.get(what, {}) for what in ("calibration", "quality_control", "strips"))
    link = f"touch.device.link_{row['link']}"
    return Asset(
        vehicle=vehicle,
        device=row["device"],
        title=row["title"] or kind or row["driver"],
        kind=kind or row["driver"],
        driver=row["driver"],
        link=t(link) if link in t else row["link"] or "",
        place=row["place"] or "",
        vendor=_text(identity.get("vendor")),
        model=_text(identity.get("model")),
        serial=_text(identity.get("serial")) or _text(said(seen.get("facts_json") or "{}").get("serial")),
        firmware=_text(identity.get("firmware")),
        added_on=_day(row["added_at"]),
        added_by=row["added_by"] or t("touch.device.by_settings"),
        last_seen_on=_day(seen.get("at")),
        calibration_due_on=calibration.get("due_on") or "",
        quality_control_due_on=control.get("due_on") or "",
        strip_lot=strips.get("lot") or "",
        strips_expire_on=strips.get("due_on") or "",
        hardware_tested=_tested(about.hardware_tested if about is not None else "no", t),
    )


def _cares(database: Database) -> dict[tuple[str, str], dict[str, Row]]:
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in database.rows(select(projected["device_cares"])):
        found.setdefault(_key(row), {})[row["what"]] = row
    return found


def _seen(database: Database) -> dict[tuple[str, str], Row]:
    """The last time each device was attached."""
    told = projected["device_events"]
    last = select(told.c.origin, func.max(told.c.n).label("n")).where(told.c.event == "attached")
    newest = last.group_by(told.c.origin, told.c.device).subquery()
    both = told.join(newest, (told.c.origin == newest.c.origin) & (told.c.n == newest.c.n))
    return {_key(row): row for row in database.rows(select(told).select_from(both))}


def _key(row: Row) -> tuple[str, str]:
    return row["origin"], row["device"]


def _day(at: str | None) -> str:
    return local_day(parse_time(at)).isoformat() if at else ""


def _text(told: object) -> str:
    return told[:80] if isinstance(told, str) else ""


def _tested(told: str, t: Texts) -> str:
    return t("touch.device.not_tested") if told == "no" else told

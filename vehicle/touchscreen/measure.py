"""Measure: tiles that fill by themselves, one tap to confirm, hand entry, and what a red value asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fastapi import APIRouter, Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.web.access import roles
from sync.web.catalog import Texts
from vehicle.clinic.prompts import Ladder
from vehicle.clinic.tiles import Tile
from vehicle.clinic.units import REQUIRED
from vehicle.touchscreen import laboratory, wording
from vehicle.touchscreen.ecg import ecg_device
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

ICONS = {
    "blood_pressure": "bp",
    "glucose": "drop",
    "pulse_oximetry": "spo2",
    "temperature": "temp",
    "weight": "weight",
    "heart_rate": "heart",
    "uric_acid": "acid",
    "laboratory": "lab",
}
HAND: dict[str, tuple[str, ...]] = {
    "blood_pressure": ("systolic_mmhg", "diastolic_mmhg", "pulse_bpm"),
    "glucose": ("glucose_mmol_l",),
    "pulse_oximetry": ("spo2_percent", "pulse_bpm"),
    "temperature": ("temperature_c",),
    "weight": ("weight_kg", "height_cm"),
    "heart_rate": ("heart_rate_bpm",),
    "uric_acid": ("uric_acid_umol_l",),
}
"""Fields of a hand entry; what is plausible is said by the service."""
LADDER_VALUES = {
    "sbp": "systolic_mmhg",
    "dbp": "diastolic_mmhg",
    "fpg": "glucose_mmol_l",
    "spo2": "spo2_percent",
    "temp": "temperature_c",
    "hr": "heart_rate_bpm",
}


OXIMETER = "pulse_oximetry"
ALSO_NARROW = 1
"""The ultrasound's tile is as narrow as those of the readings; so is the laboratory's, where there is one."""
COLUMNS = 3


class HandEntryDiffers(ValueError):
    """The two times a number was typed do not agree, or one is no number; its text is the field."""


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/measure")
    @roles(*CLINICAL)
    async def measure(request: Request, focus: str = Query("", max_length=40), seen: int = Query(0, ge=0)) -> Response:
        """:param seen: a tapped tile stays in focus until a reading newer than this comes (Unix ms)"""
        language = screen.texts(request).language
        served = vehicle.encounters.current()
        tiles = {tile.type: tile for tile in vehicle.measurements.tiles(language)}
        chosen = in_focus(list(tiles.values()), focus, seen)
        held = vehicle.measurements.holding()
        nights = vehicle.nights.held()
        critical = [red for red in vehicle.measurements.critical(language) if not red.source]
        prompts = vehicle.screening.prompts(served.encounter, language) if served else []
        lab = laboratory.glance(screen)
        narrow = ALSO_NARROW + (lab is not None)
        devices = vehicle.health.devices_told(language)
        context = {
            "tiles": [tile for kind, tile in tiles.items() if kind != chosen],
            "focus": tiles.get(chosen),
            "away": [row["name"] for row in devices if not row["ready"]],
            "titles": {row["name"]: row["title"] for row in devices},
            "seen": max((_ms(tile) for tile in tiles.values() if tile.state == "arrived"), default=0),
            "held": [reading for reading in held if reading.type == chosen],
            "held_count": len(held) + len(nights),
            "nights": nights,
            "held_types": {reading.type for reading in held},
            "icons": ICONS,
            "grid": tile_grid(len(tiles) - 1 - (chosen != OXIMETER) + narrow, chosen != OXIMETER),
            "ladders": _ladders(vehicle.screening.ladders(chosen, language), tiles[chosen]) if chosen else [],
            "critical": critical[0] if critical else None,
            "ecg_device": ecg_device(screen, language),
            "ecg_found": vehicle.ecg_findings.newest(served.encounter) if served else None,
            "laboratory": lab,
            "to_see": [prompt for prompt in prompts if prompt.level],
            "unscreened": _unscreened(tiles.values()),
        }
        return screen.page(request, "measure.html", "measure", context)

    @router.post("/measure/{reading}/confirm")
    @roles(*CLINICAL)
    async def confirm(request: Request, reading: str) -> Response:
        tile = await vehicle.measurements.confirm(reading, request.state.caller.id)
        return back(f"/measure?focus={tile.type}")

    @router.post("/measure/{reading}/reject")
    @roles(*CLINICAL)
    async def reject(request: Request, reading: str, reason: str = Form("repeat", max_length=40)) -> Response:
        tile = await vehicle.measurements.reject(reading, reason, request.state.caller.id)
        return back(f"/measure?focus={tile.type}")

    @router.post("/measure/live/{kind}/keep")
    @roles(*CLINICAL)
    async def keep(request: Request, kind: str) -> Response:
        tile = await vehicle.measurements.keep(kind, request.state.caller.id)
        return back(f"/measure?focus={tile.type}")

    @router.get("/measure/by-hand/{kind}")
    @roles(*CLINICAL)
    async def by_hand_form(request: Request, kind: str) -> Response:
        return _hand_page(request, kind, {})

    @router.post("/measure/by-hand/{kind}")
    @roles(*CLINICAL)
    async def by_hand(request: Request, kind: str) -> Response:
        told = {name: str(entry).strip() for name, entry in (await request.form()).items()}
        try:
            if kind not in HAND:
                raise HTTPException(404, "no such measurement")
            await vehicle.measurements.by_hand(kind, hand_values(kind, told), request.state.caller.id)
        except HandEntryDiffers as differs:
            t = screen.texts(request)
            what = t(f"touch.hand.field.{differs}")
            refused = {"title": t("touch.hand.differs", what=what), "next_step": t("touch.hand.differs_hint")}
            return _hand_page(request, kind, told, refused)
        except AskPerson as implausible:
            explained = screen.explain(request, implausible)
            return _hand_page(request, kind, told, _which(implausible, explained, request))
        return back(f"/measure?focus={kind}")

    def _hand_page(
        request: Request, kind: str, told: Mapping[str, str], refused: dict[str, str] | None = None
    ) -> Response:
        if kind not in HAND:
            raise HTTPException(404, "no such measurement")
        optional = set(HAND[kind]) - set(REQUIRED[kind])
        context = {
            "kind": kind, "fields": HAND[kind], "told": told, "refused": refused, "icons": ICONS, "optional": optional
        }  # fmt: skip
        return screen.page(request, "by_hand.html", "measure", context, 422 if refused else 200)

    def _which(refused: AskPerson, told: dict[str, str], request: Request) -> dict[str, str]:
        """The refusal with the field and its bounds named."""
        t: Texts = screen.texts(request)
        field = str(refused.facts.get("field", ""))
        if f"touch.hand.field.{field}" in t:
            bounds = (refused.facts.get("low"), refused.facts.get("high"))
            text = t(f"touch.hand.field.{field}")
            told = {**told, "title": f"{text}: {told['title']}"}
            if None not in bounds:
                told["next_step"] = t("touch.hand.possible", low=f"{bounds[0]:g}", high=f"{bounds[1]:g}")
        return told

    return router


def hand_values(kind: str, told: Mapping[str, str]) -> dict[str, object]:
    """Numbers of a hand entry, each typed twice (field and ``<field>_again``); empty ones are left out.

    :raises HandEntryDiffers: names the field: no number, or the two do not agree
    """
    values: dict[str, object] = {}
    for name in HAND.get(kind, ()):
        first, second = told.get(name, ""), told.get(f"{name}_again", "")
        if not first and not second:
            continue
        try:
            number, again = float(first), float(second)
        except ValueError:
            raise HandEntryDiffers(name) from None
        if number != again:
            raise HandEntryDiffers(name)
        values[name] = int(number) if number.is_integer() else number
    return values


def _unscreened(tiles: Iterable[Tile]) -> str | None:
    """Why there may be no prompts though nobody is well yet: rules hear confirmed values only.

    :returns: "to_confirm", "nothing_yet"; None when every value that is here was heard
    """
    states = {tile.state for tile in tiles}
    if "arrived" in states:
        return "to_confirm"
    return None if "confirmed" in states else "nothing_yet"


def in_focus(tiles: Sequence[Tile], asked: str, seen_ms: int = 0) -> str:
    """The tile that is large: the asked one unless another waits for a tap, else the newest that arrived.

    :param seen_ms: who asked had seen what arrived until then (Unix ms): only newer readings come first
    """
    kinds = [tile.type for tile in tiles]
    arrived = [tile for tile in tiles if tile.state == "arrived" and _ms(tile) > seen_ms]
    if any(tile.type == asked for tile in arrived) or (asked in kinds and not arrived):
        return asked
    if arrived:
        return max(arrived, key=lambda tile: str(tile.at)).type
    return kinds[0] if kinds else ""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How the tiles beside the one in focus fill their grid without a hole."""

    rows: int
    ecg_rows: int
    """The ECG is two columns wide and so many rows high."""
    screening_columns: int


def tile_grid(narrow: int, with_oximeter: bool) -> TileGrid:
    """
    :param narrow: tiles of one cell
    :param with_oximeter: the oximeter's tile of two cells is among them; otherwise it is in focus
    """
    least = narrow + 2 * with_oximeter + 4  # the ECG and the prompts have two cells each at least
    rows = max(COLUMNS, -(-least // COLUMNS))
    spare = rows * COLUMNS - least
    return TileGrid(rows, 2 if spare >= 2 else 1, 3 if spare % 2 else 2)


def _ms(tile: Tile) -> int:
    return int(tile.at.timestamp() * 1000) if tile.at else 0


def _ladders(ladders: Sequence[Ladder], tile: Tile) -> list[dict[str, Any]]:
    """What to draw: the levels from low to high, the bounds between them, where the value stands (0..1)."""
    rows = []
    for ladder in ladders:
        cuts = [bound for bound, _ in ladder.steps[1:]]
        number = wording.measured(tile.values, LADDER_VALUES.get(ladder.field, ladder.field))
        if number is None or not cuts:
            continue
        rows.append(
            {
                "label": ladder.label,
                "levels": [level for _, level in ladder.steps],
                "cuts": [f"{cut:g}" for cut in cuts],
                "needle": needle(number, cuts),
                "number": f"{number:g}",
            }
        )
    return rows


def needle(number: float, cuts: Sequence[float]) -> float:
    """Place of a number on a ladder of equally wide steps, 0..1; the outer steps are as wide as their neighbours."""
    first = cuts[1] - cuts[0] if len(cuts) > 1 else max(abs(cuts[0]) * 0.1, 1.0)
    last = cuts[-1] - cuts[-2] if len(cuts) > 1 else first
    bounds = [cuts[0] - first, *cuts, cuts[-1] + last]
    steps = len(bounds) - 1
    for k, (low, high) in enumerate(pairwise(bounds)):
        if number < high:
            return (k + max(0.0, (number - low) / (high - low))) / steps
    return 1.0

"""The ultrasound machine as the record has it: its calibration, the depth that is set, what was frozen and measured.

The media process tells the machine's settings; what decides a measurement is an entry whenever it changed. Which depth
is set on the machine only the crew knows: with several depths nothing is calibrated until somebody has said it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft, EntryUnreadable, parse_time, read_entry
from telemedicine.ultrasound.machine import MachineSettings, PixelSize, calibration_facts, pixel_size
from telemedicine.ultrasound.measuring import Tool, measure
from vehicle.captures import STILL, Captures
from vehicle.clinic.ports import Ids, Journal, Live

MACHINE, DEPTH = "ultrasound", "ultrasound-depth"
"""What ``settings_changed/1`` entries name, with the machine's name behind a colon."""
LONGEST_WHO = 120


class ImageUnknown(AskPerson):
    """There is no such still."""

    code = "image_unknown"


class NotCalibrated(AskPerson):
    """Nobody knows how large a pixel of this still is."""

    code = "image_not_calibrated"


class DepthUnknown(AskPerson):
    """The settings have no such depth."""

    code = "depth_unknown"


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """What the media process says of a still or clip that it begins.

    ``scale``: 1, or by how much a clip's pictures are smaller than they were shown; ``who``: a specialist, in words.
    """

    what: str
    source_size: tuple[int, int]
    width: int
    height: int
    age_ms: int
    scale: float = 1.0
    by: str | None = None
    who: str = ""
    consultation: str = ""


@dataclass(frozen=True, slots=True)
class MeasurementView:
    measurement: str
    sha256: str
    tool: str
    points: tuple[tuple[float, float], ...]
    sizes: dict[str, int]
    by: str
    who: str
    at: datetime

    def message(self) -> dict[str, Any]:
        return {
            "measurement": self.measurement,
            "sha256": self.sha256,
            "tool": self.tool,
            "points": [list(point) for point in self.points],
            "sizes": self.sizes,
            "who": self.who or self.by,
        }


@dataclass(frozen=True, slots=True)
class ImageView:
    """A still or clip of the record; ``dicom``: (destination, state, reason) of each archive it was sent to."""

    sha256: str
    what: str
    encounter: str | None
    patient: str | None
    device: str
    at: datetime
    duration_ms: int
    bytes: int
    by: str
    who: str
    facts: dict[str, Any]
    pixel: PixelSize | None
    evicted: bool
    measurements: tuple[MeasurementView, ...]
    dicom: tuple[tuple[str, str, str], ...]


class Ultrasound:
    def __init__(self, store: Journal, ids: Ids, live: Live, captures: Captures) -> None:
        self._store = store
        self._ids = ids
        self._live = live
        self._captures = captures
        self.machine: MachineSettings | None = None
        """As the media process has told it since this process started."""
        self.depth: str | None = None

    # the machine ----------------------------------------------------------------------------------------------------

    async def told(self, machine: MachineSettings) -> None:
        """The settings as they are now; what decides a measurement is recorded when it is not what it was."""
        facts = calibration_facts(machine)
        what = f"{MACHINE}:{machine.name}"
        if self._last(what) != facts:
            await self._store.commit(Draft("settings_changed/1", {"what": what, "facts": facts}))
        depth = (self._last(f"{DEPTH}:{machine.name}") or {}).get("depth")
        self.machine = machine
        self.depth = depth if any(one.name == depth for one in machine.depths) else None
        self._tell()

    async def choose_depth(self, depth: str, by: str) -> None:
        """Say which depth is set on the machine.

        :raises DepthUnknown: the settings name no such depth
        """
        if self.machine is None or all(one.name != depth for one in self.machine.depths):
            raise DepthUnknown("choose one of the depths that the settings name")
        if depth != self.depth:
            what = f"{DEPTH}:{self.machine.name}"
            await self._store.commit(Draft("settings_changed/1", {"what": what, "facts": {"depth": depth}}, by))
            self.depth = depth
            self._tell()

    async def begin(self, said: CaptureFacts) -> str:
        """Begin a still or clip with what is known of the machine; see ``Captures.begin``."""
        facts: dict[str, Json] = {"width": said.width, "height": said.height}
        device = "ultrasound"
        if self.machine is not None:
            device = self.machine.name
            told = {name: getattr(self.machine, name) for name in ("manufacturer", "model", "serial")}
            facts |= {name: words for name, words in told.items() if words}
            size = pixel_size(self.machine, self.depth, said.source_size) if said.scale == 1.0 else None
            if size is not None:
                facts |= size.facts()
                if self.depth is not None:
                    facts["depth"] = self.depth
        if said.who:
            facts["who"] = said.who[:LONGEST_WHO]
        if said.consultation:
            facts["consultation"] = said.consultation
        return await self._captures.begin(said.what, device, said.by, said.age_ms, facts)

    # what is measured -----------------------------------------------------------------------------------------------

    async def measure(
        self, sha256: str, tool: str, points: Sequence[Sequence[float]], by: str | None = None, who: str = ""
    ) -> MeasurementView:
        """Measure or draw on a still; the sizes are worked out here, from the points, and kept with them.

        :param points: (x, y) in pixels of the still
        :param who: a specialist, in words
        :raises ImageUnknown, NotCalibrated, MeasureRefused: see there; nothing is kept
        """
        rows = self._store.read("SELECT * FROM recordings WHERE sha256 = ? AND what = ?", (sha256, STILL))
        if not rows:
            raise ImageUnknown("there is no such still")
        row, facts = rows[0], json.loads(rows[0]["facts_json"])
        size = PixelSize.of_facts(facts)
        if size is None and tool != Tool.LINE:
            raise NotCalibrated("nobody knows how large a pixel of this still is")
        exact = [(round(x * 1000), round(y * 1000)) for x, y in points]
        rounded = [(x / 1000, y / 1000) for x, y in exact]
        measured = measure(tool, rounded, size, facts["width"], facts["height"])
        said: dict[str, Json] = {
            "measurement": self._ids.new("measurement"),
            "sha256": sha256,
            "tool": str(measured.tool),
            "points_millipixel": [list(point) for point in exact],
            "sizes": dict(measured.facts()) | (dict(size.facts()) if size is not None else {}),
        }
        if row["patient"]:
            said["patient"] = row["patient"]
        if who:
            said["who"] = who[:LONGEST_WHO]
        await self._store.commit(Draft("image_measurement/1", said, by, row["visit"], row["encounter"]))
        view = self.measurements(sha256)[-1]
        self._live.send({"type": "image_measurement", "encounter": row["encounter"]} | view.message())
        return view

    def measurements(self, sha256: str) -> tuple[MeasurementView, ...]:
        """Of one still, oldest first."""
        rows = self._store.read("SELECT * FROM image_measurements WHERE sha256 = ? ORDER BY measurement", (sha256,))
        return tuple(_measurement(row) for row in rows)

    # what there is --------------------------------------------------------------------------------------------------

    def images(self, encounter: str) -> list[ImageView]:
        """Stills and clips of an encounter, newest first."""
        rows = self._store.read(
            "SELECT * FROM recordings WHERE encounter = ? AND what LIKE 'ultrasound%' ORDER BY started_at DESC, n DESC",
            (encounter,),
        )
        return [self._image(row) for row in rows]

    def image(self, sha256: str) -> ImageView:
        """:raises ImageUnknown: see there"""
        rows = self._store.read("SELECT * FROM recordings WHERE sha256 = ? AND what LIKE 'ultrasound%'", (sha256,))
        if not rows:
            raise ImageUnknown("there is no such still or clip")
        return self._image(rows[0])

    # how ------------------------------------------------------------------------------------------------------------

    def _image(self, row: Mapping[str, Any]) -> ImageView:
        facts = json.loads(row["facts_json"])
        made = self._store.read("SELECT body FROM entries WHERE n = ?", (row["n"],))
        by = json.loads(made[0]["body"]).get("by", "") if made and made[0]["body"] else ""
        sent = self._store.read("SELECT * FROM dicom_deliveries WHERE sha256 = ? ORDER BY at", (row["sha256"],))
        return ImageView(
            sha256=row["sha256"],
            what=row["what"],
            encounter=row["encounter"],
            patient=row["patient"],
            device=row["device"] or "",
            at=parse_time(row["started_at"]),
            duration_ms=row["duration_ms"],
            bytes=row["bytes"],
            by=by,
            who=str(facts.get("who", "")),
            facts=facts,
            pixel=PixelSize.of_facts(facts),
            evicted=row["evicted_at"] is not None,
            measurements=self.measurements(row["sha256"]),
            dicom=tuple((one["destination"], one["state"], one["reason"] or "") for one in sent),
        )

    def _last(self, what: str) -> dict[str, Any] | None:
        """The facts of the newest entry about ``what``."""
        for row in self._store.read(
            "SELECT n, body FROM entries WHERE kind = 'settings_changed/1' AND body IS NOT NULL "
            "AND instr(body, CAST(? AS BLOB)) > 0 ORDER BY n DESC",
            (what,),
        ):
            try:
                said = read_entry(row["body"], row["n"]).fields
            except EntryUnreadable:
                continue
            if said["what"] == what:
                return dict(said.get("facts") or {})
        return None

    def _tell(self) -> None:
        self._live.send({"type": "ultrasound", "depth": self.depth})


def _measurement(row: Mapping[str, Any]) -> MeasurementView:
    points = tuple((x / 1000, y / 1000) for x, y in json.loads(row["points_json"]))
    return MeasurementView(
        measurement=row["measurement"],
        sha256=row["sha256"],
        tool=row["tool"],
        points=points,
        sizes=json.loads(row["sizes_json"]),
        by=row["by"] or "",
        who=row["who"] or "",
        at=parse_time(row["at"]),
    )

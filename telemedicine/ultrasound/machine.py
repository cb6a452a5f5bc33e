"""Settings of one ultrasound machine: what of its picture is shown, how it is turned, how large a pixel is.

All lengths are of the picture as it is shown, after cropping and turning. A pixel's size holds for one size of the
captured picture only, as a capture card that scales makes it another one: ``source_size`` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sync.settings_file import Settings

Pixels = Annotated[int, Field(ge=0, le=8192)]
MmPerPixel = Annotated[float, Field(ge=0.005, le=5.0, allow_inf_nan=False)]
Line = Annotated[str, Field(max_length=64, pattern=r"^[^\\\x00-\x1f]*$")]
"""What fits a DICOM LO: no backslash, no control characters."""


class Crop(Settings):
    """The part of the captured picture that is shown, before it is turned."""

    left: Pixels = 0
    top: Pixels = 0
    width: Annotated[int, Field(ge=16, le=8192)]
    height: Annotated[int, Field(ge=16, le=8192)]


class Depth(Settings):
    """One depth setting of the machine, as its display names it."""

    name: Annotated[str, Field(min_length=1, max_length=24)]
    mm_per_pixel: MmPerPixel
    mm_per_pixel_down: MmPerPixel | None = None
    """Height of a pixel where it is not its width."""


class MachineSettings(Settings):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    """As entries name the device, e.g. "ultrasound-1"."""
    manufacturer: Line = ""
    model: Line = ""
    serial: Line = ""
    source_size: tuple[Pixels, Pixels] | None = None
    """Width and height of the captured picture that crop and calibration were measured on."""
    crop: Crop | None = None
    rotate_degrees: Literal[0, 90, 180, 270] = 0
    """Clockwise."""
    flip: Literal["none", "horizontal", "vertical"] = "none"
    """After turning."""
    mm_per_pixel: MmPerPixel | None = None
    """Width of a pixel, when the machine has one depth only."""
    mm_per_pixel_down: MmPerPixel | None = None
    depths: Annotated[tuple[Depth, ...], Field(max_length=24)] = ()
    """The machine's depths, when each has a calibration of its own; the crew says which one is set."""
    clip_longest_s: Annotated[int, Field(ge=2, le=120)] = 30

    @model_validator(mode="after")
    def _calibrated_once(self) -> MachineSettings:
        calibrated = self.mm_per_pixel is not None or bool(self.depths)
        if self.mm_per_pixel is not None and self.depths:
            raise ValueError("mm_per_pixel and depths exclude each other: give one calibration, or one for each depth")
        if self.mm_per_pixel is None and self.mm_per_pixel_down is not None:
            raise ValueError("mm_per_pixel_down without mm_per_pixel: give both, or mm_per_pixel alone")
        if calibrated and self.source_size is None:
            raise ValueError("source_size is missing: a calibration holds for one size of the captured picture only")
        names = [depth.name for depth in self.depths]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"depth {twice[0]!r} stands twice: give each its own name")
        return self

    @model_validator(mode="after")
    def _crop_lies_within(self) -> MachineSettings:
        if self.crop is not None and self.source_size is not None:
            width, height = self.source_size
            right, bottom = self.crop.left + self.crop.width, self.crop.top + self.crop.height
            if right > width or bottom > height:
                raise ValueError(f"crop ends at {right} x {bottom}, outside the picture of {width} x {height}")
        return self


@dataclass(frozen=True, slots=True)
class PixelSize:
    """How large one pixel of a picture is; nanometres, because entries have no fractions."""

    width_nm: int
    height_nm: int

    @property
    def width_mm(self) -> float:
        return self.width_nm / 1e6

    @property
    def height_mm(self) -> float:
        return self.height_nm / 1e6

    def facts(self) -> dict[str, int]:
        return {"pixel_width_nm": self.width_nm, "pixel_height_nm": self.height_nm}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> PixelSize | None:
        """The size that the facts of a recording tell; None when the picture is not calibrated."""
        width, height = facts.get("pixel_width_nm"), facts.get("pixel_height_nm")
        if type(width) is not int or type(height) is not int or width <= 0 or height <= 0:
            return None
        return cls(width, height)


def pixel_size(machine: MachineSettings, depth: str | None, source_size: tuple[int, int]) -> PixelSize | None:
    """The calibration that holds for a captured picture of ``source_size`` (width, height) at ``depth``; else None.

    With several depths none holds until somebody has said which one is set.
    """
    if machine.source_size is None or tuple(machine.source_size) != tuple(source_size):
        return None
    if machine.mm_per_pixel is not None:
        return _size(machine.mm_per_pixel, machine.mm_per_pixel_down)
    chosen = next((one for one in machine.depths if one.name == depth), None)
    return None if chosen is None else _size(chosen.mm_per_pixel, chosen.mm_per_pixel_down)


def _size(across_mm: float, down_mm: float | None) -> PixelSize:
    return PixelSize(round(across_mm * 1e6), round((down_mm or across_mm) * 1e6))


def calibration_facts(machine: MachineSettings) -> dict[str, Any]:
    """What of the settings decides how a still is measured, in the form of an entry: to be recorded when it changes."""
    facts: dict[str, Any] = {
        "manufacturer": machine.manufacturer,
        "model": machine.model,
        "serial": machine.serial,
        "rotate_degrees": machine.rotate_degrees,
        "flip": machine.flip,
    }
    if machine.source_size is not None:
        facts["source_size"] = list(machine.source_size)
    if machine.crop is not None:
        facts["crop"] = [machine.crop.left, machine.crop.top, machine.crop.width, machine.crop.height]
    if machine.mm_per_pixel is not None:
        facts |= _size(machine.mm_per_pixel, machine.mm_per_pixel_down).facts()
    if machine.depths:
        facts["depths"] = [
            {"name": one.name} | _size(one.mm_per_pixel, one.mm_per_pixel_down).facts() for one in machine.depths
        ]
    return facts

"""A captured picture as it is shown: cropped, turned, mirrored. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.errors import AskPerson
from telemedicine.ultrasound.machine import MachineSettings

Image = npt.NDArray[np.uint8]
"""BGR, shape (height, width, 3)."""


class CropOutside(AskPerson):
    """The captured picture is smaller than the crop of the settings."""

    code = "crop_outside"


def prepare(image: Image, machine: MachineSettings) -> Image:
    """``image`` cropped, then turned clockwise, then mirrored, as ``machine`` says; contiguous, never scaled.

    :raises CropOutside: the crop does not lie within the picture
    """
    height, width = image.shape[:2]
    shown = image
    if machine.crop is not None:
        crop = machine.crop
        right, bottom = crop.left + crop.width, crop.top + crop.height
        if right > width or bottom > height:
            raise CropOutside(
                f"{machine.name}: crop ends at {right} x {bottom}, the captured picture has {width} x {height}; "
                "correct crop and source_size in consultation.toml",
            )
        shown = shown[crop.top : bottom, crop.left : right]
    if machine.rotate_degrees:
        shown = np.rot90(shown, -(machine.rotate_degrees // 90))
    if machine.flip == "horizontal":
        shown = shown[:, ::-1]
    elif machine.flip == "vertical":
        shown = shown[::-1]
    return np.ascontiguousarray(shown)

"""A still as DICOM Ultrasound Image, a clip as Ultrasound Multi-frame Image (PS3.3, A.6 and A.7).

Builds data sets from what the record says; no input or output. Where the still is calibrated, its one region says how
large a pixel is (PS3.3, C.8.5.5).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    MPEG4HP41,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from sync.interop.dicom_names import text
from sync.interop.dicom_study import Machine, Patient, Study, begin, identify

CENTIMETRES, TISSUE, TWO_D = 3, 1, 1
"""Codes of PS3.3, C.8.5.5.1."""


@dataclass(frozen=True, slots=True)
class Image:
    """One recording. ``number``: its place in the encounter, from 1; ``pixel_mm``: width and height, when known."""

    sha256: str
    number: int
    taken_at: datetime
    width: int
    height: int
    pixel_mm: tuple[float, float] | None = None
    performed_by: str = ""
    comment: str = ""


def still_data_set(patient: Patient, study: Study, machine: Machine, image: Image, rgb: bytes) -> Dataset:
    """:param rgb: ``height * width * 3`` bytes, row by row"""
    if len(rgb) != image.width * image.height * 3:
        raise ValueError(f"{len(rgb)} bytes are no picture of {image.width} x {image.height}")
    data = _image_data(patient, study, machine, image)
    identify(data, study, image.sha256, "still", UltrasoundImageStorage, ExplicitVRLittleEndian)
    _pixels(data, image.width, image.height, "RGB")
    data.LossyImageCompression = "00"
    data.PixelData = rgb if len(rgb) % 2 == 0 else rgb + b"\0"
    data["PixelData"].VR = "OB"
    return data


def jpeg_clip_data_set(
    patient: Patient, study: Study, machine: Machine, image: Image, frames: Sequence[bytes], times_s: Sequence[float]
) -> Dataset:
    """A clip as baseline JPEG pictures (4:2:2), the form in which ultrasound machines send theirs.

    :param times_s: when each was taken, from the beginning
    """
    if not frames or len(frames) != len(times_s):
        raise ValueError("a clip has pictures, and a time for each")
    data = _image_data(patient, study, machine, image)
    identify(data, study, image.sha256, "jpeg", UltrasoundMultiFrameImageStorage, JPEGBaseline8Bit)
    _pixels(data, image.width, image.height, "YBR_FULL_422")
    steps_ms = [0.0, *((b - a) * 1000 for a, b in itertools.pairwise(times_s))]
    data.FrameTimeVector = [round(step_ms, 3) for step_ms in steps_ms]
    data.FrameIncrementPointer = Tag("FrameTimeVector")
    _frames(data, len(frames), times_s[-1] - times_s[0])
    size = sum(len(frame) for frame in frames)
    _lossy(data, "ISO_10918_1", len(frames) * image.width * image.height * 3 / size)
    data.PixelData = encapsulate(list(frames))
    data["PixelData"].is_undefined_length = True
    return data


def mpeg4_clip_data_set(
    patient: Patient, study: Study, machine: Machine, image: Image, mp4: bytes, frames: int, seconds: float
) -> Dataset:
    """A clip as the H.264 stream that it was recorded as (PS3.5, 8.2.7): smaller, for archives that show it.

    :param mp4: an MP4 file whose index stands at its beginning
    """
    if frames < 1 or not mp4:
        raise ValueError("a clip has pictures")
    data = _image_data(patient, study, machine, image)
    identify(data, study, image.sha256, "mpeg4", UltrasoundMultiFrameImageStorage, MPEG4HP41)
    _pixels(data, image.width, image.height, "YBR_PARTIAL_420")
    data.FrameTime = round(seconds * 1000 / frames, 3)
    data.FrameIncrementPointer = Tag("FrameTime")
    _frames(data, frames, seconds)
    _lossy(data, "ISO_14496_10", frames * image.width * image.height * 3 / len(mp4))
    data.PixelData = encapsulate([mp4], has_bot=False)
    data["PixelData"].is_undefined_length = True
    return data


def _image_data(patient: Patient, study: Study, machine: Machine, image: Image) -> Dataset:
    data = begin(patient, study, machine, "US", 1, image.number, image.taken_at, image.performed_by)
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.Laterality, data.PatientOrientation = "", ""
    data.BurnedInAnnotation = "YES"  # what the machine writes into its picture comes with it
    if image.comment:
        data.ImageComments = text(image.comment, 10_240)
    if image.pixel_mm is not None:
        data.SequenceOfUltrasoundRegions = [_region(image, image.pixel_mm)]
    return data


def _region(image: Image, pixel_mm: tuple[float, float]) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat = TWO_D
    region.RegionDataType = TISSUE
    region.RegionFlags = 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = image.width - 1, image.height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = CENTIMETRES
    region.PhysicalDeltaX, region.PhysicalDeltaY = pixel_mm[0] / 10, pixel_mm[1] / 10
    return region


def _pixels(data: Dataset, width: int, height: int, photometric: str) -> None:
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, photometric, 0
    data.Rows, data.Columns = height, width
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.UltrasoundColorDataPresent = 1


def _frames(data: Dataset, frames: int, seconds: float) -> None:
    data.NumberOfFrames = frames
    rate_hz = max(1, round((frames - 1) / seconds)) if frames > 1 and seconds > 0 else 1
    data.CineRate = data.RecommendedDisplayFrameRate = rate_hz
    data.StartTrim, data.StopTrim = 1, frames
    data.EffectiveDuration = round(seconds, 3)


def _lossy(data: Dataset, method: str, ratio: float) -> None:
    data.LossyImageCompression = "01"
    data.LossyImageCompressionMethod = method
    data.LossyImageCompressionRatio = round(ratio, 2)

"""The hospital's picture archive (PACS) as this van is set up for it: settings, and the queue that sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from devices.clock import Clock
from sync.formats.ecg_file import Header
from sync.interop.dicom_queue import Beat, DicomQueue, Labels
from sync.interop.job import ArchiveSaid
from sync.record.recordings import RecordingMissing, Recordings
from sync.record.store import Store
from sync.settings_file import Settings

if TYPE_CHECKING:
    from vehicle.settings import VehicleSettings

AeTitle = Annotated[str, Field(pattern=r"^[A-Za-z0-9 _.-]{1,16}$")]


class PictureArchiveSettings(Settings):
    host: Annotated[str, Field(min_length=1, max_length=120)]
    port: Annotated[int, Field(ge=1, le=65535)] = 104
    called_ae_title: AeTitle
    """The archive's own title."""
    calling_ae_title: AeTitle
    """Ours, as the hospital has registered it."""
    institution: Annotated[str, Field(max_length=64)] = ""
    """Stands in every image; empty: the county's name."""
    clips: Literal["jpeg", "mpeg4"] = "jpeg"
    """JPEG pictures are shown by every archive; MPEG-4 (H.264) is a fifth of the size, where the archive shows it."""


def dicom_queue(
    settings: VehicleSettings,
    store: Store,
    recordings: Recordings,
    clock: Clock,
    live: Callable[[], bool],
    median_beat: Callable[[str], tuple[Header, Any] | None],
) -> DicomQueue | None:
    """The queue; None when no archive is configured.

    :param median_beat: of an ECG, as ``EcgFindings.median_beat`` gives it
    """
    archive = settings.picture_archive
    if archive is None:
        return None
    identity = settings.vehicle
    said = ArchiveSaid(
        host=archive.host,
        port=archive.port,
        called_ae_title=archive.called_ae_title,
        calling_ae_title=archive.calling_ae_title,
    )
    labels = Labels(identity.origin, archive.institution or identity.county_name, identity.plate)

    def usual_beat(sha256: str) -> Beat | None:
        try:
            found = median_beat(sha256)
        except RecordingMissing:  # evicted meanwhile: whoever sends it will say so
            return None
        return None if found is None else tuple(tuple(row) for row in found[1].tolist())

    return DicomQueue(store, recordings, said, labels, clock, live=live, clips=archive.clips, median_beat=usual_beat)

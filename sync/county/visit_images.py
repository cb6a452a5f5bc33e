"""The pictures of a visit at the county: what its entries say of them, and the files as far as they have arrived."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sync.county.blobs import BlobMissing, Blobs, StoreAway
from sync.proof.visit_pictures import VisitPicture

ENDINGS = {"image/jpeg": "jpg", "image/png": "png"}
"""Kinds of files that are shown; others are told only."""


@dataclass(frozen=True, slots=True)
class ImageLine:
    """:ivar here: its file can be shown"""

    picture: VisitPicture
    here: bool


def image_lines(blobs: Blobs, pictures: Iterable[VisitPicture]) -> list[ImageLine]:
    return [ImageLine(one, one.media_type in ENDINGS and _has(blobs, one.sha256)) for one in pictures]


def image_of(blobs: Blobs, picture: VisitPicture) -> bytes | None:
    """The file; None when it has not arrived, was removed after retention, or its store is away."""
    if picture.media_type not in ENDINGS:
        return None
    try:
        return b"".join(blobs.read(picture.sha256))
    except (BlobMissing, StoreAway):
        return None


def _has(blobs: Blobs, sha256: str) -> bool:
    try:
        return blobs.has(sha256)
    except StoreAway:
        return False

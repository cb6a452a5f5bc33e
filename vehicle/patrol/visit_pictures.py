"""Pictures of the open visit: the van at the village sign, and the signature of somebody of the village.

A picture is a file by its hash with a ``recording/1`` entry, as every other, on a lane of its own behind all records;
``visit_picture/1`` says in the open what it is of, when and where it was taken: that entry goes into the evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256 as new_sha256
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time, read_entry
from sync.proof.presence import Fix
from sync.proof.visit_pictures import KIND, SIGNATURE, VILLAGE_SIGN
from sync.record.recordings import Recordings
from vehicle.clinic.ports import Journal
from vehicle.consultation_request import LARGEST_SIGNATURE_BYTES, PNG
from vehicle.patrol.visits import NoVisitOpen, Visits

JPEG = b"\xff\xd8\xff"
MEDIA_TYPES = {VILLAGE_SIGN: "image/jpeg", SIGNATURE: "image/png"}
RECORDED_AS = {VILLAGE_SIGN: "photo", SIGNATURE: "signature"}
LARGEST_PHOTO_BYTES = 4_000_000
MOST_PICTURES = 12
"""Of a visit: each goes to the county."""
WAITS_FOR = timedelta(minutes=10)
POSTS = ("secretary", "head", "member", "other")
"""Who signs for a village: secretary of its party branch, head or member of its committee, another official."""
LONGEST_NAME = 40
NAMES_FROM = 200
MOST_NAMES = 6


class PhotoRefused(AskPerson):
    """What came from the camera cannot be kept, or the visit has its pictures; ``str()`` says which."""

    code = "photo_refused"


class PhotoGone(AskPerson):
    """The photo that was to be kept is not there any more."""

    code = "photo_gone"


class VillageSignatureMissing(AskPerson):
    """No signature, or not by whom."""

    code = "village_signature_missing"


class Place(Protocol):
    """``vehicle.patrol.position.Patrol``: where the van is."""

    @property
    def last_fix(self) -> Fix | None: ...

    @property
    def has_fix(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class WaitingPhoto:
    """A photo that was taken and is not yet kept. ``fix``: where; None without a position."""

    visit: str
    jpeg: bytes
    sha256: str
    taken_at: datetime
    fix: Fix | None


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """As its entry says. ``name`` and ``post``: of who signed."""

    what: str
    sha256: str
    media_type: str
    taken_at: datetime
    has_place: bool
    name: str = ""
    post: str = ""


class VisitPictures:
    def __init__(self, recordings: Recordings, journal: Journal, clock: Clock, visits: Visits, place: Place) -> None:
        self._recordings, self._journal, self._clock = recordings, journal, clock
        self._visits, self._place = visits, place
        self._waiting: WaitingPhoto | None = None
        self._keeping = asyncio.Lock()

    # the photo ------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> WaitingPhoto | None:
        """The photo that was taken last in this visit, until it is kept or ten minutes old."""
        visit, photo = self._visits.current(), self._waiting
        if visit is None or photo is None or photo.visit != visit.visit:
            return None
        return photo if self._clock.now() - photo.taken_at <= WAITS_FOR else None

    def may_take(self) -> None:
        """
        :raises NoVisitOpen: a photo belongs to a visit
        :raises PhotoRefused: the visit has as many as there may be
        """
        visit = self._visits.current()
        if visit is None:
            raise NoVisitOpen("no visit is open")
        if len(self.kept(visit.visit)) >= MOST_PICTURES:
            raise PhotoRefused(f"this visit has {MOST_PICTURES} pictures already", reason="many")

    def take(self, jpeg: bytes) -> WaitingPhoto:
        """Show this to be accepted, in place of one taken before; nothing is written.

        :param jpeg: what the camera shows at this moment
        :raises NoVisitOpen, PhotoRefused: see ``may_take``; or it is no JPEG, or too large
        """
        self.may_take()
        visit = self._visits.current()
        assert visit is not None
        if not jpeg.startswith(JPEG) or len(jpeg) > LARGEST_PHOTO_BYTES:
            raise PhotoRefused(f"{len(jpeg)} bytes that are no JPEG or too many", reason="picture")
        fix = self._place.last_fix if self._place.has_fix else None
        self._waiting = WaitingPhoto(visit.visit, jpeg, new_sha256(jpeg).hexdigest(), self._clock.now(), fix)
        return self._waiting

    async def keep(self, sha256: str, by: str) -> None:
        """Keep the photo that waits as one of the van at the village sign; durable when it returns.

        :param sha256: of the photo that was seen
        :raises PhotoGone: it is not the one that waits; nothing is written
        :raises DiskFull, DiskFault: it still waits
        """
        async with self._keeping:
            photo = self.waiting
            if photo is None or photo.sha256 != sha256:
                raise PhotoGone("this photo is not there any more: take it again")
            await self._keep(VILLAGE_SIGN, photo.jpeg, photo.taken_at, photo.fix, by, {})
            self._waiting = None
        self._visits.tell()

    # the signature --------------------------------------------------------------------------------------------------

    async def sign(self, png: bytes, name: str, post: str, by: str) -> None:
        """Keep the signature of somebody of the village; durable when it returns.

        :param name: as far as it was said; the signature itself is there
        :param post: one of ``POSTS``
        :raises NoVisitOpen, VillageSignatureMissing, PhotoRefused: nothing is written
        """
        said = " ".join(name.split())
        if not png.startswith(PNG) or len(png) > LARGEST_SIGNATURE_BYTES:
            raise VillageSignatureMissing("a signature with the finger is needed")
        if post not in POSTS or len(said) > LONGEST_NAME:
            raise VillageSignatureMissing(f"{post!r} is none of {', '.join(POSTS)}, or the name is too long")
        async with self._keeping:
            self.may_take()
            fix = self._place.last_fix if self._place.has_fix else None
            about: dict[str, Json] = {"post": post}
            if said:
                about["name"] = said
            await self._keep(SIGNATURE, png, self._clock.now(), fix, by, about)
        self._visits.tell()

    def names(self) -> list[str]:
        """Who signed before in the village of this visit, newest first."""
        visit = self._visits.current()
        found = self._journal.read(
            f"SELECT n, body FROM entries WHERE kind = ? ORDER BY n DESC LIMIT {NAMES_FROM}", (KIND,)
        )
        entries = (read_entry(row["body"], row["n"]) for row in found)
        of_village = (one.fields for one in entries if visit is not None and one.fields["village"] == visit.village)
        return list(dict.fromkeys(fields["name"] for fields in of_village if fields.get("name")))[:MOST_NAMES]

    # what is kept ---------------------------------------------------------------------------------------------------

    def kept(self, visit: str) -> list[KeptPicture]:
        """The pictures of a visit, in order."""
        since = "SELECT MAX(n) FROM entries WHERE kind = 'visit_opened/1'"
        rows = self._journal.read(f"SELECT n, body FROM entries WHERE n > ({since}) AND kind = ? ORDER BY n", (KIND,))
        entries = (read_entry(row["body"], row["n"]) for row in rows)
        return [_kept(entry.fields) for entry in entries if entry.fields["visit_id"] == visit]

    async def _keep(
        self, what: str, data: bytes, taken_at: datetime, fix: Fix | None, by: str, about: dict[str, Json]
    ) -> None:
        visit = self._visits.current()
        if visit is None:
            raise NoVisitOpen("no visit is open")
        media_type = MEDIA_TYPES[what]
        sha256, size = await asyncio.to_thread(self._recordings.store, data, media_type)
        fields: dict[str, Json] = {"visit_id": visit.visit, "village": visit.village, "what": what, "sha256": sha256}
        fields |= {"media_type": media_type, "taken_at": format_time(taken_at)} | about
        if fix is not None:
            fields |= {"lat_e7": round(fix.latitude_deg * 1e7), "lon_e7": round(fix.longitude_deg * 1e7)}
            fields["accuracy_m"] = round(fix.accuracy_m)
        drafts = [Draft(KIND, fields, by=by, visit=visit.visit)]
        if not self._journal.read("SELECT 1 FROM recordings WHERE sha256 = ?", (sha256,)):
            recording: dict[str, Json] = {"sha256": sha256, "bytes": size, "media_type": media_type}
            recording |= {"what": RECORDED_AS[what], "started_at": format_time(taken_at), "duration_ms": 0}
            drafts.insert(0, Draft("recording/1", recording | {"facts": {"of": what}}, by=by, visit=visit.visit))
        await self._journal.commit(*drafts)


def _kept(fields: Mapping[str, Any]) -> KeptPicture:
    taken_at, has_place = parse_time(fields["taken_at"]), "lat_e7" in fields
    about = (fields.get("name", ""), fields.get("post", ""))
    return KeptPicture(fields["what"], fields["sha256"], fields["media_type"], taken_at, has_place, *about)

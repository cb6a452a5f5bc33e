"""Pictures that belong to a visit: the vehicle at the village sign, and the signature of somebody of the village. Pure.

Evidence holds what the entry says of a picture, its SHA-256 among it, never the picture: whoever has the file can hold
it against that. No verdict rests on a picture, because no program can say what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.formats.records import Entry, parse_time
from sync.proof.areas import Village
from sync.proof.clock_check import ClockCheck

KIND = "visit_picture/1"
VILLAGE_SIGN, SIGNATURE = "village_sign", "signature"
_FARTHEST_E7 = 900_000_000, 1_800_000_000


@dataclass(frozen=True, slots=True)
class VisitPicture:
    """What an entry says of a picture.

    :ivar n: place of the entry
    :ivar what: ``VILLAGE_SIGN`` or ``SIGNATURE``; a later version may say more
    :ivar taken_at: by the vehicle's clock, put right
    :ivar place: latitude and longitude in degrees; None where the vehicle did not know it
    :ivar outside_m: whole metres from the village's border, 0 within; None without a position, or without the village
    :ivar during: taken during a stay of the visit
    :ivar name: and ``post``: of who signed, as far as it was said
    """

    n: int
    what: str
    sha256: str
    media_type: str
    taken_at: datetime
    place: tuple[float, float] | None
    accuracy_m: int | None
    outside_m: int | None
    during: bool
    name: str = ""
    post: str = ""


def pictures_of(
    entries: Iterable[Entry],
    clock: ClockCheck,
    visit: str,
    village: Village | None,
    during: Callable[[datetime], bool],
) -> Iterator[VisitPicture]:
    """The pictures of ``visit`` in the order of their entries.

    :param village: as in force on the day of the visit
    """
    for entry in entries:
        fields = entry.fields
        if entry.kind != KIND or fields["visit_id"] != visit:
            continue
        taken_at = clock.corrected(entry, parse_time(fields["taken_at"]))
        place = _place(fields)
        yield VisitPicture(
            n=entry.n,
            what=fields["what"],
            sha256=fields["sha256"],
            media_type=fields["media_type"],
            taken_at=taken_at,
            place=place,
            accuracy_m=fields.get("accuracy_m"),
            outside_m=int(village.metres_outside(*place)) if village is not None and place is not None else None,
            during=during(taken_at),
            name=fields.get("name", ""),
            post=fields.get("post", ""),
        )


def _place(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    latitude_e7, longitude_e7 = fields.get("lat_e7"), fields.get("lon_e7")
    if latitude_e7 is None or longitude_e7 is None:
        return None
    if abs(latitude_e7) > _FARTHEST_E7[0] or abs(longitude_e7) > _FARTHEST_E7[1]:
        return None
    return latitude_e7 / 1e7, longitude_e7 / 1e7

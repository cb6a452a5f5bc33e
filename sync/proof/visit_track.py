"""The range of a visit in its journal, and where the vehicle was in it: the track with its clock put right. Pure.

Entries of kinds that evidence does not show are as good as hidden. A hole with hidden places ends what was known of the
vehicle's place (``sync.proof.presence.Presence.conceal``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter

from sync.formats.records import Entry
from sync.proof.areas import Village
from sync.proof.clock_check import ClockCheck
from sync.proof.presence import NAMED_ELSEWHERE, Left, Presence, Stay
from sync.proof.tracks import Track, track_of
from sync.proof.visit_witnesses import odometer_marks

PROOF_KINDS = frozenset(
    {
        "boot/1",
        "anchor/1",
        "clock/1",
        "track/1",
        "duty/1",
        "visit_opened/1",
        "visit_closed/1",
        "encounter_closed/1",
        "outreach/1",
        "village_confirmed/1",
        "visit_picture/1",
        "device_event/1",
        "key_changed/1",
    }
)
"""Shown in evidence: what says nothing personal and is needed."""
HIDDEN_STEP = timedelta(seconds=60)
"""The longest step between shown track points with hidden places between their entries."""
_EARLY, _LATE = timedelta(seconds=5), timedelta(seconds=60)
"""Points of a track lie between the start of their boot and the writing of their entry."""
MOMENT = attrgetter("at")
"""Of a point: thousands are compared."""
_CLOSED_WITHIN = timedelta(seconds=60)


class VisitNotShown(ValueError):
    """No visit_opened/1 of this visit is among the entries."""


class VisitRange:
    """The entries of a visit's range that may be used, and the places that cannot be seen into.

    :ivar opened: its visit_opened/1; ``closed``: its visit_closed/1, None when it is not shown
    """

    def __init__(self, visit_id: str, shown: Sequence[Entry], hidden: Collection[int]) -> None:
        ordered = sorted({entry.n: entry for entry in shown}.values(), key=lambda entry: entry.n)
        opened = next((one for one in ordered if _is(one, "visit_opened/1", visit_id)), None)
        if opened is None:
            raise VisitNotShown(f"the opening of visit {visit_id} is not shown")
        self.visit = visit_id
        self.opened = opened
        self.closed = next((one for one in ordered if _is(one, "visit_closed/1", visit_id) and one.n > opened.n), None)
        starts = [one.n for one in ordered if one.kind == "boot/1" and one.n <= opened.n]
        self.first = starts[-1] if starts else min(ordered[0].n, *hidden, opened.n)
        self.last = self.closed.n if self.closed is not None else max(ordered[-1].n, *hidden, opened.n)
        within = [one for one in ordered if self.first <= one.n <= self.last]
        self.entries = [one for one in within if one.kind in PROOF_KINDS]
        unused = {one.n for one in within} - {one.n for one in self.entries}
        self.unseen = sorted(unused | {place for place in hidden if self.first <= place <= self.last})

    def of_kind(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == kind]

    def unseen_between(self, first: int, last: int) -> bool:
        place = bisect_right(self.unseen, first)
        return place < len(self.unseen) and self.unseen[place] < last


def _is(entry: Entry, kind: str, visit_id: str) -> bool:
    return entry.kind == kind and entry.fields["visit_id"] == visit_id


# where it was ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Followed:
    """:ivar by_entry: the tracks with corrected times by the places of their entries
    :ivar concealed: some of the track may be hidden
    """

    stays: tuple[Stay, ...]
    by_entry: Mapping[int, Track]
    concealed: bool

    @property
    def tracks(self) -> tuple[Track, ...]:
        return tuple(self.by_entry.values())


def follow(span: VisitRange, clock: ClockCheck, villages: Sequence[Village]) -> Followed:
    """Follow the track from the boot on; a hole with hidden places ends what was known."""
    tracks = {entry.n: track for entry in span.of_kind("track/1") if (track := _track(entry, clock)) is not None}
    marks = odometer_marks(list(tracks.values()))
    names = _Names(span, clock, tracks)

    def moved_m(since: datetime, until: datetime) -> float | None:
        if not marks:
            return None
        before = [metres for at, metres in marks if at <= since]
        after = [metres for at, metres in marks if at >= until]
        return float(after[0] - before[-1]) if before and after else float("inf")

    presence = Presence(villages, names.at, moved_m)
    stays: list[Stay] = []
    known_n, known_at = span.first, clock.at(span.entries[0])
    seen_at, concealed, ever = known_at, False, False
    for entry in span.entries:
        track = tracks.get(entry.n)
        if track is None and entry.kind != "boot/1":
            continue
        at = clock.at(entry) if track is None else track.points[0].at
        concealed |= at - known_at > HIDDEN_STEP and span.unseen_between(known_n, entry.n)
        known_n, known_at = entry.n, at
        if track is None:
            continue
        if concealed:
            stays += [left.stay for left in presence.conceal((at - seen_at).total_seconds())]
            concealed, ever = False, True
        stays += [change.stay for change in presence.follow(track.fixes) if isinstance(change, Left)]
        known_at = seen_at = track.points[-1].at
    if presence.stay is not None:
        stays.append(_until_closed(presence.stay, span, clock, known_n))
    return Followed(tuple(stays), tracks, ever)


def _until_closed(stay: Stay, span: VisitRange, clock: ClockCheck, last_track: int) -> Stay:
    """Who ends the visit on the spot is there until then: the last point is some seconds older."""
    if span.closed is None or span.unseen_between(last_track, span.closed.n):
        return stay
    closed_at = clock.at(span.closed)
    at_once = stay.seen_until <= closed_at <= stay.seen_until + _CLOSED_WITHIN
    return replace(stay, seen_until=closed_at) if at_once else stay


def _track(entry: Entry, clock: ClockCheck) -> Track | None:
    """The track with corrected times, without points that cannot be its own; None when nothing is left."""
    try:
        track = track_of(entry.fields)
    except ValueError:
        return None
    since = clock.started_at.get(entry.boot)
    until = clock.at(entry) + _LATE
    earliest, latest = min(map(MOMENT, track.points)), max(map(MOMENT, track.points))
    points = track.points
    if not clock.keeps(entry, earliest, latest):
        points = tuple(replace(point, at=clock.corrected(entry, point.at)) for point in points)
    elif latest <= until and (since is None or earliest >= since - _EARLY):
        return track
    points = tuple(point for point in points if point.at <= until and (since is None or point.at >= since - _EARLY))
    return replace(track, points=points) if points else None


class _Names:
    """Which village was named on duty at a moment: by the visit of the track entry, else by a visit that was open."""

    def __init__(self, span: VisitRange, clock: ClockCheck, tracks: dict[int, Track]) -> None:
        opened = {entry.fields["visit_id"]: entry for entry in span.of_kind("visit_opened/1")}
        closed = {entry.fields["visit_id"]: entry for entry in span.of_kind("visit_closed/1")}
        self._open = [
            (clock.at(entry), clock.at(closed[visit]) if visit in closed else None, entry.fields["village"])
            for visit, entry in opened.items()
        ]
        self._of_tracks = [
            (tracks[entry.n].points[0].at, opened[entry.visit].fields["village"] if entry.visit in opened else "")
            if entry.visit is not None
            else (tracks[entry.n].points[0].at, None)
            for entry in span.of_kind("track/1")
            if entry.n in tracks
        ]
        self._starts = [at for at, _ in self._of_tracks]

    def at(self, at: datetime) -> str | None:
        place = bisect_right(self._starts, at) - 1
        said = self._of_tracks[place][1] if place >= 0 else None
        if said is not None:
            return said or NAMED_ELSEWHERE
        return next((code for since, until, code in self._open if since <= at and (until is None or at <= until)), None)

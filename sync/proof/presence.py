"""Where a vehicle was: from GNSS fixes to stays in villages.

Readings decided in the record's design, so that two implementations agree:

- a fix is valid with accuracy <= 50 m, >= 5 satellites, no spoofing flag, implied speed <= 70 m/s;
- entering (inside the area itself) and leaving (farther than 100 m outside, or in that band but firmly, by more than
  the accuracy, inside a neighbour) take effect after 60 s of agreeing valid fixes and count from the first of them;
- dwell is the sum of steps of at most 15 min between valid inside fixes of one stay; a longer hole counts as inferred
  only if the vehicle was at rest (the odometer moved at most 100 m; without one: same position before and after), and
  never for more than the observed time; a hole in which it moved cuts the stay;
- what is hidden counts nothing and never helps (``Presence.conceal``): it ends the stay, and afterwards a fix belongs
  to a village only where it would whatever was hidden.

Pure: no clock, no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from math import inf

from sync.proof.areas import METRES_PER_DEGREE, AreaIndex, Village, at_most_m, distance_m

LOCAL = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China Standard Time; no summer time since 1991."""

MAX_ACCURACY_M = 50.0
MIN_SATELLITES = 5
MAX_SPEED_M_S = 70.0
AGREE_S = 60.0
BUFFER_M = 100.0
MAX_STEP_S = 900.0
PARKED_M = 30.0
"""Two fixes that near each other: it pays to find out how far the next border is."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One position. ``at`` is aware UTC; ``spoof`` is the receiver's own spoofing or jamming flag."""

    at: datetime
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float
    satellites: int
    spoof: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """One uninterrupted presence in a village.

    :ivar departed_at: None while it lasts (as far as the fixes tell)
    :ivar seen_until: the last fix inside
    :ivar dwell_s: counted seconds, ``inferred_s`` of them from holes at rest
    :ivar flags: sorted; words of ``sync.proof.coverage.FLAGS``
    """

    village_code: str
    arrived_at: datetime
    departed_at: datetime | None
    seen_until: datetime
    dwell_s: float
    inferred_s: float
    flags: tuple[str, ...]

    @property
    def left_at(self) -> datetime:
        """When it ended, as far as is known."""
        return self.departed_at or self.seen_until

    @property
    def day(self) -> date:
        """The local day it began: a stay across midnight belongs to it."""
        return self.arrived_at.astimezone(LOCAL).date()


@dataclass(frozen=True, slots=True)
class Arrived:
    village: Village
    at: datetime


@dataclass(frozen=True, slots=True)
class Left:
    village: Village
    at: datetime
    stay: Stay


def local_day(at: datetime) -> date:
    """The date on the wall in China."""
    return at.astimezone(LOCAL).date()


@dataclass
class _Open:
    """A stay under way."""

    village: Village
    arrived_at: datetime
    last: Fix
    observed_s: float = 0.0
    inferred_s: float = 0.0
    flags: set[str] = field(default_factory=set)

    def step_to(self, fix: Fix) -> None:
        """Count the time from the last inside fix to this one."""
        step_s = (fix.at - self.last.at).total_seconds()
        if step_s <= MAX_STEP_S:
            self.observed_s += step_s
        else:
            self.inferred_s += step_s
            self.flags.add("gnss_gap_inferred")
        self.last = fix

    @property
    def counted_inferred_s(self) -> float:
        return min(self.inferred_s, self.observed_s)

    def as_stay(self, departed_at: datetime | None) -> Stay:
        flags = self.flags | ({"inferred_more_than_half"} if self.inferred_s > self.observed_s else set())
        return Stay(
            village_code=self.village.code,
            arrived_at=self.arrived_at,
            departed_at=departed_at,
            seen_until=self.last.at,
            dwell_s=self.observed_s + self.counted_inferred_s,
            inferred_s=self.counted_inferred_s,
            flags=tuple(sorted(flags)),
        )


@dataclass
class _Change:
    """A change of place that waits for 60 s of agreement: the fixes seen so far, the first one first."""

    village: Village | None
    fixes: list[Fix]


@dataclass
class _Doubt:
    """After something hidden, until a stay begins: fixes of ``wait_s`` only say where the vehicle is now."""

    wait_s: float
    since: datetime | None = None

    def over(self, fix: Fix) -> bool:
        if self.since is None:
            self.since = fix.at
        return (fix.at - self.since).total_seconds() >= self.wait_s


Named = Callable[[datetime], "str | None"]
"""Code of the village named on duty; None when nobody named one, ``NAMED_ELSEWHERE`` when it is not known which."""
NAMED_ELSEWHERE = ""
Moved = Callable[[datetime, datetime], "float | None"]
"""Metres that the odometer moved between two moments; None without an odometer."""


class Presence:
    """Follows fixes in the order of time; ``feed`` says when a village is entered or left.

    :param named: wins where areas overlap; else the nearest centre does
    """

    def __init__(
        self,
        villages: Sequence[Village],
        named: Named = lambda at: None,
        moved: Moved = lambda since, until: None,
    ) -> None:
        self._index = AreaIndex(villages)
        self._named = named
        self._moved = moved
        self._stay: _Open | None = None
        self._change: _Change | None = None
        self._last: Fix | None = None
        self._doubt: _Doubt | None = None
        self._not_before: datetime | None = None
        self._day: date | None = None
        self._midnight: datetime | None = None
        self._before: Fix | None = None
        self._parked: _Parked | None = None

    @property
    def village(self) -> Village | None:
        return self._stay.village if self._stay else None

    @property
    def arrived_at(self) -> datetime | None:
        return self._stay.arrived_at if self._stay else None

    @property
    def awaited(self) -> tuple[Village | None, datetime] | None:
        """A change that fixes speak for and that is not believed yet: the place (None: none), and since when."""
        return (self._change.village, self._change.fixes[0].at) if self._change else None

    @property
    def dwell_s(self) -> float:
        """Counted seconds of the stay under way, up to the last inside fix; 0.0 in no village."""
        return self._stay.observed_s + self._stay.counted_inferred_s if self._stay else 0.0

    @property
    def stay(self) -> Stay | None:
        """The stay under way as it stands."""
        return self._stay.as_stay(None) if self._stay else None

    def feed(self, fix: Fix) -> list[Arrived | Left]:
        """Take the next fix. One that is not valid, or not newer than the last, changes nothing but the flags."""
        return self.follow((fix,))

    def follow(self, fixes: Sequence[Fix]) -> list[Arrived | Left]:
        """``feed`` for the next fixes, one after another."""
        events: list[Arrived | Left] = []
        place = 0
        while (place := self._standing_still(fixes, place)) < len(fixes):
            events += self._take(fixes[place])
            place += 1
        return events

    def _take(self, fix: Fix) -> list[Arrived | Left]:
        refusal = self._refusal(fix)
        if refusal is not None:
            if refusal and self._stay:
                self._stay.flags.add(refusal)
            if refusal == "position_jump" and self._doubt is not None:
                self._doubt, self._last = _Doubt(MAX_STEP_S), fix
            return []
        events = self._cut_after_travel(fix)
        self._last = fix
        if self._doubt is not None and not self._doubt.over(fix):
            return events
        place = self._place(fix) if self._doubt is None else self._place_in_any_case(fix)
        if self._stay is not None and place is self._stay.village:
            self._change = None
            self._stay.step_to(fix)
        elif self._stay is None and place is None:
            self._change = None
        else:
            events += self._consider(place, fix)
        return events

    def _standing_still(self, fixes: Sequence[Fix], place: int) -> int:
        """The place of the first fix, from ``place`` on, that may change anything. Those before it are valid, far from
        every border, and counted: nearly all of a track, so nothing is called for each of them."""
        parked, stay, last = self._parked, self._stay, self._last
        village = stay.village if stay is not None else None
        if parked is None or last is None or parked.current is not village or parked.place is not village:
            return place
        if self._change is not None or self._doubt is not None or (stay is not None and stay.last is not last):
            return place
        until, clear_deg = parked.until, parked.clear_deg
        parked_north, parked_east = parked.latitude_deg, parked.longitude_deg
        at, north, east = last.at, last.latitude_deg, last.longitude_deg
        observed_s = stay.observed_s if stay is not None else 0.0
        for passed in range(place, len(fixes)):
            fix = fixes[passed]
            now, to_north, to_east = fix.at, fix.latitude_deg, fix.longitude_deg
            step_s = (now - at).total_seconds()
            if fix.spoof or fix.accuracy_m > MAX_ACCURACY_M or fix.satellites < MIN_SATELLITES or now >= until:
                break
            if (
                not 0.0 < step_s <= MAX_STEP_S
                or not abs(to_north - parked_north) + abs(to_east - parked_east) < clear_deg
            ):
                break
            if (abs(to_north - north) + abs(to_east - east)) * METRES_PER_DEGREE > MAX_SPEED_M_S * step_s:  # at_most_m
                break
            observed_s += step_s
            last, at, north, east = fix, now, to_north, to_east
            place = passed + 1
        self._last = last
        if stay is not None:
            stay.last, stay.observed_s = last, observed_s
        return place

    def conceal(self, hole_s: float) -> list[Left]:
        """What was recorded since the last fix is hidden, or the vehicle was not followed before this.

        The stay ends with its last fix. What is hidden may have been anything: wild fixes that would have had the next
        ones refused (for as long as the hole at most, and not for more than 15 min), a departure, another village. So
        that time is waited, and then a village is entered only by fixes that lie in it wherever the vehicle came from.
        """
        if self._last is not None:
            self._not_before = self._last.at
        stay, self._stay, self._change, self._last = self._stay, None, None, None
        waits = 0.0 if self._doubt is None else self._doubt.wait_s
        self._doubt = _Doubt(min(MAX_STEP_S, max(hole_s, waits)))
        return [] if stay is None else [Left(stay.village, stay.last.at, stay.as_stay(stay.last.at))]

    def shift(self, by: timedelta) -> None:
        """The clock that stamps fixes was set by so much: what is remembered moves with it."""
        if self._stay is not None:
            self._stay.arrived_at += by
            self._stay.last = _moved_fix(self._stay.last, by)
        if self._change is not None:
            self._change.fixes = [_moved_fix(fix, by) for fix in self._change.fixes]
        if self._last is not None:
            self._last = _moved_fix(self._last, by)
        self._day = self._midnight = None

    def _refusal(self, fix: Fix) -> str | None:
        """None for a valid fix, else the flag it leaves ("" for one out of order, which leaves none)."""
        before = self._last.at if self._last is not None else self._not_before
        if before is not None and fix.at <= before:
            return ""
        if fix.spoof:
            return "spoof_flag"
        if fix.accuracy_m > MAX_ACCURACY_M:
            return "low_accuracy"
        if fix.satellites < MIN_SATELLITES:
            return "few_satellites"
        return "position_jump" if self._jumps(fix) else None

    def _jumps(self, fix: Fix) -> bool:
        last = self._last
        if last is None or (last.latitude_deg == fix.latitude_deg and last.longitude_deg == fix.longitude_deg):
            return False
        if (fix.at - last.at).total_seconds() > MAX_STEP_S:
            return (
                False  # one wild fix must not have all later ones refused; what follows a long hole is judged as such
            )
        reach_m = MAX_SPEED_M_S * (fix.at - last.at).total_seconds()
        if _at_most_m(last, fix) <= reach_m:
            return False
        return distance_m(last.latitude_deg, last.longitude_deg, fix.latitude_deg, fix.longitude_deg) > reach_m

    def _cut_after_travel(self, fix: Fix) -> list[Arrived | Left]:
        """After a long hole: what waited for agreement starts anew; a stay in which it moved ends before it."""
        if self._last is None or (fix.at - self._last.at).total_seconds() <= MAX_STEP_S:
            return []
        self._change = None
        stay = self._stay
        if stay is None or self._at_rest(stay.last, fix):
            return []
        stay.flags.add("moved_during_gap")
        self._stay = None
        return [Left(stay.village, stay.last.at, stay.as_stay(stay.last.at))]

    def _at_rest(self, before: Fix, after: Fix) -> bool:
        moved_m = self._moved(before.at, after.at)
        if moved_m is not None:
            return 0 <= moved_m <= BUFFER_M
        way_m = distance_m(before.latitude_deg, before.longitude_deg, after.latitude_deg, after.longitude_deg)
        return way_m <= max(before.accuracy_m, after.accuracy_m) + BUFFER_M

    def _consider(self, place: Village | None, fix: Fix) -> list[Arrived | Left]:
        change = self._change
        if change is None or change.village is not place:
            self._change = _Change(place, [fix])
            return []
        change.fixes.append(fix)
        if (fix.at - change.fixes[0].at).total_seconds() < AGREE_S:
            return []
        return self._confirm(change)

    def _confirm(self, change: _Change) -> list[Arrived | Left]:
        events: list[Arrived | Left] = []
        first = change.fixes[0]
        if self._stay is not None:
            events.append(Left(self._stay.village, first.at, self._stay.as_stay(first.at)))
        self._stay = self._change = None
        if change.village is not None:
            self._doubt = None
            self._stay = _Open(change.village, first.at, first)
            for fix in change.fixes[1:]:
                self._stay.step_to(fix)
            events.append(Arrived(change.village, first.at))
        return events

    def _place(self, fix: Fix) -> Village | None:
        return self._place_from(self._stay.village if self._stay else None, fix)

    def _place_in_any_case(self, fix: Fix) -> Village | None:
        """The village this one fix belongs to wherever the vehicle was before; None when that would decide."""
        places = [self._place_from(None, fix)]
        places += [self._place_from(before, fix) for before in self._index.near(fix.latitude_deg, fix.longitude_deg)]
        return places[0] if all(place is places[0] for place in places) else None

    def _place_from(self, current: Village | None, fix: Fix) -> Village | None:
        """The village this one fix belongs to, given where the vehicle is already."""
        near = self._index.near(fix.latitude_deg, fix.longitude_deg)
        if not near:
            return None
        today = self._local_day(fix.at)
        place = self._place_among(near, current, today, fix)
        parked, self._before, before = self._parked, fix, self._before
        if parked is None or parked.current is not current or not parked.holds(fix) or fix.at >= parked.until:
            hardly_moved = before is not None and _at_most_m(before, fix) < PARKED_M
            self._parked = self._park(fix, near, current, place) if hardly_moved else None
        return place

    def _park(
        self, fix: Fix, near: Sequence[Village], current: Village | None, place: Village | None
    ) -> _Parked | None:
        """How far it is to the next border, to where one has left, and to villages that are not looked at here; None
        where more than that decides."""
        latitude, longitude = fix.latitude_deg, fix.longitude_deg
        clear_m, inside = inf, 0
        for village in near:
            out_m = village.metres_outside(latitude, longitude)
            inside += out_m == 0.0
            clear_m = min(clear_m, out_m or village.metres_inside(latitude, longitude))
        left_m = current.metres_outside(latitude, longitude) if current is not None else 0.0
        if left_m > BUFFER_M:
            clear_m = min(clear_m, left_m - BUFFER_M)
        if 0.0 < left_m <= BUFFER_M or inside > 1 or self._midnight is None:
            return None  # within the band the accuracy of each fix decides
        clear_deg = min((clear_m * 0.9 - 1.0) / METRES_PER_DEGREE, self._index.clear_deg(latitude, longitude))
        return _Parked(latitude, longitude, clear_deg, self._midnight, current, place)

    def _place_among(self, near: Sequence[Village], current: Village | None, today: date, fix: Fix) -> Village | None:
        latitude, longitude = fix.latitude_deg, fix.longitude_deg
        inside = [
            village
            for village in near
            if village.contains(latitude, longitude) and (village is current or village.in_force(today))
        ]
        if current is None or current in inside or current.metres_outside(latitude, longitude) > BUFFER_M:
            return self._choose(inside, fix)
        firmly = [village for village in inside if village.metres_inside(latitude, longitude) > fix.accuracy_m]
        return self._choose(firmly, fix) or current

    def _choose(self, villages: list[Village], fix: Fix) -> Village | None:
        if len(villages) < 2:
            return villages[0] if villages else None
        named = self._named(fix.at)
        if named == NAMED_ELSEWHERE:
            return None
        return min(
            villages,
            key=lambda village: (
                village.code != named,
                village.metres_from_centre(fix.latitude_deg, fix.longitude_deg),
            ),
        )

    def _local_day(self, at: datetime) -> date:
        if self._day is None or self._midnight is None or at >= self._midnight:
            local = at.astimezone(LOCAL)
            self._day = local.date()
            self._midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return self._day


@dataclass(frozen=True, slots=True)
class _Parked:
    """Around a position every fix belongs to ``place``: no border and no choice lies there.

    :ivar clear_deg: how far, in degrees of latitude and longitude together
    :ivar until: midnight, when other villages may be in force
    """

    latitude_deg: float
    longitude_deg: float
    clear_deg: float
    until: datetime
    current: Village | None
    place: Village | None

    def holds(self, fix: Fix) -> bool:
        north, east = fix.latitude_deg - self.latitude_deg, fix.longitude_deg - self.longitude_deg
        return abs(north) + abs(east) < self.clear_deg


def _at_most_m(before: Fix, after: Fix) -> float:
    return at_most_m(before.latitude_deg, before.longitude_deg, after.latitude_deg, after.longitude_deg)


def _moved_fix(fix: Fix, by: timedelta) -> Fix:
    return replace(fix, at=fix.at + by)


def stays(fixes: Iterable[Fix], villages: Sequence[Village], named: Named = lambda at: None) -> list[Stay]:
    """All stays of a track, in order; the last one has ``departed_at`` None when the track ends inside."""
    presence = Presence(villages, named)
    found = [event.stay for event in presence.follow(tuple(fixes)) if isinstance(event, Left)]
    if presence.stay is not None:
        found.append(presence.stay)
    return found

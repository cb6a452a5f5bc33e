"""Days of vans told in lines such as "08:20 arrives A", turned into the journal entries that a vehicle would write.

The legend of the lines stands at the head of ``coverage_cases.toml``. True time, the van's wall clock and its monotonic
clock are kept apart, so that a clock may be wrong; a point of the track is written every ten seconds while the van is
powered, an entry every five minutes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sync.formats.record_kinds import KINDS
from sync.formats.records import Draft, Entry, Stamp, format_time, write_entry
from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.coverage import Rules
from sync.proof.presence import LOCAL, Fix
from sync.proof.registry_entries import neighbours_of
from sync.proof.registry_state import Decision
from sync.proof.tracks import NoFix, Point, track_fields
from sync.proof.visit_conflicts import compared
from sync.proof.visit_proof import Bracket, VisitProof, facts_of_visit, merged

UP = 1000 / METRES_PER_DEGREE
ACROSS = UP / math.cos(math.radians(31.0))
CREW = "zhou,wu"
PEOPLE = {
    "zhou": ("village_doctor", "周敏"),
    "wu": ("nurse", "吴倩"),
    "zhao": ("driver", "赵海"),
    "li": ("doctor", "李川"),
    "he": ("nurse", "何叶"),
}
CELL_OF_A = "460-00-1A2B-3C4D5E6"


def area(
    letter: str, west_km: float, east_km: float, south_km: float = -1, north_km: float = 1, **more: object
) -> Village:
    """A rectangle in kilometres east and north of 103 E, 31 N."""
    corners = ((west_km, south_km), (east_km, south_km), (east_km, north_km), (west_km, north_km))
    ring = tuple((103.0 + x * ACROSS, 31.0 + y * UP) for x, y in corners)
    centre = (31.0 + (south_km + north_km) / 2 * UP, 103.0 + (west_km + east_km) / 2 * ACROSS)
    code = f"9999{ord(letter):08d}"
    return Village(code, f"{letter}村", "白果镇", (ring,), *centre, **more)  # type: ignore[arg-type]


VILLAGES = {
    village.name[0]: village
    for village in (
        area("A", 0, 2, cells=(CELL_OF_A,)),
        area("B", 2, 4),
        area("C", 1, 3, -1.6, 0.6),
        area("D", 20, 22),
    )
}
PLACES = {
    "A": (0.5, 0.5),
    "B": (3.5, 0.5),
    "D": (21.0, 0.0),
    "overlap": (1.3, 0.0),
    "border": (0.05, 0.0),
    "beside": (-0.08, 0.0),
    "99.5m": (-0.0995, 0.5),
    "100.5m": (-0.1005, 0.5),
    "depot": (-6.0, 6.0),
    "E": (0.5, 0.5),
}
"""Kilometres east and north. ``overlap`` lies in A and C, ``border`` just inside A, ``beside`` 80 m outside of it."""


def code(letter: str) -> str:
    return f"9999{ord(letter):08d}"


def local(text: str) -> datetime:
    """ "09-01 08:20" in 2026, local time."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=LOCAL)


@dataclass(frozen=True, order=True)
class Event:
    at: datetime
    place: int
    van: str = field(compare=False)
    verb: str = field(compare=False)
    rest: str = field(compare=False)


_LINE = re.compile(
    r"(?:(?P<van>van-\d\d): )?(?:(?P<day>\d\d-\d\d) )?(?P<time>\d\d:\d\d(?::\d\d)?) (?P<verb>\S+) ?(?P<rest>.*)"
)
_VISIT = re.compile(r"(?:(?P<van>van-\d\d): )?(?P<day>\d\d-\d\d) visit (?P<rest>.*)")


def read(lines: Iterable[str]) -> list[Event]:
    """The events of a story; a line without a day is of the day before it."""
    day, events = "09-01", []
    for line in lines:
        whole = _VISIT.fullmatch(line)
        if whole:
            events += _visit(whole["van"] or "van-07", whole["day"], whole["rest"], len(events))
            day = whole["day"]
            continue
        found = _LINE.fullmatch(line)
        assert found, line
        day = found["day"] or day
        at = local(f"{day} {found['time']}")
        events.append(Event(at, len(events), found["van"] or "van-07", found["verb"], found["rest"]))
    return sorted(events)


def _visit(van: str, day: str, rest: str, first: int) -> list[Event]:
    """ "A 08:20-12:30 without served, with li": a whole morning in which everything was done as it should be."""
    place, _, rest = rest.partition(" ")
    times = re.match(r"(\d\d:\d\d)-(\d\d:\d\d)", rest)
    begins, ends = times.groups() if times else ("08:20", "12:30")
    without = set(re.findall(r"without (\S+?)(?:,|$)", rest))
    crew = next(iter(re.findall(r"crew (\S+?)(?:$| )", rest)), CREW)
    begin, end = local(f"{day} {begins}"), local(f"{day} {ends}")
    minute = timedelta(minutes=1)
    told = [
        (begin - 50 * minute, "starts", ""),
        (begin - 49 * minute, "plugs", ""),
        (begin - 48 * minute, "delivers", ""),
        (begin - 30 * minute, "leaves", ""),
        (begin, "arrives", place),
        (begin + 3 * minute, "opens", f"{place[0]} {crew}"),
        (begin + 10 * minute, "serves", ""),
        (begin + 25 * minute, "confirms", ""),
        (end - minute, "closes", ""),
        (end, "leaves", ""),
        (end + 30 * minute, "arrives", "depot"),
        (end + 35 * minute, "delivers", ""),
        (end + 36 * minute, "stops", ""),
    ]
    return [
        Event(at, first + place, van, verb, said)
        for place, (at, verb, said) in enumerate(told)
        if verb not in without or (verb == "delivers" and at < begin)
    ]


class Log:
    """One van's journal while its story is told."""

    def __init__(self, van: str, events: Sequence[Event]) -> None:
        self.van = van
        self.entries: list[Entry] = []
        self.visits: list[str] = []
        self.deliveries: list[tuple[int, datetime]] = [(0, events[0].at - timedelta(hours=12))]
        self._events = [event for event in events if event.van == van]
        self._now = self._events[0].at
        self._boot, self._booted_at = 0, self._now
        self._wrong = timedelta()
        self._anchors: list[tuple[int, datetime]] = []
        self._powered = False
        self._receiver = "good"
        self._pending: list[Point] = []
        self._visit: str | None = None
        self._crew: list[str] = []
        self._served: list[tuple[datetime, datetime, str]] = []
        self._numbers = 0
        self._odometer_m: float | None = None
        self._wheels = 1.0
        self._at = PLACES["depot"]
        self._goes: tuple[datetime, datetime, tuple[float, float], tuple[float, float]] | None = None
        self._cells: list[str] = []
        self._begun_m: int | None = None
        self._wild = False
        self._event = self._events[0]

    def run(self) -> Log:
        waiting = list(self._events)
        while waiting or self._served:
            until = waiting[0].at if waiting else self._served[0][1]
            while self._now + timedelta(seconds=10) <= until:
                self._now += timedelta(seconds=10)
                self._end_encounters()
                self._tick()
            while waiting and waiting[0].at < self._now + timedelta(seconds=10):
                self._event = waiting.pop(0)
                getattr(self, f"_{self._event.verb}")(self._event.rest)
            if not waiting and self._served and not self._powered:
                break
        return self

    def bracket(self, visit: str) -> Bracket:
        """As the county finds it; of a visit that nobody ended up to the last receipt."""
        opened = next(one for one in self.entries if _is(one, "visit_opened/1", visit))
        ends = [one.n for one in self.entries if _is(one, "visit_closed/1", visit)]
        first = max(one.n for one in self.entries if one.kind == "boot/1" and one.n <= opened.n)
        known = [at for n, at in self._anchors if first < n < opened.n]
        sealed = [at for size, at in self.deliveries if not ends or size > ends[0]]
        return Bracket(known[-1] if known else None, sealed[0 if ends else -1] if sealed else None)

    # each ten seconds -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._move()
        if not self._powered or self._receiver == "silent":
            return
        self._pending.append(self._point())
        if self._odometer_m is not None and self._begun_m is None:
            self._begun_m = round(self._odometer_m)
        if (self._pending[-1].at - self._pending[0].at).total_seconds() >= 290:
            self._flush()

    def _move(self) -> None:
        before = self._at
        if self._goes is not None:
            leaves, arrives, here, there = self._goes
            part = min(1.0, max(0.0, (self._now - leaves) / (arrives - leaves)))
            self._at = here[0] + part * (there[0] - here[0]), here[1] + part * (there[1] - here[1])
            self._goes = None if part >= 1 else self._goes
        if self._odometer_m is not None:
            self._odometer_m += math.dist(before, self._at) * 1000 * self._wheels

    def _point(self) -> Point:
        accuracy_m, satellites, spoof = {
            "good": (6.0, 12, False),
            "inaccurate": (80.0, 12, False),
            "few": (6.0, 4, False),
            "spoofed": (6.0, 12, True),
        }.get(self._receiver, (0.0, 0, False))
        if not accuracy_m:
            return NoFix(self._wall, 0)
        east, north = (self._at[0] + 60, self._at[1]) if self._wild else self._at
        self._wild = False
        return Fix(self._wall, 31.0 + north * UP, 103.0 + east * ACROSS, accuracy_m, satellites, spoof)

    def _flush(self) -> None:
        if not self._pending:
            return
        fields = track_fields(self._pending)
        if self._odometer_m is not None and self._begun_m is not None:
            fields |= {"odometer_m": self._begun_m, "odometer_end_m": round(self._odometer_m)}
        if self._cells:
            fields["cells"] = list(self._cells)
        self._pending, self._begun_m = [], None
        self._write("track/1", fields, visit=self._visit)

    def _end_encounters(self) -> None:
        while self._served and self._served[0][1] <= self._now:
            opened_at, _, encounter = self._served.pop(0)
            if self._powered:
                fields = {"encounter_id": encounter, "opened_at": format_time(opened_at)}
                self._write("encounter_closed/1", fields, visit=self._visit, encounter=encounter)

    # what the van writes --------------------------------------------------------------------------------------------

    @property
    def _wall(self) -> datetime:
        return self._now + self._wrong

    def _write(self, kind: str, fields: dict[str, object], **more: str | None) -> Entry:
        mono_ms = round((self._now - self._booted_at).total_seconds() * 1000) + 1000
        salt = bytes(16) if KINDS[kind].personal else b""
        stamp = Stamp(len(self.entries), self._wall, "rtc", self._boot, mono_ms, self.van, salt)
        entry = write_entry(Draft(kind, fields, **more), stamp)  # type: ignore[arg-type]
        self.entries.append(entry)
        return entry

    def _id(self, what: str) -> str:
        self._numbers += 1
        return f"{self.van}-{what}-{self._numbers}"

    # what happens ---------------------------------------------------------------------------------------------------

    def _starts(self, rest: str) -> None:
        self._boot, self._booted_at, self._powered = self._boot + (2 if "counter" in rest else 1), self._now, True
        self._write("boot/1", {"software": "xunzhen"})
        self._anchor()

    def _anchor(self) -> None:
        """Names the newest receipt, when it is a new one."""
        known = self.deliveries[-1][1] if self.deliveries else None
        first = max(one.n for one in self.entries if one.kind == "boot/1")
        of_boot = [at for n, at in self._anchors if n > first]
        if known is not None and (not of_boot or of_boot[-1] < known):
            fields = {"size": self.deliveries[-1][0], "root": "0" * 64, "receipt_sha256": "0" * 64}
            self._anchors.append((self._write("anchor/1", fields).n, known))

    def _stops(self, rest: str) -> None:
        self._flush()
        self._powered = False

    def _blacks(self, rest: str) -> None:
        """ "blacks out": what was not written yet is lost."""
        self._pending, self._powered = [], False

    def _leaves(self, rest: str) -> None:
        following = next(event for event in self._events if event.verb == "arrives" and event > self._event)
        self._goes = self._now, following.at, self._at, PLACES[following.rest]

    def _arrives(self, rest: str) -> None:
        self._at, self._goes = PLACES[rest], None

    def _opens(self, rest: str) -> None:
        letter, _, crew = rest.partition(" ")
        self._anchor()
        self._visit = self._id("visit")
        self._crew = (crew or CREW).split(",")
        self.visits.append(self._visit)
        opened = {"visit_id": self._visit, "village": code(letter), "village_name": f"{letter}村", "township": "白果镇"}
        crew_fields = [{"person": who, "role": PEOPLE[who][0], "name": PEOPLE[who][1]} for who in self._crew if who]
        opened |= {"proposed_by": "position", "arrived_at": format_time(self._wall), "crew": crew_fields}  # type: ignore[dict-item]
        self._write("visit_opened/1", opened, visit=self._visit)  # type: ignore[arg-type]

    def _closes(self, rest: str) -> None:
        self._flush()
        for who in self._crew:
            self._duty(who, False)
        closed = {
            "visit_id": self._visit,
            "arrived_at": format_time(self._wall),
            "departed_at": format_time(self._wall),
        }
        self._write("visit_closed/1", {**closed, "dwell_s": 99_999, "encounters": 99}, visit=self._visit)
        self._visit, self._crew = None, []

    def _duty(self, who: str, on: bool) -> None:
        role, name = PEOPLE[who]
        fields = {"visit_id": self._visit, "person": who, "role": role, "name": name, "on": on}
        self._write("duty/1", fields, visit=self._visit)

    def _joins(self, rest: str) -> None:
        self._crew.append(rest)
        self._duty(rest, True)

    def _quits(self, rest: str) -> None:
        self._crew.remove(rest)
        self._duty(rest, False)

    def _serves(self, rest: str) -> None:
        """One person for ten minutes, with entries that nobody else may see."""
        encounter, patient = self._id("encounter"), self._id("patient")
        person = {"patient": patient, "name": "演练居民", "sex": "2", "source": "manual"}
        self._write("patient/1", person, visit=self._visit)  # type: ignore[arg-type]
        fields = {"encounter_id": encounter, "patient": patient, "purpose": "随访"}
        self._write("encounter/1", fields, visit=self._visit, encounter=encounter)  # type: ignore[arg-type]
        self._served.append((self._wall, self._now + timedelta(minutes=10), encounter))

    def _writes(self, rest: str) -> None:
        """An entry that is personal, such as a patient's."""
        person = {"patient": self._id("patient"), "name": "演练居民", "sex": "2", "source": "manual"}
        self._write("patient/1", person, visit=self._visit)  # type: ignore[arg-type]

    def _outreach(self, rest: str) -> None:
        self._write("outreach/1", {"visit_id": self._visit, "what": "健康讲座", "people": 30}, visit=self._visit)

    def _confirms(self, rest: str) -> None:
        opened = next(one for one in self.entries if _is(one, "visit_opened/1", self._visit or ""))
        said = {"visit_id": self._visit, "village": code(rest) if rest else opened.fields["village"], "means": "pin"}
        self._write("village_confirmed/1", {**said, "person": "tang", "name": "唐村医"}, visit=self._visit, by="tang")

    def _photographs(self, rest: str) -> None:
        """ "photographs": where it stands; "photographs outside": 10 km to the north; "photographs nowhere"."""
        said = {"visit_id": self._visit, "village": "", "what": "village_sign", "media_type": "image/jpeg"}
        said |= {"sha256": "ab" * 32, "taken_at": format_time(self._wall)}
        east, north = self._at
        north += 10.0 if rest == "outside" else 0.0
        if rest != "nowhere":
            said |= {"lat_e7": round((31.0 + north * UP) * 1e7), "lon_e7": round((103.0 + east * ACROSS) * 1e7)}
            said["accuracy_m"] = 3
        self._write("visit_picture/1", said, visit=self._visit)  # type: ignore[arg-type]

    def _plugs(self, rest: str) -> None:
        facts = {} if rest == "nameless" else {"serial": "BP-0042"}
        fields = {"device": "cuff-1", "driver": "bluetooth_blood_pressure", "event": "attached", "facts": facts}
        self._write("device_event/1", fields)

    def _receives(self, rest: str) -> None:
        self._receiver = rest

    def _jumps(self, rest: str) -> None:
        self._wild = True

    def _hears(self, rest: str) -> None:
        self._cells = [rest]

    def _counts(self, rest: str) -> None:
        """ "counts wheels": there is an odometer."""
        self._odometer_m = 48_000.0

    def _runs(self, rest: str) -> None:
        assert self._odometer_m is not None
        self._odometer_m += float(rest) * 1000

    def _clock(self, rest: str) -> None:
        """ "clock +30 by gnss": the wall clock is set by so many minutes; "by nobody": and nothing is written."""
        minutes, _, by = rest.partition(" by ")
        step = timedelta(minutes=float(minutes))
        self._wrong += step
        if by == "nobody":
            return
        self._pending = [replace(point, at=point.at + step) for point in self._pending]
        self._served = [(opened + step, ends, who) for opened, ends, who in self._served]
        source = "rtc" if by == "hand" else by
        self._write("clock/1", {"seconds_ms": round(step.total_seconds() * 1000), "source": source})

    def _delivers(self, rest: str) -> None:
        self.deliveries.append((len(self.entries), self._now))

    def _first(self, rest: str) -> None:
        """ "first day": the van has never delivered before."""
        self.deliveries = []


def _is(entry: Entry, kind: str, visit: str) -> bool:
    return entry.kind == kind and entry.fields["visit_id"] == visit


def logs(lines: Iterable[str]) -> list[Log]:
    events = read(lines)
    return [Log(van, events).run() for van in sorted({event.van for event in events})]


def around(village: str, villages: Sequence[Village]) -> list[Village]:
    """The village and its neighbours, as the registry gives them for a verdict."""
    near = neighbours_of(villages)
    codes = {village, *(one for place, known in enumerate(villages) if known.code == village for one in near[place])}
    return [known for known in villages if known.code in codes]


def proofs(
    told: Sequence[Log],
    villages: Sequence[Village],
    rules: Rules,
    decisions: dict[str, Decision] | None = None,
    going_on: bool = False,
) -> list[VisitProof]:
    """Every visit of the logs, in order of time, those of one day together."""
    found = [
        facts_of_visit(
            visit,
            log.entries,
            (),
            around(next(one for one in log.entries if _is(one, "visit_opened/1", visit)).fields["village"], villages),
            rules,
            log.bracket(visit),
            (decisions or {}).get(visit),
            origin=log.van,
            going_on=going_on,
        )
        for log in told
        for visit in log.visits
    ]
    return compared(merged(sorted(found, key=lambda proof: (proof.evidence.opened_at, proof.facts.visit))))

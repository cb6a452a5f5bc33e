"""What must hold for every visit whatever happened: hiding, noise, order of arrival, corrections, cut tracks."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from sync.county.visit_facts import read_evidence, write_evidence
from sync.formats.canonical import LARGEST_INTEGER
from sync.formats.records import Draft, Entry, Stamp, format_time, parse_time, write_entry
from sync.proof.areas import Village
from sync.proof.coverage import Rules, judge_visit
from sync.proof.tracks import Point, track_fields, track_of
from sync.proof.visit_proof import VisitProof, facts_of_visit
from sync.proof.visit_track import PROOF_KINDS
from tests.sync.visit_script import VILLAGES, Log, around, code, logs

RULES = Rules(dwell_s=20 * 60, staff=1, witnesses=1)
A = code("A")
NEAR: list[Village] = around(A, list(VILLAGES.values()))
FEW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PLACE = st.sampled_from(["A", "overlap", "border", "beside", "B", "depot", "out and back", "out and back"])
HAPPENS = st.one_of(
    st.sampled_from(["serves", "writes", "outreach", "confirms", "jumps", "plugs", "joins li", "delivers"]),
    st.sampled_from(["good", "nothing", "inaccurate", "few", "spoofed", "silent"]).map("receives {}".format),
    st.tuples(st.sampled_from([-30, -2, 1, 12, 45]), st.sampled_from(["gnss", "ntp", "hand", "nobody"])).map(
        lambda step: f"clock {step[0]} by {step[1]}"
    ),
    st.sampled_from(["stops", "blacks out"]),
)


@st.composite
def stories(draw: st.DrawFn, clocks: bool = True) -> Log:
    """About an hour in and around A: the van goes places, things happen, it is closed at the end."""
    lines = ["07:30 starts", "07:31 plugs", "07:32 delivers"]
    minute, place = 34, "depot"
    if draw(st.booleans()):
        lines.append("07:33 counts wheels")
    lines.append("07:35 opens A")
    for _ in range(draw(st.integers(2, 7))):
        what = draw(st.one_of(HAPPENS, PLACE))
        minute += draw(st.integers(1, 16))
        at = f"{7 + minute // 60:02d}:{minute % 60:02d}"
        if what.startswith("clock") and not clocks:
            continue
        if what in ("stops", "blacks out"):
            lines.append(f"{at} {what}")
            minute += draw(st.integers(1, 20))
            lines.append(f"{7 + minute // 60:02d}:{minute % 60:02d} starts")
        elif what == "out and back":
            if place == "depot":
                continue
            for there in ("depot", place):
                lines.append(f"{7 + minute // 60:02d}:{minute % 60:02d} leaves")
                minute += draw(st.integers(2, 5))
                lines.append(f"{7 + minute // 60:02d}:{minute % 60:02d} arrives {there}")
        elif what in ("A", "overlap", "border", "beside", "B", "depot"):
            if what == place:
                continue
            lines.append(f"{at} leaves")
            minute += draw(st.integers(2, 6))
            lines.append(f"{7 + minute // 60:02d}:{minute % 60:02d} arrives {what}")
            place = what
        else:
            lines.append(f"{at} {what}")
    minute += draw(st.integers(2, 60))
    at = f"{7 + minute // 60:02d}:{minute % 60:02d}"
    note(lines)
    log = logs([*lines, f"{at} closes", f"{at}:30 delivers"])[0]
    (end,) = [entry.n for entry in log.entries if entry.kind == "visit_closed/1"]
    del log.entries[end + 1 :]
    return log


def judged(log: Log, shown: list[Entry], hidden: set[int]) -> VisitProof:
    visit = log.visits[0]
    return facts_of_visit(visit, shown, hidden, NEAR, RULES, log.bracket(visit), None)


def counted(proof: VisitProof) -> bool:
    return judge_visit(proof.facts, RULES).counted


@FEW
@given(log=stories(), chance=st.randoms(use_true_random=False))
def test_hiding_gains_nothing(log: Log, chance: random.Random) -> None:
    whole = judged(log, log.entries, set())
    hidden = _hidden([entry.n for entry in log.entries if entry.kind != "visit_opened/1"], chance)
    note([(entry.n, entry.kind) for entry in log.entries if entry.n in hidden])
    proof = judged(log, [entry for entry in log.entries if entry.n not in hidden], hidden)
    if not {"clock_stepped", "boots_missing"} & set(proof.facts.review):  # else times are in doubt, and a person looks
        assert (proof.facts.dwell_s or 0) <= (whole.facts.dwell_s or 0)
    if proof.stays and not proof.facts.review:
        assert proof.facts.encounters <= whole.facts.encounters
        assert proof.facts.staff <= whole.facts.staff
    assert counted(whole) or not counted(proof)


@FEW
@given(log=stories())
def test_who_sees_hashes_instead_of_people_comes_to_the_same(log: Log) -> None:
    shown = [entry for entry in log.entries if entry.kind in PROOF_KINDS]
    hidden = {entry.n for entry in log.entries} - {entry.n for entry in shown}
    assert judged(log, shown, hidden) == judged(log, log.entries, set())


@FEW
@given(log=stories(), chance=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(log: Log, chance: random.Random) -> None:
    shuffled = list(log.entries)
    chance.shuffle(shuffled)
    assert judged(log, shuffled, set()) == judged(log, log.entries, set())


EXTREMES = (LARGEST_INTEGER, -LARGEST_INTEGER, LARGEST_INTEGER - 5_000, 0)
BORDERS = (
    "0001-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z",
    "0002-01-01T00:00:00.000Z",
    "9998-12-31T23:59:59.999Z",
)


@FEW
@given(log=stories(), chance=st.randoms(use_true_random=False))
def test_whatever_times_entries_say_the_visit_is_judged(log: Log, chance: random.Random) -> None:
    """Monotonic clocks, steps and moments at the ends of what can be written: a person looks, nothing breaks."""
    entries = list(log.entries)
    for place in chance.sample(range(len(entries)), min(len(entries), chance.randint(1, 6))):
        entry, border = entries[place], parse_time(chance.choice(BORDERS))
        wild = {"mono_ms": chance.choice(EXTREMES), "at": border}
        entry = replace(entry, **{name: wild[name] for name in chance.sample(sorted(wild), chance.randint(0, 2))})  # type: ignore[arg-type]
        for name, value in (("seconds_ms", chance.choice(EXTREMES)), ("started_at", border), ("opened_at", border)):
            if name in entry.fields and chance.random() < 0.5:
                said = value if isinstance(value, int) else format_time(value)
                entry = replace(entry, fields={**entry.fields, name: said})
        entries[place] = entry
    proof = judged(log, entries, set())
    judge_visit(proof.facts, RULES)
    assert read_evidence(json.loads(json.dumps(write_evidence(proof.evidence)))) == proof.evidence


@FEW
@given(log=stories(), chance=st.randoms(use_true_random=False))
def test_noise_gains_nothing(log: Log, chance: random.Random) -> None:
    """Points that are not valid, somewhere between the others, whatever position they claim."""

    def noisy(points: list[Point]) -> list[Point]:
        found: list[Point] = []
        for point, after in zip(points, [*points[1:], None], strict=True):
            found.append(point)
            if after is not None and hasattr(point, "accuracy_m") and chance.random() < 0.2:
                middle = point.at + timedelta(seconds=int((after.at - point.at).total_seconds() / 2))
                bad: dict[str, Any] = chance.choice([{"accuracy_m": 51.0}, {"satellites": 4}, {"spoof": True}])
                found.append(replace(point, at=middle, longitude_deg=103.0 + chance.uniform(0, 0.02), **bad))
        return found

    noise = [_rewritten(entry, noisy) if entry.kind == "track/1" else entry for entry in log.entries]
    proof, before = judged(log, noise, set()), judged(log, log.entries, set())
    assert (proof.facts.dwell_s or 0) <= (before.facts.dwell_s or 0)
    assert counted(before) or not counted(proof)


@FEW
@given(
    log=stories(clocks=False), minutes=st.sampled_from([-600, -45, -1, 3, 90]), source=st.sampled_from(["gnss", "ntp"])
)
def test_a_declared_correction_moves_what_was_written_before(log: Log, minutes: int, source: str) -> None:
    """The whole boot was written on a wrong clock and put right just before the visit was closed."""
    last = log.entries[-1]
    wrong = timedelta(minutes=minutes)
    before = [_moved(entry, -wrong) if entry.boot == last.boot else entry for entry in log.entries[:-1]]
    clock = Draft("clock/1", {"seconds_ms": minutes * 60_000, "source": source})
    step = write_entry(clock, Stamp(last.n, last.at, "rtc", last.boot, last.mono_ms, last.vehicle))
    corrected = judged(log, [*before, step, _at_place(last, last.n + 1)], set())
    plain = judged(log, log.entries, set())
    assert corrected.stays == plain.stays
    assert (corrected.facts.day, corrected.facts.dwell_s, corrected.facts.encounters, corrected.facts.staff) == (
        (plain.facts.day, plain.facts.dwell_s, plain.facts.encounters, plain.facts.staff)
    )
    assert set(corrected.flags) - {"clock_corrected", "clock_set_back"} == set(plain.flags)


@FEW
@given(log=stories(), chance=st.randoms(use_true_random=False))
def test_it_does_not_matter_where_tracks_are_cut(log: Log, chance: random.Random) -> None:
    """The same points in smaller entries, one behind the other."""
    cut: list[Entry] = []
    for entry in log.entries:
        if entry.kind != "track/1":
            cut.append(_at_place(entry, len(cut)))
            continue
        points = list(track_of(entry.fields).points)
        while points:
            size = chance.randint(1, len(points))
            piece, points = points[:size], points[size:]
            cut.append(_at_place(_with_points(entry, piece), len(cut)))
    by = judged(log, cut, set())
    plain = judged(log, [_without_odometer(entry) for entry in log.entries], set())
    assert (by.facts.dwell_s, by.facts.review, by.facts.flags) == (
        (plain.facts.dwell_s, plain.facts.review, plain.facts.flags)
    )


def _hidden(places: list[int], chance: random.Random) -> set[int]:
    """One entry, some here and there, or all of some time."""
    way = chance.randrange(3)
    if way == 0:
        return {chance.choice(places)}
    if way == 1:
        part = chance.random() ** 2
        return {place for place in places if chance.random() < part}
    first = chance.randrange(len(places))
    return set(places[first : first + chance.randint(1, 12)])


def _rewritten(entry: Entry, change: Any) -> Entry:
    return _with_points(entry, change(list(track_of(entry.fields).points)), keep=True)


def _with_points(entry: Entry, points: list[Point], keep: bool = False) -> Entry:
    more = {name: value for name, value in entry.fields.items() if keep and name.startswith("odometer")}
    return replace(entry, fields={**track_fields(points), **more})


def _without_odometer(entry: Entry) -> Entry:
    return _with_points(entry, list(track_of(entry.fields).points)) if entry.kind == "track/1" else entry


def _at_place(entry: Entry, n: int) -> Entry:
    return replace(entry, n=n)


def _moved(entry: Entry, by: timedelta) -> Entry:
    """Written on a clock that is wrong by so much."""
    fields = dict(entry.fields)
    for name in ("started_at", "opened_at"):
        if name in fields:
            moved: datetime = parse_time(fields[name]) + by
            fields[name] = moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return replace(entry, at=entry.at + by, fields=fields)

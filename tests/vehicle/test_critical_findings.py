"""Critical findings: what of an ECG is one, that each rings once, holds its person, is answered, and is a red value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ecg_waves import regular, trace
from touch_bench import CARD, PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import Samples, Stamped
from sync.formats import ecg_file
from sync.formats.records import Draft, format_time
from tests.vehicle.clinic_world import DOCTOR, World
from tests.vehicle.conftest import MORNING
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.critical import ActionMissing, Answer
from vehicle.clinic.critical_findings import FindingUnknown, NobodysRecording
from vehicle.clinic.ecg.critical import CriticalWatch, in_findings
from vehicle.clinic.ecg.events import Asystole, Beat, HeartRate, Pause, Shape
from vehicle.clinic.ecg.findings import analyse
from vehicle.clinic.encounters import CriticalOpen
from vehicle.ecg_analysis import EcgAnalysis
from vehicle.feed import Feed
from vehicle.live import LiveHub

FS_HZ = 500.0
CALLED = {"receiver": "县医院急诊科 王医生", "read_back": True}
REFERRED = Answer(frozenset({"told", "referred"}), **CALLED)


def wide(*at_s: float) -> list[Beat]:
    return [Beat(round(s * FS_HZ), s, Shape.ECTOPIC) for s in at_s]


# what of a running ECG is critical


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([Asystole(2000, 100, False, True)], [("ecg_asystole", {"flat": True})]),
        ([Asystole(2000, 100, True)], []),
        ([Pause(1500, 100, 2.6, False)], []),
        ([Pause(1600, 100, 3.0, True)], []),
        ([Pause(1700, 100, 3.2, True)], [("ecg_pause", {"pause_ms": 3200})]),
        ([HeartRate(k, 150.2) for k in range(2)], []),
        ([HeartRate(k, 149.6) for k in range(9)], [("ecg_rate_high", {"heart_rate_bpm": 150})]),
        ([HeartRate(k, 149.4) for k in range(9)], []),
        ([HeartRate(k, 45.4) for k in range(9)], [("ecg_rate_low", {"heart_rate_bpm": 45})]),
        ([HeartRate(0, 160), HeartRate(1, None), HeartRate(2, 160), HeartRate(3, 160)], []),
        (wide(0, 0.4, 0.8, 1.2), []),
        (wide(0, 0.4, 0.8, 1.2, 1.6, 2.0), [("ecg_wide_run", {"heart_rate_bpm": 150, "beats": 5})]),
        (wide(0, 0.7, 1.4, 2.1, 2.8, 3.5), []),
    ],
    ids=[
        "asystole", "asystole_ends", "pause_goes_on", "three_seconds_is_not_over", "pause", "two_seconds_of_rate",
        "rate_as_shown", "rate_below", "slow", "rate_interrupted", "four_wide", "six_wide", "slow_wide",
    ],
)  # fmt: skip
def test_what_the_events_of_a_running_ecg_make_critical(events: list[Any], found: list[Any]) -> None:
    assert CriticalWatch(FS_HZ).take(events) == found


def test_a_rate_is_found_again_only_after_it_was_back() -> None:
    watch = CriticalWatch(FS_HZ)
    fast, near, back = ([HeartRate(0, bpm)] * 4 for bpm in (155, 147, 140))
    assert [len(watch.take(events)) for events in (fast, near, fast, back, fast)] == [1, 0, 0, 0, 1]


def test_what_a_recording_shows_is_critical_by_the_same_measures() -> None:
    def found(mv: np.ndarray) -> dict[str, Any]:
        counts = np.round(mv * 1000 / 1.25).astype(np.int16).reshape(-1, 1)
        return dict(in_findings(analyse(("II",), FS_HZ, counts, 1.25, -32768)))

    assert found(trace(regular(75, 20), 20, FS_HZ)) == {}
    assert found(trace(regular(165, 20), 20, FS_HZ))["ecg_rate_high"]["heart_rate_bpm"] in (164, 165, 166)
    assert found(trace(regular(40, 20), 20, FS_HZ))["ecg_rate_low"]["heart_rate_bpm"] == 40
    paused = [at for at in regular(75, 30) if not 12 < at < 14.5]
    assert 3100 < found(trace(paused, 30, FS_HZ))["ecg_pause"]["pause_ms"] < 3700
    assert "ecg_asystole" in found(trace([at for at in regular(75, 30) if at < 15], 30, FS_HZ))
    said = {"beat_ms": [400 * k for k in range(12)], "beat_shapes": "nneeeeeennnn"}
    assert in_findings(said) == [("ecg_wide_run", {"heart_rate_bpm": 150, "beats": 6})]
    assert in_findings({**said, "beat_shapes": "nneeeeneeeee"}) == [
        ("ecg_wide_run", {"heart_rate_bpm": 150, "beats": 5}),
    ]


async def test_the_live_analysis_tells_it_in_the_loop_and_nothing_of_who_left() -> None:
    feed, told = Feed(), []
    heard = asyncio.Event()

    def critical(device: str, what: str, facts: Any) -> None:
        told.append((device, what, facts["heart_rate_bpm"] >= 160))
        heard.set()

    analysis = EcgAnalysis(feed, LiveHub(), critical)
    service = asyncio.create_task(analysis.run())
    await asyncio.sleep(0)
    counts = np.round(trace(regular(170, 12), 12, FS_HZ) * 1000 / 1.25).astype(np.int16).reshape(-1, 1)
    samples = Samples("ecg", ("II",), FS_HZ, 1, 0, counts, 1.25, "uV")
    stamped = Stamped("ecg-1", "contec_8000g", datetime(2026, 3, 2, tzinfo=UTC), 0.0, samples)
    feed.publish(stamped)
    async with asyncio.timeout(60):
        await heard.wait()
    assert told == [("ecg-1", "ecg_rate_high", True)]
    analysis._critical = [("ecg-1", ("ecg_pause", {"pause_ms": 3300}))]
    analysis.somebody_else()
    analysis._critical_found()
    assert len(told) == 1
    service.cancel()


# in the record


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


def actions(world: World, name: str) -> list[str]:
    rows = world.store.read("SELECT action FROM critical_actions WHERE reading = ? ORDER BY n", (name,))
    return [row["action"] for row in rows]


async def test_it_is_an_entry_is_told_once_and_holds_the_person_until_it_is_answered(world: World) -> None:
    world.critical_findings.on_live_ecg("ecg-1", "ecg_asystole", {"flat": False})  # nobody is served
    assert world.store.read("SELECT * FROM critical_findings") == []
    patient = await world.serve()
    for _ in range(3):
        world.critical_findings.on_live_ecg("ecg-1", "ecg_rate_high", {"heart_rate_bpm": 162})
    [red] = world.measurements.critical("en")
    assert (red.type, red.source, red.result) == ("ecg_rate_high", "ecg_live", "Heart rate 150 or more 162/min")
    [row] = world.store.read("SELECT * FROM critical_findings")
    assert (row["patient"], row["device"], row["by"]) == (patient.patient, "ecg-1", None)
    assert actions(world, red.reading) == ["found"]
    [told] = world.told("critical")
    assert (told["kind"], told["values"]) == ("ecg_rate_high", {"heart_rate_bpm": 162})
    served = world.encounters.current()
    assert served is not None
    first = CaseNotes(world.store, world.people, world.prompts).of(served.encounter, patient.patient, "en")["prompts"][
        0
    ]
    assert (first["grade"], "162/min" in first["title"]) == ("red", True), "a specialist who comes later sees it first"
    with pytest.raises(CriticalOpen):
        await world.encounters.close(DOCTOR)
    with pytest.raises(ActionMissing) as missing:
        await world.critical_values.acknowledge(red.reading, Answer(frozenset({"told", "referred"})), DOCTOR)
    assert missing.value.facts["what"] == "receiver"
    assert await world.critical_values.acknowledge(red.reading, REFERRED, DOCTOR) == []
    world.critical_findings.on_live_ecg("ecg-1", "ecg_rate_high", {"heart_rate_bpm": 155})
    assert world.measurements.critical() == [], "a rate that was answered for is not told again"
    world.critical_findings.on_live_ecg("ecg-1", "ecg_pause", {"pause_ms": 3300})
    [pause] = world.measurements.critical()
    await world.critical_values.acknowledge(pause.reading, REFERRED, DOCTOR)
    world.critical_findings.on_live_ecg("ecg-1", "ecg_pause", {"pause_ms": 3900})
    [again] = world.measurements.critical()
    assert again.reading != pause.reading, "another pause is another danger"


async def test_a_loose_electrode_is_said_with_one_answer_and_a_reading_cannot_be_withdrawn_so(world: World) -> None:
    await world.serve()
    world.critical_findings.on_live_ecg("ecg-1", "ecg_asystole", {"flat": True})
    [red] = world.measurements.critical()
    assert await world.critical_values.acknowledge(red.reading, Answer(frozenset({"withdrawn"})), DOCTOR) == []
    assert actions(world, red.reading) == ["found", "withdrawn"]
    reading = world.cuff(190, 120)
    await world.measurements.confirm(reading, DOCTOR)
    with pytest.raises(ActionMissing):
        await world.critical_values.acknowledge(reading, Answer(frozenset({"withdrawn"})), DOCTOR)


# with recordings


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


async def serve(bench: Bench) -> None:
    await bench.vehicle.staff.sign_in("zhou.min", PIN["zhou.min"])
    bench.stand_at((30.60, 104.00))
    await bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    bench.publish("card-1", CARD)
    await bench.vehicle.encounters.settle()


async def recording(bench: Bench, mv: np.ndarray, what: str = "ecg", mine: bool = True) -> str:
    """A recording of the person being served, as the recorder leaves it."""
    vehicle = bench.vehicle
    served = vehicle.encounters.current()
    assert served is not None
    counts = np.round(mv * 1000 / 1.25).astype(np.int16).reshape(-1, 1)
    blob = ecg_file.write([Samples("ecg", ("II",), FS_HZ, 1, 0, counts, 1.25, "uV")])
    sha256, size = vehicle.recordings.store(blob, ecg_file.MEDIA_TYPE)
    fields = {
        "sha256": sha256,
        "bytes": size,
        "media_type": ecg_file.MEDIA_TYPE,
        "what": what,
        "device": "ecg-1",
        "started_at": format_time(bench.clock.now()),
        "duration_ms": 20_000,
        "facts": {},
        **({"patient": served.patient.patient} if mine else {}),
    }
    encounter = served.encounter if mine else None
    await vehicle.store.commit(Draft("recording/1", fields, "zhou.min", served.visit, encounter))
    return sha256


async def sign(bench: Bench, sha256: str, agrees: bool = True, critical: tuple[str, ...] = (), words: str = "") -> None:
    await bench.vehicle.ecg_findings.analyse(sha256)
    pin = PIN["zhou.min"]
    await bench.vehicle.ecg_findings.review(sha256, agrees, "no", words, "zhou.min", pin, critical)


def open_kinds(bench: Bench) -> list[tuple[str, str]]:
    return [(red.type, red.source) for red in bench.vehicle.measurements.critical()]


async def test_what_the_doctor_signs_is_critical_and_what_he_does_not_agree_with_is_not(bench: Bench) -> None:
    await serve(bench)
    fast = await recording(bench, trace(regular(165, 20), 20, FS_HZ))
    await bench.vehicle.ecg_findings.analyse(fast)
    assert open_kinds(bench) == [], "what was only recorded nobody has read"
    await sign(bench, fast, agrees=False, words="计数有误", critical=("ecg_infarction",))
    assert open_kinds(bench) == [("ecg_infarction", "ecg_signed")]
    await sign(bench, fast)
    assert open_kinds(bench) == [("ecg_infarction", "ecg_signed"), ("ecg_rate_high", "ecg_signed")]
    await sign(bench, fast, critical=("ecg_infarction",))
    assert len(open_kinds(bench)) == 2, "signed again it is the same finding"
    with pytest.raises(FindingUnknown):
        await sign(bench, fast, critical=("us_aorta",))
    nobodys = await recording(bench, trace(regular(160, 20), 20, FS_HZ), mine=False)
    with pytest.raises(NobodysRecording):
        await sign(bench, nobodys)
    assert bench.vehicle.ecg_findings.of(nobodys).review is None


@pytest.mark.parametrize(("bpm", "still"), [(80, []), (168, [("ecg_rate_high", "ecg_repeat")])], ids=["gone", "there"])
async def test_a_repeated_ecg_lets_go_or_is_the_one_to_deal_with(
    bench: Bench, bpm: float, still: list[tuple[str, str]]
) -> None:
    await serve(bench)
    bench.vehicle.critical_findings.on_live_ecg("ecg-1", "ecg_rate_high", {"heart_rate_bpm": 162})
    await bench.vehicle.commits.settle()
    [red] = bench.vehicle.measurements.critical()
    await bench.vehicle.critical_values.acknowledge(red.reading, Answer(frozenset({"repeated"})), "zhou.min")
    assert open_kinds(bench) == [("ecg_rate_high", "ecg_live")]
    bench.clock.advance(60)
    again = await recording(bench, trace(regular(bpm, 20), 20, FS_HZ))
    await bench.vehicle.ecg_findings.analyse(again)
    assert open_kinds(bench) == still
    rows = bench.vehicle.store.read("SELECT action FROM critical_actions WHERE reading = ? ORDER BY n", (red.reading,))
    assert [row["action"] for row in rows] == ["found", "repeated", "measured_again"]


async def test_a_finding_on_an_ultrasound_picture_is_a_red_value_too(bench: Bench) -> None:
    await serve(bench)
    still = await recording(bench, trace(regular(80, 2), 2, FS_HZ), "ultrasound_still")
    mark = bench.vehicle.critical_findings.mark
    for what, words in (("ecg_pause", ""), ("us_other", "  "), ("", "x")):
        with pytest.raises(FindingUnknown):
            await mark(still, what, words, "zhou.min")
    found = await mark(still, "us_other", "肝包虫破裂", "zhou.min")
    assert await mark(still, "us_other", "肝包虫破裂", "zhou.min") == found
    [red] = bench.vehicle.measurements.critical()
    assert (red.type, red.words, red.sha256) == ("us_other", "肝包虫破裂", still)
    nobodys = await recording(bench, trace(regular(90, 2), 2, FS_HZ), "ultrasound_still", mine=False)
    with pytest.raises(NobodysRecording):
        await mark(nobodys, "us_aorta", "", "zhou.min")


async def test_signed_after_the_person_left_it_stands_on_every_page_until_it_is_answered(bench: Bench) -> None:
    await serve(bench)
    sha256 = await recording(bench, trace(regular(75, 20), 20, FS_HZ))
    await bench.vehicle.encounters.close("zhou.min")
    await sign(bench, sha256, critical=("ecg_block_3",))
    assert bench.vehicle.measurements.critical() == []
    [red] = bench.vehicle.critical_findings.open_of_others()
    assert red.type == "ecg_block_3"
    called = Answer(frozenset({"referred"}), **CALLED)  # nobody is here to be told
    await bench.vehicle.critical_values.acknowledge(red.reading, called, "zhou.min")
    assert bench.vehicle.critical_findings.open_of_others() == []

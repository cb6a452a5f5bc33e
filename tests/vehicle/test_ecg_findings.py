"""Findings of recorded ECGs: what events become, how they reach the record, the rules and the doctor's signature."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from touch_bench import CARD, PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import INVALID_COUNT, BloodPressure, Samples, Stamped
from sync.formats import ecg_file
from sync.formats.records import Draft, format_time
from tests.vehicle.ecg_waves import regular, trace
from vehicle.clinic.ecg.events import (
    AfLevel,
    Beat,
    HeartRate,
    LeadQuality,
    Level,
    Pause,
    Reason,
    RhythmAssessment,
    Shape,
    SwapHint,
)
from vehicle.clinic.ecg.findings import analyse, findings, heard_by_rules, median_beat, repeat_wanted, with_ecg
from vehicle.clinic.ecg.live_state import LiveEcg, LiveState
from vehicle.clinic.follow_up_sources import numbers_of
from vehicle.clinic.staff import WrongPin
from vehicle.ecg_analysis import EcgAnalysis
from vehicle.ecg_findings import EcgNotAnalysed, EcgReviewIncomplete
from vehicle.feed import Feed
from vehicle.live import LiveHub

RATE_HZ = 500.0


def beats(*at_s: float, shape: Shape = Shape.NORMAL) -> list[Beat]:
    return [Beat(round(s * RATE_HZ), s, shape) for s in at_s]


def told(level: AfLevel = AfLevel.NONE, score: float = 0.1, **more: object) -> dict:
    every = [k * 0.8 for k in range(1, 12)]
    events = [*beats(*every), RhythmAssessment(5000, level, score, 11)]
    return findings(("I", "II"), RATE_HZ, 5000, events) | more


# from events to findings


def test_heart_rate_is_that_of_the_intervals_and_none_is_taken_across_a_gap() -> None:
    events = [*beats(1.0, 1.8, 2.6), *beats(6.0, 7.0), HeartRate(1500, 80.0), HeartRate(3500, 58.6)]
    said = findings(("I",), RATE_HZ, 5000, events, gaps=[1600])
    assert (said["heart_rate_bpm"], said["heart_rate_min_bpm"], said["heart_rate_max_bpm"]) == (69, 59, 80)
    assert said["beat_ms"] == [1000, 1800, 2600, 6000, 7000]
    assert findings(("I",), RATE_HZ, 5000, beats(1.0), gaps=[])["beats"] == 1
    assert "heart_rate_bpm" not in findings(("I",), RATE_HZ, 5000, beats(1.0), gaps=[])


def test_the_most_severe_rhythm_of_a_recording_counts_with_its_window() -> None:
    events = [
        RhythmAssessment(2000, AfLevel.NONE, 0.1, 8),
        RhythmAssessment(4000, AfLevel.POSSIBLE, 0.6, 12),
        RhythmAssessment(5000, AfLevel.NONE, 0.2, 14),
    ]
    said = findings(("I",), RATE_HZ, 5000, events)
    assert (said["rhythm"], said["af_score_permille"], said["af_beats"], said["af_until_ms"]) == (
        "possible", 600, 12, 8000,
    )  # fmt: skip
    assert repeat_wanted(said)
    assert findings(("I",), RATE_HZ, 5000, [])["rhythm"] == "undecided"


def test_each_lead_has_its_shares_of_time_and_why_it_was_not_good() -> None:
    events = [
        LeadQuality(0, "I", Level.GOOD, None, False),
        LeadQuality(2500, "I", Level.UNUSABLE, Reason.LEAD_OFF, True),
        LeadQuality(0, "II", Level.GOOD, None, False),
    ]
    leads = findings(("I", "II"), RATE_HZ, 5000, events)["leads"]
    assert leads["I"] == {
        "good_permille": 500, "poor_permille": 0, "unusable_permille": 500, "off_permille": 500, "reason": "lead_off",
    }  # fmt: skip
    assert leads["II"]["good_permille"] == 1000


def test_a_pause_stands_once_with_its_whole_length_and_a_swap_with_its_signs() -> None:
    events = [Pause(2000, 1000, 2.0, False), Pause(2600, 1000, 3.2, True), SwapHint(1, "LA/RA", ("I inverted",))]
    said = findings(("I",), RATE_HZ, 5000, events)
    assert said["pauses"] == [{"began_ms": 2000, "ms": 3200}]
    assert said["swap"] == {"electrodes": "LA/RA", "signs": ["I inverted"]}


def test_findings_are_a_record_without_floats(tmp_path: Path) -> None:
    Draft("ecg_analysis/1", {"sha256": "0" * 64, "version": "x/1", "findings": told()}).check()


def test_the_rules_hear_a_rhythm_and_a_rate_but_atrial_fibrillation_only_from_the_doctor() -> None:
    assert heard_by_rules(told(AfLevel.LIKELY, 0.9)) == {"hr": 75, "rr_irregular": True}
    assert heard_by_rules(told()) == {"hr": 75, "rr_irregular": False}
    assert heard_by_rules(told(AfLevel.UNDECIDED)) == {"hr": 75}
    assert heard_by_rules(told(AfLevel.LIKELY, 0.9), "no")["ecg_af"] is False
    assert heard_by_rules(told(), "unclear") == {"hr": 75}  # who reads it cannot tell: the analysis decides nothing
    assert "hr" not in heard_by_rules(told(trusted_beats=3))
    assert with_ecg({"rr_irregular": True, "hr": 90}, {"rr_irregular": False, "hr": 75}) == {
        "rr_irregular": True, "hr": 75,
    }  # fmt: skip


def test_the_median_beat_leaves_out_other_shapes_and_missing_values() -> None:
    wave = np.zeros((5000, 2), np.int16)
    for at in (1000, 2000, 3000, 4000):
        wave[at] = (100, -50)
    wave[2000] = (900, 900)  # of another shape
    wave[3000:3010, 1] = INVALID_COUNT
    found = {"beat_ms": [2000, 4000, 6000, 8000], "beat_shapes": "nenn"}
    beat = median_beat(wave, RATE_HZ, found, INVALID_COUNT)
    assert beat is not None
    assert beat.shape == (450, 2)
    assert beat[175].tolist() == [100, -50]
    assert median_beat(wave, RATE_HZ, {"beat_ms": [2000], "beat_shapes": "n"}, INVALID_COUNT) is None


def test_the_median_beat_keeps_its_height_and_loses_the_noise() -> None:
    counts = np.round(trace(regular(70, 25), 25, RATE_HZ, noise_mv=0.03) * 800).astype(np.int16)[:, None]
    beat = median_beat(counts, RATE_HZ, analyse(("II",), RATE_HZ, counts, 1.25, INVALID_COUNT), INVALID_COUNT)
    assert beat is not None
    assert abs(int(beat[:, 0].argmax()) - round(0.35 * RATE_HZ)) <= 2
    assert 0.85 < np.ptp(beat[:, 0]) / 800 < 1.35
    assert beat[: round(0.05 * RATE_HZ), 0].std() / 800 < 0.02


def test_an_empty_recording_says_that_nothing_is_known() -> None:
    said = analyse(("I",), RATE_HZ, np.full((1000, 1), INVALID_COUNT, np.int16), 1.25, INVALID_COUNT)
    assert (said["beats"], said["rhythm"]) == (0, "undecided")


# what a screen shows of a running ECG


def test_the_live_state_forgets_a_pause_and_names_leads() -> None:
    state = LiveState(("I", "V1"), RATE_HZ)
    assert state.take([HeartRate(500, 71.6)], 500)
    assert not state.take([LeadQuality(500, "V1", Level.POOR, Reason.NOISE, False)], 510)
    assert state.take([LeadQuality(520, "I", Level.UNUSABLE, Reason.LEAD_OFF, True), Pause(600, 10, 2.1, True)], 600)
    said = state.message()
    assert (said["heart_rate_bpm"], said["off"], said["poor"], said["pause_s"]) == (72, ["I"], {"V1": "noise"}, 2.1)
    state.take([*beats(12.0, shape=Shape.ECTOPIC)], round(12 * RATE_HZ))
    said = state.message()
    assert (said["pause_s"], said["ectopic_per_minute"], said["rhythm"]) == (None, 1, "undecided")


# beside the feed


def chunk(first: int, rate_hz: float = RATE_HZ) -> Stamped:
    samples = Samples("ecg", ("II",), rate_hz, 1, first, np.zeros((25, 1), np.int16), 1.25, "uV")
    return Stamped("ecg-1", "contec_8000g", datetime(2026, 3, 2, tzinfo=UTC), first / rate_hz, samples)


async def test_a_fault_of_the_analysis_ends_it_alone_and_takes_its_words_back(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, live, heard = Feed(), LiveHub(), []
    feed.on("ecg", lambda stamped: heard.append(stamped), "somebody else")
    service = asyncio.create_task(EcgAnalysis(feed, live).run())
    with live.subscribe() as reader:
        await asyncio.sleep(0)
        feed.publish(chunk(0))
        async for item in reader:
            assert json.loads(item)["rhythm"] == "undecided"
            break

        def broken(*_: object) -> bool:
            raise RuntimeError("broken")

        monkeypatch.setattr(LiveEcg, "push", broken)
        feed.publish(chunk(25))
        with pytest.raises(RuntimeError, match="broken"):
            await service
        said = json.loads(reader.take() or "{}")
        assert (said["device"], said["rhythm"], said["heart_rate_bpm"]) == ("ecg-1", None, None)
    feed.publish(chunk(50))
    assert len(heard) == 3
    assert feed.failures == {}


async def test_a_rate_that_the_chain_does_not_take_is_left_alone() -> None:
    feed, live = Feed(), LiveHub()
    service = asyncio.create_task(EcgAnalysis(feed, live).run())
    with live.subscribe() as reader:
        await asyncio.sleep(0)
        feed.publish(chunk(0, rate_hz=50.0))
        feed.publish(chunk(0))
        async for item in reader:
            assert json.loads(item)["rhythm"] == "undecided", "the second one: of the first nothing is said"
            break
        assert reader.take() is None
    service.cancel()


# in the record


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


async def serve(bench: Bench) -> str:
    await bench.vehicle.staff.sign_in("zhou.min", PIN["zhou.min"])
    bench.stand_at((30.60, 104.00))
    await bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    bench.publish("card-1", CARD)
    await bench.vehicle.encounters.settle()
    served = bench.vehicle.encounters.current()
    assert served is not None
    return served.encounter


async def record(bench: Bench, counts: np.ndarray) -> str:
    """A recording of the person being served, as the recorder leaves it."""
    vehicle = bench.vehicle
    served = vehicle.encounters.current()
    samples = Samples("ecg", ("I", "II"), RATE_HZ, 1, 0, counts.astype(np.int16), 1.25, "uV")
    blob = ecg_file.write([samples])
    sha256, size = vehicle.recordings.store(blob, ecg_file.MEDIA_TYPE)
    fields = {
        "sha256": sha256,
        "bytes": size,
        "media_type": ecg_file.MEDIA_TYPE,
        "what": "ecg",
        "device": "ecg-1",
        "started_at": format_time(bench.clock.now()),
        "duration_ms": 10_000,
        "facts": {},
        **({"patient": served.patient.patient} if served else {}),
    }
    await vehicle.store.commit(
        Draft("recording/1", fields, "zhou.min", served and served.visit, served and served.encounter)
    )
    return sha256


FLAT = np.zeros((5000, 2))


async def test_a_recording_gets_its_findings_once_and_they_survive_a_restart_of_the_tables(bench: Bench) -> None:
    await serve(bench)
    sha256 = await record(bench, FLAT)
    findings_of = bench.vehicle.ecg_findings
    first = await findings_of.analyse(sha256)
    assert first is not None
    assert first.review is None
    assert await findings_of.analyse(sha256) == first
    rows = bench.vehicle.store.read("SELECT count(*) AS n FROM entries WHERE kind = 'ecg_analysis/1'")
    assert rows[0]["n"] == 1
    bench.vehicle.store.rebuild()
    assert findings_of.of(sha256) == first


async def test_the_service_takes_what_waits_and_leaves_what_is_older_than_a_day(
    bench: Bench, clock: SimulatedClock
) -> None:
    await serve(bench)
    old = await record(bench, FLAT)
    clock.advance(25 * 3600)
    new = await record(bench, FLAT + 1)
    service = asyncio.create_task(bench.vehicle.ecg_findings.run())
    async with asyncio.timeout(60):
        while bench.vehicle.ecg_findings.of(new) is None:  # noqa: ASYNC110 (the analysis works in a thread)
            await asyncio.sleep(0.01)
    service.cancel()
    assert bench.vehicle.ecg_findings.of(old) is None


async def test_a_damaged_file_is_said_and_not_tried_for_ever(bench: Bench) -> None:
    await serve(bench)
    sha256 = await record(bench, FLAT)
    path = next(path for path in bench.settings.data.rglob("*") if path.is_file() and sha256 in path.name)
    path.chmod(0o600)
    path.write_bytes(b"xunzhen-ecg/1\nnothing")
    assert await bench.vehicle.ecg_findings.analyse(sha256) is None
    with pytest.raises(EcgNotAnalysed):
        await bench.vehicle.ecg_findings.review(sha256, True, "no", "", "zhou.min", PIN["zhou.min"])


async def analysed_as(bench: Bench, found: dict) -> str:
    """A recording whose findings are these."""
    sha256 = await record(bench, FLAT)
    served = bench.vehicle.encounters.current()
    assert served is not None
    await bench.vehicle.store.commit(
        Draft(
            "ecg_analysis/1",
            {"sha256": sha256, "version": "xunzhen-ecg/1", "findings": found},
            visit=served.visit,
            encounter=served.encounter,
        )
    )
    return sha256


@pytest.mark.parametrize(
    ("agrees", "af", "critical", "told_as"),
    [
        (True, "yes", (), "2"),
        (True, "no", (), None),
        (False, "no", (), None),
        (False, "no", ("ecg_infarction",), "2"),
    ],
    ids=["fibrillation", "agrees", "a false alarm of the analysis", "infarction"],
)
async def test_a_form_is_told_of_an_abnormal_ecg_where_the_doctor_reads_one(
    bench: Bench, agrees: bool, af: str, critical: tuple[str, ...], told_as: str | None
) -> None:
    encounter = await serve(bench)
    sha256 = await analysed_as(bench, told(AfLevel.LIKELY, 0.93))
    words = "" if agrees else "早搏"
    await bench.vehicle.ecg_findings.review(sha256, agrees, af, words, "zhou.min", PIN["zhou.min"], critical)
    served = bench.vehicle.encounters.current()
    assert served is not None
    found = numbers_of(bench.vehicle.store, (served.patient.patient,), encounter)
    assert "周敏签" in str(found["ecg.words"].number)
    assert (found["ecg"].number if "ecg" in found else None) == told_as


async def test_the_doctor_signs_and_the_rule_of_atrial_fibrillation_hears_it(bench: Bench) -> None:
    encounter = await serve(bench)
    sha256 = await analysed_as(bench, told(AfLevel.LIKELY, 0.93))
    prompts = bench.vehicle.screening
    before = {prompt.rule: prompt.code for prompt in prompts.prompts(encounter)}
    assert before["AF-SCREEN"] == "NEED_ECG"
    assert before["HR-ADULT"] == "NORMAL"
    review = bench.vehicle.ecg_findings.review
    for agrees, af, words in ((None, "yes", ""), (True, "", ""), (False, "no", "  ")):
        with pytest.raises(EcgReviewIncomplete):
            await review(sha256, agrees, af, words, "zhou.min", PIN["zhou.min"])
    with pytest.raises(WrongPin):
        await review(sha256, True, "yes", "", "zhou.min", "0000")
    signed = await review(sha256, True, "yes", "", "zhou.min", PIN["zhou.min"])
    assert signed.review is not None
    assert (signed.review.agrees, signed.review.af, signed.review.by_name) == (True, "yes", "周敏")
    after = {prompt.rule: prompt.code for prompt in prompts.prompts(encounter)}
    assert after["AF-SCREEN"] == "AF_ECG"
    stored = bench.vehicle.store.read("SELECT code, inputs_json FROM screening_results WHERE rule = 'AF-SCREEN'")
    assert [row["code"] for row in stored] == ["AF_ECG"]
    assert json.loads(stored[0]["inputs_json"])["ecg_af"] is True


async def test_a_later_signature_counts_and_its_words_replace_the_earlier_ones(bench: Bench) -> None:
    await serve(bench)
    sha256 = await analysed_as(bench, told(AfLevel.POSSIBLE, 0.6))
    review = bench.vehicle.ecg_findings.review
    await review(sha256, False, "no", "窦性心律，室早", "zhou.min", PIN["zhou.min"])
    signed = await review(sha256, True, "unclear", "", "li.wen", PIN["li.wen"])
    assert signed.review is not None
    assert (signed.review.words, signed.review.by_name) == ("", "李文")


@pytest.mark.parametrize(("level", "rate"), [(AfLevel.NONE, 104), (AfLevel.LIKELY, 75)])
async def test_a_pulse_after_the_ecg_counts_unless_the_rhythm_is_irregular(
    bench: Bench, level: AfLevel, rate: int
) -> None:
    encounter = await serve(bench)
    bench.publish("cuff-1", BloodPressure(128, 80, pulse_bpm=96))
    await confirm_cuff(bench)
    await analysed_as(bench, told(level))
    assert bench.vehicle.screening.inputs(encounter)["hr"] == 75
    bench.clock.advance(120.0)
    bench.publish("cuff-1", BloodPressure(128, 80, pulse_bpm=104))
    await confirm_cuff(bench)
    assert bench.vehicle.screening.inputs(encounter)["hr"] == rate


async def confirm_cuff(bench: Bench) -> None:
    await bench.vehicle.commits.settle()
    reading = next(tile for tile in bench.vehicle.measurements.tiles("zh") if tile.type == "blood_pressure").reading
    assert reading is not None
    await bench.vehicle.measurements.confirm(reading, "zhou.min")


async def test_an_irregular_cuff_is_not_calmed_by_an_ecg_that_nobody_has_read(bench: Bench) -> None:
    encounter = await serve(bench)
    bench.publish("cuff-1", BloodPressure(128, 80, irregular_pulse=True))
    await confirm_cuff(bench)
    await analysed_as(bench, told())
    said = {prompt.rule: prompt.code for prompt in bench.vehicle.screening.prompts(encounter)}
    assert said["AF-SCREEN"] == "NEED_ECG"

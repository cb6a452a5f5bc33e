"""HealthyPi and OpenBCI Cyton: what their firmware says, what it invents, what is lost and found again."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from device_captures import needs_shared, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.ac_coupling import AcCoupling
from devices.capture import settled
from devices.drivers import healthypi_v4, healthypi_v5, openbci_cyton
from devices.healthypi import frame_of
from devices.readings import (
    INVALID_COUNT,
    BloodPressure,
    DeviceState,
    Event,
    HeartRate,
    PulseOximetry,
    Samples,
    Sensor,
    Temperature,
)
from devices.simulators import openbci_cyton as cyton_twin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPi5Twin, HealthyPiTwin, Person
from devices.simulators.openbci_cyton import CytonTwin

BOARDS = [
    pytest.param(healthypi_v4, HealthyPiTwin, id="healthypi_v4"),
    pytest.param(healthypi_v5, HealthyPi5Twin, id="healthypi_v5"),
]


def counts_of(events: list[Event]) -> Any:
    return np.concatenate([event.counts for event in events if isinstance(event, Samples)])


def of_type(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# HealthyPi


@needs_shared
def test_healthypi_v4_vector() -> None:
    (vector,) = (param.values[0] for param in vectors("HealthyPi v4"))
    expected = vector["expected"]
    moment = healthypi_v4.moment_of(bytes.fromhex(vector["hex"])[5:-2])
    assert moment is not None
    assert moment.ecg_count == expected["ecg"]
    assert moment.lead_off is expected["lead_off"]
    assert (moment.spo2_percent, moment.heart_rate_bpm) == (expected["spo2"], expected["hr"])
    assert (moment.temperature_ce2, moment.respiration_bpm) == (3672, expected["rr"])


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(min_size=20, max_size=20))
def test_healthypi_v4_never_makes_a_blood_pressure(payload: bytes) -> None:
    driver = healthypi_v4.Driver()
    driver.open()
    assert not of_type(driver.feed(frame_of(payload) * 20).events, BloodPressure)
    assert not {metric.key for metric in driver.about.metrics} & {"systolic_mmhg", "diastolic_mmhg"}


@pytest.mark.parametrize(("board", "twin_of"), BOARDS)
def test_healthypi_gives_the_very_counts_and_one_number_a_second(board: Any, twin_of: Any) -> None:
    twin, driver = twin_of(SynthesisedEcg(seed=1)), board.Driver()
    driver.open()
    events = driver.feed(twin.advance(5.0)).events + settled(driver) + driver.tick(0.5).events
    assert np.array_equal(counts_of(events), twin.sent(twin.samples_sent))
    spo2 = of_type(events, PulseOximetry)
    assert len(spo2) == 5 + 1
    assert spo2[:-1] == [PulseOximetry(98, None)] * 5
    assert spo2[-1].spo2_percent is None  # the line fell silent
    assert of_type(events, HeartRate)[:5] == [HeartRate(72)] * 5
    assert of_type(events, Temperature)[0] == Temperature(34.5, final=False)


@pytest.mark.parametrize(("board", "twin_of"), BOARDS)
def test_healthypi_believes_a_number_only_after_a_tenth_of_a_second(board: Any, twin_of: Any) -> None:
    twin, driver = twin_of(SynthesisedEcg(seed=1)), board.Driver()
    driver.open()
    agreeing = round(board.SAMPLE_RATE_HZ * 0.1)
    assert not of_type(driver.feed(frames(twin, agreeing - 1)).events, PulseOximetry)
    twin.person = Person(spo2_percent=97)
    assert not of_type(driver.feed(frames(twin, agreeing - 1)).events, PulseOximetry)
    assert of_type(driver.feed(frames(twin, 1)).events, PulseOximetry) == [PulseOximetry(97, None)]


def frames(twin: HealthyPiTwin, n: int) -> bytes:
    return twin.advance((n + 1e-6) / twin.sample_rate_hz)


@pytest.mark.parametrize(("board", "twin_of"), BOARDS)
def test_healthypi_sensors_off_take_their_numbers_back_at_once(board: Any, twin_of: Any) -> None:
    twin, driver = twin_of(SynthesisedEcg(seed=1)), board.Driver()
    driver.open()
    driver.feed(twin.advance(2.0))
    twin.person = Person(None, None, None, None, electrodes_on=False)
    events = driver.feed(twin.advance(0.5)).events
    assert of_type(events, PulseOximetry) == [PulseOximetry(None, None)]
    assert of_type(events, HeartRate) == [HeartRate(None)]
    assert of_type(events, Temperature) == [Temperature(None, final=False)]
    assert (counts_of(events)[6:] == INVALID_COUNT).all()


def test_healthypi_v4_tells_a_loose_electrode_and_its_return() -> None:
    twin, driver = HealthyPiTwin(SynthesisedEcg(seed=1)), healthypi_v4.Driver()
    driver.open()
    states = []
    for on in (True, False, True):
        twin.person = Person(electrodes_on=on)
        states += of_type(driver.feed(twin.advance(1.0)).events, DeviceState)
    assert [(state.sensor, state.leads_off) for state in states] == [
        (Sensor.OK, ()),
        (Sensor.LEAD_OFF, ("I",)),
        (Sensor.OK, ()),
    ]


@pytest.mark.parametrize(
    ("board", "offset", "patch"),
    [
        pytest.param(healthypi_v4, 15, b"\x65", id="v4-spo2-above-100"),
        pytest.param(healthypi_v4, 19, b"\x80", id="v4-lead-bits-that-do-not-exist"),
        pytest.param(healthypi_v4, 12, b"\xff\xff", id="v4-skin-of-655-cel"),
        pytest.param(healthypi_v5, 0, b"\xff\xff\xff\x7f", id="v5-more-than-18-bits"),
        pytest.param(healthypi_v5, 8, b"\x07", id="v5-flag-that-does-not-exist"),
        pytest.param(healthypi_v5, 17, b"\xff\xff", id="v5-skin-below-zero"),
        pytest.param(healthypi_v5, 19, b"\xff", id="v5-spo2-above-100"),
    ],
)
def test_healthypi_a_frame_that_contradicts_itself_is_a_gap_and_no_number(
    board: Any, offset: int, patch: bytes
) -> None:
    twin = (HealthyPiTwin if board is healthypi_v4 else HealthyPi5Twin)(SynthesisedEcg(seed=1))
    whole = bytearray(twin.advance(0.5))
    size = board.PAYLOAD.size + 7
    at = 20 * size + 5 + offset
    whole[at : at + len(patch)] = patch
    driver = board.Driver()
    driver.open()
    counts = counts_of(driver.feed(bytes(whole)).events + settled(driver))
    expected = twin.sent(twin.samples_sent).copy()
    expected[20] = INVALID_COUNT
    assert np.array_equal(counts, expected)
    assert driver.counters.gaps == 1


@pytest.mark.parametrize(("board", "twin_of"), BOARDS)
@pytest.mark.parametrize("fault", ["lost", "inserted", "burst"])
def test_healthypi_spoiled_bytes_become_a_gap_and_the_index_stays_true(board: Any, twin_of: Any, fault: str) -> None:
    twin, driver = twin_of(SynthesisedEcg(seed=2)), board.Driver()
    whole, size = twin.advance(2.0), board.PAYLOAD.size + 7
    at = 100 * size + 9
    spoiled = {
        "lost": whole[:at] + whole[at + 1 :],
        "inserted": whole[:at] + b"\x55" + whole[at:],
        "burst": whole[:at] + b"\x0a\xfa" * size + whole[at + 2 * size :],
    }[fault]
    driver.open()
    counts = counts_of(driver.feed(spoiled).events + settled(driver))
    sent = twin.sent(twin.samples_sent)
    assert len(counts) == len(sent)
    gap = np.flatnonzero(counts[:, 0] == INVALID_COUNT)
    assert 1 <= len(gap) <= 3
    assert gap[0] == 100
    assert np.array_equal(np.delete(counts, gap, 0), np.delete(sent, gap, 0))


def test_healthypi_frames_missing_against_the_clock_begin_a_new_segment() -> None:
    twin, driver = HealthyPiTwin(SynthesisedEcg(seed=2)), healthypi_v4.Driver()
    driver.open()
    segments = set()
    for second in range(9):
        came = twin.advance(1.0)
        if second != 5:
            segments |= {samples.segment for samples in of_type(driver.feed(came).events, Samples)}
        driver.tick(1.0)
    assert segments == {1, 2}


def test_healthypi_a_thousand_faults_give_no_wrong_number() -> None:
    """The noise experiment of the protocol notes, on a protocol without checksum."""
    random = np.random.default_rng(4)
    twin, driver = HealthyPiTwin(SynthesisedEcg(seed=3)), healthypi_v4.Driver()
    stream = bytearray(twin.advance(40.0))
    for at in sorted(random.choice(len(stream) - 1, 1000, replace=False), reverse=True):
        match random.integers(3):
            case 0:
                stream[at] ^= 1 << int(random.integers(8))
            case 1:
                del stream[at]
            case _:
                stream.insert(at, int(random.integers(256)))
    driver.open()
    events = driver.feed(bytes(stream)).events
    assert {reading.spo2_percent for reading in of_type(events, PulseOximetry)} == {98}
    assert {reading.heart_rate_bpm for reading in of_type(events, HeartRate)} == {72}
    assert {reading.temperature_c for reading in of_type(events, Temperature)} == {34.5}
    assert abs(len(counts_of(events)) - 5000) < 50


# OpenBCI Cyton


@needs_shared
def test_cyton_vector() -> None:
    (vector,) = (param.values[0] for param in vectors("OpenBCI Cyton"))
    frame, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    assert frame[1] == expected["id"]
    assert list(openbci_cyton.counts_of(frame)) == expected["counts"]
    leads = openbci_cyton.leads_uv(openbci_cyton.counts_of(frame))
    assert [lead is None for lead in leads] == [False] * 4 + [True, True, False, False]
    scale = 4.5 / 24 / (2**23 - 1) * 1e6
    assert leads[0] == pytest.approx(expected["counts"][0] * scale)


def started(twin: CytonTwin) -> openbci_cyton.Driver:
    driver = openbci_cyton.Driver()
    for write in driver.open().writes:
        for reply in driver.feed(twin.receive(write.payload)).writes:
            twin.receive(reply.payload)
    assert twin.streaming
    return driver


def test_cyton_is_reset_asked_who_it_is_and_started() -> None:
    driver = started(CytonTwin(SynthesisedEcg(seed=1)))
    assert driver.identity is not None
    assert (driver.identity.model, driver.identity.firmware) == ("OpenBCI V3 8-16 channel", "v3.1.2")
    assert [write.payload for write in driver.close().writes] == [openbci_cyton.STOP]


def test_cyton_whose_greeting_is_missed_is_started_all_the_same() -> None:
    driver = openbci_cyton.Driver()
    driver.open()
    sent = [write.payload for _ in range(50) for write in driver.tick(0.1).writes]
    assert sent == [openbci_cyton.START]


def test_cyton_a_stream_from_before_the_reset_is_passed_over() -> None:
    left_over = CytonTwin(SynthesisedEcg(seed=1))
    left_over.receive(openbci_cyton.START)
    driver = openbci_cyton.Driver()
    driver.open()
    assert not driver.feed(left_over.advance(1.0)).events
    assert [write.payload for write in driver.feed(cyton_twin.GREETING).writes] == [openbci_cyton.START]
    assert of_type(driver.feed(left_over.advance(1.0)).events, Samples)


def test_cyton_gives_the_leads_of_the_heart_without_the_electrodes_offsets() -> None:
    """R peaks as the source made them, although the electrodes stand at tens of millivolts and wander."""
    twin = CytonTwin(SynthesisedEcg(seed=1))
    driver = started(twin)
    counts = counts_of(driver.feed(twin.advance(20.0)).events).astype(float)
    wave_uv = SynthesisedEcg(seed=1).next_uv(10_000)[::2]
    heights = [np.ptp(counts[1250:], axis=0), np.ptp(wave_uv[1250 : len(counts)], axis=0)]
    assert np.allclose(heights[0], heights[1], rtol=0.05)
    assert np.abs(np.median(counts[1250:], axis=0)).max() < 500
    follow = [np.corrcoef(counts[1250:, lead], wave_uv[1250 : len(counts), lead])[0, 1] for lead in range(8)]
    assert min(follow) > 0.98


def test_cyton_samples_lost_on_the_air_are_counted_and_the_index_goes_on() -> None:
    twin = CytonTwin(SynthesisedEcg(seed=1))
    driver = started(twin)
    stream = twin.advance(1.0)
    twin.lost_on_air = 30
    counts = counts_of(driver.feed(stream + twin.advance(1.0)).events + settled(driver))
    assert len(counts) == 500
    assert np.flatnonzero((counts == INVALID_COUNT).all(axis=1)).tolist() == list(range(250, 280))
    assert driver.counters.gaps == 1


def test_cyton_a_long_loss_on_the_air_is_a_jump_of_the_index() -> None:
    twin = CytonTwin(SynthesisedEcg(seed=1))
    driver = started(twin)
    stream = twin.advance(1.0)
    twin.lost_on_air = 200
    chunks = of_type(driver.feed(stream + twin.advance(2.0)).events + settled(driver), Samples)
    assert {chunk.segment for chunk in chunks} == {chunks[0].segment}
    assert chunks[-1].last_index == 749
    assert sum(len(chunk.counts) for chunk in chunks) == 550


def test_cyton_a_frame_with_a_spoiled_number_is_a_gap_of_one() -> None:
    twin = CytonTwin(SynthesisedEcg(seed=1))
    driver = started(twin)
    stream = bytearray(twin.advance(1.0))
    stream[100 * 33 + 1] ^= 0x40
    counts = counts_of(driver.feed(bytes(stream)).events + settled(driver))
    assert np.flatnonzero((counts == INVALID_COUNT).all(axis=1)).tolist() == [100]
    assert len(counts) == 250


def test_cyton_a_limb_electrode_off_takes_the_chest_leads_with_it() -> None:
    twin = CytonTwin(SynthesisedEcg(seed=1))
    driver = started(twin)
    twin.leads_off = frozenset({"II"})
    events = driver.feed(twin.advance(1.0)).events
    (state,) = of_type(events, DeviceState)
    assert (state.sensor, state.leads_off) == (Sensor.LEAD_OFF, ("II", "V1", "V2", "V3", "V4", "V5", "V6"))
    counts = counts_of(events)
    assert (counts[:, 1:] == INVALID_COUNT).all()
    assert (counts[:, 0] != INVALID_COUNT).all()


def test_cyton_both_ends_of_the_converter_are_no_value() -> None:
    frame = cyton_twin.frame_of(0, [*openbci_cyton.RAILS, 0, 0, 0, 0, 0, 0])
    assert openbci_cyton.counts_of(frame)[:2] == struct.unpack(">ii", bytes.fromhex("007FFFFFFF800000"))
    assert openbci_cyton.leads_uv(openbci_cyton.counts_of(frame)) == [None] * 8


# AC coupling


def test_ac_coupling_keeps_what_a_diagnostic_ecg_has_to_keep() -> None:
    """IEC 60601-2-25: after 3 mV for 100 ms the trace is off by no more than 0.1 mV and slopes by at most 0.3 mV/s."""
    coupling = AcCoupling(1, 500.0)
    for _ in range(10_000):
        coupling.row([50_000.0])
    pulse = [coupling.row([53_000.0])[0] for _ in range(50)]
    after = [coupling.row([50_000.0])[0] for _ in range(500)]
    assert pulse[0] == pytest.approx(3000, abs=3)
    assert min(after) >= -100
    assert abs(after[250] - after[0]) / 0.5 <= 300


def test_ac_coupling_begins_anew_after_a_jump_or_a_pause_of_a_second() -> None:
    coupling = AcCoupling(1, 250.0)
    assert [coupling.row([value])[0] for value in (1000.0, 1000.0, 90_000.0, 90_000.0)] == [0, 0, INVALID_COUNT, 0]
    for _ in range(250):
        assert coupling.row([None]) == (INVALID_COUNT,)
    assert coupling.row([-120_000.0]) == (0,)

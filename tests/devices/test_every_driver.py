"""What every driver owes, whoever wrote it: found by the catalog, so a new file is tested the moment it is there."""

from __future__ import annotations

import math
import random
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from device_captures import agreed, as_agreed, captures_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import aa55, catalog
from devices.capture import read_capture, run_through, settled
from devices.driver import About, DriverContract, GattUse, Output, SerialLine, TcpListener, Write
from devices.drivers.sam_id_card import id_number_valid
from devices.event_json import event_json
from devices.readings import (
    BloodPressure,
    DeviceState,
    Event,
    Glucose,
    HeartRate,
    IdentityCard,
    LaboratoryResult,
    Position,
    PulseOximetry,
    Samples,
    StoredOximetry,
    Temperature,
    Weight,
)


def is_stream(about: About) -> bool:
    """Whether its bytes may come cut and joined anywhere."""
    by_wire = bool(about.lines(SerialLine)) or bool(about.lines(TcpListener))
    return by_wire or any(use.is_stream for use in about.lines(GattUse))


DRIVERS = sorted(catalog.drivers())
STREAMS = [driver_id for driver_id in DRIVERS if is_stream(catalog.about(driver_id))]
CAPTURES = [pytest.param(path, id=f"{name}/{path.name}") for name in DRIVERS for path in captures_of(name)]
STREAM_CAPTURES = [pytest.param(path, id=f"{name}/{path.name}") for name in STREAMS for path in captures_of(name)]
NEVER_SENT = {
    "contec_08a": [b"\x41\x8f", bytes.fromhex("434101150200"), bytes.fromhex("434101070200"), b"\x44", b"\x46"],
    "contec_ecg90a": [b"\x8b", b"\x8c", b"\x8d", b"\x87"],
    "contec_cms50_v7": [b"\x7d\x81\xae", b"\x7d\x81\xb1", b"\x7d\x81\xb2"],
    "contec_8000g": [b"\x8b", b"\x8c", b"\x8d"],
    "sam_id_card": [bytes.fromhex("AAAAAA96690003 10FF EC"), bytes.fromhex("AAAAAA96690004 61FF")],
    "bluetooth_glucose": [b"\x02"],
    "bluetooth_pulse_oximeter": [b"\x02"],
    "creative_oximeter": [aa55.packet(0x0F, type_) for type_ in (0x87, 0x92)]
    + [aa55.packet(0xF0, type_) for type_ in (0x85, 0xC2)],
    "creative_pc300": [aa55.packet(token, 0x01) for token in (0x40, 0x30, 0xE3, 0xE5)]
    + [aa55.packet(0xFF, 0x03), aa55.packet(0xFF, 0x20), aa55.packet(0x72, 0x02)],
    "sinocare_ba80x": [bytes.fromhex("04B0A155")],
    "contec_cms50d_bt": [b"\x9d\x7f", b"\xa1", b"\x83"],
    "quectel_5g": [
        b"AT+CFUN=0\r",
        b'AT+QCFG="usbnet",1\r',
        b"AT+EGMR=1,7\r",
        b'AT+QNWLOCK="common/5g"\r',
        b"AT+QPOWD\r",
    ],
    "fibocom_5g": [b"AT+CFUN=0\r", b"AT+GTUSBMODE=32\r", b"AT+GTACT=14\r", b"AT+GTCELLLOCK=1\r", b"AT+EGMR=1,7\r"],
}
"""Commands that erase, reconfigure or set a cuff going (devices' protocol notes)."""
quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


class Watched:
    """A driver whose outputs are checked and whose writes are kept."""

    def __init__(self, driver: DriverContract) -> None:
        self.driver = driver
        self.writes: list[Write] = []

    def took(self, output: Output) -> list[Event]:
        self.writes += output.writes
        for event in output.events:
            assert_sane(event)
        return output.events

    def channels(self) -> list[str]:
        named = [name for use in self.driver.about.lines(GattUse) for name in (*use.subscribe, *use.read)]
        return named if named and not is_stream(self.driver.about) else [""]


def assert_sane(event: Event) -> None:
    """No special value became a number, nothing is out of what the quantity can be."""
    match event:
        case Samples():
            assert event.counts.dtype == "int16"
            assert event.counts.shape == (len(event.counts), len(event.channels))
            assert len(event.counts) > 0
            assert event.first_index >= 0
        case PulseOximetry():
            assert event.spo2_percent is None or 1 <= event.spo2_percent <= 100
            assert event.pulse_bpm is None or 1 <= event.pulse_bpm <= 350
            assert event.perfusion_index_percent is None or 0 <= event.perfusion_index_percent < 655.35
        case StoredOximetry():
            assert len(event.spo2_percent) == len(event.pulse_bpm) > 0
            assert event.interval_s > 0
            assert all(said is None or 1 <= said <= 100 for said in event.spo2_percent)
            assert all(said is None or 1 <= said <= 350 for said in event.pulse_bpm)
        case BloodPressure():
            for said in (event.systolic_mmhg, event.diastolic_mmhg, event.mean_mmhg, event.pulse_bpm):
                assert said is None or math.isfinite(said)
        case Glucose():
            assert event.glucose_mmol_l is None or math.isfinite(event.glucose_mmol_l)
        case Temperature():
            assert event.temperature_c is None or math.isfinite(event.temperature_c)
            assert event.temperature_c is not None or not event.final
        case Weight():
            assert event.weight_kg is not None
            assert 0 <= event.weight_kg < 0xFFFF * 0.005
        case HeartRate():
            assert event.heart_rate_bpm is None or event.heart_rate_bpm > 0
            assert all(rr_ms > 0 for rr_ms in event.rr_ms)
            assert len(event.rr_ms) <= 32
        case LaboratoryResult():
            assert event.values
            for found in event.values:
                assert found.said
                assert found.number is None or float(found.said.lstrip("<>=≤≥ ")) == found.number
                assert found.quantity is None or (found.number is not None and found.key and found.ucum)
        case Position():
            assert (event.latitude_deg is None) == (event.longitude_deg is None)
            assert event.latitude_deg is None or abs(event.latitude_deg) <= 90
            assert event.longitude_deg is None or abs(event.longitude_deg) <= 180
            assert event.accuracy_m is None or math.isfinite(event.accuracy_m)
        case IdentityCard():
            assert event.name
            assert id_number_valid(event.id_number)
        case DeviceState():
            assert event.battery_percent is None or 0 <= event.battery_percent <= 100


def made(driver_id: str) -> Watched:
    return Watched(catalog.driver(driver_id)())


def stream_bytes(path: Any) -> bytes:
    return b"".join(chunk for _, chunk in read_capture(path).received)


def heard(driver_id: str, chunks: list[bytes]) -> list[dict[str, Any]]:
    """What a fresh driver makes of chunks, as JSON, so that arrays compare."""
    watched = made(driver_id)
    events = watched.took(watched.driver.open())
    for chunk in chunks:
        events = events + watched.took(watched.driver.feed(chunk))
    return [event_json(event) for event in events + settled(watched.driver)]


def test_the_catalog_finds_the_drivers_of_this_house() -> None:
    assert set(DRIVERS) >= {
        "bluetooth_blood_pressure",
        "bluetooth_glucose",
        "contec_8000g",
        "contec_cms50_v7",
        "nmea_gnss",
        "sam_id_card",
    }
    with pytest.raises(catalog.DriverUnknown, match="contec_8000g"):
        catalog.driver("contec_9000")


@pytest.mark.parametrize("driver_id", DRIVERS)
def test_has_a_capture_honestly_marked(driver_id: str) -> None:
    paths = captures_of(driver_id)
    assert paths, f"record one: python -m devices record {driver_id} tests/captures/{driver_id}/<title>.capture.jsonl"
    heads = [read_capture(path).head for path in paths]
    assert all(head.driver == driver_id and head.display and head.source and head.device for head in heads)
    if not any(head.kind == "real" for head in heads):
        assert catalog.about(driver_id).hardware_tested == "no"


@pytest.mark.parametrize("driver_id", DRIVERS)
def test_says_what_it_is(driver_id: str) -> None:
    about = catalog.about(driver_id)
    assert about.title_zh
    assert about.title_en
    assert about.models
    assert about.metrics
    assert about.source
    assert about.lost_after_s > 0


@pytest.mark.parametrize("path", CAPTURES)
def test_capture_gives_the_agreed_readings(path: Any) -> None:
    expected = agreed(path)
    capture = read_capture(path)
    events = run_through(catalog.driver(capture.head.driver)(), capture)
    assert as_agreed(events, expected["samples"]) == expected


@pytest.mark.parametrize("path", STREAM_CAPTURES)
def test_byte_by_byte_is_the_same_as_in_one_piece(path: Any) -> None:
    driver_id, whole = path.parent.name, stream_bytes(path)
    assert heard(driver_id, [whole[i : i + 1] for i in range(len(whole))]) == heard(driver_id, [whole])


@pytest.mark.parametrize("path", STREAM_CAPTURES)
@quick
@given(data=st.data())
def test_any_cut_gives_the_same(path: Any, data: st.DataObject) -> None:
    driver_id, whole = path.parent.name, stream_bytes(path)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    pieces = [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]
    assert heard(driver_id, pieces) == heard(driver_id, [whole])


@pytest.mark.parametrize("path", CAPTURES)
@quick
@given(data=st.data())
def test_noise_never_raises_and_is_overcome(path: Any, data: st.DataObject) -> None:
    """Random bytes, cut and mixed with good ones; afterwards the capture is understood again."""
    capture = read_capture(path)
    watched = made(capture.head.driver)
    watched.took(watched.driver.open())
    good = [chunk for _, chunk in capture.received if chunk]
    noise = st.one_of(
        st.binary(max_size=200),
        st.sampled_from(good).flatmap(lambda chunk: st.integers(0, len(chunk)).map(lambda n: chunk[:n])),
    )
    for chunk in data.draw(st.lists(noise, max_size=10)):
        watched.took(watched.driver.feed(chunk, data.draw(st.sampled_from(watched.channels()))))
        watched.took(watched.driver.tick(data.draw(st.sampled_from([0.0, 0.1, 7.0]))))
    watched.took(watched.driver.tick(40.0))
    if is_stream(watched.driver.about):
        again = replayed_without_opening(watched, capture)
        assert kinds(again) == kinds(run_through(catalog.driver(capture.head.driver)(), capture))
    watched.took(watched.driver.close())
    assert_allowed(watched)


def replayed_without_opening(watched: Watched, capture: Any) -> list[Event]:
    """The capture three times over, as a device that goes on: the first may fall victim to what noise left open."""
    events: list[Event] = []
    for _ in range(3):
        now_s = 0.0
        for step in capture.steps:
            events += watched.took(watched.driver.tick(max(0.0, step.t - now_s)))
            now_s = max(now_s, step.t)
            if (chunk := step.received) is not None:
                events += watched.took(watched.driver.feed(chunk, step.channel))
        events += settled(watched.driver)
        events += watched.took(watched.driver.tick(7.0))
    return events


def kinds(events: list[Event]) -> set[str]:
    return {type(event).__name__ for event in events} - {"DeviceState", "CardRemoved"}


@pytest.mark.parametrize("driver_id", DRIVERS)
def test_sends_only_what_is_allowed(driver_id: str) -> None:
    for path in captures_of(driver_id):
        watched = made(driver_id)
        watched.took(watched.driver.open())
        for step in read_capture(path).steps:
            if (chunk := step.received) is not None:
                watched.took(watched.driver.feed(chunk, step.channel))
            watched.took(watched.driver.tick(0.5))
        for _ in range(100):
            watched.took(watched.driver.tick(1.0))
        watched.took(watched.driver.close())
        assert_allowed(watched)


def assert_allowed(watched: Watched) -> None:
    for write in watched.writes:
        assert write.payload.startswith(watched.driver.allowed_writes)
        assert write.channel in ("", *watched.channels())


@pytest.mark.parametrize("driver_id", NEVER_SENT)
def test_could_never_erase_or_reconfigure(driver_id: str) -> None:
    for allowed in catalog.driver(driver_id)().allowed_writes:
        assert not any(forbidden.startswith(allowed) for forbidden in NEVER_SENT[driver_id])


@pytest.mark.parametrize("driver_id", DRIVERS)
def test_memory_is_bounded(driver_id: str) -> None:
    """A third of a megabyte of noise, and as much of half frames, leave no more behind than a few chunks."""
    noise = random.Random(driver_id)
    beginnings = [
        chunk[: max(1, len(chunk) // 2)] for path in captures_of(driver_id) for _, chunk in read_capture(path).received
    ]
    watched = made(driver_id)
    watched.driver.open()
    watched.driver.feed(noise.randbytes(4096), watched.channels()[0])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(640):
            watched.driver.feed(noise.randbytes(512), watched.channels()[0])
            watched.driver.feed(noise.choice(beginnings), watched.channels()[0])
            watched.driver.feed(b"\x01" * 512, watched.channels()[0])
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 256 * 1024


@pytest.mark.parametrize("driver_id", DRIVERS)
def test_opening_again_forgets_the_half_frame(driver_id: str) -> None:
    for path in captures_of(driver_id):
        capture = read_capture(path)
        expected = agreed(path)
        driver = catalog.driver(driver_id)()
        driver.open()
        channel, chunk = capture.received[0]
        driver.feed(chunk[: len(chunk) // 2], channel)
        driver.close()
        again = as_agreed(run_through(driver, capture), expected["samples"])
        assert [event["type"] for event in again["events"]] == [event["type"] for event in expected["events"]]
        assert again["samples"] == expected["samples"]

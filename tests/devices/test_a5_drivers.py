"""Creative PC-80B, Viatom ER1, BP2 and O2Ring, AOJ-20A: published bytes, special values, what is lost or never sent."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from device_captures import needs_shared, vectors

from devices import catalog, viatom
from devices.crc8 import crc8_maxim, crc8_smbus
from devices.driver import DriverContract
from devices.drivers import aoj_20a, creative_pc80b, viatom_bp2, viatom_er1, viatom_o2ring
from devices.framing import xor8
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
from devices.simulators.aoj_20a import Aoj20aTwin
from devices.simulators.creative_pc80b import Pc80bTwin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.twin import Twin
from devices.simulators.viatom import Bp2Twin, CuffResult, Er1Twin, O2RingTwin, Worn, answered

STEP_S = 0.1


def counts_of(events: list[Event]) -> Any:
    return np.concatenate([event.counts for event in events if isinstance(event, Samples)])


def laid_out(events: list[Event]) -> Any:
    """Samples where their index puts them; what is missing has no value."""
    chunks = [event for event in events if isinstance(event, Samples)]
    counts = np.full((chunks[-1].last_index + 1, 1), INVALID_COUNT, np.int16)
    for chunk in chunks:
        counts[chunk.first_index : chunk.last_index + 1] = chunk.counts
    return counts


def of_type(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Talk:
    """A driver and a twin on one wire, in simulated time."""

    def __init__(self, driver: DriverContract, twin: Twin, spoil: Callable[[bytes], bytes] = lambda sent: sent) -> None:
        self.driver, self.twin, self.spoil = driver, twin, spoil
        self.sent: list[bytes] = []
        self.events = self._exchange(driver.open())

    def run(self, seconds: float) -> list[Event]:
        """What the driver tells meanwhile."""
        events: list[Event] = []
        for _ in range(round(seconds / STEP_S)):
            events += self._exchange(self.driver.tick(STEP_S))
            events += self._exchange(self.driver.feed(self.spoil(self.twin.advance(STEP_S))))
        self.events += events
        return events

    def _exchange(self, output: Any) -> list[Event]:
        events: list[Event] = list(output.events)
        for write in output.writes:
            self.sent.append(write.payload)
            events += self._exchange(self.driver.feed(self.spoil(self.twin.receive(write.payload))))
        return events


# published bytes


@pytest.mark.parametrize("vector", [vector for device in ("PC-80B", "Viatom", "AOJ-20A") for vector in vectors(device)])
def test_published_frames_have_the_check_byte_we_reckon(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    if "xor" in vector["protocol"] or "C1" in vector["protocol"]:
        assert frame[-1] == xor8(frame[1:-1])
    elif "MAXIM" in vector["protocol"]:
        assert frame[-1] == crc8_maxim(frame[:-1])
    else:
        assert frame[-1] == crc8_smbus(frame[:-1])


@needs_shared
def test_what_we_send_is_what_is_published() -> None:
    published = {param.values[0]["hex"] for device in ("PC-80B", "Viatom", "AOJ-20A") for param in vectors(device)}
    ours = (
        creative_pc80b.ASK_VERSIONS,
        creative_pc80b.acknowledge(1),
        viatom_er1.ASK_INFO,
        viatom_bp2.ASK_REAL_TIME,
        viatom_o2ring.ASK_REAL_TIME,
        aoj_20a.ASK_STATE,
    )
    assert {frame.hex().upper() for frame in ours} <= published
    assert bytes.fromhex("A5FF01003E") == creative_pc80b.KEEP_ALIVE
    assert bytes.fromhex("A5550100A2") == creative_pc80b.ACCEPT


@needs_shared
def test_published_temperature() -> None:
    by_id = {param.id: param.values[0] for param in vectors("AOJ-20A")}
    driver = aoj_20a.Driver()
    driver.open()
    (reading,) = of_type(driver.feed(bytes.fromhex(by_id["053"]["hex"])).events, Temperature)
    assert reading == Temperature(by_id["053"]["expected"]["temp"], site="forehead", mode="adult")


NEVER_SENT = {
    "creative_pc80b": [creative_pc80b.command(0x33, bytes(8)), creative_pc80b.command(0x55, b"\x01")],
    "viatom_er1": [viatom.frame_of(code) for code in (0xE2, 0xE3, 0xEE, 0xEC, 0x04, 0xF2, 0xEA)],
    "viatom_bp2": [viatom.frame_of(code) for code in (0xE2, 0xE3, 0xEE, 0xEC, 0x09, 0x0B, 0x0F)],
    "viatom_o2ring": [viatom.frame_of(code, head=0xAA) for code in (0x16, 0x18, 0x19, 0x1A)],
    "aoj_20a": [aoj_20a.command(0xD2, bytes(5)), aoj_20a.command(0xD4), aoj_20a.command(0xD1, bytes(3))],
}


@pytest.mark.parametrize("driver_id", NEVER_SENT)
def test_could_never_erase_set_or_reconfigure(driver_id: str) -> None:
    for allowed in catalog.driver(driver_id)().allowed_writes:
        assert not any(forbidden.startswith(allowed) for forbidden in NEVER_SENT[driver_id])


# PC-80B


@pytest.mark.parametrize("track", [False, True], ids=["live", "track"])
def test_pc80b_gives_the_very_counts(track: bool) -> None:
    twin = Pc80bTwin(SynthesisedEcg(seed=1), track=track)
    talk = Talk(creative_pc80b.Driver(), twin)
    talk.run(5.0)
    assert np.array_equal(counts_of(talk.events), twin.sent(twin.samples_sent))
    assert HeartRate(72) in talk.events
    assert of_type(talk.events, DeviceState)[-1].battery_percent == 67


def test_pc80b_says_who_it_is() -> None:
    talk = Talk(creative_pc80b.Driver(), Pc80bTwin(SynthesisedEcg(seed=1)))
    talk.run(1.0)
    identity = talk.driver.identity  # type: ignore[attr-defined]
    assert (identity.model, identity.serial, identity.firmware) == ("PC-80B", "XZ0000000012", "1.1.0.7")


def test_pc80b_acknowledges_as_it_is_asked_to_and_keeps_alive() -> None:
    twin = Pc80bTwin(SynthesisedEcg(seed=1))
    talk = Talk(creative_pc80b.Driver(), twin)
    talk.run(25.0)
    talk._exchange(talk.driver.feed(twin.finish()))
    assert twin.acknowledged[:3] == [0, 64, 128]
    assert len(twin.acknowledged) == 4
    assert 22 <= talk.sent.count(creative_pc80b.KEEP_ALIVE) <= 25


def test_pc80b_lost_packets_are_a_gap_of_their_length() -> None:
    twin = Pc80bTwin(SynthesisedEcg(seed=1))
    talk = Talk(creative_pc80b.Driver(), twin)
    talk.run(2.0)
    twin.spoiled_frames = 2
    talk.run(2.0)
    counts = counts_of(talk.events)
    assert (counts == INVALID_COUNT).sum() == 50
    assert np.array_equal(counts, twin.sent(twin.samples_sent))
    assert talk.driver.counters.gaps == 1


def test_pc80b_hands_off_is_no_sample_and_takes_the_heart_rate_back() -> None:
    twin = Pc80bTwin(SynthesisedEcg(seed=1))
    talk = Talk(creative_pc80b.Driver(), twin)
    talk.run(2.0)
    twin.lead_off = True
    events = talk.run(1.0)
    assert HeartRate(None) in events
    assert of_type(events, DeviceState)[-1].leads_off == ("ECG",)
    assert (counts_of(events)[-50:] == INVALID_COUNT).all()


@pytest.mark.parametrize(("sample", "count"), [(0, INVALID_COUNT), (4095, INVALID_COUNT), (2048, 0), (0xF801, 1)])
def test_pc80b_ends_of_the_converter_are_no_value(sample: int, count: int) -> None:
    assert creative_pc80b.count_of(sample & 0xFFFF) == count


@pytest.mark.parametrize("said", [0, 255])
def test_pc80b_special_heart_rates_are_no_numbers(said: int) -> None:
    twin = Pc80bTwin(SynthesisedEcg(seed=1))
    twin.heart_rate_bpm = said
    talk = Talk(creative_pc80b.Driver(), twin)
    talk.run(2.0)
    assert not of_type(talk.events, HeartRate)


# ER1


def test_er1_is_asked_twice_a_second_and_gives_the_very_counts() -> None:
    twin = Er1Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_er1.Driver(), twin)
    talk.run(10.0)
    counts = counts_of(talk.events)
    assert len(counts) > 1100
    assert np.array_equal(counts, twin.sent())
    assert len({samples.segment for samples in of_type(talk.events, Samples)}) == 1
    assert 16 <= talk.sent.count(viatom_er1.ASK_REAL_TIME) <= 21
    assert HeartRate(71) in talk.events
    assert talk.driver.identity.serial == "2147000012"  # type: ignore[attr-defined]


def test_er1_a_spoiled_answer_is_a_gap_of_its_samples() -> None:
    spoiling = [False]

    def spoil(sent: bytes) -> bytes:
        spoiled = spoiling[0] and len(sent) > 60
        spoiling[0] = spoiling[0] and not spoiled
        return sent[:40] + bytes((sent[40] ^ 1,)) + sent[41:] if spoiled else sent

    twin = Er1Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_er1.Driver(), twin, spoil)
    talk.run(3.0)
    spoiling[0] = True
    talk.run(3.0)
    counts, sent = laid_out(talk.events), twin.sent()
    gap = np.flatnonzero(counts[:, 0] == INVALID_COUNT)
    assert len(counts) == len(sent)
    assert 55 <= len(gap) <= 70
    assert np.array_equal(np.delete(counts, gap, 0), np.delete(sent, gap, 0))
    assert talk.driver.counters.bad_checksums >= 1


def test_er1_answers_that_never_come_open_a_new_segment() -> None:
    silent = [False]
    twin = Er1Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_er1.Driver(), twin, lambda sent: b"" if silent[0] else sent)
    talk.run(5.0)
    silent[0] = True
    talk.run(1.5)
    silent[0] = False
    talk.run(6.0)
    assert len({samples.segment for samples in of_type(talk.events, Samples)}) == 2


def test_er1_half_an_answer_is_given_up_for_the_next_ones() -> None:
    twin = Er1Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_er1.Driver(), twin)
    talk.run(3.0)
    talk.driver.feed(b"\xa5\x03\xfc\x01\x00\xf0\x07")  # announces 2032 bytes
    events = talk.run(3.0)
    assert len(counts_of(events)) >= 120
    assert not (counts_of(events)[-60:] == INVALID_COUNT).any()


@pytest.mark.parametrize("state", [0, 6, 7])
def test_er1_electrodes_off_is_no_sample_and_no_number(state: int) -> None:
    driver = viatom_er1.Driver()
    driver.open()
    parameters = struct.pack("<HBBIB11x", 72, 0, 50, 0, state) + struct.pack("<H3h", 3, 100, 0x7FFF, -5)
    events = driver.feed(viatom.frame_of(viatom_er1.REAL_TIME, parameters, kind=1)).events
    assert not of_type(events, HeartRate)
    assert (counts_of(events) == INVALID_COUNT).all()
    assert of_type(events, DeviceState)[-1].sensor is Sensor.LEAD_OFF


def test_er1_special_values_are_no_values() -> None:
    driver = viatom_er1.Driver()
    driver.open()
    parameters = struct.pack("<HBBIB11x", 0xFFFF, 0, 101, 0, 2) + struct.pack("<H4h", 4, 100, 0x7FFF, -5, -32768)
    events = driver.feed(viatom.frame_of(viatom_er1.REAL_TIME, parameters, kind=1)).events
    assert counts_of(events)[:, 0].tolist() == [100, INVALID_COUNT, -5, INVALID_COUNT]
    assert not of_type(events, HeartRate)
    assert all(state.battery_percent is None for state in of_type(events, DeviceState))
    assert pytest.approx(2467, abs=1) == 1000 * viatom.RESOLUTION_UV


# BP2


def test_bp2_tells_a_result_once_however_long_it_stands_there() -> None:
    twin = Bp2Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_bp2.Driver(), twin)
    for _ in range(2):
        twin.inflate()
        talk.run(3.0)
        twin.finish(CuffResult())
        talk.run(30.0)
    told = of_type(talk.events, BloodPressure)
    assert told == [BloodPressure(128.0, 82.0, 97.0, 70.0)] * 2


def test_bp2_a_result_that_stands_there_is_not_told_again_after_a_reconnect() -> None:
    twin, driver = Bp2Twin(SynthesisedEcg(seed=1)), viatom_bp2.Driver()
    twin.finish(CuffResult())
    assert len(of_type(Talk(driver, twin).run(2.0), BloodPressure)) + 1 >= 1
    driver.close()
    assert not of_type(Talk(driver, twin).run(2.0), BloodPressure)


@pytest.mark.parametrize(("code", "cause"), [(1, "cuff too loose, or leaking"), (2, "movement"), (9, "code 9")])
def test_bp2_what_went_wrong_is_told_and_no_number(code: int, cause: str) -> None:
    twin = Bp2Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_bp2.Driver(), twin)
    twin.finish(CuffResult(120, 80, 93, 70, code=code))
    state = of_type(talk.run(2.0), DeviceState)[-1]
    assert (state.sensor, state.fault, state.vendor_text) == (Sensor.ERROR, "blood_pressure_not_measured", cause)
    assert not of_type(talk.events, BloodPressure)


def test_bp2_an_ecg_begins_and_ends_with_the_fingers() -> None:
    twin = Bp2Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_bp2.Driver(), twin)
    talk.run(2.0)
    for _ in range(2):
        twin.touched(True)
        talk.run(4.0)
        twin.touched(False)
        assert HeartRate(None) in talk.run(2.0)
    assert np.array_equal(counts_of(talk.events), twin.sent())
    assert len({samples.segment for samples in of_type(talk.events, Samples)}) == 2
    assert HeartRate(69) in talk.events


def test_bp2_fingers_off_during_an_ecg() -> None:
    twin = Bp2Twin(SynthesisedEcg(seed=1))
    talk = Talk(viatom_bp2.Driver(), twin)
    twin.touched(True)
    talk.run(3.0)
    twin.electrodes_on = False
    events = talk.run(2.0)
    assert HeartRate(None) in events
    assert of_type(events, DeviceState)[-1].leads_off == ("ECG",)
    assert np.array_equal(counts_of(talk.events), twin.sent())


# O2Ring


def test_o2ring_numbers_once_a_second_and_taken_back_when_it_is_taken_off() -> None:
    twin = O2RingTwin()
    talk = Talk(viatom_o2ring.Driver(), twin)
    twin.worn = Worn()
    told = of_type(talk.run(10.0), PulseOximetry)
    assert 9 <= len(told) <= 10
    assert {(number.spo2_percent, number.pulse_bpm, number.perfusion_index_percent) for number in told} == {
        (96, 66, 4.2)
    }
    twin.worn = None
    events = talk.run(2.0)
    assert [number.spo2_percent for number in of_type(events, PulseOximetry)] == [None]
    assert of_type(events, DeviceState)[-1].sensor is Sensor.OFF
    assert talk.driver.identity.serial == "2125000099"  # type: ignore[attr-defined]


def test_o2ring_that_stops_answering_has_its_number_taken_back() -> None:
    silent = [False]
    twin = O2RingTwin()
    twin.worn = Worn()
    talk = Talk(viatom_o2ring.Driver(), twin, lambda sent: b"" if silent[0] else sent)
    talk.run(3.0)
    silent[0] = True
    assert [number.spo2_percent for number in of_type(talk.run(2.0), PulseOximetry)] == [None]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param((0, 0, 42, 1), [], id="searching"),
        pytest.param((255, 70, 42, 1), [], id="no-spo2"),
        pytest.param((96, 70, 42, 0), [], id="not-worn"),
        pytest.param((96, 0xFFFF, 0, 1), [(96, None, None)], id="no-pulse-no-perfusion"),
        pytest.param((96, 70, 255, 0xA1), [(96, 70, None)], id="worn-with-countdown"),
    ],
)
def test_o2ring_special_values_are_no_numbers(said: tuple[int, int, int, int], told: list[Any]) -> None:
    spo2, pulse, perfusion, state = said
    driver = viatom_o2ring.Driver()
    driver.open()
    data = viatom_o2ring.PARAMETERS.pack(spo2, pulse, 0, 255, 0, 0, perfusion, state)
    events = driver.feed(answered(data)).events
    numbers = [(n.spo2_percent, n.pulse_bpm, n.perfusion_index_percent) for n in of_type(events, PulseOximetry)]
    assert numbers == told
    assert all(state.battery_percent is None for state in of_type(events, DeviceState))


def test_o2ring_text_that_is_none_is_no_identity() -> None:
    driver = viatom_o2ring.Driver()
    driver.open()
    for text in (b"{", b'{"SN": ', b"{}\0\0", b"{\xff}", b'{"SN": ' + b"[" * 1900):
        driver.feed(answered(text))
    assert driver.counters.frames == 5
    assert not (driver.identity and driver.identity.told())


# AOJ-20A


@pytest.mark.parametrize(
    ("temperature_ce2", "mode", "fault"),
    [
        pytest.param(4550, 4, "thermometer_measures_things", id="a-thing"),
        pytest.param(3650, 4, "thermometer_measures_things", id="a-thing-as-warm-as-a-body"),
        pytest.param(0, 1, "temperature_not_measured", id="nothing"),
        pytest.param(0xFFFF, 1, "temperature_not_measured", id="special"),
        pytest.param(3650, 9, "temperature_not_measured", id="a-mode-that-does-not-exist"),
    ],
)
def test_aoj_what_is_no_body_temperature_is_no_reading(temperature_ce2: int, mode: int, fault: str) -> None:
    twin = Aoj20aTwin()
    talk = Talk(aoj_20a.Driver(), twin)
    twin.measure(temperature_ce2, mode)
    events = talk.run(0.2)
    assert not of_type(events, Temperature)
    assert of_type(events, DeviceState)[-1].fault == fault
    twin.measure(3680)
    events = talk.run(0.2)
    assert of_type(events, Temperature) == [Temperature(36.8, site="forehead", mode="adult")]
    assert of_type(events, DeviceState)[-1].fault is None


def test_aoj_half_a_frame_does_not_swallow_the_next_measurement() -> None:
    twin = Aoj20aTwin()
    talk = Talk(aoj_20a.Driver(), twin)
    talk.driver.feed(aoj_20a.HEAD + b"\xc7\x30\x01")
    talk.run(1.5)
    twin.measure(3690)
    assert [reading.temperature_c for reading in of_type(talk.run(0.2), Temperature)] == [36.9]


def test_aoj_lengths_that_lie_do_not_hide_a_measurement() -> None:
    """Firmware exists whose C1 and CE carry another length byte than bytes."""
    good = aoj_20a.HEAD + bytes((aoj_20a.MEASUREMENT, 9)) + (3670).to_bytes(2, "big") + b"\x01"
    driver = aoj_20a.Driver()
    driver.open()
    events = driver.feed(good + bytes((xor8(good[1:]),))).events
    assert [reading.temperature_c for reading in of_type(events, Temperature)] == [36.7]

"""What is particular to one family: public vectors, special values, gaps, segments."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from device_captures import needs_shared, vectors

from devices.capture import settled
from devices.drivers import contec_8000g, contec_cms50_v7, sam_id_card
from devices.readings import (
    INVALID_COUNT,
    CardRemoved,
    DeviceState,
    Event,
    IdentityCard,
    PulseOximetry,
    Samples,
    Sensor,
)
from devices.simulators.contec_8000g import ContecEcgTwin, scans_of
from devices.simulators.contec_cms50 import NO_FINGER, Finger, real_time
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.sam_card import Card, SamCardTwin, reply


def samples_of(events: list[Event]) -> list[Samples]:
    return [event for event in events if isinstance(event, Samples)]


def counts_of(events: list[Event]) -> Any:
    return np.concatenate([samples.counts for samples in samples_of(events)])


# Contec 8000G


def ecg_stream(seconds: float) -> tuple[bytes, Any]:
    twin = ContecEcgTwin(SynthesisedEcg(seed=3))
    twin.receive(contec_8000g.HELLO + contec_8000g.START)
    return twin.advance(seconds), twin.sent(int(seconds * 500))


@needs_shared
def test_8000g_record_and_commands_are_those_of_the_source() -> None:
    record = bytes.fromhex("A04904084100080000080000080000")
    values = contec_8000g.values_of(np.frombuffer(record, np.uint8).reshape(1, 15))
    assert ((values - 2048) * 2.5)[0, :2].tolist() == [162.5, 0.0]
    driver = contec_8000g.Driver()
    opening, closing = driver.open().writes, driver.close().writes
    assert [write.payload.hex() for write in opening] == ["9000", "8501", "9005"]
    assert [write.after_s for write in opening[1:]] == [0.04, 0.04]
    assert [write.payload.hex() for write in closing] == ["9000"]


def test_8000g_gives_the_very_counts_that_were_sent() -> None:
    stream, sent = ecg_stream(4.0)
    driver = contec_8000g.Driver()
    driver.open()
    events = driver.feed(stream).events + settled(driver)
    assert np.array_equal(counts_of(events), sent)
    assert [samples.first_index for samples in samples_of(events)] == list(range(0, 2000, 25))
    assert driver.counters.gaps == driver.counters.dropped_bytes == 0


@pytest.mark.parametrize("fault", ["lost", "flipped", "inserted", "burst lost"])
def test_8000g_spoiled_bytes_become_a_gap_and_the_index_stays_true(fault: str) -> None:
    stream, sent = ecg_stream(2.0)
    at = 300 * contec_8000g.SCAN_BYTES + 7
    spoiled = {
        "lost": stream[:at] + stream[at + 1 :],
        "flipped": stream[:at] + bytes((stream[at] ^ 0x80,)) + stream[at + 1 :],
        "inserted": stream[:at] + b"\x11" + stream[at:],
        "burst lost": stream[:at] + b"\x11" * 300 + stream[at + 300 :],
    }[fault]
    driver = contec_8000g.Driver()
    driver.open()
    counts = counts_of(driver.feed(spoiled).events + settled(driver))
    assert len(counts) == len(sent)
    gap = np.flatnonzero((counts == INVALID_COUNT).all(axis=1))
    assert 1 <= len(gap) <= 12
    assert abs(gap[0] - 150) <= 1
    after = gap[-1] + 1
    assert np.array_equal(counts[: gap[0]], sent[: gap[0]])
    assert np.array_equal(counts[after:], sent[after:])
    assert driver.counters.gaps == 1
    assert driver.counters.dropped_bytes > 0


def test_8000g_a_long_loss_jumps_the_index() -> None:
    stream, sent = ecg_stream(2.0)
    cut = 200 * contec_8000g.SCAN_BYTES
    driver = contec_8000g.Driver()
    driver.open()
    lost_scans = 1000
    noise = b"\x11" * (lost_scans * contec_8000g.SCAN_BYTES)
    events = driver.feed(stream[:cut] + noise + stream[cut:]).events + settled(driver)
    chunks = samples_of(events)
    jumps = [
        following.first_index - chunk.last_index - 1
        for chunk, following in pairwise(chunks)
        if following.first_index != chunk.last_index + 1
    ]
    assert len(jumps) == 1
    assert abs(jumps[0] - lost_scans / 2) <= 1
    assert np.array_equal(chunks[-1].counts, sent[-len(chunks[-1].counts) :])


def test_8000g_scans_missing_against_the_clock_begin_a_new_segment() -> None:
    stream, _ = ecg_stream(9.0)
    second = len(stream) // 9
    driver = contec_8000g.Driver()
    driver.open()
    segments = set()
    for passed in range(9):
        if passed != 5:  # a second of bytes swallowed by the host, cleanly between two records
            start = passed * second // 15 * 15
            for samples in samples_of(driver.feed(stream[start : start + second // 15 * 15]).events):
                segments.add(samples.segment)
        driver.tick(1.0)
    assert segments == {1, 2}


def test_8000g_a_stalled_host_that_catches_up_keeps_its_segment() -> None:
    stream, sent = ecg_stream(9.0)
    second = len(stream) // 9
    driver = contec_8000g.Driver()
    driver.open()
    events: list[Event] = []
    fed = 0
    for passed in range(9):
        if passed != 5:
            events += driver.feed(stream[fed : second * (passed + 1)]).events
            fed = second * (passed + 1)
        events += driver.tick(1.0).events
    events += driver.feed(stream[fed:]).events + settled(driver)
    assert {samples.segment for samples in samples_of(events)} == {1}
    assert np.array_equal(counts_of(events), sent)


def test_8000g_an_electrode_at_the_rail_is_no_value_and_a_lead_off() -> None:
    counts = np.zeros((200, 8), np.int16)
    counts[:, 4] = INVALID_COUNT
    driver = contec_8000g.Driver()
    driver.open()
    events = driver.feed(scans_of(counts)).events + settled(driver)
    assert np.array_equal(counts_of(events), counts)
    states = [event for event in events if isinstance(event, DeviceState)]
    assert [(state.sensor, state.leads_off) for state in states] == [(Sensor.LEAD_OFF, ("V3",))]
    physical = samples_of(events)[0].values()
    assert np.isnan(physical[:, 4]).all()
    assert not np.isnan(physical[:, :4]).any()


def test_8000g_a_new_opening_is_a_new_segment_from_zero() -> None:
    stream, _ = ecg_stream(0.5)
    driver = contec_8000g.Driver()
    seen = []
    for _ in range(3):
        driver.open()
        first = samples_of(driver.feed(stream).events)[0]
        seen.append((first.segment, first.first_index))
    assert seen == [(1, 0), (2, 0), (3, 0)]


def test_8000g_a_stream_marker_parts_an_older_stream_from_the_new_one() -> None:
    older, _ = ecg_stream(0.11)
    newer, sent = ecg_stream(1.0)
    driver = contec_8000g.Driver()
    driver.open()
    events = driver.feed(older + b"\xee\x10" + newer).events + settled(driver)
    assert {samples.segment for samples in samples_of(events)} == {1, 2}
    new = [samples for samples in samples_of(events) if samples.segment == 2]
    assert new[0].first_index == 0
    assert np.array_equal(counts_of(list(new)), sent)


# Contec CMS50 V7


@pytest.mark.parametrize("vector", [vector for device in ("CMS50E", "CMS50 V7") for vector in vectors(device)])
def test_cms50_vectors(vector: dict[str, Any]) -> None:
    frame, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    if "command" in expected:
        driver = contec_cms50_v7.Driver()
        sent = [write.payload for write in [*driver.open().writes, *driver.tick(5.0).writes]]
        assert frame in sent or frame == contec_cms50_v7.command(0xAA)
        return
    assert len(frame) == contec_cms50_v7.FRAME_LENGTHS[frame[0]]
    if frame[0] != contec_cms50_v7.REAL_TIME:
        driver = contec_cms50_v7.Driver()
        driver.open()
        assert not driver.feed(frame).events + settled(driver)
        assert driver.counters.frames == 1
        return
    real = contec_cms50_v7.RealTime.of(frame)
    moment = real.moment
    assert moment.numbers.pulse_bpm == expected["pulse"]
    assert moment.numbers.spo2_percent == expected["spo2"]
    assert moment.numbers.perfusion_index_e2 == expected["pi"]
    if expected["probe_error"]:
        assert moment.sensor is Sensor.OFF
        assert moment.pleth is None
    else:
        assert (real.signal, real.bar, moment.pleth) == (expected["signal"], expected["bar"], expected["pleth"])


def good(spo2: int = 97, pulse: int = 70, pleth: int = 40) -> bytes:
    return real_time(signal=6, beep=False, pleth=pleth, searching=False, finger=Finger(spo2, pulse))


def oximetry(events: list[Event]) -> list[PulseOximetry]:
    return [event for event in events if isinstance(event, PulseOximetry)]


def test_cms50_believes_a_number_only_after_six_agreeing_frames() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    assert not oximetry(driver.feed(good() * 5 + good(98) + good() * 5 + good(98)).events)
    assert [number.spo2_percent for number in oximetry(driver.feed(good() * 7).events)] == [97]


def test_cms50_tells_a_number_at_most_once_a_second_and_takes_it_back_once() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    told = oximetry(driver.feed(good() * 600 + NO_FINGER * 120).events)
    assert 9 <= len(told) - 1 <= 10
    assert told[-1] == PulseOximetry(spo2_percent=None, pulse_bpm=None)
    assert all(number.spo2_percent == 97 for number in told[:-1])


def test_cms50_silence_takes_the_number_back_within_two_seconds() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    driver.feed(good() * 20)
    told = [event for _ in range(20) for event in oximetry(driver.tick(0.1).events)]
    assert told == [PulseOximetry(spo2_percent=None, pulse_bpm=None)]


def test_cms50_keeps_the_stream_alive_every_five_seconds() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    sent = [write.payload for _ in range(200) for write in driver.tick(0.1).writes]
    assert sent.pop(sent.index(contec_cms50_v7.START)), "its memory was asked for in vain"
    assert 3 <= len(sent) <= 4
    assert set(sent) == {contec_cms50_v7.KEEP_ALIVE}


def test_cms50_two_hundred_random_faults_give_no_wrong_number() -> None:
    """The noise experiment of the protocol notes: framing alone accepts wrong frames, six agreeing ones do not."""
    random = np.random.default_rng(50)
    stream = bytearray(good() * 2000)
    for at in sorted(random.choice(len(stream) - 1, 200, replace=False), reverse=True):
        match random.integers(3):
            case 0:
                stream[at] ^= 1 << int(random.integers(8))
            case 1:
                del stream[at]
            case _:
                stream.insert(at, int(random.integers(256)))
    driver = contec_cms50_v7.Driver()
    driver.open()
    events = driver.feed(bytes(stream)).events + settled(driver)
    assert {(number.spo2_percent, number.pulse_bpm) for number in oximetry(events)} == {(97, 70)}
    assert abs(len(counts_of(events)) - 2000) < 40
    assert driver.counters.gaps > 50


def test_cms50_no_finger_is_no_pleth() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    events = driver.feed(NO_FINGER * 13).events
    assert (counts_of(events) == INVALID_COUNT).all()
    assert [event.sensor for event in events if isinstance(event, DeviceState)] == [Sensor.OFF]


def test_cms50_goes_on_when_the_device_falls_idle() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    settled(driver)  # nothing answers when its memory is asked for
    driver.feed(good() * 5)
    driver.feed(b"\x0c\x80")
    driver.tick(0.1)
    assert [write.payload for write in driver.tick(0.1).writes] == [contec_cms50_v7.START]


# identity card


@needs_shared
def test_card_vectors() -> None:
    by_id = {param.id: param.values[0] for param in vectors("ID card")}
    requests = {sam_id_card.STATUS.hex().upper(), sam_id_card.FIND.hex().upper(), sam_id_card.SELECT.hex().upper()}
    assert requests <= {vector["hex"] for vector in by_id.values()}
    expected = by_id["113"]["expected"]
    driver = sam_id_card.Driver()
    driver.open()
    events = driver.feed(bytes.fromhex(by_id["113"]["hex"])).events
    (card,) = [event for event in events if isinstance(event, IdentityCard)]
    assert (card.name, card.sex, card.ethnicity_code) == (expected["name"], "female", expected["nation"])
    assert card.address == expected["address"]
    assert (card.id_number, card.issuer) == (expected["id"], expected["issuer"])
    assert card.born_on == date(1960, 2, 29)
    assert (card.valid_from, card.valid_until) == (date(2020, 1, 1), date(2040, 1, 1))


CARD = Card("测试甲", "female", date(1960, 2, 29), "999999196002290001", "示例村一组1号")


def talk(driver: sam_id_card.Driver, twin: SamCardTwin, seconds: float) -> list[Event]:
    """Driver and twin on one wire for a while."""
    events: list[Event] = []
    for _ in range(round(seconds / 0.1)):
        output = driver.tick(0.1)
        while output.writes:
            answer = b"".join(twin.receive(write.payload) for write in output.writes)
            output = driver.feed(answer)
            events += output.events
    return events


def test_a_name_and_a_village_in_rare_characters_shift_nothing_behind_them() -> None:
    """Beyond the Basic Multilingual Plane a character takes four bytes of UTF-16 (GB 18030-2022 asks for them)."""
    driver, twin = sam_id_card.Driver(), SamCardTwin()
    driver.feed(b"".join(twin.receive(write.payload) for write in driver.open().writes))
    rare = replace(CARD, name="王\U0002b4b6\U0002a6a5", address="青峪县\U00020bb7家村3组")
    twin.put_card(rare)
    (card,) = [event for event in talk(driver, twin, 3.0) if isinstance(event, IdentityCard)]
    assert (card.name, card.address, card.id_number, card.valid_until) == (
        rare.name,
        rare.address,
        rare.id_number,
        rare.valid_until,
    )


def test_card_is_read_once_and_again_when_laid_down_again() -> None:
    driver, twin = sam_id_card.Driver(), SamCardTwin()
    assert not driver.feed(b"".join(twin.receive(write.payload) for write in driver.open().writes)).writes
    twin.put_card(CARD)
    assert [type(event) for event in talk(driver, twin, 3.0) if not isinstance(event, DeviceState)] == [IdentityCard]
    twin.put_card(None)
    assert not talk(driver, twin, 2.0)
    twin.put_card(CARD)
    assert [type(event) for event in talk(driver, twin, 1.0)] == [CardRemoved, IdentityCard]


def test_card_is_polled_no_faster_than_the_reader_allows() -> None:
    driver, twin = sam_id_card.Driver(), SamCardTwin()
    driver.feed(b"".join(twin.receive(write.payload) for write in driver.open().writes))
    finds = 0
    for _ in range(1000):
        for write in driver.tick(0.01).writes:
            finds += write.payload == sam_id_card.FIND
            driver.feed(twin.receive(write.payload))
    assert 20 <= finds <= 33


def test_card_reader_that_does_not_answer_is_asked_again() -> None:
    driver = sam_id_card.Driver()
    driver.open()
    sent = [write.payload for _ in range(100) for write in driver.tick(0.1).writes]
    assert 5 <= len(sent) <= 9
    assert set(sent) == {sam_id_card.FIND}


@pytest.mark.parametrize(
    ("offset", "patch", "code"),
    [
        (122, "999999196002290002".encode("utf-16-le"), "card_data_invalid"),
        (122, "99999919600229ABC1".encode("utf-16-le"), "card_data_invalid"),
        (0, " ".encode("utf-16-le") * 15, "card_data_invalid"),
        (0, b"\x00\xd8" * 15, "card_data_invalid"),
        (30, "7".encode("utf-16-le"), "card_data_invalid"),
        (248, "I".encode("utf-16-le"), "card_kind_unsupported"),
        (248, "J".encode("utf-16-le"), "card_kind_unsupported"),
        (248, "Y".encode("utf-16-le"), "card_kind_unsupported"),
    ],
)
def test_card_that_does_not_add_up_is_refused(offset: int, patch: bytes, code: str) -> None:
    text = CARD.text()
    text = text[:offset] + patch + text[offset + len(patch) :]
    driver = sam_id_card.Driver()
    driver.open()
    events = driver.feed(reply(sam_id_card.SAM_OK, b"\x01\x00\x04\x00" + text + bytes(1024))).events
    assert [(type(event), getattr(event, "fault", None)) for event in events] == [(DeviceState, code)]


def test_card_with_a_fingerprint_is_read_too() -> None:
    driver = sam_id_card.Driver()
    driver.open()
    body = b"\x01\x00\x04\x00\x04\x00" + CARD.text() + bytes(2048)
    cards = [event for event in driver.feed(reply(sam_id_card.SAM_OK, body)).events if isinstance(event, IdentityCard)]
    assert [card.id_number for card in cards] == [CARD.id_number]


def test_card_spoiled_on_the_wire_is_no_card_and_is_asked_for_again() -> None:
    driver = sam_id_card.Driver()
    driver.open()
    answer = bytearray(reply(sam_id_card.SAM_OK, b"\x01\x00\x04\x00" + CARD.text() + bytes(1024)))
    answer[60] ^= 0x01  # in the address: every field would still read as one
    assert not driver.feed(bytes(answer)).events
    assert driver.counters.bad_checksums == 1
    assert next(write.payload for _ in range(40) for write in driver.tick(0.1).writes) == sam_id_card.FIND


def test_card_never_shows_in_a_log() -> None:
    driver = sam_id_card.Driver()
    driver.open()
    answer = reply(sam_id_card.SAM_OK, b"\x01\x00\x04\x00" + CARD.text() + bytes(1024))
    assert CARD.name not in repr(driver.feed(answer))


@pytest.mark.parametrize(
    ("id_number", "valid"),
    [
        ("11010519491231002X", True),
        ("110105194912310021", False),
        ("999999196002290001", True),
        ("99999919600229000", False),
        ("９99999196002290001", False),
        ("", False),
    ],
)
def test_id_number_check_digit(id_number: str, valid: bool) -> None:
    """The first is the example of GB 11643 itself."""
    assert sam_id_card.id_number_valid(id_number) is valid

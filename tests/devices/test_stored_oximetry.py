"""Nights out of the memory of oximeters: published frames, read twice or under a checksum, told once."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import pytest
from test_a5_drivers import Talk, of_type

from devices import cms50_memory, viatom_memory
from devices.drivers import contec_cms50_v7, viatom_o2ring
from devices.readings import DeviceClock, DeviceState, PulseOximetry, StoredOximetry
from devices.simulators.contec_cms50 import Cms50Twin, Finger, Recorded, packed
from devices.simulators.viatom import O2RingTwin, Worn, ring_file

STARTED = datetime(2026, 11, 20, 22, 41, 7)  # noqa: DTZ001  as devices show it
SAID = "2026-11-20T22:41:07"


def night(n: int = 400) -> tuple[list[int | None], list[int | None]]:
    spo2: list[int | None] = [90 + i % 8 for i in range(n)]
    pulse: list[int | None] = [55 + i % 90 for i in range(n)]
    spo2[20:24] = pulse[20:24] = [None] * 4
    return spo2, pulse


def told_by(talk: Talk) -> list[StoredOximetry]:
    return of_type(talk.events, StoredOximetry)


# CMS50


def cms50(*memory: Recorded, known: Any = (), spoil: Any = lambda sent: sent) -> Talk:
    twin = Cms50Twin()
    twin.memory = list(memory)
    twin.put_finger(Finger())
    driver = contec_cms50_v7.Driver()
    driver.known_recordings = known
    return Talk(driver, twin, spoil)


@pytest.mark.parametrize(
    ("frames", "said_at"),
    [
        pytest.param("0780808094 8E8892 128080808 2A69280", "2014-08-18T02:38:18", id="as-logged-from-a-cms50f"),
        pytest.param("0780808080808080 1280808080808080", None, id="a-device-that-keeps-no-time"),
        pytest.param("0780808094 8E8D92 128080808 2A69280", None, id="no-such-month"),
        pytest.param("0780808194 8E8892 128080808 2A69280", None, id="date-and-time-of-two-segments"),
    ],
)
def test_cms50_start_length_and_values_as_they_stand_in_public_logs(frames: str, said_at: str | None) -> None:
    """Frames of date, time, length and values that a public reader has beside its code; the length made ours."""
    driver = contec_cms50_v7.Driver()
    driver.open()
    once = (
        bytes.fromhex(frames.replace(" ", "")) + bytes.fromhex("0880808086808080") + bytes.fromhex("0F80DEC2DEC2DEC2")
    )
    events = driver.feed(once + once + b"\x0c\x80" + b"\x0c").events
    (stored,) = of_type(events, StoredOximetry)
    assert stored == StoredOximetry((94, 94, 94), (66, 66, 66), 1.0, said_at)


@pytest.mark.parametrize("perfusion_e2", [None, 350], ids=["three-values-a-frame", "with-perfusion-index"])
def test_cms50_memory_comes_as_it_was_recorded_and_live_numbers_after_it(perfusion_e2: int | None) -> None:
    talk = cms50(Recorded(STARTED, *night(401), perfusion_e2), Recorded(None, [97, 96], [201, 60]))
    talk.run(8.0)
    first, second = told_by(talk)
    assert (list(first.spo2_percent), list(first.pulse_bpm)) == night(401)
    assert (first.device_said_at, first.interval_s, first.duration_s) == (SAID, 1.0, 401.0)
    assert second == StoredOximetry((97, 96), (201, 60), 1.0, None)
    assert of_type(talk.events, PulseOximetry)[-1].spo2_percent == 97
    assert talk.sent.count(contec_cms50_v7.START) == 1


def test_cms50_what_is_kept_already_is_not_read_again() -> None:
    talk = cms50(Recorded(STARTED, *night()), known={(SAID, 400)})
    talk.run(3.0)
    assert not told_by(talk)
    assert not [sent for sent in talk.sent if sent[2] == cms50_memory.VALUES]
    assert of_type(talk.events, PulseOximetry)


def test_cms50_bit_that_flipped_on_the_way_is_not_told() -> None:
    """The sixth frame of the first reading comes with another bit: the next two readings are alike, and told."""
    spoiled: list[bytes] = []

    def spoil(sent: bytes) -> bytes:
        if not spoiled and sent[:1] == b"\x0f" and len(sent) > 48:
            spoiled.append(sent)
            return sent[:42] + bytes((sent[42] ^ 0x08,)) + sent[43:]
        return sent

    talk = cms50(Recorded(STARTED, *night()), spoil=spoil)
    talk.run(8.0)
    assert spoiled
    (stored,) = told_by(talk)
    assert list(stored.spo2_percent) == night()[0]
    assert len([sent for sent in talk.sent if sent[2] == cms50_memory.VALUES]) == 3


def test_cms50_that_never_comes_twice_alike_is_not_told_but_said() -> None:
    reads = [0]

    def spoil(sent: bytes) -> bytes:
        if sent[:1] == b"\x0f":
            reads[0] += 1
            return sent[:4] + bytes((0x80 | reads[0] % 90 + 1,)) + sent[5:]
        return sent

    talk = cms50(Recorded(STARTED, *night(60)), spoil=spoil)
    talk.run(20.0)
    assert not told_by(talk)
    assert of_type(talk.events, DeviceState)[-1].fault == "stored_oximetry_incomplete"
    assert of_type(talk.events, PulseOximetry), "and goes on live"


def test_cms50_frame_that_is_lost_has_the_segment_read_again() -> None:
    lost: list[bytes] = []

    def spoil(sent: bytes) -> bytes:
        if not lost and sent[:1] == b"\x0f":
            lost.append(sent[:8])
            return sent[8:]
        return sent

    talk = cms50(Recorded(STARTED, *night()), spoil=spoil)
    talk.run(10.0)
    assert [len(stored.spo2_percent) for stored in told_by(talk)] == [400]


def test_cms50_that_is_recording_just_now_is_left_alone() -> None:
    talk = cms50()
    talk.twin.memory = [Recorded(STARTED, *night())]  # type: ignore[attr-defined]
    talk.twin.recording = True  # type: ignore[attr-defined]
    talk.run(3.0)
    assert not told_by(talk)
    assert of_type(talk.events, PulseOximetry)


def test_cms50_that_claims_more_than_it_can_hold_is_not_believed() -> None:
    driver = contec_cms50_v7.Driver()
    driver.open()
    driver.feed(packed(0x08, b"\0\0\xff\xff\xff\x7f") + packed(0x0F, bytes((97, 60) * 3)) * 40 + b"\x0c")
    assert not driver._memory._segment._values


def test_cms50_stops_what_it_asked_for_when_it_is_given_up() -> None:
    talk = cms50(Recorded(STARTED, *night(40_000)))
    talk.run(3.0)
    assert talk.driver.close().writes[-1].payload == contec_cms50_v7.STOP_STORED


# O2Ring


def ring(known: Any = (), spoil: Any = lambda sent: sent) -> Talk:
    driver = viatom_o2ring.Driver()
    driver.known_recordings = known
    return Talk(driver, O2RingTwin(), spoil)


def given(talk: Talk, *files: bytes) -> Talk:
    """The ring has them when it is asked for its list the next time."""
    for file in files:
        talk.twin.record(file)  # type: ignore[attr-defined]
    talk.run(viatom_o2ring.LIST_EACH_S + 8.0)
    return talk


def test_ring_files_come_as_they_were_recorded_and_once() -> None:
    talk = given(ring(), ring_file(STARTED, *night(900)))
    talk.twin.worn = Worn()  # type: ignore[attr-defined]
    talk.run(2 * viatom_o2ring.LIST_EACH_S)
    (stored,) = told_by(talk)
    assert (list(stored.spo2_percent), list(stored.pulse_bpm)) == night(900)
    assert (stored.device_said_at, stored.interval_s, stored.duration_s) == (SAID, 4.0, 3600.0)
    assert of_type(talk.events, PulseOximetry)


def test_ring_file_that_is_kept_already_is_not_read() -> None:
    talk = given(ring(known={(SAID, 900)}), ring_file(STARTED, *night(900)))
    assert not told_by(talk)
    assert not [sent for sent in talk.sent if sent[1] == viatom_memory.READ]


def test_ring_file_that_is_gone_is_not_taken_for_the_one_before() -> None:
    """As a ring with firmware 1.13.0 does: it answers for a file that is gone with the one opened last."""
    talk = ring()
    later = STARTED.replace(day=21)
    talk.twin.lost.add(talk.twin.record(ring_file(later, *night(50))))  # type: ignore[attr-defined]
    given(talk, ring_file(STARTED, *night(60)))
    assert [stored.device_said_at for stored in told_by(talk)] == [SAID]
    assert of_type(talk.events, DeviceState)[-1].fault == "stored_oximetry_incomplete"


def test_ring_answer_that_is_spoiled_has_the_file_read_again() -> None:
    spoiled: list[bytes] = []

    def spoil(sent: bytes) -> bytes:
        if not spoiled and len(sent) == 520:
            spoiled.append(sent)
            return sent[:100] + bytes((sent[100] ^ 1,)) + sent[101:]
        return sent

    talk = given(ring(spoil=spoil), ring_file(STARTED, *night(900)))
    talk.run(viatom_o2ring.LIST_EACH_S)
    assert spoiled
    assert [list(stored.spo2_percent) for stored in told_by(talk)] == [night(900)[0]]


@pytest.mark.parametrize(
    ("file", "told"),
    [
        pytest.param(ring_file(STARTED, [97, 96], [60, 61], 2), (2.0, (97, 96)), id="every-two-seconds"),
        pytest.param(ring_file(STARTED, [97, 97, 90, 90], [60, 60, 61, 61], 2), (4.0, (97, 90)), id="told-twice"),
        pytest.param(ring_file(STARTED, [0, 127], [0, 511], 4), (4.0, (None, None)), id="special-values"),
        pytest.param(ring_file(STARTED, [97], [60], 3), None, id="no-such-interval"),
        pytest.param(b"\x09" + ring_file(STARTED, [97], [60])[1:], None, id="another-version"),
        pytest.param(ring_file(STARTED, [97], [60])[:44], None, id="cut-off"),
        pytest.param(b"\x03\0" + struct.pack("<HB", 2026, 13) + ring_file(STARTED, [97], [60])[5:], None, id="no-date"),
    ],
)
def test_ring_file_is_read_or_refused(file: bytes, told: tuple[float, tuple[int | None, ...]] | None) -> None:
    stored = viatom_memory.oximetry_of(file)
    assert (stored and (stored.interval_s, stored.spo2_percent)) == told


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"[]", b'{"FileList": 3}', b'{"FileList": "a,2026,"}', b'{"FileList": ' + b"[" * 1900],
    ids=["nothing", "half", "list", "number", "no-names", "deep"],
)
def test_ring_list_that_is_none_has_no_files(said: bytes) -> None:
    assert viatom_memory.files_of(viatom_o2ring.told_in(said)) == []


def test_ring_tells_what_its_clock_shows_once_a_connection() -> None:
    twin = O2RingTwin()
    twin.shows = STARTED
    talk = Talk(viatom_o2ring.Driver(), twin)
    talk.run(2.5 * viatom_o2ring.LIST_EACH_S)
    assert of_type(talk.events, DeviceClock) == [DeviceClock(SAID)]
    assert viatom_o2ring.clock_of({"CurTIME": "2026-13-01,00:00:00"}) is None

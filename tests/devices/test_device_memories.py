"""What devices kept from before: fetched whole and once, told as nobody's."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from test_a5_drivers import Talk, of_type

from devices import ecg_files
from devices.driver import Output, Write
from devices.drivers import aoj_20a, creative_pc80b
from devices.ecg_files import scp_ecg
from devices.ecg_files.document import EcgFileDamaged
from devices.readings import INVALID_COUNT, DeviceState, Samples, StoredEcg, Temperature
from devices.simulators.aoj_20a import Aoj20aTwin
from devices.simulators.creative_pc80b import Pc80bTwin, stored_file
from devices.simulators.ecg_source import SynthesisedEcg


def remembered() -> tuple[np.ndarray, bytes]:
    counts = np.round(np.sin(np.arange(4500) / 20) * 400).astype(np.int16)
    counts[100:110] = INVALID_COUNT
    return counts, stored_file(counts, datetime(2026, 11, 20, 8, 30, 5))  # noqa: DTZ001


def test_pc80b_memory_comes_whole_and_its_end_is_acknowledged_only_once_it_is_stored() -> None:
    counts, file = remembered()
    twin = Pc80bTwin(SynthesisedEcg(seed=1))
    twin.stored = file
    talk = Talk(creative_pc80b.Driver(), twin)
    talk.run(2.0)
    (stored,) = of_type(talk.events, StoredEcg)
    document = ecg_files.read(stored.content)
    assert (document.format, document.recorded_said_at) == ("pc80b-ecg", "2026-11-20T08:30:05")
    assert (document.samples.counts[:, 0] == counts).all()
    assert document.samples.resolution == pytest.approx(3.0303, abs=1e-4)
    assert of_type(talk.events, Samples), "and then it is listened to"
    ends = [write for write in writes_of(creative_pc80b.Driver(), file) if write.after_stored]
    assert [write.payload for write in ends] == [creative_pc80b.acknowledge(len(file) // 50 + 1)]


def writes_of(driver: creative_pc80b.Driver, file: bytes) -> list[Write]:
    """What the driver answers to the parts of a file, from the session on."""
    driver.open()
    parts = [file[at : at + 50] for at in range(0, len(file), 50)]
    frames = [creative_pc80b.command(creative_pc80b.SESSION, b"\x0b\x01" + bytes(12))]
    frames += [
        creative_pc80b.command(creative_pc80b.CONTINUOUS, bytes((number % 256,)) + part)
        for number, part in enumerate([*parts, b""])
    ]
    return [write for frame in frames for write in driver.feed(frame).writes]


def test_pc80b_part_that_comes_twice_counts_once_and_a_file_with_a_hole_is_refused_and_told() -> None:
    _, file = remembered()
    driver = creative_pc80b.Driver()
    driver.open()
    driver.feed(creative_pc80b.command(creative_pc80b.SESSION, b"\x0b\x01" + bytes(12)))

    def say(number: int, part: bytes) -> Output:
        return driver.feed(creative_pc80b.command(creative_pc80b.CONTINUOUS, bytes((number,)) + part))

    for number in (0, 0, 1):
        (answer,) = say(number, file[number * 50 : number * 50 + 50]).writes
        assert answer.payload == creative_pc80b.acknowledge(number)
    ended = say(2, b"")
    assert [write.payload for write in ended.writes] == [creative_pc80b.acknowledge(2, taken=False)]
    assert of_type(ended.events, DeviceState)[-1].fault == "stored_ecg_incomplete"
    assert not of_type(ended.events, StoredEcg)


def test_pc80b_files_are_told_from_scp_ecg_and_read_at_their_true_height() -> None:
    _, file = remembered()
    assert scp_ecg.recognises(file)
    assert ecg_files.read(file).format == "pc80b-ecg"
    with pytest.raises(EcgFileDamaged):
        ecg_files.read(file[:2000])


def test_aoj_memory_is_fetched_once_and_is_nobodys() -> None:
    twin = Aoj20aTwin()
    twin.memory = [(datetime(2026, 11, day, 8, 30), ce2) for day, ce2 in ((20, 3680), (21, 3890))]  # noqa: DTZ001
    talk = Talk(aoj_20a.Driver(), twin)
    talk.run(2.0)
    assert of_type(talk.events, Temperature) == [
        Temperature(36.8, from_memory=True, device_said_at="2026-11-20T08:30:00"),
        Temperature(38.9, from_memory=True, device_said_at="2026-11-21T08:30:00"),
    ]


@pytest.mark.parametrize(
    "record",
    [b"", bytes((1, 26, 13, 1, 8, 30)) + b"\x0e\x60", bytes((1, 26, 11, 20, 8, 30)) + b"\x07\xd0", bytes(7)],
    ids=["empty", "no-such-month", "a-thing", "too-short"],
)
def test_aoj_memory_without_a_temperature_of_a_body_and_its_time_tells_nothing(record: bytes) -> None:
    driver = aoj_20a.Driver()
    driver.open()
    assert driver.feed(aoj_20a.command(aoj_20a.RECORD, record)).events == []
    assert driver.counters.frames == 1

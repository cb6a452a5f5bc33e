"""Stills without loss, clips that can be played whatever happens."""

from __future__ import annotations

import io
import threading

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SystemClock
from telemedicine.ultrasound.clips import FragmentedMp4, Piece, record
from telemedicine.ultrasound.fragments import whole
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.picture import NoPicture, SharedPicture
from telemedicine.ultrasound.stills import as_png, freeze
from tests.telemedicine.ultrasound_source import PlayedSource, fan

RATE_HZ = 10.0


def frames_in(clip: bytes) -> int:
    with av.open(io.BytesIO(clip)) as opened:
        return sum(1 for _ in opened.decode(video=0))


@pytest.fixture(scope="module")
def clip() -> bytes:
    """Three and a half seconds."""
    made = FragmentedMp4(320, 240, RATE_HZ)
    return b"".join(made.add(fan(n), n / RATE_HZ) for n in range(35)) + made.close()


def test_a_still_is_the_very_picture() -> None:
    clock = SystemClock()
    source = PlayedSource(clock)
    machine = MachineSettings(name="ultrasound-1", flip="horizontal")
    source.show(fan(7))
    still = freeze(SharedPicture(source, machine), clock)
    decoded = cv2.imdecode(np.frombuffer(still.png, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, fan(7)[:, ::-1])
    assert (still.width, still.height, still.source_size) == (320, 240, (320, 240))
    assert not source.open


def test_a_still_of_noise_is_still_without_loss() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    assert np.array_equal(cv2.imdecode(np.frombuffer(as_png(noise), np.uint8), cv2.IMREAD_COLOR), noise)


def test_without_a_picture_neither_still_nor_clip_begins() -> None:
    clock = SystemClock()
    picture = SharedPicture(PlayedSource(clock), MachineSettings(name="ultrasound-1"))
    with pytest.raises(NoPicture):
        freeze(picture, clock)
    with pytest.raises(NoPicture):
        next(record(picture, 5, RATE_HZ, threading.Event(), clock))


def test_every_fragment_is_handed_over_when_it_is_whole(clip: bytes) -> None:
    made = FragmentedMp4(320, 240, RATE_HZ)
    parts = [part for n in range(35) if (part := made.add(fan(n), n / RATE_HZ))] + [made.close()]
    so_far = b""
    for count, part in enumerate(parts):
        so_far += part
        assert whole(so_far)[0] == min(count, 4)
    assert frames_in(so_far) == 35
    assert whole(clip) == (4, whole(clip)[1])


@given(st.data())
def test_a_clip_that_is_cut_anywhere_plays_up_to_its_last_whole_second(clip: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(clip)))
    count, size = whole(clip[:cut])
    assert size <= cut
    assert frames_in(clip[:size]) == min(35, count * 10) if count else size == 0


def test_bytes_that_are_no_clip_have_no_whole_part() -> None:
    assert whole(b"") == (0, 0)
    assert whole(b"\x00\x00\x00\x08mdat" * 3) == (0, 0)
    assert whole(b"\x00\x00\x00\x00moov" + bytes(100)) == (0, 0)


def test_large_pictures_are_made_smaller_and_say_so() -> None:
    made = FragmentedMp4(3840, 2160, RATE_HZ)
    assert (made.width, made.height, made.scale) == (1920, 1080, 0.5)
    odd = FragmentedMp4(321, 241, RATE_HZ)
    assert (odd.width, odd.height, odd.scale) == (320, 240, 1.0)


class _Played(PlayedSource):
    """Shows the next picture as soon as the last one was taken, a tenth of a second of its own time later."""

    def __init__(self, count: int) -> None:
        super().__init__(SystemClock())
        self.left, self.now_s = count, SystemClock().monotonic_s()

    def newer(self, than: int, timeout_s: float):  # type: ignore[no-untyped-def]
        if self.left:
            self.left -= 1
            self.now_s += 0.1
            self.show(fan(self.left), self.now_s)
        return super().newer(than, timeout_s)


def _record(count: int, seconds: float, stopping: threading.Event | None = None) -> list[Piece]:
    picture = SharedPicture(_Played(count), MachineSettings(name="ultrasound-1"))
    return list(record(picture, seconds, RATE_HZ, stopping or threading.Event(), SystemClock()))


def test_a_clip_ends_after_its_seconds() -> None:
    pieces = _record(count=60, seconds=3.0)
    assert frames_in(b"".join(piece.data for piece in pieces)) == 30
    assert pieces[-1].covered_s == pytest.approx(3.0, abs=0.01)
    assert pieces[-1].source_size == (320, 240)


def test_a_clip_of_a_source_that_falls_silent_keeps_what_came() -> None:
    assert frames_in(b"".join(piece.data for piece in _record(count=12, seconds=30.0))) == 12


def test_a_clip_is_stopped_by_hand() -> None:
    stopping = threading.Event()
    picture = SharedPicture(_Played(60), MachineSettings(name="ultrasound-1"))
    pieces = record(picture, 30.0, RATE_HZ, stopping, SystemClock())
    got = [next(pieces), next(pieces)]
    stopping.set()
    got += list(pieces)
    assert 10 <= frames_in(b"".join(piece.data for piece in got)) <= 21

"""Black and frozen, told from a dark room and a still one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from media_stage import Image, moving

from telemedicine.media.capture_address import SourceKind, kind_of
from telemedicine.media.picture_judge import FROZEN_AFTER_S, PictureJudge, Verdict


def verdicts(kind: SourceKind, pictures: list[Image], seconds: float, rate_hz: float = 10.0) -> list[Verdict]:
    judge = PictureJudge(kind)
    count = round(seconds * rate_hz)
    return [judge.judge(pictures[number % len(pictures)], number / rate_hz) for number in range(count)]


def noisy(ground: Image, sigma: float, count: int) -> list[Image]:
    """``ground`` as a sensor with noise of ``sigma`` steps sees it, again and again."""
    random = np.random.default_rng(3)
    return [
        np.clip(np.round(ground + random.normal(0, sigma, ground.shape)), 0, 255).astype(np.uint8) for _ in range(count)
    ]


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.0])
def test_a_still_room_is_not_frozen_however_quiet_the_sensor(sigma: float) -> None:
    assert set(verdicts(SourceKind.DEVICE, noisy(moving(0), sigma, 23), 20.0)) == {Verdict.LIVE}


def test_a_camera_that_skips_what_hardly_changes_is_not_frozen_before_its_key_frame() -> None:
    """Between two key frames, 8 s apart, a quiet network camera may repeat the very same picture."""
    key_pictures = noisy(moving(0), 0.5, 4)
    pictures = [key_pictures[number // 80] for number in range(320)]
    assert set(verdicts(SourceKind.STREAM, pictures, 32.0)) == {Verdict.LIVE}


@pytest.mark.parametrize("kind", [SourceKind.DEVICE, SourceKind.STREAM])
def test_the_same_picture_again_and_again_is_frozen_and_then_live_at_once(kind: SourceKind) -> None:
    judge = PictureJudge(kind)
    limit_s = FROZEN_AFTER_S[kind]
    assert limit_s is not None
    times = [number / 10 for number in range(round(limit_s * 10) + 1)]
    told = [judge.judge(moving(1), at_s) for at_s in times]
    assert told[:-1] == [Verdict.LIVE] * (len(times) - 1)
    assert told[-1] == Verdict.FROZEN
    assert judge.judge(moving(2), limit_s + 0.1) == Verdict.LIVE


def test_a_change_between_the_sampled_rows_is_seen() -> None:
    ground, other = moving(0), moving(0)
    other[8, 100] = 255 - other[8, 100]
    pictures = [ground if number // 15 % 2 else other for number in range(60)]
    assert set(verdicts(SourceKind.DEVICE, pictures, 20.0)) == {Verdict.LIVE}


def test_a_loop_as_long_as_the_look_is_not_frozen() -> None:
    assert set(verdicts(SourceKind.FILE, [moving(number) for number in range(10)], 20.0)) == {Verdict.LIVE}


def test_a_screen_may_stand_still() -> None:
    assert set(verdicts(SourceKind.SCREEN, [moving(0)], 60.0)) == {Verdict.LIVE}


def test_a_covered_lens_is_black_and_noise_does_not_hide_it() -> None:
    covered = noisy(np.full((240, 320, 3), 3, dtype=np.uint8), 1.0, 7)
    told = verdicts(SourceKind.DEVICE, covered, 5.0)
    assert told[0] == Verdict.LIVE, "one dark look may be a hand before the lens"
    assert set(told[11:]) == {Verdict.BLACK}


def test_a_dark_room_with_a_lamp_is_not_black() -> None:
    room = np.full((240, 320, 3), 4, dtype=np.uint8)
    cv2.circle(room, (160, 120), 20, (60, 60, 60), -1)
    assert Verdict.BLACK not in verdicts(SourceKind.DEVICE, noisy(room, 0.5, 7), 5.0)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0", SourceKind.DEVICE),
        ("/dev/v4l/by-path/room", SourceKind.DEVICE),
        ("rtsp://192.168.1.20/room", SourceKind.STREAM),
        ("http://127.0.0.1:8080/camera.mjpg", SourceKind.STREAM),
        ("screen::0.0", SourceKind.SCREEN),
        ("clips/room.mp4", SourceKind.FILE),
        ("/var/lib/xunzhen/room.mp4", SourceKind.FILE),
    ],
)
def test_an_address_says_what_it_is(address: str, kind: SourceKind) -> None:
    assert kind_of(address) == kind

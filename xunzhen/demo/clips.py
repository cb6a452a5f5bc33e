"""Two looping clips for the demo, synthesised: an abdominal ultrasound and the inside of the van.

Nobody was filmed and no patient examined: tissue is complex Gaussian noise (so its envelope has the Rayleigh speckle
of a real scanner) times an echogenicity map, seen through a convex probe. Both clips loop without a jump and carry a
running frame counter as a strip of squares, so that a test can tell a moving picture from a still one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""BGR, (HEIGHT_PX, WIDTH_PX, 3)."""
Field = npt.NDArray[np.float32]

WIDTH_PX, HEIGHT_PX = 640, 480
LOOP_S = 8
ULTRASOUND_RATE_HZ, ROOM_RATE_HZ = 20, 15

COUNTER_BITS = 10
COUNTER_SQUARE_PX = 12
COUNTER_CORNER_PX = (8, HEIGHT_PX - COUNTER_SQUARE_PX - 8)

_DEPTHS, _LINES = 380, 256
_HALF_ANGLE_RAD = math.radians(34)
_PROBE_RADIUS_PX, _DEPTH_PX = 150.0, 400.0
_APEX_PX = (WIDTH_PX / 2, 46.0 - _PROBE_RADIUS_PX * math.cos(_HALF_ANGLE_RAD))


def render_clips(folder: Path) -> dict[str, Path]:
    """Write ``ultrasound.mp4`` and ``room.mp4`` into ``folder`` unless they are there; feed name -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = {"ultrasound": (_ultrasound, ULTRASOUND_RATE_HZ), "room": (_room, ROOM_RATE_HZ)}
    files = {}
    for name, (pictures, rate_hz) in clips.items():
        files[name] = folder / f"{name}.mp4"
        if not files[name].exists():
            write_clip(files[name], (_stamp(picture, number) for number, picture in enumerate(pictures())), rate_hz)
    return files


def read_counter(picture: Picture) -> int:
    """The frame number of a picture of WIDTH_PX x HEIGHT_PX, from its strip of squares."""
    left, top = COUNTER_CORNER_PX
    middle = COUNTER_SQUARE_PX // 2
    grey = picture.mean(axis=2)
    bits = [grey[top + middle, left + bit * COUNTER_SQUARE_PX + middle] > 127 for bit in range(COUNTER_BITS)]
    return sum(1 << bit for bit, bright in enumerate(bits) if bright)


def _stamp(picture: Picture, number: int) -> Picture:
    left, top = COUNTER_CORNER_PX
    for bit in range(COUNTER_BITS):
        shade = 230 if number >> bit & 1 else 20
        corner = left + bit * COUNTER_SQUARE_PX
        picture[top : top + COUNTER_SQUARE_PX, corner : corner + COUNTER_SQUARE_PX] = shade
    return picture


def write_clip(
    file: Path, pictures: Iterable[Picture], rate_hz: int, size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)
) -> None:
    """Encode to a file beside and rename, so that an interrupted start leaves no half clip."""
    partial = file.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=rate_hz, options={"preset": "ultrafast", "crf": "22"})
        (stream.width, stream.height), stream.pix_fmt = size_px, "yuv420p"
        stream.codec_context.gop_size = rate_hz
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    partial.replace(file)


# ultrasound ---------------------------------------------------------------------------------------------------------


def _ultrasound() -> Iterator[Picture]:
    random = np.random.default_rng(7)
    first, second = _scatterers(random), _scatterers(random)
    to_depth, to_line, inside = _sector()
    frames = LOOP_S * ULTRASOUND_RATE_HZ
    for number in range(frames):
        phase = 2 * math.pi * number / frames
        drift = 3 * phase  # scatterers change slowly and come back to where they began
        speckle = np.abs(first * math.cos(drift) + second * math.sin(drift))
        breath = 0.022 * math.sin(2 * phase)
        echo = speckle * _echogenicity(breath, 1 + 0.03 * math.sin(8 * phase))
        bright = np.clip(52 * np.log1p(14 * echo), 0, 255).astype(np.float32)
        picture = cv2.remap(bright, to_line, to_depth, cv2.INTER_LINEAR) * inside
        yield cv2.merge([picture.astype(np.uint8)] * 3).astype(np.uint8)


def _scatterers(random: np.random.Generator) -> npt.NDArray[np.complex64]:
    noise = random.standard_normal((2, _DEPTHS, _LINES)).astype(np.float32)
    smooth = [cv2.GaussianBlur(part, (0, 0), sigmaX=1.7, sigmaY=0.9) for part in noise]
    field = np.asarray(smooth[0] + 1j * smooth[1], dtype=np.complex64)
    return np.asarray(field / np.abs(field).mean(), dtype=np.complex64)


def _sector() -> tuple[Field, Field, Field]:
    """For every pixel its depth and scan line in the polar field, and 1 inside the sector, 0 outside."""
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    x, y = x - _APEX_PX[0], y - _APEX_PX[1]
    radius, angle = np.hypot(x, y), np.arctan2(x, y)
    depth = (radius - _PROBE_RADIUS_PX) / _DEPTH_PX
    line = (angle / _HALF_ANGLE_RAD + 1) / 2
    inside = (depth >= 0) & (depth <= 1) & (line >= 0) & (line <= 1)
    return (
        (depth * (_DEPTHS - 1)).astype(np.float32),
        (line * (_LINES - 1)).astype(np.float32),
        inside.astype(np.float32),
    )


def _echogenicity(breath: float, swell: float) -> Field:
    """Brightness by depth and line (0..1 each): skin, liver, a cyst with daughter cysts, vessels, diaphragm."""
    depth, line = np.mgrid[0 : 1 : _DEPTHS * 1j, 0 : 1 : _LINES * 1j].astype(np.float32)
    echo = 0.42 * np.exp(-0.5 * depth)
    echo[depth < 0.10] = 0.75
    echo += 1.6 * np.exp(-(((depth - 0.105) / 0.008) ** 2))
    echo += 0.5 * np.exp(-(((depth - 0.05) / 0.006) ** 2))
    moved = depth - breath
    echo += 2.6 * np.exp(-(((moved - 0.80 + 0.16 * (line - 0.45) ** 2) / 0.014) ** 2))
    echo[moved > 0.83 - 0.16 * (line - 0.45) ** 2] *= 0.3
    for centre_depth, centre_line, high, wide in (
        (0.33, 0.24, 0.022, 0.07),
        (0.62, 0.27, 0.028, 0.05),
        (0.66, 0.8, 0.02, 0.06),
    ):
        echo[_ellipse(moved, line, centre_depth, centre_line, high, wide) < 1] = 0.03
    cyst = _ellipse(moved, line, 0.45, 0.56, 0.125 * swell, 0.145 * swell)
    behind = (np.abs(line - 0.56) < 0.12) & (moved > 0.56)
    echo[behind] *= 1.7
    echo[cyst < 1.12] = 1.5
    echo[cyst < 0.92] = 0.16
    for turn in range(6):
        angle = turn * math.pi / 3 + 0.35
        off = 0.0 if turn == 5 else 0.56
        daughter = _ellipse(
            moved, line, 0.45 + 0.125 * off * math.sin(angle), 0.56 + 0.145 * off * math.cos(angle), 0.045, 0.052
        )
        echo[(daughter < 1.15) & (cyst < 0.92)] = 0.8
        echo[(daughter < 0.86) & (cyst < 0.92)] = 0.015
    return np.asarray(echo, dtype=np.float32)


def _ellipse(depth: Field, line: Field, at_depth: float, at_line: float, high: float, wide: float) -> Field:
    """Below 1 inside the ellipse."""
    return np.asarray(((depth - at_depth) / high) ** 2 + ((line - at_line) / wide) ** 2, dtype=np.float32)


# room ---------------------------------------------------------------------------------------------------------------


def _room() -> Iterator[Picture]:
    wall = _van_interior()
    frames = LOOP_S * ROOM_RATE_HZ
    for number in range(frames):
        phase = 2 * math.pi * number / frames
        picture = wall.copy()
        passing = int(70 + 460 * (number / frames)) % 460 + 40
        cv2.rectangle(picture, (passing, 40), (passing + 26, 128), (186, 176, 160), -1)
        cv2.rectangle(picture, (60, 36), (500, 132), (120, 118, 112), 6)
        lean, nod = math.sin(phase), math.sin(3 * phase)
        _person(picture, 205 + 10 * lean, 250 + 4 * nod, 1.12, coat=(216, 211, 200), hair=(44, 40, 34), wave=nod)
        _person(picture, 432 - 7 * lean, 268 + 3 * math.sin(2 * phase), 1.0, (96, 85, 110), (150, 146, 142), wave=-lean)
        cv2.rectangle(picture, (0, 424), (WIDTH_PX, HEIGHT_PX), (88, 96, 100), -1)
        cv2.line(picture, (0, 424), (WIDTH_PX, 424), (140, 148, 150), 3)
        yield np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.9), dtype=np.uint8)


def _van_interior() -> Picture:
    picture = np.empty((HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    shade = np.linspace(96, 66, HEIGHT_PX, dtype=np.float32)[:, None]
    for channel, tint in enumerate((1.06, 1.0, 0.9)):
        picture[:, :, channel] = (shade * tint).astype(np.uint8)
    cv2.rectangle(picture, (60, 36), (500, 132), (150, 142, 126), -1)
    cv2.rectangle(picture, (530, 60), (632, 360), (118, 116, 108), -1)
    for shelf in (150, 250):
        cv2.line(picture, (530, shelf), (632, shelf), (84, 84, 80), 3)
    cv2.rectangle(picture, (548, 80), (614, 132), (60, 58, 40), -1)
    cv2.rectangle(picture, (20, 190), (100, 424), (104, 104, 98), -1)
    return picture


def _person(
    picture: Picture,
    x: float,
    y: float,
    scale: float,
    coat: tuple[int, int, int],
    hair: tuple[int, int, int],
    wave: float,
) -> None:
    def at(right: float, down: float) -> tuple[int, int]:
        return round(x + right * scale), round(y + down * scale)

    def size(wide: float, high: float) -> tuple[int, int]:
        return round(wide * scale), round(high * scale)

    skin = (122, 148, 182)
    cv2.ellipse(picture, at(0, 190), size(104, 138), 0, 180, 360, coat, -1, cv2.LINE_AA)
    cv2.rectangle(picture, at(-104, 188), at(104, 240), coat, -1)
    cv2.line(picture, at(60, 130), at(96, 196 - 26 * wave), coat, round(36 * scale), cv2.LINE_AA)
    cv2.circle(picture, at(98, 200 - 28 * wave), round(17 * scale), skin, -1, cv2.LINE_AA)
    cv2.ellipse(picture, at(0, 60), size(20, 26), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(picture, at(0, -8), size(50, 60), 0, 0, 360, hair, -1, cv2.LINE_AA)
    cv2.ellipse(picture, at(0, 8), size(41, 50), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(picture, at(0, -28), size(42, 24), 0, 180, 360, hair, -1, cv2.LINE_AA)
    for side in (-15, 15):
        cv2.circle(picture, at(side, 4), max(2, round(4 * scale)), (52, 50, 48), -1, cv2.LINE_AA)
    cv2.ellipse(picture, at(0, 30), size(11, 3 + 3 * abs(wave)), 0, 0, 360, (84, 88, 138), -1, cv2.LINE_AA)

"""What the demo's camera that looks out of the van sees: a painted village sign with the van beside it.

Nothing was photographed: meadow, hills, a blue sign with the village's name and code, and the van, marked as painted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sync.proof.areas import Village
from xunzhen.demo.clips import Picture, write_clip

WIDTH_PX, HEIGHT_PX, RATE_HZ, LOOP_S = 1280, 720, 10, 4
JPEG_QUALITY = 82
FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc")
"""Of Debian's fonts-noto-cjk; without it the sign has the village's code only."""
_SIGNATURE_PX = (600, 160)


def render_sign(file: Path, village: Village) -> None:
    """Write the looping clip of the sign of ``village`` unless it is there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_clip(file, _clip(village), RATE_HZ, (WIDTH_PX, HEIGHT_PX))


def sign_photo(village: Village, chance: random.Random) -> bytes:
    """A photo of the sign as JPEG; each in its own light."""
    picture = _scene(village, chance.uniform(0, 1)).astype(np.float32) * chance.uniform(0.8, 1.1)
    picture += chance.uniform(-4, 4)
    shown = np.clip(picture, 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return packed.tobytes()


def painted_signature(chance: random.Random) -> bytes:
    """Strokes of nobody's hand, as PNG."""
    width, height = _SIGNATURE_PX
    sheet = np.full((height, width, 3), 255, np.uint8)
    for stroke in range(9):
        x, y = 60 + stroke * 50 + chance.randint(-12, 12), height // 2 + chance.randint(-34, 34)
        points = [(x, y)]
        for _ in range(5):
            points.append((points[-1][0] + chance.randint(-14, 26), points[-1][1] + chance.randint(-26, 26)))
        cv2.polylines(sheet, [np.array(points, np.int32)], False, (39, 30, 15), 4, cv2.LINE_AA)
    _, packed = cv2.imencode(".png", sheet)
    return packed.tobytes()


def _clip(village: Village) -> Iterator[Picture]:
    frames = RATE_HZ * LOOP_S
    for number in range(frames):
        yield _scene(village, number / frames)


def _scene(village: Village, clouds: float) -> Picture:
    """:param clouds: how far they have drifted, 0 to 1, where they are again as at 0"""
    picture = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    picture[:] = np.linspace((232, 196, 150), (240, 226, 206), HEIGHT_PX)[:, None, :].astype(np.uint8)
    for place, down in ((0, 90), (420, 150), (860, 70)):
        x = round(place + clouds * WIDTH_PX) % WIDTH_PX
        for shift in (x, x - WIDTH_PX):
            cv2.ellipse(picture, (shift, down), (120, 26), 0, 0, 360, (250, 248, 246), -1, cv2.LINE_AA)
    hills = [(0, 470), (190, 330), (390, 440), (640, 290), (900, 430), (1110, 340), (1280, 450), (1280, 720), (0, 720)]
    cv2.fillPoly(picture, [np.array(hills, np.int32)], (122, 150, 118), cv2.LINE_AA)
    cv2.rectangle(picture, (0, 500), (WIDTH_PX, HEIGHT_PX), (104, 158, 132), -1)
    road = np.array([(0, 690), (WIDTH_PX, 610), (WIDTH_PX, 690), (0, HEIGHT_PX + 60)], np.int32)
    cv2.fillPoly(picture, [road], (150, 152, 154), cv2.LINE_AA)
    _van(picture)
    for post in (170, 470):
        cv2.rectangle(picture, (post - 9, 300), (post + 9, 640), (110, 108, 104), -1)
    cv2.rectangle(picture, (90, 160), (550, 350), (150, 84, 24), -1)
    cv2.rectangle(picture, (102, 172), (538, 338), (255, 255, 255), 5)
    return _written(picture, village)


def _van(picture: Picture) -> None:
    cv2.rectangle(picture, (690, 380), (1120, 610), (246, 246, 244), -1)
    cv2.fillPoly(picture, [np.array([(1120, 440), (1190, 500), (1210, 610), (1120, 610)], np.int32)], (246, 246, 244))
    cv2.rectangle(picture, (690, 520), (1206, 545), (96, 126, 12), -1)
    for left in (730, 860):
        cv2.rectangle(picture, (left, 410), (left + 100, 490), (120, 96, 70), -1)
    cv2.fillPoly(picture, [np.array([(1126, 456), (1172, 500), (1126, 500)], np.int32)], (120, 96, 70))
    for wheel in (790, 1100):
        cv2.circle(picture, (wheel, 612), 46, (40, 40, 42), -1, cv2.LINE_AA)
        cv2.circle(picture, (wheel, 612), 20, (170, 170, 172), -1, cv2.LINE_AA)
    cv2.rectangle(picture, (1016, 424), (1036, 484), (96, 126, 12), -1)
    cv2.rectangle(picture, (996, 444), (1056, 464), (96, 126, 12), -1)


def _written(picture: Picture, village: Village) -> Picture:
    """The sign's words, and that all of it is painted."""
    image = Image.fromarray(picture[:, :, ::-1])
    draw = ImageDraw.Draw(image)
    if FONT.exists():
        draw.text((320, 232), village.name, "white", ImageFont.truetype(FONT, 84), anchor="mm")
        draw.text((1040, 700), "演练画面，非实景", "white", ImageFont.truetype(FONT, 26), anchor="rs")
    draw.text((320, 308), village.code, "white", ImageFont.load_default(34), anchor="mm")
    draw.text((1260, 700), "Painted, no photo", "white", ImageFont.load_default(24), anchor="rs")
    return np.asarray(image, np.uint8)[:, :, ::-1].copy()

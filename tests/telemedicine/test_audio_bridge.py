"""The voice bridge: everybody hears everybody else, and sound never piles up."""

from __future__ import annotations

import numpy as np

from devices.clock import SystemClock
from telemedicine.media.audio import FRAME_SAMPLES, QUEUE_FRAMES, AudioBridge


async def test_everybody_hears_everybody_else_and_nobody_himself() -> None:
    bridge = AudioBridge(SystemClock())
    lines = [bridge.join(name) for name in ("kiosk", "first", "second")]
    for _ in range(4):
        for level, line in enumerate(lines):
            bridge.said(line, np.full(FRAME_SAMPLES, 10 ** (level + 1), dtype=np.int16))
    heard = [int((await line.recv()).to_ndarray()[0, 0]) for line in lines]
    assert heard == [1100, 1010, 110]
    lines[2].stop()
    assert int((await lines[0].recv()).to_ndarray()[0, 0]) == 100, "who left is not heard any more"


async def test_sound_that_is_not_fetched_does_not_pile_up() -> None:
    bridge = AudioBridge(SystemClock())
    speaker, listener = bridge.join("speaker"), bridge.join("listener")
    for number in range(100):
        bridge.said(speaker, np.full(FRAME_SAMPLES, number, dtype=np.int16))
    assert int((await listener.recv()).to_ndarray()[0, 0]) == 100 - QUEUE_FRAMES, "the oldest sound was given up"


async def test_loud_voices_do_not_wrap_around() -> None:
    bridge = AudioBridge(SystemClock())
    first, second, listener = (bridge.join(name) for name in ("a", "b", "c"))
    for line in (first, second):
        for _ in range(3):
            bridge.said(line, np.full(FRAME_SAMPLES, 30_000, dtype=np.int16))
    assert int((await listener.recv()).to_ndarray()[0, 0]) == 32_767

"""Makes the clips of a pack with espeak-ng, as Ogg Opus: ours were made so, and a county may start from it.

What a program speaks is not covered by the program's licence (espeak-ng is GPL-3.0-or-later; FSF, "Frequently Asked
Questions about the GNU Licenses", GPLOutput), so the clips carry this project's.
"""

from __future__ import annotations

import io
import subprocess
import tomllib
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from devices.errors import AskPerson
from vehicle.voice.packs import MANIFEST

VOICES = {"zh": "cmn-latn-pinyin", "en": "en-us", "ug": "ug"}
WORDS_PER_MINUTE = 150
"""Slow: old people listen, in a van."""
RATE_HZ = 48000
BIT_RATE = 20_000
SILENCE_S = 0.06
"""Left at both ends, so that numbers made of clips are not torn apart."""
QUIET = 0.01
"""Of full scale: what is softer at the ends is cut."""
PEAK = 0.8

Samples = npt.NDArray[np.float32]
"""Mono, -1 to 1, at ``RATE_HZ``."""


class SpeakerMissing(AskPerson):
    """espeak-ng is not there; the message names the Debian package."""

    code = "voice_speaker_missing"


def make(folder: Path, language: str) -> int:
    """Speak every text of the pack's manifest into ``folder``; returns how many clips were made.

    What stands in ``[spoken]`` is read in place of the text: Pinyin, as espeak-ng 1.51 knows no Chinese characters.

    :raises SpeakerMissing: no espeak-ng on this computer
    :raises KeyError: espeak-ng has no voice for the language
    """
    manifest = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    texts: dict[str, str] = manifest["clips"] | manifest.get("spoken", {})
    voice = VOICES[language]
    for clip_id, text in texts.items():
        (folder / f"{clip_id}.ogg").write_bytes(opus(trimmed(speak(text, voice))))
    return len(texts)


def speak(text: str, voice: str) -> Samples:
    """What espeak-ng says."""
    command = ["espeak-ng", "-v", voice, "-s", str(WORDS_PER_MINUTE), "--stdout", text]
    try:
        wave = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except FileNotFoundError:
        raise SpeakerMissing("making prompts needs the Debian package espeak-ng: install it") from None
    with av.open(io.BytesIO(wave), "r", format="wav") as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        frames = [frame for raw in file.decode(audio=0) for frame in resampler.resample(raw)]
        frames += resampler.resample(None)
    samples: Samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return samples


def trimmed(samples: Samples) -> Samples:
    """Without the silence at both ends but a little, as loud as all others."""
    loud = np.flatnonzero(np.abs(samples) > QUIET)
    if not len(loud):
        return samples
    margin = int(SILENCE_S * RATE_HZ)
    kept = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    louder: Samples = (kept * (PEAK / np.abs(kept).max())).astype(np.float32)
    return louder


def opus(samples: Samples) -> bytes:
    """Ogg Opus of mono samples at ``RATE_HZ``."""
    written = io.BytesIO()
    with av.open(written, "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=RATE_HZ, layout="mono", bit_rate=BIT_RATE)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ, frame_size=stream.frame_size or 960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return written.getvalue()

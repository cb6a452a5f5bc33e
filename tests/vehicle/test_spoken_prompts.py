"""Spoken prompts: numbers as clips, packs and what is wrong with them, sentences with fallback to Mandarin."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from touch_bench import Bench, settings_in

from devices.clock import SystemClock
from sync.web.catalog import texts
from vehicle.touchscreen.voice import BY_HAND
from vehicle.voice.numbers import COUNTINGS, clips_needed, number_clips
from vehicle.voice.packs import PackRefused, read_pack
from vehicle.voice.settings import VoiceSettings
from vehicle.voice.voice import GRADES, OURS, Voice

TYPES = ("blood_pressure", "glucose", "pulse_oximetry", "temperature", "heart_rate", "weight")
OGG = b"OggS" + bytes(60)


@pytest.mark.parametrize(
    ("written", "counting", "said"),
    [
        ("162", "zh", "1 100 6 10 2"),
        ("105", "zh", "1 100 0 5"),
        ("110", "zh", "1 100 1 10"),
        ("15", "zh", "10 5"),
        ("10", "zh", "10"),
        ("98", "zh", "9 10 8"),
        ("200", "zh", "2 100"),
        ("0", "zh", "0"),
        ("6.4", "zh", "6 point 4"),
        ("36.50", "zh", "3 10 6 point 5 0"),
        ("162", "en", "1 100 60 2"),
        ("117", "en", "1 100 17"),
        ("90", "en", "90"),
        ("100", "en", "1 100"),
        ("0.5", "en", "0 point 5"),
        ("162", "digits", "1 6 2"),
        ("1620", "zh", "1 6 2 0"),
    ],
)
def test_numbers_as_they_are_spoken(written: str, counting: str, said: str) -> None:
    assert number_clips(written, counting) == [f"n_{word}" for word in said.split()]  # type: ignore[arg-type]


@given(st.integers(0, 999), st.sampled_from(("zh", "en")))
def test_what_is_spoken_can_be_counted_back(number: int, counting: str) -> None:
    total, ones = 0, 0
    for clip in number_clips(str(number), counting):  # type: ignore[arg-type]
        value = int(clip.removeprefix("n_"))
        if value == 100:
            total, ones = total + ones * 100, 0
        elif value == 10 and counting == "zh":
            total, ones = total + (ones or 1) * 10, 0
        else:
            total, ones = (total + ones, value) if counting == "en" else (total, value)
    assert total + ones == number


@pytest.mark.parametrize("written", ["", "-3", "1e3", "162/98", "1.", ".5", "³", "1.2.3"])
def test_what_is_no_number_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="number"):
        number_clips(written, "zh")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_our_packs_are_whole(language: str) -> None:
    pack = read_pack(OURS / language)
    assert clips_needed(pack.counting) <= pack.clips.keys()
    assert {f"grade_{grade}" for grade in GRADES} <= pack.clips.keys()
    assert {*BY_HAND, "critical", "consent", "measured"} <= pack.clips.keys()
    assert pack.sentences.keys() >= set(TYPES)
    assert pack.clips["consent"].text == texts(language)("clinic.consent.text")
    words = {word for row in pack.sentences.values() for word in row.split() if not word.startswith("{")}
    assert words <= pack.clips.keys()


@pytest.mark.parametrize("path", sorted(OURS.glob("*/*.ogg")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_clip_is_heard(path: Path) -> None:
    with av.open(str(path)) as file:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
        seconds = len(samples) / file.streams.audio[0].rate
    assert 0.15 < seconds < 60
    assert np.sqrt(np.mean(np.square(samples))) > 0.02


def test_a_result_in_words_and_numbers() -> None:
    voice = Voice(VoiceSettings())
    said = voice.say("blood_pressure", {"systolic_mmhg": "168", "diastolic_mmhg": "98", "grade": "grade_orange"})
    assert "".join(one.clip.text for one in said) == "您的血压高压一百六十八低压九十八不正常，请听医生的建议。"
    said = voice.say("blood_pressure", {"systolic_mmhg": "168", "diastolic_mmhg": "98"}, "en")
    assert " ".join(one.clip.text for one in said) == "Your blood pressure is one hundred sixty eight over ninety eight"
    assert voice.say("song") == []


# a county's own packs -------------------------------------------------------------------------------------------------


def pack(folder: Path, manifest: str, *clips: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "pack.toml").write_text(manifest, encoding="utf-8")
    for clip in clips:
        (folder / clip).write_bytes(OGG)
    return folder


UIGHUR = """
language = "ug"
title = "ئۇيغۇرچە"
speaker = "a nurse of the county hospital"
licence = "CC-BY-4.0"
[sentences]
blood_pressure = "your_blood_pressure {diastolic_mmhg} {systolic_mmhg} {grade}"
[clips]
your_blood_pressure = "قان بېسىمىڭىز"
n_9 = "توققۇز"
n_8 = "سەككىز"
"""


def test_a_county_pack_has_its_own_order_and_is_filled_up_in_mandarin(tmp_path: Path) -> None:
    pack(tmp_path / "uighur", UIGHUR, "your_blood_pressure.ogg", "n_9.ogg", "n_8.ogg")
    voice = Voice(VoiceSettings(language="ug", packs=tmp_path))
    assert voice.language == "ug"
    said = voice.say("blood_pressure", {"systolic_mmhg": "168", "diastolic_mmhg": "98", "grade": "grade_red"})
    assert [(one.language, one.clip.id) for one in said] == [
        ("ug", "your_blood_pressure"),
        *(("ug", "n_9"), ("ug", "n_8")),
        *(("zh", "n_1"), ("zh", "n_6"), ("ug", "n_8")),
        ("zh", "grade_red"),
    ]
    assert [one.language for one in voice.say("sit_quietly")] == ["zh"]
    voice.language = "en"
    voice.somebody_else(None)
    assert voice.language == "ug"


@pytest.mark.parametrize(
    ("manifest", "clips", "told"),
    [
        pytest.param("language = ", (), "cannot be read", id="no TOML"),
        pytest.param(UIGHUR.replace('licence = "CC-BY-4.0"', ""), (), "licence is missing", id="no licence"),
        pytest.param(UIGHUR.replace('"ug"', '"Uighur"'), (), "no ISO 639 code", id="no code"),
        pytest.param(UIGHUR.replace("title", 'counting = "cn"\ntitle', 1), (), "counting is one of", id="counting"),
        pytest.param(UIGHUR.partition("[clips]")[0], (), "below \\[clips\\]", id="no clips"),
        pytest.param(UIGHUR, ("n_9.ogg", "n_8.ogg"), "your_blood_pressure.ogg is missing", id="a clip is missing"),
        pytest.param(UIGHUR, ("your_blood_pressure.ogg", "n_9.ogg", "n_8.ogg", "x.ogg"), "x.ogg", id="no text"),
        pytest.param(UIGHUR.replace("n_9 =", '"n 9" ='), (), "needs a text|missing", id="no id"),
    ],
)
def test_a_pack_that_is_wrong_says_where(tmp_path: Path, manifest: str, clips: tuple[str, ...], told: str) -> None:
    folder = pack(tmp_path / "ug", manifest, *clips)
    with pytest.raises(PackRefused, match=told):
        read_pack(folder)
    voice = Voice(VoiceSettings(language="ug", packs=tmp_path))
    assert len(voice.refused) == 1
    assert voice.language == "zh"
    assert voice.say("sit_quietly")


async def test_a_pack_that_is_wrong_stands_on_status_with_what_to_do(tmp_path: Path) -> None:
    pack(tmp_path / "packs" / "uighur", UIGHUR, "n_9.ogg")
    settings = settings_in(tmp_path).model_copy(update={"voice": VoiceSettings(packs=tmp_path / "packs")})
    bench = Bench(tmp_path, SystemClock(), settings=settings)
    try:
        (fault,) = [row for row in bench.vehicle.health.status()["faults"] if row["code"] == "voice_pack_refused"]
        assert fault["subject"] == "uighur"
        assert "check" in fault["next_step"]
    finally:
        await bench.vehicle.stop()


def test_a_file_that_is_no_clip_is_refused(tmp_path: Path) -> None:
    folder = pack(tmp_path / "ug", UIGHUR, "your_blood_pressure.ogg", "n_9.ogg")
    (folder / "n_8.wav").write_bytes(b"ID3 an mp3")
    with pytest.raises(PackRefused, match="no wav file"):
        read_pack(folder)
    with pytest.raises(PackRefused, match=r"pack\.toml is not there"):
        read_pack(tmp_path)


def test_every_way_of_counting_needs_clips() -> None:
    assert {counting: len(clips_needed(counting)) for counting in COUNTINGS} == {"zh": 13, "en": 30, "digits": 11}

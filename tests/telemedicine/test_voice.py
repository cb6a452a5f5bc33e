"""Voice: who hears whom, what a lossy network leaves of it, and what it costs on the wire."""

from __future__ import annotations

import random

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from devices.clock import SystemClock
from telemedicine.media.audio import QUEUE_PACKETS, SPARING_FRAMES, AudioBridge, mixed
from telemedicine.media.opus import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    TERMS,
    PacketDamaged,
    Sound,
    VoiceDecoder,
    VoiceEncoder,
    with_terms,
)
from telemedicine.media.voice_buffer import LEAST_FRAMES, MOST_FRAMES, ROOM_FRAMES, VoiceBuffer

HEADERS_BYTES = 20 + 8 + 12 + 16 + 10
"""IPv4, UDP, RTP, header extensions, SRTP tag."""


def speech(seconds: float, seed: int = 1) -> Sound:
    """A voiced tone with formants that swells three times a second, and breath."""
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    voiced = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)
    breath = np.random.default_rng(seed).normal(0, 150, len(t))
    return np.asarray(3500 * voiced * swell + breath, dtype=np.int16)


def packets(sound: Sound, frames: int = 1) -> list[bytes | None]:
    encoder, size = VoiceEncoder(), FRAME_SAMPLES * frames
    return [encoder.encode(sound[at : at + size]) for at in range(0, len(sound) - size + 1, size)]


def loudness(sound: Sound) -> float:
    return float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))


def played(
    buffer: VoiceBuffer, sent: list[bytes | None], lost: set[int], order: list[int] | None = None
) -> list[Sound]:
    """What is heard when packet i comes at moment ``order[i]`` of 20 ms; moments without sound are left out."""
    arrivals = order or list(range(len(sent)))
    heard = []
    for moment in range(max(arrivals) + 1):
        for number, packet in enumerate(sent):
            if arrivals[number] == moment and packet is not None and number not in lost:
                buffer.put(number % 65_536, (number * FRAME_SAMPLES) % (1 << 32), packet)
        sound = buffer.take()
        if sound is not None:
            heard.append(sound)
    return heard


def test_a_voice_takes_24_kbit_s_and_silence_almost_nothing() -> None:
    sent = packets(speech(4))
    assert sum(len(packet) for packet in sent if packet) * 8 / 4 == pytest.approx(24_000, rel=0.1)
    quiet = packets(np.zeros(4 * SAMPLE_RATE_HZ, dtype=np.int16))
    assert sum(packet is not None for packet in quiet[50:]) <= 8, "two to three packets a second say that it is there"


def test_where_bits_are_scarce_a_voice_leaves_room_for_the_ecg() -> None:
    encoder = VoiceEncoder()
    encoder.set_bit_rate(16_000)
    sound, size = speech(6), FRAME_SAMPLES * SPARING_FRAMES
    sent = [encoder.encode(sound[at : at + size]) for at in range(0, len(sound) - size + 1, size)]
    on_the_wire = sum(len(packet) + HEADERS_BYTES for packet in sent if packet) * 8 / 6
    assert on_the_wire < 28_000


@pytest.mark.parametrize(("loss_percent", "burst"), [(5, 1), (10, 1), (4, 4)])
def test_a_lost_packet_is_not_heard_as_a_hole(loss_percent: int, burst: int) -> None:
    sent = packets(speech(10))
    chance = random.Random(7)
    lost: set[int] = set()
    for number in range(10, len(sent)):
        if chance.random() < loss_percent / 100 / burst:
            lost |= set(range(number, number + burst))
    buffer = VoiceBuffer()
    heard = played(buffer, sent, lost)
    whole = played(VoiceBuffer(), sent, set())
    assert len(lost) > 10
    assert abs(len(heard) - len(whole)) <= 2, "as long as without loss"
    holes = sum(loudness(sound) < 0.1 * loudness(like) for sound, like in zip(heard, whole, strict=False))
    assert holes <= len(heard) * 0.01
    if burst == 1:
        assert buffer.counts.recovered >= 0.7 * len(lost), "the next packet carries a copy"


def test_the_copy_in_the_next_packet_is_nearer_than_a_guess() -> None:
    sent = packets(speech(6))
    whole, copied, guessed = VoiceDecoder(), VoiceDecoder(), VoiceDecoder()
    copy_error = guess_error = 0.0
    for number, packet in enumerate(sent[:-1]):
        assert packet is not None
        right = whole.decode(packet).astype(float)
        if number % 10 == 5:
            following = sent[number + 1]
            assert following is not None
            copy_error += loudness(copied.recover(following) - right)
            guess_error += loudness(guessed.conceal() - right)
        else:
            copied.decode(packet)
            guessed.decode(packet)
    assert copy_error < 0.8 * guess_error


def test_jitter_makes_it_wait_longer_and_calm_less_again() -> None:
    sent = packets(speech(40))
    chance = random.Random(3)
    arrivals = [n + (chance.randrange(5) if 20 < n < 400 else 0) for n in range(len(sent))]
    buffer = VoiceBuffer()
    played(buffer, sent[:400], set(), arrivals[:400])
    assert LEAST_FRAMES < buffer.kept_frames <= MOST_FRAMES
    grown = buffer.kept_frames
    late = buffer.counts.late
    for number in range(400, len(sent)):
        packet = sent[number]
        assert packet is not None
        buffer.put(number, number * FRAME_SAMPLES, packet)
        buffer.take()
    assert buffer.kept_frames < grown
    assert buffer.counts.late == late


def test_what_comes_twice_late_or_damaged_is_no_sound_of_its_own() -> None:
    buffer = VoiceBuffer()
    sent = packets(speech(1))
    for number, packet in enumerate(sent):
        assert packet is not None
        buffer.put(number, number * FRAME_SAMPLES, packet)
        buffer.put(number, number * FRAME_SAMPLES, packet)
        buffer.put(0, 0, packet)
        buffer.put(number, number * FRAME_SAMPLES, b"")
        buffer.take()
    assert buffer.counts.heard <= len(sent)
    buffer.put(len(sent), len(sent) * FRAME_SAMPLES, b"\xff" * 60)
    for _ in range(5):
        buffer.take()
    with pytest.raises(PacketDamaged):
        VoiceDecoder().decode(b"\xff" * 60)


def test_sequence_and_timestamp_wrap_around() -> None:
    buffer = VoiceBuffer()
    for number, packet in enumerate(packets(speech(2))):
        assert packet is not None
        buffer.put(
            (65_500 + number) % 65_536, ((1 << 32) - 20 * FRAME_SAMPLES + number * FRAME_SAMPLES) % (1 << 32), packet
        )
        buffer.take()
    assert buffer.counts.heard >= 95
    assert buffer.counts.late == buffer.counts.concealed == 0


def test_a_flood_of_packets_does_not_pile_up() -> None:
    buffer = VoiceBuffer()
    for number, packet in enumerate(packets(speech(4))):
        assert packet is not None
        buffer.put(number, number * FRAME_SAMPLES, packet)
    waiting = 0
    while buffer.take() is not None:
        waiting += 1
    assert waiting <= LEAST_FRAMES + ROOM_FRAMES + 6
    assert buffer.counts.dropped > 150


def test_everybody_hears_everybody_else_and_nobody_himself() -> None:
    names = ["kiosk", "first", "second"]
    said = {name: np.full(FRAME_SAMPLES, 10 ** (level + 1), dtype=np.int16) for level, name in enumerate(names)}
    heard = {name: int(sound[0]) for name, sound in mixed(said).items()}
    assert heard == {"kiosk": 1100, "first": 1010, "second": 110}
    silent = mixed({**said, "first": None})
    assert {name: int(sound[0]) for name, sound in silent.items()} == {"kiosk": 1000, "first": 1010, "second": 10}
    loud = mixed(dict.fromkeys(names, np.full(FRAME_SAMPLES, 30_000, dtype=np.int16)))
    assert {int(sound[0]) for sound in loud.values()} == {32_767}, "cut, not wrapped around"


async def test_a_line_sends_what_the_others_say_and_ends_with_its_leg() -> None:
    bridge = AudioBridge(SystemClock())
    speaker, listener = bridge.join("speaker"), bridge.join("listener")
    decoder, heard = VoiceDecoder(), []
    for number, packet in enumerate(packets(speech(1))):
        assert packet is not None
        speaker.take_packet(number, number * FRAME_SAMPLES, packet)
        bridge.mix()
        if number >= 10:
            heard.append(loudness(decoder.decode(bytes(await listener.recv()))))
    assert sum(heard) / len(heard) > 1_000
    speaker.stop()
    listener.stop()
    with pytest.raises(MediaStreamError):
        await listener.recv()


async def test_packets_that_are_not_fetched_do_not_pile_up() -> None:
    bridge = AudioBridge(SystemClock())
    line = bridge.join("listener")
    for number in range(100):
        line.say(speech(0.02, seed=number), 1)
    assert line._packets.qsize() <= QUEUE_PACKETS
    line.stop()


def test_our_terms_stand_in_the_answer_once() -> None:
    answer = "m=audio 9 RTP 111 0\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=rtpmap:0 PCMU/8000\r\n"
    told = with_terms(answer)
    assert told.count("a=fmtp:111") == 1
    assert f"a=rtpmap:111 opus/48000/2\r\na=fmtp:111 {TERMS}\r\n" in told
    assert with_terms(told) == told

"""Samples for a narrow link: a header of a few bytes, counts coded without loss. A quarter of ``devices.wire``. Pure.

``u8 form | u8 0x80 + version | segment, first_index, n as LEB128 | bits``. What stays the same from chunk to chunk (the
``SampleForm``) is told once, by other means, under the number in the first byte. In a plain frame the second byte is
at most 0x10, so both may come on one channel (``is_packed``). Every frame is readable alone: others may be lost.

Bits, most significant first, one channel after the other: 2 bits mode. Mode 3: all counts are the same, it follows in
16 bits. Mode 0 to 2: the counts are differenced so many times; 4 bits k; the first ``mode`` counts as they are, 16 bits
each; then each difference, folded to 0, -1, 1, -2, ... = 0, 1, 2, 3, ..., as a Rice code: its part above k bits in
unary (ones, closed by a zero), then k bits; 20 ones are followed by the whole number in 18 bits. The last byte is
filled up with zeros.

The differences are the fixed predictors of FLAC (RFC 9639, 9.2.5), the codes those of R. F. Rice, "Some practical
universal noiseless coding techniques", JPL 79-22. The twin for browsers is ``devices/web/packed_samples.js``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.errors import DropFrame
from devices.readings import Samples

VERSION = 1
PROTOCOL = f"packed/{VERSION}"
"""As a data channel's subprotocol: who opens the channel understands packed frames of this version."""
MARK = 0x80
MOST_FORMS = 256
MOST_SAMPLES = 10_000
_MODE_BITS, _K_BITS, _COUNT_BITS, _WHOLE_BITS = 2, 4, 16, 18
_CONSTANT, _ORDERS = 3, (0, 1, 2)
_MOST_K = 15
_ESCAPE_ONES = 20

Ints = npt.NDArray[np.int64]


class PackedUnreadable(DropFrame):
    code = "packed_frame_unreadable"


@dataclass(frozen=True, slots=True)
class SampleForm:
    """What all chunks of a device have in common; see ``Samples``."""

    device: str
    stream: str
    channels: tuple[str, ...]
    sample_rate_hz: float
    resolution: float
    unit: str


def form_of(device: str, samples: Samples) -> SampleForm:
    return SampleForm(
        device, samples.stream, samples.channels, samples.sample_rate_hz, samples.resolution, samples.unit
    )


def is_packed(frame: bytes) -> bool:
    """Whether ``frame`` is of this form, of any version, rather than of ``devices.wire``."""
    return len(frame) > 1 and frame[1] >= MARK


def pack(form: int, samples: Samples) -> bytes:
    """The frame of one chunk.

    :param form: the number under which ``form_of`` these samples was told
    :raises ValueError: ``counts`` is not int16 of shape (n, channels), or more than ``MOST_SAMPLES`` long; a number is
        out of range
    """
    counts = samples.counts
    if counts.ndim != 2 or counts.shape[1] != len(samples.channels) or counts.dtype != np.int16:
        raise ValueError(f"{counts.dtype} counts of shape {counts.shape} do not fit {len(samples.channels)} channels")
    if len(counts) > MOST_SAMPLES or not 0 <= form < MOST_FORMS or min(samples.segment, samples.first_index) < 0:
        raise ValueError(f"{len(counts)} samples from {samples.first_index} of form {form} do not go into one frame")
    head = bytes([form, MARK + VERSION])
    numbers = _leb128(samples.segment) + _leb128(samples.first_index) + _leb128(len(counts))
    return head + numbers + (_bits(counts.astype(np.int64)) if counts.size else b"")


def unpack(frame: bytes, forms: Mapping[int, SampleForm]) -> tuple[str, Samples]:
    """(device, samples) of a frame made by ``pack``.

    :raises PackedUnreadable: its form was not told, it is of another version, cut short, or longer than it says
    """
    if not is_packed(frame) or frame[1] != MARK + VERSION or frame[0] not in forms:
        raise PackedUnreadable("not a packed samples frame of this version and of a form that was told")
    form, at, numbers = forms[frame[0]], 2, []
    for _ in range(3):
        number, at = _number(frame, at)
        numbers.append(number)
    segment, first_index, n = numbers
    if n > MOST_SAMPLES:
        raise PackedUnreadable(f"a frame of {n} samples")
    bits = _BitReader(frame, at)
    counts: Ints = np.zeros((n, len(form.channels)), dtype=np.int64)
    for channel in range(len(form.channels) if n else 0):
        counts[:, channel] = _channel(bits, n)
    bits.close()
    samples = Samples(
        stream=form.stream,
        channels=form.channels,
        sample_rate_hz=form.sample_rate_hz,
        segment=segment,
        first_index=first_index,
        counts=counts.astype(np.int16),
        resolution=form.resolution,
        unit=form.unit,
    )
    return form.device, samples


# writing


def _bits(counts: Ints) -> bytes:
    """The channels' bits; ``counts`` of shape (n, channels), n > 0."""
    numbers: list[Ints] = []
    lengths: list[Ints] = []
    coded = [_folded(counts, order) for order in _ORDERS if order <= len(counts)]
    costs = np.stack([_costs(folded, order) for order, folded in enumerate(coded)])  # order, k, channel
    constant = (counts == counts[0]).all(axis=0)
    for channel in range(counts.shape[1]):
        column = counts[:, channel]
        if constant[channel]:
            numbers.append(np.array([_CONSTANT, column[0] & 0xFFFF]))
            lengths.append(np.array([_MODE_BITS, _COUNT_BITS]))
            continue
        order, k = (int(best) for best in np.unravel_index(costs[:, :, channel].argmin(), costs.shape[:2]))
        numbers.append(np.concatenate([[order, k], column[:order] & 0xFFFF]))
        lengths.append(np.concatenate([[_MODE_BITS, _K_BITS], np.full(order, _COUNT_BITS)]))
        code, length = _rice(coded[order][:, channel], k)
        numbers.append(code)
        lengths.append(length)
    return _joined(np.concatenate(numbers), np.concatenate(lengths))


def _folded(counts: Ints, order: int) -> Ints:
    difference = np.diff(counts, n=order, axis=0)
    return np.where(difference >= 0, 2 * difference, -2 * difference - 1)


def _costs(folded: Ints, order: int) -> Ints:
    """Bits that each channel takes with each k, of shape (k, channels)."""
    quotients = folded[None] >> np.arange(_MOST_K + 1)[:, None, None]
    each = np.where(
        quotients < _ESCAPE_ONES,
        quotients + 1 + np.arange(_MOST_K + 1)[:, None, None],
        _ESCAPE_ONES + _WHOLE_BITS,
    )
    total: Ints = each.sum(axis=1) + order * _COUNT_BITS
    return total


def _rice(folded: Ints, k: int) -> tuple[Ints, Ints]:
    """(code, its length) of each number."""
    quotients = folded >> k
    ones = np.minimum(quotients, _ESCAPE_ONES)
    escaped = quotients >= _ESCAPE_ONES
    short = (((1 << ones) - 1) << (k + 1)) | (folded & ((1 << k) - 1))
    whole = (((1 << ones) - 1) << _WHOLE_BITS) | folded
    return np.where(escaped, whole, short), np.where(escaped, _ESCAPE_ONES + _WHOLE_BITS, ones + 1 + k)


def _joined(numbers: Ints, lengths: Ints) -> bytes:
    """``numbers`` one behind the other, each in its own number of bits."""
    ends = np.cumsum(lengths)
    left = np.repeat(ends, lengths) - np.arange(int(ends[-1])) - 1
    return np.packbits(((np.repeat(numbers, lengths) >> left) & 1).astype(np.uint8)).tobytes()


def _leb128(number: int) -> bytes:
    """Seven bits a byte, the least significant first, the top bit on all but the last (DWARF 4, 7.6)."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# reading


def _number(frame: bytes, at: int) -> tuple[int, int]:
    """(the LEB128 number at ``at``, where it ends); below 2**49, which a JavaScript number holds."""
    number = 0
    for place in range(7):
        if at + place >= len(frame):
            break
        byte = frame[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise PackedUnreadable("the header is cut off")


class _BitReader:
    def __init__(self, frame: bytes, at: int) -> None:
        self._whole = int.from_bytes(frame[at:])
        self._left = 8 * (len(frame) - at)

    def take(self, count: int) -> int:
        if count > self._left:
            raise PackedUnreadable("the frame is cut off")
        self._left -= count
        return self._whole >> self._left & ((1 << count) - 1)

    def ones(self) -> int:
        """Ones up to the closing zero, or ``_ESCAPE_ONES``, which none closes."""
        count = 0
        while count < _ESCAPE_ONES and self.take(1):
            count += 1
        return count

    def close(self) -> None:
        if self._left >= 8 or self.take(self._left):
            raise PackedUnreadable("the frame is longer than it says")


def _channel(bits: _BitReader, n: int) -> Ints:
    mode = bits.take(_MODE_BITS)
    if mode == _CONSTANT:
        return np.full(n, _signed(bits.take(_COUNT_BITS)))
    if mode > n:
        raise PackedUnreadable(f"{n} samples cannot be differenced {mode} times")
    k = bits.take(_K_BITS)
    counts = [_signed(bits.take(_COUNT_BITS)) for _ in range(mode)]
    for at in range(mode, n):
        ones = bits.ones()
        folded = bits.take(_WHOLE_BITS) if ones == _ESCAPE_ONES else ones << k | bits.take(k)
        difference = folded >> 1 ^ -(folded & 1)
        if mode == 1:
            difference += counts[at - 1]
        elif mode == 2:
            difference += 2 * counts[at - 1] - counts[at - 2]
        if not -32768 <= difference <= 32767:
            raise PackedUnreadable("a count does not fit 16 bits")
        counts.append(difference)
    return np.array(counts, dtype=np.int64)


def _signed(number: int) -> int:
    return number - 0x10000 if number >= 0x8000 else number

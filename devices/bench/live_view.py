"""What ``watch`` shows in a terminal: values, rates, waves and counters of one device, as lines of text. Pure."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator

import numpy as np

from devices.readings import INVALID_COUNT, DeviceState, IdentityCard, Link, Samples, Stamped

RATE_OVER_S = 5.0
WAVE_COLUMNS = 60
WAVE_SECONDS = 3.0
STEPS = "▁▂▃▄▅▆▇█"
HIDDEN = {"kind", "device_said_at"}


@dataclasses.dataclass(slots=True)
class _Stream:
    """One waveform: how fast it comes, and its last seconds."""

    samples: Samples
    arrived: deque[tuple[float, int]] = dataclasses.field(default_factory=deque)
    recent: deque[int] = dataclasses.field(default_factory=deque)


class LiveView:
    """
    :param show_personal: whether an identity card's contents are shown
    """

    def __init__(self, driver: str, title: str, show_personal: bool = False) -> None:
        self._head = f"{title}  [{driver}]"
        self._show_personal = show_personal
        self._state = DeviceState(Link.ABSENT)
        self._values: dict[str, tuple[float, str, list[str]]] = {}
        self._streams: dict[str, _Stream] = {}

    def take(self, stamped: Stamped) -> None:
        event, now_s = stamped.event, stamped.received_mono_s
        if isinstance(event, DeviceState):
            self._state = event
            if event.link not in (Link.CONNECTED, Link.DEGRADED):
                self._streams.clear()
        elif isinstance(event, Samples):
            self._take_samples(event, now_s)
        else:
            at = stamped.received_at.astimezone().strftime("%H:%M:%S")
            hidden = isinstance(event, IdentityCard) and not self._show_personal
            self._values[event.kind] = (now_s, at, ["hidden, use --show-personal"] if hidden else list(_said(event)))

    def _take_samples(self, samples: Samples, now_s: float) -> None:
        stream = self._streams.setdefault(samples.stream, _Stream(samples))
        stream.samples = samples
        stream.arrived.append((now_s, len(samples.counts)))
        stream.recent.extend(int(count) for count in samples.counts[:, 0])
        while len(stream.recent) > samples.sample_rate_hz * WAVE_SECONDS:
            stream.recent.popleft()

    def lines(self, now_s: float, place: str = "", width: int = 100) -> list[str]:
        """The screen at this moment, each line at most ``width`` characters."""
        state = self._state
        counters = "  ".join(f"{name} {n}" for name, n in state.counters.items()) or "no frame yet"
        told = [self._head, f"{place}  {_words(state)}", ""]
        for kind, (at_s, at, said) in self._values.items():
            age = "" if now_s - at_s < RATE_OVER_S else f"  ({now_s - at_s:.0f} s ago)"
            told.append(f"{kind:18} {'  '.join(said)}  {at}{age}")
        for name, stream in self._streams.items():
            rate = f"{self._rate(stream, now_s):6.1f} Hz of {stream.samples.sample_rate_hz:g}"
            told.append(f"{name:18} {rate}  {' '.join(stream.samples.channels)}")
            told.append(f"{'':18} {wave(list(stream.recent), WAVE_COLUMNS)}")
        told += ["", counters, "Ctrl-C ends"]
        return [line[:width] for line in told]

    @staticmethod
    def _rate(stream: _Stream, now_s: float) -> float:
        while stream.arrived and now_s - stream.arrived[0][0] > RATE_OVER_S:
            stream.arrived.popleft()
        if len(stream.arrived) < 2:
            return 0.0
        first_s, first_n = stream.arrived[0]
        return (sum(n for _, n in stream.arrived) - first_n) / max(stream.arrived[-1][0] - first_s, 1e-3)


def wave(counts: list[int], columns: int) -> str:
    """A waveform in blocks, lowest to highest of what is there; a dot where there is no value."""
    if not counts:
        return ""
    parts = np.array_split(np.array(counts, dtype=float), min(columns, len(counts)))
    means = [float(part[part != INVALID_COUNT].mean()) if (part != INVALID_COUNT).any() else None for part in parts]
    known = [mean for mean in means if mean is not None]
    if not known:
        return "·" * len(means)
    low, span = min(known), (max(known) - min(known)) or 1.0
    return "".join("·" if mean is None else STEPS[round((mean - low) / span * (len(STEPS) - 1))] for mean in means)


def _said(event: object) -> Iterator[str]:
    """``spo2_percent 97`` for each field that says something."""
    assert dataclasses.is_dataclass(event)
    for field in dataclasses.fields(event):
        said = getattr(event, field.name)
        if said is not None and said != () and field.name not in HIDDEN:
            yield f"{field.name} {said:.6g}" if isinstance(said, float) else f"{field.name} {said}"


def _words(state: DeviceState) -> str:
    parts = [str(state.link), "" if state.sensor == "unknown" else f"sensor {state.sensor}", " ".join(state.leads_off)]
    parts += [f"battery {state.battery_percent} %" if state.battery_percent is not None else "", state.fault or ""]
    return "  ".join(part for part in parts if part)

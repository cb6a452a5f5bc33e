"""The ECG chain of one recording: samples in, events out. Pure, streaming, bounded memory.

    chain = EcgChain(("I", "II", "V1"), fs_hz=500)
    for event in chain.push(mv):  # float64[n, 3], NaN where there is no value
        ...
    chain.gap(250)  # 250 samples were lost: numbering goes on behind them, detection starts anew
    events = chain.flush()

Results do not depend on how the samples are cut into pushes, bit for bit, nor on what comes after them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.events import Event

Millivolts = npt.NDArray[np.float64]


class EcgChain:
    """``leads``: IEEE 11073 names in the order of the columns, "ECG" for a free single lead. ``fs_hz``: 100..2000."""

    def __init__(self, leads: Sequence[str], fs_hz: float) -> None:
        if not leads:
            raise ValueError("an ECG chain needs at least one lead")
        if not 100 <= fs_hz <= 2000:
            raise ValueError(f"{fs_hz} samples a second: the ECG chain takes 100 to 2000")
        self.leads = tuple(leads)
        self.fs_hz = float(fs_hz)
        self.samples = 0
        """Samples pushed or missing so far: the index of the next one."""

    def push(self, mv: Millivolts, lead_off: npt.NDArray[np.bool_] | None = None) -> list[Event]:
        """``mv``: float64[n, leads] in millivolts, NaN where there is no value. ``lead_off``: bool[n, leads] as the front
        end says it, None when it says nothing. Returns what can be said now, in order of time."""
        if mv.ndim != 2 or mv.shape[1] != len(self.leads):
            raise ValueError(f"samples of shape {mv.shape}: expected (n, {len(self.leads)})")
        self.samples += len(mv)
        return []

    def gap(self, samples_missing: int) -> list[Event]:
        """So many samples never came. What was open ends (no pause or asystole across a gap); filters, detection and
        rate start anew; the person's usual beat is kept."""
        self.samples += samples_missing
        return []

    def flush(self) -> list[Event]:
        """No more samples will come: what was still waiting for them. The chain must not be used afterwards."""
        return []

    def window(self, sample: int, before_s: float, after_s: float) -> tuple[float, Millivolts] | None:
        """The filtered (0.5-40 Hz) signal of all leads around ``sample``: its rate in Hz and float64[n, leads], or None
        when it is not there (not yet, longer than about 12 s ago, or across a gap)."""
        return None

    def averaged_beat(self) -> tuple[float, int, Millivolts] | None:
        """Median of the last beats of the usual shape: rate in Hz, index of the R peak, float64[n, leads]; None before
        there are three."""
        return None

"""The ECG chain of one recording: samples in, events out. Pure, streaming, bounded memory.

    chain = EcgChain(("I", "II", "V1"), fs_hz=500)
    for event in chain.push(mv):  # float64[n, 3], NaN where there is no value
        ...
    chain.gap(250)  # 250 samples were lost: numbering goes on behind them, detection starts anew
    events = chain.flush()

Results do not depend on how the samples are cut into pushes, bit for bit, nor on what comes after them: everything that
looks at a stretch (quality, lead weights, electrodes) does so at the ends of hops of half a second.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.arm_electrodes import ArmElectrodes
from vehicle.clinic.ecg.events import Beat, Event, Shape
from vehicle.clinic.ecg.intake import Intake
from vehicle.clinic.ecg.qrs import SECOND_LOOK_S, Mark, QrsDetector
from vehicle.clinic.ecg.qrs_judge import Judge
from vehicle.clinic.ecg.quality import HOP_S, Quality
from vehicle.clinic.ecg.rhythm_watch import RhythmWatch
from vehicle.clinic.ecg.shapes import BeatShapes
from vehicle.clinic.ecg.shockable import ShockableWatch
from vehicle.clinic.ecg.signals import Signals
from vehicle.clinic.ecg.watch import BeatWatch

Millivolts = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SLOWEST_HZ, FASTEST_HZ = 100.0, 2000.0


class EcgChain:
    """``leads``: IEEE 11073 names in the order of the columns, "ECG" for a free single lead. ``fs_hz``: 100..2000.
    Without ``screen_af`` no ``RhythmAssessment`` is made. ``judge``: of QRS, the learnt one when None."""

    def __init__(self, leads: Sequence[str], fs_hz: float, screen_af: bool = True, judge: Judge | None = None) -> None:
        if not leads:
            raise ValueError("an ECG chain needs at least one lead")
        if not SLOWEST_HZ <= fs_hz <= FASTEST_HZ:
            raise ValueError(f"{fs_hz} samples a second: the ECG chain takes {SLOWEST_HZ:g} to {FASTEST_HZ:g}")
        self.leads = tuple(leads)
        self.fs_hz = float(fs_hz)
        self.samples = 0
        """Samples pushed or missing so far: the index of the next one."""
        self._signals = Signals(len(leads), fs_hz)
        self._intake = Intake(len(leads))
        self._detector = QrsDetector(self._signals, judge)
        self._quality = Quality(leads, self._signals)
        self._signals.weights = self._quality.weights()
        self._shapes = BeatShapes(self._signals)
        self._arms = ArmElectrodes(leads, self._signals)
        self._shockable = ShockableWatch(self.leads, self.fs_hz, self._signals)
        self._delay = self._signals.columns(SECOND_LOOK_S) + self._signals.held_back + 2
        self._watch = BeatWatch(self.fs_hz, self._delay * self._signals.step)
        self._rhythm = RhythmWatch(self.leads, self.fs_hz) if screen_af else None
        self._hop = self._signals.columns(HOP_S) * self._signals.step
        self._base = 0
        self._swap_said = False

    def push(self, mv: Millivolts, lead_off: Flags | None = None) -> list[Event]:
        """``mv``: float64[n, leads] in millivolts, NaN where there is no value. ``lead_off``: bool[n, leads] as the
        front end says it, None when it says nothing. Returns what can be said now, in order of time."""
        if mv.ndim != 2 or mv.shape[1] != len(self.leads):
            raise ValueError(f"samples of shape {mv.shape}: expected (n, {len(self.leads)})")
        if lead_off is not None and lead_off.shape != mv.shape:
            raise ValueError(f"lead-off flags of shape {lead_off.shape}: expected {mv.shape}")
        told: list[Event] = []
        begin = 0
        while begin < len(mv):
            end = min(len(mv), begin + self._hop - (self.samples - self._base) % self._hop)
            told += self._piece(mv[begin:end], None if lead_off is None else lead_off[begin:end])
            begin = end
        return told

    def gap(self, samples_missing: int) -> list[Event]:
        """So many samples never came. What was open ends (no pause or asystole across a gap); filters, detection and
        rate start anew; the person's usual beat is kept."""
        if samples_missing < 0:
            raise ValueError(f"a gap of {samples_missing} samples")
        if samples_missing == 0:
            return []
        told = self._finish()
        if self._rhythm:
            told += self._rhythm.gap(self.window)
        told += self._watch.stop(self.samples)
        told += self._shockable.stop(self.samples)
        self.samples += samples_missing
        self._base = self.samples
        self._signals = Signals(len(self.leads), self.fs_hz)
        self._signals.weights = self._quality.weights()
        self._intake = Intake(len(self.leads))
        self._detector.restart(self._signals)
        self._quality.begin_anew(self._signals)
        self._shapes.restart(self._signals)
        self._arms.begin_anew(self._signals)
        self._shockable.begin_anew(self._signals)
        self._watch.skip(self.samples)
        return told

    def flush(self) -> list[Event]:
        """No more samples will come: what was still waiting for them. The chain must not be used afterwards."""
        told = self._finish()
        if self._rhythm:
            told += self._rhythm.flush(self.window)
        return told

    def window(self, sample: int, before_s: float, after_s: float) -> tuple[float, Millivolts] | None:
        """The filtered (0.5-40 Hz) signal of all leads around ``sample``: its rate in Hz and float64[n, leads], or None
        when it is not there (not yet, longer than about 12 s ago, or across a gap)."""
        signals = self._signals
        at = round((sample - self._base) / signals.step)
        begin, end = at - signals.columns(before_s), at + signals.columns(after_s) + 1
        if sample < self._base or not signals.holds(begin, end):
            return None
        return signals.rate_hz, np.ascontiguousarray(signals.clean(begin, end).T)

    def _piece(self, mv: Millivolts, lead_off: Flags | None) -> list[Event]:
        """Samples of one hop, or of a part of it."""
        filled, missing = self._intake.push(mv, lead_off)
        clean = self._signals.push(filled)
        self._quality.add(mv.T, clean, missing, None if lead_off is None else lead_off.T)
        self.samples += len(mv)
        told = self._marks(self._detector.advance())
        told += self._watch.advance(self.samples, self._quality.flat)
        if (self.samples - self._base) % self._hop == 0:
            told += self._close_hop()
        return told

    def _marks(self, marks: list[Mark]) -> list[Event]:
        told: list[Event] = []
        for mark in marks:
            received = mark.decided + self._signals.held_back + 2
            told += self._watch.advance(self._base + received * self._signals.step, self._quality.flat)
            sample = self._base + mark.r_peak * self._signals.step
            shaped = self._shapes.beat(mark.fiducial)
            self._quality.beat(mark.fiducial)
            trusted = self._quality.any_good
            if shaped.shape is Shape.NORMAL and trusted:
                self._arms.beat(mark.r_peak)
            beat = Beat(sample, sample / self.fs_hz, shaped.shape, mark.revised, shaped.width_ms, trusted)
            told += self._watch.beat(sample)
            told.append(beat)
            if self._rhythm:
                told += self._rhythm.event(beat, self.window)
        return told

    def _close_hop(self) -> list[Event]:
        """Quality, lead weights, electrodes: at fixed places, so that pushes do not matter."""
        changed = self._quality.close_hop(self.samples)
        told: list[Event] = []
        for change in changed:
            told.append(change)
            if self._rhythm:
                told += self._rhythm.event(change, self.window)
        told += self._shockable.close_hop(self.samples, self._quality.verdicts)
        told += self._follow_quality()
        self._arms.collect()
        if not self._swap_said and (hint := self._arms.swap(self.samples)) is not None:
            self._swap_said = True
            told.append(hint)
        return told

    def _follow_quality(self) -> list[Event]:
        weights = self._quality.weights()
        if not np.array_equal(weights, self._signals.weights):
            before, after = (self._fused_height(w) for w in (self._signals.weights, weights))
            if before > 0 and after > 0:
                self._detector.rescale(after / before)
            self._signals.weights = weights
        readable = bool(weights.any())
        if readable == self._watch.watching:
            return []
        if readable:
            self._watch.start(self.samples)
            return []
        return self._watch.stop(self.samples)

    def _fused_height(self, weights: npt.NDArray[np.float64]) -> float:
        return float(np.sqrt(np.add.reduce(weights * self._quality.beat_height**2)))

    def _finish(self) -> list[Event]:
        told = self._marks(self._detector.advance(final=True))
        return told + self._watch.advance(self.samples, self._quality.flat)

"""What each lead is worth, every half second. Pure.

Where the numbers come from
- 300 mV: offset of electrodes that an amplifier must stand (IEC 60601-2-25 and -27); beyond it the input is railed.
- 5 uV: least resolution asked of a digital electrocardiograph (IEC 60601-2-25); a connected electrode moves more.
- 0.15 mV: a heart rate meter must not count up to here (IEC 60601-2-27); 10 mV: twice its largest QRS of 5 mV.
- clipping: a fifth of the samples at one extreme of a signal over 1 mV (project choice; a sine spends less).
- noise: median of the 20-40 Hz band beside the height of this lead's QRS. Measured here with muscle noise of the
  MIT-BIH Noise Stress Test: see README, "Quality". Over the limit for two hops or twice over it; back under 0.6 of it
  for 3.5 s: muscle comes in bursts, and a level that flickers says nothing.
- agreement: share of the fused beats that stand out in this lead too (the idea of bSQI: Li, Mark, Clifford, Physiol
  Meas 2008), over about eight beats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from vehicle.clinic.ecg.events import LeadQuality, Level, Reason
from vehicle.clinic.ecg.signals import Signals

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

HOP_S = 0.5
RAIL_MV, STEP_MV = 300.0, 300.0
FLAT_MV = 0.005
SMALL_MV, LARGE_MV = 0.15, 10.0
CLIPPED_SHARE, CLIPPED_FROM_MV = 0.2, 1.0
NOISE_FROM_HZ = 20.0
NOISE_POOR, NOISE_UNUSABLE = 0.05, 0.2
NOISE_AT_ONCE, NOISE_BACK = 2.0, 0.6
AGREES_AT_LEAST, AGREES_AGAIN, AGREEMENT_OVER = 0.5, 0.75, 8
CLEAREST, CLEARNESS_AT_FIRST, CLEARNESS_OVER = 10.0, 3.0, 20
HOPS_LOOKED_AT = 4
"""Two seconds: at least one beat at 30 a minute."""
HOPS_TO_RECOVER, HOPS_TO_RECOVER_FROM_NOISE = 4, 7
FOLLOWED, FOLLOWED_IF_BAD = 0.25, 0.02
WORTH = {Level.GOOD: 1.0, Level.POOR: 0.35, Level.UNUSABLE: 0.0}
WORTH_SILENT = {Reason.FLAT: 0.01, Reason.SMALL: 0.1}
"""A flat lead is better than none: its first beat must not be missed."""
BETTER, BACK = 2.5, 1.5
LEADS_FIRST = ("II", "ECG")
"""Where beats are looked for first: II, as rhythm strips do."""
OFF_REASONS = frozenset({Reason.LEAD_OFF, Reason.RAIL})


@dataclass(frozen=True, slots=True)
class Verdict:
    level: Level
    reason: Reason | None


GOOD = Verdict(Level.GOOD, None)
_WORSE = {Level.GOOD: 0, Level.POOR: 1, Level.UNUSABLE: 2}


class Quality:
    """Of all leads of one recording. ``add`` while a hop lasts, ``close_hop`` at its end."""

    def __init__(self, leads: Sequence[str], signals: Signals) -> None:
        n = len(leads)
        self.leads = tuple(leads)
        self.verdicts: list[Verdict | None] = [None] * n
        self.beat_height = np.zeros(n)
        """How high a QRS of each lead stands in the band signal, while the lead was usable."""
        self._height = np.zeros(n)
        self._noise_before = np.zeros(n)
        self._hops = 0
        self._better_for = [0] * n
        self._agreement = np.ones(n)
        self._clearness = np.full(n, CLEARNESS_AT_FIRST)
        self._home = next((self.leads.index(lead) for lead in LEADS_FIRST if lead in self.leads), 0)
        self._leading = self._home
        self._last_beat = -1
        self._spans: deque[Floats] = deque(maxlen=HOPS_LOOKED_AT)
        self._raw_spans: deque[Floats] = deque(maxlen=2)
        self._heights: deque[Floats] = deque(maxlen=HOPS_LOOKED_AT)
        self.begin_anew(signals)

    def begin_anew(self, signals: Signals) -> None:
        """After a gap: windows are empty, what is known of the leads stays."""
        self._signals = signals
        self._noise_sos = butter(1, min(NOISE_FROM_HZ, 0.4 * signals.rate_hz), "high", fs=signals.rate_hz, output="sos")
        self._noise_state = np.zeros((len(self._noise_sos), len(self.leads), 2))
        self._raw: list[Floats] = []
        self._clean: list[Floats] = []
        self._missing: list[Flags] = []
        self._off: list[Flags] = []
        self._last_beat = -1
        self._hop_begin = signals.known_magnitude
        for windows in (self._spans, self._raw_spans, self._heights):
            windows.clear()

    def add(self, raw: Floats, clean: Floats, missing: Flags, off: Flags | None) -> None:
        """[leads, n] each: as they came, 0.5-40 Hz at the working rate, held, said off by the device."""
        self._raw.append(raw)
        self._clean.append(clean)
        self._missing.append(missing)
        if off is not None:
            self._off.append(off)

    def beat(self, fiducial: int) -> None:
        """How a fused beat stands out in each lead from what lies between it and the one before."""
        before, self._last_beat = self._last_beat, fiducial
        near, clear = self._signals.columns(0.06), self._signals.columns(0.12)
        between = (before + clear, fiducial - clear)
        if len(self.leads) < 2 or before < 0 or not clear < between[1] - between[0] < self._signals.columns(2.0):
            return
        here = np.abs(self._signals.band(fiducial - near, fiducial + near + 1)).max(1)
        beside = np.abs(self._signals.band(*between)).max(1)
        clearness = here / np.maximum(beside, 1e-6)
        self._agreement += ((clearness >= 1) - self._agreement) / AGREEMENT_OVER
        self._clearness += (np.minimum(clearness, CLEAREST) - self._clearness) / CLEARNESS_OVER

    def close_hop(self, sample: int) -> list[LeadQuality]:
        """Judges the hop that ends at ``sample``; what changed."""
        now = self._judge()
        told = []
        for index, (lead, verdict) in enumerate(zip(self.leads, now, strict=True)):
            settled = self._settled(index, verdict)
            if settled != self.verdicts[index]:
                self.verdicts[index] = settled
                off = settled.reason in OFF_REASONS
                told.append(LeadQuality(sample, lead, settled.level, settled.reason, off))
        self._raw, self._clean, self._missing, self._off = [], [], [], []
        return told

    def _settled(self, index: int, verdict: Verdict) -> Verdict:
        """Worse counts at once, better after it has lasted."""
        before = self.verdicts[index]
        if before is None or _WORSE[verdict.level] >= _WORSE[before.level]:
            self._better_for[index] = 0
            return verdict
        self._better_for[index] += 1
        asked = HOPS_TO_RECOVER_FROM_NOISE if before.reason is Reason.NOISE else HOPS_TO_RECOVER
        if self._better_for[index] < asked:
            return before
        self._better_for[index] = 0
        return verdict

    def weights(self) -> Floats:
        """float64[leads]: 1 for the lead that beats are taken from, all 0 when none is usable. It is left only for one
        that shows beats clearly better: averaging leads brings in the T waves of the worst (measured, see README)."""
        worth = np.array([1.0 if verdict is None else self._worth(verdict) for verdict in self.verdicts])
        worth = worth * self._clearness
        best = int(worth.argmax())
        if worth[best] > BETTER * worth[self._leading]:
            self._leading = best
        elif BACK * worth[self._home] >= worth[self._leading]:
            self._leading = self._home
        chosen = np.zeros(len(self.leads))
        chosen[self._leading] = 1.0 if worth[self._leading] > 0 else 0.0
        return chosen

    @staticmethod
    def _worth(verdict: Verdict) -> float:
        level = WORTH[verdict.level]
        return WORTH_SILENT.get(verdict.reason, level) if verdict.reason else level

    @property
    def any_good(self) -> bool:
        return any(verdict is None or verdict.level is Level.GOOD for verdict in self.verdicts)

    @property
    def flat(self) -> bool:
        """Every lead that is on shows a flat line."""
        on = [v for v in self.verdicts if v is not None and v.reason not in OFF_REASONS | {Reason.MISSING}]
        return bool(on) and all(v.reason is Reason.FLAT for v in on)

    def _judge(self) -> list[Verdict]:
        raw = np.concatenate(self._raw, axis=1)
        missing = np.concatenate(self._missing, axis=1)
        off = np.concatenate(self._off, axis=1).mean(1) if self._off else np.zeros(len(self.leads))
        finite = np.where(np.isfinite(raw), raw, 0.0)
        noise, height = self._measure()
        span, largest = np.ptp(finite, axis=1), np.abs(finite).max(1)
        steps = np.abs(np.diff(finite, axis=1, prepend=finite[:, :1])).max(1)
        at_edge = np.maximum(
            (finite == finite.max(1, keepdims=True)).mean(1), (finite == finite.min(1, keepdims=True)).mean(1)
        )
        self._raw_spans.append(np.concatenate([finite.min(1), finite.max(1)]).reshape(2, -1))
        over_second = np.max([s[1] for s in self._raw_spans], axis=0) - np.min([s[0] for s in self._raw_spans], axis=0)
        clean_span = np.max(self._spans, axis=0)
        checks = (
            (off > 0.5, Level.UNUSABLE, Reason.LEAD_OFF),
            (missing.mean(1) > 0.5, Level.UNUSABLE, Reason.MISSING),
            (largest > RAIL_MV, Level.UNUSABLE, Reason.RAIL),
            (steps > STEP_MV, Level.UNUSABLE, Reason.STEP),
            (over_second <= FLAT_MV, Level.UNUSABLE, Reason.FLAT),
            ((at_edge > CLIPPED_SHARE) & (span > CLIPPED_FROM_MV), Level.POOR, Reason.RAIL),
            (self._spans[-1] > LARGE_MV, Level.UNUSABLE, Reason.LARGE),
            (self._noisy(noise, NOISE_UNUSABLE * height, Level.UNUSABLE), Level.UNUSABLE, Reason.NOISE),
            (self._noisy(noise, NOISE_POOR * height, Level.POOR), Level.POOR, Reason.NOISE),
            (clean_span < SMALL_MV, Level.POOR, Reason.SMALL),
            (self._agreement < self._asked_agreement(), Level.POOR, Reason.DISAGREES),
        )
        verdicts = [GOOD] * len(self.leads)
        for flags, level, reason in reversed(checks):
            for index in np.flatnonzero(flags):
                verdicts[index] = Verdict(level, reason)
        self._noise_before = noise
        return verdicts

    def _noisy(self, noise: Floats, limit: Floats, level: Level) -> Flags:
        """Whether noise asks for ``level``: harder to reach than to keep."""
        noise_so_far = [v if v is not None and v.reason is Reason.NOISE else GOOD for v in self.verdicts]
        so_far = np.array([_WORSE[v.level] >= _WORSE[level] for v in noise_so_far])
        lasting = np.maximum(np.minimum(noise, self._noise_before), noise / NOISE_AT_ONCE)
        noisy: Flags = np.where(so_far, noise > NOISE_BACK * limit, lasting > limit)
        return noisy

    def _asked_agreement(self) -> Floats:
        reasons = [None if verdict is None else verdict.reason for verdict in self.verdicts]
        return np.array([AGREES_AGAIN if reason is Reason.DISAGREES else AGREES_AT_LEAST for reason in reasons])

    def _measure(self) -> tuple[Floats, Floats]:
        """Noise of this hop, and how high the clean signal of a lead usually is, per lead in mV."""
        clean = np.concatenate(self._clean, axis=1)
        self._spans.append(np.ptp(clean, axis=1))
        quick, self._noise_state = sosfilt(self._noise_sos, clean, zi=self._noise_state)
        end = self._signals.known_magnitude
        band = np.abs(self._signals.band(self._hop_begin, end))
        self._hop_begin = end
        if band.shape[1]:
            self._heights.append(band.max(1))
            self._follow_heights(np.max(self._heights, axis=0))
        return np.median(np.abs(quick), axis=1), self._usual_span(np.max(self._spans, axis=0))

    def _usual_span(self, span: Floats) -> Floats:
        """Follows the height of the clean signal over two seconds while the lead is good, hardly while it is not:
        noise is not measured by itself. Infinite in the first seconds."""
        self._hops += 1
        if self._hops <= 2 * HOPS_LOOKED_AT:
            self._height = np.maximum(self._height, span)
            return np.full(len(span), np.inf)
        good = np.array([verdict is None or verdict.level is Level.GOOD for verdict in self.verdicts])
        self._height = self._height + np.where(good, FOLLOWED, FOLLOWED_IF_BAD) * (span - self._height)
        return self._height

    def _follow_heights(self, height: Floats) -> None:
        usable = np.array([verdict is None or verdict.level is not Level.UNUSABLE for verdict in self.verdicts])
        known = self.beat_height > 0
        self.beat_height = np.where(
            usable, np.where(known, self.beat_height + FOLLOWED * (height - self.beat_height), height), self.beat_height
        )

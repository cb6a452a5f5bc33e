"""QRS detection on the fused signals: each peak of the envelope is judged 130 ms after it, one in doubt once more 270
ms after it, from what is known by then; a peak that was refused is taken late when a beat is overdue (marked revised).
Pure, causal: what comes after that never changes a mark.

The frame is Hamilton and Tompkins (IEEE Trans Biomed Eng 1986; Hamilton 2002): running medians of eight QRS and noise
peaks, blanking, slope against T waves, search-back at one and a half RR intervals. In place of fixed ratios a small
network weighs 50 measures of the peak against the person's own beats (``qrs_judge.py``).
"""

import statistics
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.qrs_judge import RISE, SHAPE_S, Judge, features, learnt_judge
from vehicle.clinic.ecg.shape_bank import ShapeBank, unit_shape
from vehicle.clinic.ecg.signals import Signals

Floats = npt.NDArray[np.float64]

LOOK_AHEAD_S = 0.13
"""What a mark waits for behind its peak; with the delay of the filters about 220 ms."""
SECOND_LOOK_S = 0.27
"""A peak in doubt is looked at once more so long behind it: a P wave has its QRS by then (PR up to 0.3 s)."""
IN_DOUBT, RISE_IN_DOUBT = 2.0, -1.5
"""In doubt is what would be marked with log odds of no more while something rises behind it, to a quarter of its height
or more: one beat in two hundred, and nearly all P waves that a second look can tell (measured on people left out)."""
BLANKING_S = 0.18
"""No second QRS: refractory for about 200 ms (Pan and Tompkins 1985), less 20 ms for the place of the peak."""
FIDUCIAL_S, BASELINE_S = 0.05, 0.12
LEARNING_S = 2.0
"""First look at the amplitude (Pan and Tompkins 1985); also the length of the blocks whose maxima give the level."""
LEVEL_BLOCKS = 5
MEDIAN_OF = 8
SEARCH_BACK_RR = 1.5
SEARCH_BACK_AFTER_S, SEARCH_BACK_AFTER_RR = 0.3, 0.6
SEARCH_BACK_SCORE = -1.5
"""What is taken late lies well behind the T wave and is not unlikely: of what lay nearer or was less likely, most were
no beats (measured on CPSC2021 and CPSC2019, which nothing was fitted to)."""
FALSE_BEFORE_S, FALSE_RATIO = 0.3, 1.4
"""A mark followed so soon by one so much larger was a P wave: it is learnt as a wave that is no QRS."""
REPEATED, REPEATED_RATIO, REPEATED_AFTER_S = 0.95, 1.5, 0.24
"""A peak that is the last beat once more is one (no T wave is), whatever its place says: wide beats at a new rate of
twice the usual look like T waves by their place alone. Likeness of the shape; ratio of height and of size either way;
250 a minute. On the 24 development records it adds true beats only (measured, see README)."""
SMALLEST = 0.06
"""Peaks below this part of the level are not looked at."""
RR_AT_FIRST_S, LONGEST_RR_S = 0.8, 2.5
SURE_SCORE = 1.0
NOT_A_BEAT_SCORE = -1.5
NOT_A_BEAT_SIZE = 0.12


@dataclass(frozen=True, slots=True)
class Peak:
    """A peak of the envelope with what was measured of it. ``column``: of the peak; ``fiducial``: of the largest
    deflection near it, the R peak."""

    column: int
    fiducial: int
    height: float
    slope: float
    size_mv: float
    shape: Floats | None
    score: float = 0.0
    wave: float = 0.0
    """Likeness to the waves that are no beats."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A beat: column of the largest band deflection (``fiducial``), and whether it was found late."""

    fiducial: int
    r_peak: int
    """Column of the largest deflection of the clean signal."""
    decided: int
    """Column at whose reception it was decided."""
    revised: bool
    score: float


@dataclass(slots=True)
class Levels:
    """The person's usual QRS and the noise between, as running medians."""

    qrs: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF))
    noise: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF))
    slopes: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF))
    sizes: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF))
    rr: deque[int] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF))
    blocks: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=LEVEL_BLOCKS + 2))
    """Maxima of the envelope over blocks of LEARNING_S, whatever was detected, with the column where each ends."""


class QrsDetector:
    """Reads ``signals``; ``advance()`` after each push."""

    def __init__(self, signals: Signals, judge: Judge | None = None) -> None:
        self.signals = signals
        self.judge: Judge = judge or learnt_judge()
        self.levels = Levels()
        self.beats, self.waves = ShapeBank(5, 60 * signals.rate_hz), ShapeBank(4, 60 * signals.rate_hz)
        self._columns = signals.columns
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.accepted: deque[Peak] = deque(maxlen=4)
        self._counted: deque[bool] = deque(maxlen=4)
        self.refused: deque[Peak] = deque(maxlen=12)
        self._waiting: deque[tuple[int, float]] = deque()
        self._doubted = self._now = -1
        self._scanned = 1
        self._block_done = 0

    def restart(self, signals: Signals) -> None:
        """After a gap: new columns from 0; what was learnt of the person stays."""
        self.signals = signals
        self.levels.blocks = deque(((0, height) for _, height in self.levels.blocks), maxlen=LEVEL_BLOCKS + 2)
        self._begin_anew()

    def rescale(self, ratio: float) -> None:
        """Other leads count from now on: their fused beat is ``ratio`` times as high."""
        levels = self.levels
        for heights in (levels.qrs, levels.noise, levels.slopes):
            heights.extend([height * ratio for height in heights])
        levels.blocks.extend([(end, height * ratio) for end, height in levels.blocks])

    @property
    def rr(self) -> float:
        """The usual interval, in columns."""
        known = self.levels.rr
        return statistics.median(known) if len(known) >= 3 else RR_AT_FIRST_S * self.signals.rate_hz

    @property
    def last(self) -> Peak | None:
        return self.accepted[-1] if self.accepted else None

    def advance(self, final: bool = False) -> list[Mark]:
        """Everything that can be decided by now; ``final``: nothing more will come."""
        self._scan()
        if not self.levels.blocks and not self._learn(final):
            return []
        if not self.levels.qrs:
            first = self.levels.blocks[0][1]
            self.levels.qrs.extend([first] * 3)
            self.levels.noise.append(0.1 * first)
        known = self.signals.known_envelope
        marks: list[Mark] = []
        while self._waiting:
            column, height = self._waiting[0]
            wait = self._columns(SECOND_LOOK_S if column == self._doubted else LOOK_AHEAD_S)
            now = max(self._now, column + wait)
            if not final and now + 1 >= known:
                break
            self._waiting.popleft()
            marks += self._decide(column, height, now)
            self._now = now
        return marks

    def _scan(self) -> None:
        """New peaks of the envelope, and its maxima over blocks."""
        known = self.signals.known_envelope
        if known - 1 > self._scanned:
            e = self.signals.envelope(self._scanned - 1, known)
            peaks = np.flatnonzero((e[1:-1] > e[:-2]) & (e[1:-1] >= e[2:])) + 1
            self._waiting.extend((int(p) + self._scanned - 1, float(e[p])) for p in peaks)
            self._scanned = known - 1
        block = self._columns(LEARNING_S)
        while self._block_done + block <= known:
            height = float(self.signals.envelope(self._block_done, self._block_done + block).max())
            self._block_done += block
            self.levels.blocks.append((self._block_done, height))

    def _learn(self, final: bool) -> bool:
        """Nothing is judged before the first block is whole, unless the recording ends."""
        known = self.signals.known_envelope
        if final and known:
            self.levels.blocks.append((0, float(self.signals.envelope(0, known).max())))
        return bool(self.levels.blocks)

    def level(self, now: int) -> float:
        """How high a QRS is: the median of those marked, but not less than half of what the blocks say."""
        blocks = [height for end, height in self.levels.blocks if end <= now][-LEVEL_BLOCKS:]
        if not blocks:
            blocks = [self.levels.blocks[0][1]]
        return max(statistics.median(self.levels.qrs), 0.5 * statistics.median(blocks))

    def _decide(self, column: int, height: float, now: int) -> list[Mark]:
        marks = self._search_back(now)
        level = self.level(now)
        last = self.last
        if height < SMALLEST * level or (last and column - last.column < self._columns(BLANKING_S)):
            return marks
        peak = self._measure(column, height)
        measures = features(self, peak, level, now)
        score = self.judged(measures, column)
        if column != self._doubted and self.doubts(measures, score):
            self._doubted = column
            self._waiting.appendleft((column, height))
            return marks
        peak = replace(peak, score=score)
        if score > 0 or self._repeats_last(peak):
            self._accept(peak)
            marks.append(Mark(peak.fiducial, self._r_peak(peak), now, False, score))
        else:
            self._refuse(peak, level)
        return marks

    def _repeats_last(self, peak: Peak) -> bool:
        last = self.last
        if last is None or peak.shape is None or last.shape is None or len(peak.shape) != len(last.shape):
            return False
        ratios = (peak.height / last.height, peak.size_mv / max(last.size_mv, 1e-6))
        return (
            peak.column - last.column >= self._columns(REPEATED_AFTER_S)
            and all(1 / REPEATED_RATIO < ratio < REPEATED_RATIO for ratio in ratios)
            and float(np.dot(peak.shape, last.shape)) > REPEATED
        )

    def judged(self, measures: Floats, column: int) -> float:
        """Log odds that the peak at ``column``, so measured, is a QRS."""
        return self.judge(measures)

    def doubts(self, measures: Floats, score: float) -> bool:
        """Whether a peak so measured and judged is to be looked at once more."""
        return 0 < score < IN_DOUBT and bool(measures[RISE] > RISE_IN_DOUBT)

    def _measure(self, column: int, height: float) -> Peak:
        near, wide = self._columns(FIDUCIAL_S), self._columns(SHAPE_S)
        begin = max(0, column - near)
        fiducial = begin + int(self.signals.magnitude(begin, column + near + 1).argmax())
        slope = float(self.signals.slope(begin, column + near + 1).max())
        size = float(np.ptp(self.signals.clean(max(0, column - wide), column + wide + 1), axis=1).max())
        shape = self.shape_at(fiducial)
        return Peak(column, fiducial, height, slope, size, shape, wave=self.waves.likeness(shape))

    def shape_at(self, fiducial: int) -> Floats | None:
        """The band signal around a column, of length 1; None where it is not whole."""
        wide = self._columns(SHAPE_S)
        if fiducial < wide:
            return None
        band = self.signals.band(fiducial - wide, fiducial + wide + 1)
        return unit_shape(band * self.signals.weights[:, None]) if band.shape[1] == 2 * wide + 1 else None

    def _r_peak(self, peak: Peak) -> int:
        near, wide = self._columns(FIDUCIAL_S), self._columns(BASELINE_S)
        begin = max(0, peak.fiducial - wide)
        clean = self.signals.clean(begin, peak.fiducial + near + 1)
        offset = clean - np.median(clean, axis=1, keepdims=True)
        around = max(0, peak.fiducial - near - begin)
        deflection = self.signals.over_leads(np.ascontiguousarray(offset[:, around:]))
        return begin + around + int(deflection.argmax())

    def _search_back(self, now: int) -> list[Mark]:
        """The likeliest of what was refused, while a beat is overdue."""
        marks: list[Mark] = []
        while self.last and self.refused and now - self.last.column > SEARCH_BACK_RR * self.rr:
            after = self.last.column + max(self._columns(SEARCH_BACK_AFTER_S), SEARCH_BACK_AFTER_RR * self.rr)
            choice = [p for p in self.refused if p.column > after and p.score > SEARCH_BACK_SCORE]
            if not choice:
                break
            best = max(choice, key=lambda p: p.score)
            rest = [p for p in self.refused if p.column > best.column + self._columns(0.25)]
            self._accept(best)
            self.refused.extend(rest)
            marks.append(Mark(best.fiducial, self._r_peak(best), now, True, best.score))
        return marks

    def _accept(self, peak: Peak) -> None:
        levels, last = self.levels, self.last
        soon = self._columns(FALSE_BEFORE_S)
        if last and peak.column - last.column < soon and peak.height > FALSE_RATIO * last.height:
            self._take_back(last, peak)
            last = self.last
        counts = last is not None and peak.column - last.column < LONGEST_RR_S * self.signals.rate_hz
        if last is not None and counts:
            levels.rr.append(peak.column - last.column)
        if peak.score > SURE_SCORE:
            self.beats.learn(peak.shape, peak.column)
        levels.qrs.append(peak.height)
        levels.slopes.append(peak.slope)
        levels.sizes.append(peak.size_mv)
        self.accepted.append(peak)
        self._counted.append(counts)
        self.refused.clear()

    def _take_back(self, wave: Peak, beat: Peak) -> None:
        """``wave`` was marked and cannot have been a beat: unlearn it. The mark itself stays said."""
        self.accepted.pop()
        if self._counted.pop():
            self.levels.rr.pop()
        if len(self.levels.qrs) > 1:
            self.levels.qrs.pop()
        self.waves.learn(wave.shape, wave.column)
        self.beats.unlearn(wave.shape, beat.shape)

    def _refuse(self, peak: Peak, level: float) -> None:
        self.levels.noise.append(peak.height)
        self.refused.append(peak)
        if peak.score < NOT_A_BEAT_SCORE and peak.height > NOT_A_BEAT_SIZE * level:
            self.waves.learn(peak.shape, peak.column)

    def ahead(self, now: int) -> float:
        """The highest peak of the envelope behind the one looked at, up to ``now``; 0 for none."""
        highest = 0.0
        for at, height in self._waiting:
            if at > now:
                break
            highest = max(highest, height)
        return highest
